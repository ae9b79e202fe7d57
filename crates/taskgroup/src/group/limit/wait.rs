//! Waiting for a place.

use std::task::{Context, Poll, ready};

use super::GroupLimit;
use super::gate::Gate;
use super::ticket::{Then, Ticket};
use crate::sync::Arc;
use crate::tree::{self, NodeInfo, NodeKind};

/// A place that was given to somebody who waited for it. Dropped, it goes to the next.
pub(in crate::group) struct Reserved(Option<Arc<Ticket>>);

impl Reserved {
    /// The place of a ticket that is through.
    pub(super) fn of(ticket: Arc<Ticket>) -> Self {
        Self(Some(ticket))
    }

    /// Hands the place over; whoever gets the ticket gives it up.
    pub(super) fn into_ticket(mut self) -> Arc<Ticket> {
        self.0.take().expect("handed over once")
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(ticket) = &self.0 {
            ticket.give_up();
        }
    }
}

/// One wait. Given up, it leaves the line, and what was reserved for it goes to the next.
pub(super) struct Wait<'l> {
    gate: &'l Arc<Gate>,
    /// The group for whose place it waits: where it is cancelled, or ends, there is nothing left to wait for.
    group: Option<&'l GroupLimit>,
    begun: Option<Begun<'l>>,
}

struct Begun<'l> {
    ticket: Arc<Ticket>,
    listed: Option<(&'l GroupLimit, usize)>,
    /// Gates at which the task that waits here, or one that it is in, has a place already.
    stuck: Vec<(Arc<Gate>, NodeInfo)>,
    /// The place has been handed out.
    kept: bool,
}

impl<'l> Wait<'l> {
    pub(super) fn new(gate: &'l Arc<Gate>, group: Option<&'l GroupLimit>) -> Self {
        Self { gate, group, begun: None }
    }

    /// Ready with a place; or without one, where none is needed any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reserved>> {
        if tree::is_cut() {
            return Poll::Pending;
        }
        // tokio's budget: a loop that spawns where there is always room lets others run in between.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let first = self.begun.is_none();
        let begun = match &self.begun {
            Some(begun) => begun,
            None => {
                let Some(begun) = Begun::begin(self.gate, self.group) else {
                    budget.made_progress();
                    return self.unless_cut(false);
                };
                self.begun.insert(begun)
            }
        };
        let Poll::Ready(through) = begun.ticket.poll_through(cx.waker()) else {
            if first && let Some(verdict) = begun.verdict() {
                self.begun = None;
                panic!(
                    "{verdict}; let them spawn without waiting, or leave the wait to the body of the group"
                );
            }
            return Poll::Pending;
        };
        let polled = self.unless_cut(through);
        if polled.is_ready() {
            budget.made_progress();
        }
        polled
    }

    /// The failure that ended the wait may be on its way to this region, and will wake it.
    fn unless_cut(&mut self, through: bool) -> Poll<Option<Reserved>> {
        if tree::is_cut() || tree::is_being_cut() {
            return Poll::Pending;
        }
        if through && let Some(begun) = &mut self.begun {
            begun.kept = true;
        }
        let begun = self.begun.take();
        Poll::Ready(begun.filter(|_| through).map(|begun| Reserved::of(Arc::clone(&begun.ticket))))
    }
}

impl<'l> Begun<'l> {
    /// `None`: there is nothing to wait for.
    fn begin(gate: &'l Arc<Gate>, group: Option<&'l GroupLimit>) -> Option<Self> {
        let ticket = Ticket::new(gate, Then::Nothing);
        let listed = match group {
            Some(group) => Some((group, group.list(&ticket)?)),
            None => None,
        };
        let stuck = holders(gate);
        for (gate, holder) in &stuck {
            gate.note_stuck(holder);
        }
        ticket.enter();
        Some(Self { ticket, listed, stuck, kept: false })
    }

    fn verdict(&self) -> Option<String> {
        self.stuck.iter().find_map(|(gate, _)| gate.verdict())
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some((group, place)) = self.listed {
            group.unlist(place);
        }
        // Before the place is given up: as long as somebody counts as stuck its own wait counts as well.
        for (gate, holder) in &self.stuck {
            gate.forget_stuck(holder.id());
        }
        if !self.kept {
            self.ticket.give_up();
        }
    }
}

/// Who of those that the code here is in has a place at this gate, or at the one beyond.
fn holders(gate: &Arc<Gate>) -> Vec<(Arc<Gate>, NodeInfo)> {
    let mut holders = Vec::new();
    let mut next = tree::with_current(|node| node.cloned());
    while let Some(member) = next {
        let node = member.node();
        next = node.parent();
        if !node.is_limited() || !matches!(node.kind(), NodeKind::Task | NodeKind::Blocking) {
            continue;
        }
        let Some(limit) = next.as_ref().and_then(|group| group.limit()?.downcast_ref::<GroupLimit>()) else {
            continue;
        };
        for passed in std::iter::once(&limit.gate).chain(limit.gate.beyond()) {
            if std::iter::once(gate).chain(gate.beyond()).any(|gate| Arc::ptr_eq(gate, passed)) {
                holders.push((Arc::clone(passed), node.info()));
            }
        }
    }
    holders
}
