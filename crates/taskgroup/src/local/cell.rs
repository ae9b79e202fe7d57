//! The storage of one child, and the access rules of its fields.
//!
//! | field | who may touch it |
//! |---|---|
//! | `link`, `state`, `child` | anybody (they synchronise themselves) |
//! | `recorded`, `hold`, `group`, `chunk`, `id`, `location` | anybody reads; nobody writes. What `group` points to may be looked at in C1, and while a waker is alive that was cloned |
//! | `entered`, `escaped`, `stage` | C1: the host, as long as the child has not ended; a spawner before it has given the child away. C2, `stage` alone: once settled the one `LocalTask` handle, or, where that was dropped before, the finisher. Who frees the cell reads `escaped` |
//!
//! C3: a future in `stage` is pinned: the cell is not moved, nobody moves the future out once it has been polled, and
//! it is dropped where it lies.
//!
//! C4: **What may be borrowed.** The future and the value may borrow from `'env`, and need not be `Send`. The future is
//! touched under C1 alone: the host has `'env` in its type, as spawners have. The value is touched under C1 and C2: the
//! handle has `'env` and `T` in its type. Wakers see the cell as `'static` and `Send`, and touch neither; the tree does not
//! see the cell, but its [`Child`]. When the last reference goes, wherever and whenever that is, both are gone: the host
//! keeps a reference until the child has ended, a handle until it has dropped the value. Who forgets the host, or a
//! handle, leaks the cell.
//!
//! C5: **References.** One is the host's. The handle lives on that until the child ends; then the host takes one for it, if
//! it is still there ([`State::keep_for_handle`]). One is each cloned waker's. Where the host and the handle alone have them, on one
//! thread, nothing is counted with an atomic. Who finds that his is the only one frees the cell.
//!
//! C6: A cell that a waker was cloned of, and that is not freed at the child's end, escapes from its chunk: any thread may
//! free it then ([`chunk`]).

use std::alloc::Layout;
use std::borrow::Cow;
use std::cell::Cell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::child::Child;
use super::chunk::{self, Chunk};
use super::inbox::{Link, VTable};
use super::kind::Host;
use super::state::State;
use super::waker::{self, Sleeper};
use crate::group::GroupCore;
use crate::sync::{Arc, AtomicPtr, Ordering, UnsafeCell, lock};
use crate::task::{Ended, Outcome, Panic, catch};
use crate::trace::{self, Span};
use crate::tree::{self, Activity, Brief, Hold, Id, Member, Node, NodeInfo, NodeKind, NodeRef, WaitKey};

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

/// The part of a cell whose type says nothing of the child.
#[repr(C)]
pub(super) struct Head<H> {
    // First: a pointer to a cell is one to its link.
    pub(super) link: Link,
    pub(super) state: State<H>,
    chunk: *const Chunk,
    id: Id,
    location: &'static Location<'static>,
    /// From an `Arc`; null as long as nobody has asked for it.
    child: AtomicPtr<Child>,
    /// When it was spawned, if there is to be a record of it.
    pub(super) recorded: Option<Instant>,
    pub(super) hold: Hold,
    /// It stands in the books, or has stood there.
    entered: Cell<bool>,
    escaped: Cell<bool>,
}

#[repr(C)]
pub(super) struct LocalCell<F, T, E, H> {
    // First: see there.
    pub(super) head: Head<H>,
    group: *const GroupCore<E>,
    stage: UnsafeCell<Stage<F, T, E>>,
}

enum Stage<F, T, E> {
    Future(F),
    /// An eager child that returned inside `spawn`; told of in its turn, never inline.
    Returned(Box<Ended<T, E>>),
    Ended(Outcome<T>),
}

/// What the first poll of a child came to.
pub(super) enum First<T, E> {
    /// It has returned, and nobody has heard of it: the future has been dropped.
    Value(T),
    /// The same, but the future panicked in its destructor.
    Panicked(T, Panic),
    Polled(Poll<Ended<T, E>>),
}

/// What clearing a stage gave: what an eager child had returned, and the panic of a destructor.
pub(super) type Cleared<T, E> = (Option<Ended<T, E>>, Option<Panic>);

/// A pointer to a cell that is alive as long as this is used.
pub(super) struct At<F, T, E, H>(*const LocalCell<F, T, E, H>);

impl<F, T, E, H> Clone for At<F, T, E, H> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, T, E, H> Copy for At<F, T, E, H> {}

impl<F, T, E, H> Deref for At<F, T, E, H> {
    type Target = LocalCell<F, T, E, H>;

