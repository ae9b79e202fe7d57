//! `timeout`: a future with a time limit.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::core::Core;
use super::region::Region;
use crate::group::Limit;
use crate::sync::Arc;
use crate::tree::{self, CancelCause, Member, NodeInfo, NodeKind};

/// Runs a future for at most this long, counted from the first poll.
///
/// When the time is over, the future is cancelled *and waited for*: groups inside come to their end first, so
/// nothing of it goes on behind your back. A value that it has by then wins. A time limit of zero gives the
/// future one poll.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// let slow = tokio::time::sleep(Duration::from_secs(60));
/// let error = taskgroup::timeout(Duration::from_secs(5), slow).await.unwrap_err();
/// assert_eq!(error.after(), Duration::from_secs(5));
///
/// let quick = async { "here" };
/// assert_eq!(taskgroup::timeout(Duration::ZERO, quick).await.unwrap(), "here");
/// # }
/// ```
///
/// To move the limit while the work goes on, take a [`CancelScope`](crate::CancelScope).
///
/// # Cancel safety
///
/// Dropping it drops the inner future.
///
/// # Errors
///
/// [`Elapsed`], and only for its own time limit. When the task around it is cancelled nothing comes out: the
/// task is cut here. Where several limits pass together, the outermost reports.
///
/// # Panics
///
/// Outside a tokio runtime with its clock enabled, if the future has to wait. When it was cancelled with the
/// code that polled it, and is polled again by code that was not (a `&mut timeout` that outlived a scope).
#[track_caller]
pub fn timeout<F: Future>(
    limit: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> + use<F> {
    limited(NodeKind::Scope, Limit::After(limit), future, Location::caller())
}

/// Runs a future until this instant at most; otherwise as [`timeout`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// use tokio::time::Instant;
/// let lunch = Instant::now() + Duration::from_secs(60);
/// for step in 0..3 {
///     let pause = tokio::time::sleep(Duration::from_secs(10));
///     taskgroup::timeout_at(lunch, pause).await.unwrap(); // all of them together, not each
/// }
/// # }
/// ```
///
/// # Errors
///
/// As [`timeout`].
///
/// # Panics
///
/// As [`timeout`].
#[track_caller]
pub fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> + use<F> {
    limited(NodeKind::Scope, Limit::At(deadline), future, Location::caller())
}

pin_project! {
    /// Written out: an `async` block would hold the inner future twice, as what it has captured and as what it awaits.
    pub(super) struct Limited<F> {
        #[pin]
        region: Region<F>,
        location: &'static Location<'static>,
    }
}

pub(super) fn limited<F: Future>(
    kind: NodeKind,
    limit: Limit,
    future: F,
    location: &'static Location<'static>,
) -> Limited<F> {
    let core = Arc::new(Core::new(kind, location, Some(limit)));
    Limited { region: Region::new(core, future), location }
}

impl<F: Future> Future for Limited<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let cause = match ready!(this.region.as_mut().poll(cx)) {
            Ok(output) => return Poll::Ready(Ok(output)),
            Err(cause) => cause,
        };
        let core = this.region.core();
        match core.expired() {
            Some(after) => Poll::Ready(Err(Elapsed { scope: core.node().info(), after })),
            None => {
                assert_cut(&cause, this.location);
                Poll::Pending
            }
        }
    }
}

/// What was cut with its surroundings has no value to give. They are cut too, here; unless the future was
/// taken out of them, and is asked again elsewhere.
pub(super) fn assert_cut(cause: &CancelCause, location: &'static Location<'static>) {
    assert!(
        tree::is_cut(),
        "the future made at {location} was cancelled with the code that it was polled in before ({cause}), and \
         polled again outside: it has no value to give"
    );
}

/// A time limit passed before the work was done.
///
/// It names the scope, by the place where it was opened, and how long it had: its `Display` is
/// `scope #4 (opened at src/main.rs:12:5) ran out of time after 5s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elapsed {
    scope: NodeInfo,
    after: Duration,
}

impl Elapsed {
    /// The scope whose time it was.
    pub fn scope(&self) -> &NodeInfo {
        &self.scope
    }

    /// Where the scope was opened.
    pub fn location(&self) -> &'static Location<'static> {
        self.scope.location()
    }

    /// How long it had.
    pub fn after(&self) -> Duration {
        self.after
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (opened at {}) ran out of time after {:?}", self.scope, self.location(), self.after)
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}
