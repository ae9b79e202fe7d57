//! The grace period of one child: asked to end, it is given this long, then dropped (R15). And the watch over a
//! child that was cancelled alone, and takes long to end.
//!
//! The timer lies in the child's shell, so that it needs no helper and is gone with the child. It is armed
//! by the first poll after the cancel, which the mark's wake-up brings about.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::slow_exit::SlowExit;
use crate::timer::Timer;
use crate::tree::NodeRef;

/// Empty for a child without a grace period, until it is cancelled: a pointer in its shell.
pub(crate) struct Grace(Option<Box<Running>>);

#[derive(Default)]
struct Running {
    period: Option<Duration>,
    timer: Timer,
    slow_exit: SlowExit,
}

impl Grace {
    pub(crate) fn new(period: Option<Duration>) -> Self {
        Self(period.map(|period| Box::new(Running { period: Some(period), ..Running::default() })))
    }

    /// Ready: the child's grace period is over. Wakes the child at `inside`, when that of a group in it is.
    pub(crate) fn poll(
        &mut self,
        child: &NodeRef,
        inside: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let node = child.node();
        if SlowExit::concerns(child) {
            self.0.get_or_insert_default().slow_exit.poll(child, cx);
        }
        if self.0.is_none() && inside.is_none() {
            return Poll::Pending;
        }
        let running = self.0.get_or_insert_default();
        let own = running.period.and_then(|period| node.cause()?.at().checked_add(period));
        let Some(next) = own.into_iter().chain(inside).min() else { return Poll::Pending };
        if running.timer.poll_until(next, cx).is_pending() {
            return Poll::Pending;
        }
        if own == Some(next) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
