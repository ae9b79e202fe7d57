//! Adding lines to a log.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Serialize;

use super::Key;
use crate::event::{Outcome, base64, rfc3339};
use crate::trouble::Trouble;

/// One job that has ended, after its last attempt.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) name: Arc<str>,
    pub(crate) command: OsString,
    /// When its first attempt started.
    pub(crate) started: SystemTime,
    /// From the start of the first attempt to the end of the last.
    pub(crate) elapsed: Duration,
    pub(crate) outcome: Outcome,
    pub(crate) attempts: u32,
    pub(crate) leaks: usize,
}

/// An [`Entry`] in the form of the log.
#[derive(Serialize)]
struct Line<'e> {
    v: u32,
    key: String,
    name: &'e str,
    command: std::borrow::Cow<'e, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_bytes: Option<String>,
    started: String,
    seconds: f64,
    outcome: &'e str,
    code: Option<i32>,
    signal: Option<i32>,
    attempts: u32,
    leaks: usize,
}

impl Entry {
    /// Its line, with the newline.
    fn line(&self) -> io::Result<Vec<u8>> {
        let command: &OsStr = &self.command;
        let line = Line {
            v: super::done::VERSION,
            key: self.key.to_string(),
            name: &self.name,
            command: command.to_string_lossy(),
            command_bytes: command.to_str().is_none().then(|| base64(command.as_bytes())),
            started: rfc3339(self.started),
            seconds: (self.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            outcome: self.outcome.kind(),
            code: self.outcome.code(),
            signal: self.outcome.signal(),
            attempts: self.attempts,
            leaks: self.leaks,
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// A log that lines are added to. Several may be open on one file, in one process or in several.
#[derive(Debug)]
pub(crate) struct Log {
    // The lock of the file is held by the open file, which all threads share: among them a mutex is needed.
    file: Mutex<File>,
}

impl Log {
    /// Opens the log, or makes an empty one. Blocks only as files do.
    pub(crate) fn open(path: &Path) -> Result<Self, Trouble> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map(|file| Log { file: Mutex::new(file) })
            .map_err(|error| {
                Trouble::file(path, &error).advice("the log must be a file that tg may read and write")
            })
    }

    /// Adds a line. Blocks while another `tg` adds one.
    pub(crate) fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = entry.line()?;
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = Locked::new(&file)?;
        if ends_torn(&file)? {
            line.insert(0, b'\n');
        }
        write_once(&file, &line)
    }
}

/// The lock of the file, held while this lives.
struct Locked<'f>(&'f File);

impl<'f> Locked<'f> {
    fn new(file: &'f File) -> io::Result<Self> {
        loop {
            match flock(file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Locked(file)),
                Err(Errno::INTR) => {}
                // No locks here (a pipe, some network file systems): one write at the end is all there is.
                Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::INVAL | Errno::NOSYS) => {
                    return Ok(Locked(file));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Explicitly, for a child that is just being forked holds the open file too. Without a lock there is
        // nothing to give back.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

/// Whether the file's last line has no newline. What has no end, such as a pipe, has no torn one either.
fn ends_torn(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, metadata.len() - 1)?;
    Ok(last != [b'\n'])
}

fn write_once(mut file: &File, line: &[u8]) -> io::Result<()> {
    loop {
        match file.write(line) {
            Ok(written) if written == line.len() => return Ok(()),
            // The rest is not sent after it: the line is torn, and the next one ends it.
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    "the line could only be written in part",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
