//! The exit codes of `tg`. They are part of its interface.

use crate::event::Outcome;

/// Every job succeeded, or with `--first-success` one did.
pub(crate) const SUCCESS: i32 = 0;
/// A time limit ran out.
pub(crate) const DEADLINE: i32 = 124;
/// `tg` itself could not do it.
pub(crate) const TROUBLE: i32 = 125;
/// The command cannot be executed.
pub(crate) const NOT_EXECUTABLE: i32 = 126;
/// The command was not found.
pub(crate) const NOT_FOUND: i32 = 127;
/// A job left processes behind, which `--leaks fail` forbids.
pub(crate) const LEAKED: i32 = 1;
/// And the number of a signal: it ended the job, or `tg`.
pub(crate) const SIGNAL: i32 = 128;

/// The exit code that tells of such an end of a job. It is never 0 but for a success.
pub(crate) fn of(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Succeeded => SUCCESS,
        Outcome::Failed { code } => *code,
        Outcome::Killed { signal } => SIGNAL + signal,
        Outcome::TimedOut { .. } => DEADLINE,
        Outcome::Cancelled { .. } => SIGNAL + libc::SIGTERM,
        Outcome::NotFound => NOT_FOUND,
        Outcome::NotExecutable => NOT_EXECUTABLE,
        Outcome::Leaked => LEAKED,
        Outcome::Trouble { .. } => TROUBLE,
    }
}
