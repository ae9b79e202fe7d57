//! What several test programs need.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod events;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// What was reached, in order; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(Arc<Mutex<Vec<&'static str>>>);

/// Marks a step when it is dropped: the cleanup of whoever holds it.
#[derive(Debug)]
pub(crate) struct OnDrop(Steps, &'static str);

impl Steps {
    pub(crate) fn mark(&self, step: &'static str) {
        self.0.lock().unwrap().push(step);
    }

    pub(crate) fn on_drop(&self, step: &'static str) -> OnDrop {
        OnDrop(self.clone(), step)
    }

    pub(crate) fn seen(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.mark(self.1);
    }
}

/// Fails where the future would hang: a paused clock jumps to the end of this hour when nothing else is due.
pub(crate) async fn within_an_hour<T>(future: impl Future<Output = T>) -> T {
    let hour = Duration::from_secs(3600);
    tokio::time::timeout(hour, future).await.expect("it does not hang")
}

/// Runs a future to its end, and counts its polls in `polls`.
pub(crate) async fn counting_polls<T>(polls: &AtomicUsize, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls.fetch_add(1, Ordering::SeqCst);
        future.as_mut().poll(cx)
    })
    .await
}

pub(crate) fn multi_thread(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a runtime")
}
