//! The loop of a run: who may start, what an end means for the others, signals, time.
//!
//! # Invariants
//!
//! 1. Whatever the console does, a signal or a time limit is heeded at once ([`telling`]).
//! 2. After a signal, what nobody has read when all jobs must have ended is lost: the run ends all the same.

mod suspend;
mod telling;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use taskgroup::{Spawner, TaskGroup};
use tokio::sync::{mpsc, watch};

use super::attempt::GRACE;
use super::job::{self, Over, Report, Surroundings};
use super::keyboard::Keyboard;
use super::orders::{Due, Orders, Told};
use super::signals::{Asked, Signals};
use super::source::{Given, Source};
use super::state::State;
use crate::console::{Console, ConsoleThread, Lost};
use crate::event::{Cause, Event, Skip};
use crate::log::{Done, Entry, Log};
use crate::plan::{Job, Plan, Settings};

/// How much of the grace of the run outside may be used by this one: it is to end before it is killed.
const PART_OF_GRACE: f64 = 0.75;

/// What a run is made of.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) settings: Settings,
    pub(crate) log: Option<Log>,
    pub(crate) done: Option<Done>,
}

/// What a run has come to.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) exit_code: i32,
    /// There was no job.
    pub(crate) is_empty: bool,
}

/// Runs everything; comes back when no process of it is alive, and all has been written.
pub(crate) async fn run(run: Run, console: Console, thread: ConsoleThread) -> std::io::Result<Came> {
    let signals = Signals::new()?;
    let group: TaskGroup = TaskGroup::builder().name("tg").build();
    let spawner = group.spawner();
    let came =
        group.run(async move { Ok(Scheduler::new(run, console, signals, spawner)?.run(thread).await) }).await;
    came.map_err(std::io::Error::other)
}

/// How long this run has to end, if it is a job of another.
fn grace_max() -> Option<Duration> {
    let seconds: f64 = std::env::var(GRACE).ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|grace| grace.mul_f64(PART_OF_GRACE))
}

/// Keys are for `tg` where it has the terminal for itself: not when commands are typed there, nor beside a pager.
fn keys_are_ours(plan: &Plan, settings: &Settings) -> bool {
    use std::io::{IsTerminal, stderr, stdin, stdout};
    let is_typed = matches!(plan, Plan::Streamed(_)) && stdin().is_terminal();
    let has_owner = matches!(plan, Plan::Listed(jobs) if jobs.iter().any(|job| job.tty));
    let is_watched = !settings.quiet && !settings.json && stdout().is_terminal() && stderr().is_terminal();
    is_watched && !is_typed && !has_owner
}

struct Scheduler {
    source: Source,
    limit: Option<NonZeroUsize>,
    time_limit: Option<Duration>,
    due: Option<Due>,
    state: State,
    orders: watch::Sender<Orders>,
    around: Surroundings,
    reports: mpsc::UnboundedReceiver<Report>,
    running: usize,
    /// The longest grace of the jobs so far.
    grace: Duration,
    /// When what nobody reads is given up, after a signal.
    patience: Option<Due>,
    /// What is to be told, and what was asked, while the console took nothing.
    untold: VecDeque<Event>,
    unanswered: VecDeque<Asked>,
    /// Whether there was any job.
    has_jobs: bool,
    /// Whether the source may have a job for now.
    may_have_more: bool,
    is_at_end: bool,
    spawner: Spawner,
    signals: Signals,
    keyboard: Keyboard,
    log: Option<Log>,
    done: Option<Done>,
}

/// What woke the loop.
enum Woken {
    Given(Given),
    Report(Report),
    Asked(Asked),
    Due,
    OutOfPatience,
    Lost(Lost),
    Key,
}

impl Scheduler {
    fn new(run: Run, console: Console, signals: Signals, spawner: Spawner) -> std::io::Result<Self> {
        let Run { plan, settings, log, done } = run;
        let keyboard = Keyboard::new(keys_are_ours(&plan, &settings));
        let source = Source::new(plan)?;
        let (orders, told) = watch::channel(Orders::default());
        let (sender, reports) = mpsc::unbounded_channel();
        let shell: Arc<Path> = settings.shell.as_path().into();
        let around = Surroundings {
            console,
            told: Told::new(told),
            reports: sender,
            shell,
            isolate: settings.isolate,
            cgroup: settings.cgroup.clone(),
            grace_max: grace_max(),
        };
        Ok(Self {
            source,
            limit: settings.limit,
            due: settings.timeout.and_then(|limit| Due::after(limit, &Orders::default())),
            time_limit: settings.timeout,
            state: State::new(settings.policy),
            orders,
            around,
            reports,
            running: 0,
            grace: Duration::ZERO,
            patience: None,
            untold: VecDeque::new(),
            unanswered: VecDeque::new(),
            has_jobs: false,
            may_have_more: true,
            is_at_end: false,
            spawner,
            signals,
            keyboard,
            log,
            done,
        })
    }

    async fn run(mut self, thread: ConsoleThread) -> Came {
        let (jobs, limit) = (self.source.len(), self.limit.map(NonZeroUsize::get));
        self.tell(Event::RunStarted { jobs, limit }).await;
        for text in self.done.as_ref().map(Done::notes).unwrap_or_default() {
            self.tell(Event::Note { text }).await;
        }
        while !(self.running == 0 && (self.is_at_end || self.state.is_ending())) {
            match self.next().await {
                Woken::Given(given) => self.take(given).await,
                Woken::Report(report) => self.hear(report).await,
                Woken::Asked(asked) => self.answer(asked).await,
                Woken::Due => {
                    self.out_of_time();
                    self.tell_all().await;
                }
                Woken::OutOfPatience => self.hurry(),
                Woken::Lost(Lost::BrokenPipe) => self.end(Cause::OutputClosed, None).await,
                Woken::Lost(Lost::Failed(text)) => {
                    self.state.trouble();
                    let text = format!("standard output cannot be written: {text}");
                    self.tell(Event::Note { text }).await;
                    self.end(Cause::OutputClosed, None).await;
                }
                Woken::Key => self.show_running().await,
            }
        }
        self.finish(thread).await
    }

