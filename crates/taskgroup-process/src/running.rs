//! A command that runs.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::unix::pipe::{Receiver, Sender};

use crate::command::Pipes;
use crate::contain::{Contained, Notice, Tally};
use crate::exit::{Ended, Exit, Leak, LeakPolicy, Usage};

/// A command that runs, with all its descendants.
///
/// Dropping it kills them all, and waits until they are gone: a moment, since SIGKILL takes no time to be heeded. If one
/// stands still in the system (a dead network file system) it waits for 5 s, and says so in the log.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup_process::Error> {
/// use std::time::Duration;
/// use taskgroup_process::{Command, Ended};
/// let mut running = Command::new("sleep").arg("1000").start().await?;
/// println!("pid {}", running.pid());
/// running.terminate(Duration::from_secs(1));
/// let exit = running.wait().await;
/// assert_eq!((exit.ended(), exit.signal()), (Ended::Cancelled, Some(15)));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Running {
    contained: Contained,
    /// The end of its standard input, if that is [`Stdio::piped`](crate::Stdio::piped). Drop it to end the input.
    pub stdin: Option<Sender>,
    /// The end of its standard output, if that is piped.
    pub stdout: Option<Receiver>,
    /// The end of its standard error, if that is piped.
    pub stderr: Option<Receiver>,
    program: String,
    policy: LeakPolicy,
    grace: Duration,
    started_at: SystemTime,
    started: Instant,
    ended: Ended,
    leaks: Vec<Leak>,
    exit: Option<Exit>,
}

/// What happens to a command that runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A signal has stopped the leader; most often because it has tried to read from the terminal in the background.
    Stopped {
        /// Its number.
        signal: i32,
    },
    /// The leader has ended. What it has started may be alive.
    LeaderEnded {
        /// Its exit status.
        status: ExitStatus,
    },
    /// A descendant has outlived the leader. It is being ended.
    Leaked(Leak),
    /// Nothing of the command is alive.
    Ended(Exit),
}

impl Running {
    pub(crate) fn new(
        contained: Contained,
        pipes: Pipes,
        program: String,
        policy: LeakPolicy,
        grace: Duration,
        (started_at, started): (SystemTime, Instant),
    ) -> Self {
        Self {
            contained,
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            program,
            policy,
            grace,
            started_at,
            started,
            ended: Ended::ByItself,
            leaks: Vec::new(),
            exit: None,
        }
    }

    /// The process id of the leader, which is that of its process group too.
    pub fn pid(&self) -> u32 {
        self.contained.pid()
    }

    /// How long its processes have between SIGTERM and SIGKILL ([`Command::grace`](crate::Command::grace)).
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Sends SIGTERM to all its processes, and SIGKILL to those that are left after `grace`. A second call can only
    /// bring the end nearer.
    pub fn terminate(&mut self, grace: Duration) {
        self.end_as(Ended::Cancelled);
        self.contained.terminate(grace);
    }

    /// As [`terminate`](Self::terminate), because it has had `after` and that was its time: its [`Exit`] says so.
    pub fn time_out(&mut self, after: Duration, grace: Duration) {
        self.end_as(Ended::TimedOut(after));
        self.contained.terminate(grace);
    }

    /// Sends SIGKILL to all its processes.
    pub fn kill(&mut self) {
        self.end_as(Ended::Cancelled);
        self.contained.kill();
    }

    /// Stops all its processes (SIGTSTP), and the grace periods that have begun.
    pub fn suspend(&mut self) {
        self.contained.suspend();
    }

    /// Lets them go on (SIGCONT).
    pub fn resume(&mut self) {
        self.contained.resume();
    }

    /// What happens next. After [`Event::Ended`] it gives that again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next_event(&mut self) -> Event {
        if let Some(exit) = &self.exit {
            return Event::Ended(exit.clone());
        }
        match self.contained.next().await {
            Notice::Stopped { signal } => Event::Stopped { signal },
            Notice::LeaderEnded { status } => Event::LeaderEnded { status: ExitStatus::from_raw(status) },
            Notice::Leaked { pid, command } => {
                let leak = Leak { pid, command };
                if self.policy != LeakPolicy::Ignore {
                    self.leaks.push(leak.clone());
                }
                Event::Leaked(leak)
            }
            Notice::Empty(tally) => {
                let exit = self.exit_of(tally);
                self.exit = Some(exit.clone());
                Event::Ended(exit)
            }
        }
    }

    /// Waits until nothing of it is alive. Its pipes are to be read meanwhile, or it may wait for ever.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&mut self) -> Exit {
        loop {
            if let Event::Ended(exit) = self.next_event().await {
                return exit;
            }
        }
    }

    fn end_as(&mut self, ended: Ended) {
        if self.ended == Ended::ByItself {
            self.ended = ended;
        }
    }

    fn exit_of(&mut self, tally: Tally) -> Exit {
        let mut usage = Usage::default();
        (usage.user, usage.system, usage.max_rss) = (tally.user, tally.system, tally.max_rss);
        Exit {
            program: self.program.clone(),
            pid: self.pid(),
            status: tally.status.map(ExitStatus::from_raw),
            ended: if tally.is_lost { Ended::KeeperLost } else { self.ended },
            started_at: self.started_at,
            elapsed: self.started.elapsed(),
            usage,
            leaks: std::mem::take(&mut self.leaks),
            policy: self.policy,
            terminated: tally.terminated,
            killed: tally.killed,
            survivors: tally.survivors,
        }
    }
}
