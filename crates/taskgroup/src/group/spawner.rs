//! A handle to spawn with, from anywhere.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;

use super::core::GroupCore;
use super::spawn::{self, Options};
use super::{CancelToken, GroupReport, TaskBuilder, TrySpawnError};
use crate::sync::Arc;
use crate::task::Task;
use crate::tree::{Id, Member, Straggler};

/// Spawns into a group it does not own: from the group's tasks, from other tasks, from plain threads.
///
/// Clone it freely. It keeps nothing alive and nothing open: when the group has ended, what is spawned
/// through it is born cancelled (R5).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// taskgroup::scope(async |tg| {
///     let spawner = tg.spawner();
///     tg.spawn(async move {
///         spawner.spawn(async { Ok(()) }); // a sibling, not a child
///         Ok(())
///     });
///     Ok(())
/// })
/// .await
/// # }
/// ```
pub struct Spawner<E = crate::Error> {
    pub(super) core: Arc<GroupCore<E>>,
}

impl<E: Send + 'static> Spawner<E> {
    pub(super) fn new(core: Arc<GroupCore<E>>) -> Self {
        Self { core }
    }

    /// As [`TaskGroup::spawn`](super::TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn spawn<T>(&self, future: impl Future<Output = Result<T, E>> + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
    {
        self.core.spawn(future, Options::new(Location::caller()))
    }

    /// As [`TaskGroup::spawn_into`](super::TaskGroup::spawn_into).
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn spawn_into<T, X>(&self, future: impl Future<Output = Result<T, X>> + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
        X: Into<E> + 'static,
    {
        self.core.spawn(spawn::into_error(future), Options::new(Location::caller()))
    }

    /// As [`TaskGroup::try_spawn`](super::TaskGroup::try_spawn).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn try_spawn<T, F>(&self, future: F) -> Result<Task<T>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        self.core.try_spawn(future, Options::new(Location::caller()))
    }

    /// As [`TaskGroup::spawn_blocking`](super::TaskGroup::spawn_blocking).
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn spawn_blocking<T>(
        &self,
        closure: impl FnOnce(&CancelToken) -> Result<T, E> + Send + 'static,
    ) -> Task<T>
    where
        T: Send + 'static,
    {
        self.core.spawn_blocking(closure, Options::new(Location::caller()))
    }

    /// As [`TaskGroup::task`](super::TaskGroup::task).
    pub fn task(&self) -> TaskBuilder<'_, E> {
        TaskBuilder::new(&self.core)
    }

    /// As [`TaskGroup::cancel`](super::TaskGroup::cancel).
    pub fn cancel(&self) {
        self.core.cancel(None);
    }

    /// As [`TaskGroup::cancel_because`](super::TaskGroup::cancel_because).
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        self.core.cancel(Some(message.into()));
    }

    /// As [`TaskGroup::token`](super::TaskGroup::token).
    pub fn token(&self) -> CancelToken {
        CancelToken::of_region(self.core.member())
    }

    /// As [`TaskGroup::report`](super::TaskGroup::report).
    pub fn report(&self) -> GroupReport {
        self.core.report()
    }

    /// As [`TaskGroup::stragglers`](super::TaskGroup::stragglers).
    pub fn stragglers(&self) -> Vec<Straggler> {
        self.core.stragglers()
    }

    /// Whether the group has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.core.node().is_cancelled()
    }

    /// Whether the group has ended, or is so near its end that nothing can be spawned any more.
    pub fn is_closed(&self) -> bool {
        self.core.node().is_closed()
    }

    /// How many tasks are in the group now, background and queued ones included.
    pub fn len(&self) -> usize {
        self.core.node().live()
    }

    /// Whether no task is in the group now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identity of the group.
    pub fn id(&self) -> Id {
        self.core.node().id()
    }

    /// The name of the group.
    pub fn name(&self) -> Option<&str> {
        self.core.node().name()
    }
}

impl<E: Send + 'static> Clone for Spawner<E> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<E: Send + 'static> fmt::Debug for Spawner<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.debug("Spawner", f)
    }
}
