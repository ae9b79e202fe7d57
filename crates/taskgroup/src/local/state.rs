//! The state word of a local child.
//!
//! Every transition is a method; each returns what its caller now owes. The host writes all bits but `UNWANTED`,
//! `GONE` and `WAITED`, which the handle writes. Where host and handle are on one thread, plain loads and stores do.

use std::marker::PhantomData;

use super::kind::Host;
use crate::sync::{AtomicU32, Ordering};

/// Has been polled at least once.
const STARTED: u32 = 1;
/// The handle has been dropped: whoever finishes the child drops the value too.
const UNWANTED: u32 = 1 << 1;
/// The outcome is stored: from now on it is the handle's, also to drop.
const SETTLED: u32 = 1 << 2;
/// Somebody waits for `DONE`.
const WAITED: u32 = 1 << 3;
/// The future has been dropped and the outcome stored. Final.
const DONE: u32 = 1 << 4;
/// The handle looks at the cell no more.
const GONE: u32 = 1 << 5;
/// The handle has a reference of its own. Until then it lives on the host's, which has one until the child has ended.
const OWNS: u32 = 1 << 6;

pub(super) struct State<H> {
    word: AtomicU32,
    /// How many references there are: the host's, one of each cloned waker, one of the handle where it `OWNS` one.
    refs: AtomicU32,
    host: PhantomData<fn() -> H>,
}

impl<H: Host> State<H> {
    /// With the host's reference.
    pub(super) fn new() -> Self {
        Self { word: AtomicU32::new(0), refs: AtomicU32::new(1), host: PhantomData }
    }

    #[inline]
    fn set(&self, bits: u32) -> u32 {
        if H::SHARED {
            // Release: a handle that sees SETTLED or DONE sees the outcome. Acquire: the waker of a handle that has set
            // WAITED is seen by who looks for it.
            return self.word.fetch_or(bits, Ordering::AcqRel);
        }
        let before = self.word.load(Ordering::Relaxed);
        // Relaxed: host and handle are on one thread, and nobody else looks.
        self.word.store(before | bits, Ordering::Relaxed);
        before
    }

    /// It is polled, or ended unpolled. True: it has never been polled before.
    #[inline]
    pub(super) fn begin_poll(&self) -> bool {
        self.word.load(Ordering::Relaxed) & STARTED == 0 && self.set(STARTED) & STARTED == 0
    }

    /// The stage holds the outcome. True: no handle is left, the caller drops the value.
    #[inline]
    #[must_use]
    pub(super) fn settle(&self) -> bool {
        self.set(SETTLED) & UNWANTED != 0
    }

    /// It has ended. True: somebody waits and must be woken.
    #[inline]
    #[must_use]
    pub(super) fn finish(&self) -> bool {
        self.set(DONE) & WAITED != 0
    }

    /// The handle is being dropped. True: the outcome is stored, so the value is the handle's to drop.
    #[inline]
    #[must_use]
    pub(super) fn renounce(&self) -> bool {
        self.set(UNWANTED) & SETTLED != 0
    }

    /// Whether the handle looks at the cell no more.
    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        // Acquire: the host may free what the handle has looked at.
        self.word.load(Ordering::Acquire) & GONE != 0
    }

    /// The handle is gone. True: it has a reference to give up.
    #[inline]
    #[must_use]
    pub(super) fn leave(&self) -> bool {
        self.set(GONE) & OWNS != 0
    }

    /// A reference of a refused child goes to its handle.
    pub(super) fn give_to_handle(&self) {
        self.set(OWNS);
    }

    /// The child has ended, the host is about to give up its reference: the handle, if it is still there, has one of its
    /// own from now on.
    pub(super) fn keep_for_handle(&self) {
        if self.is_gone() {
            return;
        }
        self.retain();
        if self.set(OWNS) & GONE != 0 {
            // It is not the last one: the host has its own.
            self.refs.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Whether the host's reference is the only one, and no handle lives on it.
    #[inline]
    pub(super) fn is_host_alone(&self) -> bool {
        // Acquire: who had the others has done with the cell.
        self.is_gone() && self.refs.load(Ordering::Acquire) == 1
    }

    /// One reference more.
    pub(super) fn retain(&self) {
        // Relaxed: who takes one has one, or is lent one.
        self.refs.fetch_add(1, Ordering::Relaxed);
    }

    /// One reference less. True: it was the last, and the caller frees the cell.
    #[must_use]
    pub(super) fn release(&self) -> bool {
        // Acquire and Release: all that others have done with the cell comes before it is freed. Who has the only one need
        // not count: nobody can take another.
        self.refs.load(Ordering::Acquire) == 1 || self.refs.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Announces a waiter that has registered. True: it has ended already, nobody will wake the waiter.
    #[must_use]
    pub(super) fn announce_waiter(&self) -> bool {
        self.set(WAITED) & DONE != 0
    }

    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.word.load(Ordering::Acquire) & DONE != 0
    }
}
