//! The handle of a local child.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, ready};

use super::cell::{At, LocalJoin};
use super::inbox::Link;
use super::kind::{Host, SameThread};
use crate::task::{Ended, TaskError};
use crate::tree::{self, Activity, CancelCause, CancelReason, Id, NodeInfo, NodeRef, WaitKey};

/// The handle of a child of a [`LocalGroup`](crate::LocalGroup) or [`SendLocalGroup`](crate::SendLocalGroup): await it for
/// the child's value, or cancel the child. What [`Task`](crate::Task) is for other children.
///
/// You need not keep it: dropping a handle changes nothing (R11). Await it in the group's body or in a sibling: somebody
/// must poll the group meanwhile.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// let numbers = vec![1, 2, 3];
/// let sum = taskgroup::local_scope(async |group: &taskgroup::LocalGroup| {
///     let sum = group.spawn(async { Ok(numbers.iter().sum::<i32>()) });
///     Ok(sum.await?)
/// })
/// .await?;
/// assert_eq!(sum, 6);
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Awaiting through `&mut task` is cancel safe: nothing is lost if that await is dropped.
///
/// In a cancelled region awaiting a handle is always a wait: the region is cut there (R12). A child that awaits its own
/// handle waits until it is cancelled.
///
/// # Errors
///
/// [`TaskError`]: the child failed, panicked, or was cancelled.
///
/// # Panics
///
/// When polled again after it has given its result.
pub struct LocalTask<'env, T: 'env, H: Host = SameThread> {
    /// Alive as long as this is: it lives on the host's reference, or has one of its own.
    cell: Pointer<'env, T>,
    // It may go where the value may, and where the host's spawners may.
    value: PhantomData<(T, H)>,
}

struct Pointer<'env, T>(NonNull<dyn LocalJoin<T> + 'env>);

// SAFETY: the cell synchronises itself, but for the value, which is touched by who has the handle; that says where it may
// go.
unsafe impl<T> Send for Pointer<'_, T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Pointer<'_, T> {}

impl<T, H: Host> Unpin for LocalTask<'_, T, H> {}

impl<'env, T: 'env, H: Host> Drop for LocalTask<'env, T, H> {
    /// A value that nobody will ask for is dropped before the child leaves its group's books, or here if it has ended.
    #[inline]
    fn drop(&mut self) {
        /// Also where the value panics.
        struct Leave<'a, 'env, T: 'env, H: Host>(&'a LocalTask<'env, T, H>);
        impl<'env, T: 'env, H: Host> Drop for Leave<'_, 'env, T, H> {
            #[inline]
            fn drop(&mut self) {
                if self.0.cell().leave() {
                    let link: *const Link = self.0.cell.0.as_ptr().cast_const().cast();
                    // SAFETY: a cell begins with its link; the reference is the handle's, which is not used any more.
                    unsafe { ((*link).vtable.release)(link) };
                }
            }
        }
        let leave = Leave(self);
        if std::mem::needs_drop::<T>() && leave.0.cell().renounce() {
            // SAFETY: C2: settled, and this is the one handle.
            drop(unsafe { leave.0.cell().take_outcome() });
        }
    }
}

