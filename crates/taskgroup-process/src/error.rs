//! What can be wrong with a command.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::exit::{Exit, Leak};
use crate::signal;

/// Why a command did not succeed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use taskgroup_process::{Command, Error};
/// let error = Command::new("no-such-program").run().await.unwrap_err();
/// assert!(matches!(error, Error::NotFound { .. }));
/// assert_eq!(error.to_string(), "no-such-program: there is no such program");
///
/// let error = Command::shell("exit 3").run().await.unwrap_err();
/// assert!(matches!(error, Error::Failed { code: 3, .. }));
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no such program, neither under its path nor in the folders of `PATH`.
    NotFound {
        /// As it was asked for.
        program: String,
    },
    /// There is one, and it cannot be executed: no permission, or not a program for this machine.
    NotExecutable {
        /// As it was asked for.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// Its working directory is not there, or cannot be entered.
    NoDirectory {
        /// As it was asked for.
        program: String,
        /// The working directory.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It could not be started for another reason: too many processes, a NUL in an argument.
    NotStarted {
        /// As it was asked for.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It exited with another code than 0.
    Failed {
        /// As it was asked for.
        program: String,
        /// The exit code.
        code: i32,
        /// How it ended.
        exit: Box<Exit>,
    },
    /// A signal ended it, that was not sent by its group.
    Killed {
        /// As it was asked for.
        program: String,
        /// The signal's number.
        signal: i32,
        /// How it ended.
        exit: Box<Exit>,
    },
    /// Its own timeout was over. It has been ended.
    TimedOut {
        /// As it was asked for.
        program: String,
        /// The timeout.
        after: Duration,
        /// How it ended.
        exit: Box<Exit>,
    },
    /// It was ended because somebody asked for it.
    Cancelled {
        /// As it was asked for.
        program: String,
        /// How it ended.
        exit: Box<Exit>,
    },
    /// It succeeded, and left processes behind, which [`LeakPolicy::Fail`](crate::LeakPolicy::Fail) forbids. They
    /// have been ended.
    Leaked {
        /// As it was asked for.
        program: String,
        /// How it ended.
        exit: Box<Exit>,
    },
    /// Somebody killed the process that keeps it; the command was ended with it.
    KeeperLost {
        /// As it was asked for.
        program: String,
        /// How it ended, as far as known.
        exit: Box<Exit>,
    },
    /// Its output could not be read.
    Output {
        /// As it was asked for.
        program: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// How the command ended, if it was started.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Failed { exit, .. }
            | Self::Killed { exit, .. }
            | Self::TimedOut { exit, .. }
            | Self::Cancelled { exit, .. }
            | Self::Leaked { exit, .. }
            | Self::KeeperLost { exit, .. } => Some(exit),
            _ => None,
        }
    }

    /// The exit code by which shells tell of such an end: its own code, 128 and the signal's number, 124 for a timeout, 126, 127.
    pub fn shell_code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::Failed { code, .. } => *code,
            Self::Killed { signal, .. } => 128 + signal,
            Self::TimedOut { .. } => 124,
            Self::Cancelled { exit, .. } => exit.signal().map_or(1, |signal| 128 + signal),
            Self::KeeperLost { .. } => 128 + libc::SIGKILL,
            Self::NoDirectory { .. }
            | Self::NotStarted { .. }
            | Self::Leaked { .. }
            | Self::Output { .. } => 1,
        }
    }

    fn program(&self) -> &str {
        match self {
            Self::NotFound { program }
            | Self::NotExecutable { program, .. }
            | Self::NoDirectory { program, .. }
            | Self::NotStarted { program, .. }
            | Self::Failed { program, .. }
            | Self::Killed { program, .. }
            | Self::TimedOut { program, .. }
            | Self::Cancelled { program, .. }
            | Self::Leaked { program, .. }
            | Self::KeeperLost { program, .. }
            | Self::Output { program, .. } => program,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.program())?;
        match self {
            Self::NotFound { .. } => f.write_str("there is no such program"),
            Self::NotExecutable { .. } => f.write_str("it cannot be executed"),
            Self::NoDirectory { directory, .. } => {
                write!(f, "its working directory {} cannot be entered", directory.display())
            }
            Self::NotStarted { .. } => f.write_str("it could not be started"),
            Self::Failed { code, .. } => write!(f, "exit code {code}"),
            Self::Killed { signal, .. } => write!(f, "killed by {}", signal::name(*signal)),
            Self::TimedOut { after, exit, .. } => {
                write!(f, "ended after its timeout of {after:?}")?;
                if exit.killed() > 0 { f.write_str(", which needed SIGKILL") } else { Ok(()) }
            }
            Self::Cancelled { exit, .. } => {
                f.write_str(if exit.killed() > 0 { "cancelled, which needed SIGKILL" } else { "cancelled" })
            }
            Self::Leaked { exit, .. } => leaked(f, exit.leaks()),
            Self::KeeperLost { .. } => f.write_str("its keeper was killed, and it was ended"),
            Self::Output { .. } => f.write_str("its output could not be read"),
        }
    }
}

fn leaked(f: &mut fmt::Formatter<'_>, leaks: &[Leak]) -> fmt::Result {
    let (count, plural) = (leaks.len(), if leaks.len() == 1 { "" } else { "es" });
    write!(f, "it left {count} process{plural} behind, now ended")?;
    match leaks.first() {
        Some(first) => write!(f, ": {first}"),
        None => Ok(()),
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotExecutable { source, .. }
            | Self::NoDirectory { source, .. }
            | Self::NotStarted { source, .. }
            | Self::Output { source, .. } => Some(source),
            _ => None,
        }
    }
}
