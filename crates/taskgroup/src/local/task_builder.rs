//! Spawning with options.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::time::Duration;

use super::cell::Options;
use super::group;
use super::handle::LocalTask;
use super::kind::{Fits, Host, SameThread};
use crate::group::{CancelToken, Cooperative, GroupCore, TrySpawnError};
use crate::sync::Arc;

/// The options of one child to be: from [`LocalGroup::task`](crate::HostedGroup::task), ended by `spawn`, `try_spawn`,
/// `cooperative` or `start`.
#[must_use = "options do nothing until the child is spawned"]
pub struct LocalTaskBuilder<'g, 'env, E: Send + 'static, H: Host = SameThread> {
    core: &'g Arc<GroupCore<E>>,
    options: Options,
    // As in the group.
    env: PhantomData<fn(&'env ()) -> &'env ()>,
    host: PhantomData<H>,
}

impl<'g, 'env, E: Send + 'static, H: Host> LocalTaskBuilder<'g, 'env, E, H> {
    #[track_caller]
    pub(super) fn new(core: &'g Arc<GroupCore<E>>) -> Self {
        Self { core, options: Options::new(Location::caller()), env: PhantomData, host: PhantomData }
    }

    /// The child's name in errors, causes and paths.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// A background child does not keep the group open: it is cancelled when the body and every ordinary child have ended,
    /// and waited for.
    pub fn background(mut self) -> Self {
        self.options.background = true;
        self
    }

    /// How long the child may take to end once it has been cancelled; then it is dropped, and all that it owns (R15).
    /// Default: the group's [`grace`](crate::LocalBuilder::grace), which this can only make shorter.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = Some(grace);
        self
    }

    pub(super) fn options(self, location: &'static Location<'static>) -> (&'g Arc<GroupCore<E>>, Options) {
        (self.core, Options { location, ..self.options })
    }

    /// Spawns a future with these options; as [`LocalGroup::spawn`](crate::HostedGroup::spawn).
    #[track_caller]
    pub fn spawn<T>(
        self,
        future: impl Future<Output = Result<T, E>> + Fits<H> + 'env,
    ) -> LocalTask<'env, T, H>
    where
        T: Fits<H> + 'env,
    {
        let (core, options) = self.options(Location::caller());
        // SAFETY: on the group's thread, where there is but one; the bounds are those of `spawn`.
        unsafe { group::spawn(core, future, options) }
    }

    /// Spawns a future with these options; as [`LocalGroup::try_spawn`](crate::HostedGroup::try_spawn).
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn try_spawn<T, F>(self, future: F) -> Result<LocalTask<'env, T, H>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>> + Fits<H> + 'env,
        T: Fits<H> + 'env,
    {
        let (core, options) = self.options(Location::caller());
        // SAFETY: as in `spawn`.
        unsafe { group::try_spawn(core, future, options) }
    }

    /// Spawns a *cooperative* child: it gets a [`CancelToken`], and a cancel cuts nothing in it (R15); as
    /// [`TaskBuilder::cooperative`](crate::TaskBuilder::cooperative).
    #[track_caller]
    pub fn cooperative<T, F, Fut>(self, make: F) -> LocalTask<'env, T, H>
    where
        F: FnOnce(CancelToken) -> Fut + Fits<H> + 'env,
        Fut: Future<Output = Result<T, E>> + Fits<H> + 'env,
        T: Fits<H> + 'env,
    {
        let (core, options) = self.options(Location::caller());
        // SAFETY: as in `spawn`; the future is `make`, then what that gives.
        unsafe { group::spawn(core, Cooperative::new(make), Options { cooperative: true, ..options }) }
    }
}

impl<E: Send + 'static> LocalTaskBuilder<'_, '_, E, SameThread> {
    /// Polls the child once inside `spawn`: for children that mostly have their answer at once, or that must have taken a
    /// first step when `spawn` returns. Of a [`LocalGroup`](crate::LocalGroup) only.
    ///
    /// Its end is never reported inline: a child that fails in that first poll cancels its group in its turn, not inside
    /// `spawn`.
    pub fn eager(mut self) -> Self {
        self.options.eager = true;
        self
    }
}

impl<E: Send + 'static, H: Host> fmt::Debug for LocalTaskBuilder<'_, '_, E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTaskBuilder")
            .field("name", &self.options.name)
            .field("background", &self.options.background)
            .field("eager", &self.options.eager)
            .field("grace", &self.options.grace)
            .finish_non_exhaustive()
    }
}
