//! Children that sleep until they are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the children that have been polled: only then do they sleep.
#[derive(Clone, Debug, Default)]
pub(super) struct Sleepers(Arc<AtomicUsize>);

impl Sleepers {
    /// Sleeps for ever. No timer: the wheel would cost both sides the same, and hide the difference.
    pub(super) async fn sleep(self) -> Result<(), taskgroup::Error> {
        self.0.fetch_add(1, Ordering::Release);
        std::future::pending().await
    }

    /// Waits until `n` sleep.
    pub(super) async fn all_asleep(&self, n: usize) {
        while self.0.load(Ordering::Acquire) < n {
            tokio::task::yield_now().await;
        }
    }
}
