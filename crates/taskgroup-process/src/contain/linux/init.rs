//! The init of a command that is isolated: process 1 of a PID namespace, between the keeper and the leader.
//!
//! ```text
//!   keeper ──▶ init ──▶ leader ──▶ its descendants
//!          ◀── reports │ process 1 of the namespace: who is orphaned in it becomes its child
//! ```
//!
//! The keeper makes it by a `fork` into a new user and a new PID namespace. It starts the leader, reaps whoever ends, tells the
//! keeper what becomes of the leader, and ends when nobody is left. When it ends before, the kernel kills all that is
//! left in the namespace, and it stays unreaped until they are gone.
//!
//! # Invariants
//!
//! 1. As in [`proc`]: it never allocates, locks or panics. It ends in `_exit`.
//! 2. It dies with its keeper: by its parent-death signal, or when it finds that nobody reads its reports.
//! 3. It has the keeper's name, and blocks all signals: only SIGKILL and SIGSTOP from outside the namespace reach it.
//! 4. `/proc` is the one of the namespace outside. So pids from the kernel's calls are those inside, and pids from `/proc` those
//!    outside; the keeper is told of the latter only.
//! 5. The leader is reaped when it ends. Its pid outside may be somebody else's then, and is not signalled.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::exec::{self, Failure, Start};
use super::proc::{self, Path};
use super::sys::{self, Stack};
use super::wire::Step;

const WORDS: usize = 3;

const REPORT: usize = WORDS * 8;

/// What it tells the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The leader could not be started.
    Failed(Failure),
    /// The leader runs. Its pid outside the namespace.
    Started { leader: i32 },
    /// A signal has stopped the leader.
    Stopped { signal: i32 },
    /// The leader has ended, with this wait status.
    Ended { status: i32 },
    /// The largest resident set of all that have been reaped so far, in KiB.
    Largest { rss: u64 },
}

/// The keeper's side.
pub(super) struct Init {
    pub(super) pid: i32,
    /// `None` when it has ended.
    reports: Option<OwnedFd>,
}

impl Init {
    /// What it has said next; `None` if nothing.
    pub(super) fn next(&mut self) -> Option<Report> {
        let mut bytes = [0; REPORT];
        match sys::read(self.fd(), &mut bytes) {
            Some(REPORT) => Report::from_bytes(&bytes),
            None if matches!(sys::errno(), libc::EAGAIN | libc::EINTR) => None,
            _ => {
                self.reports = None;
                None
            }
        }
    }

    /// Can be read when it has said something; -1 when it never will again.
    pub(super) fn fd(&self) -> RawFd {
        self.reports.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// The answer to its start. It comes, or the end of the pipe does.
    fn first(&mut self) -> Report {
        loop {
            if let Some(report) = self.next() {
                return report;
            }
            if self.reports.is_none() {
                return Report::Failed(Failure { errno: libc::ECANCELED, step: Step::Program });
            }
            sys::wait_readable([self.fd()], None);
        }
    }
}

struct Birth<'a> {
    start: &'a Start<'a>,
    user: u32,
    group: u32,
    keepers_end: RawFd,
    reports: OwnedFd,
}

/// Starts an init, and from it the program: the init, and the leader's pid.
///
/// All signals must be blocked. `stack` may be used again afterwards: the init has a copy.
pub(super) fn start(start: &Start<'_>, stack: &Stack) -> Result<(Init, i32), Failure> {
    let (ours, theirs) = sys::pipe().ok_or_else(Failure::last)?;
    let (user, group) = sys::effective_ids();
    let mut birth = Birth { start, user, group, keepers_end: ours.as_raw_fd(), reports: theirs };
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::SIGCHLD;
    // SAFETY: nobody else uses the stack. Without `CLONE_VM` the child has a copy of all memory, `birth` included, and never
    // returns from `live`.
    let pid = unsafe { libc::clone(live, stack.top(), flags, (&raw mut birth).cast()) };
    if pid < 0 {
        return Err(Failure { step: Step::Isolation, ..Failure::last() });
    }
    drop(birth);
    let mut init = Init { pid, reports: Some(ours) };
    match init.first() {
        Report::Started { leader } => Ok((init, leader)),
        report => {
            sys::reap_blocking(pid);
            let failure = Failure { errno: libc::ECANCELED, step: Step::Program };
            Err(if let Report::Failed(failure) = report { failure } else { failure })
        }
    }
}

