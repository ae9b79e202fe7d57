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
    let mut inside = Inside::of(region);
    while let Some(member) = inside.next() {
        if walk.visit(member) {
            // For a shield that is dropped, or polled, elsewhere: whatever it stood in tells. The outermost is
            // asked first: what leaves meanwhile leaves from the inside outwards.
            inside.places().for_each(|place| place.watch_nested(waker));
            walk.shield = inside.is_last_there();
        }
        if walk.is_settled(noted) {
            return Frozen::Wait(None);
        }
    }
    walk.result()
}

/// Goes through all that is inside a region, depth first, and not into tasks and shields.
struct Inside<'a> {
    region: &'a Node,
    /// The nodes that the walk stands in, the region (`None`) first, and how far it has come in each.
    places: Vec<(Option<NodeRef>, usize)>,
    /// What was given last: the walk goes into it next.
    last: Option<NodeRef>,
}

impl<'a> Inside<'a> {
    fn of(region: &'a Node) -> Self {
        Self { region, places: vec![(None, 0)], last: None }
    }

    /// The next node; it lends it, for a walk through many should not count references.
    fn next(&mut self) -> Option<&NodeRef> {
        if let Some(last) = self.last.take()
            && matches!(last.node().kind(), NodeKind::Group | NodeKind::Body | NodeKind::Scope)
        {
            self.places.push((Some(last), 0));
        }
        while let Some((place, cursor)) = self.places.last_mut() {
            let node = place.as_ref().map_or(self.region, |place| place.node());
            if let Some((member, next)) = node.next_inside(*cursor) {
                *cursor = next;
                return Some(self.last.insert(member));
            }
            self.places.pop();
        }
        None
    }

    /// Whether the node that was given last still stands where it was found. Asked after a waker was left there: if
    /// it does, its leaving takes that waker; if it has left before, nobody would.
    fn is_last_there(&self) -> bool {
        let (Some(last), Some(place)) = (&self.last, self.places().next_back()) else { return false };
        last.node().stands_under(place)
    }

    /// What the node that was given last stands in, the outermost first.
    fn places(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.places.iter().map(|(place, _)| place.as_ref().map_or(self.region, |place| place.node()))
    }
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
    /// Looks at one node. True: it is a shield that has to be waited for, and none has been found before.
    fn visit(&mut self, member: &NodeRef) -> bool {
        let node = member.node();
        match node.kind() {
            NodeKind::Shield => {
                return !self.shield && shield::is_awaited(node);
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
    let mut inside = Inside::of(group.node());
    while let Some(member) = inside.next() {
        let node = member.node();
        if is_ending(node, waker) {
            return true;
        }
        if node.kind() == NodeKind::Shield && shield::is_awaited(node) {
            if let Some(place) = inside.places().next_back() {
                place.watch_nested(waker);
            }
            if inside.is_last_there() {
                return true;
            }
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
