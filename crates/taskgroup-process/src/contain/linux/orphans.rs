//! What is left of a command whose keeper was killed.
//!
//! The leader goes with its keeper (its parent-death signal). The others become children of the next subreaper above: of this
//! program, if [`install`] has made it one. Then all its children that are no keepers are such orphans. Otherwise they are
//! known by the mark in their environment, as far as they have kept it.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{proc, sys};

/// The variable that marks the processes of a command: the marks of all the commands they are part of, with slashes between.
pub(super) const MARK: &str = "TASKGROUP_JOB";

// Relaxed: set before the first command, and read long after; a thread that had not seen it would do with the marks.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// The keepers that live, or have not been reaped.
static KEEPERS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

pub(super) fn install() -> bool {
    let is_subreaper = sys::become_subreaper();
    INSTALLED.store(is_subreaper, Ordering::Relaxed);
    is_subreaper
}

/// Makes a keeper, and knows it from before anybody could take it for an orphan.
pub(super) fn with_keeper<T>(make: impl FnOnce() -> std::io::Result<(i32, T)>) -> std::io::Result<(i32, T)> {
    let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
    let made = make()?;
    keepers.push(made.0);
    Ok(made)
}

/// Reaps a keeper that has ended, or is about to; says whether it has ended by itself, and so nobody is left.
pub(super) fn forget_keeper(pid: i32) -> bool {
    let status = sys::reap_blocking(pid);
    KEEPERS.lock().unwrap_or_else(PoisonError::into_inner).retain(|keeper| *keeper != pid);
    status.is_none_or(|status| libc::WIFEXITED(status))
}

/// Kills what is left of the command with this mark, until nothing is; says how many were found. Blocks.
pub(super) fn end(mark: &str) -> usize {
    let mut ended = std::collections::BTreeSet::new();
    let mut pause = Duration::from_millis(1);
    loop {
        let found = round(mark);
        if found.is_empty() {
            return ended.len();
        }
        ended.extend(found);
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Kills those that are found, and reaps those that are this program's children.
fn round(mark: &str) -> Vec<i32> {
    let own = sys::getpid();
    let installed = INSTALLED.load(Ordering::Relaxed);
    let mut found = Vec::new();
    proc::for_each_process(&mut |pid| {
        let Some(stat) = proc::stat(pid) else { return };
        let adopted = installed && stat.parent == own && !is_keeper(pid);
        if !adopted && (stat.is_zombie || !has_mark(pid, mark)) {
            return;
        }
        if kill(pid, stat.started) && !(adopted && sys::reap(pid).is_some()) {
            found.push(pid);
        }
    });
    found
}

fn is_keeper(pid: i32) -> bool {
    KEEPERS.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid)
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
