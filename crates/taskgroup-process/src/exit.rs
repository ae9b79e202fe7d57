//! How a command ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use crate::error::Error;

/// How a command ended, and all that it had started.
///
/// When there is one, no process of the command is alive any more: neither the one that was started, the *leader*, nor
/// any descendant of it, but for [`survivors`](Self::survivors).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup_process::Error> {
/// let exit = taskgroup_process::Command::shell("exit 0").run().await?;
/// assert!(exit.success() && exit.leaks().is_empty());
/// println!("{:?}, of it {:?} on a processor", exit.elapsed(), exit.usage().user);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Exit {
    pub(crate) program: String,
    pub(crate) pid: u32,
    pub(crate) status: Option<ExitStatus>,
    pub(crate) ended: Ended,
    pub(crate) started_at: SystemTime,
    pub(crate) elapsed: Duration,
    pub(crate) usage: Usage,
    pub(crate) leaks: Vec<Leak>,
    pub(crate) policy: LeakPolicy,
    pub(crate) terminated: u32,
    pub(crate) killed: u32,
    pub(crate) survivors: u32,
}

/// Why a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Nobody asked it to.
    ByItself,
    /// It was asked to ([`Running::terminate`](crate::Running::terminate), [`Running::kill`](crate::Running::kill)).
    Cancelled,
    /// Its time was over ([`Command::timeout`](crate::Command::timeout)); so long it had.
    TimedOut(Duration),
    /// Its keeper was killed, and everything with it.
    KeeperLost,
}

/// What a command and its descendants have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time in their own code, of all those that had ended and been waited for.
    pub user: Duration,
    /// Processor time in the system's code.
    pub system: Duration,
    /// The largest amount of memory that one of them had in use, in bytes.
    pub max_rss: u64,
}

/// A process that lived on after the leader had ended.
///
/// It has been ended since. A process that ends within a tenth of a second after the leader is none: the other end of a
/// pipe needs a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leak {
    /// Its process id. Another process may have it by now.
    pub pid: u32,
    /// Its command line, the first 256 bytes.
    pub command: String,
}

/// What leaks do to the result of a command. They are ended in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeakPolicy {
    /// They are listed in [`Exit::leaks`].
    #[default]
    Report,
    /// A command that would have succeeded fails with [`Error::Leaked`].
    Fail,
    /// They are not even listed.
    Ignore,
}

impl Exit {
    /// Whether the leader exited with 0, by itself or not.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The leader's exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// The signal that ended the leader.
    pub fn signal(&self) -> Option<i32> {
        self.status.and_then(|status| status.signal())
    }

    /// The leader's status; `None` if its keeper was killed and so nobody could learn it.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Why it ended.
    pub fn ended(&self) -> Ended {
        self.ended
    }

    /// The leader's process id. Another process may have it by now.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it was started.
    pub fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// How long it took, to the end of the last descendant.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What it has used.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The descendants that outlived the leader, at most 64 of them.
    pub fn leaks(&self) -> &[Leak] {
        &self.leaks
    }

    /// How many processes were sent SIGTERM.
    pub fn terminated(&self) -> u32 {
        self.terminated
    }

    /// How many processes were sent SIGKILL, since the grace period was over, or at once.
    pub fn killed(&self) -> u32 {
        self.killed
    }

    /// How many processes are still alive: this program may not signal them, since they belong to another user.
    pub fn survivors(&self) -> u32 {
        self.survivors
    }

    /// Itself if the command succeeded, or what was wrong.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Cancelled`], [`Error::KeeperLost`], [`Error::Killed`], [`Error::Failed`],
    /// [`Error::Leaked`]: the first of them that applies.
    pub fn into_result(self) -> Result<Self, Error> {
        let program = self.program.clone();
        let exit = Box::new(self);
        match exit.ended {
            Ended::TimedOut(after) => return Err(Error::TimedOut { program, after, exit }),
            Ended::Cancelled => return Err(Error::Cancelled { program, exit }),
            Ended::KeeperLost => return Err(Error::KeeperLost { program, exit }),
            Ended::ByItself => {}
        }
        if let Some(signal) = exit.signal() {
            return Err(Error::Killed { program, signal, exit });
        }
        match exit.code() {
            Some(0) if exit.policy == LeakPolicy::Fail && !exit.leaks.is_empty() => {
                Err(Error::Leaked { program, exit })
            }
            Some(0) => Ok(*exit),
            code => Err(Error::Failed { program, code: code.unwrap_or(-1), exit }),
        }
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.command, self.pid)
    }
}
