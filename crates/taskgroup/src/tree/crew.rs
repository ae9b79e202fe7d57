//! Who is to be polled next: the children of a group that are ready, and the drivers that poll them.
//!
//! A child that may get on is put into its group's queue. *Drivers*, tasks of the runtime, take the children out,
//! one at a time, and poll them (`task/driver.rs`); there are as many as are of use, and none for a group that has
//! no children.
//!
//! ```text
//!             spawned or woken                  begins to look                 nobody is ready
//!   (none) ──────────────────────▶ scheduled ──────────────────▶ running ─────────────────────▶ parked
//!                                      ▲  ▲                        │ │                            │
//!                                      │  └──────── yields ────────┘ └─ no child is left ─▶ over  │
//!                                      └──────────────────── woken ───────────────────────────────┘
//! ```
//!
//! # Invariants, under the group's lock
//!
//! 1. While somebody is ready, a driver is scheduled, or one is running that has yet to look again. So nobody is
//!    left behind.
//! 2. On a runtime of several threads a driver is scheduled while somebody is ready, also when others run: each
//!    may not look again for long, for the child that it polls blocks its thread. It must be one that another thread
//!    can take over, and of what a thread wakes it keeps the latest for itself (tokio's LIFO slot). So whoever
//!    spawns or wakes sees to it that two are scheduled, if two are ready; and a driver does not count the one that
//!    it has woken in its own poll. On a runtime of one thread there is one driver: while it runs, nobody else
//!    could.
//! 3. Who looks and finds that 1 or 2 do not hold any more owes one: to be woken or spawned when the lock has
//!    been released.
//! 4. Parked drivers are woken when the last child leaves, to see that they are over.
//! 5. A child stands in the queue once (`WOKEN` in its state). One that has ended meanwhile is left there, to be
//!    passed over.

use std::collections::VecDeque;
use std::task::Waker;

use super::Node;
use super::member::{NodeRef, wake};
use super::node::Place;
use crate::sync::Arc;

/// No more than this many stay parked; others end, and are spawned again.
const PARKED_MAX: usize = 2;
/// Room for so many is kept in an empty queue.
const QUEUE_KEPT: usize = 64;
/// Room for so many is made at first: growing step by step costs small groups most.
const QUEUE_FIRST: usize = 16;

/// The queue of a group, and what its drivers are doing.
pub(super) struct Crew {
    ready: VecDeque<NodeRef>,
    scheduled: usize,
    running: usize,
    /// How many are to be scheduled if so many are ready: 1 on a runtime of one thread, else 2.
    breadth: usize,
    parked: Vec<(DriverKey, Waker)>,
    next_key: u32,
}

/// Tells the drivers of one group apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DriverKey(u32);

/// Who polls a child that is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// The crew, from now on.
    Queued { breadth: usize },
    /// The crew, when it has been woken.
    Later { breadth: usize },
    /// Not the crew: a thread of its own.
    Elsewhere,
}

/// What is owed to the crew, outside the lock.
#[must_use]
pub(crate) enum Owed {
    Nothing,
    /// This parked driver is to be woken.
    Wake(Waker),
    /// A driver is to be spawned, with this key.
    Spawn(DriverKey),
}

/// What a driver is to do next.
#[must_use]
pub(crate) enum Next {
    /// Poll this one.
    Poll(NodeRef, Owed),
    /// Nothing: it has been parked.
    Park,
    /// Let others run, and look again.
    Yield,
    /// End. What is left in the queue has ended before.
    Over(VecDeque<NodeRef>),
}

impl Crew {
    pub(super) fn new(breadth: usize) -> Self {
        Self {
            ready: VecDeque::with_capacity(QUEUE_FIRST),
            scheduled: 0,
            running: 0,
            breadth,
            parked: Vec::new(),
            next_key: 0,
        }
    }