    #[inline]
    fn deref(&self) -> &LocalCell<F, T, E, H> {
        // SAFETY: by `new` and `of` it is alive.
        unsafe { &*self.0 }
    }
}

impl<F, T, E, H> At<F, T, E, H> {
    /// # Safety
    ///
    /// The cell is alive as long as this is used, and its first pointer was one of [`new`](Self::new).
    #[inline]
    pub(super) unsafe fn of(link: *const Link) -> Self {
        Self(link.cast())
    }

    #[inline]
    pub(super) fn pointer(self) -> NonNull<LocalCell<F, T, E, H>> {
        // SAFETY: it is alive.
        unsafe { NonNull::new_unchecked(self.0.cast_mut()) }
    }

    #[inline]
    pub(super) fn link(self) -> *const Link {
        self.0.cast()
    }
}

impl<F, T, E, H> At<F, T, E, H>
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
        member: member::<F, T, E, H>,
        release: waker::release::<LocalCell<F, T, E, H>>,
        unentered: unentered::<F, T, E, H>,
    };

    /// A cell, as if it were in the queue already, with the host's reference. `core` is the group that it is in for all
    /// its life.
    ///
    /// # Safety
    ///
    /// For [`SameThread`](super::SameThread) the caller is on the thread of the group.
    // Always: most of the options are known where it is called, and cost nothing there.
    #[inline(always)]
    pub(super) unsafe fn new(
        core: &Arc<GroupCore<E>>,
        options: Options,
        recorded: Option<Instant>,
        future: F,
    ) -> Self {
        let (id, location, hold) = (Id::next(), options.location, options.hold());
        let layout = Layout::new::<LocalCell<F, T, E, H>>();
        let (place, chunk) = match H::SHARED {
            true => (chunk::alone(layout), std::ptr::null()),
            // SAFETY: H1: on the thread of the group.
            false => unsafe { core.hosted().place(layout) },
        };
        let at: *mut LocalCell<F, T, E, H> = place.cast().as_ptr();
        let mut child = std::ptr::null_mut();
        if options.has_more() || core.grace().is_some() || trace::is_on() {
            child = options.into_child(core, id);
        }
        // SAFETY: the place is ours alone, and every field is written once.
        unsafe {
            (&raw mut (*at).head).write(Head {
                link: Link::new(&Self::VTABLE, true),
                state: State::new(),
                chunk,
                id,
                location,
                child: AtomicPtr::new(child),
                recorded,
                hold,
                entered: Cell::new(false),
                escaped: Cell::new(false),
            });
            (&raw mut (*at).group).write(Arc::as_ptr(core));
            (&raw mut (*at).stage).write(UnsafeCell::new(Stage::Future(future)));
        }
        Self(at)
    }

    /// The waker that it is polled with.
    ///
    /// # Safety
    ///
    /// C1, as long as the waker is used; clones of it may be used for ever.
    #[inline]
    pub(super) unsafe fn waker(self) -> ManuallyDrop<Waker> {
        // SAFETY: as the caller says.
        unsafe { waker::lend(self.0) }
    }

    /// Enters the child in the books, if it does not stand in them.
    ///
    /// # Safety
    ///
    /// C1.
    #[inline]
    pub(super) unsafe fn enter_books(self) {
        if !self.is_entered() {
            // SAFETY: as the caller says.
            unsafe { self.enter_now() };
        }
    }

    unsafe fn enter_now(self) {
        self.head.entered.set(true);
        // SAFETY: C1.
        unsafe { self.child().set_cell(self.link()) };
        // SAFETY: C1.
        let (core, group) = unsafe { (self.core(), self.group()) };
        let member = self.member();
        let Head { hold, recorded, .. } = self.head;
        // SAFETY: H1 follows from C1.
        let spawned_at = recorded.unwrap_or_else(|| unsafe { core.hosted().reading() });
        let cause = Node::enter_late(&group, &member, hold, spawned_at, recorded.is_some());
        // SAFETY: H1 follows from C1.
        unsafe { core.hosted().entered(hold == Hold::Background) };
        if let Some(cause) = cause {
            tree::cancel(&member, cause);
        }
    }

    /// The child has ended: the host lets go of it. Its reference goes, or is left to the queue that the child stands in.
    ///
    /// # Safety
    ///
    /// C1; the cell is not used any more.
    #[inline]
    pub(super) unsafe fn let_go(self) {
        let head = &self.head;
        if head.state.is_host_alone() && !head.link.is_queued() {
            // SAFETY: ours is the only one; not in the queue, and nobody is left to put it there.
            return unsafe { self.free() };
        }
        // SAFETY: as the caller says.
        unsafe { self.let_go_to_others() };
    }

    #[inline(never)]
    unsafe fn let_go_to_others(self) {
        let head = &self.head;
        head.state.keep_for_handle();
        if head.link.was_cloned() && !head.chunk.is_null() {
            head.escaped.set(true);
            // SAFETY: the host is on the thread of the group, for where it need not be there are no chunks; the cell is
            // alive.
            unsafe { chunk::escape(head.chunk) };
        }
        if !head.link.end() {
            // SAFETY: the host's.
            unsafe { Sleeper::release(self.0) };
        }
    }

    /// A child that was refused: what reference there is, is the handle's.
    pub(super) fn give_to_handle(self) {
        let _in_no_queue = self.head.link.end();
        self.head.state.give_to_handle();
    }

    /// The future of a cell that nobody else has seen yet, back.
    ///
    /// # Safety
    ///
    /// Nobody else has the cell, and it is not used any more.
    pub(super) unsafe fn into_future(self) -> F {
        let future = self.stage.with_mut(|stage| {
            // SAFETY: the cell is ours alone, and freed below without its stage.
            match unsafe { stage.read() } {
                Stage::Future(future) => future,
                _ => unreachable!("never polled"),
            }
        });
        // SAFETY: as the caller says; there is nothing in this stage that could be dropped.
        unsafe {
            self.stage.with_mut(|stage| stage.write(Stage::Ended(Outcome::Taken)));
            self.free();
        }
        future
    }
}

