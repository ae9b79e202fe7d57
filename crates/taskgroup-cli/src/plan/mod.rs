//! What is to be run: jobs, from the command line, a file, a jobs file or standard input.
//!
//! 1. Nothing is started here, and nothing has been when an error comes out of [`run`] or [`each`].
//! 2. Numbers count from 1 in the order of reading, without gaps; in a list, job `n` stands at `n - 1`.
//! 3. A list is whole: the needs of its jobs are in it, and have no cycle. The jobs of a stream need nothing.
//! 4. A stream reads one job ahead of nothing: memory does not grow with the number of jobs. Its first error is
//!    its end.
//! 5. At most one job of a plan owns the terminal.
//! 6. What a command or an input holds is passed on byte for byte; only what is shown of it may be changed.

mod dry_run;
mod job;
mod jobs_file;
mod maker;
mod names;
mod needs;
mod quote;
mod records;
mod select;
mod settings;
mod sources;
mod template;

pub(crate) use dry_run::{DryRunError, dry_run};
pub(crate) use job::{Job, Launch};
pub(crate) use needs::Needs;
pub(crate) use settings::{Policy, Settings};
pub(crate) use sources::{each, run};

use crate::trouble::Trouble;

/// The jobs of a run.
pub(crate) enum Plan {
    /// All are known before the start.
    Listed(Vec<Job>),
    /// They are read as there is room for another. The iterator blocks; it is for a thread of its own.
    Streamed(Box<dyn Iterator<Item = Result<Job, Trouble>> + Send>),
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Plan::Listed(jobs) => f.debug_tuple("Listed").field(jobs).finish(),
            Plan::Streamed(_) => f.write_str("Streamed"),
        }
    }
}
