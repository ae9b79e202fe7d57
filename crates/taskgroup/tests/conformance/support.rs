//! What several lists need: drop counters and shorthands.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how many of its guards are alive, and how many there ever were.
#[derive(Clone, Debug, Default)]
pub struct Alive {
    now: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
}

/// Alive as long as it is not dropped: move it into a child.
#[derive(Debug)]
pub struct Guard(Arc<AtomicUsize>);

impl Alive {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn guard(&self) -> Guard {
        self.now.fetch_add(1, Ordering::SeqCst);
        self.ever.fetch_add(1, Ordering::SeqCst);
        Guard(Arc::clone(&self.now))
    }

    pub fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub fn ever(&self) -> usize {
        self.ever.load(Ordering::SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
