//! Driving a child: one poll, and the one way it ends. Only the host comes here.

use std::future::Future;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::cell::{At, Cleared, First, LocalJoin};
use super::child::Child;
use super::inbox::Link;
use super::kind::Host;
use crate::group::ToGroup;
use crate::task::{Ended, Outcome, Panic, Problem, Reporter, catch, hand_over_groups};
use crate::trace::{self, Fields};
use crate::tree::{self, CancelCause, CancelReason, ChildEnd, Hold, Member, Turn};

/// A child whose turn it is: polls it, unless it has ended since it was woken.
///
/// # Safety
///
/// As for [`VTable::poll`](super::inbox::VTable::poll).
pub(super) unsafe fn poll<F, T, E, H>(link: *const Link)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: the link was in the queue, so it is alive: until the child ends the host has a reference, and where it had
    // ended that is the queue's.
    let cell = unsafe { At::<F, T, E, H>::of(link) };
    if !cell.head.link.begin_poll() {
        // SAFETY: the queue's reference.
        return unsafe { ((*link).vtable.release)(link) };
    }
    let first = cell.head.state.begin_poll();
    // SAFETY: C1, the host.
    unsafe {
        let ended = match first {
            true if cell.is_cancelled() || cell.core().node().is_cancelled() => {
                end_cut(cell, false);
                true
            }
            true => turn_first(cell),
            false => turn(cell),
        };
        if ended {
            cell.let_go();
        }
    }
}

/// The group goes, or its grace period is over: ends a child that has not ended, wherever it stands.
///
/// # Safety
///
/// As for [`VTable::end`](super::inbox::VTable::end).
pub(super) unsafe fn end_dropped<F, T, E, H>(link: *const Link)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: alive: it is in the queue or in the books. C1, the host.
    unsafe {
        let cell = At::<F, T, E, H>::of(link);
        if cell.head.link.has_ended() {
            return;
        }
        // On its way to its end: the drop of its own start, in a destructor of its own, leaves it alone.
        cell.note_polled(true);
        end_cut(cell, !cell.head.state.begin_poll());
        cell.let_go();
    }
}

/// Ends a child that was refused: it stands in no books, and in no queue.
///
/// # Safety
///
/// C1: nobody else has the cell.
pub(super) unsafe fn end_unborn<F, T, E, H>(cell: At<F, T, E, H>, cause: CancelCause)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        let outcome = inside(cell, |(_, dropped)| match dropped {
            Some(panic) => {
                ToGroup::<E>::report(Some(&cell.group()), &cell.child().node, Problem::Panic(panic));
                Outcome::Panicked
            }
            None => Outcome::Cancelled { cause, started: false, answered: false },
        });
        cell.store_outcome(outcome);
    }
    let _nobody = (cell.head.state.settle(), cell.head.state.finish());
    cell.give_to_handle();
}

/// Polls an eager child inside `spawn`, as the host: its end is kept for its turn, a completion is never reported
/// inline. It stands in the queue already.
///
/// # Safety
///
/// C1.
pub(super) unsafe fn poll_eagerly<F, T, E, H>(cell: At<F, T, E, H>)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    let _first = cell.head.state.begin_poll();
    cell.note_polled(true);
    // SAFETY: C1, as the caller says.
    unsafe {
        let waker = cell.waker();
        let polled = cell.poll_stage(&mut Context::from_waker(&waker));
        match poll_turn(cell, Some(polled)) {
            Turn::Pending(_) => cell.note_polled(false),
            Turn::Cut => {
                end_cut(cell, true);
                // It is in the queue: its reference goes with its turn.
                cell.let_go();
            }
            Turn::Ready(ended) => {
                let (_, dropped) = inside(cell, |cleared| cleared);
                cell.store_returned(match dropped {
                    Some(panic) => Ended::Panicked(panic),
                    None => ended,
                });
                cell.note_polled(false);
            }
        }
    }
}

