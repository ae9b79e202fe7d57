//! Gives out the jobs of a plan.
//!
//! A stream is read on a thread of its own, which may block on standard input for as long as it likes; nobody waits for it. It
//! is one job ahead, so memory does not grow with the number of jobs.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::plan::{Job, Needs, Plan};
use crate::trouble::Trouble;

/// The jobs that have not been given out.
pub(super) enum Source {
    Listed { jobs: Vec<Arc<Job>>, needs: Needs },
    Streamed(mpsc::Receiver<Result<Job, Trouble>>),
}

/// What a source has.
pub(super) enum Given {
    Job(Arc<Job>),
    /// Nothing before some job has ended.
    NotNow,
    /// Nothing any more.
    End,
    Trouble(Trouble),
}

impl Source {
    pub(super) fn new(plan: Plan) -> std::io::Result<Self> {
        match plan {
            Plan::Listed(jobs) => {
                let needs = Needs::new(&jobs);
                Ok(Self::Listed { jobs: jobs.into_iter().map(Arc::new).collect(), needs })
            }
            Plan::Streamed(jobs) => {
                let (sender, receiver) = mpsc::channel(1);
                std::thread::Builder::new().name("tg input".into()).spawn(move || {
                    for job in jobs {
                        if sender.blocking_send(job).is_err() {
                            return;
                        }
                    }
                })?;
                Ok(Self::Streamed(receiver))
            }
        }
    }

    /// How many jobs there are, where that is known.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Listed { jobs, .. } => Some(jobs.len()),
            Self::Streamed(_) => None,
        }
    }

    /// The next job that can start. Cancel safe.
    pub(super) async fn next(&mut self) -> Given {
        match self {
            Self::Listed { jobs, needs } => match needs.ready() {
                Some(number) => Given::Job(Arc::clone(&jobs[number - 1])),
                None if needs.left() == 0 => Given::End,
                None => Given::NotNow,
            },
            Self::Streamed(jobs) => match jobs.recv().await {
                Some(Ok(job)) => Given::Job(Arc::new(job)),
                Some(Err(trouble)) => Given::Trouble(trouble),
                None => Given::End,
            },
        }
    }

    /// A job has succeeded.
    pub(super) fn succeeded(&mut self, number: usize) {
        if let Self::Listed { needs, .. } = self {
            needs.succeeded(number);
        }
    }

    /// A job has failed; gives those that now can never start.
    pub(super) fn failed(&mut self, number: usize) -> Vec<Arc<Job>> {
        match self {
            Self::Listed { jobs, needs } => {
                needs.failed(number).into_iter().map(|lost| Arc::clone(&jobs[lost - 1])).collect()
            }
            Self::Streamed(_) => Vec::new(),
        }
    }

    /// The jobs of a list that have not been given out: the run ends before them. Those that wait for others are told of too.
    pub(super) fn rest(&mut self) -> Vec<Arc<Job>> {
        let Self::Listed { jobs, needs } = self else { return Vec::new() };
        let mut rest = Vec::new();
        while let Some(number) = needs.ready() {
            rest.push(Arc::clone(&jobs[number - 1]));
            rest.extend(needs.failed(number).into_iter().map(|lost| Arc::clone(&jobs[lost - 1])));
        }
        rest.sort_by_key(|job| job.number);
        rest
    }
}
