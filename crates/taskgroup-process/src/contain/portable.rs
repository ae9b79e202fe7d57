//! Containment where the kernel has no child subreapers: a process group for each command.
//!
//! Weaker than on Linux: a process that makes a group or a session of its own is lost sight of, and when the program is
//! killed with SIGKILL nobody ends what it has started.
//!
//! # Invariants
//!
//! 1. The group is signalled only while its leader has not been reaped, so that the group's number is its own; what is left in it is
//!    killed before the leader is reaped.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{Notice, Refused, Spec, Tally};

pub(crate) fn install() -> bool {
    false
}

/// A command that runs, in its process group.
#[derive(Debug)]
pub(crate) struct Contained {
    child: std::process::Child,
    /// Done when the leader has ended; it is not reaped by that.
    ended: JoinHandle<()>,
    kill_at: Mutex<Option<Instant>>,
    ordered: Notify,
    tally: Tally,
    is_over: bool,
}

impl Contained {
    #[allow(clippy::unused_async, reason = "the same shape on every platform")]
    pub(crate) async fn start(spec: Spec) -> Result<Self, Refused> {
        let mut command = std::process::Command::new(&spec.program);
        if let Some(name) = spec.arguments.first() {
            command.arg0(name);
        }
        command.args(spec.arguments.iter().skip(1)).env_clear().envs(&spec.environment).process_group(0);
        if let Some(directory) = &spec.directory {
            command.current_dir(directory);
        }
        let [stdin, stdout, stderr] = spec.streams.map(Stdio::from);
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let directory = spec.directory.as_ref().is_some_and(|directory| !directory.is_dir());
        let child = command.spawn().map_err(|error| Refused { error, directory })?;
        let pid = child.id();
        Ok(Self {
            child,
            ended: tokio::task::spawn_blocking(move || wait_without_reaping(pid)),
            kill_at: Mutex::new(None),
            ordered: Notify::new(),
            tally: Tally::default(),
            is_over: false,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What happens next. Cancel safe.
    pub(crate) async fn next(&mut self) -> Notice {
        while !self.is_over {
            let kill_at = *self.kill_at();
            let due = async {
                match kill_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = &mut self.ended => {
                    self.signal(libc::SIGKILL);
                    self.tally.status = self.child.wait().ok().map(ExitStatusExt::into_raw);
                    self.is_over = true;
                }
                () = due => {
                    self.kill();
                    *self.kill_at() = None;
                    self.tally.killed = 1;
                }
                () = self.ordered.notified() => {}
            }
        }
        Notice::Empty(self.tally)
    }

    pub(crate) fn terminate(&self, grace: Duration) {
        self.signal(libc::SIGTERM);
        self.signal(libc::SIGCONT);
        let at = Instant::now().checked_add(grace);
        let mut kill_at = self.kill_at();
        *kill_at = match (*kill_at, at) {
            (Some(before), Some(at)) => Some(before.min(at)),
            (before, at) => before.or(at),
        };
        drop(kill_at);
        self.ordered.notify_one();
    }

    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    pub(crate) fn suspend(&self) {
        self.signal(libc::SIGTSTP);
    }

    pub(crate) fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn kill_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.kill_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: i32) {
        if !self.is_over {
            // SAFETY: takes numbers only.
            unsafe { libc::kill(-(self.child.id() as i32), signal) };
        }
    }
}

impl Drop for Contained {
    /// Kills the group, and waits for the leader (R2).
    fn drop(&mut self) {
        if !self.is_over {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

fn wait_without_reaping(pid: u32) {
    loop {
        // SAFETY: zeroed is a valid `siginfo_t`, and it is writable.
        let waited = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if waited == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}
