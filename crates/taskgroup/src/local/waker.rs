//! The waker of whatever stands in a group's queue: a pointer to it, without an allocation of its own.
//!
//! # Invariants
//!
//! 1. A waker is *lent* to a poll without a reference; a clone has one. The first clone takes a reference to the group
//!    too, for all of them, which goes with what is woken. So a clone may be used for ever, on any thread.
//! 2. The functions touch the link and the group, nothing else.

use std::mem::ManuallyDrop;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::inbox::{Link, Pushed};
use crate::group::GroupCore;
use crate::sync::Arc;
use crate::tree::NodeRef;

/// What can stand in a group's queue.
///
/// # Safety
///
/// It counts its references, and begins with its link. The group that it points to came out of an `Arc`; it is alive
/// while the host polls. Its end gives up the reference to the group, if its link [was cloned](Link::was_cloned).
pub(super) unsafe trait Sleeper {
    type Error: Send + 'static;

    fn link(&self) -> &Link;

    fn group(&self) -> *const GroupCore<Self::Error>;

    /// Takes one reference more.
    ///
    /// # Safety
    ///
    /// It is alive.
    unsafe fn retain(this: *const Self);

    /// Gives up one reference.
    ///
    /// # Safety
    ///
    /// The caller has it.
    unsafe fn release(this: *const Self);
}

/// The waker to poll it with.
///
/// # Safety
///
/// The caller is the host, and polls; what is woken lives until the poll is over.
#[inline]
pub(super) unsafe fn lend<S: Sleeper>(sleeper: *const S) -> ManuallyDrop<Waker> {
    // SAFETY: the functions keep the contract of a waker, see invariant 1.
    ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(sleeper.cast(), vtable::<S>())) })
}

/// A group as the tree knows it.
///
/// # Safety
///
/// The pointer comes from an `Arc` that is alive.
pub(super) unsafe fn member_of<E: Send + 'static>(group: *const GroupCore<E>) -> NodeRef {
    // SAFETY: as the caller says.
    unsafe {
        Arc::increment_strong_count(group);
        Arc::from_raw(group)
    }
}

/// Gives up one reference.
///
/// # Safety
///
/// The link is one of `S`, and the caller has a reference.
pub(super) unsafe fn release<S: Sleeper>(link: *const Link) {
    // SAFETY: as the caller says.
    unsafe { S::release(link.cast()) };
}

fn vtable<S: Sleeper>() -> &'static RawWakerVTable {
    &RawWakerVTable::new(clone::<S>, wake::<S>, wake_by_ref::<S>, drop_waker::<S>)
}

/// # Safety
///
/// For the vtable: a waker of this sleeper is alive. So in all that follow.
unsafe fn clone<S: Sleeper>(data: *const ()) -> RawWaker {
    let sleeper: *const S = data.cast();
    // SAFETY: it is alive, for a waker of it is. The lent waker is cloned inside a poll, when the group is alive; who
    // clones a clone finds that the reference to the group has been taken.
    unsafe {
        if (*sleeper).link().note_clone() {
            Arc::increment_strong_count((*sleeper).group());
        }
        S::retain(sleeper);
    }
    RawWaker::new(data, vtable::<S>())
}

unsafe fn wake<S: Sleeper>(data: *const ()) {
    // SAFETY: the waker is taken: first used, then dropped.
    unsafe {
        wake_by_ref::<S>(data);
        drop_waker::<S>(data);
    }
}

unsafe fn wake_by_ref<S: Sleeper>(data: *const ()) {
    // SAFETY: it is alive, for a waker of it is.
    let sleeper = unsafe { &*data.cast::<S>() };
    if !sleeper.link().announce() {
        return;
    }
    let group = sleeper.group();
    // SAFETY: the waker is lent in a poll, or a clone: the group is alive (invariant 1). The bit of the link was set by us.
    unsafe {
        match (*group).hosted().inbox.push(data.cast()) {
            Pushed::Seen => {}
            Pushed::Asleep => (*group).hosted().wake_host(&member_of(group)),
            // It has ended since it was announced, and the host has left its reference to the queue: that is we.
            Pushed::Closed => release::<S>(data.cast()),
        }
    }
}

unsafe fn drop_waker<S: Sleeper>(data: *const ()) {
    // SAFETY: what is dropped is a clone, and has a reference.
    unsafe { release::<S>(data.cast()) };
}