    /// Puts a child that may get on at the end of the queue.
    pub(super) fn push(&mut self, member: NodeRef) -> Owed {
        self.ready.push_back(member);
        self.owed(self.breadth)
    }

    /// So many are to be scheduled if so many are ready.
    fn owed(&mut self, wanted: usize) -> Owed {
        if (self.breadth == 1 && self.running > 0) || self.scheduled >= wanted.min(self.ready.len()) {
            return Owed::Nothing;
        }
        self.scheduled += 1;
        match self.parked.pop() {
            Some((_, waker)) => Owed::Wake(waker),
            None => {
                self.next_key += 1;
                Owed::Spawn(DriverKey(self.next_key))
            }
        }
    }

    /// A driver begins to look, or is gone: it is neither scheduled nor parked any more.
    fn unschedule(&mut self, key: DriverKey) {
        match self.parked.iter().position(|(parked, _)| *parked == key) {
            // Polled without having been woken by us.
            Some(place) => drop(self.parked.swap_remove(place)),
            None => self.scheduled -= 1,
        }
    }

    /// The drivers that are parked, for they are over.
    pub(super) fn dismiss(&mut self) -> Vec<Waker> {
        self.scheduled += self.parked.len();
        self.parked.drain(..).map(|(_, waker)| waker).collect()
    }
}

/// How far a driver has come in its poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It has just been polled.
    First,
    /// It has polled a child, and goes on.
    Again,
    /// It has polled enough.
    Last,
}

impl Node {
    /// What the driver `key` of this group is to do. `has_woken`: it has called another one in this poll. `again`: the
    /// child that it has polled may get on already.
    pub(crate) fn next_ready(
        &self,
        key: DriverKey,
        look: Look,
        has_woken: bool,
        again: Option<NodeRef>,
        waker: &Waker,
    ) -> Next {
        let mut inner = self.lock();
        let members = inner.members();
        let over = members.live() == 0;
        let crew = members.crew();
        if look == Look::First {
            crew.unschedule(key);
            crew.running += 1;
        }
        crew.ready.extend(again);
        if over {
            crew.running -= 1;
            return Next::Over(std::mem::take(&mut crew.ready));
        }
        if look != Look::Last
            && let Some(member) = crew.ready.pop_front()
        {
            let owed = crew.owed(1 + usize::from(has_woken));
            return Next::Poll(member, owed);
        }
        crew.running -= 1;
        if crew.scheduled == 0 && !crew.ready.is_empty() {
            crew.scheduled = 1;
            return Next::Yield;
        }
        if crew.ready.is_empty() && crew.ready.capacity() > QUEUE_KEPT {
            crew.ready.shrink_to(QUEUE_KEPT);
        }
        if crew.parked.len() >= PARKED_MAX {
            return Next::Over(VecDeque::new());
        }
        crew.parked.push((key, waker.clone()));
        Next::Park
    }
}

/// A driver of `group` is dropped by the runtime, in the middle of a poll or else.
pub(crate) fn forget_driver(group: &Node, key: DriverKey, running: bool) {
    let mut inner = group.lock();
    let crew = inner.members().crew();
    match running {
        true => crew.running -= 1,
        false => crew.unschedule(key),
    }
}

/// Puts a child that may get on into its group's queue. One that has left its group has ended.
pub(crate) fn enqueue(member: NodeRef) {
    let link = member.node().lock();
    let Some(Place { parent: group, .. }) = &link.place else { return };
    let owed = group.node().lock().members().crew().push(Arc::clone(&member));
    let Owed::Nothing = owed else {
        let group = Arc::clone(group);
        drop(link);
        return pay(&group, owed);
    };
}

/// Gives the crew of `group` what it is owed.
pub(crate) fn pay(group: &NodeRef, owed: Owed) {
    match owed {
        Owed::Nothing => {}
        Owed::Wake(waker) => wake(waker),
        Owed::Spawn(key) => Arc::clone(group).spawn_driver(key),
    }
}
