//! What happens in a run, as values: the one vocabulary of the scheduler, the console, and `--json`.
//!
//! 1. The life of a job is: any number of `JobStarted`, `JobFinished` pairs, where each `JobFinished` but the last
//!    has `will_retry_in`; or one `JobSkipped` and nothing else. A job that could not be started has a
//!    `JobFinished` alone. Its output lies between the two events of its attempt.
//! 2. `RunStarted` comes first and `RunFinished` last.
//! 3. `Cancelling` comes at most once, before the first job that ends because of it.
//! 4. The JSON form is public and versioned ([`VERSION`]): fields may be added within a version; a change of
//!    meaning, or a removal, makes a new one. `docs/tg.md` has the table.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use taskgroup_process::signal;

/// The version of the JSON form, in each line as `v`.
pub(crate) const VERSION: u32 = 1;

/// When an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stamp {
    /// Since the start of the run; time spent suspended does not count.
    #[serde(rename = "at", serialize_with = "seconds")]
    pub(crate) elapsed: Duration,
    /// The time of day.
    #[serde(rename = "time", serialize_with = "time_of_day")]
    pub(crate) wall: SystemTime,
}

/// Something that happened in the run.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The run begins. `jobs` is the total where it is known beforehand, `limit` how many may run at once.
    RunStarted { jobs: Option<usize>, limit: Option<usize> },
    /// A process was started for the job. Attempts count from 1.
    JobStarted { job: Arc<JobInfo>, attempt: u32, pid: u32 },
    /// An attempt is over, and no process of it is alive.
    JobFinished {
        #[serde(serialize_with = "reference")]
        job: Arc<JobInfo>,
        attempt: u32,
        #[serde(flatten)]
        outcome: Outcome,
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
        usage: Usage,
        signalled: Signalled,
        leaks: Vec<Leak>,
        #[serde(serialize_with = "seconds_option")]
        will_retry_in: Option<Duration>,
    },
    /// The job is not going to be started at all.
    JobSkipped {
        #[serde(serialize_with = "reference")]
        job: Arc<JobInfo>,
        #[serde(flatten)]
        why: Skip,
    },
    /// The job stopped itself because it wants the terminal (SIGTTIN, SIGTTOU).
    JobStopped {
        #[serde(serialize_with = "reference")]
        job: Arc<JobInfo>,
    },
    /// From here on everything that runs is cancelled.
    Cancelling {
        #[serde(flatten)]
        cause: Cause,
    },
    /// A second signal: what is left is killed at once.
    Hurried { signal: String },
    /// The run is suspended (SIGTSTP): its jobs are stopped and its timers stand still.
    Suspended,
    /// The run goes on.
    Resumed,
    /// A warning.
    Note { text: String },
    /// The run is over; no process of it is alive.
    RunFinished {
        exit_code: i32,
        #[serde(rename = "seconds", serialize_with = "seconds")]
        elapsed: Duration,
        counts: Counts,
    },
}

/// A job, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobInfo {
    /// From 1, in the order of reading.
    pub(crate) number: usize,
    /// Unique in the run.
    pub(crate) name: Arc<str>,
    /// The command line.
    pub(crate) command: OsString,
    /// The folder it runs in, where it is not that of `tg`.
    pub(crate) dir: Option<PathBuf>,
    /// What stands for `{}` (`tg each`).
    pub(crate) input: Option<OsString>,
    /// Whether it owns the terminal while it runs.
    pub(crate) tty: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Exit code 0.
    Succeeded,
    /// Another exit code, of its own accord.
    Failed { code: i32 },
    /// By a signal that was not ours.
    Killed { signal: i32 },
    /// It had run for `limit`, and was ended.
    TimedOut {
        #[serde(serialize_with = "seconds")]
        limit: Duration,
        #[serde(flatten)]
        ending: Ending,
    },
    /// It was ended because of something else; `cause` is the text of a [`Cause`].
    Cancelled {
        cause: String,
        #[serde(flatten)]
        ending: Ending,
    },
    /// No such command (exit code 127).
    NotFound,
    /// The command is there but cannot be executed (exit code 126).
    NotExecutable,
    /// It succeeded, but left processes behind and must not (`leaks = "fail"`).
    Leaked,
    /// `tg` itself could not do it.
    Trouble { text: String },
}

