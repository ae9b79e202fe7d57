//! What a region's future and its handles share: the node, and the deadline.
//!
//! ```text
//!   new ──first poll──▶ open ──▶ ended
//! ```
//!
//! # Invariants
//!
//! 1. A region without handles has a deadline that is set once, before the region is in the tree: whoever
//!    finds it there finds the deadline. One with handles has it under a lock, and that is the truth. The
//!    timer in the region's future follows it at each poll; a deadline that is brought forward wakes the host,
//!    one that is put off does not: the timer's one wake-up too many arms it anew. So any number of
//!    reschedules leaves one timer.
//! 2. A deadline that has passed stays passed: whoever finds it so, the host or a reschedule, cancels the
//!    scope, and the first cause stays.
//! 3. A region that has ended is not cancelled any more.

use std::any::Any;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use crate::group::{Deadline, Limit};
use crate::sync::{Arc, Mutex, lock};
use crate::tree::{self, CancelCause, CancelReason, Member, Node, NodeKind, NodeRef};

pub(super) struct Core {
    node: Node,
    limit: Option<Limit>,
    fixed: OnceLock<Deadline>,
    /// There for regions with handles.
    moving: Option<Box<Mutex<When>>>,
}

struct When {
    stage: Stage,
    /// `None` before the entry of a region with a time limit: not known yet.
    deadline: Option<Option<Deadline>>,
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
    /// For a region that nobody has a handle of.
    pub(super) fn new(kind: NodeKind, location: &'static Location<'static>, limit: Option<Limit>) -> Self {
        Self { node: Node::new(kind, None, location), limit, fixed: OnceLock::new(), moving: None }
    }

    pub(super) fn with_handles(
        kind: NodeKind,
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
        limit: Option<Limit>,
    ) -> Self {
        let deadline = match limit {
            Some(Limit::After(_)) => None,
            Some(Limit::At(_)) | None => Some(limit.and_then(|limit| limit.begin(Instant::now()))),
        };
        let when = When { stage: Stage::New, deadline, entered: None, called: false };
        let moving = Some(Box::new(Mutex::new(when)));
        Self { node: Node::new(kind, name, location), limit, fixed: OnceLock::new(), moving }
    }

    /// The first poll: a time limit counts from now.
    pub(super) fn enter(&self) {
        match &self.moving {
            Some(moving) => {
                let now = Instant::now();
                let mut when = lock(moving);
                when.stage = Stage::Open;
                when.entered = Some(now);
                if when.deadline.is_none() {
                    when.deadline = Some(self.limit.and_then(|limit| limit.begin(now)));
                }
            }
            None => {
                if let Some(deadline) = self.limit.and_then(|limit| limit.begin(Instant::now())) {
                    let _ = self.fixed.set(deadline);
                }
            }
        }
    }

    pub(super) fn end(&self) {
        if let Some(moving) = &self.moving {
            lock(moving).stage = Stage::Ended;
        }
    }

    fn whole_deadline(&self) -> Option<Deadline> {
        match &self.moving {
            Some(moving) => lock(moving).deadline.flatten(),
            None => self.fixed.get().copied(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.whole_deadline()?.at)
    }

    /// When the region has to be cancelled; none if it has been.
    pub(super) fn pending_deadline(&self) -> Option<Deadline> {
        if self.node.is_cancelled() { None } else { self.whole_deadline() }
    }

    /// The deadline has passed: cancels the region.
    pub(super) fn expire(self: &Arc<Self>) {
        let passed = |deadline: &Deadline| deadline.at <= Instant::now();
        let Some(deadline) = self.whole_deadline().filter(passed) else { return };
        if self.node.is_cancelled() || !self.call() {
            return;
        }
        self.mark(CancelReason::Deadline(self.node.info(), deadline.after));
    }

    pub(super) fn cancel(self: &Arc<Self>, message: Option<Cow<'static, str>>) {
        if self.call() {
            self.mark(CancelReason::Requested(message));
        }
    }

    /// Notes that this very region is asked to end. False: it has ended.
    fn call(&self) -> bool {
        let Some(moving) = &self.moving else { return true };
        let mut when = lock(moving);
        when.called |= when.stage != Stage::Ended;
        when.stage != Stage::Ended
    }

    fn mark(self: &Arc<Self>, reason: CancelReason) {
        let cause = CancelCause::new(reason, self.node.info());
        tree::cancel(&(Arc::clone(self) as NodeRef), cause);
    }

    /// Moves the deadline; says why not.
    pub(super) fn reschedule(self: &Arc<Self>, to: Option<Instant>) -> Result<(), Refusal> {
        let now = Instant::now();
        let moving = self.moving.as_deref().expect("who has a handle can move the deadline");
        let mut when = lock(moving);
        if when.stage == Stage::Ended {
            return Err(Refusal::Ended);
        }
        if self.node.is_cancelled() {
            return Err(Refusal::Cancelled);
        }
        let former = when.deadline.flatten().map(|former| former.at);
        if former.is_some_and(|former| former <= now) {
            drop(when);
            self.expire();
            return Err(Refusal::Cancelled);
        }
        let after = |at: Instant| at.saturating_duration_since(when.entered.unwrap_or(now));
        when.deadline = Some(to.map(|at| Deadline { at, after: after(at) }));
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
        self.moving.as_ref().is_some_and(|moving| lock(moving).called)
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