impl<F, T, E, H> At<F, T, E, H> {
    /// Frees the cell of a child that [nobody knows](LocalCell::is_unknown).
    ///
    /// # Safety
    ///
    /// C1; there is nothing in its stage that could be dropped, and it is not used any more.
    #[inline]
    pub(super) unsafe fn free_bare(self) {
        let layout = Layout::new::<LocalCell<F, T, E, H>>();
        // SAFETY: the host's reference is the only one, and it has not escaped.
        unsafe { chunk::free(self.0.cast_mut().cast(), self.head.chunk, layout, false) };
    }

    /// Frees the cell.
    ///
    /// # Safety
    ///
    /// The caller has the only reference, and the cell is not used any more.
    #[inline]
    unsafe fn free(self) {
        let head = &self.head;
        let group = head.link.was_cloned().then_some(self.group);
        let (chunk, escaped, child) = (head.chunk, head.escaped.get(), head.child.load(Ordering::Acquire));
        self.stage.with_mut(|stage| {
            // SAFETY: nobody else has the cell; the future has been dropped by who ended the child.
            if let Stage::Ended(outcome) = unsafe { &mut *stage } {
                // SAFETY: as above; it is not looked at again.
                unsafe { std::ptr::drop_in_place(outcome) };
            }
        });
        // SAFETY: as the caller says. The `Arc`s are the cell's: the child's from its making, the group's from the first
        // clone of a waker. Where it has not escaped no waker is left, so the caller is the host or the handle, or, where
        // these need not be on the thread of the group, the cell lies alone.
        unsafe {
            if !child.is_null() {
                drop(Arc::from_raw(child.cast_const()));
            }
            chunk::free(self.0.cast_mut().cast(), chunk, Layout::new::<LocalCell<F, T, E, H>>(), escaped);
            if let Some(group) = group {
                Arc::decrement_strong_count(group);
            }
        }
    }
}

impl Options {
    /// Whether the child needs its node from the beginning.
    #[inline]
    fn has_more(&self) -> bool {
        self.name.is_some() || self.cooperative || self.grace.is_some()
    }

    /// The node of a child that may need it from the beginning, or null.
    #[cold]
    fn into_child<E: Send + 'static>(self, core: &GroupCore<E>, id: Id) -> *mut Child {
        let name = self.name;
        let span = Span::of_task(name.as_deref(), id.as_u64(), core.node().id().as_u64());
        let grace = self.grace.into_iter().chain(core.grace()).min();
        if name.is_none() && span.is_none() && grace.is_none() && !self.cooperative {
            return std::ptr::null_mut();
        }
        let node = Node::hosted_child(id, name, self.location, self.cooperative);
        Arc::into_raw(Arc::new(Child::new(node, span, grace))).cast_mut()
    }
}

impl<F, T, E, H> LocalCell<F, T, E, H> {
    #[inline]
    pub(super) fn is_entered(&self) -> bool {
        self.head.entered.get()
    }

