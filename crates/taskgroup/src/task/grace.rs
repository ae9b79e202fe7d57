//! The grace period of one child: asked to end, it is given this long, then dropped (R15).
//!
//! The timer lies in the child's shell, so that it needs no helper and is gone with the child. It is armed
//! by the first poll after the cancel, which the mark's wake-up brings about.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::timer::Timer;
use crate::tree::Node;

/// Empty for a child without a grace period: a pointer in its shell.
pub(crate) struct Grace(Option<Box<Running>>);

struct Running {
    period: Option<Duration>,
    timer: Timer,
}

impl Grace {
    pub(crate) fn new(period: Option<Duration>) -> Self {
        Self(period.map(|period| Box::new(Running { period: Some(period), timer: Timer::default() })))
    }

    /// Ready: the child's grace period is over. Wakes the child at `inside`, when that of a group in it is.
    pub(crate) fn poll(&mut self, node: &Node, inside: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.is_none() && inside.is_none() {
            return Poll::Pending;
        }
        let running =
            self.0.get_or_insert_with(|| Box::new(Running { period: None, timer: Timer::default() }));
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
