//! Who has the foreground of the terminal.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;
use taskgroup_process::foreground;

/// The terminal that `tg` was started from, if there is one and `tg` is in its foreground.
pub(super) fn open() -> io::Result<Option<OwnedFd>> {
    let Ok(terminal) = file() else { return Ok(None) };
    Ok(is_ours(&terminal).then(|| terminal.into()))
}

pub(super) fn file() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

pub(super) fn is_ours(terminal: &File) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp())
}

/// Takes the foreground back from a job that had it, if that still has it or nobody has.
pub(super) fn take_back() {
    if let Ok(terminal) = file() {
        // It may have gone to somebody else by now, or have been closed: then it is not ours to take.
        let _ = foreground::take(&terminal);
    }
}

/// Gives the foreground to the process group of a job.
pub(super) fn give_to(group: u32) {
    if let Ok(terminal) = file()
        && is_ours(&terminal)
    {
        let _ = foreground::give(&terminal, group);
    }
}
