//! What is left of a command whose keeper was killed.
//!
//! The leader goes with its keeper (its parent-death signal). The others become children of the next subreaper above: of this
//! program, if [`install`] has made it one. Then all its children that are no keepers are such orphans. Otherwise they are
//! known by the mark in their environment, as far as they have kept it.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{pool, proc, sys};

/// The variable that marks the processes of a command: the marks of all the commands they are part of, with slashes between.
pub(super) const MARK: &str = "TASKGROUP_JOB";

// Relaxed: set before the first command, and read long after; a thread that had not seen it would do with the marks.
static INSTALLED: AtomicBool = AtomicBool::new(false);

pub(super) fn install() -> bool {
    let is_subreaper = sys::become_subreaper();
    INSTALLED.store(is_subreaper, Ordering::Relaxed);
    pool::hold();
    is_subreaper
}

/// How long keepers of programs among the orphans have to end what they keep.
const KEEPERS_LIMIT: Duration = Duration::from_secs(2);

/// One at a time: what one looks for, another must not reap unseen.
static ENDING: Mutex<()> = Mutex::new(());

/// Kills what is left of the command with this mark, until nothing is; says how many were found. Blocks.
///
/// A program among the orphans may have keepers of its own. They notice its end, and know better than any mark whom they
/// keep: they are waited for.
/// `init`: of the namespace that it was isolated in, with the time of its start. It dies with the keeper, and is there until all in
/// the namespace are dead.
pub(super) fn end(mark: &str, init: Option<(i32, u64)>) -> usize {
    let _alone = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut killed = BTreeSet::new();
    let mut pause = Duration::from_millis(1);
    let begun = Instant::now();
    // Who is just executing another program has, for a moment, no environment to be seen.
    let mut quiet_rounds = 0;
    while quiet_rounds < 2 {
        let any = round(mark, begun.elapsed() < KEEPERS_LIMIT, &mut killed)
            || init.is_some_and(|(pid, started)| is_alive(pid, started));
        quiet_rounds = if any { 0 } else { quiet_rounds + 1 };
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    killed.len()
}

/// Kills those that are found, but for keepers that are to be spared, and reaps those that are this program's children; says
/// whether there were any.
///
/// Dead ones count: what they leave comes to this program when they die, which may be after its place in this round.
fn round(mark: &str, spare_keepers: bool, killed: &mut BTreeSet<i32>) -> bool {
    let own = sys::getpid();
    let installed = INSTALLED.load(Ordering::Relaxed);
    let mut any = false;
    proc::for_each_process(&mut |pid| {
        let Some(stat) = proc::stat(pid) else { return };
        let adopted = installed && stat.parent == own && !pool::is_keeper(pid);
        if adopted && sys::reap(pid).is_some() {
            any = true;
        } else if adopted || !stat.is_zombie && has_mark(pid, mark) {
            let is_spared = spare_keepers && stat.is_keeper;
            if !is_spared && kill(pid, stat.started) {
                killed.insert(pid);
                any = true;
            }
            any |= is_spared;
        }
    });
    any
}

fn is_alive(pid: i32, started: u64) -> bool {
    proc::stat(pid).is_some_and(|stat| stat.started == started && !stat.is_zombie)
}

fn has_mark(pid: i32, mark: &str) -> bool {
    let mut environment = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/environ"))
        .and_then(|mut file| file.read_to_end(&mut environment));
    read.is_ok()
        && environment.split(|byte| *byte == 0).any(|variable| {
            let marks = variable.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            marks.is_some_and(|marks| marks.split(|byte| *byte == b'/').any(|one| one == mark.as_bytes()))
        })
}

/// Kills the process that was seen with this time of start, if it is still that one; says whether it was.
fn kill(pid: i32, started: u64) -> bool {
    use std::os::fd::AsFd;
    let is_same = || proc::stat(pid).is_some_and(|now| now.started == started);
    match sys::pidfd_open(pid) {
        Ok(process) => is_same() && sys::pidfd_send_signal(process.as_fd(), libc::SIGKILL).is_ok(),
        Err(libc::ENOSYS) => is_same() && sys::kill(pid, libc::SIGKILL).is_ok(),
        Err(_) => false,
    }
}
