//! What a cancelled region that stands at an await still has to wait for (R12).
//!
//! A frozen region is not polled. Each time its host is polled for whatever reason, it asks here:
//! are the groups inside drained, and does one of them hold a failure that its `run` must return?
//! The walk stays inside the region: it goes from groups to their bodies and on to the groups of those,
//! but not into tasks, for a live task keeps its group busy anyway.

use std::task::Waker;

use super::member::{Hold, NodeRef};
use super::{Node, NodeKind};

/// What the host of a frozen region must do.
#[must_use]
pub(crate) enum Frozen {
    /// Nothing: something inside is still ending, and the waker has been left there.
    Wait,
    /// Poll the region once, then ask [`Deliverable::again`]: a drained group's `run` has failures to return.
    Poll(Deliverable),
    /// Drop the region's future: nothing inside is left.
    Drop,
}

/// The drained groups inside a frozen region whose `run` has failures to return.
#[must_use]
pub(crate) struct Deliverable(Vec<NodeRef>);

impl Deliverable {
    /// The poll has been given. True: it was not used for all of them, and the host should wake itself for
    /// another one. The number of those is bounded, or a `run` that nobody polls any more would keep the
    /// region for ever.
    #[must_use]
    pub(crate) fn again(self) -> bool {
        self.0.iter().filter(|group| group.node().deliver_again()).count() > 0
    }
}

/// Looks at what is left inside a frozen region. Leaves `waker` with the first thing found that is still
/// ending, and looks no further: many that end together then wake the host a few times, not once each.
pub(crate) fn frozen_step(region: &Node, waker: &Waker) -> Frozen {
    if !region.has_had_members() {
        return Frozen::Drop;
    }
    let mut deliverable = Vec::new();
    let mut inside = region.members_snapshot();
    while let Some(member) = inside.pop() {
        let node = member.node();
        if is_ending(node, waker) {
            return Frozen::Wait;
        }
        descend(node, &mut inside);
        if node.kind() == NodeKind::Group && node.is_deliverable() {
            deliverable.push(member);
        }
    }
    match deliverable.is_empty() {
        true => Frozen::Drop,
        false => Frozen::Poll(Deliverable(deliverable)),
    }
}

/// Whether anything lives in this group or in a group inside its regions; if so, leaves `waker` there.
pub(crate) fn is_busy(group: &NodeRef, waker: &Waker) -> bool {
    let mut inside = vec![NodeRef::clone(group)];
    while let Some(member) = inside.pop() {
        let node = member.node();
        if is_ending(node, waker) {
            return true;
        }
        descend(node, &mut inside);
    }
    false
}

/// Whether this very node waits for something; if so, leaves `waker` there.
fn is_ending(node: &Node, waker: &Waker) -> bool {
    match node.kind() {
        NodeKind::Group => node.watch_live(waker) > 0,
        NodeKind::Start => {
            // Whoever resolves it detaches it first and takes the waker second: one of the two sees the other.
            node.store_waker(waker);
            node.parent().is_some()
        }
        _ => false,
    }
}

fn descend(node: &Node, inside: &mut Vec<NodeRef>) {
    match node.kind() {
        NodeKind::Group => {
            inside.extend(node.members_of(Hold::Nested));
            inside.extend(node.body());
        }
        NodeKind::Body | NodeKind::Scope | NodeKind::Shield => inside.extend(node.members_snapshot()),
        NodeKind::Start | NodeKind::Task | NodeKind::Blocking | NodeKind::Token => {}
    }
}
