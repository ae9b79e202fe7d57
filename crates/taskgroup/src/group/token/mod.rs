//! The token: a cancel that can be asked about, waited for, and handed on.
//!
//! A token is a handle of one node of the tree: of a node of its own ([`Lease`]), or of a group or task. What
//! a token stands under, when it goes, and who waits for it is `tree/token.rs`.

#[cfg(all(test, taskgroup_loom))]
mod loom_tests;
#[cfg(all(test, not(taskgroup_loom)))]
mod tests;
mod wait;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::Location;

use self::wait::{CancelWait, RunUntil};
use crate::tree::{self, CancelCause, CancelReason, Cancelled, Lease, Node, NodeRef};

/// A cancel that code can ask about, wait for, and hand on: for code that is not cut, or not only cut.
///
/// Blocking closures get one from their group; [`TaskGroup::token`](crate::TaskGroup::token) gives that of a
/// group; [`new`](Self::new) makes one that belongs to nobody. A [child](Self::child_token) is cancelled with
/// its parent, never the other way.
///
/// Clone it to hand it to helpers, also on other threads; clones are equal. Dropping a token cancels nothing.
/// A token holds no group open and keeps no task from being cut. When its group or task has ended it is never
/// cancelled any more.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use taskgroup::TaskGroup;
/// let group: TaskGroup = TaskGroup::new();
/// let task = group.spawn_blocking::<()>(|token| {
///     loop {
///         token.check()?; // an error that counts as "cancelled", not as a failure
///         std::thread::yield_now();
///     }
/// });
/// group.cancel();
/// assert!(group.join().await.is_ok());
/// assert!(task.into_result().unwrap_err().is_cancelled());
/// # }
/// ```
#[derive(Clone)]
pub struct CancelToken {
    of: Of,
}

#[derive(Clone)]
enum Of {
    /// A node of its own. Its type is known, so asking it is one load behind one pointer.
    Own(Lease),
    /// A group or a task.
    Region(NodeRef),
}

impl CancelToken {
    /// A token that belongs to nobody: it is cancelled by its own [`cancel`](Self::cancel) alone.
    ///
    /// Use it to stop code that is not in a group, or a part of what a group does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use taskgroup::CancelToken;
    /// let token = CancelToken::new();
    /// let child = token.child_token();
    /// token.cancel_because("closing time");
    /// assert_eq!(child.cancelled().await.to_string(), "closing time");
    /// # }
    /// ```
    #[track_caller]
    pub fn new() -> Self {
        Self { of: Of::Own(Lease::root(Location::caller())) }
    }

    /// The token of a group or task.
    pub(crate) fn of_region(region: NodeRef) -> Self {
        Self { of: Of::Region(region) }
    }

    pub(super) fn of_current() -> Option<Self> {
        tree::with_current(|node| node.map(|node| Self::of_region(NodeRef::clone(node))))
    }

    /// A token that is cancelled with this one, and can be cancelled alone.
    ///
    /// Use it to stop a part of what this token stops. If this one is cancelled already, so is the child. The
    /// child goes on to follow when this token has been dropped; of a group's or task's token it follows the
    /// group or task.
    ///
    /// ```
    /// let shutdown = taskgroup::CancelToken::new();
    /// let (first, second) = (shutdown.child_token(), shutdown.child_token());
    /// first.cancel();
    /// assert!(!shutdown.is_cancelled() && !second.is_cancelled());
    /// shutdown.cancel();
    /// assert!(second.is_cancelled());
    /// ```
    #[track_caller]
    pub fn child_token(&self) -> Self {
        Self { of: Of::Own(Lease::under(self.member(), Location::caller())) }
    }

    #[inline]
    fn node(&self) -> &Node {
        match &self.of {
            Of::Own(lease) => lease.node(),
            Of::Region(region) => region.node(),
        }
    }

    fn member(&self) -> NodeRef {
        match &self.of {
            Of::Own(lease) => lease.member(),
            Of::Region(region) => NodeRef::clone(region),
        }
    }

    /// Cancels the token and everything below it: its children, or the group or task whose token it is.
    ///
    /// Idempotent, the first cause stays. Reaches nobody above; when the group or task has ended it does
    /// nothing. Whoever waits for the token is woken when all below it is cancelled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::new();
    /// let task = group.spawn(std::future::pending::<Result<(), _>>());
    /// group.token().cancel(); // as `group.cancel()`
    /// group.join().await.unwrap();
    /// assert!(task.into_result().unwrap_err().is_cancelled());
    /// # }
    /// ```
    pub fn cancel(&self) {
        self.cancel_with(None);
    }

