//! The last steps of a new process before its program runs.
//!
//! The keeper, or the init of a command that is isolated, makes the leader as `vfork` does: the child shares the keeper's memory, and the keeper stands still, until
//! the child runs its program or has ended. So it costs the same however large the program is that the keeper was
//! forked from.
//!
//! # Invariants
//!
//! 1. The child writes to its own stack and to [`Failure`] only; both outlive it.
//! 2. No handler of the program runs in it: they go before the first signal is let through.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};

use super::cgroup::Held;
use super::image::Image;
use super::sys::{self, Stack};
use super::wire::Step;

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) errno: i32,
    pub(super) step: Step,
}

impl Failure {
    /// What the last system call has failed of.
    pub(super) fn last() -> Self {
        Self { errno: sys::errno(), step: Step::Program }
    }
}

/// What the leader is made with.
pub(super) struct Start<'a> {
    pub(super) image: &'a Image,
    /// The program's working directory.
    pub(super) folder: &'a OwnedFd,
    pub(super) streams: [&'a OwnedFd; 3],
    /// The cgroup that it enters.
    pub(super) group: Option<&'a Held>,
    /// The terminal whose foreground it takes.
    pub(super) terminal: Option<&'a OwnedFd>,
}

struct Shared<'a> {
    start: &'a Start<'a>,
    keeper: i32,
    failure: Option<Failure>,
}

/// Starts the program as a child of this process, in a process group of its own: its pid.
///
/// All signals must be blocked; the child lets all of them through.
pub(super) fn start(start: &Start<'_>, stack: &Stack) -> Result<i32, Failure> {
    let mut shared = Shared { start, keeper: sys::getpid(), failure: None };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: nobody else uses the stack. With `CLONE_VFORK` this thread, the only one, goes on only when the child no longer
    // uses this memory, `shared` included.
    let pid = unsafe { libc::clone(child, stack.top(), flags, (&raw mut shared).cast()) };
    if pid < 0 {
        return Err(Failure::last());
    }
    match shared.failure {
        None => Ok(pid),
        Some(failure) => {
            sys::reap_blocking(pid);
            Err(failure)
        }
    }
}

extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: `start` gives its own, and stands still meanwhile.
    let shared = unsafe { &mut *argument.cast::<Shared<'_>>() };
    let failure = become_the_program(shared.start, shared.keeper);
    shared.failure = Some(failure);
    sys::exit(127)
}

/// Comes back only if it fails.
fn become_the_program(start: &Start<'_>, keeper: i32) -> Failure {
    sys::lead_own_group();
    let image = start.image;
    if let Some(Err(failure)) = start.group.map(Held::enter) {
        return failure;
    }
    // SAFETY: plain calls; the descriptors are the caller's, the path ends in NUL.
    unsafe {
        if let Some(terminal) = start.terminal {
            libc::tcsetpgrp(terminal.as_raw_fd(), libc::getpid());
        }
        sys::die_with_parent();
        // A keeper that has died before that call will not be noticed.
        if libc::getppid() != keeper {
            sys::exit(127);
        }
        for (standard, stream) in start.streams.iter().enumerate() {
            if libc::dup2(stream.as_raw_fd(), standard as i32) < 0 {
                return Failure::last();
            }
        }
        let left = libc::fchdir(start.folder.as_raw_fd()) != 0;
        if left || image.directory().is_some_and(|directory| libc::chdir(directory) != 0) {
            return Failure { step: Step::Directory, ..Failure::last() };
        }
    }
    become_ordinary();
    // SAFETY: the texts end in NUL, the lists in a null pointer (`image`).
    unsafe {
        libc::execve(image.program(), image.arguments(), image.environment());
        if sys::errno() == libc::ENOEXEC {
            libc::execve(c"/bin/sh".as_ptr(), image.shell_arguments(), image.environment());
        }
    }
    Failure::last()
}

/// Lets all signals through. The program's handlers go before (invariant 2); what it ignores stays ignored (`nohup`), but for
/// SIGPIPE, which Rust programs ignore without being asked.
fn become_ordinary() {
    // SAFETY: zeroed is a valid `sigaction` (the default one) and a valid set; the child has its own copy of the table.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            let mut now: libc::sigaction = std::mem::zeroed();
            let known = libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0;
            let is_ignored = now.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
            if known && now.sa_sigaction != libc::SIG_DFL && !is_ignored {
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        sys::restore_signals(&none);
    }
}
