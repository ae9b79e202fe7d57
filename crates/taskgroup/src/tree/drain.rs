//! What a cancelled region that stands at an await still has to wait for (R12).
//!
//! A frozen region is not polled. Each time its host is polled for whatever reason, it asks here:
//! are the groups inside drained, does one of them hold a failure that its `run` must return, does a
//! shield inside need the poll, is a group's grace period over?
//! The walk stays inside the region: it goes from groups to their bodies, through scopes, and on to the
//! groups of those, but not into tasks, for a live task keeps its group busy anyway; and not into shields.

use std::task::Waker;

use tokio::time::Instant;

use super::member::{Hold, NodeRef};
use super::{Node, NodeKind};

/// What the host of a frozen region must do.
#[must_use]
pub(crate) enum Frozen {
    /// Nothing: something inside is still ending, and the waker has been left there. Ask again when a
    /// group's grace period ends.
    Wait(Option<Instant>),
    /// Poll the region once, then ask [`Deliverable::again`]: a drained group's `run` has failures to
    /// return, or a shield inside is being run.
    Poll(Deliverable),
    /// Drop what is left in these groups, and ask again: their grace period is over (R15).
    Force(Vec<NodeRef>),
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
/// ending: many that end together then wake the host a few times, not once each.
///
/// `polled`: the host has polled the region since it found it cancelled, so that a shield inside has its waker.
pub(crate) fn frozen_step(region: &Node, waker: &Waker, polled: bool) -> Frozen {
    if !region.has_had_members() {
        return Frozen::Drop;
    }
    if let Some(step) = shield_step(region, waker, polled) {
        return step;
    }
    let mut walk = Walk { inside: region.members_snapshot(), ..Walk::default() };
    while let Some(member) = walk.inside.pop() {
        if let Some(step) = shield_step(member.node(), waker, polled) {
            return step;
        }
        // Beyond the first that is ending only shields and grace periods are of interest.
        if walk.visit(&member, waker) && !region.is_thorough() {
            return Frozen::Wait(None);
        }
    }
    walk.result()
}

/// What is known so far of the inside of a frozen region.
#[derive(Default)]
struct Walk {
    inside: Vec<NodeRef>,
    busy: bool,
    deliverable: Vec<NodeRef>,
    overdue: Vec<NodeRef>,
    grace_ends: Option<Instant>,
}

impl Walk {
    /// True: this very node is still ending.
    fn visit(&mut self, member: &NodeRef, waker: &Waker) -> bool {
        let node = member.node();
        // What is left after a grace period is waited for: a closure on its thread.
        if !node.is_forced()
            && let Some(ends) = grace_end(member)
        {
            if Instant::now() >= ends {
                self.overdue.push(NodeRef::clone(member));
                return false;
            }
            self.grace_ends = Some(self.grace_ends.map_or(ends, |other| other.min(ends)));
        }
        let ending = !self.busy && is_ending(node, waker);
        self.busy |= ending;
        descend(node, &mut self.inside);
        if node.kind() == NodeKind::Group && node.is_deliverable() {
            self.deliverable.push(NodeRef::clone(member));
        }
        ending
    }

    fn result(self) -> Frozen {
        if !self.overdue.is_empty() {
            return Frozen::Force(self.overdue);
        }
        match (self.busy, self.deliverable.is_empty()) {
            (true, _) => Frozen::Wait(self.grace_ends),
            (false, true) => Frozen::Drop,
            (false, false) => Frozen::Poll(Deliverable(self.deliverable)),
        }
    }
}

/// When a cancelled group's grace period ends.
pub(crate) fn grace_end(group: &NodeRef) -> Option<Instant> {
    let period = group.grace()?;
    group.node().cause()?.at().checked_add(period)
}

/// A region with a shield in it is polled once for each time its host is woken; a waker of the shield's
/// own is there then.
fn shield_step(node: &Node, waker: &Waker, polled: bool) -> Option<Frozen> {
    if !node.is_thorough() || node.is_forced() || node.shields() == 0 || !is_region(node) {
        return None;
    }
    if !polled {
        return Some(Frozen::Poll(Deliverable(Vec::new())));
    }
    // For a shield that is dropped elsewhere.
    node.watch_nested(waker);
    Some(Frozen::Wait(None))
}

fn is_region(node: &Node) -> bool {
    matches!(node.kind(), NodeKind::Body | NodeKind::Scope | NodeKind::Task | NodeKind::Shield)
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
        NodeKind::Body | NodeKind::Scope => inside.extend(node.members_snapshot()),
        NodeKind::Start | NodeKind::Task | NodeKind::Blocking | NodeKind::Shield | NodeKind::Token => {}
    }
}
