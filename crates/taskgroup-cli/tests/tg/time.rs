//! Time limits and grace periods.

use crate::program::{Folder, all_gone, pids, until};

/// Ignores SIGTERM, and says so.
const STUBBORN: &str = "trap '' TERM; echo $$ >> pids; echo > here; while :; do sleep 1000; done";

#[test]
fn the_time_limit_of_the_run() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "--timeout", "50ms", "echo $$ >> pids; sleep 1000", "sleep 1000"]).run();
    ended.code(124).says("tg: out of time after 50ms: 2 cancelled");
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn the_time_limit_of_the_run_counts_more_than_an_earlier_failure() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "-k", "--timeout", "300ms", "exit 3", "sleep 1000"]).run();
    ended.code(124).says("failed first: exit code 3");
}

#[test]
fn the_time_limit_of_each_job() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "-k", "--timeout-each", "50ms", "sleep 1000", "echo done"]).run();
    let ended = ended.code(124).prints("done\n");
    ended.says("sleep 1000 (#1) failed: timed out after 50ms").says("1 succeeded");
}

#[test]
fn a_limit_of_a_job_fails_the_run_and_a_retry_starts_anew() {
    let folder = Folder::new();
    folder.write("jobs.toml", "[job.a]\nrun='echo x >> tries; sleep 1000'\ntimeout='30ms'\nretries=1\n");
    folder.tg(["run", "-f", "jobs.toml", "--retry-delay", "1ms"]).run().code(124).says("in attempt 2");
    assert_eq!(folder.read("tries"), "x\nx\n");
}

#[test]
fn who_ignores_sigterm_gets_sigkill_after_the_grace() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let program = folder.tg(["run", "--grace", "100ms", STUBBORN, "read x < go; exit 2"]).start();
    here.hears();
    go.opens(1);
    let ended = program.end().code(2);
    ended.says("ended by SIGKILL; 2 processes needed SIGKILL");
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn a_job_may_have_a_grace_of_its_own() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let jobs = format!("[job.a]\nrun=\"{STUBBORN}\"\ngrace='50ms'\n[job.b]\nrun='read x < go; exit 2'\n");
    folder.write("jobs.toml", jobs);
    let program = folder.tg(["run", "--grace", "1h", "-f", "jobs.toml"]).start();
    here.hears();
    go.opens(1);
    program.end().code(2).says("needed SIGKILL");
}

/// It has time to put its things in order.
#[test]
fn who_heeds_sigterm_has_the_grace_to_do_so() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let tidy = "trap 'echo tidied > tidied; exit 0' TERM; sh -c 'echo > here; exec sleep 1000' & wait";
    let ended = {
        let program = folder.tg(["run", tidy, "read x < go; exit 2"]).start();
        here.hears();
        go.opens(1);
        program.end().code(2)
    };
    assert_eq!(folder.read("tidied"), "tidied\n");
    assert!(!ended.err.contains("SIGKILL"), "{}", ended.err);
}

/// A limit beyond all time is none.
#[test]
fn a_very_long_limit() {
    let folder = Folder::new();
    folder
        .tg(["run", "--timeout", "800000h", "--timeout-each", "800000h", "echo a"])
        .run()
        .code(0)
        .prints("a\n");
}

/// The clocks of the run stand still while it does, so a limit is not used up.
#[test]
fn limits_stand_still_while_the_run_is_stopped() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let line = "echo $$ > pids; echo > here; read x < go; echo done";
    let program = folder.tg(["run", "--timeout", "2s", "--timeout-each", "2s", line]).start();
    here.hears();
    program.signal("TSTP");
    program.is_stopped(true);
    let job = pids(&folder, "pids")[0];
    until("the job to stop", || crate::program::state(job) == Some('T'));
    // Longer than the limits: time has to pass for them to be passed.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    program.signal("CONT");
    program.is_stopped(false);
    go.opens(1);
    program.end().code(0).prints("done\n");
}
