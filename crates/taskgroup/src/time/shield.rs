//! Shields: what is to be finished although the code around it is cancelled.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::core::Core;
use super::elapsed::{Elapsed, limited};
use super::region::Region;
use crate::group::Limit;
use crate::sync::Arc;
use crate::tree::NodeKind;

/// Runs a future to its end although the code around it is cancelled; then that code is cut at its next wait.
///
/// For steps that must not be torn in the middle: a commit, a goodbye to a peer. Also entered after a cancel
/// it completes. It covers what runs inside it: a task spawned into a group outside is not covered. Cancels and
/// deadlines from outside do not reach in; timeouts and groups inside work as ever, and
/// [`deadline`](crate::deadline()) counts from the shield inwards. Being *dropped* is not a cancel: a
/// `select!`, or the end of a grace period, drops the future like any other.
///
/// A shield can hold up its group for as long as it likes: prefer [`shield_for`]. One that has been polled and is
/// then kept aside, or forgotten, holds up the cut of its task too, until it is dropped or woken.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::sync::Arc;
/// let saved = Arc::new(AtomicBool::new(false));
/// let group: taskgroup::TaskGroup = taskgroup::TaskGroup::new();
/// group.spawn::<()>({
///     let saved = Arc::clone(&saved);
///     async move {
///         taskgroup::shield(async {
///             tokio::time::sleep(Duration::from_secs(1)).await;
///             saved.store(true, Ordering::SeqCst);
///         })
///         .await;
///         std::future::pending().await // cut here
///     }
/// });
/// tokio::task::yield_now().await;
/// group.cancel();
/// group.join().await.unwrap();
/// assert!(saved.load(Ordering::SeqCst));
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping it drops the inner future.
#[track_caller]
pub fn shield<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    let core = Arc::new(Core::new(NodeKind::Shield, Location::caller(), None));
    Shield { region: Region::new(core, future) }
}

pin_project! {
    struct Shield<F> {
        #[pin]
        region: Region<F>,
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match ready!(self.project().region.poll(cx)) {
            Ok(output) => Poll::Ready(output),
            // Nobody has a handle of it: it is cancelled only where it is dropped.
            Err(_) => Poll::Pending,
        }
    }
}

/// [`shield`] with a time limit: after it the future is cancelled like any other.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// let goodbye = std::future::pending::<()>(); // a peer that does not answer
/// assert!(taskgroup::shield_for(Duration::from_secs(2), goodbye).await.is_err());
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping it drops the inner future.
///
/// # Errors
///
/// [`Elapsed`], also when the code around it has been cancelled meanwhile.
///
/// # Panics
///
/// Outside a tokio runtime with its clock enabled, if the future has to wait.
#[track_caller]
pub fn shield_for<F: Future>(
    limit: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> + use<F> {
    limited(NodeKind::Shield, Limit::After(limit), future, Location::caller())
}
