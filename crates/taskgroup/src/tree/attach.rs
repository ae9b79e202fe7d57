//! Putting groups, scopes and shields under the region whose code opened them (R4, R14).

use super::member::{Hold, NodeRef};
use super::propagate::{cancel, cause_for, passes_to};
use super::{CancelCause, Node, NodeKind};

/// Puts a group under a region, and under the region's cancel if it has been cancelled (R4).
pub(crate) fn attach_group(region: &NodeRef, group: &NodeRef) {
    if group.node().is_thorough() || group.grace().is_some() {
        note(region);
    }
    if let Some(cause) = attach(region, group, Hold::Nested) {
        cancel(group, cause);
    }
}

/// Puts a scope or a shield under a region. The cause with which a scope is to be cancelled at once is handed
/// back, for the caller holds on to the current node.
#[must_use]
pub(crate) fn attach_scope(region: &NodeRef, scope: &NodeRef) -> Option<CancelCause> {
    let (parent, node) = (region.node(), scope.node());
    let shield = node.kind() == NodeKind::Shield;
    if shield || node.is_thorough() {
        note(region);
    }
    if !shield && (!parent.is_cuttable() || parent.is_in_uncut()) {
        node.set_in_uncut();
    }
    attach(region, scope, if shield { Hold::Shield } else { Hold::Scope })
}

fn attach(region: &NodeRef, member: &NodeRef, hold: Hold) -> Option<CancelCause> {
    let cause = Node::adopt(region, member, hold)?;
    passes_to(region.node(), member.node()).then(|| cause_for(region, member, &cause))
}

/// Notes on the way up, as far as the task that polls all this, that whoever looks at a frozen region must
/// look at all that is inside: there may be a shield or a grace period. Who has the note has handed it on.
fn note(region: &NodeRef) {
    let mut next = Some(NodeRef::clone(region));
    while let Some(member) = next {
        let node = member.node();
        if node.set_thorough() || matches!(node.kind(), NodeKind::Task | NodeKind::Blocking) {
            return;
        }
        next = node.parent();
    }
}
