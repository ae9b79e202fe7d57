//! Who has the foreground of a terminal: who may read from it, and whom Ctrl-C reaches.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Takes the foreground of a terminal for this process's own group, also from the background.
///
/// ```no_run
/// let terminal = std::fs::File::open("/dev/tty")?;
/// taskgroup_process::foreground::take(&terminal)?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
///
/// What the system says: it is not this process's terminal.
pub fn take(terminal: impl AsFd) -> io::Result<()> {
    // SAFETY: has no preconditions.
    set(&terminal, unsafe { libc::getpgrp() })
}

/// Gives the foreground of a terminal to a process group: the [pid](crate::Running::pid) of a command is that of its group.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use taskgroup_process::{Command, foreground};
/// let terminal = std::fs::File::open("/dev/tty")?;
/// let mut editor = Command::new("vi").stdin(terminal.try_clone()?).start().await?;
/// foreground::give(&terminal, editor.pid())?;
/// editor.wait().await;
/// foreground::take(&terminal)?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// What the system says: there is no such group, or it is not this process's terminal.
pub fn give(terminal: impl AsFd, group: u32) -> io::Result<()> {
    let group = i32::try_from(group).map_err(|_| io::ErrorKind::InvalidInput)?;
    set(&terminal, group)
}

/// With SIGTTOU blocked: otherwise it would stop a process that does this from the background.
fn set(terminal: &impl AsFd, group: i32) -> io::Result<()> {
    // SAFETY: zeroed is a valid set, all are writable, and the mask of this thread is as before in the end.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
        let done = libc::tcsetpgrp(terminal.as_fd().as_raw_fd(), group);
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        if done == 0 { Ok(()) } else { Err(error) }
    }
}
