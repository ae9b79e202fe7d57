//! The state word of a cell: its stage, two flags, and the thread that owns it.
//!
//! Every transition is a method; each returns what its caller now owes.

use crate::sync::{AtomicU64, Ordering};
use crate::tree::Activity;

const STAGE: u64 = 0b11;
/// The future is in its place and nobody polls it.
const IDLE: u64 = 0;
/// The owner polls the future, or ends the cell after its last poll.
const POLLING: u64 = 1;
/// The owner drops the future without having polled it.
const DROPPING: u64 = 2;
/// The future has been dropped and the outcome stored. Final.
const DONE: u64 = 3;
/// Somebody wants the future dropped when the poll under way returns.
const DOOMED: u64 = 1 << 2;
/// Has been polled at least once.
const STARTED: u64 = 1 << 3;
/// Somebody waits for DONE: `finish` must look for wakers and latches.
const WAITED: u64 = 1 << 4;
/// The handle has been dropped: whoever finishes the cell drops the value too.
const UNWANTED: u64 = 1 << 5;
/// The outcome is stored: from now on it is the handle's, also to drop.
const SETTLED: u64 = 1 << 6;
/// Woken since its last poll began. Idle, it stands in its group's queue of those who are ready; polling, it goes
/// there when the poll is over.
const WOKEN: u64 = 1 << 7;
/// What outlives a change of owner.
const KEPT: u64 = WAITED | UNWANTED;
/// The owner's thread token stands above the flags.
const OWNER_SHIFT: u32 = 32;

#[derive(Debug)]
pub(crate) struct State(AtomicU64);

/// What `start_poll` found.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StartPoll {
    /// The caller owns the stage and must call `end_poll` or `finish`. `first`: it was never polled before.
    Granted { first: bool },
    /// The cell has ended, or somebody else is at it.
    Ended,
}

/// What `end_poll` found.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EndPoll {
    /// The caller has given the stage back.
    Idle,
    /// So it has; the cell was woken meanwhile, and the caller must put it into the queue.
    Woken,
    /// Somebody wants the future dropped: the caller still owns the stage, must end the cell and `finish`.
    Doomed,
}

/// What `claim_drop` found.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClaimDrop {
    /// The caller owns the stage, must end the cell and `finish`. `started`: it has been polled.
    Granted { started: bool },
    /// The thread with token `owner` has it; if it is polling, it will drop the future after that poll.
    Busy { owner: u32 },
    /// It has ended.
    Ended,
}

/// What `wake` found.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WakeUp {
    /// The caller must put the cell into the queue.
    Enqueue,
    /// Somebody else sees to it, or nobody needs to any more.
    Nothing,
}

impl State {
    /// Nobody has woken it: who polls it first does so without being asked.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(IDLE))
    }

    /// Of a cell that is not shared yet: it is going to be put into the queue.
    pub(crate) fn set_woken(&self) {
        // Relaxed: the queue's lock publishes it.
        self.0.store(IDLE | WOKEN, Ordering::Relaxed);
    }

    /// The future may get on.
    pub(crate) fn wake(&self) -> WakeUp {
        // A read-modify-write even if the bit is set (`ready = true; wake()` against a poll that a former wake-up
        // brought about and that reads `ready`): Release, and `start_poll` acquires from whoever came before it.
        let before = self.0.fetch_or(WOKEN, Ordering::AcqRel);
        match before & WOKEN == 0 && before & STAGE == IDLE {
            true => WakeUp::Enqueue,
            false => WakeUp::Nothing,
        }
    }

    pub(crate) fn start_poll(&self, token: u32) -> StartPoll {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            if now & STAGE != IDLE {
                return StartPoll::Ended;
            }
            let next = (now & KEPT) | POLLING | STARTED | u64::from(token) << OWNER_SHIFT;
            // Acquire: the poll before this one, on another thread, left the future as we find it.
            match self.0.compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return StartPoll::Granted { first: now & STARTED == 0 },
                Err(seen) => now = seen,
            }
        }
    }

    pub(crate) fn end_poll(&self) -> EndPoll {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            if now & DOOMED != 0 {
                return EndPoll::Doomed;
            }
            let next = (now & (KEPT | STARTED | WOKEN)) | IDLE;
            // Release: what this poll did to the future is there for whoever polls or drops it next.
            match self.0.compare_exchange_weak(now, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) if now & WOKEN != 0 => return EndPoll::Woken,
                Ok(_) => return EndPoll::Idle,
                Err(seen) => now = seen,
            }
        }
    }

    pub(crate) fn claim_drop(&self, token: u32) -> ClaimDrop {
        let mut now = self.0.load(Ordering::Acquire);
        loop {
            let next = match now & STAGE {
                IDLE => (now & KEPT) | DROPPING | u64::from(token) << OWNER_SHIFT,
                POLLING => now | DOOMED,
                DROPPING => return ClaimDrop::Busy { owner: owner(now) },
                _ => return ClaimDrop::Ended,
            };
            // Acquire: as in `start_poll`. Dooming needs no ordering of its own: the poller only reads a bit.
            match self.0.compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) if now & STAGE == IDLE => {
                    return ClaimDrop::Granted { started: now & STARTED != 0 };
                }
                Ok(_) => return ClaimDrop::Busy { owner: owner(now) },
                Err(seen) => now = seen,
            }
        }
    }

    /// Claims a cell that has never been polled. True: the caller owns the stage, must end the cell and `finish`.
    #[must_use]
    pub(crate) fn claim_unstarted(&self, token: u32) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        while now & (STAGE | STARTED) == IDLE {
            let next = (now & KEPT) | DROPPING | u64::from(token) << OWNER_SHIFT;
            // Acquire: the future is found as its spawner made it.
            match self.0.compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
        false
    }

    /// The stage holds the outcome. True: no handle is left, the caller drops the value.
    #[must_use]
    pub(crate) fn settle(&self) -> bool {
        // Release: a handle that is dropped from now on sees the outcome it drops.
        self.0.fetch_or(SETTLED, Ordering::AcqRel) & UNWANTED != 0
    }

    /// The cell has ended. True: somebody waits and must be woken.
    #[must_use]
    pub(crate) fn finish(&self) -> bool {
        // Release: `is_done` on another thread happens after the drop of the future and sees the outcome.
        // Acquire: a waiter's registration is seen by who reads its WAITED bit here.
        let before = self.0.swap(DONE, Ordering::AcqRel);
        debug_assert!(matches!(before & STAGE, POLLING | DROPPING), "finished by its owner, once");
        before & WAITED != 0
    }

    /// The handle is being dropped. True: the outcome is stored, so the value is the handle's to drop.
    #[must_use]
    pub(crate) fn renounce(&self) -> bool {
        let before = self.0.fetch_or(UNWANTED, Ordering::AcqRel);
        before & SETTLED != 0 || before & STAGE == DONE
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & STAGE == DONE
    }

    /// For whoever looks on: it may have changed when the answer is there.
    pub(crate) fn activity(&self) -> Activity {
        match self.0.load(Ordering::Acquire) & STAGE {
            IDLE => Activity::Idle,
            POLLING => Activity::Polled,
            _ => Activity::Ended,
        }
    }

    /// Announces a waiter that has registered. True: it has ended already, nobody will wake the waiter.
    #[must_use]
    pub(crate) fn announce_waiter(&self) -> bool {
        self.0.fetch_or(WAITED, Ordering::AcqRel) & STAGE == DONE
    }
}

fn owner(word: u64) -> u32 {
    (word >> OWNER_SHIFT) as u32
}
