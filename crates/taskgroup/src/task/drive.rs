//! Driving a cell: one poll, and the one way it ends.

use std::future::Future;
use std::task::{Context, Poll};

use super::cell::{Join, Reporter, TaskCell};
use super::grace::Grace;
use super::outcome::{Ended, Outcome, Problem};
use super::panic::{Panic, catch};
use super::state::{EndPoll, StartPoll};
use super::waiting::thread_token;
use crate::sync::Arc;
use crate::tree::{self, CancelCause, CancelReason, ChildEnd, Hold, Member, Node, NodeKind, NodeRef, Turn};

impl<F, T, R> TaskCell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    /// Polls the child for its shell, which keeps the timer of its grace period.
    pub(super) fn poll_shell(self: &Arc<Self>, cx: &mut Context<'_>, grace: &mut Grace) -> Poll<()> {
        let first = match self.state.start_poll(thread_token()) {
            StartPoll::Granted { first } => first,
            StartPoll::Ended => return Poll::Ready(()),
        };
        let member = Arc::clone(self) as NodeRef;
        let _entered = tree::enter(NodeRef::clone(&member));
        let (turn, started) = self.turn(cx, first);
        match turn {
            Turn::Ready(ended) => self.end(ended),
            Turn::Cut => self.end_cut(started),
            Turn::Pending(until) => {
                if grace.poll(&member, until, cx).is_ready() {
                    // Dooms this cell too.
                    tree::force(&member);
                }
                match self.state.end_poll() {
                    EndPoll::Idle => return Poll::Pending,
                    EndPoll::Doomed => self.end_cut(true),
                }
            }
        }
        Poll::Ready(())
    }

    /// Polls an eager child inside `spawn`. Its end is kept for its shell to tell: a completion is never
    /// reported inline. The shell polls again with the runtime's waker, so this one wakes nobody.
    pub(crate) fn poll_eagerly(self: &Arc<Self>) {
        let StartPoll::Granted { first } = self.state.start_poll(thread_token()) else { return };
        let _entered = tree::enter(Arc::clone(self) as NodeRef);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.turn(&mut cx, first) {
            (Turn::Pending(_), _) => {}
            (Turn::Cut, started) => return self.end_cut(started),
            (Turn::Ready(ended), _) => {
                // SAFETY: C1, between `start_poll` and `end_poll`.
                let (_, dropped) = unsafe { self.clear_stage() };
                let ended = match dropped {
                    Some(panic) => Ended::Panicked(panic),
                    None => ended,
                };
                // SAFETY: C1, as above.
                unsafe { self.store_returned(ended) };
            }
        }
        if self.state.end_poll() == EndPoll::Doomed {
            self.end_cut(true);
        }
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

    /// Ends a cell that was claimed for dropping, and lets its shell go.
    pub(super) fn end_dropped(&self, started: bool) {
        self.end_cut(started);
        if let Some(waker) = self.node().take_waker() {
            tree::wake(waker);
        }
    }

    /// Ends the child without a value. What an eager child had returned counts all the same.
    pub(super) fn end_cut(&self, started: bool) {
        // SAFETY: C1: every caller owns the stage and is about to `finish`.
        let (returned, dropped) = unsafe { self.clear_stage() };
        if let Some(ended) = returned {
            return self.end(ended);
        }
        let outcome = match dropped {
            None => Outcome::Cancelled { cause: self.cause(), started, answered: false },
            Some(panic) => self.panicked(panic),
        };
        self.settle(outcome);
    }

    /// Who is cut has been cancelled; a drop of the cell alone says so itself.
    fn cause(&self) -> CancelCause {
        let dropped = || CancelCause::new(CancelReason::GroupDropped, self.node().info());
        self.node().cause().unwrap_or_else(dropped)
    }

    /// The end of a child that returned or panicked, in R1's order.
    fn end(&self, ended: Ended<T, R::Error>) {
        // SAFETY: C1: every caller owns the stage and is about to `finish`.
        let (_, dropped) = unsafe { self.clear_stage() };
        let mut outcome = match ended {
            Ended::Value(value) => Outcome::Value(value),
            Ended::Diverted { panicked: false } => Outcome::Failed,
            Ended::Diverted { panicked: true } => Outcome::Panicked,
            Ended::Panicked(panic) => self.panicked(panic),
            Ended::Error(error) => self.failed(error),
        };
        if let Some(panic) = dropped {
            outcome = self.panicked(panic);
        }
        self.settle(outcome);
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
        let end = outcome.end(self.node().is_forced());
        let cut = matches!(end, ChildEnd::Cancelled(_));
        // SAFETY: C1: every caller owns the stage, has cleared it, and `finish` comes next.
        unsafe { self.store_outcome(outcome) };
        if self.node().has_had_members() {
            hand_over_groups(self.node(), self.node().parent().as_ref());
        }
        if self.state.settle() {
            // SAFETY: C2: settled, and there is no handle any more whose right this was.
            let unwanted = unsafe { self.take_outcome() };
            if let Err(panic) = catch(|| drop(unwanted)) {
                R::report(self.node().parent().as_ref(), self.node(), Problem::Panic(panic));
            }
        }
        // Done and out of the books in one step: who sees it ended does not find it counted any more, and
        // who finds the books empty finds it ended.
        if cut && let Some(group) = self.node().parent() {
            group.node().set_cut();
        }
        let mut waited = false;
        tree::detach_ended(self.node(), end, || waited = self.state.finish());
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
