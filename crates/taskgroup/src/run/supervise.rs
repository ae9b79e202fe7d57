//! The future that runs a root group and stops it on a signal.

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::alarm::{Alarm, Event, Hears, Watchdog};
use super::outcome::{Outcome, Stop};
use super::signals::{Signals, poll_unbudgeted};
use super::{Runner, Voice};
use crate::group::{ScopeBody, TaskGroup};
use crate::tree::{CancelReason, NodeInfo, Signal};

/// How many of the tasks that are left a line names.
const NAMED_MAX: usize = 5;

pub(super) async fn supervise<T, E, F>(
    runner: Runner,
    body: F,
    location: &'static Location<'static>,
) -> Outcome<T, E>
where
    F: for<'a> ScopeBody<'a, T, E>,
    E: Send + 'static,
{
    // Before any code of the program's runs: no signal is lost (invariant 1).
    let mut supervisor = Supervisor::new(&runner);
    supervisor.signals.add(runner.stop_on);
    let group = TaskGroup::open_root(runner.root, location);
    let mut watchdog = None;
    let outcome = {
        let mut run = pin!(group.run_root(async { body(&group).await }, location));
        match poll_fn(|cx| supervisor.poll(&group, run.as_mut(), cx)).await {
            End::Ended(result) => Outcome::new(result, supervisor.stop(&group)),
            End::Forced(signal) => {
                let hears = if runner.system_signals { Hears::Signals } else { Hears::Nothing };
                watchdog = Watchdog::start(signal, Duration::ZERO, hears, runner.voice);
                let result = group.end_at_once().expect("its `run` has not ended");
                Outcome::new(Err(result), Some(Stop { signal, forced: true }))
            }
        }
        // A forced end drops the body here, its tasks being gone.
    };
    drop(watchdog);
    outcome
}

enum End<R> {
    Ended(R),
    /// By this signal.
    Forced(Signal),
}

struct Supervisor {
    signals: Signals,
    alarm: Option<Alarm>,
    grace: Duration,
    grace_over: Pin<Box<Sleep>>,
    voice: Voice,
    stopping: Option<Stopping>,
}

/// The first signal has come.
#[derive(Clone, Copy)]
struct Stopping {
    signal: Signal,
    /// Whether the grace period is counted; one too long for the clock never ends.
    limited: bool,
}

impl Supervisor {
    fn new(runner: &Runner) -> Self {
        let voice = runner.voice;
        let (signals, alarm) = match runner.system_signals {
            false => (Signals::none(), None),
            true => {
                let refused = |signal, error| {
                    voice.say(format_args!(
                        "cannot listen for {signal}, which will end the process at once: {error}"
                    ));
                };
                (Signals::of_system(refused), Some(Alarm::new(runner.grace, voice)))
            }
        };
        // Made now, so that a runtime without a clock is refused now and not when a signal comes.
        let grace_over = Box::pin(sleep(runner.grace));
        Self { signals, alarm, grace: runner.grace, grace_over, voice, stopping: None }
    }

    fn poll<F: Future, E: Send + 'static>(
        &mut self,
        group: &TaskGroup<E>,
        run: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<End<F::Output>> {
        if let Some(alarm) = &self.alarm {
            alarm.call_off();
        }
        // First, so that the alarm is set before the body's code runs, which may block (invariant 3).
        match self.poll_stop(group, cx) {
            Poll::Ready(signal) => Poll::Ready(End::Forced(signal)),
            Poll::Pending => run.poll(cx).map(End::Ended),
        }
    }

    /// Begins the orderly end where a signal has come. Ready: the end is to be forced.
    fn poll_stop<E: Send + 'static>(&mut self, group: &TaskGroup<E>, cx: &mut Context<'_>) -> Poll<Signal> {
        loop {
            let (signals, alarm) = (&mut self.signals, &mut self.alarm);
            let come = poll_unbudgeted(cx, |cx| signals.poll_next(cx, alarm.as_mut()));
            match (come, self.stopping) {
                (Poll::Pending, None) => return Poll::Pending,
                (Poll::Ready(signal), None) => self.begin(group, signal),
                (Poll::Ready(again), Some(stopping)) => {
                    self.voice.say(format_args!("{again} received: stopping at once{}", left(group)));
                    return Poll::Ready(stopping.signal);
                }
                (Poll::Pending, Some(stopping)) => {
                    ready!(self.poll_grace(stopping, cx));
                    let grace = self.grace;
                    self.voice.say(format_args!(
                        "the grace period of {grace:?} is over: stopping at once{}",
                        left(group)
                    ));
                    return Poll::Ready(stopping.signal);
                }
            }
        }
    }

    /// The first signal: an orderly end.
    fn begin<E: Send + 'static>(&mut self, group: &TaskGroup<E>, signal: Signal) {
        let end = Instant::now().checked_add(self.grace);
        if let Some(end) = end {
            self.grace_over.as_mut().reset(end);
        }
        self.stopping = Some(Stopping { signal, limited: end.is_some() });
        if let Some(alarm) = &mut self.alarm {
            alarm.begin(signal);
        }
        let how = if group.is_cancelled() { "already stopping" } else { "stopping" };
        let hint = match signal {
            Signal::Interrupt if self.voice.is_at_a_terminal() => "; press Ctrl-C again to stop at once",
            _ => "",
        };
        self.voice.say(format_args!("{signal} received: {how}{hint}"));
        group.cancel_for(CancelReason::Signal(signal));
    }

    fn poll_grace(&mut self, stopping: Stopping, cx: &mut Context<'_>) -> Poll<()> {
        if !stopping.limited {
            return Poll::Pending;
        }
        let waker = self.alarm.as_mut().map(|alarm| alarm.waker(Event::GraceOver, cx.waker()));
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(cx.waker()));
        poll_unbudgeted(&mut cx, |cx| self.grace_over.as_mut().poll(cx))
    }

    /// The signal that stopped a group which has come to its end; of several reasons the first counts (R16).
    fn stop<E: Send + 'static>(&self, group: &TaskGroup<E>) -> Option<Stop> {
        match group.cause()?.reason() {
            CancelReason::Signal(signal) => Some(Stop { signal: *signal, forced: false }),
            _ => None,
        }
    }
}

/// Which tasks a forced end finds.
fn left<E: Send + 'static>(group: &TaskGroup<E>) -> String {
    let left = group.left();
    if left.is_empty() {
        return String::new();
    }
    let names = left.iter().take(NAMED_MAX).map(NodeInfo::to_string).collect::<Vec<_>>().join(", ");
    match left.len() - left.len().min(NAMED_MAX) {
        0 => format!("; not ended: {names}"),
        more => format!("; not ended: {names} and {more} more"),
    }
}
