//! The storage of one child, and the access rules of its fields.
//!
//! | field | who may touch it |
//! |---|---|
//! | `link`, `node`, `state` | anybody (they synchronise themselves) |
//! | `waits` | anybody, under its lock |
//! | `plan`, `group` | anybody reads; nobody writes. What `group` points to may be looked at in C1, and while a waker is alive that was cloned |
//! | `span`, `grace`, `stage` | C1: the host, as long as the child has not ended; a spawner before it has given the child away. C2, `stage` alone: once settled the one `LocalTask` handle, or, where that was dropped before, the finisher |
//!
//! C3: a future in `stage` is pinned: the cell lies in an `Arc`, nobody moves the future out once it has been polled, and
//! it is dropped where it lies.
//!
//! C4: **What may be borrowed.** The future and the value may borrow from `'env`, and need not be `Send`. The future is
//! touched under C1 alone: the host has `'env` in its type, as spawners have. The value is touched under C1 and C2: the
//! handle has `'env` and `T` in its type. Everybody else, wakers and the tree, sees the cell as `'static` and `Send`, and
//! touches neither. When the last reference goes, wherever and whenever that is, both are gone: the host keeps a reference
//! until the child has ended, a handle until it has dropped the value. Who forgets the host, or a handle, leaks the cell.

use std::any::Any;
use std::borrow::Cow;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::inbox::{Link, VTable};
use super::kind::Host;
use super::state::State;
use super::waker::{self, Sleeper};
use crate::group::GroupCore;
use crate::sync::{Arc, Mutex, UnsafeCell, lock};
use crate::task::{Ended, Outcome, Panic, Rare, catch};
use crate::trace::Span;
use crate::tree::{self, Activity, Hold, Member, Node, NodeRef, WaitKey, WakerSet};

/// What a child is to be, told at its spawn.
pub(super) struct Options {
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) background: bool,
    pub(super) eager: bool,
    pub(super) cooperative: bool,
    pub(super) grace: Option<Duration>,
    pub(super) location: &'static Location<'static>,
}

impl Options {
    #[inline]
    pub(super) fn new(location: &'static Location<'static>) -> Self {
        Self { name: None, background: false, eager: false, cooperative: false, grace: None, location }
    }

    #[inline]
    pub(super) fn hold(&self) -> Hold {
        if self.background { Hold::Background } else { Hold::Ordinary }
    }
}

/// What was decided at the spawn.
pub(super) struct Plan {
    pub(super) hold: Hold,
    /// When it was spawned, if there is to be a record of it.
    pub(super) recorded: Option<Instant>,
}

/// The part of a cell whose type says nothing of the child.
#[repr(C)]
pub(super) struct Head<H> {
    // First: a pointer to a cell is one to its link.
    pub(super) link: Link,
    /// Dropped by the cell's own drop, which most often finds that there is nothing to do.
    pub(super) node: ManuallyDrop<Node>,
    pub(super) state: State<H>,
    pub(super) plan: Plan,
}

#[repr(C)]
pub(super) struct LocalCell<F, T, E, H> {
    // First: see there.
    pub(super) head: Head<H>,
    group: *const GroupCore<E>,
    span: UnsafeCell<Span>,
    pub(super) grace: UnsafeCell<Rare>,
    waits: Mutex<WakerSet>,
    stage: UnsafeCell<Stage<F, T, E>>,
}

enum Stage<F, T, E> {
    Future(F),
    /// An eager child that returned inside `spawn`; told of in its turn, never inline.
    Returned(Box<Ended<T, E>>),
    Ended(Outcome<T>),
}

/// What clearing a stage gave: what an eager child had returned, and the panic of a destructor.
pub(super) type Cleared<T, E> = (Option<Ended<T, E>>, Option<Panic>);

// SAFETY: by C1 and C2 the fields that are not `Sync` by themselves are touched by one thread at a time, and what is
// neither `Send` nor `'static` in them by those alone who may (C4).
unsafe impl<F, T, E, H> Send for LocalCell<F, T, E, H> {}
// SAFETY: as above.
unsafe impl<F, T, E, H> Sync for LocalCell<F, T, E, H> {}