    #[inline]
    pub(super) fn child_if_any(&self) -> Option<&Child> {
        // Acquire: paired with the Release of the making.
        let child = self.head.child.load(Ordering::Acquire);
        // SAFETY: it is alive as long as the cell is.
        unsafe { child.as_ref() }
    }

    /// The child as the tree knows it.
    pub(super) fn member(&self) -> NodeRef {
        // SAFETY: it is not dropped.
        let lent = ManuallyDrop::new(unsafe { self.lend_member() });
        NodeRef::clone(&lent)
    }

    /// The same, on the cell's own reference.
    ///
    /// # Safety
    ///
    /// It is not dropped, and the cell alive as long as it is used.
    pub(super) unsafe fn lend_member(&self) -> NodeRef {
        let child: *const Child = self.child();
        // SAFETY: it comes from an `Arc`.
        unsafe { Arc::from_raw(child) }
    }

    /// The child's node, made here if nobody has asked for it before.
    pub(super) fn child(&self) -> &Child {
        match self.child_if_any() {
            Some(child) => child,
            None => self.make_child(),
        }
    }

    #[inline(never)]
    fn make_child(&self) -> &Child {
        let node = Node::hosted_child(self.head.id, None, self.head.location, false);
        let made = Arc::into_raw(Arc::new(Child::new(node, Span::default(), None))).cast_mut();
        // Release: what was made is seen by who finds the pointer. Acquire: the other way round.
        let before =
            self.head.child.compare_exchange(std::ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
        // SAFETY: one of the two has it, and keeps it as long as the cell lives; ours was never seen by anybody if it was
        // not taken.
        unsafe {
            match before {
                Ok(_) => &*made,
                Err(other) => {
                    drop(Arc::from_raw(made.cast_const()));
                    &*other
                }
            }
        }
    }

    /// Whether the child itself has been marked.
    #[inline]
    pub(super) fn is_cancelled(&self) -> bool {
        self.child_if_any().is_some_and(|child| child.node.is_cancelled())
    }

    /// For whoever looks on.
    pub(super) fn note_polled(&self, polled: bool) {
        if let Some(child) = self.child_if_any() {
            child.set_polled(polled);
        }
    }

    /// What is kept of a child that has returned `Ok` without having stood in the books.
    #[inline]
    pub(super) fn brief(&self, at: Instant) -> Brief {
        let name = self.child_if_any().and_then(|child| child.node.info().name.map(Box::new));
        Brief { id: self.head.id, location: self.head.location, name, at }
    }

    pub(super) fn info(&self) -> NodeInfo {
        match self.child_if_any() {
            Some(child) => child.node.info(),
            None => {
                let (kind, id, location) = (NodeKind::Task, self.head.id, self.head.location);
                NodeInfo { kind, id, name: None, location }
            }
        }
    }
}

impl<F, T, E, H> LocalCell<F, T, E, H>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
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

    /// Lets the span go to the end of the child.
    ///
    /// # Safety
    ///
    /// C1.
    #[inline]
    pub(super) unsafe fn take_span(&self) -> Span {
        let Some(child) = self.child_if_any() else { return Span::default() };
        // SAFETY: C1, so the pointer is ours alone.
        child.span.with_mut(|span| std::mem::take(unsafe { &mut *span }))
    }

    /// Polls the future for the first time. Where it returns a value, and nobody has heard of it, it is dropped where it lies.
    ///
    /// # Safety
    ///
    /// C1.
    #[inline]
    pub(super) unsafe fn poll_first(&self, cx: &mut Context<'_>) -> First<T, E> {
        if self.child_if_any().is_some() {
            // SAFETY: C1.
            return First::Polled(unsafe { self.poll_stage(cx) });
        }
        let mut value = None;
        let polled = self.stage.with_mut(|stage| {
            // SAFETY: C1, so the reference is the only one.
            let Stage::Future(future) = (unsafe { &mut *stage }) else { unreachable!("never polled") };
            catch(|| {
                // SAFETY: C3.
                let polled = unsafe { Pin::new_unchecked(&mut *future) }.poll(cx).map(Into::into);
                match polled {
                    Poll::Ready(Ended::Value(returned)) if !self.is_entered() => {
                        value = Some(returned);
                        // SAFETY: C3; it is not looked at again.
                        unsafe { std::ptr::drop_in_place(future) };
                        None
                    }
                    polled => Some(polled),
                }
            })
        });
        match (polled, value) {
            (Ok(None), Some(value)) => First::Value(value),
            (Ok(Some(polled)), _) => First::Polled(polled),
            (Err(panic), Some(value)) => {
                // SAFETY: C1; the future has been dropped.
                unsafe { self.store_outcome(Outcome::Taken) };
                First::Panicked(value, panic)
            }
            (Err(panic), None) => First::Polled(Poll::Ready(Ended::Panicked(panic))),
            (Ok(None), None) => unreachable!("there is a value"),
        }
    }

