use std::os::unix::ffi::OsStringExt;

use serde_json::{Value, json};

use super::*;

fn job() -> Arc<JobInfo> {
    Arc::new(JobInfo {
        number: 3,
        name: "build".into(),
        command: "make all".into(),
        dir: Some("sub".into()),
        input: None,
        tty: false,
    })
}

fn value(event: &Event) -> Value {
    serde_json::to_value(event).unwrap()
}

#[test]
fn an_event_is_flat_and_in_snake_case() {
    let finished = Event::JobFinished {
        job: job(),
        attempt: 1,
        outcome: Outcome::TimedOut {
            limit: Duration::from_millis(1500),
            ending: Ending::Signalled { signal: libc::SIGKILL },
        },
        elapsed: Duration::from_millis(1500),
        usage: Usage::default(),
        signalled: Signalled { sigterm: 2, sigkill: 1 },
        leaks: vec![Leak { pid: 7, command: "sleep 9".into() }],
        will_retry_in: Some(Duration::from_secs(1)),
    };
    assert_eq!(
        value(&finished),
        json!({
            "event": "job_finished", "job": {"number": 3, "name": "build"}, "attempt": 1,
            "outcome": "timed_out", "limit": 1.5, "ending": "signalled", "signal": 9, "seconds": 1.5,
            "usage": {"user_seconds": 0.0, "system_seconds": 0.0, "max_rss_bytes": 0},
            "signalled": {"sigterm": 2, "sigkill": 1},
            "leaks": [{"pid": 7, "command": "sleep 9"}], "will_retry_in": 1.0
        })
    );
    let cancelling = Event::Cancelling { cause: Cause::JobFailed { job: job() } };
    assert_eq!(
        value(&cancelling),
        json!({"event": "cancelling", "cause": "job_failed", "job": {"number": 3, "name": "build"}})
    );
}

#[test]
fn the_name_of_an_outcome_is_the_one_in_the_json_form() {
    let ending = Ending::Exited { code: 0 };
    for outcome in [
        Outcome::Succeeded,
        Outcome::Failed { code: 1 },
        Outcome::Killed { signal: 1 },
        Outcome::TimedOut { limit: Duration::ZERO, ending },
        Outcome::Cancelled { cause: String::new(), ending },
        Outcome::NotFound,
        Outcome::NotExecutable,
        Outcome::Leaked,
        Outcome::Trouble { text: String::new() },
    ] {
        assert_eq!(serde_json::to_value(&outcome).unwrap()["outcome"], outcome.kind());
    }
}

#[test]
fn a_name_that_is_not_utf8_has_its_bytes_too() {
    let mut odd = JobInfo::clone(&job());
    odd.command = OsString::from_vec(b"echo \xff".to_vec());
    let started = value(&Event::JobStarted { job: Arc::new(odd), attempt: 1, pid: 9 });
    assert_eq!(started["job"]["command"], "echo \u{fffd}");
    assert_eq!(started["job"]["command_bytes"], "ZWNobyD/");
    let plain = value(&Event::JobStarted { job: job(), attempt: 1, pid: 9 });
    assert_eq!(plain["job"].get("command_bytes"), None);
    assert_eq!(plain["job"]["dir"], "sub");
}

#[test]
fn times_are_rfc_3339() {
    let at = |seconds: u64| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000Z");
    assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
    assert_eq!(at(951_868_800), "2000-03-01T00:00:00.000Z");
    assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.000Z");
    assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
    assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(1_042)), "1970-01-01T00:00:01.042Z");
    assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
}

#[test]
fn lengths_of_time_are_brief() {
    let of = |millis: u64| brief(Duration::from_millis(millis));
    assert_eq!(of(0), "0ms");
    assert_eq!(of(99), "99ms");
    assert_eq!(of(100), "0.1s");
    assert_eq!(of(1_000), "1s");
    assert_eq!(of(1_250), "1.2s");
    assert_eq!(of(59_999), "59s");
    assert_eq!(of(60_000), "1m");
    assert_eq!(of(125_000), "2m05s");
    assert_eq!(of(3_600_000), "1h");
    assert_eq!(of(3_725_000), "1h02m");
}
