//! A timer that is made when it is first needed.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::lost;

/// For waits of our own, on a runtime that may have no clock: there it never fires.
pub(crate) struct Timer {
    state: State,
    purpose: Purpose,
}

enum State {
    New,
    Running(Pin<Box<Sleep>>),
    NoClock,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A deadline or a grace period.
    Limit,
    /// A log. Made without having been asked for, it must not spoil the others.
    Log,
}

impl Default for Timer {
    fn default() -> Self {
        Self::new(Purpose::Limit)
    }
}

impl Timer {
    pub(crate) fn new(purpose: Purpose) -> Self {
        Self { state: State::New, purpose }
    }

    /// Whether it never fires, for want of a clock.
    pub(crate) fn lacks_clock(&self) -> bool {
        matches!(self.state, State::NoClock)
    }

    /// Ready at `at`; a call with another instant moves the timer.
    pub(crate) fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        if let State::New = self.state {
            self.state = start(at, self.purpose);
        }
        match &mut self.state {
            State::Running(sleep) => {
                if sleep.deadline() != at {
                    sleep.as_mut().reset(at);
                }
                sleep.as_mut().poll(cx)
            }
            State::New | State::NoClock => Poll::Pending,
        }
    }
}

/// tokio cannot be asked whether a runtime has a clock, it panics without one. That must not happen in the
/// middle of a child's end.
fn start(at: Instant, purpose: Purpose) -> State {
    static LIMITS_REPORTED: AtomicBool = AtomicBool::new(false);
    static LOGS_REPORTED: AtomicBool = AtomicBool::new(false);
    let (reported, what) = match purpose {
        Purpose::Limit => (&LIMITS_REPORTED, "grace periods and deadlines of groups need"),
        Purpose::Log => (&LOGS_REPORTED, "telling who holds up the exit of a cancelled group needs"),
    };
    match catch_unwind(AssertUnwindSafe(|| Box::pin(sleep_until(at)))) {
        Ok(sleep) => State::Running(sleep),
        Err(_) => {
            // Relaxed: the flag only keeps the report from being repeated.
            if !reported.swap(true, Ordering::Relaxed) {
                lost::report(format_args!(
                    "{what} a runtime with a clock: call `enable_time` or `enable_all` on its builder"
                ));
            }
            State::NoClock
        }
    }
}
