//! The state bits of a node. Each is set and cleared by one party, in a way that its line says.

use crate::sync::{AtomicU32, Ordering};

/// Marked cancelled. Set once under the lock, after the cause; never cleared.
pub(super) const CANCELLED: u32 = 1;
/// Admits no member any more. Set under the lock.
pub(super) const CLOSED: u32 = 1 << 1;
/// A group whose `run` or `join` has been polled and has not resolved.
pub(super) const RUNNING: u32 = 1 << 2;
/// A group with a failure that its `run` or `join` has not returned yet (R12).
pub(super) const UNDELIVERED: u32 = 1 << 3;
/// Has, or has had, members. Set under the lock.
pub(super) const PARENT: u32 = 1 << 4;
/// Admits no background member any more: nothing but those, or nothing, is left. Set under the lock.
pub(super) const ENDING: u32 = 1 << 5;
/// A cooperative task: cancelled, it is not cut, and neither is anything inside (R15). Set before it is shared.
pub(super) const COOPERATIVE: u32 = 1 << 6;
/// A shield has stood below, with no task between. Never cleared.
pub(super) const SHIELDED: u32 = 1 << 7;
/// A scope inside a cooperative task or a blocking closure, which asks its host whether it is cancelled.
pub(super) const IN_UNCUT: u32 = 1 << 8;
/// Its grace period was over, and what it owned was dropped. Never cleared.
pub(super) const FORCED: u32 = 1 << 9;
/// The own deadline of this group has cut a child (R19). Never cleared.
pub(super) const CUT: u32 = 1 << 10;
/// A token without handles. Set under the lock.
pub(super) const ABANDONED: u32 = 1 << 11;
/// Has, or has had, tokens below. Set under the lock.
pub(super) const TOKENS: u32 = 1 << 12;
/// A group with a grace period has stood below, with no task between. Never cleared.
pub(super) const GRACED: u32 = 1 << 13;
/// A shield whose waker has been woken and that has not been polled since.
pub(super) const WOKEN: u32 = 1 << 14;
/// A region that lists such a shield somewhere below. Set and cleared under the lock.
pub(super) const WOKEN_BELOW: u32 = 1 << 15;
/// A task that has come to a wait. Set by whoever polls it; never cleared.
pub(super) const WAITED: u32 = 1 << 16;
/// A child that does not keep its group open. Set and cleared under the lock of the group that it enters.
pub(super) const BACKGROUND: u32 = 1 << 17;
/// A child that stands under a limit. Set before it is shared.
pub(super) const LIMITED: u32 = 1 << 18;
/// Such a child that waits for its turn. Set and cleared by whoever queues and launches it.
pub(super) const QUEUED: u32 = 1 << 19;
/// Something else than a child that keeps a group open as one: a scope, shield or pending start that was left to it by
/// a group that was dropped. Set and cleared as `BACKGROUND`.
pub(super) const COUNTED: u32 = 1 << 20;
/// A group whose children are polled by its own `run` or `join`: a frozen region is polled for them (R12). Set
/// before it is shared.
pub(super) const HOSTED: u32 = 1 << 21;
/// Polls that were given and not used are counted above the flags: a combinator with a budget of its own may use a
/// poll for something else.
const TRY: u32 = 1 << 22;
/// A `run` that is not polled at all gets no more polls than this for its failures: in each, other code runs.
pub(super) const DELIVERY_TRIES: u32 = 16;
/// For a shield more is at stake: hundreds of futures that wake themselves may stand before it.
pub(super) const SHIELD_TRIES: u32 = 256;

/// The bits, and a small count above them.
#[derive(Debug)]
pub(super) struct Flags(AtomicU32);

impl Default for Flags {
    fn default() -> Self {
        Self(AtomicU32::new(0))
    }
}

impl Flags {
    pub(super) fn of(flags: u32) -> Self {
        Self(AtomicU32::new(flags))
    }

    /// Whether any of these is set.
    #[inline]
    pub(super) fn has(&self, flags: u32) -> bool {
        self.which(flags) != 0
    }

    /// Which of these are set.
    #[inline]
    pub(super) fn which(&self, flags: u32) -> u32 {
        // Acquire, paired with the Release that sets a flag: who sees CANCELLED may act on what the
        // canceller did before (`data = 1; cancel()` against `if is_cancelled() { read data }`).
        self.0.load(Ordering::Acquire) & flags
    }

    pub(super) fn has_all(&self, flags: u32) -> bool {
        self.which(flags) == flags
    }

    pub(super) fn set(&self, flags: u32) {
        self.0.fetch_or(flags, Ordering::Release);
    }

    /// Sets flags. True: all of them were set before.
    pub(super) fn set_all(&self, flags: u32) -> bool {
        self.0.fetch_or(flags, Ordering::Release) & flags == flags
    }

    pub(super) fn clear(&self, flags: u32) {
        self.0.fetch_and(!flags, Ordering::Release);
    }

    /// Clears a flag. True: it was set.
    pub(super) fn take(&self, flag: u32) -> bool {
        // Acquire: what was done before it was set is seen by the poll that follows.
        self.0.fetch_and(!flag, Ordering::AcqRel) & flag != 0
    }

    /// Counts a poll that was given and not used. False: that was the last one.
    pub(super) fn try_again(&self, most: u32) -> bool {
        self.0.fetch_add(TRY, Ordering::AcqRel) / TRY + 1 < most
    }

    pub(super) fn tries_left(&self, most: u32) -> bool {
        self.0.load(Ordering::Acquire) / TRY < most
    }

    pub(super) fn forget_tries(&self) {
        self.0.fetch_and(TRY - 1, Ordering::AcqRel);
    }
}
