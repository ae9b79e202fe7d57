//! The `fork` that makes a keeper.
//!
//! # Invariants
//!
//! 1. The program may have other threads, and so the child does nothing but what [`keeper`](super::keeper) allows itself.
//! 2. No signal handler of the program runs in the child: all signals are blocked before the `fork`, and stay blocked in it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::keeper::Keeper;
use super::proc::KEEPER;
use super::set::Set;
use super::sys::{self, Stack};

/// Makes a keeper: its pid, and the stream to it.
pub(super) fn launch() -> io::Result<(i32, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let theirs = above_standard(theirs.into())?;
    let mask = sys::block_signals();
    // SAFETY: the child calls `keep` alone (invariant 1).
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        keep(theirs);
    }
    let error = io::Error::last_os_error();
    sys::restore_signals(&mask);
    if pid < 0 { Err(error) } else { Ok((pid, ours)) }
}

/// The same file under a number above those of the standard streams.
fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // SAFETY: takes numbers only.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor just opened is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The life of a keeper. What the program has left open for its children stays open for them.
fn keep(stream: OwnedFd) -> ! {
    sys::become_subreaper();
    sys::lead_own_group();
    sys::set_name(KEEPER);
    sys::close_own_files(stream.as_raw_fd());
    sys::change_to_root();
    match (sys::child_signals(), Stack::new(), Set::new(sys::getpid())) {
        (Some(signals), Some(stack), Some(set)) => Keeper::new(stream, signals, stack, set).run(),
        _ => sys::exit(1),
    }
}
