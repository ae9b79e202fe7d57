//! How the processes of a command are held together: on Linux by a keeper, elsewhere by a process group.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod linux;
#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
use linux as platform;
#[cfg(not(all(target_os = "linux", not(taskgroup_process_portable))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(taskgroup_process_portable))))]
use portable as platform;

pub(crate) use platform::{Contained, install};

/// How many bytes are in a pipe.
pub(crate) fn unread(pipe: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request writes one number, to `bytes`.
    unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD as _, &raw mut bytes) };
    usize::try_from(bytes).unwrap_or(0)
}

/// All that a process is started with.
#[derive(Debug)]
pub(crate) struct Spec {
    /// A path: it has been looked for.
    pub(crate) program: PathBuf,
    /// Its own name first.
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: BTreeMap<OsString, OsString>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) streams: [OwnedFd; 3],
    /// The terminal it is to have the foreground of.
    pub(crate) terminal: Option<OwnedFd>,
    /// For what it leaves behind.
    #[cfg_attr(
        any(not(target_os = "linux"), taskgroup_process_portable),
        allow(dead_code, reason = "what is left is ended at once where nobody could tell when it is gone")
    )]
    pub(crate) grace: Duration,
    /// In a user and a PID namespace of its own.
    pub(crate) isolate: bool,
    /// The folder in which its cgroup is made.
    pub(crate) cgroup: Option<PathBuf>,
}

/// Why a command was not started.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: io::Error,
    /// Its working directory was at fault.
    pub(crate) directory: bool,
}

#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
impl Refused {
    /// The command was never tried.
    fn because(error: io::Error) -> Self {
        Self { error, directory: false }
    }
}

/// What happens to a command that runs.
#[derive(Debug)]
#[cfg_attr(
    any(not(target_os = "linux"), taskgroup_process_portable),
    allow(dead_code, reason = "only keepers learn of that")
)]
pub(crate) enum Notice {
    Stopped {
        signal: i32,
    },
    /// The leader has ended. Descendants may be alive.
    LeaderEnded {
        status: i32,
    },
    /// A descendant has outlived the leader.
    Leaked {
        pid: u32,
        command: String,
    },
    /// Nobody is alive.
    Empty(Tally),
}

/// What became of all processes of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// The wait status of the leader; `None` where nobody could learn it.
    pub(crate) status: Option<i32>,
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    /// In bytes.
    pub(crate) max_rss: u64,
    pub(crate) terminated: u32,
    pub(crate) killed: u32,
    pub(crate) survivors: u32,
    /// The keeper was killed.
    pub(crate) is_lost: bool,
}
