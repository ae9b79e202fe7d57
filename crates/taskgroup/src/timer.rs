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
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready at `at`; a call with another instant moves the timer.
    pub(crate) fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        match &mut self.0 {
            Some(sleep) if sleep.deadline() != at => sleep.as_mut().reset(at),
            Some(_) => {}
            None => self.0 = start(at),
        }
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// tokio cannot be asked whether a runtime has a clock, it panics without one. That must not happen in the
/// middle of a child's end.
fn start(at: Instant) -> Option<Pin<Box<Sleep>>> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    // Relaxed: the flag only keeps the report from being repeated.
    if MISSING.load(Ordering::Relaxed) {
        return None;
    }
    let started = catch_unwind(AssertUnwindSafe(|| Box::pin(sleep_until(at)))).ok();
    if started.is_none() && !MISSING.swap(true, Ordering::Relaxed) {
        lost::report(format_args!(
            "grace periods and reports of slow exits need a runtime with a clock: call `enable_time` or \
             `enable_all` on its builder"
        ));
    }
    started
}
