//! One poll of a cell, and the one way it ends.

use std::future::Future;
use std::task::Context;

use tokio::time::Instant;

use super::cell::{Join, Reporter, TaskCell};
use super::outcome::{Ended, Outcome, Problem};
use super::panic::{Panic, catch};
use super::state::{ClaimDrop, EndPoll, StartPoll};
use super::waker::BorrowedWaker;
use crate::sync::{Arc, thread_token};
use crate::trace::{self, Fields};
use crate::tree::{self, CancelCause, CancelReason, Hold, Member, Node, NodeKind, NodeRef, Turn};

/// What clearing a stage gave: what an eager child had returned, and the panic of a destructor.
type Cleared<T, E> = (Option<Ended<T, E>>, Option<Panic>);

impl<F, T, R> TaskCell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    /// Polls the child for its driver. True: it was woken meanwhile, and the caller puts it into the queue again.
    pub(super) fn poll_in_turn(self: &Arc<Self>) -> bool {
        let StartPoll::Granted { first } = self.state.start_poll(thread_token()) else { return false };
        let waker = BorrowedWaker::new(self);
        let mut cx = Context::from_waker(&waker);
        let _entered = tree::enter(Arc::clone(self) as NodeRef);
        let (turn, started) = self.turn(&mut cx, first);
        match turn {
            Turn::Ready(ended) => self.end(ended),
            Turn::Cut => self.end_cut(started),
            Turn::Pending(until) => {
                if self.node().is_cancelled() {
                    self.look_at_grace(until, &mut cx);
                }
                match self.state.end_poll() {
                    EndPoll::Idle => {}
                    EndPoll::Woken => return true,
                    EndPoll::Doomed => self.end_cut(true),
                }
            }
        }
        false
    }

    /// Dooms this cell, with all below, when its grace period is over.
    fn look_at_grace(self: &Arc<Self>, inside: Option<Instant>, cx: &mut Context<'_>) {
        let member = Arc::clone(self) as NodeRef;
        // SAFETY: C1: the caller is between `start_poll` and `end_poll`.
        if unsafe { self.poll_grace(&member, inside, cx) }.is_ready() {
            tree::force(&member);
        }
    }

    /// Polls an eager child inside `spawn`. Its end is kept for its driver to tell: a completion is never
    /// reported inline.
    pub(crate) fn poll_eagerly(self: &Arc<Self>) {
        let StartPoll::Granted { first } = self.state.start_poll(thread_token()) else { return };
        let waker = BorrowedWaker::new(self);
        let _entered = tree::enter(Arc::clone(self) as NodeRef);
        let (turn, started) = self.turn(&mut Context::from_waker(&waker), first);
        let returned = matches!(turn, Turn::Ready(_));
        match turn {
            Turn::Pending(_) => {}
            Turn::Cut => return self.end_cut(started),
            Turn::Ready(ended) => self.keep_returned(ended),
        }
        match self.state.end_poll() {
            EndPoll::Doomed => self.end_cut(true),
            EndPoll::Woken => tree::enqueue(Arc::clone(self) as NodeRef),
            EndPoll::Idle if returned => waker.wake_by_ref(),
            EndPoll::Idle => {}
        }
    }

    /// Drops the future of an eager child, and keeps what it returned.
    fn keep_returned(&self, ended: Ended<T, R::Error>) {
        // SAFETY: C1: the caller is between `start_poll` and `end_poll`.
        let _inside = unsafe { self.enter_span() };
        // SAFETY: C1, as above.
        let (_, dropped) = unsafe { self.clear_stage() };
        let ended = match dropped {
            Some(panic) => Ended::Panicked(panic),
            None => ended,
        };
        // SAFETY: C1, as above.
        unsafe { self.store_returned(ended) };
    }

    /// Polls the future as far as it goes: to its end, to a wait, or, when cancelled, to its cut (R12). Says
    /// whether any of its code has run.
    fn turn(&self, cx: &mut Context<'_>, first: bool) -> (Turn<Ended<T, R::Error>>, bool) {
        if first && self.node().is_cancelled() {
            return (Turn::Cut, false);
        }
        let mut started = !first;
        let turn = tree::turn(self.node(), cx, false, |cx| {
            started = true;
            let _noted = tree::note_poll(self.node());
            // SAFETY: C1, between `start_poll` and `end_poll` or `finish`.
            unsafe { self.poll_stage(cx) }
        });
        (turn, started)
    }

    /// Nobody will poll the child again: it ends here, unless somebody is at it.
    pub(super) fn end_by_shutdown(self: &Arc<Self>) {
        if let ClaimDrop::Granted { started } = self.state.claim_drop(thread_token()) {
            let cause = CancelCause::new(CancelReason::RuntimeShutdown, self.node().info());
            // Marked, so that the groups inside can say what happened.
            tree::cancel(&(Arc::clone(self) as NodeRef), cause);
            self.end_cut(started);
        }
    }

    /// Ends the child without a value. What an eager child had returned counts all the same.
    #[inline(never)]
    pub(super) fn end_cut(&self, started: bool) {
        let outcome = self.inside(|cleared| match cleared {
            (Some(ended), _) => self.outcome_of(ended),
            (None, Some(panic)) => self.panicked(panic),
            (None, None) => {
                if self.node().is_forced() {
                    self.tell_forced();
                }
                Outcome::Cancelled { cause: self.cause(), started, answered: false }
            }
        });
        self.settle(outcome);
    }

    /// Drops the future and finds the outcome, inside the child's span, which is let go then.
    #[inline]
    fn inside(&self, outcome: impl FnOnce(Cleared<T, R::Error>) -> Outcome<T>) -> Outcome<T> {
        // SAFETY: C1: every caller owns the stage and is about to `finish`.
        let span = unsafe { self.take_span() };
        let _inside = span.enter();
        // SAFETY: C1, as above.
        outcome(unsafe { self.clear_stage() })
    }

    #[cold]
    fn tell_forced(&self) {
        let node = self.node();
        let group = node.parent().map(|group| group.node().id().as_u64());
        let waited = node.cause().map(|cause| cause.at().elapsed());
        trace::grace_ended(node.kind().word(), &Fields { group, ..node.fields() }, waited);
    }

    /// Who is cut has been cancelled; a drop of the cell alone says so itself.
    fn cause(&self) -> CancelCause {
        let dropped = || CancelCause::new(CancelReason::GroupDropped, self.node().info());
        self.node().cause().unwrap_or_else(dropped)
    }

    /// The end of a child that returned or panicked, in R1's order.
    fn end(&self, ended: Ended<T, R::Error>) {
        let outcome = self.inside(|(_, dropped)| {
            let outcome = self.outcome_of(ended);
            let Some(panic) = dropped else { return outcome };
            let panicked = self.panicked(panic);
            if let Err(second) = catch(|| drop(outcome)) {
                self.panicked(second);
            }
            panicked
        });
        self.settle(outcome);
    }

    #[inline]
    fn outcome_of(&self, ended: Ended<T, R::Error>) -> Outcome<T> {
        match ended {
            Ended::Value(value) => Outcome::Value(value),
            Ended::Diverted { panicked: false } => Outcome::Failed,
            Ended::Diverted { panicked: true } => Outcome::Panicked,
            Ended::Panicked(panic) => self.panicked(panic),
            Ended::Error(error) => self.failed(error),
        }
    }

    fn panicked(&self, panic: Panic) -> Outcome<T> {
        R::report(self.node().parent().as_ref(), self.node(), Problem::Panic(panic));
        Outcome::Panicked
    }

    /// An error with which a cancelled child says "cancelled" is no failure (R9).
    fn failed(&self, error: R::Error) -> Outcome<T> {
        let parent = self.node().parent();
        let error = match self.node().cause() {
            None => error,
            Some(cause) => match catch(|| R::without_cancelled(parent.as_ref(), error)) {
                Ok(Some(error)) => error,
                Ok(None) => return Outcome::Cancelled { cause, started: true, answered: true },
                Err(panic) => return self.panicked(panic),
            },
        };
        R::report(parent.as_ref(), self.node(), Problem::Error(error));
        Outcome::Failed
    }

    /// Stores the outcome, leaves the books, wakes: the last steps of every end.
    fn settle(&self, outcome: Outcome<T>) {
        if let Outcome::Cancelled { cause, .. } = &outcome {
            tree::note_cut(self.node(), cause);
        }
        let end = outcome.end(self.node().is_forced());
        // SAFETY: C1: every caller owns the stage, has cleared it, and `finish` comes next.
        unsafe { self.store_outcome(outcome) };
        if self.node().has_had_members() {
            hand_over_groups(self.node(), self.node().parent().as_ref());
        }
        tree::release_tokens(self.node());
        if self.state.settle() {
            // SAFETY: C2: settled, and there is no handle any more whose right this was.
            let unwanted = unsafe { self.take_outcome() };
            if let Err(panic) = catch(|| drop(unwanted)) {
                R::report(self.node().parent().as_ref(), self.node(), Problem::Panic(panic));
            }
        }
        if self.node().is_limited() {
            self.give_up_place();
        }
        // Done and out of the books in one step: who sees it ended does not find it counted any more, and
        // who finds the books empty finds it ended.
        let mut waited = false;
        tree::detach_ended(self.node(), end, || waited = self.state.finish());
        tree::forget_woken(self.node());
        if waited {
            self.wake_waiters();
        }
    }
}

/// A group that leaves its task alive is adopted by the task's own group, whose exit waits for it (R4).
pub(crate) fn hand_over_groups(region: &Node, home: Option<&NodeRef>) {
    for group in region.members_snapshot() {
        if group.node().kind() != NodeKind::Group {
            continue;
        }
        match home {
            Some(home) => tree::rehome(&group, region, home, Hold::Nested),
            None => drop(tree::detach_from(group.node(), region)),
        }
    }
}
