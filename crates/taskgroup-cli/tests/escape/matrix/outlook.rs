//! What a stage sees: who announces himself, when nobody is left, when the runner has ended.
//!
//! # Invariants
//!
//! 1. `nobody` is what the FIFO says: no process has its writing end open any more. It is looked at last when the runner's
//!    end is noticed and before the runner is reaped: so `nobody_at_end` tells of that moment, not of a later one.
//! 2. Only this reaps; and not a process that it has not named.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, waitpid};
use serde::{Deserialize, Serialize};

use super::proc::{self, Seen};

/// How a process has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
}

/// One that has announced itself.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    pub(crate) kind: String,
    process: Seen,
}

impl Announced {
    pub(crate) fn is_alive(&self) -> bool {
        let now = proc::look(self.process.pid);
        now.is_some_and(|now| now.started == self.process.started && !now.is_zombie)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.pid
    }
}

/// What a stage sees.
pub(crate) struct Outlook {
    alive: File,
    text: Vec<u8>,
    pub(crate) announced: Vec<Announced>,
    pub(crate) nobody: bool,
    runner: Pid,
    process: OwnedFd,
    pub(crate) end: Option<End>,
    pub(crate) nobody_at_end: bool,
    /// The children that had come to this process, as a subreaper, by the runner's end.
    pub(crate) orphans_at_end: Vec<Seen>,
    /// Our side of the runner's terminal.
    pub(crate) terminal: Option<File>,
    pub(crate) output: Vec<u8>,
}

impl Outlook {
    /// `alive` does not block when it is read.
    pub(crate) fn new(alive: File, runner: Pid, terminal: Option<File>) -> Self {
        Self {
            alive,
            text: Vec::new(),
            announced: Vec::new(),
            nobody: false,
            runner,
            process: pidfd_open(runner, PidfdFlags::empty()).expect("it has not been reaped"),
            end: None,
            nobody_at_end: false,
            orphans_at_end: Vec::new(),
            terminal,
            output: Vec::new(),
        }
    }

    /// Looks until it is so; says whether it is, within the limit.
    pub(crate) fn until(&mut self, limit: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let until = Instant::now() + limit;
        loop {
            if is_so(self) {
                return true;
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            self.look(rest);
        }
    }

    /// Waits for something to happen, and takes note of it.
    fn look(&mut self, limit: Duration) {
        let mut watched = Vec::with_capacity(3);
        if !self.nobody {
            watched.push(PollFd::new(&self.alive, PollFlags::IN));
        }
        if self.end.is_none() {
            watched.push(PollFd::new(&self.process, PollFlags::IN));
        }
        watched.extend(self.terminal.as_ref().map(|terminal| PollFd::new(terminal, PollFlags::IN)));
        wait(&mut watched, limit);
        let ended = self.end.is_none() && has_ended(&self.process);
        self.read_alive();
        self.read_terminal();
        if ended {
            self.nobody_at_end = self.nobody;
            let own = std::process::id() as i32;
            self.orphans_at_end = proc::children(own);
            self.orphans_at_end.retain(|child| child.pid != self.runner.as_raw_nonzero().get());
            self.end = reap(self.runner);
        }
    }

    fn read_alive(&mut self) {
        let mut buffer = [0; 1024];
        loop {
            match self.alive.read(&mut buffer) {
                // Nobody yet, or nobody any more.
                Ok(0) => {
                    self.nobody = !self.announced.is_empty();
                    return;
                }
                Ok(read) => self.hear(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.nobody = false;
                    return;
                }
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            let line = String::from_utf8(line).expect("announcements are text");
            let (kind, pid) = line.trim_end().split_once(' ').expect("a kind and a pid");
            let pid = pid.parse().expect("a pid");
            // One that is gone already need not be looked for.
            let gone = Seen { pid, name: String::new(), is_zombie: true, started: 0 };
            let process = proc::look(pid).unwrap_or(gone);
            self.announced.push(Announced { kind: kind.to_owned(), process });
        }
    }

    fn read_terminal(&mut self) {
        let Some(terminal) = &mut self.terminal else { return };
        let mut ready = [PollFd::new(&*terminal, PollFlags::IN)];
        if !wait(&mut ready, Duration::ZERO) {
            return;
        }
        let mut buffer = [0; 4096];
        match terminal.read(&mut buffer) {
            Ok(read) if read > 0 => self.output.extend_from_slice(&buffer[..read]),
            // Nobody has the other side any more.
            _ => self.terminal = None,
        }
    }
}

/// Waits until all children of this process have ended, and reaps them: who they were, and how they ended.
///
/// # Errors
///
/// Those that are left when the time is over.
pub(crate) fn reap_children(limit: Duration) -> Result<Vec<(Seen, End)>, Vec<Seen>> {
    let until = Instant::now() + limit;
    let mut ended = Vec::new();
    loop {
        let children = proc::children(std::process::id() as i32);
        let Some(child) = children.first() else { return Ok(ended) };
        let pid = Pid::from_raw(child.pid).expect("a child has a pid");
        let process =
            pidfd_open(pid, PidfdFlags::empty()).expect("a child that has not been reaped is there");
        let rest = until.saturating_duration_since(Instant::now());
        if !wait(&mut [PollFd::new(&process, PollFlags::IN)], rest) {
            return Err(children);
        }
        ended.extend(reap(pid).map(|end| (child.clone(), end)));
    }
}

fn has_ended(process: &impl AsFd) -> bool {
    wait(&mut [PollFd::new(process, PollFlags::IN)], Duration::ZERO)
}

fn reap(pid: Pid) -> Option<End> {
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).expect("it is a child")?;
    Some(end_of(status))
}

fn end_of(status: WaitStatus) -> End {
    match status.exit_status() {
        Some(code) => End::Exit(code),
        None => End::Signal(status.terminating_signal().unwrap_or_default()),
    }
}

/// Says whether one of them is ready.
fn wait(watched: &mut [PollFd<'_>], limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).expect("limits are short");
    // An interruption is nothing; who asked asks again.
    poll(watched, Some(&limit)).is_ok_and(|ready| ready > 0)
}
