//! The loop of a run: who may start, what an end means for the others, signals, time.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use taskgroup::{Spawner, TaskGroup};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::attempt::GRACE;
use super::job::{self, Over, Report, Surroundings};
use super::keyboard::Keyboard;
use super::orders::{Due, Orders, Told};
use super::signals::{Asked, Signals};
use super::source::{Given, Source};
use super::state::State;
use super::terminal;
use crate::console::{Console, Lost};
use crate::event::{Cause, Event, Skip, signal_name};
use crate::log::{Done, Entry, Log};
use crate::plan::{Job, Plan, Settings};

/// How long a suspension waits for jobs to stand still.
const SUSPEND_LIMIT: Duration = Duration::from_millis(500);

/// What a run is made of.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) settings: Settings,
    pub(crate) log: Option<Log>,
    pub(crate) done: Option<Done>,
}

/// Runs everything; gives the exit code when no process of it is alive.
pub(crate) async fn run(run: Run, console: Console) -> std::io::Result<i32> {
    let signals = Signals::new()?;
    let group: TaskGroup = TaskGroup::builder().name("tg").build();
    let spawner = group.spawner();
    let code =
        group.run(async move { Ok(Scheduler::new(run, console, signals, spawner)?.run().await) }).await;
    code.map_err(std::io::Error::other)
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
    Lost(Lost),
    Key,
}

impl Scheduler {
    fn new(run: Run, console: Console, signals: Signals, spawner: Spawner) -> std::io::Result<Self> {
        let Run { plan, settings, log, done } = run;
        let has_tty_job = matches!(&plan, Plan::Listed(jobs) if jobs.iter().any(|job| job.tty));
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
            may_have_more: true,
            is_at_end: false,
            spawner,
            signals,
            keyboard: Keyboard::new(!settings.quiet && !settings.json && !has_tty_job),
            log,
            done,
        })
    }

    async fn run(mut self) -> i32 {
        let (jobs, limit) = (self.source.len(), self.limit.map(NonZeroUsize::get));
        self.console().event(Event::RunStarted { jobs, limit }).await;
        if let Some(done) = &self.done {
            for text in done.notes() {
                self.console().event(Event::Note { text }).await;
            }
        }
        while !(self.running == 0 && (self.is_at_end || self.state.is_ending())) {
            match self.next().await {
                Woken::Given(given) => self.take(given).await,
                Woken::Report(report) => self.hear(report).await,
                Woken::Asked(asked) => self.answer(asked).await,
                Woken::Due => {
                    self.due = None;
                    let limit = self.time_limit.unwrap_or_default();
                    self.end(Cause::Deadline { limit }, None).await;
                }
                Woken::Lost(Lost::BrokenPipe) => self.end(Cause::OutputClosed, None).await,
                Woken::Lost(Lost::Failed(text)) => {
                    self.state.trouble();
                    let text = format!("standard output cannot be written: {text}");
                    self.console().event(Event::Note { text }).await;
                    self.end(Cause::OutputClosed, None).await;
                }
                Woken::Key => self.console().show_running().await,
            }
        }
        self.finish().await
    }

    async fn finish(mut self) -> i32 {
        for job in self.source.rest() {
            self.skip(&job, Skip::Cancelled).await;
        }
        self.keyboard.leave();
        let exit_code = self.state.exit_code();
        let counts = self.state.counts;
        let elapsed = self.console().elapsed();
        self.console().event(Event::RunFinished { exit_code, elapsed, counts }).await;
        exit_code
    }

    fn console(&self) -> &Console {
        &self.around.console
    }

    async fn next(&mut self) -> Woken {
        let has_room = self.limit.is_none_or(|limit| self.running < limit.get());
        let may_start = has_room && self.may_have_more && !self.is_at_end && !self.state.is_ending();
        let is_ending = self.state.is_ending();
        let orders = self.orders.borrow().clone();
        tokio::select! {
            biased;
            asked = self.signals.next() => Woken::Asked(asked),
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
                self.console().event(Event::JobSkipped { job: job.info(), why: Skip::DoneBefore }).await;
            }
            Given::Job(job) => {
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
                self.console().event(Event::Note { text: trouble.to_string() }).await;
                self.end(Cause::Outer, None).await;
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
        self.console().event(Event::JobSkipped { job: job.info(), why }).await;
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
            self.console().event(Event::Note { text }).await;
        }
    }

    async fn answer(&mut self, asked: Asked) {
        match asked {
            Asked::End(signal) if self.state.is_ending() => {
                // One that comes while the run ends for another cause is the first one.
                if self.state.asked_again(signal) && !self.orders.borrow().is_hurried {
                    self.console().event(Event::Hurried { signal: signal_name(signal) }).await;
                    self.orders.send_modify(|orders| orders.is_hurried = true);
                }
            }
            Asked::End(signal) => {
                let is_nested = std::env::var_os(GRACE).is_some();
                let name = signal_name(signal);
                let cause = if is_nested && signal == libc::SIGTERM {
                    Cause::Outer
                } else {
                    Cause::Signal { signal: name }
                };
                self.end(cause, Some(signal)).await;
            }
            Asked::Suspend => self.suspend().await,
            Asked::Continue => self.keyboard.take(),
            Asked::Show => self.console().show_running().await,
        }
    }

    /// Ends the run: nothing is started any more, and what runs is ended.
    async fn end(&mut self, cause: Cause, signal: Option<i32>) {
        let text: Arc<str> = cause.to_string().into();
        if self.state.end(cause.clone(), signal) {
            self.console().event(Event::Cancelling { cause }).await;
            self.orders.send_modify(|orders| orders.ending = Some(text));
        }
    }

    /// Stands still until SIGCONT: the jobs, the timers, then `tg` itself.
    async fn suspend(&mut self) {
        self.keyboard.leave();
        let console = self.console().clone();
        let begun = tokio::time::Instant::now();
        self.orders.send_modify(|orders| orders.is_suspended = true);
        let expected = self.running;
        let _ = timeout(SUSPEND_LIMIT, self.all_stand_still(expected)).await;
        console.suspend().await;
        terminal::take_back();
        // SIGSTOP, since SIGTSTP has a handler here. This call returns when somebody has sent SIGCONT.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        tokio::task::yield_now().await;
        console.resume().await;
        let paused = begun.elapsed();
        self.orders.send_modify(|orders| {
            orders.is_suspended = false;
            orders.paused += paused;
        });
        self.keyboard.take();
    }

    /// Until so many jobs stand still or are over.
    async fn all_stand_still(&mut self, expected: usize) {
        let mut still = 0;
        while still < expected {
            match self.reports.recv().await {
                Some(Report::Over(over)) => {
                    self.job_is_over(*over).await;
                    still += 1;
                }
                Some(Report::StandsStill) => still += 1,
                Some(Report::StoppedAtTerminal) => {}
                None => return,
            }
        }
    }
}
