//! `CancelScope`: a part of a task that can be cancelled alone.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::core::{Core, Refusal};
use super::region::Region;
use crate::group::Limit;
use crate::sync::Arc;
use crate::tree::{Cancelled, Id, Member, NodeInfo, NodeKind};

/// A part of a task that is cancelled as a unit: by its deadline, or through its [`handle`](Self::handle).
///
/// Use it where [`timeout`](crate::timeout) is too little: a deadline that moves while the work goes on, a
/// cancel button for one step of a task. Everything inside is cancelled with it, the groups that are run in
/// it included, and waited for; the code around it goes on.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// use taskgroup::CancelScope;
/// let scope = CancelScope::timeout(Duration::from_secs(10)).name("upload");
/// let handle = scope.handle();
/// let sent = scope.run(async {
///     for part in 0..5 {
///         tokio::time::sleep(Duration::from_secs(8)).await; // send a part
///         let next = tokio::time::Instant::now() + Duration::from_secs(10);
///         handle.reschedule(next).unwrap(); // it is getting on: ten seconds more
///     }
///     5
/// });
/// assert_eq!(sent.await.unwrap(), 5);
/// assert!(!handle.expired());
/// # }
/// ```
#[must_use = "a scope does nothing until `run` is called"]
pub struct CancelScope {
    shield: bool,
    name: Option<Cow<'static, str>>,
    limit: Option<Limit>,
    location: &'static Location<'static>,
    core: OnceLock<Arc<Core>>,
}

impl CancelScope {
    /// A scope without a deadline.
    #[track_caller]
    pub fn new() -> Self {
        Self { shield: false, name: None, limit: None, location: Location::caller(), core: OnceLock::new() }
    }

    /// A scope that is cancelled this long after its entry, which is the first poll of [`run`](Self::run).
    #[track_caller]
    pub fn timeout(timeout: Duration) -> Self {
        let limit = Some(Limit::After(timeout));
        Self { shield: false, name: None, limit, location: Location::caller(), core: OnceLock::new() }
    }

    /// A scope that is cancelled at this instant. One in the past has expired: then the work is polled once,
    /// and a value that is ready wins.
    #[track_caller]
    pub fn deadline(deadline: Instant) -> Self {
        let limit = Some(Limit::At(deadline));
        Self { shield: false, name: None, limit, location: Location::caller(), core: OnceLock::new() }
    }

    /// The scope's name in causes and errors.
    ///
    /// # Panics
    ///
    /// After [`handle`](Self::handle).
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.assert_unshared("name");
        self.name = Some(name.into());
        self
    }

    /// Makes the scope a [`shield`](crate::shield()) too: cancels and deadlines from outside do not reach in (R14).
    ///
    /// # Panics
    ///
    /// After [`handle`](Self::handle).
    pub fn shielded(mut self) -> Self {
        self.assert_unshared("shielded");
        self.shield = true;
        self
    }

    fn assert_unshared(&self, setting: &str) {
        assert!(
            self.core.get().is_none(),
            "`{setting}` was called after `handle`: a scope's settings come first"
        );
    }

    fn core(&self) -> Arc<Core> {
        let kind = if self.shield { NodeKind::Shield } else { NodeKind::Scope };
        let make = || Arc::new(Core::with_handles(kind, self.name.clone(), self.location, self.limit));
        Arc::clone(self.core.get_or_init(make))
    }

    /// A handle to look at the scope, to cancel it or to move its deadline: before, while and after it runs,
    /// from inside, from other tasks, from plain threads.
    pub fn handle(&self) -> ScopeHandle {
        ScopeHandle { core: self.core() }
    }

    /// Runs a future inside the scope.
    ///
    /// A value that exists wins, also when the scope was cancelled before: work that answers its cancel
    /// with a value, or comes to its end without another wait, has not been cut.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the inner one; groups inside are dropped as [`TaskGroup`](crate::TaskGroup)
    /// says.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the scope was cancelled by its deadline or its handle, and the work was cut by it. When
    /// the task around it is cancelled nothing comes out: the task is cut here.
    ///
    /// # Panics
    ///
    /// With a deadline, outside a tokio runtime with its clock enabled.
    pub fn run<F: Future>(self, future: F) -> impl Future<Output = Result<F::Output, Cancelled>> + use<F> {
        Scoped { region: Region::new(self.core(), future) }
    }
}

pin_project! {
    struct Scoped<F> {
        #[pin]
        region: Region<F>,
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().region.poll(cx).map_err(Cancelled::new)
    }
}

impl Default for CancelScope {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScope")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("shielded", &self.shield)
            .finish_non_exhaustive()
    }
}

/// A handle of a [`CancelScope`]. Clone it freely; it keeps nothing alive.
#[derive(Clone)]
pub struct ScopeHandle {
    core: Arc<Core>,
}

impl ScopeHandle {
    /// Cancels what runs in the scope, and nothing else. Before the entry: its first wait will be cut.
    /// Idempotent; once the scope has ended it does nothing.
    pub fn cancel(&self) {
        self.core.cancel(None);
    }

    /// [`cancel`](Self::cancel) with a message, which everything that is cut by it carries as its cause.
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        self.core.cancel(Some(message.into()));
    }

    /// Moves the deadline, or takes it away with `None`. One in the past cancels the scope at once.
    ///
    /// Cheap: however often it is called, the scope has one timer.
    ///
    /// # Errors
    ///
    /// [`RescheduleError`] if it is too late: the scope has been cancelled, by whomever, or has ended.
    pub fn reschedule(&self, deadline: impl Into<Option<Instant>>) -> Result<(), RescheduleError> {
        let scope = || self.core.node().info();
        self.core.reschedule(deadline.into()).map_err(|refusal| RescheduleError { refusal, scope: scope() })
    }

    /// The scope's own deadline. Before the entry of a scope with a time limit there is none yet; for what
    /// holds inside, with everything around, see [`deadline`](crate::deadline()).
    pub fn deadline(&self) -> Option<Instant> {
        self.core.deadline()
    }

    /// Whether this very scope was asked to end: by [`cancel`](Self::cancel), or by its deadline. A cancel of
    /// something around it does not count.
    pub fn cancel_called(&self) -> bool {
        self.core.cancel_called()
    }

    /// Whether it was the deadline that cancelled this scope. Code that went on to a value all the same is not
    /// affected: look at what `run` returned.
    pub fn expired(&self) -> bool {
        self.core.expired().is_some()
    }

    /// Whether the scope is cancelled: by itself, or with what is around it.
    pub fn is_cancelled(&self) -> bool {
        self.core.node().is_cancelled()
    }

    /// The identity of the scope, as it stands in causes.
    pub fn id(&self) -> Id {
        self.core.node().id()
    }
}

impl fmt::Debug for ScopeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeHandle")
            .field("scope", &self.core.node().info())
            .field("deadline", &self.deadline())
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

/// A deadline could not be moved any more: its scope had been cancelled, or had ended.
#[derive(Clone, Debug)]
pub struct RescheduleError {
    refusal: Refusal,
    scope: NodeInfo,
}

impl RescheduleError {
    /// The scope has ended. Otherwise it has been cancelled, and its work is on its way out.
    pub fn has_ended(&self) -> bool {
        self.refusal == Refusal::Ended
    }
}

impl fmt::Display for RescheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.refusal {
            Refusal::Cancelled => "has been cancelled already",
            Refusal::Ended => "has ended",
        };
        write!(f, "the deadline was not moved: {} (opened at {}) {why}", self.scope, self.scope.location())
    }
}

impl std::error::Error for RescheduleError {}