/// A turn that is not the first. True: the child has ended.
///
/// # Safety
///
/// C1.
unsafe fn turn<F, T, E, H>(cell: At<F, T, E, H>) -> bool
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        if !cell.is_entered() {
            // An eager child that returned inside `spawn`.
            return turn_again(cell, None);
        }
        cell.note_polled(true);
        // A reference that is lent to the tree for the time of the poll, and not dropped below, but forgotten.
        let mut member = Some(cell.lend_member());
        let ended = {
            let _entered = tree::enter_from(&mut member);
            turn_again(cell, None)
        };
        std::mem::forget(member);
        ended
    }
}

/// The first turn: most children end in it, and nobody has heard of them then. True: the child has ended, and is to be let
/// go.
///
/// # Safety
///
/// C1.
#[inline]
unsafe fn turn_first<F, T, E, H>(cell: At<F, T, E, H>) -> bool
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        cell.note_polled(true);
        let waker = cell.waker();
        match cell.poll_first(&mut Context::from_waker(&waker)) {
            First::Value(value) => {
                if !std::mem::needs_drop::<T>() && cell.is_unknown() {
                    return complete_unknown(cell);
                }
                settle(cell, Outcome::Value(value));
                true
            }
            First::Polled(polled) => turn_again(cell, Some(polled)),
            First::Panicked(value, panic) => {
                end_after_panic(cell, Outcome::Value(value), panic);
                true
            }
        }
    }
}

/// The end of a child of which nobody wants to know anything any more. False: there is nothing left of it.
///
/// # Safety
///
/// C1; the future has been dropped.
#[inline]
unsafe fn complete_unknown<F, T, E, H>(cell: At<F, T, E, H>) -> bool
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1, from which H1 follows; the host has the only reference.
    unsafe {
        complete(cell);
        cell.free_bare();
    }
    false
}

/// There is to be a record of a child that has returned `Ok` without having stood in the books.
///
/// # Safety
///
/// C1.
#[inline(never)]
unsafe fn keep_brief<F, T, E, H>(cell: At<F, T, E, H>, at: Instant)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: H1 follows from C1.
    unsafe { cell.core().hosted().keep(cell.brief(at)) };
}

/// The child stands in no books, and has returned `Ok`.
///
/// # Safety
///
/// C1.
#[inline]
unsafe fn complete<F, T, E, H>(cell: At<F, T, E, H>)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    let background = cell.head.hold == Hold::Background;
    // SAFETY: H1 follows from C1.
    unsafe {
        cell.core().hosted().completed(background);
        if let Some(at) = cell.head.recorded {
            keep_brief(cell, at);
        }
    }
}

/// Any turn; `polled`: it has begun, and this is what the first poll in it came to.
///
/// # Safety
///
/// C1.
#[inline(never)]
unsafe fn turn_again<F, T, E, H>(cell: At<F, T, E, H>, polled: Option<Poll<Ended<T, E>>>) -> bool
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        match poll_turn(cell, polled) {
            Turn::Ready(ended) => {
                end(cell, ended);
                true
            }
            Turn::Cut => {
                end_cut(cell, true);
                true
            }
            Turn::Pending(until) => {
                let ended = poll_grace(cell, until);
                if !ended {
                    cell.note_polled(false);
                }
                ended
            }
        }
    }
}

/// Polls the future as far as it goes: to its end, to a wait, or, when cancelled, to its cut (R12). `polled`: it has been
/// polled in this turn already, for the first time.
///
/// # Safety
///
/// C1.
#[inline]
unsafe fn poll_turn<F, T, E, H>(
    cell: At<F, T, E, H>,
    mut polled: Option<Poll<Ended<T, E>>>,
) -> Turn<Ended<T, E>>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    let waker = unsafe { cell.waker() };
    let mut cx = Context::from_waker(&waker);
    if polled.is_none() && !cell.is_entered() && !cell.is_cancelled() {
        // An eager child that returned inside `spawn`.
        // SAFETY: C1.
        polled = Some(unsafe { cell.poll_stage(&mut cx) });
    }
    match polled.take() {
        Some(Poll::Ready(ended)) => return Turn::Ready(ended),
        Some(Poll::Pending) => polled = Some(Poll::Pending),
        None => {}
    }
    // It waits: from now on the tree can reach it.
    // SAFETY: C1.
    unsafe { cell.enter_books() };
    let node = &cell.child().node;
    tree::turn(node, &mut cx, polled.is_some(), |cx| {
        polled.take().unwrap_or_else(|| {
            let _noted = tree::note_poll(node);
            // SAFETY: C1.
            unsafe { cell.poll_stage(cx) }
        })
    })
}

