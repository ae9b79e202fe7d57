//! Makes jobs: numbers and names them, and fills in what the options say for all.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::job::{Job, Launch, Retries};
use super::names::{self, Names};
use super::template::Template;
use crate::args::{Leaks, Options};
use crate::trouble::{Trouble, plain};

/// What is needed to make one job after the other.
#[derive(Debug)]
pub(super) struct Maker {
    current_dir: PathBuf,
    /// The folder of the jobs, where it is not the current one.
    dir: Option<PathBuf>,
    /// The folder of the jobs in any case.
    runs_in: Arc<Path>,
    timeout: Option<Duration>,
    grace: Duration,
    retries: Retries,
    leaks: Leaks,
    /// The name that `--tty` gives, until a job has it.
    tty: Option<OsString>,
    names: Names,
    made: usize,
}

impl Maker {
    pub(super) fn new(options: &Options) -> Result<Self, Trouble> {
        let current_dir =
            std::env::current_dir().map_err(|error| Trouble::new(plain(&error)).at("the current folder"))?;
        let mut dir = None;
        if let Some(given) = &options.dir {
            if !given.is_dir() {
                return Err(Trouble::new(format!("there is no folder `{}`", given.display())).at("--dir"));
            }
            dir = not_current(&current_dir, given);
        }
        Ok(Maker {
            runs_in: dir.as_deref().unwrap_or(&current_dir).into(),
            current_dir,
            dir,
            timeout: options.timeout_each,
            grace: options.grace,
            retries: Retries { count: options.retries, delay: options.retry_delay },
            leaks: options.leaks,
            tty: options.tty.clone(),
            names: Names::default(),
            made: 0,
        })
    }

    /// A job for a command line.
    pub(super) fn command(&mut self, line: OsString) -> Job {
        let number = self.made + 1;
        let name = self.names.name(&line, number);
        let tty = self.takes_tty(&name);
        let mut job = self.job(name, Launch::Shell(line));
        job.tty = tty;
        job
    }

    /// A job for an input, named after it.
    pub(super) fn input(&mut self, template: &Template, input: OsString) -> Job {
        let number = self.made + 1;
        let name = self.names.name(&input, number);
        let tty = self.takes_tty(&name);
        let mut job = self.job(name, Launch::Shell(template.expand(&input, number)));
        job.input = Some(input);
        job.tty = tty;
        job
    }

    /// A job with what the options say for all; its folder is set last, with [`finish`](Self::finish).
    pub(super) fn named(&mut self, name: Arc<str>, command: Launch) -> Job {
        let mut job = self.job(name, command);
        job.named = true;
        job
    }

    /// Puts a job's folder beneath `base`.
    pub(super) fn finish(&self, job: &mut Job, base: &Path) {
        let dir = match &job.dir {
            Some(dir) => base.join(dir),
            None => base.into(),
        };
        job.dir = not_current(&self.current_dir, &dir);
        job.runs_in = job.dir.as_deref().unwrap_or(&self.current_dir).into();
    }

    /// The folder of the jobs of a file: that of `--dir`, otherwise the file's own.
    pub(super) fn base(&self, file: &Path) -> PathBuf {
        match &self.dir {
            Some(dir) => dir.clone(),
            None => absolute(&self.current_dir, file.parent().unwrap_or(Path::new(""))),
        }
    }

    /// Whether the job of this name owns the terminal; the first one that asks with it does.
    pub(super) fn takes_tty(&mut self, name: &str) -> bool {
        self.tty.take_if(|wanted| wanted == OsStr::new(name)).is_some()
    }

    /// The error that no job has the name that `--tty` gives, when all have been made.
    pub(super) fn check_tty(&self, jobs: &[Job]) -> Result<(), Trouble> {
        let Some(wanted) = self.tty.as_ref().filter(|_| !jobs.is_empty()) else { return Ok(()) };
        let wanted = wanted.to_string_lossy();
        Err(Trouble::new(format!("there is no job `{wanted}`"))
            .at("--tty")
            .advice(names::advice(&wanted, jobs.iter().map(|job| &*job.name))))
    }

    fn job(&mut self, name: Arc<str>, command: Launch) -> Job {
        self.made += 1;
        Job {
            number: self.made,
            name,
            named: false,
            command,
            dir: self.dir.clone(),
            runs_in: self.runs_in.clone(),
            env: BTreeMap::new(),
            timeout: self.timeout,
            grace: self.grace,
            retries: self.retries,
            needs: Vec::new(),
            input: None,
            tty: false,
            leaks: self.leaks,
        }
    }
}

/// The absolute path of a folder.
fn absolute(current_dir: &Path, dir: &Path) -> PathBuf {
    // Component by component, so that `.` and a slash at the end make no other folder of it.
    current_dir.join(dir).components().collect()
}

/// The absolute path of a folder, where it is not the current one.
fn not_current(current_dir: &Path, dir: &Path) -> Option<PathBuf> {
    Some(absolute(current_dir, dir)).filter(|dir| dir != current_dir)
}
