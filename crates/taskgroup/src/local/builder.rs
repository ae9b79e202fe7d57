//! The settings of a local group.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use super::HostedGroup;
use super::kind::{Host, SameThread};
use super::scope::scope_with;
use crate::error::ErrorGroup;
use crate::group::{Builder, OnFailure, OnPanic};

/// The settings of a [`LocalGroup`](crate::LocalGroup) or [`SendLocalGroup`](crate::SendLocalGroup) to be: those of
/// [`Builder`], but for `on_drop`, for dropping such a group never waits.
#[must_use = "settings do nothing until `build` or `scope` is called"]
pub struct LocalBuilder<E = crate::Error, H = SameThread> {
    builder: Builder<E>,
    host: PhantomData<H>,
}

impl<E: Send + 'static, H: Host> LocalBuilder<E, H> {
    pub(super) fn new() -> Self {
        Self { builder: Builder::new(), host: PhantomData }
    }

    fn with(self, change: impl FnOnce(Builder<E>) -> Builder<E>) -> Self {
        Self { builder: change(self.builder), host: PhantomData }
    }

    /// The group's name in errors, causes and paths.
    pub fn name(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|builder| builder.name(name))
    }

    /// What the first failure does to the others. Default: it cancels them.
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        self.with(|builder| builder.on_failure(on_failure))
    }

    /// What a panic does. Default: it is resumed in the host when all have ended.
    pub fn on_panic(self, on_panic: OnPanic) -> Self {
        self.with(|builder| builder.on_panic(on_panic))
    }

    /// As [`Builder::max_failures`].
    pub fn max_failures(self, max_failures: usize) -> Self {
        self.with(|builder| builder.max_failures(max_failures))
    }

    /// As [`Builder::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|builder| builder.timeout(timeout))
    }

    /// As [`Builder::deadline`].
    pub fn deadline(self, deadline: Instant) -> Self {
        self.with(|builder| builder.deadline(deadline))
    }

    /// As [`Builder::grace`].
    pub fn grace(self, grace: Duration) -> Self {
        self.with(|builder| builder.grace(grace))
    }

    /// As [`Builder::slow_exit`].
    pub fn slow_exit(self, after: Duration) -> Self {
        self.with(|builder| builder.slow_exit(after))
    }

    /// As [`Builder::no_slow_exit`].
    pub fn no_slow_exit(self) -> Self {
        self.with(Builder::no_slow_exit)
    }

    /// As [`Builder::report_records`].
    pub fn report_records(self, records_max: usize) -> Self {
        self.with(|builder| builder.report_records(records_max))
    }

    /// As [`Builder::treat_as_cancelled`].
    pub fn treat_as_cancelled(self, predicate: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.with(|builder| builder.treat_as_cancelled(predicate))
    }

    /// Opens the group.
    #[track_caller]
    pub fn build<'env>(self) -> HostedGroup<'env, E, H> {
        HostedGroup::open(self.builder.into_settings(), Location::caller())
    }

    /// Opens the group around a closure: [`local_scope`](crate::local_scope) with these settings.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// use taskgroup::LocalGroup;
    /// let text = String::from("borrowed");
    /// let length = LocalGroup::builder().name("lengths").scope(async |group: &LocalGroup| {
    ///     Ok(group.spawn(async { Ok(text.len()) }).await?)
    /// });
    /// assert_eq!(length.await?, 8);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`local_scope`](crate::local_scope).
    ///
    /// # Panics
    ///
    /// As [`local_scope`](crate::local_scope).
    #[track_caller]
    pub fn scope<'env, T, F>(
        self,
        body: F,
    ) -> impl Future<Output = Result<T, ErrorGroup<E>>> + use<'env, T, F, E, H>
    where
        F: AsyncFnOnce(&HostedGroup<'env, E, H>) -> Result<T, E>,
    {
        scope_with(self.builder.into_settings(), body, Location::caller())
    }
}

impl<E, H> fmt::Debug for LocalBuilder<E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalBuilder").field(&self.builder).finish()
    }
}
