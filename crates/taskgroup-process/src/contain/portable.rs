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
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{Notice, Refused, Spec, Tally};

/// The unit of `ru_maxrss`, in bytes.
const RSS_UNIT: u64 = if cfg!(any(target_os = "macos", target_os = "ios")) { 1 } else { 1024 };

pub(crate) fn install() -> bool {
    false
}

/// A command that runs, in its process group.
#[derive(Debug)]
pub(crate) struct Contained {
    child: Child,
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
        if spec.isolate || spec.cgroup.is_some() {
            let error = io::Error::new(io::ErrorKind::Unsupported, "isolate() and cgroup() are for Linux");
            return Err(Refused { error, directory: false });
        }
        let spawned = match spawn(&spec, false) {
            // A script without `#!` is the shell's.
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => spawn(&spec, true),
            other => other,
        };
        let child = spawned.map_err(|error| {
            let is_bad = spec.directory.as_ref().is_some_and(|directory| !directory.is_dir());
            Refused { directory: is_bad && error.kind() != io::ErrorKind::InvalidInput, error }
        })?;
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
                    self.reap();
                    self.is_over = true;
                    return Notice::LeaderEnded { status: self.tally.status.unwrap_or_default() };
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

    /// The leader has ended; what it has used, with those that it has reaped itself.
    fn reap(&mut self) {
        let mut status = 0;
        // SAFETY: zeroed is a valid `rusage`; both are writable.
        let (reaped, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(self.child.id() as i32, &raw mut status, 0, &raw mut usage), usage)
        };
        let time = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
        };
        if reaped > 0 {
            self.tally.status = Some(status);
            (self.tally.user, self.tally.system) = (time(usage.ru_utime), time(usage.ru_stime));
            self.tally.max_rss = (usage.ru_maxrss as u64).saturating_mul(RSS_UNIT);
        }
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

fn spawn(spec: &Spec, by_shell: bool) -> io::Result<Child> {
    let mut command = if by_shell {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg(&spec.program);
        shell
    } else {
        let mut command = std::process::Command::new(&spec.program);
        spec.arguments.first().map(|name| command.arg0(name));
        command
    };
    command.args(spec.arguments.iter().skip(1)).env_clear().envs(&spec.environment).process_group(0);
    if let Some(directory) = &spec.directory {
        command.current_dir(directory);
    }
    let [stdin, stdout, stderr] = &spec.streams;
    command.stdin(stdin.try_clone()?).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    if let Some(terminal) = &spec.terminal {
        let terminal = terminal.try_clone()?;
        // SAFETY: the closure makes plain calls, with a descriptor that it has.
        unsafe { command.pre_exec(move || take_foreground(&terminal)) };
    }
    command.spawn()
}

/// Gives the terminal's foreground to this process's group, in which it is alone.
fn take_foreground(terminal: &OwnedFd) -> io::Result<()> {
    // SAFETY: numbers only. A group in the background is stopped for this call unless it ignores SIGTTOU.
    unsafe {
        let before = libc::signal(libc::SIGTTOU, libc::SIG_IGN);
        libc::tcsetpgrp(terminal.as_raw_fd(), libc::getpid());
        libc::signal(libc::SIGTTOU, before);
    }
    Ok(())
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
