//! The `fork` that makes a keeper.
//!
//! # Invariants
//!
//! 1. The program may have other threads, and so the child does nothing but what [`keeper`](super::keeper) allows itself.
//! 2. No signal handler of the program runs in the child: all signals are blocked before the `fork`, and stay blocked in it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::exec::{self, Image};
use super::keeper::Keeper;
use super::proc::KEEPER;
use super::sys;
use super::wire::Notice;

/// Makes a keeper that starts this program: its pid, and the stream to it.
pub(super) fn launch(image: &Image, grace: u64) -> io::Result<(i32, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let theirs = above_standard(theirs.into())?;
    let mask = sys::block_signals();
    // SAFETY: the child calls `keep` alone (invariant 1).
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        keep(image, theirs, grace);
    }
    let error = io::Error::last_os_error();
    sys::restore_signals(&mask);
    if pid < 0 { Err(error) } else { Ok((pid, ours)) }
}

/// The same file under a number above those of the standard streams.
pub(super) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
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

/// The life of a keeper.
fn keep(image: &Image, stream: OwnedFd, grace: u64) -> ! {
    sys::become_subreaper();
    sys::lead_own_group();
    sys::set_name(KEEPER);
    let Some(signals) = sys::child_signals() else { refuse(&stream, sys::errno(), false) };
    match exec::start(image) {
        Ok(leader) => {
            sys::close_all_but(stream.as_raw_fd(), signals.as_raw_fd());
            sys::change_to_root();
            Keeper::new(leader, stream, signals, grace).run()
        }
        Err(failure) => refuse(&stream, failure.errno, failure.directory),
    }
}

fn refuse(stream: &OwnedFd, errno: i32, directory: bool) -> ! {
    sys::send(stream.as_raw_fd(), &Notice::Refused { errno, directory }.to_bytes(&[]));
    sys::exit(1)
}
