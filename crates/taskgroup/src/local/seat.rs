//! The body's place in the queue: it is polled when it was woken, in its turn, as a child is.

use std::mem::ManuallyDrop;
use std::task::Waker;

use super::inbox::{Link, VTable};
use super::waker::{self, Sleeper};
use crate::group::GroupCore;
use crate::sync::Arc;

/// Of a body that has not ended. Dropped before the queue is closed.
pub(super) struct Seat<E: Send + 'static>(Arc<Place<E>>);

#[repr(C)]
struct Place<E> {
    // First: a pointer to a place is one to its link.
    link: Link,
    group: *const GroupCore<E>,
}

// SAFETY: `group` points to what is `Send` and `Sync` for an error type that is `Send`, and is used as a reference.
unsafe impl<E: Send> Send for Place<E> {}
// SAFETY: as above.
unsafe impl<E: Send> Sync for Place<E> {}

// SAFETY: it lies in the `Arc` of a `Seat`; the rest is to be seen here.
unsafe impl<E: Send + 'static> Sleeper for Place<E> {
    type Error = E;

    fn link(&self) -> &Link {
        &self.link
    }

    fn group(&self) -> *const GroupCore<E> {
        self.group
    }

    unsafe fn retain(this: *const Self) {
        // SAFETY: as the caller says; it lies in an `Arc`.
        unsafe { Arc::increment_strong_count(this) };
    }

    unsafe fn release(this: *const Self) {
        // SAFETY: as the caller says; it lies in an `Arc`.
        unsafe { Arc::decrement_strong_count(this) };
    }
}

impl<E> Drop for Place<E> {
    fn drop(&mut self) {
        if self.link.was_cloned() {
            // SAFETY: the first clone of a waker has taken this reference.
            unsafe { Arc::decrement_strong_count(self.group) };
        }
    }
}

impl<E: Send + 'static> Seat<E> {
    const VTABLE: VTable = VTable {
        poll: take_out::<E>,
        end: take_out::<E>,
        enter: |_link| {},
        member: |_link| unreachable!("a body has a region of its own"),
        release: waker::release::<Place<E>>,
        unentered: |_link| None,
    };

    pub(super) fn new(core: &Arc<GroupCore<E>>) -> Self {
        Self(Arc::new(Place { link: Link::new(&Self::VTABLE, false), group: Arc::as_ptr(core) }))
    }

    pub(super) fn is_at(&self, link: *const Link) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.0).cast(), link)
    }

    /// The body is about to be polled.
    pub(super) fn begin_poll(&self) {
        let _alive = self.0.link.begin_poll();
    }

    /// # Safety
    ///
    /// The caller is the host, and polls the body.
    pub(super) unsafe fn waker(&self) -> ManuallyDrop<Waker> {
        // SAFETY: as the caller says.
        unsafe { waker::lend(Arc::as_ptr(&self.0)) }
    }
}

impl<E: Send + 'static> Drop for Seat<E> {
    fn drop(&mut self) {
        if self.0.link.end() {
            // To the queue that it stands in.
            std::mem::forget(Arc::clone(&self.0));
        }
    }
}

/// A body that has ended, or is being dropped, is taken out of the queue.
///
/// # Safety
///
/// As for [`VTable::poll`].
unsafe fn take_out<E: Send + 'static>(link: *const Link) {
    let place: *const Place<E> = link.cast();
    // SAFETY: it was in the queue, so it is alive; if it has ended, with a reference of the queue's.
    unsafe {
        if !(*place).link.begin_poll() {
            waker::release::<Place<E>>(link);
        }
    }
}
