//! Signals to `tg`.

use crate::program::{Folder, all_gone, pids, until};

/// A job that says that it runs and stays.
const STAYS: &str = "echo $$ >> pids; echo > here; sleep 1000";
/// One that ends with 0 when it is told to end.
const POLITE: &str = "trap 'exit 0' TERM; echo $$ >> pids; sh -c 'echo > here; exec sleep 1000' & wait";

#[test]
fn signals_end_the_run_with_128_and_their_number() {
    for (signal, number) in [("INT", 2), ("TERM", 15), ("HUP", 1), ("QUIT", 3)] {
        let folder = Folder::new();
        let mut here = folder.gate("here");
        let program = folder.tg(["run", STAYS, STAYS]).start();
        here.hears();
        here.hears();
        program.signal(signal);
        let ended = program.end().code(128 + number);
        let ended = ended.says(&format!("SIG{signal}: 2 cancelled"));
        ended.says(&format!("SIG{signal}: ending "));
        all_gone(&pids(&folder, "pids"));
    }
}

#[test]
fn never_zero_after_a_signal() {
    for policy in ["--keep-going", "--first-success", "--leaks=report"] {
        let folder = Folder::new();
        let mut here = folder.gate("here");
        let program = folder.tg(["run", policy, POLITE, POLITE]).start();
        here.hears();
        here.hears();
        program.signal("TERM");
        program.end().code(143);
        all_gone(&pids(&folder, "pids"));
    }
}

#[test]
fn the_signal_counts_more_than_a_failure() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    let program = folder.tg(["run", "-k", "exit 3", STAYS]).start();
    here.hears();
    program.err.wait_for("FAILED");
    program.signal("INT");
    program.end().code(130);
}

#[test]
fn a_second_signal_kills_at_once() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    let stubborn = "trap 'echo told > here' TERM; trap '' INT; echo $$ >> pids; echo > here; while :; do sleep 1000; done";
    let program = folder.tg(["run", "--grace", "1h", stubborn]).start();
    here.hears();
    program.signal("TERM");
    program.err.wait_for("once more to kill what is left");
    program.signal("INT");
    program.end().code(143).says("SIGINT again: killing what is left");
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn a_signal_while_the_run_ends_anyway_counts() {
    let folder = Folder::new();
    let (mut told, mut go) = (folder.gate("told"), folder.gate("go"));
    let stubborn = "trap '' TERM; echo > told; while :; do sleep 1000; done";
    let program = folder.tg(["run", "-v", "--grace", "1h", stubborn, "read x < go; exit 4"]).start();
    told.hears();
    program.err.wait_for("tg: started trap");
    go.opens(1);
    program.err.wait_for("ending 1 running job");
    program.signal("TERM");
    program.signal("INT");
    let ended = program.end();
    let code = ended.status.code();
    assert!(code == Some(143) || code == Some(130), "{ended:#?}");
}

#[test]
fn hang_ups_are_ignored_under_nohup() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let outer = "trap '' HUP; exec $TG run 'echo $$ > pids; echo > here; read x < go; echo done'";
    let mut tg = folder.tg([""]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", outer]).current_dir(folder.root()).env("TG", tg.command.get_program());
    tg.command = command;
    let program = tg.start();
    here.hears();
    program.signal("HUP");
    crate::program::send("HUP", pids(&folder, "pids")[0]);
    go.opens(1);
    program.end().code(0).prints("done\n");
}

#[test]
fn usr1_shows_what_runs() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    folder
        .write("jobs.toml", "[job.build]\nrun='echo compiling; echo $$ > pids; echo > here; read x < go'\n");
    let program = folder.tg(["run", "--output", "prefix", "-f", "jobs.toml"]).start();
    here.hears();
    // What the job says, tg has taken in before it shows it.
    program.out.wait_for("compiling");
    program.signal("USR1");
    program.err.wait_for("tg: 1 job running");
    program.err.wait_for(&format!("build  pid {}", pids(&folder, "pids")[0]));
    program.err.wait_for("compiling");
    go.opens(1);
    program.end().code(0);
}

#[test]
fn jobs_stop_and_go_on_with_tg() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let line = "echo $$ >> pids; sh -c 'echo $$ >> pids; echo > here; read x < go'; echo done";
    let program = folder.tg(["run", "-v", line, line]).start();
    here.hears();
    here.hears();
    let jobs = pids(&folder, "pids");
    assert_eq!(jobs.len(), 4);
    for _ in 0..3 {
        program.signal("TSTP");
        program.is_stopped(true);
        until("the jobs to stop", || jobs.iter().all(|pid| crate::program::state(*pid) == Some('T')));
        program.signal("CONT");
        program.is_stopped(false);
        until("the jobs to go on", || jobs.iter().all(|pid| crate::program::state(*pid) != Some('T')));
    }
    go.opens(2);
    program.end().code(0).prints("done\ndone\n").says("tg: suspended").says("tg: resumed");
}

#[test]
fn a_stopped_run_can_be_ended() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    let program = folder.tg(["run", STAYS]).start();
    here.hears();
    program.signal("TSTP");
    program.is_stopped(true);
    program.signal("TERM");
    program.signal("CONT");
    program.end().code(143);
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn a_run_with_nothing_started_can_be_ended() {
    let folder = Folder::new();
    let mut tg = folder.tg(["each", "-v", "echo"]);
    tg.command.stdin(std::process::Stdio::piped());
    let mut program = tg.start();
    let stdin = program.stdin.take();
    program.err.wait_for("jobs as they are read");
    program.signal("TERM");
    program.end().code(143).says("tg: SIGTERM: ending (once more");
    drop(stdin);
}
