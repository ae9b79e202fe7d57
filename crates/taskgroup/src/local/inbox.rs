//! The queue of those who were woken: pushed to from any thread, emptied by the host.
//!
//! # The states of the head
//!
//! ```text
//!            take                    sleep
//!   list ───────────▶ awake ◀──────┐ ────▶ asleep
//!     ▲                 │          │         │
//!     └───── push ──────┴── take ──┘         │
//!     ▲                                      │
//!     └───── push, which wakes the host ─────┘         awake ── try_close ──▶ closed;  any ── close ──▶ closed
//! ```
//!
//! # Invariants
//!
//! 1. A link is in the queue, or in the host's own list behind it, while its `QUEUED` bit is set; who sets the bit
//!    pushes it. So `next` belongs to whoever set the bit, then to whoever has taken the list.
//! 2. The host sleeps only by turning *awake* into *asleep*; so a push either comes before that, and the host sees it,
//!    or finds *asleep*, and wakes the host. A push while the host is awake costs nobody a wake-up.
//! 3. An entry whose link has ended is alone the queue's: the one reference that the host had of it is left to the
//!    queue ([`Link::end`]), and released by whoever takes the entry out, or finds the queue closed.
//! 4. Nothing is pushed into a closed queue, and it stays closed.

use std::task::Waker;

use crate::sync::{AtomicPtr, AtomicU32, Mutex, Ordering, UnsafeCell, lock};
use crate::tree::NodeRef;

/// It is in the queue.
const QUEUED: u32 = 1;
/// A waker of it has been cloned: from now on anybody may wake it at any time.
const CLONED: u32 = 1 << 1;
/// It has ended: it is not woken any more.
const ENDED: u32 = 1 << 2;

/// What stands in the queue: the beginning of a child's cell, or of a body's.
#[repr(C)]
pub(super) struct Link {
    next: UnsafeCell<*const Link>,
    wake: AtomicU32,
    pub(super) vtable: &'static VTable,
}

/// What the host does with a link whose type it does not know. Each takes the pointer that was pushed.
pub(super) struct VTable {
    /// The link was taken out of the queue: polls a child.
    ///
    /// # Safety
    ///
    /// The caller is the host.
    pub(super) poll: unsafe fn(*const Link),
    /// Ends a child without a value, if it has not ended.
    ///
    /// # Safety
    ///
    /// The caller is the host.
    pub(super) end: unsafe fn(*const Link),
    /// Enters a child in the books, if it does not stand in them.
    ///
    /// # Safety
    ///
    /// The caller is the host.
    pub(super) enter: unsafe fn(*const Link),
    /// Something in a child that is being polled asks for its node: enters the child in the books.
    ///
    /// # Safety
    ///
    /// The caller is the host.
    pub(super) member: unsafe fn(*const Link) -> NodeRef,
    /// Gives up one reference.
    ///
    /// # Safety
    ///
    /// The caller has it.
    pub(super) release: unsafe fn(*const Link),
    /// Of a child that stands in no books and has not ended, whether it is in the background.
    ///
    /// # Safety
    ///
    /// The link is alive.
    pub(super) unentered: unsafe fn(*const Link) -> Option<bool>,
}

// SAFETY: `next` is touched by one thread at a time (invariant 1), handed on by the Release of a push and the Acquire of
// a take.
unsafe impl Send for Link {}
// SAFETY: as above.
unsafe impl Sync for Link {}

impl Link {
    #[inline]
    pub(super) fn new(vtable: &'static VTable, queued: bool) -> Self {
        let wake = AtomicU32::new(if queued { QUEUED } else { 0 });
        Self { next: UnsafeCell::new(std::ptr::null()), wake, vtable }
    }

    /// It is woken. True: the caller pushes it.
    #[must_use]
    pub(super) fn announce(&self) -> bool {
        // Release: what the waker did before is seen by the poll (`data = 1; wake()` against `poll { read data }`),
        // also where the link is queued already. Acquire: the push that follows writes `next`, which the host has read.
        self.wake.fetch_or(QUEUED, Ordering::AcqRel) & (QUEUED | ENDED) == 0
    }

