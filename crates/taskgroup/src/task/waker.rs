//! A waker that borrows the cell it wakes: a poll costs no count of the cell, unless its future keeps the waker.
//!
//! The access rule: the pointer of every [`RawWaker`] made here is that of an `Arc<W>`. A clone owns one count; the
//! borrowed one owns none, and is never dropped (W1).

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};

use crate::sync::Arc;

/// As good as `Waker::from(Arc::clone(cell))`, while it borrows the cell.
pub(super) struct BorrowedWaker<'a> {
    waker: ManuallyDrop<Waker>,
    borrowed: PhantomData<&'a ()>,
}

impl<'a> BorrowedWaker<'a> {
    #[inline]
    pub(super) fn new<W: Wake + Send + Sync + 'static>(cell: &'a Arc<W>) -> Self {
        // SAFETY: W1: the pointer is the cell's, and `ManuallyDrop` keeps this one, which owns no count, from being
        // dropped; the contract of `RawWaker` is that of the functions below, and a `W` may be used by any thread.
        let waker = unsafe { Waker::from_raw(RawWaker::new(Arc::as_ptr(cell).cast(), vtable::<W>())) };
        Self { waker: ManuallyDrop::new(waker), borrowed: PhantomData }
    }
}

impl Deref for BorrowedWaker<'_> {
    type Target = Waker;

    #[inline]
    fn deref(&self) -> &Waker {
        &self.waker
    }
}

fn vtable<W: Wake + Send + Sync + 'static>() -> &'static RawWakerVTable {
    &const { RawWakerVTable::new(clone::<W>, wake::<W>, wake_by_ref::<W>, release::<W>) }
}

unsafe fn clone<W: Wake + Send + Sync + 'static>(cell: *const ()) -> RawWaker {
    // SAFETY: W1: the pointer is an `Arc`'s, whose count whoever holds this waker keeps above zero.
    unsafe { Arc::increment_strong_count(cell.cast::<W>()) };
    RawWaker::new(cell, vtable::<W>())
}

unsafe fn wake<W: Wake + Send + Sync + 'static>(cell: *const ()) {
    // SAFETY: W1: called on a clone, whose count this takes over.
    unsafe { Arc::from_raw(cell.cast::<W>()) }.wake();
}

unsafe fn wake_by_ref<W: Wake + Send + Sync + 'static>(cell: *const ()) {
    // SAFETY: W1: the count stays with the waker, so this `Arc` must not be dropped.
    let cell = ManuallyDrop::new(unsafe { Arc::from_raw(cell.cast::<W>()) });
    cell.wake_by_ref();
}

unsafe fn release<W: Wake + Send + Sync + 'static>(cell: *const ()) {
    // SAFETY: W1: called on a clone, whose count this is.
    drop(unsafe { Arc::from_raw(cell.cast::<W>()) });
}

#[cfg(all(test, not(taskgroup_loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn clones_own_a_count_each_and_the_borrowed_one_none() {
        let count = Arc::new(Count::default());
        let kept = {
            let borrowed = BorrowedWaker::new(&count);
            borrowed.wake_by_ref();
            assert_eq!(Arc::strong_count(&count), 1);
            let kept = [borrowed.clone(), borrowed.clone()];
            assert!(kept[0].will_wake(&borrowed));
            kept
        };
        assert_eq!(Arc::strong_count(&count), 3);
        let [one, other] = kept;
        one.wake();
        other.wake_by_ref();
        assert_eq!((Arc::strong_count(&count), count.0.load(Ordering::Relaxed)), (2, 3));
        drop(other);
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