/// How the leader of a job that was told to end did end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub(crate) enum Ending {
    /// By itself, with this code.
    Exited { code: i32 },
    /// By this signal.
    Signalled { signal: i32 },
    /// There was no process at that moment (between two attempts).
    NotRunning,
}

/// What an attempt used, with all its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    #[serde(rename = "user_seconds", serialize_with = "seconds")]
    pub(crate) user: Duration,
    #[serde(rename = "system_seconds", serialize_with = "seconds")]
    pub(crate) system: Duration,
    pub(crate) max_rss_bytes: u64,
}

/// How many processes of an attempt were sent which signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Signalled {
    /// Asked to end.
    pub(crate) sigterm: usize,
    /// Did not end within the grace period, and were killed.
    pub(crate) sigkill: usize,
}

/// A process that outlived the leader of its job. It has been ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Leak {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

/// Why a job is not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub(crate) enum Skip {
    /// It succeeded in an earlier run (`--resume`).
    DoneBefore,
    /// A job that it needs did not succeed.
    NeedFailed { need: Arc<str> },
    /// The run was cancelled first.
    Cancelled,
}

/// Why the whole run is cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub(crate) enum Cause {
    /// The first failure, without `--keep-going`.
    JobFailed {
        #[serde(serialize_with = "reference")]
        job: Arc<JobInfo>,
    },
    /// A signal to `tg`.
    Signal { signal: String },
    /// `--timeout`.
    Deadline {
        #[serde(serialize_with = "seconds")]
        limit: Duration,
    },
    /// The first success, with `--first-success`.
    FirstSuccess {
        #[serde(serialize_with = "reference")]
        job: Arc<JobInfo>,
    },
    /// The run that this run is a job of.
    Outer,
    /// `tg` itself cannot go on.
    Trouble { text: String },
    /// Nobody reads standard output any more.
    OutputClosed,
}

/// How many jobs ended how. Each job is counted once, by its last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) succeeded: usize,
    /// Failed, killed, timed out, not found, not executable, leaked, trouble.
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
    /// Never started, because of a need or a cancel.
    pub(crate) skipped: usize,
    /// Not started because it succeeded in an earlier run.
    pub(crate) done_before: usize,
    /// Attempts beyond each job's first.
    pub(crate) retries: usize,
    /// Processes that outlived their job's leader.
    pub(crate) leaks: usize,
}