extern "C" fn live(argument: *mut c_void) -> c_int {
    sys::die_with_parent();
    // SAFETY: `start` gives its own, of which this process has a copy.
    let birth = unsafe { &*argument.cast::<Birth<'_>>() };
    // Nobody but the keeper may hold this end: so this process learns that the keeper is dead (invariant 2).
    sys::close(birth.keepers_end);
    let reports = birth.reports.as_raw_fd();
    match start_leader(birth) {
        Ok((leader, outside)) => {
            tell(reports, Report::Started { leader: outside });
            sys::close_own_files(reports);
            reap_everybody(leader, reports);
        }
        Err(failure) => tell(reports, Report::Failed(failure)),
    }
    sys::exit(0)
}

/// The leader's pid, inside and outside of the namespace.
fn start_leader(birth: &Birth<'_>) -> Result<(i32, i32), Failure> {
    let mapped = map_ids(birth.user, birth.group);
    mapped.map_err(|errno| Failure { errno, step: Step::Isolation })?;
    let stack = Stack::new().ok_or_else(Failure::last)?;
    let leader = exec::start(birth.start, &stack)?;
    // The first of its children, for it has reaped none: others are orphans that came later.
    let mut first = None;
    if let Some(own) = proc::own_pid() {
        proc::for_each_child(own, &mut |pid| first = first.or(Some(pid)));
    }
    let outside = first.ok_or(Failure { errno: libc::ESRCH, step: Step::Isolation })?;
    Ok((leader, outside))
}

/// The user and the group are the same inside as outside; there are no others.
fn map_ids(user: u32, group: u32) -> Result<(), i32> {
    match sys::write_file(b"/proc/self/setgroups\0", b"deny") {
        // A kernel from before 3.19 does not ask for it.
        Ok(()) | Err(libc::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let same = |id: u32| Path::new().number(id).text(b" ").number(id).text(b" 1");
    sys::write_file(b"/proc/self/uid_map\0", same(user).as_text())?;
    sys::write_file(b"/proc/self/gid_map\0", same(group).as_text())
}

/// Until nobody is left in the namespace.
fn reap_everybody(leader: i32, reports: RawFd) {
    let mut largest = 0;
    while let Some((pid, status, (_, _, rss))) = sys::wait_for_any() {
        if libc::WIFSTOPPED(status) {
            if pid == leader {
                tell(reports, Report::Stopped { signal: libc::WSTOPSIG(status) });
            }
            continue;
        }
        if rss > largest {
            largest = rss;
            tell(reports, Report::Largest { rss });
        }
        if pid == leader {
            tell(reports, Report::Ended { status });
        }
    }
}

fn tell(reports: RawFd, report: Report) {
    if !sys::write(reports, &report.to_bytes()) {
        sys::exit(0);
    }
}

impl Report {
    fn to_bytes(self) -> [u8; REPORT] {
        let signed = |number: i32| u64::from(number as u32);
        let words: [u64; WORDS] = match self {
            Self::Failed(Failure { errno, step }) => [0, signed(errno), step as u64],
            Self::Started { leader } => [1, signed(leader), 0],
            Self::Stopped { signal } => [2, signed(signal), 0],
            Self::Ended { status } => [3, signed(status), 0],
            Self::Largest { rss } => [4, rss, 0],
        };
        let mut bytes = [0; REPORT];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; REPORT]) -> Option<Self> {
        let word = |n: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[n * 8 + i]));
        let number = word(1) as i32;
        Some(match word(0) {
            0 => Self::Failed(Failure { errno: number, step: Step::from_word(word(2)) }),
            1 => Self::Started { leader: number },
            2 => Self::Stopped { signal: number },
            3 => Self::Ended { status: number },
            4 => Self::Largest { rss: word(1) },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_comes_back() {
        for report in [
            Report::Failed(Failure { errno: 2, step: Step::Directory }),
            Report::Started { leader: 7 },
            Report::Stopped { signal: 19 },
            Report::Ended { status: 0x8b },
            Report::Largest { rss: 1 << 40 },
        ] {
            assert_eq!(Report::from_bytes(&report.to_bytes()), Some(report));
        }
        assert_eq!(Report::from_bytes(&[9; REPORT]), None);
    }
}