    /// Whether the host alone has a reference, and the child no node. Asked by the host.
    #[inline]
    pub(super) fn is_unknown(&self) -> bool {
        self.head.state.is_gone() && self.head.link.is_untouched() && self.child_if_any().is_none()
    }

    /// Polls the future once, inside its span; a panic in it is an end.
    ///
    /// # Safety
    ///
    /// C1.
    #[inline]
    pub(super) unsafe fn poll_stage(&self, cx: &mut Context<'_>) -> Poll<Ended<T, E>> {
        let child = self.child_if_any();
        // SAFETY: C1; nobody changes the span before the end.
        let _inside = child.map(|child| child.span.with(|span| unsafe { &*span }.enter()));
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

    /// Wakes whoever waits for the end.
    #[cold]
    pub(super) fn wake_waiters(&self) {
        let waits = self.child_if_any().map(|child| std::mem::take(&mut *lock(&child.waits)));
        waits.into_iter().for_each(tree::wake_all);
    }
}

// SAFETY: C5; the rest is to be seen in this file.
unsafe impl<F, T, E: Send + 'static, H: Host> Sleeper for LocalCell<F, T, E, H> {
    type Error = E;

    #[inline]
    fn link(&self) -> &Link {
        &self.head.link
    }

    #[inline]
    fn group(&self) -> *const GroupCore<E> {
        self.group
    }

    unsafe fn retain(this: *const Self) {
        // SAFETY: as the caller says.
        unsafe { (*this).head.state.retain() };
    }

    unsafe fn release(this: *const Self) {
        // SAFETY: as the caller says; who has given up the last one frees the cell.
        unsafe {
            if (*this).head.state.release() {
                At(this).free();
            }
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
            At::<F, T, E, H>::of(link).enter_books();
        }
    }
}

/// # Safety
///
/// As for [`VTable::member`].
unsafe fn member<F, T, E, H>(link: *const Link) -> NodeRef
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    // SAFETY: the caller is the host, and polls it, so it is alive.
    unsafe {
        let cell = At::<F, T, E, H>::of(link);
        cell.enter_books();
        cell.note_polled(true);
        cell.member()
    }
}

/// # Safety
///
/// As for [`VTable::unentered`].
unsafe fn unentered<F, T, E, H>(link: *const Link) -> Option<bool> {
    // SAFETY: the link is alive.
    let cell = unsafe { At::<F, T, E, H>::of(link) };
    let waits = !cell.is_entered() && !cell.head.link.has_ended();
    waits.then_some(cell.head.hold == Hold::Background)
}

/// A child as its handle sees it.
pub(super) trait LocalJoin<T> {
    fn info(&self) -> NodeInfo;

    fn id(&self) -> Id;

    fn name(&self) -> Option<&str>;

    fn location(&self) -> &'static Location<'static>;

    /// The child as the tree knows it.
    fn member(&self) -> NodeRef;

    /// What it is at, as far as anybody has asked for it: a child of which nobody has heard is idle.
    fn activity(&self) -> Activity;

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

    /// The handle is gone. True: it has a reference to give up.
    fn leave(&self) -> bool;
}

impl<F, T, E, H> LocalJoin<T> for LocalCell<F, T, E, H>
where
    F: Future,
    F::Output: Into<Ended<T, E>>,
    E: Send + 'static,
    H: Host,
{
    fn info(&self) -> NodeInfo {
        LocalCell::info(self)
    }

    fn id(&self) -> Id {
        self.head.id
    }

    fn name(&self) -> Option<&str> {
        self.child_if_any()?.node.name()
    }

    fn location(&self) -> &'static Location<'static> {
        self.head.location
    }

    fn member(&self) -> NodeRef {
        LocalCell::member(self)
    }

    fn activity(&self) -> Activity {
        self.child_if_any().map_or(Activity::Idle, Child::activity)
    }

    fn poll_done(&self, key: WaitKey, waker: &Waker) -> bool {
        if self.head.state.is_done() {
            return true;
        }
        let replaced = lock(&self.child().waits).add(key, waker);
        drop(replaced);
        self.head.state.announce_waiter()
    }

    fn give_up(&self, key: WaitKey) {
        let given_up = self.child_if_any().and_then(|child| lock(&child.waits).remove(key));
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

    fn leave(&self) -> bool {
        self.head.state.leave()
    }
}
