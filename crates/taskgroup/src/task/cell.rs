//! The storage of one child, and the access rules of its fields.
//!
//! | field | who may touch it |
//! |---|---|
//! | `node`, `state` | anybody (they synchronise themselves) |
//! | `rare` | C1 and C3 |
//! | `stage` | C1: the owner, who moved `state` to Polling or Dropping and has not moved it on. C2: once settled, the one `Task` handle (to read it, after Done), or, where that was dropped before, the finisher. C3: `drop` |
//!
//! C4: a future in `stage` is pinned: the cell lives in an `Arc`, nobody moves the future out, and it is
//! dropped where it lies.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{Ended, Outcome, Problem};
use super::panic::{Panic, catch};
use super::rare::Rare;
use super::state::{ClaimDrop, State, WakeUp};
use super::waiting::{Latch, wait_in_drop};
use crate::sync::{Arc, UnsafeCell, thread_token};
use crate::trace::{Entered, Span};
use crate::tree::{self, Activity, DropMode, Member, Node, NodeKind, NodeRef, WaitKey};

/// How a cell tells the layer above of a failure. A type without values, so a cell pays nothing for it.
pub(crate) trait Reporter: 'static {
    type Error: Send + 'static;

    /// The child under `parent` failed: record it and cancel who is to be cancelled.
    fn report(parent: Option<&NodeRef>, child: &Node, problem: Problem<Self::Error>);

    /// The failure in an error with which a cancelled child answers, if any: what says "I was cancelled" is
    /// none (R9). Runs code of the user's, which may panic.
    fn without_cancelled(parent: Option<&NodeRef>, error: Self::Error) -> Option<Self::Error>;
}

pub(crate) struct TaskCell<F, T, R: Reporter> {
    node: Node,
    pub(super) state: State,
    rare: UnsafeCell<Rare>,
    stage: UnsafeCell<Stage<F, T, R::Error>>,
    reporter: PhantomData<fn() -> R>,
}

enum Stage<F, T, E> {
    Future(F),
    /// An eager child that returned inside `spawn`; told of by a driver, never inline.
    Returned(Box<Ended<T, E>>),
    Ended(Outcome<T>),
}

// SAFETY: `rare` and `stage` are the only fields that are not `Sync` by themselves. By C1 to C3 each is touched by
// one thread at a time, with the state word's Acquire and Release between them, so it needs what sending needs
// (a `Rare` is `Send`). References
// to a `T` are handed out by `Task<T>` alone, which is `Sync` only where `T` is.
unsafe impl<F: Send, T: Send, R: Reporter> Sync for TaskCell<F, T, R> {}

