//! Cancel travels down the tree, never up (R4), and never recursively (R18).

use std::collections::VecDeque;

use super::member::{DropMode, NodeRef, wake};
use super::node::Marked;
use super::token::Waiters;
use super::{CancelCause, CancelReason, Node, NodeKind};
use crate::sync::Arc;
use crate::trace;

/// The cause that a member of `parent` gets: siblings share their group's, and a scope its region's; a group
/// under a cancelled region gets a link of its own, so that the chain can be read from the leaf to the root. A
/// token says what the node above it says.
pub(super) fn cause_for(parent: &NodeRef, member: &NodeRef, cause: &CancelCause) -> CancelCause {
    match (parent.node().kind(), member.node().kind()) {
        (NodeKind::Group, _) | (_, NodeKind::Start | NodeKind::Scope | NodeKind::Token) => cause.clone(),
        _ => CancelCause::host_cancelled(parent.node().info(), member.node().info(), cause.clone()),
    }
}

/// Whether a cancel of `parent` reaches a member: not into a shield (R14), and not into what a cooperative
/// task opened (R15), but for its tokens. Scopes of a blocking closure, which cannot be cut at them, are left
/// alone too.
pub(super) fn passes_to(parent: &Node, member: &Node) -> bool {
    match member.kind() {
        NodeKind::Shield => false,
        NodeKind::Token => true,
        NodeKind::Scope => parent.is_cuttable(),
        _ => !parent.is_cooperative(),
    }
}

/// What is below a node that has just been marked, each with the cause that it gets.
fn below(node: &NodeRef, marked: Marked) -> impl Iterator<Item = (NodeRef, CancelCause)> + use<'_> {
    let Marked { members, cause, .. } = marked;
    let forward = node.forward().map(|child| (child, cause.clone()));
    let members = members.into_iter().map(move |member| {
        let cause = cause_for(node, &member, &cause);
        (member, cause)
    });
    forward.into_iter().chain(members)
}

/// Whom the marks of one walk have to tell of the cancel when everything is marked.
#[derive(Default)]
struct Waiting(Vec<Waiters>);

impl Waiting {
    fn take_from(&mut self, marked: &mut Marked) {
        let waiters = std::mem::take(&mut marked.waiters);
        if !waiters.is_empty() {
            self.0.push(waiters);
        }
    }

    fn tell(self) {
        self.0.into_iter().for_each(Waiters::tell);
    }
}

/// Marks `root` and everything below it, a body before its siblings, and wakes them.
pub(crate) fn cancel(root: &NodeRef, cause: CancelCause) {
    let mut pending = VecDeque::from([(NodeRef::clone(root), cause)]);
    let mut waiting = Waiting::default();
    while let Some((node, cause)) = pending.pop_front() {
        let Some(mut marked) = node.node().mark_first(cause) else { continue };
        waiting.take_from(&mut marked);
        if let Some(waker) = marked.waker.take() {
            wake(waker);
        }
        node.on_cancel(&node);
        // After that: one that has not started may have been ended by it.
        if node.node().is_crewed() {
            Arc::clone(&node).wake();
        }
        tell(node.node(), &marked.cause);
        let closure = node.node().kind() == NodeKind::Blocking;
        for (member, cause) in below(&node, marked) {
            if passes_to(node.node(), member.node()) {
                pending.push_back((member, cause));
            } else if closure && member.node().kind() == NodeKind::Scope {
                pending.extend(through_scope(&member, &cause));
            }
        }
    }
    waiting.tell();
}

/// Wakes whoever polls a region, for it to look at something that has changed.
pub(crate) fn wake_host(region: &NodeRef) {
    match region.node().is_crewed() {
        true => Arc::clone(region).wake(),
        false => region.node().wake_host(),
    }
}

/// The groups inside a scope of a blocking closure: they are cancelled with the closure, as those that it runs
/// outside a scope; the scope itself cannot be cut.
fn through_scope(scope: &NodeRef, cause: &CancelCause) -> Vec<(NodeRef, CancelCause)> {
    let (mut reached, mut scopes) = (Vec::new(), vec![NodeRef::clone(scope)]);
    while let Some(scope) = scopes.pop() {
        for member in scope.node().members_snapshot() {
            match member.node().kind() {
                NodeKind::Scope => scopes.push(member),
                NodeKind::Shield => {}
                _ => reached.push((NodeRef::clone(&member), cause_for(&scope, &member, cause))),
            }
        }
    }
    reached
}

/// Marks everything below `root`, then drops it, the deepest first (R2): when a task's future is
/// dropped, the groups inside it are empty already, so neither depth nor width costs stack.
pub(crate) fn drop_subtree(root: &NodeRef, cause: CancelCause, mode: DropMode) {
    let mut pending = VecDeque::from([(NodeRef::clone(root), cause)]);
    let mut order = Vec::new();
    let mut waiting = Waiting::default();
    while let Some((node, cause)) = pending.pop_front() {
        // Also below a node that was marked before: another thread may still be on its way down.
        let mut marked = node.node().mark(cause);
        waiting.take_from(&mut marked);
        // A task is not woken: it is dropped below, or by whoever polls it now.
        if let Some(waker) = marked.waker.take() {
            wake(waker);
        }
        if mode == DropMode::Forced {
            node.node().set_forced();
        }
        if marked.first || mode == DropMode::Forced {
            node.on_cancel(&node);
        }
        if marked.first {
            tell(node.node(), &marked.cause);
        }
        pending.extend(below(&node, marked));
        order.push(node);
    }
    // Before the drops: one of them may wait for a poll that ends when its token says so.
    waiting.tell();
    while let Some(node) = order.pop() {
        node.drop_now(mode);
    }
}

/// Logs the cancel of a group. What is inside follows from it.
fn tell(node: &Node, cause: &CancelCause) {
    if node.kind() == NodeKind::Group {
        trace::cancelled(&node.fields(), cause);
    }
}

/// The grace period of `member` is over: drops what is left of it, and of all below (R15). A task logs that
/// itself, when it is really dropped.
pub(crate) fn force(member: &NodeRef) {
    let node = member.node();
    if node.kind() == NodeKind::Group {
        let waited = node.cause().map(|cause| cause.at().elapsed());
        trace::grace_ended(node.kind().word(), &node.fields(), waited);
    }
    let cause = CancelCause::grace_ended(member.node());
    drop_subtree(member, cause, DropMode::Forced);
}

/// A child was cut for this cause. If that goes back to a group's deadline, that group is told: the value of
/// its body is not handed out then (R19).
pub(crate) fn note_cut(child: &Node, cause: &CancelCause) {
    let root = cause.root();
    if !matches!(root.reason(), CancelReason::Deadline(..)) || root.target().kind() != NodeKind::Group {
        return;
    }
    let mut next = child.parent();
    while let Some(above) = next {
        if above.node().id() == root.target().id() && above.node().kind() == NodeKind::Group {
            return above.node().set_cut();
        }
        next = above.node().parent();
    }
}