/// The child waits. True: its grace period was over, and it has been dropped.
///
/// # Safety
///
/// C1.
unsafe fn poll_grace<F, T, E, H>(cell: At<F, T, E, H>, until: Option<tokio::time::Instant>) -> bool
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    let child = cell.child();
    if !child.node.is_cancelled() {
        return false;
    }
    let member = cell.member();
    // SAFETY: C1.
    let waker = unsafe { cell.waker() };
    let mut cx = Context::from_waker(&waker);
    // SAFETY: C1.
    let over = child.grace.with_mut(|grace| unsafe { (*grace).poll_grace(&member, until, &mut cx) });
    if over.is_pending() {
        return false;
    }
    tree::force(&member);
    // SAFETY: C1.
    unsafe { end_cut(cell, true) };
    true
}

/// The end of a child that returned or panicked, in R1's order.
///
/// # Safety
///
/// C1.
#[inline]
unsafe fn end<F, T, E, H>(cell: At<F, T, E, H>, ended: Ended<T, E>)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        let (outcome, panic) = inside(cell, |(_, dropped)| (outcome_of(cell, ended), dropped));
        match panic {
            None => settle(cell, outcome),
            Some(panic) => end_after_panic(cell, outcome, panic),
        }
    }
}

/// The end of a child whose future panicked in its destructor.
///
/// # Safety
///
/// C1.
#[cold]
unsafe fn end_after_panic<F, T, E, H>(cell: At<F, T, E, H>, outcome: Outcome<T>, panic: Panic)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        let panicked = report_panic(cell, panic);
        if let Err(second) = catch(|| drop(outcome)) {
            let _: Outcome<T> = report_panic(cell, second);
        }
        settle(cell, panicked);
    }
}

/// Ends the child without a value. What an eager child had returned counts all the same.
///
/// # Safety
///
/// C1.
#[inline(never)]
unsafe fn end_cut<F, T, E, H>(cell: At<F, T, E, H>, started: bool)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        cell.enter_books();
        let outcome = inside(cell, |cleared| match cleared {
            (Some(ended), _) => outcome_of(cell, ended),
            (None, Some(panic)) => report_panic(cell, panic),
            (None, None) => {
                if cell.child().node.is_forced() {
                    tell_forced(cell);
                }
                Outcome::Cancelled { cause: cause(cell), started, answered: false }
            }
        });
        settle(cell, outcome);
    }
}

/// Drops the future and does what is to be done inside the child's span, which is let go then.
///
/// # Safety
///
/// C1.
#[inline]
unsafe fn inside<F, T, E, H, R>(cell: At<F, T, E, H>, then: impl FnOnce(Cleared<T, E>) -> R) -> R
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    let span = unsafe { cell.take_span() };
    let _inside = span.enter();
    // SAFETY: C1.
    then(unsafe { cell.clear_stage() })
}

#[cold]
fn tell_forced<F, T, E, H>(cell: At<F, T, E, H>) {
    let node = &cell.child().node;
    let group = node.parent().map(|group| group.node().id().as_u64());
    let waited = node.cause().map(|cause| cause.at().elapsed());
    trace::grace_ended(node.kind().word(), &Fields { group, ..node.fields() }, waited);
}

/// Who is cut has been cancelled; a drop of the group says so itself.
fn cause<F, T, E, H>(cell: At<F, T, E, H>) -> CancelCause {
    let dropped = || CancelCause::new(CancelReason::GroupDropped, cell.info());
    cell.child().node.cause().unwrap_or_else(dropped)
}

