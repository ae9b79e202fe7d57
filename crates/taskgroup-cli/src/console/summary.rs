//! What is told at the end: the facts, gathered as they happen. [`tree`](super::tree) draws them.
//!
//! 1. Of each kind at most [`LISTED`] jobs are kept, and all are counted: memory does not grow with the run.
//! 2. Each job is in one list at most, by its last attempt.

use std::sync::Arc;
use std::time::Duration;

use super::recent::Recent;
use crate::event::{Cause, Counts, Event, JobInfo, Leak, Outcome, Signalled, Skip};

/// So many jobs of each kind are listed.
pub(crate) const LISTED: usize = 20;
/// So many failed jobs have the end of their output shown.
pub(crate) const TAILS: usize = 5;
/// So many lines of it.
pub(crate) const TAIL_LINES: usize = 10;

/// The first few, and how many there were.
#[derive(Clone, Debug)]
pub(crate) struct Listed<T> {
    pub(crate) first: Vec<T>,
    pub(crate) total: usize,
}

impl<T> Default for Listed<T> {
    fn default() -> Listed<T> {
        Listed { first: Vec::new(), total: 0 }
    }
}

impl<T> Listed<T> {
    fn push(&mut self, item: T) {
        self.total += 1;
        if self.first.len() < LISTED {
            self.first.push(item);
        }
    }
}

/// A job that did not succeed, or left something behind.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) job: Arc<JobInfo>,
    pub(crate) attempts: u32,
    pub(crate) outcome: Outcome,
    pub(crate) elapsed: Duration,
    pub(crate) signalled: Signalled,
    pub(crate) leaks: Vec<Leak>,
    pub(crate) tail: Vec<String>,
    /// How many lines its output had in all.
    pub(crate) line_count: u64,
}

/// A job that was never started.
#[derive(Clone, Debug)]
pub(crate) struct Skipped {
    pub(crate) job: Arc<JobInfo>,
    pub(crate) need: Option<Arc<str>>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// In the order in which they failed.
    pub(crate) failed: Listed<Ended>,
    pub(crate) cancelled: Listed<Ended>,
    pub(crate) skipped: Listed<Skipped>,
    /// Those that succeeded and left processes behind.
    pub(crate) leaked: Listed<Ended>,
    pub(crate) cause: Option<Cause>,
    /// When the run ended.
    pub(crate) elapsed: Duration,
    pub(crate) counts: Counts,
    /// The job whose output is the last that was written for people to see: its tail stands above already.
    pub(crate) seen_last: Option<usize>,
}

impl Summary {
    /// Takes an event; with `JobFinished` comes what the job wrote last.
    pub(crate) fn observe(&mut self, event: &Event, recent: Option<&Recent>) {
        match event {
            Event::JobFinished { will_retry_in: None, outcome, leaks, .. } => {
                let list = match outcome {
                    Outcome::Succeeded if leaks.is_empty() => return,
                    Outcome::Succeeded => &mut self.leaked,
                    Outcome::Cancelled { .. } => &mut self.cancelled,
                    _ => &mut self.failed,
                };
                let tail = outcome.is_failure() && list.total < TAILS;
                list.push(ended(event, recent.filter(|_| tail)));
            }
            Event::JobSkipped { job, why } if *why != Skip::DoneBefore => {
                let need = match why {
                    Skip::NeedFailed { need } => Some(Arc::clone(need)),
                    _ => None,
                };
                self.skipped.push(Skipped { job: Arc::clone(job), need });
            }
            Event::Cancelling { cause } => self.cause = Some(cause.clone()),
            Event::RunFinished { elapsed, counts, .. } => {
                self.elapsed = *elapsed;
                self.counts = *counts;
            }
            _ => {}
        }
    }
}

fn ended(event: &Event, recent: Option<&Recent>) -> Ended {
    let Event::JobFinished { job, attempt, outcome, elapsed, signalled, leaks, .. } = event else {
        unreachable!("the caller has a finished job");
    };
    Ended {
        job: Arc::clone(job),
        attempts: *attempt,
        outcome: outcome.clone(),
        elapsed: *elapsed,
        signalled: *signalled,
        leaks: leaks.clone(),
        tail: recent.map(|recent| recent.tail(TAIL_LINES)).unwrap_or_default(),
        line_count: recent.map_or(0, Recent::line_count),
    }
}
