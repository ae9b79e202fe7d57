//! The last steps of a new process before its program runs.
//!
//! The keeper makes the leader as `vfork` does: the child shares the keeper's memory, and the keeper stands still, until
//! the child runs its program or has ended. So it costs the same however large the program is that the keeper was
//! forked from.
//!
//! # Invariants
//!
//! 1. [`Image`] is made before the `fork`, where allocating is allowed; here it is only read.
//! 2. The child writes to its own stack and to [`Failure`] only; both outlive it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};

use super::sys;

/// A program with all that it is started with.
pub(super) struct Image {
    program: CString,
    directory: Option<CString>,
    /// Kept for the pointers below.
    _texts: Vec<CString>,
    arguments: Vec<*const c_char>,
    /// For a script without `#!`: the shell, the program, its arguments.
    shell_arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    /// What becomes its standard streams. None of them is 0, 1 or 2.
    streams: [OwnedFd; 3],
    /// The terminal whose foreground it takes.
    terminal: Option<OwnedFd>,
}

// SAFETY: the pointers point into texts that the image owns and never changes.
unsafe impl Send for Image {}

impl Image {
    pub(super) fn new(
        program: CString,
        arguments: Vec<CString>,
        environment: Vec<CString>,
        directory: Option<CString>,
        streams: [OwnedFd; 3],
        terminal: Option<OwnedFd>,
    ) -> Self {
        const SHELL: &CStr = c"/bin/sh";
        let end = std::iter::once(std::ptr::null());
        let given = || arguments.iter().map(|text| text.as_ptr());
        let shell = [SHELL.as_ptr(), program.as_ptr()].into_iter();
        let shell_arguments = shell.chain(given().skip(1)).chain(end.clone()).collect();
        let pointers = given().chain(end.clone()).collect();
        let variables = environment.iter().map(|text| text.as_ptr()).chain(end).collect();
        Self {
            shell_arguments,
            arguments: pointers,
            environment: variables,
            program,
            directory,
            _texts: arguments.into_iter().chain(environment).collect(),
            streams,
            terminal,
        }
    }
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) errno: i32,
    /// Its working directory was at fault.
    pub(super) directory: bool,
}

struct Start<'a> {
    image: &'a Image,
    keeper: i32,
    failure: Option<Failure>,
}

/// Room for the child's stack: it calls a few functions of the C library.
const STACK: usize = 256 * 1024;

/// Starts the program as a child of this process, in a process group of its own: its pid.
///
/// All signals must be blocked; the child lets all of them through.
pub(super) fn start(image: &Image) -> Result<i32, Failure> {
    let mut start = Start { image, keeper: sys::getpid(), failure: None };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: a fresh mapping, of which the child uses the upper end as its stack; it is never unmapped. With `CLONE_VFORK` this
    // thread, the only one, goes on only when the child no longer uses the memory, `start` included.
    let pid = unsafe {
        let (protection, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let stack = libc::mmap(std::ptr::null_mut(), STACK, protection, kind, -1, 0);
        if stack == libc::MAP_FAILED {
            return Err(Failure { errno: sys::errno(), directory: false });
        }
        libc::clone(child, stack.byte_add(STACK), flags, (&raw mut start).cast())
    };
    if pid < 0 {
        return Err(Failure { errno: sys::errno(), directory: false });
    }
    match start.failure {
        None => Ok(pid),
        Some(failure) => {
            sys::reap_blocking(pid);
            Err(failure)
        }
    }
}

extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: `start` gives its own `Start`, and stands still meanwhile.
    let start = unsafe { &mut *argument.cast::<Start<'_>>() };
    let failure = become_the_program(start.image, start.keeper);
    start.failure = Some(failure);
    sys::exit(127)
}

/// Comes back only if it fails.
fn become_the_program(image: &Image, keeper: i32) -> Failure {
    sys::lead_own_group();
    // SAFETY: plain calls; the descriptors are the image's own.
    unsafe {
        if let Some(terminal) = &image.terminal {
            libc::tcsetpgrp(terminal.as_raw_fd(), libc::getpid());
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        // A keeper that has died before that call will not be noticed.
        if libc::getppid() != keeper {
            sys::exit(127);
        }
        for (standard, stream) in image.streams.iter().enumerate() {
            if libc::dup2(stream.as_raw_fd(), standard as i32) < 0 {
                return Failure { errno: sys::errno(), directory: false };
            }
        }
        if let Some(directory) = &image.directory
            && libc::chdir(directory.as_ptr()) != 0
        {
            return Failure { errno: sys::errno(), directory: true };
        }
    }
    become_ordinary();
    // SAFETY: the texts end in NUL, the lists in a null pointer (`Image::new`).
    unsafe {
        libc::execve(image.program.as_ptr(), image.arguments.as_ptr(), image.environment.as_ptr());
        if sys::errno() == libc::ENOEXEC {
            libc::execve(c"/bin/sh".as_ptr(), image.shell_arguments.as_ptr(), image.environment.as_ptr());
        }
    }
    Failure { errno: sys::errno(), directory: false }
}

/// Lets all signals through. The program's handlers go before, since they would run in the keeper's memory; what it ignores stays
/// ignored (`nohup`), but for SIGPIPE, which Rust programs ignore without being asked.
fn become_ordinary() {
    // SAFETY: zeroed is a valid `sigaction` (the default one) and a valid set; the child has its own copy of the table.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            let mut now: libc::sigaction = std::mem::zeroed();
            let known = libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0;
            let kept = now.sa_sigaction == libc::SIG_DFL
                || (now.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE);
            if known && !kept {
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        sys::restore_signals(&none);
    }
}