impl<F, T, R> TaskCell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    /// Cancelled, it may take as long as `grace` to end.
    pub(crate) fn new(node: Node, future: F, span: Span, grace: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            node,
            state: State::new(),
            rare: UnsafeCell::new(Rare::new(span, grace)),
            stage: UnsafeCell::new(Stage::Future(future)),
            reporter: PhantomData,
        })
    }

    /// Of a cell that nobody else has seen yet: it is going to be put into the queue of its group.
    pub(crate) fn set_queued(&self) {
        self.state.set_woken();
    }

    /// The future of a cell that nobody else has seen yet, back.
    pub(crate) fn into_future(self: Arc<Self>) -> F {
        let Ok(cell) = Arc::try_unwrap(self) else { unreachable!("nobody else has seen the cell") };
        match cell.stage.into_inner() {
            Stage::Future(future) => future,
            _ => unreachable!("never polled"),
        }
    }

    /// Looks at the grace period; ready: it is over.
    ///
    /// # Safety
    ///
    /// C1: the caller owns the stage.
    #[inline]
    pub(super) unsafe fn poll_grace(
        &self,
        child: &NodeRef,
        inside: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // SAFETY: C1, so the reference is the only one.
        self.rare.with_mut(|rare| unsafe { &mut *rare }.poll_grace(child, inside, cx))
    }

    /// Lets go of the timers, which hold the cell by a waker, and of the span, which goes to the end of the child.
    ///
    /// # Safety
    ///
    /// C1: the caller owns the stage.
    #[inline]
    pub(super) unsafe fn take_span(&self) -> Span {
        // SAFETY: C1, so the pointer is ours alone.
        self.rare.with_mut(|rare| unsafe { &mut *rare }.take_span())
    }

    /// Makes the span the current one. The owner does not take it meanwhile.
    ///
    /// # Safety
    ///
    /// C1: the caller owns the stage as long as the guard lives.
    #[inline]
    pub(super) unsafe fn enter_span(&self) -> Entered<'_> {
        // SAFETY: C1, and the owner leaves it alone while the guard lives.
        self.rare.with(|rare| unsafe { &*rare }.enter_span())
    }

    /// Polls the future once, inside its span; a panic in it is an end.
    ///
    /// # Safety
    ///
    /// C1: the caller owns the stage.
    #[inline]
    pub(super) unsafe fn poll_stage(&self, cx: &mut Context<'_>) -> Poll<Ended<T, R::Error>> {
        // SAFETY: C1.
        let _inside = unsafe { self.enter_span() };
        self.stage.with_mut(|stage| {
            // SAFETY: C1, so the reference is the only one.
            let stage = unsafe { &mut *stage };
            match stage {
                Stage::Future(future) => {
                    // SAFETY: C4.
                    let future = unsafe { Pin::new_unchecked(future) };
                    match catch(|| future.poll(cx)) {
                        Ok(polled) => polled.map(Into::into),
                        Err(panic) => Poll::Ready(Ended::Panicked(panic)),
                    }
                }
                Stage::Returned(ended) => {
                    let placeholder = Ended::Diverted { panicked: false };
                    Poll::Ready(std::mem::replace(&mut **ended, placeholder))
                }
                Stage::Ended(_) => unreachable!("a cell that is done is not polled"),
            }
        })
    }

    /// Drops the future where it lies. What an eager child had returned comes back; so does a panic in a
    /// destructor.
    ///
    /// # Safety
    ///
    /// C1: the caller owns the stage.
    pub(super) unsafe fn clear_stage(&self) -> (Option<Ended<T, R::Error>>, Option<Panic>) {
        self.stage.with_mut(|stage| {
            // SAFETY: C1, so the reference is the only one. Assigning drops a future in place (C4): if its
            // destructor panics, the assignment has still taken place.
            let stage = unsafe { &mut *stage };
            if let Stage::Returned(ended) = stage {
                let placeholder = Ended::Diverted { panicked: false };
                return (Some(std::mem::replace(&mut **ended, placeholder)), None);
            }
            let dropped = catch(|| *stage = Stage::Ended(Outcome::Taken));
            (None, dropped.err())
        })
    }

    /// # Safety
    ///
    /// C1: the caller owns the stage, and has cleared it.
    pub(super) unsafe fn store_outcome(&self, outcome: Outcome<T>) {
        // SAFETY: C1, so the pointer is ours alone.
        self.stage.with_mut(|stage| unsafe { *stage = Stage::Ended(outcome) });
    }

    /// Keeps what an eager child returned until a driver tells of it.
    ///
    /// # Safety
    ///
    /// C1: the caller owns the stage, and has cleared it.
    pub(super) unsafe fn store_returned(&self, ended: Ended<T, R::Error>) {
        // SAFETY: C1, so the pointer is ours alone.
        self.stage.with_mut(|stage| unsafe { *stage = Stage::Returned(Box::new(ended)) });
    }

    /// Keeps what is to be woken when the child gives up its place under a limit: at its end, once. False: it had
    /// ended, and has given it up.
    pub(crate) fn keep_place(&self, place: &Waker) -> bool {
        if self.state.is_done() {
            tree::wake(place.clone());
            return false;
        }
        drop(self.node.add_waiter(WaitKey::PLACE, place));
        let ended = self.state.announce_waiter();
        if ended {
            // Unless it has been woken with the other waiters.
            self.give_up_place();
        }
        !ended
    }

    pub(super) fn give_up_place(&self) {
        self.node.remove_waiter(WaitKey::PLACE).into_iter().for_each(tree::wake);
    }

    /// Wakes whoever waits for the end.
    pub(super) fn wake_waiters(&self) {
        tree::wake_all(self.node.take_waiters());
    }

    /// Registers a waker unless the cell is done. True: done.
    fn register(&self, key: WaitKey, waker: &Waker) -> bool {
        if self.state.is_done() {
            return true;
        }
        drop(self.node.add_waiter(key, waker));
        self.state.announce_waiter()
    }

    /// A latch that opens at the end; `None` if the cell is done.
    fn latch(&self) -> Option<Arc<Latch>> {
        let latch = Arc::new(Latch::new());
        let waker = Waker::from(Arc::clone(&latch));
        if self.register(WaitKey::new(), &waker) { None } else { Some(latch) }
    }
}

