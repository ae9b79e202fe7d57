//! A handle to spawn with, for the children.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;

use super::cell::Options;
use super::group;
use super::handle::LocalTask;
use super::kind::{Fits, Host, SameThread};
use super::task_builder::LocalTaskBuilder;
use crate::group::{CancelToken, GroupCore, GroupReport, TrySpawnError, into_error};
use crate::sync::Arc;
use crate::tree::{Id, Member, Straggler};

/// Spawns into a [`LocalGroup`](crate::LocalGroup) or [`SendLocalGroup`](crate::SendLocalGroup) that it does not own: for
/// the group's children, and for what is around them.
///
/// Clone it freely. It keeps nothing alive and nothing open: when the group has ended, what is spawned through it is born
/// cancelled (R5). That of a `LocalGroup` stays on its thread, that of a `SendLocalGroup` may go to any.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use std::cell::RefCell;
/// let visited = RefCell::new(Vec::new());
/// taskgroup::local_scope(async |group: &taskgroup::LocalGroup| {
///     let (spawner, visited) = (group.spawner(), &visited);
///     group.spawn(async move {
///         visited.borrow_mut().push("first");
///         spawner.spawn(async { Ok(visited.borrow_mut().push("its sibling")) });
///         Ok(())
///     });
///     Ok(())
/// })
/// .await?;
/// assert_eq!(*visited.borrow(), ["first", "its sibling"]);
/// # Ok(()) }
/// ```
pub struct LocalSpawner<'env, E = crate::Error, H = SameThread> {
    pub(super) core: Arc<GroupCore<E>>,
    // As in the group.
    env: PhantomData<fn(&'env ()) -> &'env ()>,
    host: PhantomData<H>,
}

impl<'env, E: Send + 'static, H: Host> LocalSpawner<'env, E, H> {
    pub(super) fn new(core: Arc<GroupCore<E>>) -> Self {
        Self { core, env: PhantomData, host: PhantomData }
    }

    /// As [`LocalGroup::spawn`](crate::HostedGroup::spawn).
    #[track_caller]
    pub fn spawn<T>(
        &self,
        future: impl Future<Output = Result<T, E>> + Fits<H> + 'env,
    ) -> LocalTask<'env, T, H>
    where
        T: Fits<H> + 'env,
    {
        // SAFETY: on the group's thread, where there is but one; the bounds are those of `spawn`.
        unsafe { group::spawn(&self.core, future, Options::new(Location::caller())) }
    }

    /// As [`LocalGroup::spawn_into`](crate::HostedGroup::spawn_into).
    #[track_caller]
    pub fn spawn_into<T, X>(
        &self,
        future: impl Future<Output = Result<T, X>> + Fits<H> + 'env,
    ) -> LocalTask<'env, T, H>
    where
        T: Fits<H> + 'env,
        X: Into<E> + 'env,
    {
        // SAFETY: as in `spawn`; what is around the future has nothing of its own that could not go where it goes.
        unsafe { group::spawn(&self.core, into_error(future), Options::new(Location::caller())) }
    }

    /// As [`LocalGroup::try_spawn`](crate::HostedGroup::try_spawn).
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn try_spawn<T, F>(&self, future: F) -> Result<LocalTask<'env, T, H>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>> + Fits<H> + 'env,
        T: Fits<H> + 'env,
    {
        // SAFETY: as in `spawn`.
        unsafe { group::try_spawn(&self.core, future, Options::new(Location::caller())) }
    }

    /// As [`LocalGroup::task`](crate::HostedGroup::task).
    pub fn task(&self) -> LocalTaskBuilder<'_, 'env, E, H> {
        LocalTaskBuilder::new(&self.core)
    }

    /// As [`LocalGroup::cancel`](crate::HostedGroup::cancel).
    pub fn cancel(&self) {
        self.core.cancel(None);
    }

    /// As [`LocalGroup::cancel_because`](crate::HostedGroup::cancel_because).
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        self.core.cancel(Some(message.into()));
    }

    /// As [`LocalGroup::token`](crate::HostedGroup::token).
    pub fn token(&self) -> CancelToken {
        CancelToken::of_region(self.core.member())
    }

    /// As [`LocalGroup::report`](crate::HostedGroup::report).
    pub fn report(&self) -> GroupReport {
        group::report::<E, H>(&self.core)
    }

    /// As [`LocalGroup::stragglers`](crate::HostedGroup::stragglers).
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

    /// How many children are in the group now, background ones included.
    pub fn len(&self) -> usize {
        group::live(&self.core)
    }

    /// Whether no child is in the group now.
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

impl<E: Send + 'static, H: Host> Clone for LocalSpawner<'_, E, H> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.core))
    }
}

impl<E: Send + 'static, H: Host> fmt::Debug for LocalSpawner<'_, E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.debug("LocalSpawner", f)
    }
}
