//! What a map is to do, until it is polled first; and what is under way then.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::worker::{Results, Shared};
use crate::error::ErrorGroup;
use crate::group::Builder;
use crate::lost;
use crate::sync::Arc;
use crate::task::{Panic, catch};

pub(super) struct Setup<S, F, E> {
    pub(super) source: Pin<Box<S>>,
    pub(super) limit: usize,
    pub(super) make: F,
    pub(super) builder: Builder<E>,
    pub(super) location: &'static Location<'static>,
}

/// What came of the group, or the panic that it resumes (R10).
pub(super) type Joined<E> = Result<Result<(), ErrorGroup<E>>, Panic>;

/// A map that has begun. The workers, which `join` owns, are dropped before what they share.
pub(super) struct Running<S: Stream, F, T, E: Send + 'static> {
    pub(super) join: Pin<Box<dyn Future<Output = Result<(), ErrorGroup<E>>> + Send>>,
    pub(super) shared: Arc<Shared<S, F, T, E>>,
}

impl<S, F, E> Setup<S, F, E>
where
    S: Stream,
    E: Send + 'static,
{
    #[track_caller]
    pub(super) fn new(source: S, limit: usize, make: F) -> Self {
        assert!(limit > 0, "a map with a limit of 0 would never start an item: the limit is at least 1");
        let (builder, location) = (Builder::new(), Location::caller());
        Self { source: Box::pin(source), limit, make, builder, location }
    }

    /// Opens the group; `join` spawns the first workers when it is polled.
    pub(super) fn begin<Fut, T>(self, results: Results<T>) -> Running<S, F, T, E>
    where
        S: Stream<Item: Send> + Send + 'static,
        F: Fn(S::Item) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        let group = self.builder.build_at("map", self.location);
        let shared = Shared::new(self.source, self.limit, self.make, results, group.spawner(), self.location);
        let first = Arc::clone(&shared);
        Running { join: Box::pin(group.run_at(move || first.begin(), self.location)), shared }
    }
}

impl<S, F, T, E> Running<S, F, T, E>
where
    S: Stream,
    E: Send + 'static,
{
    /// Until all workers have ended.
    pub(super) fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Joined<E>> {
        match catch(|| self.join.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }

    /// Goes on panicking, if the group did, when nothing of the map is left.
    pub(super) fn unless_panicked(self, joined: Joined<E>) -> (Self, Result<(), ErrorGroup<E>>) {
        match joined {
            Ok(joined) => (self, joined),
            Err(panic) => {
                self.clear();
                panic.resume()
            }
        }
    }

    /// Drops what is left: items that were not started, the source.
    pub(super) fn clear(self) {
        drop(self.join);
        drop_guarded(self.shared);
    }
}

/// Drops values of a user's; a destructor that panics must not stop what comes next.
pub(super) fn drop_guarded<V>(value: V) {
    if let Err(panic) = catch(|| drop(value)) {
        lost::report(format_args!("a destructor {panic}"));
    }
}
