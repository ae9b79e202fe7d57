//! One job: its attempts, and the waits between them.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::attempt::{Attempt, Ended};
use super::orders::{Due, Orders, Told};
use crate::args::Leaks;
use crate::console::Console;
use crate::event::{Ending, Event, JobInfo, Outcome, Skip};
use crate::plan::Job;

/// What a job tells the scheduler.
#[derive(Debug)]
pub(super) enum Report {
    /// It is over: no process of it is alive, and none will be started.
    Over(Box<Over>),
    /// All its processes have been told to stand still.
    StandsStill,
    /// It has the terminal, and was stopped there (Ctrl-Z).
    StoppedAtTerminal,
}

/// How a job ended.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) job: Arc<Job>,
    pub(super) info: Arc<JobInfo>,
    /// `None` if it was never started.
    pub(super) outcome: Option<Outcome>,
    pub(super) attempts: u32,
    pub(super) leaks: usize,
    pub(super) started: SystemTime,
    pub(super) elapsed: Duration,
}

/// What the jobs of a run share.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) console: Console,
    pub(super) told: Told,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) shell: Arc<std::path::Path>,
    pub(super) isolate: bool,
    pub(super) cgroup: Option<std::path::PathBuf>,
    /// How long this run has to end when the run that it is a job of is ended.
    pub(super) grace_max: Option<Duration>,
}

impl Surroundings {
    /// Tells the console, and gives it up soon after everything was to end at once: nobody may be reading what it writes.
    pub(super) async fn tell(&self, event: Event) {
        self.unless_given_up(self.console.event(event)).await;
    }

    async fn unless_given_up(&self, told: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = told => {}
            () = self.told.clone().given_up() => {}
        }
    }
}

/// Runs a job to its end, and reports it.
pub(super) async fn run(job: Arc<Job>, mut around: Surroundings) {
    let info = job.info();
    let (started, begun) = (SystemTime::now(), around.console.elapsed());
    let (mut attempts, mut leaks) = (0, 0);
    let outcome = loop {
        let orders = around.told.now();
        if let Some(cause) = &orders.ending {
            if attempts == 0 {
                break None;
            }
            let ended = Ended::without_process(cancelled_between(cause));
            let outcome = ended.outcome.clone();
            around.tell(finished(&info, attempts, ended, None, job.leaks)).await;
            break Some(outcome);
        }
        attempts += 1;
        if info.tty {
            around.unless_given_up(around.console.lend_terminal()).await;
        }
        let ended = Attempt::new(&job, &info, attempts, &mut around).run().await;
        if info.tty {
            super::terminal::take_back();
            around.unless_given_up(around.console.take_back_terminal()).await;
        }
        let retry = delay_before_retry(&job, &ended.outcome, attempts, &around.told.now());
        let outcome = ended.outcome.clone();
        leaks += ended.leaks.len();
        around.tell(finished(&info, attempts, ended, retry, job.leaks)).await;
        match retry {
            None => break Some(outcome),
            Some(delay) => wait(delay, &mut around.told).await,
        }
    };
    if outcome.is_none() {
        around.tell(Event::JobSkipped { job: Arc::clone(&info), why: Skip::Cancelled }).await;
    }
    let elapsed = around.console.elapsed().saturating_sub(begun);
    let over = Over { job, info, outcome, attempts, leaks, started, elapsed };
    // The scheduler is gone only when the whole run is being dropped.
    let _ = around.reports.send(Report::Over(Box::new(over)));
}

fn cancelled_between(cause: &str) -> Outcome {
    Outcome::Cancelled { cause: cause.to_owned(), ending: Ending::NotRunning }
}

fn delay_before_retry(job: &Job, outcome: &Outcome, attempt: u32, orders: &Orders) -> Option<Duration> {
    if !outcome.is_failure() || orders.ending.is_some() {
        return None;
    }
    job.retries.delay_after(attempt)
}

/// Until the time is over, or the run ends.
async fn wait(delay: Duration, told: &mut Told) {
    let mut orders = told.now();
    let due = Due::after(delay, &orders);
    while orders.ending.is_none() {
        tokio::select! {
            () = Due::reached(due, &orders) => return,
            () = told.changed() => orders = told.now(),
        }
    }
}

fn finished(
    info: &Arc<JobInfo>,
    attempt: u32,
    ended: Ended,
    retry: Option<Duration>,
    policy: Leaks,
) -> Event {
    Event::JobFinished {
        job: Arc::clone(info),
        attempt,
        outcome: ended.outcome,
        elapsed: ended.elapsed,
        usage: ended.usage,
        signalled: ended.signalled,
        leaks: if policy == Leaks::Ignore { Vec::new() } else { ended.leaks },
        will_retry_in: retry,
    }
}
