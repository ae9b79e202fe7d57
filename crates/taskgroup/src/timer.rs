//! A timer that is made when it is first needed.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::lost;

/// For waits of our own, on a runtime that may have no clock: there it never fires.
#[derive(Default)]
pub(crate) enum Timer {
    #[default]
    New,
    Running(Pin<Box<Sleep>>),
    NoClock,
}

impl Timer {
    /// Ready at `at`; a call with another instant moves the timer.
    pub(crate) fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        if let Timer::New = self {
            *self = start(at);
        }
        match self {
            Timer::Running(sleep) => {
                if sleep.deadline() != at {
                    sleep.as_mut().reset(at);
                }
                sleep.as_mut().poll(cx)
            }
            Timer::New | Timer::NoClock => Poll::Pending,
        }
    }
}

/// tokio cannot be asked whether a runtime has a clock, it panics without one. That must not happen in the
/// middle of a child's end.
fn start(at: Instant) -> Timer {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    match catch_unwind(AssertUnwindSafe(|| Box::pin(sleep_until(at)))) {
        Ok(sleep) => Timer::Running(sleep),
        Err(_) => {
            // Relaxed: the flag only keeps the report from being repeated.
            if !REPORTED.swap(true, Ordering::Relaxed) {
                lost::report(format_args!(
                    "grace periods, deadlines of groups and reports of slow exits need a runtime with a clock: call \
                     `enable_time` or `enable_all` on its builder"
                ));
            }
            Timer::NoClock
        }
    }
}
