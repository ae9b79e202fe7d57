//! What all jobs are told, and their clock.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The orders of the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    /// End, for this cause.
    pub(super) ending: Option<Arc<str>>,
    /// End at once.
    pub(super) is_hurried: bool,
    /// Stand still.
    pub(super) is_suspended: bool,
    /// From when on nobody waits for the console: soon after everything was to end at once.
    pub(super) gives_up_at: Option<Instant>,
    /// How long jobs have to end at most, whatever they are given otherwise.
    pub(super) grace_max: Option<Duration>,
    /// For how long the run has stood still altogether.
    pub(super) paused: Duration,
}

impl Orders {
    /// How long a job has to end that is given so long.
    pub(super) fn grace(&self, own: Duration) -> Duration {
        self.grace_max.map_or(own, |most| own.min(most))
    }
}

/// A job's view of the orders.
#[derive(Clone, Debug)]
pub(super) struct Told(watch::Receiver<Orders>);

impl Told {
    pub(super) fn new(orders: watch::Receiver<Orders>) -> Self {
        Self(orders)
    }

    pub(super) fn now(&mut self) -> Orders {
        self.0.borrow_and_update().clone()
    }

    /// Until there are others. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            pending::<()>().await;
        }
    }

    /// Until nobody is to wait for the console any more. Cancel safe.
    pub(super) async fn given_up(mut self) {
        let orders =
            self.0.wait_for(|orders| orders.gives_up_at.is_some()).await.map(|orders| orders.clone());
        match orders.ok().and_then(|orders| orders.gives_up_at) {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }
}

/// A moment in the time of the run, which stands still while that is suspended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    at: Instant,
    paused: Duration,
}

impl Due {
    /// So long from now; `None` if that is beyond all time.
    pub(super) fn after(duration: Duration, orders: &Orders) -> Option<Self> {
        Instant::now().checked_add(duration).map(|at| Self { at, paused: orders.paused })
    }

    /// Until then, under these orders: to be called anew when there are others. `None` is never.
    pub(super) async fn reached(due: Option<Self>, orders: &Orders) {
        match due {
            Some(due) if !orders.is_suspended => sleep_until(due.at + (orders.paused - due.paused)).await,
            _ => pending().await,
        }
    }
}
