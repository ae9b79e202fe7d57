//! What the end of a job means for the others: fail-fast, `--keep-going`, `--first-success`, retries.

use crate::program::{Folder, all_gone, pids};

#[test]
fn the_first_failure_ends_the_others() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let sleeper = "echo $$ >> pids; echo > here; sleep 1000";
    let program = folder.tg(["run", sleeper, "read x < go; exit 9", sleeper]).start();
    here.hears();
    here.hears();
    go.opens(1);
    let ended = program.end().code(9);
    let ended = ended.says("(#2) failed first: exit code 9").says("1 job failed, 2 cancelled");
    ended.says("cancelled because read x < go; exit 9 failed").says("ended by SIGTERM");
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn nothing_is_started_after_a_failure() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "-j1", "false", "touch made", "touch made"]).run().code(1);
    ended.says("1 job failed, 2 not started");
    assert!(!folder.has("made"));
}

#[test]
fn keep_going_runs_all_and_gives_the_first_code() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "-k", "-j1", "exit 5", "exit 6", "touch made"]).run().code(5);
    ended.says("(#1) failed first: exit code 5").says("(#2) failed: exit code 6");
    assert!(folder.has("made"));
}

#[test]
fn the_first_success_ends_the_others() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let jobs = ["echo $$ > pids; echo > here; sleep 1000", "echo > here; exit 3", "read x < go; echo won"];
    let program = folder.tg(["run", "--first-success"].iter().chain(&jobs)).start();
    here.hears();
    here.hears();
    go.opens(1);
    program.end().code(0).prints("won\n");
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn no_success_at_all_is_the_first_failure() {
    let folder = Folder::new();
    folder.tg(["run", "--first-success", "-j1", "exit 3", "exit 4"]).run().code(3).says("2 jobs failed");
}

#[test]
fn the_policies_exclude_each_other() {
    let folder = Folder::new();
    folder.tg(["run", "-k", "--first-success", "touch made"]).run().code(125).says("cannot be used with");
    assert!(!folder.has("made"));
}

#[test]
fn a_job_is_tried_again_until_it_succeeds() {
    let folder = Folder::new();
    let line = "echo x >> tries; test $(wc -l < tries) -eq 3";
    let ended = folder.tg(["run", "--retries", "5", "--retry-delay", "10ms", line]).run().code(0);
    ended.says("exit code 1").says("attempt 2 in 10ms").says("attempt 3 in 20ms");
    assert_eq!(folder.read("tries").lines().count(), 3);
}

#[test]
fn retries_come_to_an_end() {
    let folder = Folder::new();
    let line = "echo x >> tries; exit 8";
    let ended = folder.tg(["run", "--retries", "2", "--retry-delay", "1ms", line]).run().code(8);
    ended.says("in attempt 3");
    assert_eq!(folder.read("tries").lines().count(), 3);
}

#[test]
fn a_failure_that_is_tried_again_ends_nobody() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    folder.write(
        "jobs.toml",
        "[job.a]\nrun='echo x >> tries; test $(wc -l < tries) -eq 2 && echo > here'\nretries=1\n\
         [job.b]\nrun='read x < go; echo b'\n",
    );
    let program = folder.tg(["run", "-f", "jobs.toml", "--retry-delay", "1ms"]).start();
    here.hears();
    go.opens(1);
    program.end().code(0).prints("b\n");
}

#[test]
fn the_end_of_the_run_cuts_the_wait_for_a_retry() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    folder.write(
        "jobs.toml",
        "[job.a]\nrun='echo > here; exit 2'\nretries=1\n[job.b]\nrun='read x < go; exit 3'\n",
    );
    let program = folder.tg(["run", "-f", "jobs.toml", "--retry-delay", "1h"]).start();
    here.hears();
    program.err.wait_for("attempt 2 in 1h");
    go.opens(1);
    program.end().code(3).says("cancelled because b failed").says("a (#1) while it waited for attempt 2");
}

/// Who ended by itself before it was told to end has not been cancelled.
#[test]
fn who_ends_by_itself_is_not_cancelled() {
    let folder = Folder::new();
    for _ in 0..10 {
        let ended = folder.tg(["run", "--json", "-j2", "true", "exit 3"]).run().code(3);
        for event in ended.events().iter().filter(|event| event["event"] == "job_finished") {
            let was_told = event["signalled"]["sigterm"] != 0 || event["signalled"]["sigkill"] != 0;
            assert_eq!(event["outcome"] == "cancelled", was_told, "{event}");
        }
    }
}