impl<F, T, R> Member for TaskCell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_over(&self) -> bool {
        self.state.is_done()
    }

    /// A blocking closure that no thread has picked up yet is dropped at once: the pool may be busy for long. So is
    /// a child that waits for its turn under a limit.
    fn on_cancel(&self, _this: &NodeRef) {
        if (self.node.kind() == NodeKind::Blocking || self.node.is_limited())
            && self.state.claim_unstarted(thread_token())
        {
            self.end_cut(false);
        }
    }

    fn wake(self: Arc<Self>) {
        if self.state.wake() == WakeUp::Enqueue {
            tree::enqueue(self);
        }
    }

    fn poll_once(self: Arc<Self>) -> Option<NodeRef> {
        self.poll_in_turn().then_some(self as NodeRef)
    }

    fn shut_down(self: Arc<Self>) {
        self.end_by_shutdown();
    }

    fn activity(&self) -> Activity {
        self.state.activity()
    }

    fn drop_now(&self, wait: DropMode) {
        let token = thread_token();
        let owner = match self.state.claim_drop(token) {
            ClaimDrop::Granted { started } => return self.end_cut(started),
            ClaimDrop::Ended => return,
            ClaimDrop::Busy { owner } => owner,
        };
        let running_closure = self.node.kind() == NodeKind::Blocking;
        if running_closure || owner == token || wait == DropMode::Abandon {
            return;
        }
        if let Some(latch) = self.latch() {
            wait_in_drop(&latch, token, owner);
        }
    }
}

impl<F, T, R> Wake for TaskCell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    fn wake(self: Arc<Self>) {
        Member::wake(self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.wake() == WakeUp::Enqueue {
            tree::enqueue(Arc::clone(self) as NodeRef);
        }
    }
}

/// A child as its handle sees it.
pub(crate) trait Join<T>: Member {
    /// Whether it is done; if not, the waker is registered.
    fn poll_done(&self, key: WaitKey, waker: &Waker) -> bool;

    /// A wait was given up: its waker goes.
    fn give_up(&self, key: WaitKey);

    fn is_done(&self) -> bool;

    /// Blocks this thread until it is done.
    fn wait_done(&self);

    /// The handle goes. True: it must take the outcome and drop it; else the finisher does.
    fn renounce(&self) -> bool;

    /// # Safety
    ///
    /// C2: done, and called by the one handle while it lends the outcome to nobody.
    unsafe fn take_outcome(&self) -> Outcome<T>;

    /// # Safety
    ///
    /// C2: done, and called by the one handle, which does not take the outcome while the reference lives.
    unsafe fn outcome(&self) -> &Outcome<T>;
}

impl<F, T, R> Join<T> for TaskCell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    fn poll_done(&self, key: WaitKey, waker: &Waker) -> bool {
        self.register(key, waker)
    }

    fn give_up(&self, key: WaitKey) {
        drop(self.node.remove_waiter(key));
    }

    fn is_done(&self) -> bool {
        self.state.is_done()
    }

    fn renounce(&self) -> bool {
        self.state.renounce()
    }

    fn wait_done(&self) {
        if let Some(latch) = self.latch() {
            latch.wait();
        }
    }

    unsafe fn take_outcome(&self) -> Outcome<T> {
        self.stage.with_mut(|stage| {
            // SAFETY: C2.
            match unsafe { &mut *stage } {
                Stage::Ended(outcome) => std::mem::replace(outcome, Outcome::Taken),
                _ => unreachable!("a cell that is done holds its outcome"),
            }
        })
    }

    unsafe fn outcome(&self) -> &Outcome<T> {
        self.stage.with(|stage| {
            // SAFETY: C2.
            match unsafe { &*stage } {
                Stage::Ended(outcome) => outcome,
                _ => unreachable!("a cell that is done holds its outcome"),
            }
        })
    }
}
