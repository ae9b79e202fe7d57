use std::sync::Arc;
use std::time::Duration;

use super::super::recent::Recent;
use super::super::testing::{finished, job};
use super::*;
use crate::event::{Counts, Event, JobInfo, Leak, Skip};

const PLAIN: Style = Style { color: false };

fn run_finished(counts: Counts) -> Event {
    Event::RunFinished { exit_code: 2, elapsed: Duration::from_millis(1300), counts }
}

fn cancelled(job: &Arc<JobInfo>, signal: i32) -> Event {
    let ending = Ending::Signalled { signal };
    finished(job, Outcome::Cancelled { cause: "build failed".into(), ending })
}

fn drawn(summary: &Summary) -> String {
    tree(summary, None, PLAIN).join("\n")
}

fn recent(bytes: &[u8]) -> Recent {
    let mut recent = Recent::default();
    recent.push(bytes);
    recent
}

#[test]
fn the_whole_tree() {
    let mut summary = Summary::default();
    let build = job(1, "build");
    let mut leaking = finished(&job(5, "daemon"), Outcome::Succeeded);
    if let Event::JobFinished { leaks, .. } = &mut leaking {
        leaks.push(Leak { pid: 42, command: "sleep 1000".into() });
    }
    let mut killed = cancelled(&job(3, "serve"), libc::SIGKILL);
    if let Event::JobFinished { signalled, leaks, .. } = &mut killed {
        signalled.sigkill = 2;
        leaks.push(Leak { pid: 43, command: "sleep 1001".into() });
    }
    let output = recent(b"\x1b[31merror\x1b[0m: no such file\n");
    summary.observe(&leaking, None);
    summary.observe(&finished(&build, Outcome::Failed { code: 2 }), Some(&output));
    summary.observe(&Event::Cancelling { cause: Cause::JobFailed { job: build } }, None);
    summary.observe(&cancelled(&job(2, "test"), libc::SIGTERM), None);
    summary.observe(&killed, None);
    let why = Skip::NeedFailed { need: "build".into() };
    summary.observe(&Event::JobSkipped { job: job(4, "deploy"), why }, None);
    summary.observe(&Event::JobSkipped { job: job(6, "late"), why: Skip::Cancelled }, None);
    summary.observe(&run_finished(Counts { succeeded: 1, ..Counts::default() }), None);
    assert_eq!(
        drawn(&summary),
        "\
tg: 1 job failed, 2 cancelled, 2 not started, 1 succeeded (1.3s)
├─ build (#1) failed first: exit code 2 after 1.2s
│    command: run build
│    its output:
│      error: no such file
├─ cancelled because build failed
│  ├─ test (#2) after 1.2s: ended by SIGTERM
│  └─ serve (#3) after 1.2s: ended by SIGKILL; 2 processes needed SIGKILL
│       left behind: pid 43 (sleep 1001)
├─ not started
│  ├─ deploy (#4): it needs build
│  └─ late (#6)
└─ succeeded, but left processes behind, now ended
   └─ daemon (#5)
        left behind: pid 42 (sleep 1000)"
    );
}

#[test]
fn one_failure_alone_is_not_the_first() {
    let mut summary = Summary::default();
    summary
        .observe(&finished(&job(1, "build"), Outcome::Killed { signal: libc::SIGSEGV }), Some(&recent(b"")));
    summary.observe(&run_finished(Counts::default()), None);
    assert_eq!(
        drawn(&summary),
        "tg: 1 job failed (1.3s)\n└─ build (#1) failed: killed by SIGSEGV after 1.2s\n     command: run build"
    );
}

#[test]
fn a_tail_is_left_out_where_it_stands_above_already() {
    let mut summary = Summary::default();
    let lines: String = (0..50).map(|line| format!("line {line}\n")).collect();
    summary.observe(&finished(&job(1, "a"), Outcome::Failed { code: 1 }), Some(&recent(lines.as_bytes())));
    summary.observe(&run_finished(Counts::default()), None);
    let with = drawn(&summary);
    assert!(with.contains("the end of its output (10 of 50 lines):\n       line 40\n"), "{with}");
    assert!(!with.contains("line 39"));
    summary.seen_last = Some(1);
    assert!(!drawn(&summary).contains("output"));
}

#[test]
fn of_many_the_first_twenty_are_listed() {
    let mut summary = Summary::default();
    for number in 1..=200 {
        let job = job(number, &format!("job {number}"));
        summary.observe(&finished(&job, Outcome::Failed { code: 1 }), Some(&recent(b"why\n")));
        summary.observe(&cancelled(&job, libc::SIGTERM), None);
        summary.observe(&Event::JobSkipped { job, why: Skip::Cancelled }, None);
    }
    summary.observe(&run_finished(Counts::default()), None);
    let drawn = drawn(&summary);
    assert_eq!(drawn.matches("… and 180 more").count(), 3);
    assert_eq!(drawn.matches("failed first").count(), 1);
    assert_eq!(drawn.matches("its output:").count(), super::super::summary::TAILS);
    assert!(drawn.starts_with("tg: 200 jobs failed, 200 cancelled, 200 not started (1.3s)"));
}

#[test]
fn a_cancel_from_outside_and_a_deadline_say_so() {
    let mut summary = Summary::default();
    let mut event = cancelled(&job(1, "a"), libc::SIGTERM);
    if let Event::JobFinished { outcome, .. } = &mut event {
        *outcome = Outcome::Cancelled { cause: "SIGINT".into(), ending: Ending::Exited { code: 0 } };
    }
    summary.observe(&event, None);
    summary.observe(&run_finished(Counts::default()), None);
    let of = |cause| drawn(&Summary { cause: Some(cause), ..summary.clone() });
    assert_eq!(
        of(Cause::Signal { signal: "SIGINT".into() }),
        "tg: SIGINT: 1 cancelled (1.3s)\n└─ cancelled by SIGINT\n   └─ a (#1) after 1.2s: exit code 0"
    );
    assert!(
        of(Cause::Deadline { limit: Duration::from_secs(60) })
            .starts_with("tg: out of time after 1m: 1 cancelled")
    );
}

#[test]
fn attempts_that_are_repeated_are_not_in_it() {
    let mut summary = Summary::default();
    let mut event = finished(&job(1, "a"), Outcome::Failed { code: 1 });
    if let Event::JobFinished { will_retry_in, .. } = &mut event {
        *will_retry_in = Some(Duration::ZERO);
    }
    summary.observe(&event, None);
    summary.observe(&run_finished(Counts { succeeded: 1, ..Counts::default() }), None);
    assert!(tree(&summary, None, PLAIN).is_empty());
    assert_eq!(success(&summary), "1 job in 0:01");
}

#[test]
fn lines_fit_a_terminal_and_names_cannot_move_its_cursor() {
    let mut summary = Summary::default();
    let long = job(1, &"long\x1b[2J\n".repeat(30));
    summary
        .observe(&finished(&long, Outcome::Failed { code: 1 }), Some(&recent("日".repeat(200).as_bytes())));
    for line in tree(&summary, Some(40), PLAIN) {
        assert!(super::super::text::width(&line) <= 39, "{line}");
        assert!(!line.contains(['\x1b', '\n']));
    }
    let painted = tree(&summary, Some(40), Style { color: true }).join("\n");
    assert_eq!(painted.matches('\x1b').count(), 2);
}

#[test]
fn a_job_out_of_time_says_how_it_ended() {
    let mut summary = Summary::default();
    let ending = Ending::Signalled { signal: libc::SIGKILL };
    let outcome = Outcome::TimedOut { limit: Duration::from_secs(10), ending };
    let mut event = finished(&job(1, "a"), outcome);
    if let Event::JobFinished { attempt, signalled, .. } = &mut event {
        *attempt = 3;
        signalled.sigkill = 1;
    }
    summary.observe(&event, None);
    assert!(drawn(&summary).contains(
        "a (#1) failed: timed out after 10s, ended by SIGKILL, in attempt 3; 1 process needed SIGKILL"
    ));
}
