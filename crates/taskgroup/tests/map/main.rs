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

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::within_an_hour;
use futures::FutureExt;
use taskgroup::ErrorGroup;

type Outcome<T> = Result<T, &'static str>;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn double(number: usize) -> Outcome<usize> {
    Ok(number * 2)
}

/// Who failed, each with the way to it.
fn paths<E: 'static>(errors: &ErrorGroup<E>) -> Vec<&str> {
    errors.failures().iter().map(|failure| failure.path()).collect()
}

/// The payload of the panic with which it ends.
async fn payload<F: Future>(future: F) -> Box<dyn Any + Send> {
    AssertUnwindSafe(within_an_hour(future)).catch_unwind().await.err().expect("it panics")
}

fn text(payload: Box<dyn Any + Send>) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().expect("a text")
}

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
