//! Putting groups, scopes and shields under the region whose code opened them (R4, R14).

use super::current::{uncut_host, with_current};
use super::flags::{GRACED, SHIELDED};
use super::links::{detach, rehome};
use super::member::{Hold, NodeRef, wake};
use super::propagate::{cancel, cause_for, passes_to};
use super::{CancelCause, Node, NodeKind, shield};

/// Puts a group under a region, and under the region's cancel if it has been cancelled (R4).
pub(crate) fn attach_group(region: &NodeRef, group: &NodeRef) {
    let graced = if group.grace().is_some() { GRACED } else { 0 };
    note(region, graced | group.node().flags().which(SHIELDED | GRACED));
    if let Some(cause) = attach(region, group, Hold::Nested).or_else(|| closures_cause(region)) {
        cancel(group, cause);
    }
}

/// A scope of a blocking closure is not cancelled with it; a group that is opened in such a scope is. It is
/// put into the scope before this look, so either this finds the mark or the mark's walk finds the group.
fn closures_cause(region: &NodeRef) -> Option<CancelCause> {
    if !region.node().is_in_uncut() {
        return None;
    }
    let host = uncut_host(NodeRef::clone(region));
    let because = host.node().cause().filter(|_| host.node().kind() == NodeKind::Blocking)?;
    Some(CancelCause::host_cancelled(host.node().info(), region.node().info(), because))
}

/// Puts a scope, a shield or a pending start that is polled under the current region, if it stands elsewhere:
/// it was polled inside something that has ended since, or on another task.
pub(crate) fn follow_current(member: &NodeRef) {
    let moved =
        with_current(|region| region.filter(|region| !member.node().stands_under(region.node())).cloned());
    let Some(region) = moved else { return };
    drop(detach(member.node()));
    // Whoever waited for it to end where it stood.
    if member.node().kind() == NodeKind::Start
        && let Some(waker) = member.node().take_waker()
    {
        wake(waker);
    }
    let cause = attach_member(&region, member);
    shield::hand_on(member);
    if let Some(cause) = cause {
        cancel(member, cause);
    }
}

/// A region has ended, and scopes, shields and pending starts are left whose futures others hold: they go to
/// the region above.
pub(crate) fn hand_up(region: &Node, above: Option<&NodeRef>) {
    let Some(above) = above else { return };
    for member in region.members_snapshot() {
        if let Some(hold) = hold_of(member.node().kind()) {
            note(above, noted_by(member.node()));
            rehome(&member, region, above, hold);
        }
    }
}

fn hold_of(kind: NodeKind) -> Option<Hold> {
    match kind {
        NodeKind::Scope => Some(Hold::Scope),
        NodeKind::Shield => Some(Hold::Shield),
        NodeKind::Start => Some(Hold::Nested),
        _ => None,
    }
}

fn noted_by(node: &Node) -> u32 {
    if node.kind() == NodeKind::Shield { SHIELDED } else { node.flags().which(SHIELDED | GRACED) }
}

/// Puts a scope, a shield or a pending start under a region. The cause with which it is to be cancelled at once
/// is handed back, for the caller may hold on to the current node.
#[must_use]
pub(crate) fn attach_member(region: &NodeRef, member: &NodeRef) -> Option<CancelCause> {
    let (parent, node) = (region.node(), member.node());
    note(region, noted_by(node));
    if node.kind() == NodeKind::Scope && (!parent.is_cuttable() || parent.is_in_uncut()) {
        node.set_in_uncut();
    }
    attach(region, member, hold_of(node.kind()).expect("one of the three"))
}

fn attach(region: &NodeRef, member: &NodeRef, hold: Hold) -> Option<CancelCause> {
    let cause = Node::adopt(region, member, hold)?;
    passes_to(region.node(), member.node()).then(|| cause_for(region, member, &cause))
}

/// Notes on the way up, as far as the task that polls all this, how far whoever looks at a frozen region must
/// look: there may be a shield or a grace period inside. Who has the note has handed it on.
fn note(region: &NodeRef, flags: u32) {
    if flags == 0 {
        return;
    }
    let mut next = Some(NodeRef::clone(region));
    while let Some(member) = next {
        let node = member.node();
        if node.flags().set_all(flags) || matches!(node.kind(), NodeKind::Task | NodeKind::Blocking) {
            return;
        }
        next = node.parent();
    }
}
