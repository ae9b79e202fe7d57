//! What few children have: a span, a grace period, a watch over a slow end. Behind one pointer.
//!
//! *The grace period*: a child that is asked to end is given this long, then dropped (R15). *The watch*: over a child
//! that was cancelled alone, and takes long to end. Their timers lie in the child's cell, so that they need no helper,
//! and are gone with it. They are armed by the first poll after the cancel, which the mark's wake-up brings about.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::slow_exit::SlowExit;
use crate::timer::Timer;
use crate::trace::{Entered, Span};
use crate::tree::NodeRef;

#[derive(Default)]
pub(crate) struct Rare(Option<Box<Things>>);

#[derive(Default)]
struct Things {
    span: Span,
    period: Option<Duration>,
    timer: Timer,
    slow_exit: SlowExit,
}

impl Rare {
    #[inline]
    pub(crate) fn new(span: Span, period: Option<Duration>) -> Self {
        if span.is_none() && period.is_none() {
            return Self(None);
        }
        Self(Some(Box::new(Things { span, period, ..Things::default() })))
    }

    #[inline]
    pub(crate) fn enter_span(&self) -> Entered<'_> {
        match &self.0 {
            Some(things) => things.span.enter(),
            None => Entered::nothing(),
        }
    }

    /// Lets go of everything, and gives out the span.
    #[inline]
    pub(crate) fn take_span(&mut self) -> Span {
        self.0.take().map_or_else(Span::default, |things| things.span)
    }

    /// Ready: the child's grace period is over. Wakes the child at `inside`, when that of a group in it is.
    pub(crate) fn poll_grace(
        &mut self,
        child: &NodeRef,
        inside: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let node = child.node();
        if SlowExit::concerns(child) {
            self.0.get_or_insert_default().slow_exit.poll(child, cx);
        }
        let period = self.0.as_ref().and_then(|things| things.period);
        let own = period.and_then(|period| node.cause()?.at().checked_add(period));
        let Some(next) = own.into_iter().chain(inside).min() else { return Poll::Pending };
        if self.0.get_or_insert_default().timer.poll_until(next, cx).is_pending() {
            return Poll::Pending;
        }
        if own == Some(next) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
