//! Reading what a log says was done before.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Key;
use crate::trouble::Trouble;

/// The version of the log's lines.
pub(super) const VERSION: u32 = 1;

/// What of an entry decides. Fields that are not known are passed over.
#[derive(Deserialize)]
struct Line<'l> {
    v: u32,
    #[serde(borrow)]
    key: std::borrow::Cow<'l, str>,
    #[serde(borrow)]
    outcome: std::borrow::Cow<'l, str>,
}

/// The jobs that have succeeded, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Done {
    path: PathBuf,
    keys: HashSet<Key>,
    missing: bool,
    unreadable: usize,
    /// The number of the first line that could not be read, from 1.
    unreadable_first: u64,
}

impl Done {
    /// Reads a log. A missing file is an empty one; see [`notes`](Self::notes).
    pub(crate) fn read(path: &Path) -> Result<Self, Trouble> {
        let mut done = Done { path: path.into(), ..Done::default() };
        let trouble =
            |error| Trouble::file(path, &error).advice("--resume reads a file that --log has written");
        match File::open(path) {
            Ok(file) => done.read_lines(BufReader::new(file)).map_err(trouble)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => done.missing = true,
            Err(error) => return Err(trouble(error)),
        }
        Ok(done)
    }

    /// Whether the job has succeeded before.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What the user should know about the log: that it is missing, or that lines of it cannot be read.
    pub(crate) fn notes(&self) -> Vec<String> {
        let path = self.path.display();
        if self.missing {
            return vec![format!("{path}: there is no such file yet, so nothing was done before")];
        }
        match self.unreadable {
            0 => Vec::new(),
            1 => vec![format!(
                "{path}:{}: this line cannot be read and counts for nothing",
                self.unreadable_first
            )],
            more => vec![format!(
                "{path}:{}: {more} lines, this is the first, cannot be read and count for nothing",
                self.unreadable_first
            )],
        }
    }

    fn read_lines(&mut self, mut reader: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            number += 1;
            let whole = line.last() == Some(&b'\n');
            if !line.trim_ascii().is_empty() && !self.take(&line) && whole {
                self.unreadable += 1;
                if self.unreadable == 1 {
                    self.unreadable_first = number;
                }
            }
        }
    }

    /// Takes one line in; false if it cannot be read.
    fn take(&mut self, line: &[u8]) -> bool {
        let Ok(Line { v: VERSION, key, outcome }) = serde_json::from_slice(line) else { return false };
        let Some(key) = Key::read(&key) else { return false };
        if outcome == "succeeded" {
            self.keys.insert(key);
        } else {
            self.keys.remove(&key);
        }
        true
    }
}
