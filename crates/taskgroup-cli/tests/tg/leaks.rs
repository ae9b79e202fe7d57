//! Processes that outlive their job.

use crate::program::{Folder, all_gone, pids};

const LEAKY: &str = "sleep 1000 & echo $! >> pids; setsid sleep 1000 & echo $! >> pids";

#[test]
fn leaks_are_ended_and_reported() {
    let folder = Folder::new();
    let ended = folder.tg(["run", LEAKY]).run().code(0);
    let ended = ended.says("tg: leak: ").says("left 2 processes behind, now ended").says("(sleep 1000)");
    for pid in pids(&folder, "pids") {
        assert!(ended.err.contains(&format!("pid {pid} ")), "{}", ended.err);
    }
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn leaks_may_be_failures() {
    let folder = Folder::new();
    folder.tg(["run", "--leaks", "fail", LEAKY]).run().code(1).says("failed").says("left behind: pid");
    all_gone(&pids(&folder, "pids"));
    folder.write(
        "jobs.toml",
        format!("[job.a]\nrun='{LEAKY}'\nleaks='fail'\n[job.b]\nrun='true'\nneeds=['a']\n"),
    );
    folder.tg(["run", "-f", "jobs.toml"]).run().code(1).says("1 job failed, 1 not started");
}

#[test]
fn leaks_may_be_ignored_and_are_ended_all_the_same() {
    let folder = Folder::new();
    folder.tg(["run", "--leaks", "ignore", LEAKY]).run().code(0).silent();
    all_gone(&pids(&folder, "pids"));
}

#[test]
fn leaks_are_in_the_json_lines() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "--json", LEAKY]).run().code(0);
    let events = ended.events();
    let finished = events.iter().find(|event| event["event"] == "job_finished").unwrap();
    let leaks = finished["leaks"].as_array().unwrap();
    let mut told: Vec<u64> = leaks.iter().map(|leak| leak["pid"].as_u64().unwrap()).collect();
    let mut made: Vec<u64> = pids(&folder, "pids").into_iter().map(Into::into).collect();
    told.sort_unstable();
    made.sort_unstable();
    assert_eq!(told, made);
    assert_eq!(events.last().unwrap()["counts"]["leaks"], 2);
}