impl<'env, T: 'env, H: Host> LocalTask<'env, T, H> {
    /// # Safety
    ///
    /// It is the one handle of this cell, which has not ended, or of which there is a reference for the handle. The cell is
    /// of a group of this kind.
    #[inline]
    pub(super) unsafe fn new<F, E>(cell: At<F, T, E, H>) -> Self
    where
        F: Future + 'env,
        F::Output: Into<Ended<T, E>>,
        E: Send + 'static,
    {
        Self { cell: Pointer(cell.pointer()), value: PhantomData }
    }

    #[inline]
    fn cell(&self) -> &(dyn LocalJoin<T> + 'env) {
        // SAFETY: it is alive as long as this is.
        unsafe { self.cell.0.as_ref() }
    }

    pub(super) fn member(&self) -> NodeRef {
        self.cell().member()
    }

    /// Whether the child has ended, also for a region that is cancelled.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.cell().poll_done(WaitKey::HANDLE, cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Drops the future of the child, as its host, and ends it. Nothing if it is being polled, has ended, or is on its
    /// way to its end.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn end(&self) {
        if self.cell().activity() == Activity::Idle {
            let link: *const Link = self.cell.0.as_ptr().cast_const().cast();
            // SAFETY: H1. A cell begins with its link.
            unsafe { ((*link).vtable.end)(link) };
        }
    }

    fn info(&self) -> NodeInfo {
        self.cell().info()
    }

    /// Cancels this child, and nobody else: it is cut at its next wait, its own children before it.
    ///
    /// Does nothing if it has ended. The group does not fail by it.
    pub fn cancel(&self) {
        self.cancel_with(None);
    }

    /// [`cancel`](Self::cancel) with a message, which the [`TaskError`] and all below it will carry.
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        self.cancel_with(Some(message.into()));
    }

    fn cancel_with(&self, message: Option<Cow<'static, str>>) {
        if !self.is_finished() {
            let cause = CancelCause::new(CancelReason::Requested(message), self.info());
            tree::cancel(&self.member(), cause);
        }
    }

    /// Whether the child has ended, however it ended: its future has been dropped.
    pub fn is_finished(&self) -> bool {
        self.cell().is_done()
    }

    /// The identity of the child.
    pub fn id(&self) -> Id {
        self.cell().id()
    }

    /// The name the child was given.
    pub fn name(&self) -> Option<&str> {
        self.cell().name()
    }

    /// Where the child was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.cell().location()
    }

    /// The result, if the child has ended; `None` before that.
    ///
    /// # Panics
    ///
    /// When the value has been taken by awaiting the handle.
    pub fn result(&self) -> Option<Result<&T, TaskError>> {
        if !self.is_finished() {
            return None;
        }
        // SAFETY: C2: done, this is the one handle, and taking needs it mutably or whole.
        let outcome = unsafe { self.cell().outcome() };
        Some(outcome.as_result(|| self.info()))
    }

    /// The result of a child that has ended, without an await; use it after the group's exit.
    ///
    /// # Errors
    ///
    /// As awaiting the handle; and, where the child has not ended, an error for which
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

    /// Resolves when the child has ended, however it ended; takes nothing.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it can be dropped and called again.
    pub async fn wait_finished(&self) {
        /// Takes its waker out again when it is given up.
        struct Wait<'a, 'env, T: 'env, H: Host>(&'a LocalTask<'env, T, H>, WaitKey);
        impl<'env, T: 'env, H: Host> Drop for Wait<'_, 'env, T, H> {
            fn drop(&mut self) {
                self.0.cell().give_up(self.1);
            }
        }
        let wait = Wait(self, WaitKey::new());
        std::future::poll_fn(|cx| wait.0.poll_finished(wait.1, cx)).await;
    }

    fn poll_finished(&self, key: WaitKey, cx: &mut Context<'_>) -> Poll<()> {
        if tree::is_cut() {
            return Poll::Pending;
        }
        // tokio's budget: a loop over a thousand ended children lets others run in between.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        // As for the handle of a task: who awaits a child that failed is cancelled by that, and never runs on.
        if !self.cell().poll_done(key, cx.waker())
            || tree::is_cut()
            || (self.has_failed() && tree::is_being_cut())
        {
            return Poll::Pending;
        }
        budget.made_progress();
        Poll::Ready(())
    }

    /// Whether a child that is done failed or panicked.
    fn has_failed(&self) -> bool {
        // SAFETY: C2: done, this is the one handle, and taking needs it mutably or whole.
        unsafe { self.cell().outcome() }.is_failure()
    }

    fn take(&self) -> Result<T, TaskError> {
        // SAFETY: C2: done (every caller has seen it), and a caller holds the one handle mutably or whole.
        let outcome = unsafe { self.cell().take_outcome() };
        outcome.into_result(|| self.info())
    }
}

impl<'env, T: 'env, H: Host> Future for LocalTask<'env, T, H> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_finished(WaitKey::HANDLE, cx).map(|()| self.take())
    }
}

impl<'env, T: 'env, H: Host> fmt::Debug for LocalTask<'env, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        f.debug_struct("LocalTask").field("task", &info).field("finished", &self.is_finished()).finish()
    }
}