impl<F, T, E, H> LocalCell<F, T, E, H>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    const VTABLE: VTable = VTable {
        poll: super::drive::poll::<F, T, E, H>,
        end: super::drive::end_dropped::<F, T, E, H>,
        enter: enter::<F, T, E, H>,
        release: waker::release::<Self>,
        unentered: unentered::<F, T, E, H>,
    };

    /// A cell, as if it were in the queue already. `core` is the group that it is in for all its life.
    #[inline]
    pub(super) fn new(
        core: &Arc<GroupCore<E>>,
        options: Options,
        recorded: Option<Instant>,
        future: F,
    ) -> Arc<Self> {
        let plan = Plan { hold: options.hold(), recorded };
        let node = Node::hosted_child(options.name, options.location, options.cooperative);
        let span = Span::of_task(node.name(), node.id().as_u64(), core.node().id().as_u64());
        let grace = match (options.grace, core.grace()) {
            (None, None) => Rare::default(),
            (own, all) => Rare::new(Span::default(), own.into_iter().chain(all).min()),
        };
        // Written field by field where it is to lie: moving it there as a whole would cost a good part of a spawn.
        let mut cell = Arc::<Self>::new_uninit();
        // SAFETY: the cell is ours alone, and every field is written once.
        unsafe {
            let at = Arc::get_mut(&mut cell).expect("made above").as_mut_ptr();
            (&raw mut (*at).head.link).write(Link::new(&Self::VTABLE, true));
            (&raw mut (*at).head.node).write(ManuallyDrop::new(node));
            (&raw mut (*at).head.state).write(State::new());
            (&raw mut (*at).head.plan).write(plan);
            (&raw mut (*at).group).write(Arc::as_ptr(core));
            (&raw mut (*at).span).write(UnsafeCell::new(span));
            (&raw mut (*at).grace).write(UnsafeCell::new(grace));
            (&raw mut (*at).waits).write(Mutex::new(WakerSet::default()));
            (&raw mut (*at).stage).write(UnsafeCell::new(Stage::Future(future)));
            cell.assume_init()
        }
    }

    /// The group.
    ///
    /// # Safety
    ///
    /// C1, or a waker that was cloned is alive.
    #[inline]
    pub(super) unsafe fn core(&self) -> &GroupCore<E> {
        // SAFETY: as the caller says.
        unsafe { &*self.group }
    }

    /// The group as the tree knows it.
    ///
    /// # Safety
    ///
    /// As for [`core`](Self::core).
    pub(super) unsafe fn group(&self) -> NodeRef {
        // SAFETY: it comes from an `Arc`, which is alive as the caller says.
        unsafe { waker::member_of(self.group) }
    }

    /// The waker that it is polled with.
    ///
    /// # Safety
    ///
    /// C1, as long as the waker is used; clones of it may be used for ever.
    #[inline]
    pub(super) unsafe fn waker(this: &Arc<Self>) -> ManuallyDrop<Waker> {
        // SAFETY: as the caller says.
        unsafe { waker::lend(Arc::as_ptr(this)) }
    }

    /// A member of the tree, which lives as long as it likes: it never touches what C4 says.
    pub(super) fn into_member(this: Arc<Self>) -> NodeRef {
        let member: Arc<dyn Member + '_> = this;
        // SAFETY: C4: all that the tree can reach through it is `'static`.
        unsafe { std::mem::transmute::<Arc<dyn Member + '_>, NodeRef>(member) }
    }

    /// A reference of one's own, from any pointer to the cell.
    ///
    /// # Safety
    ///
    /// The cell is alive.
    pub(super) unsafe fn arc(link: *const Link) -> Arc<Self> {
        let cell: *const Self = link.cast();
        // SAFETY: the pointer comes from `Arc::into_raw` or `Arc::as_ptr`, and the cell is alive.
        unsafe {
            Arc::increment_strong_count(cell);
            Arc::from_raw(cell)
        }
    }

    /// Enters the child in the books, if it does not stand in them.
    ///
    /// # Safety
    ///
    /// C1.
    pub(super) unsafe fn enter_books(this: &Arc<Self>) {
        if !this.head.node.is_unentered() {
            return;
        }
        // SAFETY: C1.
        let (core, group) = unsafe { (this.core(), this.group()) };
        let member = Self::into_member(Arc::clone(this));
        let Plan { hold, recorded } = this.head.plan;
        // SAFETY: H1 follows from C1.
        let spawned_at = recorded.unwrap_or_else(|| unsafe { core.hosted().reading() });
        let cause = Node::enter_late(&group, &member, hold, spawned_at, recorded.is_some());
        // SAFETY: H1 follows from C1.
        unsafe { core.hosted().entered(hold == Hold::Background) };
        if let Some(cause) = cause {
            tree::cancel(&member, cause);
        }
    }

    /// Lets the span go to the end of the child.
    ///
    /// # Safety
    ///
    /// C1.
    #[inline]
    pub(super) unsafe fn take_span(&self) -> Span {
        // SAFETY: C1, so the pointer is ours alone.
        self.span.with_mut(|span| std::mem::take(unsafe { &mut *span }))
    }

    /// Polls the future once, inside its span; a panic in it is an end.
    ///
    /// # Safety
    ///
    /// C1.
    #[inline]
    pub(super) unsafe fn poll_stage(&self, cx: &mut Context<'_>) -> Poll<Ended<T, E>> {
        // SAFETY: C1; nobody changes the span before the end.
        let _inside = self.span.with(|span| unsafe { &*span }.enter());
        self.stage.with_mut(|stage| {
            // SAFETY: C1, so the reference is the only one.
            match unsafe { &mut *stage } {
                Stage::Future(future) => {
                    // SAFETY: C3.
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
                Stage::Ended(_) => unreachable!("a child that has ended is not polled"),
            }
        })
    }

    /// Drops the future where it lies. What an eager child had returned comes back; so does a panic in a destructor.
    ///
    /// # Safety
    ///
    /// C1.
    #[inline]
    pub(super) unsafe fn clear_stage(&self) -> Cleared<T, E> {
        self.stage.with_mut(|stage| {
            // SAFETY: C1, so the reference is the only one. Assigning drops a future in place (C3): if its destructor
            // panics, the assignment has still taken place.
            let stage = unsafe { &mut *stage };
            if let Stage::Returned(ended) = stage {
                let placeholder = Ended::Diverted { panicked: false };
                let returned = std::mem::replace(&mut **ended, placeholder);
                *stage = Stage::Ended(Outcome::Taken);
                return (Some(returned), None);
            }
            if !std::mem::needs_drop::<F>() {
                // There is nothing to do, and to write something would be waste: the outcome comes next.
                return (None, None);
            }
            let dropped = catch(|| *stage = Stage::Ended(Outcome::Taken));
            (None, dropped.err())
        })
    }

    /// The future has returned: drops it where it lies. False: its destructor panicked.
    ///
    /// # Safety
    ///
    /// C1.
    #[inline]
    pub(super) unsafe fn drop_future(&self) -> Option<Panic> {
        if !std::mem::needs_drop::<F>() {
            return None;
        }
        // SAFETY: C1.
        unsafe { self.clear_stage() }.1
    }

    /// # Safety
    ///
    /// C1: the stage has been cleared.
    #[inline]
    pub(super) unsafe fn store_outcome(&self, outcome: Outcome<T>) {
        // SAFETY: C1, so the pointer is ours alone. Nothing that could be dropped is in the stage any more.
        self.stage.with_mut(|stage| unsafe { stage.write(Stage::Ended(outcome)) });
    }

    /// Keeps what an eager child returned until its turn.
    ///
    /// # Safety
    ///
    /// C1: the stage has been cleared.
    pub(super) unsafe fn store_returned(&self, ended: Ended<T, E>) {
        // SAFETY: C1, so the pointer is ours alone.
        self.stage.with_mut(|stage| unsafe { stage.write(Stage::Returned(Box::new(ended))) });
    }

    /// The future of a cell that nobody else has seen yet, back.
    pub(super) fn into_future(self: Arc<Self>) -> F {
        let Some(cell) = Arc::into_inner(self) else { unreachable!("nobody else has seen the cell") };
        let mut cell = ManuallyDrop::new(cell);
        // SAFETY: the cell is ours alone, and is not dropped; what else there is in it is taken out below.
        unsafe {
            ManuallyDrop::drop(&mut cell.head.node);
            std::ptr::drop_in_place(&raw mut cell.span);
            std::ptr::drop_in_place(&raw mut cell.grace);
            std::ptr::drop_in_place(&raw mut cell.waits);
        }
        // SAFETY: as above.
        match unsafe { std::ptr::read(&raw const cell.stage) }.into_inner() {
            Stage::Future(future) => future,
            _ => unreachable!("never polled"),
        }
    }

    /// Wakes whoever waits for the end.
    #[cold]
    pub(super) fn wake_waiters(&self) {
        let waits = std::mem::take(&mut *lock(&self.waits));
        tree::wake_all(waits);
    }
}

// SAFETY: cells are made in `Arc`s; the rest is to be seen in this file.
unsafe impl<F, T, E: Send + 'static, H> Sleeper for LocalCell<F, T, E, H> {
    type Error = E;

    #[inline]
    fn link(&self) -> &Link {
        &self.head.link
    }

    #[inline]
    fn group(&self) -> *const GroupCore<E> {
        self.group
    }
}

