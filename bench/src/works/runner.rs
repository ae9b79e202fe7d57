//! Many short commands, from the start of the runner to its exit: `tg`, and the runners that people use otherwise.
//!
//! Every runner reads the same lines and has a shell run each, two at a time. What `tg` does beside that is to stand behind each
//! command with a keeper; what the worker threads of its row are, `TOKIO_WORKER_THREADS` tells it.
//!
//! `tg` is the one beside this program: `cargo build --release -p taskgroup-cli` makes it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Comparison, Target, Unit};
use crate::measure::{Figures, Plan, compare_processes, nanoseconds_since};

/// How many commands.
const COMMANDS: usize = 2_000;

/// GNU parallel takes some ten times as long as the others: it gets fewer rounds.
const PARALLEL_ROUNDS: usize = 3;

/// # Errors
///
/// There is no `tg`, or no `xargs`.
pub(super) fn xargs() -> Result<Vec<Comparison>, String> {
    tg()?;
    answers("xargs", "")?;
    Ok(vec![comparison("runner_xargs", "xargs", 1.5, |plan, threads, n| {
        let mut peer = Command::new("xargs");
        peer.args(["-P", "2", "-n", "1", "sh", "-c"]);
        compared(plan, threads, n, peer)
    })])
}

/// # Errors
///
/// There is no `tg`, or no GNU `parallel`.
pub(super) fn parallel() -> Result<Vec<Comparison>, String> {
    tg()?;
    // The one of moreutils has the same name.
    answers("parallel", "GNU parallel")?;
    Ok(vec![comparison("runner_parallel", "parallel", 0.25, |plan, threads, n| {
        let mut peer = Command::new("parallel");
        peer.args(["--will-cite", "-j", "2"]);
        compared(&plan.with_process_rounds(PARALLEL_ROUNDS), threads, n, peer)
    })])
}

fn comparison(
    work: &'static str,
    peer: &'static str,
    target: f64,
    measure: fn(&Plan, usize, usize) -> Figures,
) -> Comparison {
    Comparison { work, n: COMMANDS, peer, unit: Unit::Nanoseconds, target: Target::Ratio(target), measure }
}

fn compared(plan: &Plan, threads: usize, n: usize, mut peer: Command) -> Figures {
    let lines = "true\n".repeat(n);
    let mut ours = Command::new(tg().expect("it was there a moment ago"));
    ours.args(["run", "-j", "2", "-"]).env("TOKIO_WORKER_THREADS", threads.to_string());
    compare_processes(plan, || timed(&mut ours, &lines), || timed(&mut peer, &lines))
}

fn timed(command: &mut Command, lines: &str) -> f64 {
    let begin = Instant::now();
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the runner starts");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(lines.as_bytes()).expect("the runner reads");
    drop(input);
    let status = child.wait().expect("it is a child");
    let time = nanoseconds_since(begin);
    assert!(status.success(), "{command:?} ended with {status}");
    time
}

/// The `tg` that was built with this program.
fn tg() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let tg = this.with_file_name("tg");
    if tg.is_file() {
        return Ok(tg);
    }
    Err("no tg beside this program: cargo build --release -p taskgroup-cli".to_owned())
}

/// Whether a program is there, and is the one that is meant.
fn answers(program: &str, name: &str) -> Result<(), String> {
    let answer = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    let answer = answer.map_err(|error| format!("no {program} on the PATH ({error})"))?;
    if String::from_utf8_lossy(&answer.stdout).contains(name) {
        return Ok(());
    }
    Err(format!("the {program} on the PATH is not {name}"))
}