    async fn finish(mut self, thread: ConsoleThread) -> Came {
        for job in self.source.rest() {
            self.skip(&job, Skip::Cancelled).await;
        }
        self.keyboard.leave();
        let exit_code = self.state.exit_code();
        let counts = self.state.counts;
        let elapsed = self.console().elapsed();
        self.tell(Event::RunFinished { exit_code, elapsed, counts }).await;
        self.see_written(thread).await;
        // A signal may have come since.
        Came { exit_code: self.state.exit_code(), is_empty: !self.has_jobs && !self.state.is_ending() }
    }

    fn console(&self) -> &Console {
        &self.around.console
    }

    async fn next(&mut self) -> Woken {
        let has_room = self.limit.is_none_or(|limit| self.running < limit.get());
        let may_start = has_room && self.may_have_more && !self.is_at_end && !self.state.is_ending();
        let is_ending = self.state.is_ending();
        let orders = self.orders.borrow().clone();
        if let Some(asked) = self.unanswered.pop_front() {
            return Woken::Asked(asked);
        }
        let patience = self.patience.filter(|_| !orders.is_hurried);
        tokio::select! {
            biased;
            asked = self.signals.next() => Woken::Asked(asked),
            () = Due::reached(patience, &orders) => Woken::OutOfPatience,
            Some(report) = self.reports.recv() => Woken::Report(report),
            () = Due::reached(self.due, &orders), if !is_ending => Woken::Due,
            lost = self.around.console.lost(), if !is_ending => Woken::Lost(lost),
            () = self.keyboard.asked() => Woken::Key,
            given = self.source.next(), if may_start => Woken::Given(given),
        }
    }

    async fn take(&mut self, given: Given) {
        match given {
            Given::Job(job) if self.done.as_ref().is_some_and(|done| done.contains(&job.key())) => {
                self.state.counts.done_before += 1;
                self.source.succeeded(job.number);
                self.has_jobs = true;
                self.tell(Event::JobSkipped { job: job.info(), why: Skip::DoneBefore }).await;
            }
            Given::Job(job) => {
                self.has_jobs = true;
                self.grace = self.grace.max(job.grace);
                self.running += 1;
                let around = self.around.clone();
                self.spawner.task().name(job.name.to_string()).spawn(async move {
                    job::run(job, around).await;
                    Ok(())
                });
            }
            Given::NotNow => self.may_have_more = false,
            Given::End => self.is_at_end = true,
            Given::Trouble(trouble) => {
                self.is_at_end = true;
                self.state.trouble();
                let text = trouble.to_string().replace("\n    ", "; ");
                self.end(Cause::Trouble { text }, None).await;
            }
        }
    }

    async fn hear(&mut self, report: Report) {
        match report {
            Report::Over(over) => self.job_is_over(*over).await,
            Report::StandsStill => {}
            Report::StoppedAtTerminal => self.suspend().await,
        }
    }

    async fn job_is_over(&mut self, over: Over) {
        self.running -= 1;
        self.may_have_more = true;
        let Some(outcome) = &over.outcome else {
            self.state.counts.skipped += 1;
            for lost in self.source.failed(over.job.number) {
                self.skip(&lost, Skip::Cancelled).await;
            }
            return;
        };
        self.write_log(&over).await;
        let ends = self.state.count(outcome, over.attempts, over.leaks);
        if outcome.is_success() {
            self.source.succeeded(over.job.number);
        } else {
            for lost in self.source.failed(over.job.number) {
                let why = if self.state.is_ending() || ends {
                    Skip::Cancelled
                } else {
                    Skip::NeedFailed { need: Arc::clone(&over.job.name) }
                };
                self.skip(&lost, why).await;
            }
        }
        if ends {
            let job = Arc::clone(&over.info);
            let cause =
                if outcome.is_success() { Cause::FirstSuccess { job } } else { Cause::JobFailed { job } };
            self.end(cause, None).await;
        }
    }

    async fn skip(&mut self, job: &Job, why: Skip) {
        self.state.counts.skipped += 1;
        self.tell(Event::JobSkipped { job: job.info(), why }).await;
    }

    async fn write_log(&mut self, over: &Over) {
        let (Some(log), Some(outcome)) = (&self.log, &over.outcome) else { return };
        let entry = Entry {
            key: over.job.key(),
            name: Arc::clone(&over.job.name),
            command: over.job.command_line(),
            started: over.started,
            elapsed: over.elapsed,
            outcome: outcome.clone(),
            attempts: over.attempts,
            leaks: over.leaks,
        };
        if let Err(error) = log.append(&entry) {
            self.log = None;
            self.state.trouble();
            let text = format!("the log cannot be written any more: {error}");
            self.tell(Event::Note { text }).await;
        }
    }

    async fn answer(&mut self, asked: Asked) {
        match asked {
            Asked::End(signal) => {
                self.heed(signal);
                self.tell_all().await;
            }
            Asked::Suspend => self.suspend().await,
            Asked::Continue => self.keyboard.take(),
            Asked::Show => self.show_running().await,
        }
    }
}
