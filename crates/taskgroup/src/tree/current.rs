//! The current node: the region whose future is being polled, or dropped, on this thread.

use std::cell::RefCell;

use tokio::time::Instant;

use super::propagate::passes_to;
use super::{Node, NodeInfo, NodeKind, NodeRef, stamp};
use crate::sync::thread_local;

/// Who runs on this thread.
enum Current {
    Nobody,
    Node(NodeRef),
    Late(Late),
}

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro knows no const")]
    static CURRENT: RefCell<Current> = RefCell::new(Current::Nobody);
}

/// The children that a host polls one after the other, most of which stand in no books, and have no node: it is made, and
/// the child entered, when something in it asks for the current one.
#[derive(Clone, Copy)]
pub(crate) struct Late {
    host: *const (),
    enter: fn(*const ()) -> Option<NodeRef>,
}

impl Late {
    /// # Safety
    ///
    /// `enter` may be called with `host` on this thread as long as the guard of [`enter_late`] lives. It gives the child
    /// that is being polled.
    pub(crate) unsafe fn new(host: *const (), enter: fn(*const ()) -> Option<NodeRef>) -> Self {
        Self { host, enter }
    }
}

/// Makes `node` the current one until the guard is dropped.
pub(crate) fn enter(node: NodeRef) -> Entered {
    Entered::of(Current::Node(node))
}

/// Makes the node that the child will have that a host polls the current one until the guard is dropped.
pub(crate) fn enter_late(late: Late) -> Entered {
    Entered::of(Current::Late(late))
}

#[must_use]
pub(crate) struct Entered {
    outer: Current,
}

impl Entered {
    /// The child that had asked for the current node is polled no more.
    #[cold]
    pub(crate) fn again(&self, late: Late) {
        // The reference is dropped after the borrow has ended.
        let _polled = CURRENT.try_with(|current| current.replace(Current::Late(late)));
    }

    fn of(current: Current) -> Self {
        stamp::forget();
        let mut current = Some(current);
        let mut replace = |place: &RefCell<Current>| current.take().map(|new| place.replace(new));
        let outer = CURRENT.try_with(&mut replace).ok().flatten();
        Self { outer: outer.unwrap_or(Current::Nobody) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        stamp::forget();
        let outer = std::mem::replace(&mut self.outer, Current::Nobody);
        // The reference is dropped after the borrow has ended: it may be the last one.
        let _left = CURRENT.try_with(|current| current.replace(outer));
    }
}

/// Makes the node in `home` the current one until the guard is dropped, and puts it back: as [`enter`], for
/// whoever is polled often.
#[inline]
pub(crate) fn enter_from(home: &mut Option<NodeRef>) -> EnteredFrom<'_> {
    stamp::forget();
    let node = home.take().map_or(Current::Nobody, Current::Node);
    match CURRENT.try_with(|current| current.replace(node)) {
        Ok(outer) => EnteredFrom { outer, home },
        // Torn down with the thread: the node is gone with the closure, and nobody asks for it any more.
        Err(_) => EnteredFrom { outer: Current::Nobody, home },
    }
}

#[must_use]
pub(crate) struct EnteredFrom<'h> {
    outer: Current,
    home: &'h mut Option<NodeRef>,
}

impl Drop for EnteredFrom<'_> {
    #[inline]
    fn drop(&mut self) {
        stamp::forget();
        let outer = std::mem::replace(&mut self.outer, Current::Nobody);
        if let Ok(Current::Node(node)) = CURRENT.try_with(|current| current.replace(outer)) {
            *self.home = Some(node);
        }
    }
}

