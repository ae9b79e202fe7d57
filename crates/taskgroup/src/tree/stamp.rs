//! The time, read as seldom as may be: a reading costs as much as a sixth of a short child's whole life.
//!
//! A reading serves all spawns of one turn: nothing of what it stands for has waited in between.
//!
//! # Invariants
//!
//! 1. A kept reading was made on this thread, and no node has been entered or left on it since. So inside a
//!    node it was made in the same poll.
//! 2. Outside every node it was made in the same task of the runtime; whatever that task waited for since, no
//!    child was polled here meanwhile. That is less than 1. says, and the bound of 3 makes up for it.
//! 3. It serves [`SHARED_MAX`] times at most.
//! 4. Plain threads, `block_on` and blocking closures, whose turns may last for hours, keep none.

use std::cell::Cell;

use tokio::task;
use tokio::time::Instant;

use super::{NodeKind, with_current};

/// How often one reading may serve.
const SHARED_MAX: u8 = 16;

struct Kept {
    at: Cell<Option<Instant>>,
    /// The runtime's task, if the reading was made outside every node.
    outside: Cell<Option<task::Id>>,
    /// How often it may still serve.
    left: Cell<u8>,
}

std::thread_local! {
    static KEPT: Kept = const { Kept { at: Cell::new(None), outside: Cell::new(None), left: Cell::new(0) } };
}

/// A poll begins or ends on this thread.
#[inline]
pub(crate) fn forget() {
    KEPT.with(|kept| kept.left.set(0));
}

/// About now: the time of this turn.
#[inline]
pub(crate) fn stamp() -> Instant {
    let shared = KEPT.with(|kept| {
        let left = kept.left.get().checked_sub(1)?;
        let outside = kept.outside.get();
        if outside.is_some() && outside != task::try_id() {
            return None;
        }
        kept.left.set(left);
        kept.at.get()
    });
    shared.unwrap_or_else(read)
}

#[cold]
fn read() -> Instant {
    let at = Instant::now();
    let inside = with_current(|node| node.map(|node| node.node().kind()));
    let outside = if inside.is_none() { task::try_id() } else { None };
    let keeps = match inside {
        Some(kind) => kind != NodeKind::Blocking,
        None => outside.is_some(),
    };
    KEPT.with(|kept| {
        kept.at.set(Some(at));
        kept.outside.set(outside);
        kept.left.set(if keeps { SHARED_MAX - 1 } else { 0 });
    });
    at
}
