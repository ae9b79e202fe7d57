//! An allocator that counts, while it is asked to.
//!
//! When it does not count it costs one load of a flag that is not written meanwhile, the same for both sides of
//! a comparison: so the works that measure time may run in the same program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Signed: what was allocated before the counting began may be freed during it.
static BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

// Relaxed everywhere: the one who reads the counts has waited for the tasks that allocated, and that
// waiting orders what they did before the reading.
fn count(calls: u64, bytes: i64) {
    if ON.load(Ordering::Relaxed) {
        CALLS.fetch_add(calls, Ordering::Relaxed);
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).expect("no layout is larger than isize::MAX")
}

// SAFETY: every call goes to `System` with the arguments it came with; counting neither allocates nor
// touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, signed(size) - signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The counting, from `begin` on until it is dropped. One at a time.
pub(crate) struct Count(());

impl Count {
    pub(crate) fn begin() -> Self {
        CALLS.store(0, Ordering::Relaxed);
        BYTES.store(0, Ordering::Relaxed);
        ON.store(true, Ordering::Relaxed);
        Self(())
    }

    /// How many allocations there have been, growing an old one included.
    pub(crate) fn calls(&self) -> u64 {
        CALLS.load(Ordering::Relaxed)
    }

    /// How many bytes more are in use than at the beginning.
    pub(crate) fn bytes(&self) -> i64 {
        BYTES.load(Ordering::Relaxed)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        ON.store(false, Ordering::Relaxed);
    }
}
