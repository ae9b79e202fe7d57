//! A job: one command with all that is known about it before it starts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::quote;
use crate::args::Leaks;
use crate::event::JobInfo;
use crate::log::Key;

/// The longest wait before a retry, unless the first one is longer.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// How a command is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Launch {
    /// A command line for the shell.
    Shell(OsString),
    /// A program and its arguments, without a shell. Never empty.
    Exec(Vec<OsString>),
}

impl Launch {
    /// The program and its arguments. A line for the shell stands after `--`, for it may begin with a dash.
    pub(crate) fn argv(&self, shell: &Path) -> Vec<OsString> {
        match self {
            Launch::Shell(line) => vec![shell.into(), "-c".into(), "--".into(), line.clone()],
            Launch::Exec(words) => words.clone(),
        }
    }

    /// The command as one line, for display; the words of an `Exec` are quoted where they must be.
    pub(crate) fn command_line(&self) -> OsString {
        match self {
            Launch::Shell(line) => line.clone(),
            Launch::Exec(words) => quote::join(words),
        }
    }
}

/// Another attempt after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retries {
    /// How many attempts may follow the first.
    pub(crate) count: u32,
    /// How long to wait before the first of them.
    pub(crate) delay: Duration,
}

impl Retries {
    /// How long to wait after attempt `attempt` (from 1) has failed; `None` when that was the last. The wait
    /// doubles each time, up to a minute.
    pub(crate) fn delay_after(&self, attempt: u32) -> Option<Duration> {
        if attempt > self.count {
            return None;
        }
        let factor = 2_u32.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(self.delay.saturating_mul(factor).min(RETRY_DELAY_MAX.max(self.delay)))
    }
}

/// A job of the plan. See [`Plan`](super::Plan) for what holds among several.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// From 1, in the order of reading.
    pub(crate) number: usize,
    /// Its name on the screen. Given in a jobs file, otherwise the input or the command, shortened.
    pub(crate) name: Arc<str>,
    /// Whether the name was given.
    pub(crate) named: bool,
    pub(crate) command: Launch,
    /// The folder it runs in, absolute; `None` is the current one.
    pub(crate) dir: Option<PathBuf>,
    /// What is added to the environment.
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) retries: Retries,
    /// The numbers of the jobs that must succeed first, in ascending order.
    pub(crate) needs: Vec<usize>,
    /// What stands for `{}` (`tg each`).
    pub(crate) input: Option<OsString>,
    /// Whether it owns the terminal while it runs; at most one job does.
    pub(crate) tty: bool,
    pub(crate) leaks: Leaks,
    /// The folder it runs in, the current one too.
    pub(super) runs_in: Arc<Path>,
}

impl Job {
    /// The command as one line, for display.
    pub(crate) fn command_line(&self) -> OsString {
        self.command.command_line()
    }

    /// What makes it the same job as one of an earlier run. Computed anew with each call.
    pub(crate) fn key(&self) -> Key {
        Key::of(&self.command, self.input.as_deref().map(OsStr::new), &self.runs_in, &self.env)
    }

    /// What is shown of it.
    pub(crate) fn info(&self) -> Arc<JobInfo> {
        Arc::new(JobInfo {
            number: self.number,
            name: self.name.clone(),
            command: self.command_line(),
            dir: self.dir.clone(),
            input: self.input.clone(),
            tty: self.tty,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute() {
        let retries = Retries { count: 10, delay: Duration::from_secs(1) };
        let waits: Vec<u64> = (1..=10).map(|n| retries.delay_after(n).expect("one more").as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(retries.delay_after(11), None);
    }

    #[test]
    fn odd_waits() {
        let of = |count, delay| Retries { count, delay: Duration::from_secs(delay) };
        assert_eq!(of(0, 1).delay_after(1), None);
        assert_eq!(of(9, 0).delay_after(9), Some(Duration::ZERO));
        assert_eq!(
            of(9, 300).delay_after(3),
            Some(Duration::from_secs(300)),
            "never less than was asked for"
        );
        assert_eq!(of(u32::MAX, 1).delay_after(u32::MAX), Some(RETRY_DELAY_MAX));
    }

    #[test]
    fn a_line_that_begins_with_a_dash_is_still_a_command() {
        let argv = Launch::Shell("-x".into()).argv(Path::new("/bin/sh"));
        assert_eq!(argv, ["/bin/sh", "-c", "--", "-x"]);
        let status = std::process::Command::new(&argv[0])
            .args(&argv[1..])
            .stderr(std::process::Stdio::null())
            .status()
            .expect("sh");
        assert_eq!(status.code(), Some(127), "not found, rather than an option");
    }
}
