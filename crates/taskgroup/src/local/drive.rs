//! Driving a child: one poll, and the one way it ends. Only the host comes here.

use std::future::Future;
use std::task::{Context, Poll};

use super::cell::{Cleared, LocalCell, LocalJoin};
use super::inbox::Link;
use super::kind::Host;
use crate::group::ToGroup;
use crate::sync::Arc;
use crate::task::{Ended, Outcome, Panic, Problem, Reporter, catch, hand_over_groups};
use crate::trace::{self, Fields};
use crate::tree::{self, Brief, CancelCause, CancelReason, ChildEnd, Hold, Member, NodeRef, Turn};

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
    let cell: *const LocalCell<F, T, E, H> = link.cast();
    // SAFETY: the link was in the queue, so it is alive. Its reference is the host's, or, if the child has ended, was the
    // queue's: in either case it is taken here, and given back below if the child goes on.
    let cell = unsafe {
        let alive = (*cell).head.link.begin_poll();
        let cell = Arc::from_raw(cell);
        if !alive {
            return;
        }
        cell
    };
    let first = cell.head.state.begin_poll();
    // SAFETY: C1, the host.
    let ended = unsafe {
        match first && (cell.head.node.is_cancelled() || cell.core().node().is_cancelled()) {
            true => {
                end_cut(&cell, false);
                true
            }
            false => turn(&cell, first),
        }
    };
    match ended {
        true => let_go(cell),
        false => {
            cell.head.state.end_poll();
            // The host keeps it until the child has ended.
            let _ = Arc::into_raw(cell);
        }
    }
}

/// The child has ended: the host's reference goes, or is left to the queue that the child stands in.
fn let_go<F, T, E, H>(cell: Arc<LocalCell<F, T, E, H>>) {
    if cell.head.link.end() {
        let _ = Arc::into_raw(cell);
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
    let cell: *const LocalCell<F, T, E, H> = link.cast();
    // SAFETY: alive: it is in the queue or in the books; the reference is the host's, as it has not ended.
    let cell = unsafe {
        if (*cell).head.link.has_ended() {
            return;
        }
        Arc::from_raw(cell)
    };
    // On its way to its end: the drop of its own start, in a destructor of its own, leaves it alone.
    let started = !cell.head.state.begin_poll();
    // SAFETY: C1, the host.
    unsafe { end_cut(&cell, started) };
    let_go(cell);
}

/// Ends a child that was refused: it stands in no books, and in no queue.
///
/// # Safety
///
/// C1: nobody else has the cell.
pub(super) unsafe fn end_unborn<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, cause: CancelCause)
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
                ToGroup::<E>::report(Some(&cell.group()), &cell.head.node, Problem::Panic(panic));
                Outcome::Panicked
            }
            None => Outcome::Cancelled { cause, started: false, answered: false },
        });
        cell.store_outcome(outcome);
    }
    let _nobody = (cell.head.state.settle(), cell.head.state.finish());
    let _in_no_queue = cell.head.link.end();
}

/// Polls an eager child inside `spawn`, as the host: its end is kept for its turn, a completion is never reported
/// inline. It stands in the queue already.
///
/// # Safety
///
/// C1.
pub(super) unsafe fn poll_eagerly<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    let _first = cell.head.state.begin_poll();
    let _entered = tree::enter(LocalCell::into_member(Arc::clone(cell)));
    // SAFETY: C1, as the caller says.
    unsafe {
        let waker = LocalCell::waker(cell);
        let polled = cell.poll_stage(&mut Context::from_waker(&waker));
        match poll_turn(cell, Some(polled)) {
            Turn::Pending(_) => cell.head.state.end_poll(),
            Turn::Cut => {
                end_cut(cell, true);
                // It is in the queue: its reference goes with its turn.
                let _queued = cell.head.link.end();
            }
            Turn::Ready(ended) => {
                let (_, dropped) = inside(cell, |cleared| cleared);
                cell.store_returned(match dropped {
                    Some(panic) => Ended::Panicked(panic),
                    None => ended,
                });
                cell.head.state.end_poll();
            }
        }
    }
}

/// One turn of a child that is not cut before it begins. True: it has ended.
///
/// # Safety
///
/// C1.
#[inline]
unsafe fn turn<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, first: bool) -> bool
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // A reference that is lent to the tree for the time of the poll: the host's own is in the caller's hands.
    // SAFETY: it is not dropped below, but forgotten.
    let mut member = Some(LocalCell::into_member(unsafe { Arc::from_raw(Arc::as_ptr(cell)) }));
    let ended = {
        let _entered = tree::enter_from(&mut member);
        // SAFETY: C1.
        unsafe { if first { turn_first(cell) } else { turn_again(cell, None) } }
    };
    std::mem::forget(member);
    ended
}

/// The first turn: most children end in it, and nobody has heard of them then.
///
/// # Safety
///
/// C1.
#[inline]
unsafe fn turn_first<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>) -> bool
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        let waker = LocalCell::waker(cell);
        let polled = cell.poll_stage(&mut Context::from_waker(&waker));
        match polled {
            Poll::Ready(Ended::Value(value)) if cell.head.node.is_unentered() => {
                let span = cell.take_span();
                let inside = span.enter();
                if let Some(panic) = cell.drop_future() {
                    end_after_panic(cell, Outcome::Value(value), panic);
                    return true;
                }
                drop(inside);
                drop(span);
                settle(cell, Outcome::Value(value));
                true
            }
            polled => turn_again(cell, Some(polled)),
        }
    }
}

