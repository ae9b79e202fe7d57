//! `map`: over iterators and streams, in order and as completed, with failures, panics, cancels and drops in it, and
//! with items that block their thread; and `map_local`, inside the task that awaits it. Rules R1, R2, R4, R7 to R10, R12.

mod blocking;
mod cancels;
#[path = "../common/mod.rs"]
mod common;
mod completed;
mod failures;
mod in_order;
mod local;
mod local_ends;
mod ordered;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is in flight, and the most that ever was.
#[derive(Clone, Default)]
struct InFlight(Arc<(AtomicUsize, AtomicUsize)>);

struct Flight(InFlight);

impl InFlight {
    fn enter(&self) -> Flight {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Flight(self.clone())
    }

    fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}