impl<F, T, E, H> Drop for LocalCell<F, T, E, H> {
    #[inline]
    fn drop(&mut self) {
        if !self.head.node.is_untouched() {
            // SAFETY: nobody looks at it any more.
            unsafe { ManuallyDrop::drop(&mut self.head.node) };
        }
        if self.head.link.was_cloned() {
            // SAFETY: the first clone of a waker has taken this reference.
            unsafe { Arc::decrement_strong_count(self.group) };
        }
    }
}

/// # Safety
///
/// As for [`VTable::enter`].
unsafe fn enter<F, T, E, H>(link: *const Link)
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: the caller is the host, and the link is in its row, so alive. Who has ended without standing in the books,
    // and was woken before that, is not entered any more.
    unsafe {
        if !(*link).has_ended() {
            LocalCell::enter_books(&LocalCell::<F, T, E, H>::arc(link));
        }
    }
}

/// # Safety
///
/// As for [`VTable::unentered`].
unsafe fn unentered<F, T, E, H>(link: *const Link) -> Option<bool> {
    // SAFETY: the link is alive.
    let cell = unsafe { &*link.cast::<LocalCell<F, T, E, H>>() };
    let waits = cell.head.node.is_unentered() && !cell.head.link.has_ended();
    waits.then_some(cell.head.plan.hold == Hold::Background)
}

