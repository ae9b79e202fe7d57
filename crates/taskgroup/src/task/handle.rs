//! The handle of a child.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::cell::Join;
use super::outcome::TaskError;
use crate::sync::Arc;
use crate::tree::{self, CancelCause, CancelReason, Id, NodeInfo, NodeKind, NodeRef, WaitKey};

/// The handle of a child: await it for the child's value, or cancel the child.
///
/// You need not keep it: dropping a handle changes nothing, the group still owns the task and waits for
/// it (R11). The task's own error goes to the group; the handle says only that there was one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// let sum = taskgroup::scope(async |tg| {
///     let one = tg.spawn(async { Ok(1) });
///     let two = tg.spawn(async { Ok(2) });
///     Ok(one.await? + two.await?)
/// })
/// .await?;
/// assert_eq!(sum, 3);
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Awaiting through `&mut task` is cancel safe: nothing is lost if that await is dropped. Dropping the
/// awaited handle does not cancel the task.
///
/// In a cancelled region awaiting a handle is always a wait, whatever the task has become: the region is
/// cut there (R12). A task that awaits its own handle waits until it is cancelled.
///
/// # Errors
///
/// [`TaskError`]: the task failed, panicked, or was cancelled.
///
/// # Panics
///
/// When polled again after it has given its result.
pub struct Task<T: 'static> {
    cell: Arc<dyn Join<T>>,
    // `Sync` only where `T` is: `result` lends a `&T`.
    value: PhantomData<T>,
}

impl<T> Unpin for Task<T> {}

impl<T: 'static> Drop for Task<T> {
    /// A value that nobody will ask for is dropped before the task leaves its group's books, or here if the
    /// task has ended: never later, by whichever thread lets go of the cell last.
    fn drop(&mut self) {
        if std::mem::needs_drop::<T>() && self.cell.renounce() {
            // SAFETY: C2: done, and this is the one handle.
            drop(unsafe { self.cell.take_outcome() });
        }
    }
}

impl<T: 'static> Task<T> {
    pub(crate) fn new(cell: Arc<dyn Join<T>>) -> Self {
        Self { cell, value: PhantomData }
    }

    pub(crate) fn member(&self) -> NodeRef {
        Arc::clone(&self.cell) as NodeRef
    }

    pub(crate) fn info(&self) -> NodeInfo {
        self.cell.node().info()
    }

    /// Cancels this task, and nobody else: it is cut at its next wait, its children before it.
    ///
    /// Does nothing if it has ended. The group does not fail by it.
    pub fn cancel(&self) {
        self.cancel_with(None);
    }

    /// [`cancel`](Self::cancel) with a message, which the [`TaskError`] and all below it will carry.
    pub fn cancel_because(&self, message: impl Into<std::borrow::Cow<'static, str>>) {
        self.cancel_with(Some(message.into()));
    }

    fn cancel_with(&self, message: Option<std::borrow::Cow<'static, str>>) {
        if !self.is_finished() {
            let reason = CancelReason::Requested(message);
            let cause = CancelCause::new(reason, self.info());
            tree::cancel(&self.member(), cause);
        }
    }

    /// Whether the task has ended, however it ended: its future has been dropped.
    pub fn is_finished(&self) -> bool {
        self.cell.is_done()
    }

    /// The identity of the task.
    pub fn id(&self) -> Id {
        self.cell.node().id()
    }

    /// The name the task was given.
    pub fn name(&self) -> Option<&str> {
        self.cell.node().name()
    }

    /// Where the task was spawned.
    pub fn location(&self) -> &'static std::panic::Location<'static> {
        self.cell.node().location()
    }

    /// The result, if the task has ended; `None` before that.
    ///
    /// # Panics
    ///
    /// When the value has been taken by awaiting the handle.
    pub fn result(&self) -> Option<Result<&T, TaskError>> {
        if !self.is_finished() {
            return None;
        }
        // SAFETY: C2: done, this is the one handle, and taking needs it mutably or whole.
        let outcome = unsafe { self.cell.outcome() };
        Some(outcome.as_result(|| self.info()))
    }

    /// The result of a task that has ended, without an await; use it after the group's exit.
    ///
    /// # Errors
    ///
    /// As awaiting the handle; and, where the task has not ended, an error for which
    /// [`is_unfinished`](TaskError::is_unfinished) holds.
    ///
    /// # Panics
    ///
    /// When the value has been taken by awaiting the handle.
    pub fn into_result(self) -> Result<T, TaskError> {
        if !self.is_finished() {
            return Err(TaskError::unfinished(self.info()));
        }
        self.take()
    }

    /// Resolves when the task has ended, however it ended; takes nothing.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it can be dropped and called again.
    pub async fn wait_finished(&self) {
        /// Takes its waker out again when it is given up.
        struct Wait<'a, T: 'static>(&'a Task<T>, WaitKey);
        impl<T: 'static> Drop for Wait<'_, T> {
            fn drop(&mut self) {
                self.0.cell.give_up(self.1);
            }
        }
        let wait = Wait(self, WaitKey::new());
        std::future::poll_fn(|cx| wait.0.poll_finished(wait.1, cx)).await;
    }

    /// Blocks this thread until the task has ended, and gives its result: for threads outside the runtime.
    ///
    /// # Errors
    ///
    /// As awaiting the handle. Where a tokio runtime is current (on its workers, in `block_on`, in tokio's
    /// own `spawn_blocking`) it does not block, and gives an error for which
    /// [`is_runtime_thread`](TaskError::is_runtime_thread) holds; closures of this crate's `spawn_blocking` may wait.
    ///
    /// # Panics
    ///
    /// When the value has been taken by awaiting the handle.
    pub fn wait(self) -> Result<T, TaskError> {
        if !self.is_finished() {
            let on_runtime = tokio::runtime::Handle::try_current().is_ok();
            let in_closure =
                tree::with_current(|node| node.is_some_and(|node| node.node().kind() == NodeKind::Blocking));
            if on_runtime && !in_closure {
                return Err(TaskError::runtime_thread(self.info()));
            }
            self.cell.wait_done();
        }
        self.take()
    }

    fn poll_finished(&self, key: WaitKey, cx: &mut Context<'_>) -> Poll<()> {
        if tree::is_cut() {
            return Poll::Pending;
        }
        // tokio's budget: a loop over a thousand ended tasks lets others run in between.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        // A child that fails marks this region before it is done; between the two looks it may have done both. Where
        // another one failed before it, that one's mark may still be on its way here, and will wake this region.
        if !self.cell.poll_done(key, cx.waker())
            || tree::is_cut()
            || (self.has_failed() && tree::is_being_cut())
        {
            return Poll::Pending;
        }
        budget.made_progress();
        Poll::Ready(())
    }

    /// Whether a task that is done failed or panicked.
    fn has_failed(&self) -> bool {
        // SAFETY: C2: done, this is the one handle, and taking needs it mutably or whole.
        unsafe { self.cell.outcome() }.is_failure()
    }

    /// Whether the task has ended, also for a region that is cancelled.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.cell.poll_done(WaitKey::HANDLE, cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take(&self) -> Result<T, TaskError> {
        // SAFETY: C2: done (every caller has seen it), and a caller holds the one handle mutably or whole.
        let outcome = unsafe { self.cell.take_outcome() };
        outcome.into_result(|| self.info())
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_finished(WaitKey::HANDLE, cx).map(|()| self.take())
    }
}

impl<T: 'static> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        f.debug_struct("Task").field("task", &info).field("finished", &self.is_finished()).finish()
    }
}