    /// It is about to be polled. False: it has ended, and the reference in the queue is the caller's.
    #[must_use]
    #[inline]
    pub(super) fn begin_poll(&self) -> bool {
        let before = self.wake.load(Ordering::Relaxed);
        if before & CLONED == 0 {
            // Nobody but the poll itself has had a waker, so nobody sets a bit meanwhile.
            self.wake.store(before & !QUEUED, Ordering::Relaxed);
            return before & ENDED == 0;
        }
        // Acquire and Release: as in `announce`.
        self.wake.fetch_and(!QUEUED, Ordering::AcqRel) & ENDED == 0
    }

    /// It has ended. True: it is in the queue, to which the host's reference is left (invariant 3).
    #[must_use]
    #[inline]
    pub(super) fn end(&self) -> bool {
        let before = self.wake.load(Ordering::Relaxed);
        if before & CLONED == 0 {
            self.wake.store(before | ENDED, Ordering::Relaxed);
            return before & QUEUED != 0;
        }
        self.wake.fetch_or(ENDED, Ordering::AcqRel) & QUEUED != 0
    }

    /// It is in no queue, has not ended, and no waker of it was ever cloned.
    #[inline]
    pub(super) fn is_untouched(&self) -> bool {
        self.wake.load(Ordering::Relaxed) == 0
    }

    #[inline]
    pub(super) fn is_queued(&self) -> bool {
        self.wake.load(Ordering::Relaxed) & QUEUED != 0
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.wake.load(Ordering::Relaxed) & ENDED != 0
    }

    /// A waker is being cloned. True: for the first time.
    #[must_use]
    pub(super) fn note_clone(&self) -> bool {
        // Relaxed: it says only who takes a reference to the group, and whether one was taken. The host looks at the bit
        // after the poll in which the first clone was made, wherever that was.
        self.wake.load(Ordering::Relaxed) & CLONED == 0
            && self.wake.fetch_or(CLONED, Ordering::Relaxed) & CLONED == 0
    }

    #[inline]
    pub(super) fn was_cloned(&self) -> bool {
        self.wake.load(Ordering::Relaxed) & CLONED != 0
    }
}

const ASLEEP: *mut Link = std::ptr::null_mut();
// Addresses that no link has: links are aligned to more than two.
const AWAKE: *mut Link = std::ptr::without_provenance_mut(1);
const CLOSED: *mut Link = std::ptr::without_provenance_mut(2);

/// What a push came to.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The host will see it.
    Seen,
    /// The host sleeps: the caller wakes it.
    Asleep,
    /// Nobody will see it: what was to be pushed is still the caller's.
    Closed,
}

pub(super) struct Inbox {
    head: AtomicPtr<Link>,
    host: Mutex<Option<Waker>>,
}

impl Inbox {
    /// As if the host were awake: its first poll comes unasked.
    pub(super) fn new() -> Self {
        Self { head: AtomicPtr::new(AWAKE), host: Mutex::new(None) }
    }