    /// [`cancel`](Self::cancel) with a message, which everything that is cancelled by it carries as its cause.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// token.cancel_because("closing time");
    /// assert_eq!(token.check().unwrap_err().to_string(), "cancelled: closing time");
    /// ```
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        self.cancel_with(Some(message.into()));
    }

    fn cancel_with(&self, message: Option<Cow<'static, str>>) {
        let member = self.member();
        if !member.is_over() {
            let cause = CancelCause::new(CancelReason::Requested(message), self.node().info());
            tree::cancel(&member, cause);
        }
    }

    /// Whether it has been cancelled. One atomic load, without a lock: cheap enough for an inner loop.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// assert!(!token.is_cancelled());
    /// ```
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.node().is_cancelled()
    }

    /// Who cancelled, and why; `None` while nobody has.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// assert!(token.cause().is_none());
    /// ```
    pub fn cause(&self) -> Option<CancelCause> {
        self.node().cause()
    }

    /// `Ok` while it has not been cancelled: put `token.check()?` into a loop.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// assert!(token.check().is_ok());
    /// token.cancel();
    /// assert!(token.check().is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`Cancelled`]. Returned by a cancelled task it is no failure (R9).
    pub fn check(&self) -> Result<(), Cancelled> {
        match self.cause() {
            Some(cause) => Err(Cancelled::new(cause)),
            None => Ok(()),
        }
    }

    /// Resolves when the token has been cancelled, with the cause; at once if it has been already.
    ///
    /// Use it in a `select!` beside other work. In a cancelled region it is a wait like any other: the region
    /// is cut there (R12).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let token = taskgroup::CancelToken::new();
    /// token.cancel_because("closing time");
    /// assert_eq!(token.cancelled().await.to_string(), "closing time");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it can be dropped and called again.
    pub fn cancelled(&self) -> impl Future<Output = CancelCause> + Send + Sync + Unpin + use<'_> {
        CancelWait::new(self)
    }

    /// [`cancelled`](Self::cancelled) that owns its token: for futures that are `'static`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let token = taskgroup::CancelToken::new();
    /// let waiter = tokio::spawn(token.clone().cancelled_owned());
    /// token.cancel();
    /// assert!(waiter.await.is_ok());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost if it is dropped.
    pub fn cancelled_owned(self) -> impl Future<Output = CancelCause> + Send + Sync + Unpin + 'static {
        CancelWait::new(self)
    }

    /// Runs `future` until it is ready or the token is cancelled: its value, or `None`.
    ///
    /// With a token that is cancelled already `future` is never polled. Later `future` is asked first: when
    /// both are ready its value comes out. Then, or when this future is dropped, `future` is dropped with it;
    /// nothing of it is waited for. To have groups inside come to their end, cancel a task or a group instead.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let token = taskgroup::CancelToken::new();
    /// assert_eq!(token.run_until_cancelled(async { 7 }).await, Some(7));
    /// token.cancel();
    /// assert_eq!(token.run_until_cancelled(async { 7 }).await, None);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As safe as `future` is.
    pub fn run_until_cancelled<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<'_, F> {
        RunUntil::new(self, future)
    }

    /// [`run_until_cancelled`](Self::run_until_cancelled) that owns its token: for futures that are `'static`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let token = taskgroup::CancelToken::new();
    /// let sleeper = tokio::spawn(token.clone().run_until_cancelled_owned(std::future::pending::<()>()));
    /// token.cancel();
    /// assert_eq!(sleeper.await.unwrap(), None);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As safe as `future` is.
    pub fn run_until_cancelled_owned<F: Future>(
        self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        RunUntil::new(self, future)
    }
}

#[cfg(feature = "tokio-util")]
impl CancelToken {
    /// A token of tokio-util's that is cancelled when this one is: for libraries that take those.
    ///
    /// Each call gives a new one. Cancelling it reaches nobody else. It goes on to follow when this token has
    /// been dropped, as a [child](Self::child_token) does. No task is spawned for it, and nothing of it is
    /// left when it has been dropped.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// let theirs = token.to_tokio_util();
    /// token.cancel();
    /// assert!(theirs.is_cancelled());
    /// ```
    pub fn to_tokio_util(&self) -> tokio_util::sync::CancellationToken {
        tree::mirror(self.member()).child_token()
    }

    /// A token that is cancelled when `theirs` is: to hand a token of tokio-util's to code that takes ours.
    ///
    /// It is cancelled inside their `cancel`, without a task, and keeps a handle of `theirs` as long as it, or
    /// a child of it, is alive. Cancelling it does not reach `theirs`. Their tokens carry no reason: the cause
    /// says only that it was one of those.
    ///
    /// ```
    /// let theirs = tokio_util::sync::CancellationToken::new();
    /// let token = taskgroup::CancelToken::from_tokio_util(theirs.clone());
    /// theirs.cancel();
    /// assert!(token.is_cancelled());
    /// ```
    #[track_caller]
    pub fn from_tokio_util(theirs: tokio_util::sync::CancellationToken) -> Self {
        Self { of: Of::Own(tree::follow(theirs, Location::caller())) }
    }
}

impl Default for CancelToken {
    /// As [`new`](CancelToken::new).
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

/// Equal are tokens that are cancelled as one: clones of each other, and the tokens of one group or task.
impl PartialEq for CancelToken {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.node(), other.node())
    }
}

impl Eq for CancelToken {}

impl Hash for CancelToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::hash(self.node(), state);
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("of", &self.node().info())
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