/// # Safety
///
/// C1.
#[inline]
unsafe fn outcome_of<F, T, E, H>(cell: At<F, T, E, H>, ended: Ended<T, E>) -> Outcome<T>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    match ended {
        Ended::Value(value) => Outcome::Value(value),
        Ended::Diverted { panicked } => {
            // SAFETY: C1. It has failed, if not for its group: the books say so.
            unsafe { cell.enter_books() };
            if panicked { Outcome::Panicked } else { Outcome::Failed }
        }
        // SAFETY: C1.
        Ended::Panicked(panic) => unsafe { report_panic(cell, panic) },
        // SAFETY: C1.
        Ended::Error(error) => unsafe { report_error(cell, error) },
    }
}

/// # Safety
///
/// C1.
#[cold]
unsafe fn report_panic<F, T, E, H>(cell: At<F, T, E, H>, panic: Panic) -> Outcome<T>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1. A failure says where in the tree it happened.
    unsafe { cell.enter_books() };
    let node = &cell.child().node;
    ToGroup::<E>::report(node.parent().as_ref(), node, Problem::Panic(panic));
    Outcome::Panicked
}

/// An error with which a cancelled child says "cancelled" is no failure (R9).
///
/// # Safety
///
/// C1.
#[cold]
unsafe fn report_error<F, T, E, H>(cell: At<F, T, E, H>, error: E) -> Outcome<T>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1. Cancelled is also who has not been told yet; and a failure says where in the tree it happened.
    unsafe { cell.enter_books() };
    let node = &cell.child().node;
    let parent = node.parent();
    let error = match node.cause() {
        None => error,
        Some(cause) => match catch(|| ToGroup::without_cancelled(parent.as_ref(), error)) {
            Ok(Some(error)) => error,
            Ok(None) => return Outcome::Cancelled { cause, started: true, answered: true },
            // SAFETY: C1.
            Err(panic) => return unsafe { report_panic(cell, panic) },
        },
    };
    ToGroup::report(parent.as_ref(), node, Problem::Error(error));
    Outcome::Failed
}

/// Stores the outcome, leaves the books, wakes: the last steps of every end.
///
/// # Safety
///
/// C1; the stage has been cleared.
#[inline]
unsafe fn settle<F, T, E, H>(cell: At<F, T, E, H>, outcome: Outcome<T>)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    let state = &cell.head.state;
    let entered = if cell.is_entered() { Some(cell.child()) } else { None };
    let end = entered.map_or(ChildEnd::Completed, |child| outcome.end(child.node.is_forced()));
    if let (Outcome::Cancelled { cause, .. }, Some(child)) = (&outcome, entered) {
        tree::note_cut(&child.node, cause);
    }
    // SAFETY: C1; `settle` gives it to the handle.
    unsafe { cell.store_outcome(outcome) };
    if let Some(Child { node, .. }) = entered {
        if node.has_had_members() {
            hand_over_groups(node, node.parent().as_ref());
        }
        tree::release_tokens(node);
    }
    if state.settle() && std::mem::needs_drop::<T>() {
        // SAFETY: C1, and C2: settled, and there is no handle any more whose right this was.
        unsafe { drop_unwanted(cell) };
    }
    // A value that was dropped may have panicked, which enters the child.
    let waited = if cell.is_entered() {
        let child = cell.child();
        // Done and out of the books in one step: who sees it ended does not find it counted any more, and who finds the
        // books empty finds it ended.
        let mut waited = false;
        tree::detach_ended(&child.node, end, || {
            // SAFETY: C1, the host.
            unsafe { child.set_ended() };
            waited = state.finish();
        });
        // Its own, and the regions inside that were woken in its last poll: both would keep it alive.
        drop(child.node.take_waker());
        tree::forget_woken(&child.node);
        waited
    } else {
        // SAFETY: C1.
        unsafe { complete(cell) };
        state.finish()
    };
    if waited {
        cell.wake_waiters();
    }
}

/// # Safety
///
/// C1 and C2.
#[inline(never)]
unsafe fn drop_unwanted<F, T, E, H>(cell: At<F, T, E, H>)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C2.
    let unwanted = unsafe { cell.take_outcome() };
    if let Err(panic) = catch(|| drop(unwanted)) {
        // SAFETY: C1.
        let _: Outcome<T> = unsafe { report_panic(cell, panic) };
    }
}