    /// Pushes a link.
    ///
    /// # Safety
    ///
    /// The caller has set its `QUEUED` bit. The link lives until it is taken out, or ended (invariant 3).
    pub(super) unsafe fn push(&self, link: *const Link) -> Pushed {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == CLOSED {
                return Pushed::Closed;
            }
            let next = if head == AWAKE { ASLEEP } else { head };
            // SAFETY: invariant 1; the caller keeps it alive until it is in the queue.
            unsafe { (*link).next.with_mut(|place| *place = next) };
            // Release: the host that takes the list reads `next`, and for a child that was spawned the cell.
            match self.head.compare_exchange_weak(head, link.cast_mut(), Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return if head == ASLEEP { Pushed::Asleep } else { Pushed::Seen },
                Err(seen) => head = seen,
            }
        }
    }

    /// The host is awake; takes what was pushed, the last one first.
    pub(super) fn take(&self) -> List {
        let head = self.head.load(Ordering::Relaxed);
        if head == AWAKE || head == CLOSED {
            return List(ASLEEP);
        }
        // Acquire: paired with the push. Nobody but the host closes, so it is not closed now.
        List(self.head.swap(AWAKE, Ordering::Acquire))
    }

    /// The host goes to sleep. False: something was pushed meanwhile.
    #[must_use]
    pub(super) fn sleep(&self) -> bool {
        // Release: a push that finds it asleep wakes the host by the waker that is stored; the lock orders that.
        self.head.compare_exchange(AWAKE, ASLEEP, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// The host sleeps for somebody who is on its own thread.
    #[inline]
    pub(super) fn wake_if_asleep(&self) -> bool {
        self.head.load(Ordering::Relaxed) == ASLEEP
            && self.head.compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether somebody stands in it.
    pub(super) fn has_any(&self) -> bool {
        self.head.load(Ordering::Relaxed).addr() > CLOSED.addr()
    }

    /// Closes the queue if nothing is in it. True: it is closed.
    #[must_use]
    pub(super) fn try_close(&self) -> bool {
        let seen = self.head.compare_exchange(AWAKE, CLOSED, Ordering::AcqRel, Ordering::Relaxed);
        seen.map_or_else(|head| head == CLOSED, |_| true)
    }

    /// Closes the queue, and takes what is in it.
    pub(super) fn close(&self) -> List {
        List(self.head.swap(CLOSED, Ordering::AcqRel))
    }

    /// Stores the host's waker.
    pub(super) fn set_host(&self, waker: &Waker) {
        let mut host = lock(&self.host);
        let replaced = match &*host {
            Some(stored) if stored.will_wake(waker) => None,
            _ => host.replace(waker.clone()),
        };
        drop(host);
        drop(replaced);
    }

    pub(super) fn host(&self) -> Option<Waker> {
        lock(&self.host).clone()
    }
}

/// What was taken out of the queue.
#[must_use]
pub(super) struct List(*const Link);

impl List {
    fn next(&mut self) -> Option<*const Link> {
        if self.0.addr() <= CLOSED.addr() {
            return None;
        }
        let link = self.0;
        // SAFETY: invariants 1 and 3: it was in the list that was taken, so it is alive and `next` is ours.
        self.0 = unsafe { (*link).next.with(|next| *next) };
        Some(link)
    }
}

/// The host's own list: those whose turn it is.
pub(super) struct Row {
    first: *const Link,
    last: *const Link,
}

impl Row {
    pub(super) fn new() -> Self {
        Self { first: ASLEEP, last: ASLEEP }
    }

    /// Appends one.
    ///
    /// # Safety
    ///
    /// As for [`Inbox::push`].
    #[inline]
    pub(super) unsafe fn push(&mut self, link: *const Link) {
        // SAFETY: invariant 1.
        unsafe { (*link).next.with_mut(|place| *place = ASLEEP) };
        if self.first.is_null() {
            self.first = link;
        } else {
            // SAFETY: it is in this list, so it is alive, and its `next` ours.
            unsafe { (*self.last).next.with_mut(|place| *place = link) };
        }
        self.last = link;
    }

    /// Appends a list, in the order in which it was pushed. Calls `each` for every link.
    pub(super) fn append(&mut self, mut list: List, mut each: impl FnMut(*const Link)) {
        let (mut first, mut last): (*const Link, *const Link) = (ASLEEP, ASLEEP);
        while let Some(link) = list.next() {
            each(link);
            if first.is_null() {
                last = link;
            }
            // SAFETY: taken out of the list, so it is alive, and its `next` ours.
            unsafe { (*link).next.with_mut(|place| *place = first) };
            first = link;
        }
        if first.is_null() {
            return;
        }
        match self.first.is_null() {
            true => self.first = first,
            // SAFETY: as in `push`.
            false => unsafe { (*self.last).next.with_mut(|place| *place = first) },
        }
        self.last = last;
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<*const Link> {
        if self.first.is_null() {
            return None;
        }
        let link = self.first;
        // SAFETY: it is in this list, so it is alive, and its `next` ours.
        self.first = unsafe { (*link).next.with(|next| *next) };
        Some(link)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Calls `each` for every link, from the first on.
    pub(super) fn for_each(&self, mut each: impl FnMut(*const Link)) {
        let mut at = self.first;
        while !at.is_null() {
            let link = at;
            // SAFETY: as in `pop`.
            at = unsafe { (*link).next.with(|next| *next) };
            each(link);
        }
    }
}
