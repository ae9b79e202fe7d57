//! Waits that are there to be cut at.

use std::task::Poll;

use tokio::time::Instant;

use crate::group::CancelToken;
use crate::tree::{self, CancelCause};

/// A wait that is over at once, unless this code has been cancelled or is out of time: then it is cut here.
///
/// Put it into a long loop that never waits otherwise. It yields to other tasks when this one's turn has been
/// long enough (tokio's budget), so calling it often is cheap.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let group: taskgroup::TaskGroup = taskgroup::TaskGroup::new();
/// let busy = group.spawn::<()>(async {
///     loop {
///         taskgroup::checkpoint().await; // without this it could not be stopped
///     }
/// });
/// tokio::task::yield_now().await;
/// group.cancel();
/// group.join().await.unwrap();
/// assert!(busy.into_result().unwrap_err().is_cancelled());
/// # }
/// ```
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn checkpoint() {
    // A deadline that has passed is acted on by whoever polls its scope, when it sees this wait.
    let mut late = tree::deadline().is_some_and(|deadline| deadline <= Instant::now());
    std::future::poll_fn(|cx| {
        if tree::is_cut() {
            return Poll::Pending;
        }
        if std::mem::take(&mut late) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let budget = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        budget.made_progress();
        Poll::Ready(())
    })
    .await;
}

/// Resolves when this code has been cancelled, where it is not cut: in a cooperative task.
///
/// Use it there in a `select!` beside the work, to hear of the cancel at once. Everywhere else a cancelled
/// region is cut at this wait as at any other, so it does not come back; inside a
/// [`shield`](crate::shield()) it waits for a cancel of the shield; outside every group for ever.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let group: taskgroup::TaskGroup = taskgroup::TaskGroup::new();
/// let task = group.task().cooperative(|_token| async {
///     let cause = taskgroup::cancelled().await;
///     Ok(cause.to_string()) // a goodbye
/// });
/// tokio::task::yield_now().await;
/// group.cancel_because("closing time");
/// group.join().await.unwrap();
/// assert_eq!(task.into_result().unwrap(), "closing time");
/// # }
/// ```
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn cancelled() -> CancelCause {
    match tree::told_region() {
        Some(region) => CancelToken::of_region(region).cancelled_owned().await,
        None => std::future::pending().await,
    }
}
