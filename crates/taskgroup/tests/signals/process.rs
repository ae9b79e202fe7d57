//! The program as a child process: its lines as they come, its signals, its code.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Names the program that this executable is to be.
pub(crate) const PROGRAM: &str = "TASKGROUP_SIGNALS_PROGRAM";
/// For the day when this fails: it is never reached otherwise.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Program {
    child: Child,
    out: Lines,
    err: Lines,
}

/// How it ended, and all that it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

struct Lines {
    receiver: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Its standard input stays open, and silent, for as long as it lives.
    pub(crate) fn start(name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(PROGRAM, name)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    /// Returns when it has printed this line.
    pub(crate) fn prints(&mut self, line: &str) {
        self.out.wait_for(line);
    }

    /// Returns when it has printed a line with this in it on standard error.
    pub(crate) fn tells(&mut self, part: &str) {
        self.err.wait_for(part);
    }

    /// `signal` is `INT` or `TERM`.
    pub(crate) fn send(&self, signal: &str) {
        let kill = format!("kill -s {signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// A line on its standard input.
    pub(crate) fn answer(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    pub(crate) fn end(mut self) -> Ended {
        let (out, err) = (self.out.rest(), self.err.rest());
        let code = self.child.wait().unwrap().code();
        Ended { code, out, err }
    }
}

impl Drop for Program {
    /// A test that failed leaves nobody behind.
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _nobody_listens = sender.send(line);
            }
        });
        Self { receiver, seen: Vec::new() }
    }

    fn wait_for(&mut self, part: &str) {
        loop {
            match self.receiver.recv_timeout(LIMIT) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("{part:?} does not come ({error}): {:#?}", self.seen),
            }
            if self.seen.last().is_some_and(|line| line.contains(part)) {
                return;
            }
        }
    }

    /// Everything, the stream having ended.
    fn rest(&mut self) -> Vec<String> {
        loop {
            match self.receiver.recv_timeout(LIMIT) {
                Ok(line) => self.seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    return std::mem::take(&mut self.seen);
                }
                Err(error) => panic!("it does not end ({error}): {:#?}", self.seen),
            }
        }
    }
}