/// Runs `look` on the current node. Outside every node, and while the thread is being torn down: `None`.
pub(crate) fn with_current<R>(look: impl FnOnce(Option<&NodeRef>) -> R) -> R {
    let mut look = Some(look);
    let seen = CURRENT.try_with(|current| {
        let late = match &*current.borrow() {
            Current::Late(late) => Some(*late),
            _ => None,
        };
        if let Some(late) = late {
            // Outside of the borrow, for it may wake somebody.
            if let Some(node) = (late.enter)(late.host) {
                current.replace(Current::Node(node));
            }
        }
        let look = look.take().expect("called once");
        match &*current.borrow() {
            Current::Node(node) => look(Some(node)),
            _ => look(None),
        }
    });
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
/// Use it in a long computation between waits, to stop early. In a cooperative task and in a blocking
/// closure, which are not cut, it says that it is time to end; inside a [`shield`](crate::shield()) it
/// speaks of the shield alone. One atomic load; outside every group `false`.
///
/// ```
/// assert!(!taskgroup::is_cancelled());
/// ```
pub fn is_cancelled() -> bool {
    with_current(|node| node.is_some_and(|node| node.node().is_cancelled() || is_host_cancelled(node.node())))
}

/// A scope in a region that is not cut is not cancelled with it; its code still wants to know.
fn is_host_cancelled(scope: &Node) -> bool {
    scope.is_in_uncut() && scope.parent().is_some_and(|above| uncut_host(above).node().is_cancelled())
}

/// The cooperative task or blocking closure that a scope of its own is in; else the region itself.
pub(super) fn uncut_host(region: NodeRef) -> NodeRef {
    let mut host = region;
    while host.node().is_in_uncut() && !host.node().is_cancelled() {
        match host.node().parent() {
            Some(above) => host = above,
            None => break,
        }
    }
    host
}

/// The region whose cancel the code here is told of.
pub(crate) fn told_region() -> Option<NodeRef> {
    with_current(|node| node.cloned()).map(uncut_host)
}

/// Whether a wait here does not come back: the region is cancelled, and is one that can be cut.
pub(crate) fn is_cut() -> bool {
    with_current(|node| node.is_some_and(|node| node.node().is_cut()))
}

/// Whether a cancel is on its way to the region whose code this is: something above is marked, and what is
/// between is not yet.
pub(crate) fn is_being_cut() -> bool {
    let mut next = with_current(|node| node.cloned());
    while let Some(member) = next {
        let node = member.node();
        let Some(above) = node.parent() else { return false };
        if !passes_to(above.node(), node) {
            return false;
        }
        if above.node().is_cut() || (above.node().kind() == NodeKind::Blocking && above.node().is_cancelled())
        {
            return true;
        }
        next = Some(above);
    }
    false
}

/// The nearest deadline that holds here, if any: the earliest of the timeouts, scopes and groups around this
/// code, up to the nearest [`shield`](crate::shield()) or cooperative task (R19).
///
/// Use it to pass a time limit on to something outside the program, or to skip work that cannot be done in
/// time. Once the code has been cancelled it is never in the future.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::Elapsed> {
/// use std::time::Duration;
/// assert_eq!(taskgroup::deadline(), None);
/// taskgroup::timeout(Duration::from_secs(5), async {
///     let left = taskgroup::deadline().unwrap() - tokio::time::Instant::now();
///     assert!(left <= Duration::from_secs(5));
/// })
/// .await
/// # }
/// ```
pub fn deadline() -> Option<Instant> {
    let node = with_current(|node| node.cloned())?;
    let nearest = nearest_deadline(Some(NodeRef::clone(&node)), |_| true);
    match node.node().is_cut() {
        true => Some(nearest.map_or_else(Instant::now, |deadline| deadline.min(Instant::now()))),
        false => nearest,
    }
}

/// The earliest deadline from a node upwards whose cancel would cut that node.
pub(crate) fn deadline_that_cuts(start: Option<NodeRef>) -> Option<Instant> {
    nearest_deadline(start, Node::is_cuttable)
}

/// The earliest deadline from a node upwards, as far as one from outside reaches in, and no further than `on` says.
fn nearest_deadline(start: Option<NodeRef>, on: impl Fn(&Node) -> bool) -> Option<Instant> {
    let (mut next, mut nearest) = (start, None::<Instant>);
    while let Some(member) = next {
        if let Some(deadline) = member.deadline() {
            nearest = Some(nearest.map_or(deadline, |other| other.min(deadline)));
        }
        let node = member.node();
        if node.kind() == NodeKind::Shield || node.is_cooperative() || !on(node) {
            break;
        }
        next = node.parent();
    }
    nearest
}
