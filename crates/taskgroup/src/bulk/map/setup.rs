//! What a map is to do, until it is polled first; and what is under way then.

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::crew::{AllThreads, Crew, InTask, LocalCrew, MapKind};
use super::worker::{Results, Shared, Worker};
use crate::error::ErrorGroup;
use crate::group::{Builder, Spawner};
use crate::local::LocalGroup;
use crate::lost;
use crate::sync::Arc;
use crate::task::{Panic, catch};

/// What is to be done with which items, as it was said.
pub(super) struct Plan<S, F> {
    pub(super) source: Pin<Box<S>>,
    pub(super) limit: usize,
    pub(super) make: F,
    pub(super) location: &'static Location<'static>,
}

pub(super) struct Setup<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> {
    plan: Plan<S, F>,
    builder: Builder<E>,
    /// What is to be known of the types in order to begin was known where the map was made.
    begin: Begin<S, F, T, E, K>,
}

type Begin<S, F, T, E, K> = fn(Setup<S, F, T, E, K>, Results<T>) -> Running<S, F, T, E, K>;

/// What came of the group, or the panic that it resumes (R10).
pub(super) type Joined<E> = Result<Result<(), ErrorGroup<E>>, Panic>;

/// A map that has begun. The workers, which `join` owns, are dropped before what they share.
pub(super) struct Running<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> {
    join: K::Join,
    pub(super) shared: Arc<Shared<S, F, T, E, K::Crew>>,
}

impl<S, F, T, E> Setup<S, F, T, E, AllThreads>
where
    S: Stream,
    E: Send + 'static,
{
    #[track_caller]
    pub(super) fn on_all_threads<Fut>(source: S, limit: usize, make: F) -> Self
    where
        S: Stream<Item: Send> + Send + 'static,
        F: Fn(S::Item) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        Self::new(source, limit, make, |setup, results| {
            let location = setup.plan.location;
            let group = setup.builder.build_at("map", location);
            let crew = group.spawner();
            let threads = crew.threads();
            let spawn = |shared: &Arc<Shared<S, F, T, E, Spawner<E>>>, id| {
                let worker = Worker::<_, _, Fut, _, _, _>::new(shared, id);
                shared.crew.spawn_at(worker, shared.location);
            };
            let shared = Shared::new(setup.plan, threads, results, crew, spawn);
            let workers = Arc::clone(&shared);
            let join = async move {
                let exit = group.run_at(|| workers.begin(), location).await;
                workers.set_exit(exit);
            };
            Running { join: Box::pin(join), shared }
        })
    }
}

impl<'env, S, F, T, E> Setup<S, F, T, E, InTask<'env>>
where
    S: Stream + 'env,
    T: 'env,
    E: Send + 'static,
{
    #[track_caller]
    pub(super) fn in_task<Fut>(source: S, limit: usize, make: F) -> Self
    where
        F: Fn(S::Item) -> Fut + 'env,
        Fut: Future<Output = Result<T, E>> + 'env,
    {
        Self::new(source, limit, make, |setup, results| {
            let location = setup.plan.location;
            let group = LocalGroup::build_at(setup.builder, "map", location);
            let crew = LocalCrew::new(group.spawner());
            let spawn = |shared: &Arc<Shared<S, F, T, E, LocalCrew<'env, E>>>, id| {
                let worker = Worker::<_, _, Fut, _, _, _>::new(shared, id);
                shared.crew.spawner.spawn_at(worker, shared.location);
            };
            let shared = Shared::new(setup.plan, 1, results, crew, spawn);
            let workers = Arc::clone(&shared);
            let join = async move {
                let exit = group.run_at(|| workers.begin(), location).await;
                workers.set_exit(exit);
            };
            Running { join: Box::pin(join), shared }
        })
    }
}

impl<S, F, T, E, K> Setup<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
{
    #[track_caller]
    fn new(source: S, limit: usize, make: F, begin: Begin<S, F, T, E, K>) -> Self {
        assert!(limit > 0, "a map with a limit of 0 would never start an item: the limit is at least 1");
        let plan = Plan { source: Box::pin(source), limit, make, location: Location::caller() };
        Self { plan, builder: Builder::new(), begin }
    }

    pub(super) fn set(self, set: impl FnOnce(Builder<E>) -> Builder<E>) -> Self {
        Self { builder: set(self.builder), ..self }
    }

    /// Opens the group; `join` spawns the first workers when it is polled.
    pub(super) fn begin(self, results: Results<T>) -> Running<S, F, T, E, K> {
        (self.begin)(self, results)
    }
}

impl<S, F, T, E, K> Running<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
{
    /// Until all workers have ended.
    pub(super) fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Joined<E>> {
        self.shared.crew.begin();
        let polled = match catch(|| Pin::new(&mut self.join).poll(cx)) {
            Ok(polled) => polled.map(|()| Ok(self.shared.take_exit())),
            Err(panic) => Poll::Ready(Err(panic)),
        };
        self.shared.crew.resume();
        polled
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