/// Any turn; `polled`: it has begun, and this is what the first poll in it came to.
///
/// # Safety
///
/// C1.
#[inline(never)]
unsafe fn turn_again<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, polled: Option<Poll<Ended<T, E>>>) -> bool
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
            Turn::Pending(until) => poll_grace(cell, until),
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
    cell: &Arc<LocalCell<F, T, E, H>>,
    mut polled: Option<Poll<Ended<T, E>>>,
) -> Turn<Ended<T, E>>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    let waker = unsafe { LocalCell::waker(cell) };
    let mut cx = Context::from_waker(&waker);
    tree::turn(&cell.head.node, &mut cx, polled.is_some(), |cx| {
        let polled = polled.take().unwrap_or_else(|| {
            let _noted = tree::note_poll(&cell.head.node);
            // SAFETY: C1.
            unsafe { cell.poll_stage(cx) }
        });
        if polled.is_pending() {
            // It waits: from now on the tree can reach it.
            // SAFETY: C1.
            unsafe { LocalCell::enter_books(cell) };
        }
        polled
    })
}

/// The child waits. True: its grace period was over, and it has been dropped.
///
/// # Safety
///
/// C1.
unsafe fn poll_grace<F, T, E, H>(
    cell: &Arc<LocalCell<F, T, E, H>>,
    until: Option<tokio::time::Instant>,
) -> bool
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    if !cell.head.node.is_cancelled() {
        return false;
    }
    let member: NodeRef = LocalCell::into_member(Arc::clone(cell));
    // SAFETY: C1.
    let waker = unsafe { LocalCell::waker(cell) };
    let mut cx = Context::from_waker(&waker);
    // SAFETY: C1.
    let over = cell.grace.with_mut(|grace| unsafe { (*grace).poll_grace(&member, until, &mut cx) });
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
unsafe fn end<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, ended: Ended<T, E>)
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
unsafe fn end_after_panic<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, outcome: Outcome<T>, panic: Panic)
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
unsafe fn end_cut<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, started: bool)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1.
    unsafe {
        LocalCell::enter_books(cell);
        let outcome = inside(cell, |cleared| match cleared {
            (Some(ended), _) => outcome_of(cell, ended),
            (None, Some(panic)) => report_panic(cell, panic),
            (None, None) => {
                if cell.head.node.is_forced() {
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
unsafe fn inside<F, T, E, H, R>(cell: &LocalCell<F, T, E, H>, then: impl FnOnce(Cleared<T, E>) -> R) -> R
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
fn tell_forced<F, T, E, H>(cell: &LocalCell<F, T, E, H>) {
    let node = &cell.head.node;
    let group = node.parent().map(|group| group.node().id().as_u64());
    let waited = node.cause().map(|cause| cause.at().elapsed());
    trace::grace_ended(node.kind().word(), &Fields { group, ..node.fields() }, waited);
}

/// Who is cut has been cancelled; a drop of the group says so itself.
fn cause<F, T, E, H>(cell: &LocalCell<F, T, E, H>) -> CancelCause {
    let dropped = || CancelCause::new(CancelReason::GroupDropped, cell.head.node.info());
    cell.head.node.cause().unwrap_or_else(dropped)
}

/// # Safety
///
/// C1.
#[inline]
unsafe fn outcome_of<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, ended: Ended<T, E>) -> Outcome<T>
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
            unsafe { LocalCell::enter_books(cell) };
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
unsafe fn report_panic<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, panic: Panic) -> Outcome<T>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1. A failure says where in the tree it happened.
    unsafe { LocalCell::enter_books(cell) };
    let node = &cell.head.node;
    ToGroup::<E>::report(node.parent().as_ref(), node, Problem::Panic(panic));
    Outcome::Panicked
}

/// An error with which a cancelled child says "cancelled" is no failure (R9).
///
/// # Safety
///
/// C1.
#[cold]
unsafe fn report_error<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, error: E) -> Outcome<T>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: C1. Cancelled is also who has not been told yet; and a failure says where in the tree it happened.
    unsafe { LocalCell::enter_books(cell) };
    let node = &cell.head.node;
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
unsafe fn settle<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>, outcome: Outcome<T>)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    let (node, state) = (&cell.head.node, &cell.head.state);
    let end = if node.is_unentered() { ChildEnd::Completed } else { outcome.end(node.is_forced()) };
    if let Outcome::Cancelled { cause, .. } = &outcome {
        tree::note_cut(node, cause);
    }
    // SAFETY: C1; `settle` gives it to the handle.
    unsafe { cell.store_outcome(outcome) };
    if !node.is_unentered() {
        if node.has_had_members() {
            hand_over_groups(node, node.parent().as_ref());
        }
        tree::release_tokens(node);
    }
    if state.settle() && std::mem::needs_drop::<T>() {
        // SAFETY: C1, and C2: settled, and there is no handle any more whose right this was.
        unsafe { drop_unwanted(cell) };
    }
    let waited = if node.is_unentered() {
        let background = cell.head.plan.hold == Hold::Background;
        let brief = || cell.head.plan.recorded.map(|at| Brief { who: node.info(), at });
        // SAFETY: H1 follows from C1.
        unsafe { cell.core().hosted().completed(background, brief) };
        state.finish()
    } else {
        // Done and out of the books in one step: who sees it ended does not find it counted any more, and who finds the
        // books empty finds it ended.
        let mut waited = false;
        tree::detach_ended(node, end, || waited = state.finish());
        // Its own, which would keep it alive.
        drop(node.take_waker());
        waited
    };
    if waited {
        cell.wake_waiters();
    }
}

/// # Safety
///
/// C1 and C2.
#[inline(never)]
unsafe fn drop_unwanted<F, T, E, H>(cell: &Arc<LocalCell<F, T, E, H>>)
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
