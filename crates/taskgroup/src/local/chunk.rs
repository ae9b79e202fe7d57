//! Where the cells of a [`LocalGroup`](crate::LocalGroup) lie: many in one allocation, the *chunk*.
//!
//! Cells are short-lived, and made and freed on one thread. So a chunk is filled from its beginning to its end, and counts:
//! where all that were in it are gone it is used again, or freed. A cell that may be freed by another thread (a waker of
//! it is still about) leaves that count before, and is counted with an atomic.
//!
//! # Invariants
//!
//! 1. `home` is one for the group as long as it fills the chunk, and one for each cell that has not escaped. Only the
//!    group's thread touches it, and `filled`.
//! 2. `away` is one as long as `home` is not zero, and one for each cell that has escaped. Who brings it to zero frees the
//!    chunk.
//! 3. A living child keeps its chunk, so it holds up [`CHUNK_MAX`] bytes at most.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

use crate::sync::{AtomicU32, Ordering};

/// The first chunks of a group: most have few children, and allocators keep pieces of a thousand bytes at hand.
const CHUNK_FIRST: usize = 1024;
const FIRST_MAX: u8 = 2;
/// All others.
const CHUNK_MAX: usize = 4080;
/// What is bigger than this lies alone.
const CELL_MAX: usize = 512;
const ALIGN: usize = 8;

#[repr(C)]
pub(super) struct Chunk {
    home: Cell<u32>,
    away: AtomicU32,
    /// Up to where it is filled.
    filled: Cell<u32>,
    size: u32,
}

/// A place for a cell, and the chunk that it is in; null: it lies alone.
pub(super) type Place = (NonNull<u8>, *const Chunk);

/// The memory of one group.
pub(super) struct Memory {
    /// The chunk that is being filled.
    chunk: *const Chunk,
    /// How many there were, as far as it matters.
    chunks: u8,
    closed: bool,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { chunk: std::ptr::null(), chunks: 0, closed: false }
    }

    /// A place for a cell, from the chunk that is being filled.
    ///
    /// # Safety
    ///
    /// The caller is on the group's thread.
    #[inline]
    pub(super) unsafe fn place(&mut self, layout: Layout) -> Place {
        let size = layout.size().next_multiple_of(ALIGN);
        if !self.chunk.is_null() && layout.size() <= CELL_MAX && layout.align() <= ALIGN {
            // SAFETY: it is alive, for it is being filled (invariant 1).
            let chunk = unsafe { &*self.chunk };
            let filled = chunk.filled.get();
            if size <= (chunk.size - filled) as usize {
                chunk.filled.set(filled + size as u32);
                chunk.home.set(chunk.home.get() + 1);
                // SAFETY: within the chunk.
                return (unsafe { at(self.chunk, filled) }, self.chunk);
            }
        }
        // SAFETY: as the caller says.
        unsafe { self.place_elsewhere(layout) }
    }

    #[inline(never)]
    unsafe fn place_elsewhere(&mut self, layout: Layout) -> Place {
        if self.closed || layout.size() > CELL_MAX || layout.align() > ALIGN {
            return (alone(layout), std::ptr::null());
        }
        // SAFETY: as the caller says; the chunk, if there is one, is alive.
        unsafe {
            let next = match self.chunk.as_ref() {
                // Acquire: who brought it down to one has done with its cell.
                Some(full) if full.home.get() == 1 && full.away.load(Ordering::Acquire) == 1 => {
                    full.filled.set(size_of::<Chunk>() as u32);
                    self.chunk
                }
                full => {
                    let first = self.chunks < FIRST_MAX;
                    self.chunks += u8::from(first);
                    if full.is_some() {
                        leave(self.chunk);
                    }
                    make(if first { CHUNK_FIRST } else { CHUNK_MAX })
                }
            };
            self.chunk = next;
            self.place(layout)
        }
    }

    /// The group is gone: what it still makes lies alone.
    ///
    /// # Safety
    ///
    /// The caller is on the group's thread.
    pub(super) unsafe fn close(&mut self) {
        self.closed = true;
        let chunk = std::mem::replace(&mut self.chunk, std::ptr::null());
        if !chunk.is_null() {
            // SAFETY: as the caller says.
            unsafe { leave(chunk) };
        }
    }
}

/// A place for what lies alone.
pub(super) fn alone(layout: Layout) -> NonNull<u8> {
    // SAFETY: no cell is without a size.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

fn layout_of(size: usize) -> Layout {
    Layout::from_size_align(size, ALIGN).expect("small")
}

fn make(size: usize) -> *const Chunk {
    let chunk: NonNull<Chunk> = alone(layout_of(size)).cast();
    let (home, away) = (Cell::new(1), AtomicU32::new(1));
    let filled = Cell::new(size_of::<Chunk>() as u32);
    // SAFETY: it is ours alone, and begins with this.
    unsafe { chunk.write(Chunk { home, away, filled, size: size as u32 }) };
    chunk.as_ptr()
}

/// # Safety
///
/// The offset is within the chunk.
#[inline]
unsafe fn at(chunk: *const Chunk, offset: u32) -> NonNull<u8> {
    // SAFETY: as the caller says.
    unsafe { NonNull::new_unchecked(chunk.cast::<u8>().cast_mut().add(offset as usize)) }
}

/// One less that is at home in the chunk.
///
/// # Safety
///
/// The caller was counted in `home`, and is on the group's thread.
#[inline]
unsafe fn leave(chunk: *const Chunk) {
    // SAFETY: it is alive, for the caller is counted.
    let left = unsafe {
        let home = &(*chunk).home;
        home.set(home.get() - 1);
        home.get()
    };
    if left == 0 {
        // SAFETY: invariant 2.
        unsafe { leave_from_away(chunk) };
    }
}

/// # Safety
///
/// The caller was counted in `away`.
unsafe fn leave_from_away(chunk: *const Chunk) {
    // SAFETY: it is alive, for the caller is counted; who brings the count to zero is the last one. Acquire and Release:
    // all that was done with its cells comes before that.
    unsafe {
        let away = &(*chunk).away;
        if away.load(Ordering::Acquire) == 1 || away.fetch_sub(1, Ordering::AcqRel) == 1 {
            dealloc(chunk.cast::<u8>().cast_mut(), layout_of((*chunk).size as usize));
        }
    }
}

/// A cell may be freed by another thread from now on.
///
/// # Safety
///
/// The caller is on the group's thread, and the cell alive in this chunk.
pub(super) unsafe fn escape(chunk: *const Chunk) {
    // SAFETY: alive, for the cell is counted.
    unsafe {
        // Relaxed: the one for `home`, or for a cell that has escaped, is still there.
        (*chunk).away.fetch_add(1, Ordering::Relaxed);
        leave(chunk);
    }
}

/// Frees the place of a cell. `escaped`: see [`escape`]; if it has not, the caller is on the group's thread.
///
/// # Safety
///
/// It was placed with this layout, in this chunk. Nobody looks at it any more.
#[inline]
pub(super) unsafe fn free(place: *mut u8, chunk: *const Chunk, layout: Layout, escaped: bool) {
    // SAFETY: as the caller says.
    unsafe {
        if chunk.is_null() {
            dealloc(place, layout);
        } else if escaped {
            leave_from_away(chunk);
        } else {
            leave(chunk);
        }
    }
}
