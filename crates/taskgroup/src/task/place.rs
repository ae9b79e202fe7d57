//! Who polls a cell: today a tokio task for each child. The only module that gives work to the runtime.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;

use super::cell::{Reporter, TaskCell};
use super::grace::Grace;
use super::outcome::Ended;
use super::state::ClaimDrop;
use super::waiting::thread_token;
use crate::sync::Arc;
use crate::tree::{self, CancelCause, CancelReason, Member, NodeRef};

/// What the runtime holds of a child: enough to poll it, nothing that lives on when it is dropped.
pub(crate) struct Shell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    cell: Arc<TaskCell<F, T, R>>,
    grace: Grace,
}

impl<F, T, R> Shell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    pub(crate) fn new(cell: Arc<TaskCell<F, T, R>>, grace: Option<Duration>) -> Self {
        Self { cell, grace: Grace::new(grace) }
    }
}

// The future lies in the cell, not here.
impl<F, T, R> Unpin for Shell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
}

impl<F, T, R> Future for Shell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.cell.poll_shell(cx, &mut this.grace)
    }
}

impl<F, T, R> Drop for Shell<F, T, R>
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    /// The runtime lets go of the shell after its last poll, when there is nothing left to do; or when it
    /// is shut down: then nobody will poll the child again, and it ends here.
    fn drop(&mut self) {
        if let ClaimDrop::Granted { started } = self.cell.state.claim_drop(thread_token()) {
            let cause = CancelCause::new(CancelReason::RuntimeShutdown, self.cell.node().info());
            // Marked, so that the groups inside can say what happened; it has no waker any more.
            tree::cancel(&(Arc::clone(&self.cell) as NodeRef), cause);
            self.cell.end_cut(started);
        }
    }
}

/// Gives a child to the runtime. Cancelled, it may take as long as `grace` to end.
pub(crate) fn place<F, T, R>(runtime: &Handle, cell: Arc<TaskCell<F, T, R>>, grace: Option<Duration>)
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    drop(runtime.spawn(Shell::new(cell, grace)));
}

/// Gives a blocking child to the runtime's pool of threads. Its future is ready at its first poll.
pub(crate) fn place_blocking<F, T, R>(runtime: &Handle, cell: Arc<TaskCell<F, T, R>>)
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    // A thread cannot be dropped: no grace period ends it.
    let mut shell = Shell::new(cell, None);
    drop(runtime.spawn_blocking(move || {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let _ = Pin::new(&mut shell).poll(&mut cx);
    }));
}
