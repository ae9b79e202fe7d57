//! What the host of a group looks at when the group waits: its deadline (R19), its grace period (R15), and
//! whether its exit is slow.
//!
//! The timers lie in the future of `run`, so they need no helper and are gone with it. Whoever has neither a
//! deadline nor a grace period has no timer until it is cancelled.
//!
//! 1. The deadline is looked at after the body has been polled, so a value that exists beats it.
//! 2. A group inside something whose deadline has passed too leaves the report to that (the outermost
//!    reports), once and not for long: that may not be polled at all.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{EnterGuard, Handle};
use tokio::time::Instant;

use super::core::GroupCore;
use crate::slow_exit::SlowExit;
use crate::sync::Arc;
use crate::timer::Timer;
use crate::tree::{self, CancelCause, CancelReason, Member, NodeRef};

/// From when on a group may run, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    After(Duration),
    At(Instant),
}

/// A deadline, and how long after the entry it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) after: Duration,
}

impl Limit {
    /// Counted from `now`; a moment too far away to be told is none.
    pub(crate) fn begin(self, now: Instant) -> Option<Deadline> {
        match self {
            Limit::After(after) => Some(Deadline { at: now.checked_add(after)?, after }),
            Limit::At(at) => Some(Deadline { at, after: at.saturating_duration_since(now) }),
        }
    }
}

/// How soon a scope looks again that left its report to one further out.
pub(crate) const DEFERRED: Duration = Duration::from_millis(10);

/// The timers of one `run`.
#[derive(Default)]
pub(crate) struct Clock {
    limits: Option<Box<Timer>>,
    slow_exit: SlowExit,
    /// It has left the report to a deadline further out once.
    deferred: bool,
}

/// What the host does next.
pub(crate) enum Look {
    Wait,
    /// Something has changed: poll again.
    Again,
    /// The grace period is over, and all children have been dropped.
    Forced,
}

impl Clock {
    /// The group waits: for what, and is it time for something? `inside`: when a grace period inside ends.
    pub(crate) fn look<E: Send + 'static>(
        &mut self,
        core: &Arc<GroupCore<E>>,
        inside: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Look {
        let group: NodeRef = core.member();
        let (node, deadline) = (core.node(), core.run_deadline());
        if node.is_cancelled() {
            let _runtime = enter(core);
            self.slow_exit.poll(&group, cx);
        }
        if inside.is_none() && deadline.is_none() && core.grace().is_none() {
            return Look::Wait;
        }
        let grace = if node.is_forced() { None } else { tree::grace_end(&group) };
        let deadline = deadline.filter(|_| !node.is_cancelled() && !node.is_ending());
        let Some(next) = inside.into_iter().chain(grace).chain(deadline.map(|deadline| deadline.at)).min()
        else {
            return Look::Wait;
        };
        if self.poll(core, next, cx).is_pending() {
            return Look::Wait;
        }
        if grace == Some(next) {
            tree::force(&group);
            return Look::Forced;
        }
        match deadline {
            Some(deadline) if deadline.at == next => self.expire(core, deadline, cx),
            _ => Look::Again,
        }
    }

    fn expire<E: Send + 'static>(
        &mut self,
        core: &Arc<GroupCore<E>>,
        deadline: Deadline,
        cx: &mut Context<'_>,
    ) -> Look {
        let now = Instant::now();
        let outer_expired =
            || tree::deadline_that_cuts(core.node().parent()).is_some_and(|outer| outer <= now);
        if !self.deferred && outer_expired() {
            self.deferred = true;
            return match self.poll(core, now + DEFERRED, cx) {
                Poll::Ready(()) => Look::Again,
                Poll::Pending => Look::Wait,
            };
        }
        let info = core.node().info();
        let cause = CancelCause::new(CancelReason::Deadline(info.clone(), deadline.after), info);
        tree::cancel(&(core.member() as NodeRef), cause);
        Look::Again
    }

    fn poll<E: Send + 'static>(
        &mut self,
        core: &Arc<GroupCore<E>>,
        at: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let _runtime = enter(core);
        self.limits.get_or_insert_default().poll_until(at, cx)
    }
}

/// Whatever polls a `run` need not be a runtime's task.
fn enter<E: Send + 'static>(core: &Arc<GroupCore<E>>) -> Option<EnterGuard<'_>> {
    Handle::try_current().is_err().then(|| core.runtime().enter())
}
