//! The future of every scope, timeout and shield.
//!
//! # Invariants
//!
//! 1. From its first poll until its end the region stands in the tree under the region that polls it, or that
//!    polled it last; the inner future is dropped before it leaves.
//! 2. The inner future is polled before the deadline is looked at, so a value that exists beats it (R19);
//!    and the clock is read, not only the timer awaited, so a future that exhausts the task's budget at each
//!    poll cannot starve its own deadline.
//! 3. Of several deadlines that have passed, the outermost reports: an inner one waits for it, once and not
//!    for long, for the outer one may not be polled at all.
//! 4. Cut together with its surroundings it never returns: they are cut too. Cut alone, it says so; a shield
//!    always does.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::core::Core;
use crate::group::DEFERRED;
use crate::slow_exit::SlowExit;
use crate::sync::Arc;
use crate::task::hand_over_groups;
use crate::tree::{self, CancelCause, Member, NodeKind, NodeRef, ShieldWaker, Turn};

pin_project! {
    pub(super) struct Region<F> {
        #[pin]
        future: Option<F>,
        // Dropped after the future.
        place: Place,
        #[pin]
        timer: Option<Sleep>,
        // Whether it has left the report to a deadline further out once.
        deferred: bool,
        slow_exit: SlowExit,
    }
}

impl<F: Future> Region<F> {
    pub(super) fn new(core: Arc<Core>, future: F) -> Self {
        let (place, slow_exit) = (Place::new(core), SlowExit::default());
        Self { future: Some(future), place, timer: None, deferred: false, slow_exit }
    }
}

impl<F: Future> Region<F> {
    /// Polls the future to its end, or until it has been cut.
    pub(super) fn poll_to_end(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, CancelCause>> {
        let mut this = self.project();
        if this.future.is_none() {
            return Poll::Pending;
        }
        let mut first = this.place.attach();
        let waker = this.place.waker(cx);
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(cx.waker()));
        loop {
            let Place { core, member, .. } = &mut *this.place;
            let turn = {
                let _entered = tree::enter_from(member);
                let turn =
                    tree::turn(core.node(), &mut cx, first, |cx| match this.future.as_mut().as_pin_mut() {
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
                    this.timer.set(None);
                    this.place.leave();
                    return Poll::Ready(Ok(output));
                }
                Turn::Cut => {
                    let cause = core.node().cause().expect("who is cut has been cancelled");
                    this.timer.set(None);
                    this.place.leave();
                    return Poll::Ready(Err(cause));
                }
                Turn::Pending(inside) => inside,
            };
            if core.node().is_cancelled() {
                this.slow_exit.poll(&(Arc::clone(core) as NodeRef), &mut cx);
            }
            let clock = Clock { core, deferred: this.deferred, inside };
            if clock.look(this.timer.as_mut(), &mut cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.place.core
    }

    /// Drops the future, if it has not ended.
    pub(super) fn clear(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }

    /// Takes it out of the tree, if it has not ended.
    pub(super) fn leave(self: Pin<&mut Self>) {
        self.project().place.leave();
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

/// What a region that waits looks at.
struct Clock<'a> {
    core: &'a Arc<Core>,
    deferred: &'a mut bool,
    /// When a grace period inside ends.
    inside: Option<Instant>,
}

impl Clock<'_> {
    /// Ready: the deadline or a grace period inside has come, the region is to be polled again.
    fn look(self, mut timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.core.pending_deadline();
        let at = deadline.map(|deadline| deadline.at);
        let Some(mut next) = at.into_iter().chain(self.inside).min() else { return Poll::Pending };
        let now = Instant::now();
        if next <= now {
            let expires = at == Some(next);
            if !expires || *self.deferred || !outer_expired(self.core, now) {
                if expires {
                    self.core.expire();
                }
                return Poll::Ready(());
            }
            *self.deferred = true;
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
}

fn outer_expired(core: &Core, now: Instant) -> bool {
    if core.node().kind() == NodeKind::Shield {
        return false;
    }
    tree::deadline_that_cuts(core.node().parent()).is_some_and(|outer| outer <= now)
}

/// A region's place in the tree.
pub(super) struct Place {
    core: Arc<Core>,
    /// The same as a member of the tree, from the first poll to the end.
    member: Option<NodeRef>,
    /// The waker that a shield is polled with, behind the host's that it stands for.
    waker: Option<(Waker, Waker)>,
}

impl Place {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, member: None, waker: None }
    }

    /// Puts the region under the one that polls it, at each poll: the future may have been polled elsewhere
    /// before. True: for the first time.
    pub(super) fn attach(&mut self) -> bool {
        if let Some(member) = &self.member {
            tree::follow_current(member);
            return false;
        }
        self.core.enter();
        let member = &*self.member.insert(Arc::clone(&self.core) as NodeRef);
        // Looked at in place: a scope is opened often, and cancelled at its entry hardly ever.
        let cancelled = tree::with_current(|region| tree::attach_member(region?, member));
        if let Some(cause) = cancelled {
            tree::cancel(member, cause);
        }
        true
    }

    /// The waker to poll a shield with.
    pub(super) fn waker(&mut self, cx: &Context<'_>) -> Option<Waker> {
        if self.core.node().kind() != NodeKind::Shield {
            return None;
        }
        tree::begin_poll(self.core.node());
        match &self.waker {
            Some((host, own)) if host.will_wake(cx.waker()) => Some(own.clone()),
            _ => {
                let host = cx.waker().clone();
                let own = Waker::from(ShieldWaker::new(&(Arc::clone(&self.core) as NodeRef), host.clone()));
                self.waker = Some((host, own.clone()));
                Some(own)
            }
        }
    }

    /// Takes the region out of the tree. What it left alive is its surroundings' (R4).
    pub(super) fn leave(&mut self) {
        if self.member.take().is_none() {
            return;
        }
        self.waker = None;
        self.core.end();
        let node = self.core.node();
        if node.has_had_members() {
            let above = node.parent();
            hand_over_groups(node, above.as_ref());
            tree::hand_up(node, above.as_ref());
        }
        drop(tree::detach(node));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}
