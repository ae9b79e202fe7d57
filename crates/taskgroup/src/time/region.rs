//! The future of every scope, timeout and shield.
//!
//! # Invariants
//!
//! 1. From its first poll until its end the region stands in the tree under the region that polls it; the
//!    inner future is dropped before it leaves.
//! 2. The inner future is polled before the deadline is looked at, so a value that exists beats it (R19);
//!    and the clock is read, not only the timer awaited, so a future that exhausts the task's budget at each
//!    poll cannot starve its own deadline.
//! 3. Of several deadlines that have passed, the outermost reports: an inner one waits for it.
//! 4. Cut together with its surroundings it never returns: they are cut too. Cut alone, it says so; a shield
//!    always does.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::core::Core;
use crate::group::DEFERRED;
use crate::slow_exit::SlowExit;
use crate::sync::Arc;
use crate::task::hand_over_groups;
use crate::tree::{self, CancelCause, Member, NodeKind, NodeRef, Turn};

pin_project! {
    pub(super) struct Region<F> {
        #[pin]
        future: Option<F>,
        // Dropped after the future.
        place: Place,
        #[pin]
        timer: Option<Sleep>,
        slow_exit: SlowExit,
    }
}

impl<F: Future> Region<F> {
    pub(super) fn new(core: Arc<Core>, future: F) -> Self {
        let place = Place { core, attached: false };
        Self { future: Some(future), place, timer: None, slow_exit: SlowExit::default() }
    }
}

impl<F: Future> Region<F> {
    /// Polls the future to its end, or until it has been cut.
    pub(super) fn poll_to_end(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, CancelCause>> {
        let mut this = self.project();
        let mut first = this.place.attach();
        if this.future.is_none() {
            return Poll::Pending;
        }
        loop {
            let core = &this.place.core;
            let turn = {
                let _entered = tree::enter(Arc::clone(core) as NodeRef);
                let turn = tree::turn(core.node(), cx, first, |cx| match this.future.as_mut().as_pin_mut() {
                    Some(future) => future.poll(cx),
                    None => unreachable!("looked at above"),
                });
                if !matches!(turn, Turn::Pending(_)) {
                    this.future.set(None);
                }
                turn
            };
            first = false;
            let inside = match turn {
                Turn::Ready(output) => {
                    this.place.leave();
                    return Poll::Ready(Ok(output));
                }
                Turn::Cut => {
                    let cause = core.node().cause().expect("who is cut has been cancelled");
                    this.place.leave();
                    return Poll::Ready(Err(cause));
                }
                Turn::Pending(inside) => inside,
            };
            if core.node().is_cancelled() {
                this.slow_exit.poll(&(Arc::clone(core) as NodeRef), cx);
            }
            if look(core, this.timer.as_mut(), inside, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Drops the future, if it has not ended.
    pub(super) fn clear(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }
}

impl<F: Future> Future for Region<F> {
    /// The future's output, or why it was cut.
    type Output = Result<F::Output, CancelCause>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let end = ready!(self.as_mut().poll_to_end(cx));
        let reports = self.place.core.node().kind() == NodeKind::Shield || !tree::is_cut();
        if end.is_err() && !reports {
            return Poll::Pending;
        }
        Poll::Ready(end)
    }
}

/// The region waits. Ready: its deadline or a grace period inside has come, the region is to be polled again.
fn look(
    core: &Arc<Core>,
    mut timer: Pin<&mut Option<Sleep>>,
    inside: Option<Instant>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let deadline = core.pending_deadline();
    let Some(mut next) = deadline.into_iter().chain(inside).min() else { return Poll::Pending };
    let now = Instant::now();
    if next <= now {
        let expires = deadline == Some(next);
        if !expires || !outer_expired(core, now) {
            if expires {
                core.expire();
            }
            return Poll::Ready(());
        }
        next = now + DEFERRED;
    }
    match timer.as_mut().as_pin_mut() {
        Some(sleep) if sleep.deadline() != next => sleep.reset(next),
        Some(_) => {}
        None => timer.set(Some(sleep_until(next))),
    }
    match timer.as_pin_mut() {
        Some(sleep) => sleep.poll(cx),
        None => unreachable!("set above"),
    }
}

fn outer_expired(core: &Core, now: Instant) -> bool {
    if core.node().kind() == NodeKind::Shield {
        return false;
    }
    tree::deadline_from(core.node().parent()).is_some_and(|outer| outer <= now)
}

/// A region's place in the tree.
pub(super) struct Place {
    core: Arc<Core>,
    attached: bool,
}

impl Place {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, attached: false }
    }

    /// Puts the region under the one that polls it. True: for the first time.
    pub(super) fn attach(&mut self) -> bool {
        if self.attached {
            return false;
        }
        self.attached = true;
        self.core.enter();
        if let Some(region) = tree::with_current(|node| node.cloned()) {
            tree::attach_scope(&region, &(Arc::clone(&self.core) as NodeRef));
        }
        true
    }

    /// Takes the region out of the tree. Groups that it left alive are its surroundings' (R4).
    pub(super) fn leave(&mut self) {
        self.core.end();
        let node = self.core.node();
        if node.has_had_members() {
            hand_over_groups(node, node.parent().as_ref());
        }
        drop(tree::detach(node));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.attached {
            self.leave();
        }
    }
}
