//! The token by which code that cannot be cut learns that it is cancelled.

use std::fmt;

use crate::tree::{self, CancelCause, Cancelled, NodeRef};

/// Tells a blocking closure that it has been cancelled; it ends by itself then.
///
/// Clone it to hand it to helpers, also on other threads.
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
    node: NodeRef,
}

impl CancelToken {
    pub(super) fn of_current() -> Option<Self> {
        tree::with_current(|node| node.map(|node| Self { node: NodeRef::clone(node) }))
    }

    /// Whether it has been cancelled. One atomic load, without a lock.
    pub fn is_cancelled(&self) -> bool {
        self.node.node().is_cancelled()
    }

    /// Who cancelled, and why; `None` while nobody has.
    pub fn cause(&self) -> Option<CancelCause> {
        self.node.node().cause()
    }

    /// `Ok` while it has not been cancelled: put `token.check()?` into a loop.
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
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("of", &self.node.node().info())
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
