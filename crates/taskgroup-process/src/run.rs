//! A command as a future: what a task group has for a child.
//!
//! # Invariants
//!
//! 1. The future ends when nothing of the command is alive, and what it has written has been read. Nobody who could still
//!    write is waited for: then every writer the command had is gone, and what is in the pipes is all there will be, although a
//!    process elsewhere may hold an end of them.
//! 2. A cancel (R12) cuts the watching, and the cleanup that stands beside it ends the command: so it is awaited by whoever awaits this.
//! 3. A dropped future has dropped its [`Running`], which kills (R2).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use taskgroup::Ending;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::command::{Command, Sink};
use crate::contain::unread;
use crate::error::Error;
use crate::exit::Exit;
use crate::running::{Event, Running};
use crate::stdio::{Stdio, Stream};

/// No limit: SIGKILL comes after the grace period, and is heeded.
const CLEANUP_LIMIT: Duration = Duration::from_secs(u32::MAX as u64);

/// What a command has written, and how it ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Command {
    /// Runs it, until it and every descendant of it are gone.
    ///
    /// As a child of a group: `tg.spawn_into(Command::new("make").run())`, or in a block of its own with `?`. A cancel of
    /// its surroundings (a sibling failed, a timeout around it, Ctrl-C) ends the command, with SIGTERM, the grace
    /// period and SIGKILL, before the task ends.
    ///
    /// ```
    /// # #[tokio::main] async fn main() {
    /// use taskgroup_process::{Command, Error};
    /// let ended = taskgroup::scope::<(), taskgroup::Error, _>(async |tg| {
    ///     tg.spawn_into(Command::new("sleep").arg("1000").run()); // ended, and waited for
    ///     tg.spawn_into(Command::shell("exit 3").run());
    ///     Ok(())
    /// })
    /// .await;
    /// let errors = ended.unwrap_err();
    /// assert!(matches!(errors.first().unwrap().downcast_ref(), Some(Error::Failed { code: 3, .. })));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever is not an exit with 0: see [`Error`].
    ///
    /// # Cancel safety
    ///
    /// *Cancelled*, it ends the command gently and waits for it. *Dropped* (it lost in a `select!`, or its group is dropped), it
    /// sends SIGKILL and blocks its thread for the moment this takes.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time enabled.
    pub async fn run(self) -> Result<Exit, Error> {
        drive(self).await?.into_result()
    }

    /// Runs it as [`run`](Self::run) does, and gives what it has written.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup_process::Error> {
    /// let output = taskgroup_process::Command::new("echo").arg("hello").output().await?;
    /// assert_eq!(output.stdout, b"hello\n");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run). What a command wrote that failed is lost: with [`on_output`](Self::on_output) it is not.
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub async fn output(self) -> Result<Output, Error> {
        let written = Arc::new(std::sync::Mutex::new((Vec::new(), Vec::new())));
        let into = Arc::clone(&written);
        let command = self.stdout(Stdio::piped()).stderr(Stdio::piped()).on_output(move |stream, bytes| {
            let mut into = into.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match stream {
                Stream::Stdout => into.0.extend_from_slice(bytes),
                Stream::Stderr => into.1.extend_from_slice(bytes),
            }
        });
        let exit = command.run().await?;
        let mut written = written.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (stdout, stderr) = std::mem::take(&mut *written);
        Ok(Output { exit, stdout, stderr })
    }
}

/// A command between its start and its end.
struct Watched {
    running: Option<Running>,
    /// Its outputs. They outlive the watching that a cancel cuts: a command may write until its end.
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    sink: Option<Sink>,
    timeout: Option<Duration>,
}

async fn drive(mut command: Command) -> Result<Exit, Error> {
    let sink = command.sink.take();
    let watched = Watched { running: None, stdout: None, stderr: None, sink, timeout: command.timeout };
    let watched = Arc::new(Mutex::new(watched));
    let theirs = Arc::clone(&watched);
    let work = async move {
        let mut watched = theirs.lock().await;
        let mut running = command.start().await?;
        (watched.stdout, watched.stderr) = (running.stdout.take(), running.stderr.take());
        watched.running = Some(running);
        watched.watch().await
    };
    let cleanup = |ending| async move {
        if let Ending::Cancelled(_) = ending {
            watched.lock().await.cancel().await;
        }
    };
    taskgroup::finally_for(CLEANUP_LIMIT, work, cleanup).await
}

impl Watched {
    /// Ends it. What it still writes is read.
    async fn cancel(&mut self) {
        if let Some(running) = &mut self.running {
            running.terminate(running.grace());
            self.timeout = None;
            // The error of its output is nobody's any more: the task is cancelled.
            let _ = self.watch().await;
        }
    }

    async fn watch(&mut self) -> Result<Exit, Error> {
        let Self { running: Some(running), stdout, stderr, sink, timeout } = self else {
            unreachable!("it has been started")
        };
        let mut buffers = (vec![0; BUFFER], vec![0; BUFFER]);
        let mut write = |stream, bytes: &[u8]| {
            if let Some(sink) = sink {
                sink(stream, bytes);
            }
        };
        let deadline = timeout.and_then(|timeout| Some((timeout, Instant::now().checked_add(timeout)?)));
        let mut expired = false;
        let exit = loop {
            let due = async {
                match deadline {
                    Some((_, at)) if !expired => sleep_until(at).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                event = running.next_event() => if let Event::Ended(exit) = event { break exit },
                read = read(stdout, &mut buffers.0) => write(Stream::Stdout, &buffers.0[..read]),
                read = read(stderr, &mut buffers.1) => write(Stream::Stderr, &buffers.1[..read]),
                () = due => {
                    expired = true;
                    let grace = running.grace();
                    running.time_out(timeout.unwrap_or_default(), grace);
                }
            }
        };
        drain(stdout, &mut buffers.0, |bytes| write(Stream::Stdout, bytes));
        drain(stderr, &mut buffers.1, |bytes| write(Stream::Stderr, bytes));
        Ok(exit)
    }
}

const BUFFER: usize = 64 * 1024;

/// What comes next; nothing ever from a pipe that is at its end.
async fn read(pipe: &mut Option<Receiver>, buffer: &mut [u8]) -> usize {
    use tokio::io::AsyncReadExt;
    loop {
        let Some(open) = pipe else { return std::future::pending().await };
        match open.read(buffer).await {
            Ok(read) if read > 0 => return read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => *pipe = None,
        }
    }
}

/// What is in the pipe now and has not been read (invariant 1): so much, and no more, although somebody may still write.
fn drain(pipe: &mut Option<Receiver>, buffer: &mut [u8], mut write: impl FnMut(&[u8])) {
    let Some(Ok(fd)) = pipe.take().map(Receiver::into_nonblocking_fd) else { return };
    let mut left = unread(fd.as_fd());
    let mut file = File::from(fd);
    while left > 0 {
        let most = left.min(buffer.len());
        match file.read(&mut buffer[..most]) {
            Ok(read) if read > 0 => {
                left -= read;
                write(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
