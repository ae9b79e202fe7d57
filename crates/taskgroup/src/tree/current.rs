//! The current node: the region whose future is being polled, or dropped, on this thread.

use std::cell::RefCell;

use super::{NodeInfo, NodeKind, NodeRef};
use crate::sync::thread_local;

thread_local! {
    static CURRENT: RefCell<Option<NodeRef>> = RefCell::new(None);
}

/// Makes `node` the current one until the guard is dropped.
pub(crate) fn enter(node: NodeRef) -> Entered {
    let outer = CURRENT.try_with(|current| current.borrow_mut().replace(node)).ok().flatten();
    Entered { outer }
}

#[must_use]
pub(crate) struct Entered {
    outer: Option<NodeRef>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let outer = self.outer.take();
        // The reference is dropped after the borrow has ended: it may be the last one.
        let _left = CURRENT.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), outer));
    }
}

/// Runs `look` on the current node. Outside every node, and while the thread is being torn down: `None`.
pub(crate) fn with_current<R>(look: impl FnOnce(Option<&NodeRef>) -> R) -> R {
    let mut look = Some(look);
    let seen = CURRENT.try_with(|current| (look.take().expect("called once"))(current.borrow().as_ref()));
    match seen {
        Ok(answer) => answer,
        Err(_torn_down) => (look.take().expect("not called above"))(None),
    }
}

/// Who runs here: the task or body whose code this is, or `None` outside every group.
///
/// Use it to name the caller in a log line, or to let a task read the name it was given.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// taskgroup::scope(async |tg| {
///     tg.task().name("indexer").spawn(async {
///         assert_eq!(taskgroup::current().unwrap().name(), Some("indexer"));
///         Ok(())
///     });
///     Ok(())
/// })
/// .await
/// # }
/// ```
pub fn current() -> Option<NodeInfo> {
    with_current(|node| node.map(|node| node.node().info()))
}

/// Whether the region whose code this is has been cancelled: its next wait will not come back (R12).
///
/// Use it in a long computation between waits, to stop early. One atomic load; outside every group `false`.
///
/// ```
/// assert!(!taskgroup::is_cancelled());
/// ```
pub fn is_cancelled() -> bool {
    with_current(|node| node.is_some_and(|node| node.node().is_cancelled()))
}

/// Whether a wait here does not come back: the region is cancelled, and is one that can be cut. A blocking
/// closure cannot, so what it blocks on must end.
pub(crate) fn is_cut() -> bool {
    with_current(|node| {
        node.is_some_and(|node| node.node().is_cancelled() && node.node().kind() != NodeKind::Blocking)
    })
}
