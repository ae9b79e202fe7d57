//! Putting groups, scopes and shields under the region whose code opened them (R4, R14).

use super::member::{Hold, NodeRef};
use super::propagate::{cancel, cause_for, passes_to};
use super::{Node, NodeKind};

/// Puts a group under a region, and under the region's cancel if it has been cancelled (R4).
pub(crate) fn attach_group(region: &NodeRef, group: &NodeRef) {
    if group.node().is_thorough() || group.grace().is_some() {
        note(region);
    }
    attach(region, group, Hold::Nested);
}

/// Puts a scope or a shield under a region; a scope also under the region's cancel.
pub(crate) fn attach_scope(region: &NodeRef, scope: &NodeRef) {
    let (parent, node) = (region.node(), scope.node());
    if node.kind() == NodeKind::Shield {
        note(region);
        return attach(region, scope, Hold::Shield);
    }
    if node.is_thorough() {
        note(region);
    }
    if !parent.is_cuttable() || parent.is_in_uncut() {
        node.set_in_uncut();
    }
    attach(region, scope, Hold::Scope);
}

fn attach(region: &NodeRef, member: &NodeRef, hold: Hold) {
    if let Some(cause) = Node::adopt(region, member, hold)
        && passes_to(region.node(), member.node())
    {
        cancel(member, cause_for(region, member, &cause));
    }
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
