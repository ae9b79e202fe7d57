//! `start`: a child that belongs to its starter until it says that it is ready (R20).
//!
//! As in other groups ([`group::start`](crate::group)). What differs is the end of a child whose start is dropped: the
//! tree never drops a local child, its host does. Of a group that stays on its thread the starter is on that thread too,
//! and ends the child as the host would. Of another one the host may be polling on another thread just now: the
//! child is cancelled, and the host drops it when it comes to it.

use std::future::Future;
use std::panic::Location;
use std::task::{Context, Poll};

use super::cell::Options;
use super::group::{self, HostedGroup};
use super::handle::LocalTask;
use super::kind::{Fits, Host};
use super::spawner::LocalSpawner;
use super::task_builder::LocalTaskBuilder;
use crate::error::StartError;
use crate::group::{GroupCore, Handle, Ready, start};
use crate::sync::Arc;
use crate::tree::{self, CancelCause, DropMode, NodeRef};

impl<'env, E: Send + 'static, H: Host> HostedGroup<'env, E, H> {
    /// Spawns a child and waits until it says that it is ready, with a value (R20).
    ///
    /// For children that have to open something before the others can go on. Until `ready` the child belongs to its
    /// starter: its error, panic or early return comes out here alone, and cancelling or dropping this future ends only
    /// that child. After it, it is a child of the group like any other.
    ///
    /// Await it in the group's body or in one of its children: somebody must poll the group meanwhile.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// use std::cell::RefCell;
    /// let lines = RefCell::new(Vec::new());
    /// taskgroup::local_scope(async |group: &taskgroup::LocalGroup| {
    ///     let (sender, writer) = group
    ///         .start(|ready| async {
    ///             let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
    ///             ready.ready(sender);
    ///             while let Some(line) = receiver.recv().await {
    ///                 lines.borrow_mut().push(line);
    ///             }
    ///             Ok(())
    ///         })
    ///         .await?;
    ///     sender.send("first").await?;
    ///     drop(sender);
    ///     Ok(writer.await?)
    /// })
    /// .await?;
    /// assert_eq!(*lines.borrow(), ["first"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before `ready` ends the child. That of a [`LocalGroup`](crate::LocalGroup) has been dropped
    /// when the drop returns, or, if it is being polled, when that poll waits; that of a
    /// [`SendLocalGroup`](crate::SendLocalGroup) is cancelled, and cut when the group is polled next. After `ready` the
    /// child stays with the group, and the value and the handle are lost.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    #[track_caller]
    pub fn start<R, T, Fut>(
        &self,
        make: impl FnOnce(Ready<R>) -> Fut,
    ) -> impl Future<Output = Result<(R, LocalTask<'env, T, H>), StartError<E>>>
    where
        Fut: Future<Output = Result<T, E>> + Fits<H> + 'env,
        R: Fits<H> + 'env,
        T: Fits<H> + 'env,
    {
        start_in(&self.core, make, Options::new(Location::caller()))
    }
}

impl<'env, E: Send + 'static, H: Host> LocalSpawner<'env, E, H> {
    /// As [`LocalGroup::start`](crate::HostedGroup::start).
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn start<R, T, Fut>(
        &self,
        make: impl FnOnce(Ready<R>) -> Fut,
    ) -> impl Future<Output = Result<(R, LocalTask<'env, T, H>), StartError<E>>>
    where
        Fut: Future<Output = Result<T, E>> + Fits<H> + 'env,
        R: Fits<H> + 'env,
        T: Fits<H> + 'env,
    {
        start_in(&self.core, make, Options::new(Location::caller()))
    }
}

impl<'g, 'env, E: Send + 'static, H: Host> LocalTaskBuilder<'g, 'env, E, H> {
    /// Starts a child with these options; as [`LocalGroup::start`](crate::HostedGroup::start).
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn start<R, T, Fut>(
        self,
        make: impl FnOnce(Ready<R>) -> Fut,
    ) -> impl Future<Output = Result<(R, LocalTask<'env, T, H>), StartError<E>>>
    where
        Fut: Future<Output = Result<T, E>> + Fits<H> + 'env,
        R: Fits<H> + 'env,
        T: Fits<H> + 'env,
    {
        let (core, options) = self.options(Location::caller());
        start_in(core, make, options)
    }
}

fn start_in<'g, 'env, R, T, F, Fut, E, H>(
    core: &'g Arc<GroupCore<E>>,
    make: F,
    options: Options,
) -> impl Future<Output = Result<(R, LocalTask<'env, T, H>), StartError<E>>> + use<'g, 'env, R, T, F, Fut, E, H>
where
    F: FnOnce(Ready<R>) -> Fut,
    Fut: Future<Output = Result<T, E>> + Fits<H> + 'env,
    R: Fits<H> + 'env,
    T: Fits<H> + 'env,
    E: Send + 'static,
    H: Host,
{
    start(core, make, options.location, |future| {
        // SAFETY: on the group's thread, where there is but one: the future of `start` has a handle in it, which does not
        // leave it. The bounds are those of `spawn`; what is around the future may go anywhere.
        unsafe { group::spawn(core, future, options) }
    })
}

impl<'env, T: 'env, E: Send + 'static, H: Host> Handle<E> for LocalTask<'env, T, H> {
    fn member(&self) -> NodeRef {
        LocalTask::member(self)
    }

    fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        LocalTask::poll_ended(self, cx)
    }

    fn into_cause(self) -> Option<CancelCause> {
        self.into_result().err().and_then(|error| error.reason().cloned())
    }

    fn end_child(&self, core: &Arc<GroupCore<E>>, cause: CancelCause) {
        let child = LocalTask::member(self);
        if H::SHARED {
            return tree::cancel(&child, cause);
        }
        tree::drop_subtree(&child, cause, DropMode::Wait);
        // SAFETY: H1: on the thread of the group, so as good as the host. A child that is being polled is cut at its next
        // wait instead.
        unsafe { self.end() };
        if core.hosted().inbox.wake_if_asleep() {
            core.hosted().wake_host(&core.member());
        }
    }
}
