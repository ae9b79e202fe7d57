//! What several test programs need: processes that do what a test says, and the check that none of them is left.
//!
//! Each test program is its own helper. Started as `program @ MARK STEPS…` it does not come to its tests: before `main` it
//! does those steps ([`helper`]) and ends. So the tests need no interpreter, and know their processes by the mark.
//!
//! A process of a test has for its standard output the one pipe of a [`Watch`], and so have all its descendants. What
//! they say is read from it, and it is at its end only when all of them are dead.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod helper;
pub(crate) mod programs;

use std::io::{PipeReader, PipeWriter, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use taskgroup_process::{Command, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;

/// No test takes this long; one that does hangs, and says so.
const LIMIT: Duration = Duration::from_secs(60);

/// Awaits something that must come.
pub(crate) async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(LIMIT, what).await.expect("it hangs")
}

/// The processes of one test.
pub(crate) struct Watch {
    pub(crate) mark: String,
    said: BufReader<Receiver>,
    writer: Option<PipeWriter>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("test-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (reader, writer) = std::io::pipe().unwrap();
        let said = BufReader::new(Receiver::from_owned_fd(reader.into()).unwrap());
        Self { mark, said, writer: Some(writer) }
    }

    /// The words after the name of the program.
    pub(crate) fn words(&self, steps: &str) -> Vec<String> {
        let words = ["@", &self.mark].into_iter().chain(steps.split_whitespace());
        words.map(str::to_owned).collect()
    }

    /// The end that is written to.
    pub(crate) fn writer(&self) -> PipeWriter {
        self.writer.as_ref().unwrap().try_clone().unwrap()
    }

    /// A command that does these steps.
    pub(crate) fn command(&self, steps: &str) -> Command {
        let own = std::env::current_exe().unwrap();
        let writer = std::os::fd::OwnedFd::from(self.writer());
        Command::new(own).args(self.words(steps)).stdout(Stdio::from(writer)).name(steps.to_owned())
    }

    /// A program that does these steps, outside all groups.
    pub(crate) fn program(&self, steps: &str) -> std::process::Command {
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program.args(self.words(steps)).stdout(self.writer());
        program
    }

    /// The next line that any of them says.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.said.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// The next so many lines, sorted: who is first is nobody's business.
    pub(crate) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(self.line().await);
        }
        lines.sort();
        lines
    }

    /// Waits for `word`, and gives the pid of who said it.
    pub(crate) async fn pid_of(&mut self, word: &str) -> i32 {
        loop {
            let line = self.line().await;
            assert!(!line.is_empty(), "nobody said {word}");
            if let Some(pid) = line.strip_prefix(word) {
                return pid.trim().parse().unwrap();
            }
        }
    }

    /// None of its processes is alive now.
    pub(crate) async fn assert_nobody(&mut self) {
        assert_eq!(alive(&self.mark), Vec::<String>::new());
        self.nobody().await;
        assert_eq!(alive(&self.mark), Vec::<String>::new());
    }

    /// Waits until none of its processes is alive, keepers of programs that were killed included.
    pub(crate) async fn gone(&mut self) {
        self.nobody().await;
        // A keeper has nothing to be noticed by, but that it is there.
        let wait = async {
            while !alive(&self.mark).is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "alive: {:?}", alive(&self.mark).first());
    }

    /// Waits until none of its processes is alive; gives what was said meanwhile.
    pub(crate) async fn nobody(&mut self) -> String {
        self.writer = None;
        let mut rest = String::new();
        let read = tokio::io::AsyncReadExt::read_to_string(&mut self.said, &mut rest);
        if tokio::time::timeout(LIMIT, read).await.is_err() {
            let alive = alive(&self.mark);
            panic!("{} are alive, the first: {:?}; said: {rest}", alive.len(), alive.first());
        }
        rest
    }
}

/// The living processes that have this mark among their arguments.
pub(crate) fn alive(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(mark) {
            found.push(format!("{pid}: {line}"));
        }
    }
    found
}

/// Whether a process is alive, and not a zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The parent of a process.
pub(crate) fn parent_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: takes numbers only.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "{}", std::io::Error::last_os_error());
}

/// Whether all that can be read from this pipe has been, and nobody can write to it any more.
pub(crate) fn is_at_end(mut pipe: PipeReader) -> bool {
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).is_ok_and(|read| read == 0)
}
