//! What a region's future and its handles share: the node, and the deadline.
//!
//! ```text
//!   new ──first poll──▶ open ──▶ ended
//! ```
//!
//! # Invariants
//!
//! 1. `when` is the truth about the deadline. The timer in the region's future follows it at each poll; a
//!    deadline that is brought forward wakes the host, one that is put off does not: the timer's one wake-up
//!    too many arms it anew. So any number of reschedules leaves one timer.
//! 2. A deadline that has passed stays passed: whoever finds it so, the host or a reschedule, cancels the
//!    scope, and the first cause stays.
//! 3. A region that has ended is not cancelled any more.

use std::any::Any;
use std::borrow::Cow;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use crate::group::{Deadline, Limit};
use crate::sync::{Arc, Mutex, lock};
use crate::tree::{self, CancelCause, CancelReason, Member, Node, NodeKind, NodeRef};

pub(super) struct Core {
    node: Node,
    when: Mutex<When>,
}

struct When {
    stage: Stage,
    limit: Option<Limit>,
    /// Known from the beginning for an absolute one, else from the first poll on.
    deadline: Option<Deadline>,
    entered: Option<Instant>,
    /// `cancel` was called, or the deadline has cancelled: this very scope was asked to end.
    called: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Open,
    Ended,
}

impl Core {
    pub(super) fn new(
        kind: NodeKind,
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
        limit: Option<Limit>,
    ) -> Self {
        let deadline = match limit {
            Some(Limit::At(_)) => limit.and_then(Limit::begin),
            _ => None,
        };
        let when = When { stage: Stage::New, limit, deadline, entered: None, called: false };
        Self { node: Node::new(kind, name, location), when: Mutex::new(when) }
    }

    /// The first poll: a time limit counts from now.
    pub(super) fn enter(&self) {
        let mut when = lock(&self.when);
        when.stage = Stage::Open;
        if let Some(limit) = when.limit {
            when.entered = Some(Instant::now());
            when.deadline = limit.begin();
        }
    }

    pub(super) fn end(&self) {
        lock(&self.when).stage = Stage::Ended;
    }

    /// When the region has to be cancelled; none if it has been.
    pub(super) fn pending_deadline(&self) -> Option<Instant> {
        if self.node.is_cancelled() { None } else { Some(lock(&self.when).deadline?.at) }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(lock(&self.when).deadline?.at)
    }

    /// The deadline has passed: cancels the region.
    pub(super) fn expire(self: &Arc<Self>) {
        let mut when = lock(&self.when);
        let Some(deadline) = when.deadline.filter(|deadline| deadline.at <= Instant::now()) else { return };
        if when.stage == Stage::Ended || self.node.is_cancelled() {
            return;
        }
        when.called = true;
        drop(when);
        self.mark(CancelReason::Deadline(self.node.info(), deadline.after));
    }

    pub(super) fn cancel(self: &Arc<Self>, message: Option<Cow<'static, str>>) {
        let mut when = lock(&self.when);
        if when.stage == Stage::Ended {
            return;
        }
        when.called = true;
        drop(when);
        self.mark(CancelReason::Requested(message));
    }

    fn mark(self: &Arc<Self>, reason: CancelReason) {
        let cause = CancelCause::new(reason, self.node.info());
        tree::cancel(&(Arc::clone(self) as NodeRef), cause);
    }

    /// Moves the deadline; says why not.
    pub(super) fn reschedule(self: &Arc<Self>, to: Option<Instant>) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut when = lock(&self.when);
        if when.stage == Stage::Ended {
            return Err(Refusal::Ended);
        }
        if self.node.is_cancelled() {
            return Err(Refusal::Cancelled);
        }
        if when.deadline.is_some_and(|former| former.at <= now) {
            drop(when);
            self.expire();
            return Err(Refusal::Cancelled);
        }
        let former = when.deadline.map(|former| former.at);
        let entered = when.entered.unwrap_or(now);
        when.limit = to.map(Limit::At);
        when.deadline = to.map(|at| Deadline { at, after: at.saturating_duration_since(entered) });
        let open = when.stage == Stage::Open;
        drop(when);
        if to.is_some_and(|at| at <= now) {
            self.expire();
        } else if open && to.is_some_and(|at| former.is_none_or(|former| at < former)) {
            self.node.wake_host();
        }
        Ok(())
    }

    pub(super) fn cancel_called(&self) -> bool {
        lock(&self.when).called
    }

    /// Whether it was the deadline that cancelled this very region, and how long it had.
    pub(super) fn expired(&self) -> Option<Duration> {
        let cause = self.node.cause()?;
        match cause.reason() {
            CancelReason::Deadline(scope, after) if scope.id() == self.node.id() => Some(*after),
            _ => None,
        }
    }
}

/// Why a deadline is not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Cancelled,
    Ended,
}

impl Member for Core {
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn deadline(&self) -> Option<Instant> {
        Core::deadline(self)
    }
}
