//! What several test programs need.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod events;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how many of its guards are alive, and how many there ever were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alive {
    now: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
}

/// Alive as long as it is not dropped: move it into a child.
#[derive(Debug)]
pub(crate) struct Guard(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn guard(&self) -> Guard {
        self.now.fetch_add(1, Ordering::SeqCst);
        self.ever.fetch_add(1, Ordering::SeqCst);
        Guard(Arc::clone(&self.now))
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn ever(&self) -> usize {
        self.ever.load(Ordering::SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn multi_thread(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a runtime")
}
