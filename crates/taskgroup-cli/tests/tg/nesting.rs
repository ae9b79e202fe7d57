//! `tg` in a job of `tg`.

use crate::program::{Folder, all_gone, pids};

/// A job that takes its time to end, and one that must be killed.
const TIDY: &str =
    "trap 'echo job >> order; exit 0' TERM; echo $$ >> pids; sh -c 'echo > here; exec sleep 1000' & wait";
const STUBBORN: &str = "trap '' TERM; echo $$ >> pids; echo > here; while :; do sleep 1000; done";

fn scripts(folder: &Folder, job: &str) {
    folder.write("job", job);
    // The shell between the two is told to end as well, and stays for the code.
    folder.write("inner", "trap : TERM\n$TG run 'exec sh job'\necho inner $? >> order\n");
}

#[test]
fn the_inner_run_ends_first_when_the_outer_is_ended() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    scripts(&folder, TIDY);
    let program = folder.tg(["run", "exec sh inner"]).start();
    here.hears();
    program.signal("TERM");
    let ended = program.end().code(143);
    assert_eq!(folder.read("order"), "job\ninner 143\n");
    assert!(!ended.err.contains("SIGKILL"), "{}", ended.err);
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn the_time_limit_of_the_outer_run_reaches_the_inner() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    scripts(&folder, TIDY);
    let program = folder.tg(["run", "--timeout", "1s", "exec sh inner"]).start();
    here.hears();
    program.end().code(124).says("the outer run was cancelled");
    assert_eq!(folder.read("order"), "job\ninner 143\n");
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn the_failure_beside_the_inner_run_reaches_it() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    scripts(&folder, TIDY);
    let program = folder.tg(["run", "exec sh inner", "read x < go; exit 6"]).start();
    here.hears();
    go.opens(1);
    program.end().code(6);
    assert_eq!(folder.read("order"), "job\ninner 143\n");
}

#[test]
fn the_failure_of_the_inner_run_is_the_outer_s() {
    let folder = Folder::new();
    folder.tg(["run", "$TG run 'exit 7' 'sleep 1000'", "sleep 1000"]).run().code(7);
}

/// Its own grace would outlast that of the outer run, which would kill it before it has done with its jobs.
#[test]
fn the_inner_run_has_done_before_the_grace_of_the_outer_is_over() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    scripts(&folder, STUBBORN);
    let program = folder.tg(["run", "--grace", "12s", "exec sh inner"]).start();
    here.hears();
    program.signal("TERM");
    let ended = program.end().code(143);
    assert_eq!(folder.read("order"), "inner 143\n");
    // The inner run has killed its job, and the outer run nobody.
    assert!(ended.err.contains("ended by SIGKILL; "), "{}", ended.err);
    assert_eq!(ended.err.matches("needed SIGKILL").count(), 1, "{}", ended.err);
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn three_deep() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    scripts(&folder, STUBBORN);
    // Each has seconds more than the one inside: a busy disk takes long to write a line.
    folder.write("middle", "trap : TERM\n$TG run --grace 1h 'exec sh inner'\necho middle $? >> order\n");
    let program = folder.tg(["run", "--grace", "12s", "exec sh middle"]).start();
    here.hears();
    program.signal("TERM");
    let ended = program.end().code(143);
    assert!(folder.has("order"), "{}", ended.err);
    assert_eq!(folder.read("order"), "inner 143\nmiddle 143\n", "{}", ended.err);
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn jobs_are_told_how_long_they_have() {
    let folder = Folder::new();
    folder.write("jobs.toml", "[job.a]\nrun='echo $TG_GRACE'\ngrace='90s'\n");
    folder.tg(["run", "echo $TG_GRACE"]).run().code(0).prints("5\n");
    folder.tg(["run", "--grace", "1500ms", "echo $TG_GRACE"]).run().code(0).prints("1.5\n");
    folder.tg(["run", "-f", "jobs.toml"]).run().code(0).prints("90\n");
    folder.tg(["run", "echo $TG_GRACE"]).env("TG_GRACE", "2").run().code(0).prints("1.5\n");
    for odd in ["", "x", "-1", "inf", "NaN", "1e300"] {
        folder.tg(["run", "echo $TG_GRACE"]).env("TG_GRACE", odd).run().code(0).prints("5\n");
    }
}

#[test]
fn a_second_signal_to_the_outer_run_leaves_nobody() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    scripts(&folder, STUBBORN);
    let program = folder.tg(["run", "--grace", "1h", "exec sh inner"]).start();
    here.hears();
    program.signal("TERM");
    program.err.wait_for("once more to kill");
    program.signal("TERM");
    program.end().code(143);
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn the_inner_run_stops_and_goes_on_with_the_outer() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    scripts(&folder, "echo $$ >> pids; echo > here; read x < go; echo done >> order");
    let program = folder.tg(["run", "exec sh inner"]).start();
    here.hears();
    let job = pids(&folder, "pids")[0];
    program.signal("TSTP");
    program.is_stopped(true);
    crate::program::until("the job to stop", || crate::program::state(job) == Some('T'));
    program.signal("CONT");
    crate::program::until("the job to go on", || crate::program::state(job) != Some('T'));
    go.opens(1);
    program.end().code(0);
    assert_eq!(folder.read("order"), "done\ninner 0\n");
}
