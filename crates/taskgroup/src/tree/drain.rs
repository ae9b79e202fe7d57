//! What a cancelled region that stands at an await still has to wait for (R12).
//!
//! A frozen region is not polled. Each time its host is polled for whatever reason, it asks here:
//! are the groups inside drained, does one of them hold a failure that its `run` must return, was a shield
//! inside woken, is a group's grace period over?
//! The walk stays inside the region: it goes from groups to their bodies, through scopes, and on to the
//! groups of those, but not into tasks, for a live task keeps its group busy anyway; and not into shields. It
//! stops at the first thing that settles the question: how far it must go is noted in the regions (`SHIELDED`,
//! `GRACED`).

use std::task::Waker;

use tokio::time::Instant;

use super::flags::{GRACED, SHIELDED, WOKEN_BELOW};
use super::member::NodeRef;
use super::shield;
use super::{Node, NodeKind};

/// What the host of a frozen region must do.
#[must_use]
pub(crate) enum Frozen {
    /// Nothing: something inside is still ending, and the waker has been left there. Ask again when a
    /// group's grace period ends.
    Wait(Option<Instant>),
    /// Poll the region once, then ask [`Deliverable::again`]: a drained group's `run` has failures to
    /// return, or a shield inside was woken.
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
/// `polled`: the host has polled the region in this turn since it found it cancelled: a shield that was woken by
/// that has woken the host too.
pub(crate) fn frozen_step(region: &Node, waker: &Waker, polled: bool) -> Frozen {
    if !region.has_had_members() {
        return Frozen::Drop;
    }
    let noted = region.flags().which(SHIELDED | GRACED);
    if region.flags().has(WOKEN_BELOW) {
        let woken = shield::take_woken(region);
        if shield::put_back(region, woken, false) {
            return if polled { Frozen::Wait(None) } else { Frozen::Poll(Deliverable(Vec::new())) };
        }
    }
    let mut walk =
        Walk { waker, shield: false, busy: false, deliverable: vec![], overdue: vec![], ends: None };
    let mut stack: Vec<(Option<NodeRef>, usize)> = vec![(None, 0)];
    while let Some((place, cursor)) = stack.last_mut() {
        let node = place.as_ref().map_or(region, |member| member.node());
        let Some((member, next)) = node.next_inside(*cursor) else {
            stack.pop();
            continue;
        };
        *cursor = next;
        if walk.visit(&member) {
            // For a shield that is dropped, or polled, elsewhere: whatever it stood in tells.
            for (place, _) in &stack {
                place.as_ref().map_or(region, |member| member.node()).watch_nested(waker);
            }
        }
        if walk.is_settled(noted) {
            return Frozen::Wait(None);
        }
        if matches!(member.node().kind(), NodeKind::Group | NodeKind::Body | NodeKind::Scope) {
            stack.push((Some(member), 0));
        }
    }
    walk.result()
}

/// What is known so far of the inside of a frozen region.
struct Walk<'a> {
    waker: &'a Waker,
    shield: bool,
    busy: bool,
    deliverable: Vec<NodeRef>,
    overdue: Vec<NodeRef>,
    ends: Option<Instant>,
}

impl Walk<'_> {
    /// Looks at one node. True: it is the first shield that is waited for.
    fn visit(&mut self, member: &NodeRef) -> bool {
        let node = member.node();
        match node.kind() {
            NodeKind::Shield => {
                let first = !self.shield && shield::is_awaited(node);
                self.shield |= first;
                return first;
            }
            NodeKind::Group => {
                if node.is_deliverable() {
                    self.deliverable.push(NodeRef::clone(member));
                }
                self.busy = self.busy || is_ending(node, self.waker);
                self.look_at_grace(member);
            }
            _ => self.busy = self.busy || is_ending(node, self.waker),
        }
        false
    }

    /// What is left after a grace period is waited for: a closure on its thread.
    fn look_at_grace(&mut self, group: &NodeRef) {
        if group.node().is_forced() {
            return;
        }
        let Some(ends) = grace_end(group) else { return };
        if Instant::now() < ends {
            self.ends = Some(self.ends.map_or(ends, |other| other.min(ends)));
        } else if is_busy(group, self.waker) {
            self.overdue.push(NodeRef::clone(group));
        }
    }

    /// Whether nothing that is still to be seen changes the answer.
    fn is_settled(&self, noted: u32) -> bool {
        match noted {
            0 => self.busy,
            SHIELDED => self.shield,
            _ => false,
        }
    }

    fn result(self) -> Frozen {
        if !self.overdue.is_empty() {
            return Frozen::Force(self.overdue);
        }
        match (self.busy || self.shield, self.deliverable.is_empty()) {
            (true, _) => Frozen::Wait(self.ends),
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

/// Whether anything lives in this group or in a group inside its regions, or stands in a shield; if so, leaves
/// `waker` there.
pub(crate) fn is_busy(group: &NodeRef, waker: &Waker) -> bool {
    if is_ending(group.node(), waker) {
        return true;
    }
    let mut stack = vec![(NodeRef::clone(group), 0)];
    while let Some((place, cursor)) = stack.last_mut() {
        let Some((member, next)) = place.node().next_inside(*cursor) else {
            stack.pop();
            continue;
        };
        *cursor = next;
        if is_ending(member.node(), waker) {
            return true;
        }
        if member.node().kind() == NodeKind::Shield && shield::is_awaited(member.node()) {
            place.node().watch_nested(waker);
            return true;
        }
        if matches!(member.node().kind(), NodeKind::Group | NodeKind::Body | NodeKind::Scope) {
            stack.push((member, 0));
        }
    }
    false
}

/// Whether this very node waits for something; if so, leaves `waker` there.
fn is_ending(node: &Node, waker: &Waker) -> bool {
    match node.kind() {
        NodeKind::Group => shield::is_served(node) && node.watch_live(waker) > 0,
        NodeKind::Start => {
            // Whoever resolves it detaches it first and takes the waker second: one of the two sees the other.
            node.store_waker(waker);
            node.parent().is_some()
        }
        _ => false,
    }
}
