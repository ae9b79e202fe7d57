//! Cancel travels down the tree, never up (R4), and never recursively (R18).

use super::member::{NodeRef, OnDropWait, wake};
use super::{CancelCause, NodeKind};

/// The cause that a member of `parent` gets: siblings share their group's; a group under a cancelled
/// region gets a link of its own, so that the chain can be read from the leaf to the root.
fn cause_for(parent: &NodeRef, member: &NodeRef, cause: &CancelCause) -> CancelCause {
    match (parent.node().kind(), member.node().kind()) {
        (NodeKind::Group, _) | (_, NodeKind::Start) => cause.clone(),
        _ => CancelCause::host_cancelled(parent.node().info(), member.node().info(), cause.clone()),
    }
}

/// Marks `root` and everything below it, a body before its siblings, and wakes them.
pub(crate) fn cancel(root: &NodeRef, cause: CancelCause) {
    let mut pending = vec![(NodeRef::clone(root), cause)];
    let mut reached = 0;
    while reached < pending.len() {
        let (node, cause) = pending[reached].clone();
        reached += 1;
        let marked = node.node().mark(&cause);
        if !marked.first {
            continue;
        }
        if let Some(waker) = marked.waker {
            wake(waker);
        }
        node.on_cancel();
        let below = marked.members.into_iter().map(|member| {
            let cause = cause_for(&node, &member, &marked.cause);
            (member, cause)
        });
        pending.extend(below);
    }
}

/// Marks everything below `root`, then drops it, the deepest first (R2): when a task's future is
/// dropped, the groups inside it are empty already, so neither depth nor width costs stack.
pub(crate) fn drop_subtree(root: &NodeRef, cause: CancelCause, wait: OnDropWait) {
    let mut order = vec![(NodeRef::clone(root), cause)];
    let mut reached = 0;
    while reached < order.len() {
        let (node, cause) = order[reached].clone();
        reached += 1;
        // Also below a node that was marked before: another thread may still be on its way down.
        let marked = node.node().mark(&cause);
        if let Some(waker) = marked.waker {
            match node.node().kind() {
                // Its shell is woken when the future has been dropped, not to race for it before.
                NodeKind::Task => node.node().store_waker(&waker),
                _ => wake(waker),
            }
        }
        if marked.first {
            node.on_cancel();
        }
        let below = marked.members.into_iter().map(|member| {
            let cause = cause_for(&node, &member, &marked.cause);
            (member, cause)
        });
        order.extend(below);
    }
    while let Some((node, _)) = order.pop() {
        node.drop_now(wait);
    }
}
