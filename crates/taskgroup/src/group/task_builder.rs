//! Spawning with options.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use super::cooperative::Cooperative;
use super::core::GroupCore;
use super::limit::Reserved;
use super::spawn::Options;
use super::start::{Ready, start};
use super::{CancelToken, TrySpawnError};
use crate::error::StartError;
use crate::sync::Arc;
use crate::task::Task;

/// The options of one task to be: from [`TaskGroup::task`](super::TaskGroup::task), ended by `spawn`,
/// `spawn_blocking` or `start`.
#[must_use = "options do nothing until the task is spawned"]
pub struct TaskBuilder<'g, E: Send + 'static> {
    core: &'g Arc<GroupCore<E>>,
    name: Option<Cow<'static, str>>,
    background: bool,
    eager: bool,
    grace: Option<Duration>,
    place: Option<Reserved>,
}

impl<'g, E: Send + 'static> TaskBuilder<'g, E> {
    pub(super) fn new(core: &'g Arc<GroupCore<E>>) -> Self {
        Self::in_place(core, None)
    }

    pub(super) fn in_place(core: &'g Arc<GroupCore<E>>, place: Option<Reserved>) -> Self {
        Self { core, name: None, background: false, eager: false, grace: None, place }
    }

    /// The task's name in errors, causes and paths.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A background task does not keep the group open: it is cancelled when the body and every ordinary
    /// task have ended, and waited for. For heartbeats, accept loops, refreshers.
    pub fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// Polls the task once inside `spawn`, after it is registered: for tasks that mostly have their answer
    /// at once, or that must have taken a first step when `spawn` returns.
    ///
    /// Its end is never reported inline: a task that fails in that first poll cancels its group from the
    /// runtime, not inside `spawn`. No effect on blocking closures.
    pub fn eager(mut self) -> Self {
        self.eager = true;
        self
    }

    /// How long the task may take to end once it has been cancelled; then it is dropped, and all that it owns
    /// (R15). Default: the group's [`grace`](crate::Builder::grace), which this can only make shorter. No
    /// effect on blocking closures.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    fn options(self, location: &'static Location<'static>) -> (&'g Arc<GroupCore<E>>, Options) {
        let Self { core, name, background, eager, grace, place } = self;
        (core, Options { name, background, eager, cooperative: false, grace, place, location })
    }

    /// Spawns a future with these options; as [`TaskGroup::spawn`](super::TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn spawn<T>(self, future: impl Future<Output = Result<T, E>> + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
    {
        let (core, options) = self.options(Location::caller());
        core.spawn(future, options)
    }

    /// Waits until there is room in the group, then spawns a future with these options; as
    /// [`TaskGroup::spawn_when_ready`](super::TaskGroup::spawn_when_ready).
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn spawn_when_ready<T, F>(self, future: F) -> impl Future<Output = Task<T>> + Send + use<'g, T, F, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        let (core, options) = self.options(Location::caller());
        core.spawn_when_ready(future, options)
    }

    /// Spawns a future with these options; as [`TaskGroup::try_spawn`](super::TaskGroup::try_spawn).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn try_spawn<T, F>(self, future: F) -> Result<Task<T>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        let (core, options) = self.options(Location::caller());
        core.try_spawn(future, options)
    }

    /// Spawns a *cooperative* task: it gets a [`CancelToken`], and a cancel cuts nothing in it (R15).
    ///
    /// For work that must not stop just anywhere: it looks at its token, or waits for it, and ends by
    /// itself. Groups and scopes that it opens are not cancelled with it either. It is waited for as long as
    /// it takes, or until the [grace period](Self::grace) is over: then it is dropped. `make` is called at the
    /// task's first poll; cancelled before that, the task never starts.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use taskgroup::TaskGroup;
    /// use std::time::Duration;
    /// let group: TaskGroup = TaskGroup::new();
    /// let consumer = group.task().name("consumer").grace(Duration::from_secs(5)).cooperative(|token| async move {
    ///     let mut batches = 0;
    ///     while !token.is_cancelled() {
    ///         batches += 1; // handle one batch: it is never cut in the middle
    ///         tokio::task::yield_now().await;
    ///     }
    ///     Ok(batches)
    /// });
    /// tokio::task::yield_now().await;
    /// group.cancel();
    /// group.join().await.unwrap();
    /// assert!(consumer.into_result().unwrap() >= 1);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`TaskGroup::spawn`](super::TaskGroup::spawn).
    #[track_caller]
    pub fn cooperative<T, F, Fut>(self, make: F) -> Task<T>
    where
        F: FnOnce(CancelToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        let (core, options) = self.options(Location::caller());
        core.spawn(Cooperative::new(make), Options { cooperative: true, ..options })
    }

    /// Runs a blocking closure with these options; as
    /// [`TaskGroup::spawn_blocking`](super::TaskGroup::spawn_blocking).
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn spawn_blocking<T>(
        self,
        closure: impl FnOnce(&CancelToken) -> Result<T, E> + Send + 'static,
    ) -> Task<T>
    where
        T: Send + 'static,
    {
        let (core, options) = self.options(Location::caller());
        core.spawn_blocking(closure, options)
    }

    /// Starts a child with these options; as [`TaskGroup::start`](super::TaskGroup::start).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn start<R, T, Fut>(
        self,
        make: impl FnOnce(Ready<R>) -> Fut,
    ) -> impl Future<Output = Result<(R, Task<T>), StartError<E>>>
    where
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        R: Send + 'static,
        T: Send + 'static,
    {
        let (core, options) = self.options(Location::caller());
        start(core, make, options.location, |future| core.spawn(future, options))
    }
}

impl<E: Send + 'static> fmt::Debug for TaskBuilder<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("name", &self.name)
            .field("background", &self.background)
            .field("eager", &self.eager)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