impl<F, T, E, H> Member for LocalCell<F, T, E, H>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    fn node(&self) -> &Node {
        &self.head.node
    }

    fn as_any(&self) -> &dyn Any {
        &self.head
    }

    fn enter_books(&self, this: &NodeRef) {
        let link: *const Link = Arc::as_ptr(this).cast();
        // SAFETY: asked for by who runs in this child, so by the host; `this` is this cell.
        unsafe { enter::<F, T, E, H>(link) };
    }

    fn is_over(&self) -> bool {
        self.head.state.is_done()
    }

    fn activity(&self) -> Activity {
        self.head.state.activity()
    }
}

/// A child as its handle sees it.
pub(super) trait LocalJoin<T>: Member {
    /// Whether it is done; if not, the waker is registered.
    fn poll_done(&self, key: WaitKey, waker: &Waker) -> bool;

    /// A wait was given up: its waker goes.
    fn give_up(&self, key: WaitKey);

    fn is_done(&self) -> bool;

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

    fn into_node_ref(self: Arc<Self>) -> NodeRef;
}

impl<F, T, E, H> LocalJoin<T> for LocalCell<F, T, E, H>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    fn poll_done(&self, key: WaitKey, waker: &Waker) -> bool {
        if self.head.state.is_done() {
            return true;
        }
        let replaced = lock(&self.waits).add(key, waker);
        drop(replaced);
        self.head.state.announce_waiter()
    }

    fn give_up(&self, key: WaitKey) {
        let given_up = lock(&self.waits).remove(key);
        drop(given_up);
    }

    fn is_done(&self) -> bool {
        self.head.state.is_done()
    }

    fn renounce(&self) -> bool {
        self.head.state.renounce()
    }

    unsafe fn take_outcome(&self) -> Outcome<T> {
        self.stage.with_mut(|stage| {
            // SAFETY: C2.
            match unsafe { &mut *stage } {
                Stage::Ended(outcome) => std::mem::replace(outcome, Outcome::Taken),
                _ => unreachable!("a child that is done has its outcome in its cell"),
            }
        })
    }

    unsafe fn outcome(&self) -> &Outcome<T> {
        self.stage.with(|stage| {
            // SAFETY: C2.
            match unsafe { &*stage } {
                Stage::Ended(outcome) => outcome,
                _ => unreachable!("a child that is done has its outcome in its cell"),
            }
        })
    }

    fn into_node_ref(self: Arc<Self>) -> NodeRef {
        Self::into_member(self)
    }
}