/// The two streams that a job writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Outcome {
    /// Whether the job did what it should.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Outcome::Succeeded)
    }

    /// Whether it ended because of something else.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Outcome::Cancelled { .. })
    }

    /// Whether the job itself is to blame.
    pub(crate) fn is_failure(&self) -> bool {
        !self.is_success() && !self.is_cancelled()
    }

    /// Its name in the JSON form and in logs.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed { .. } => "failed",
            Outcome::Killed { .. } => "killed",
            Outcome::TimedOut { .. } => "timed_out",
            Outcome::Cancelled { .. } => "cancelled",
            Outcome::NotFound => "not_found",
            Outcome::NotExecutable => "not_executable",
            Outcome::Leaked => "leaked",
            Outcome::Trouble { .. } => "trouble",
        }
    }

    /// The exit code of the leader, where it exited.
    pub(crate) fn code(&self) -> Option<i32> {
        match self {
            Outcome::Succeeded | Outcome::Leaked => Some(0),
            Outcome::Failed { code } => Some(*code),
            Outcome::TimedOut { ending: Ending::Exited { code }, .. }
            | Outcome::Cancelled { ending: Ending::Exited { code }, .. } => Some(*code),
            _ => None,
        }
    }

    /// The signal that the leader died of, where it did.
    pub(crate) fn signal(&self) -> Option<i32> {
        match self {
            Outcome::Killed { signal } => Some(*signal),
            Outcome::TimedOut { ending: Ending::Signalled { signal }, .. }
            | Outcome::Cancelled { ending: Ending::Signalled { signal }, .. } => Some(*signal),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Succeeded => write!(f, "succeeded"),
            Outcome::Failed { code } => write!(f, "exit code {code}"),
            Outcome::Killed { signal } => write!(f, "killed by {}", signal::name(*signal)),
            Outcome::TimedOut { limit, .. } => write!(f, "timed out after {}", brief(*limit)),
            Outcome::Cancelled { cause, .. } => write!(f, "cancelled: {cause}"),
            Outcome::NotFound => write!(f, "command not found"),
            Outcome::NotExecutable => write!(f, "command cannot be executed"),
            Outcome::Leaked => write!(f, "left processes behind"),
            Outcome::Trouble { text } => write!(f, "{text}"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited { code } => write!(f, "exit code {code}"),
            Ending::Signalled { signal } => write!(f, "ended by {}", signal::name(*signal)),
            Ending::NotRunning => write!(f, "between two attempts"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::JobFailed { job } => write!(f, "{} failed", job.name),
            Cause::Signal { signal } => write!(f, "{signal}"),
            Cause::Deadline { limit } => write!(f, "the time limit of {}", brief(*limit)),
            Cause::FirstSuccess { job } => write!(f, "{} succeeded", job.name),
            Cause::Outer => write!(f, "the outer run was cancelled"),
            Cause::Trouble { text } => write!(f, "{text}"),
            Cause::OutputClosed => write!(f, "nobody reads the output any more"),
        }
    }
}

impl Serialize for JobInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &self.number)?;
        map.serialize_entry("name", &self.name)?;
        serialize_text(&mut map, "command", "command_bytes", &self.command)?;
        if let Some(dir) = &self.dir {
            serialize_text(&mut map, "dir", "dir_bytes", dir.as_os_str())?;
        }
        if let Some(input) = &self.input {
            serialize_text(&mut map, "input", "input_bytes", input)?;
        }
        if self.tty {
            map.serialize_entry("tty", &true)?;
        }
        map.end()
    }
}

/// A name that need not be UTF-8: as text, and where the text is not all of it also as bytes, in base64.
fn serialize_text<M: SerializeMap>(
    map: &mut M,
    key: &'static str,
    key_bytes: &'static str,
    value: &OsStr,
) -> Result<(), M::Error> {
    map.serialize_entry(key, &value.to_string_lossy())?;
    if value.to_str().is_none() {
        map.serialize_entry(key_bytes, &base64(value.as_bytes()))?;
    }
    Ok(())
}

/// A job by number and name alone: `JobStarted` has the rest.
fn reference<S: Serializer>(job: &Arc<JobInfo>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("number", &job.number)?;
    map.serialize_entry("name", &job.name)?;
    map.end()
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn seconds_option<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

fn time_of_day<S: Serializer>(wall: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*wall))
}

/// Bytes as text, in the standard alphabet with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A time as RFC 3339 has it, in UTC, with milliseconds; a time before 1970 is shown as 1970.
pub(crate) fn rfc3339(wall: SystemTime) -> String {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// The Gregorian date of a number of days since 1970. Years are counted from March, so that the leap day is the
/// last day of its year, and 400 years are 146,097 days (Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A length of time for people: `85ms`, `1.2s`, `42s`, `2m05s`, `1h02m`.
pub(crate) fn brief(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        0 if millis < 100 => format!("{millis}ms"),
        0..10 => match millis / 100 {
            0 => format!("{seconds}s"),
            tenths => format!("{seconds}.{tenths}s"),
        },
        10..60 => format!("{seconds}s"),
        60..3600 if seconds % 60 == 0 => format!("{}m", seconds / 60),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ if seconds % 3600 < 60 => format!("{}h", seconds / 3600),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
