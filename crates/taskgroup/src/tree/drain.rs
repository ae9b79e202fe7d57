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
    /// Poll the region once, then call [`Deliverable::settle`]: a drained group's `run` has failures to return.
    Poll(Deliverable),
    /// Drop the region's future: nothing inside is left.
    Drop,
}

/// The drained groups inside a frozen region whose `run` has failures to return.
#[must_use]
pub(crate) struct Deliverable(Vec<NodeRef>);

impl Deliverable {
    /// The poll has been given. A `run` that did not use it (nobody polls it any more) gets no second
    /// one, or the region would be polled for ever.
    pub(crate) fn settle(self) {
        self.0.iter().for_each(|group| group.node().clear_undelivered());
    }
}

/// Looks at what is left inside a frozen region; leaves `waker` with whatever is still ending.
pub(crate) fn frozen_step(region: &Node, waker: &Waker) -> Frozen {
    if !region.has_had_members() {
        return Frozen::Drop;
    }
    let (mut busy, mut deliverable) = (false, Vec::new());
    let mut inside = region.members_snapshot();
    while let Some(member) = inside.pop() {
        let node = member.node();
        match node.kind() {
            NodeKind::Group => {
                busy |= node.watch_live(waker) > 0;
                inside.extend(node.members_of(Hold::Nested));
                inside.extend(node.body());
                if node.is_deliverable() && !is_busy(&member, waker) {
                    deliverable.push(member);
                }
            }
            NodeKind::Start => busy |= is_pending_start(node, waker),
            NodeKind::Body => inside.extend(node.members_snapshot()),
            NodeKind::Task | NodeKind::Blocking => {}
        }
    }
    match (deliverable.is_empty(), busy) {
        (false, _) => Frozen::Poll(Deliverable(deliverable)),
        (true, true) => Frozen::Wait,
        (true, false) => Frozen::Drop,
    }
}

/// Whether anything lives in this group or in a group inside its regions; leaves `waker` there.
pub(crate) fn is_busy(group: &NodeRef, waker: &Waker) -> bool {
    let mut busy = false;
    let mut inside = vec![NodeRef::clone(group)];
    while let Some(member) = inside.pop() {
        let node = member.node();
        match node.kind() {
            NodeKind::Group => {
                busy |= node.watch_live(waker) > 0;
                inside.extend(node.members_of(Hold::Nested));
                inside.extend(node.body());
            }
            NodeKind::Body => inside.extend(node.members_snapshot()),
            NodeKind::Start => busy |= is_pending_start(node, waker),
            NodeKind::Task | NodeKind::Blocking => {}
        }
    }
    busy
}

/// Whether a start has not been resolved. Whoever resolves it detaches it first and takes the waker
/// second, so one of the two sees the other.
fn is_pending_start(start: &Node, waker: &Waker) -> bool {
    start.store_waker(waker);
    start.parent().is_some()
}
