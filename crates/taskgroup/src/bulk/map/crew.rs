//! Where the items of a map are run: who polls its workers.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use crate::error::ErrorGroup;
use crate::group::Spawner;
use crate::local::LocalSpawner;
use crate::task::{Panic, Problem};
use crate::tree;

/// On all of the runtime's threads: where [`map`](crate::map()) runs its items.
pub struct AllThreads(());

/// Inside the task that awaits it: where [`map_local`](crate::map_local) runs its items, which may borrow from `'env`.
pub struct InTask<'env>(PhantomData<fn(&'env ()) -> &'env ()>);

/// Where a [`Map`](crate::Map) runs its items: [`AllThreads`] or [`InTask`].
pub trait MapKind<E: 'static>: Kind<E, Join: Future<Output = ()> + Unpin, Crew: Crew<E>> {}

impl<E: Send + 'static> MapKind<E> for AllThreads {}
impl<E: Send + 'static> MapKind<E> for InTask<'_> {}

/// The types that differ between them. Without any bounds: else the compiler could not prove of a future with a map in it
/// that it is `Send`, where an error is a reference.
pub trait Kind<E> {
    /// The end of the group.
    type Join;
    type Crew;
}

impl<E> Kind<E> for AllThreads {
    type Join = Pin<Box<dyn Future<Output = ()> + Send>>;
    type Crew = Spawner<E>;
}

impl<'env, E> Kind<E> for InTask<'env> {
    type Join = Pin<Box<dyn Future<Output = ()> + 'env>>;
    type Crew = LocalCrew<'env, E>;
}

/// The workers of one map, as seen from one of them.
pub trait Crew<E: 'static> {
    /// Whether workers, consumer and `join` are one task. So nobody stands behind anybody whom a worker wakes, and what is
    /// brought to the consumer is found there when `join` has been polled.
    const IN_TASK: bool;

    fn is_cancelled(&self) -> bool;

    /// What has this name, an item most often, failed.
    fn report_error(&self, name: String, error: E);

    fn report_panic(&self, name: String, panic: Panic);

    fn cut_error(&self) -> ErrorGroup<E>;

    /// When the poll began that a worker is in; `own`: the same, of this worker.
    fn poll_began(&self, own: &mut Option<Instant>, now: Instant) -> Instant;

    /// The worker of this waker is to be polled again when others on the thread have had their turn.
    fn yield_now(&self, cx: &mut Context<'_>);

    /// `join` is going to be polled.
    fn begin(&self) {}

    /// `join` has been polled.
    fn resume(&self) {}
}

impl<E: Send + 'static> Crew<E> for Spawner<E> {
    const IN_TASK: bool = false;

    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn report_error(&self, name: String, error: E) {
        self.report_part(name, Problem::Error(error));
    }

    fn report_panic(&self, name: String, panic: Panic) {
        self.report_part(name, Problem::Panic(panic));
    }

    fn cut_error(&self) -> ErrorGroup<E> {
        self.cut_error()
    }

    fn poll_began(&self, own: &mut Option<Instant>, now: Instant) -> Instant {
        *own.get_or_insert(now)
    }

    fn yield_now(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}

/// Of a map whose workers are polled by its own future. That would poll a worker that wakes itself again and again: one
/// that yields is kept here until it has returned, and all of them share the time of one poll.
pub struct LocalCrew<'env, E> {
    pub(super) spawner: LocalSpawner<'env, E>,
    yielded: RefCell<Vec<Waker>>,
    /// When the first of them asked in this poll.
    poll_began: Cell<Option<Instant>>,
}

impl<'env, E: Send + 'static> LocalCrew<'env, E> {
    pub(super) fn new(spawner: LocalSpawner<'env, E>) -> Self {
        Self { spawner, yielded: RefCell::default(), poll_began: Cell::default() }
    }
}

impl<E: Send + 'static> Crew<E> for LocalCrew<'_, E> {
    const IN_TASK: bool = true;

    fn is_cancelled(&self) -> bool {
        self.spawner.is_cancelled()
    }

    fn report_error(&self, name: String, error: E) {
        self.spawner.report_part(name, Problem::Error(error));
    }

    fn report_panic(&self, name: String, panic: Panic) {
        self.spawner.report_part(name, Problem::Panic(panic));
    }

    fn cut_error(&self) -> ErrorGroup<E> {
        self.spawner.cut_error()
    }

    fn poll_began(&self, _own: &mut Option<Instant>, now: Instant) -> Instant {
        let began = self.poll_began.get().unwrap_or(now);
        self.poll_began.set(Some(began));
        began
    }

    fn yield_now(&self, cx: &mut Context<'_>) {
        // Outside of the borrow, for it is the runtime's code.
        let waker = cx.waker().clone();
        self.yielded.borrow_mut().push(waker);
    }

    fn begin(&self) {
        self.poll_began.set(None);
    }

    fn resume(&self) {
        let yielded = self.yielded.take();
        yielded.into_iter().for_each(tree::wake);
    }
}

impl fmt::Debug for AllThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllThreads")
    }
}

impl fmt::Debug for InTask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InTask")
    }
}

impl<E: Send + 'static> fmt::Debug for LocalCrew<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCrew").field("spawner", &self.spawner).finish_non_exhaustive()
    }
}
