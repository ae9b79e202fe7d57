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
//! 2. A child that blocks its thread holds up nobody whom it would not hold up if each were a task of the runtime.
//!    So on a runtime of several workers a *free* driver is scheduled while somebody is ready, also when others run:
//!    one that any worker can take over. Of what a worker wakes it keeps the latest for itself (tokio's LIFO slot)
//!    until its poll is over; so of those that one thread has scheduled all but one count as free. The one exception
//!    is the same as tokio's: the child that a worker has woken last waits for it, with the driver that it has
//!    scheduled. A driver whose child has woken somebody outside the group gives its worker back at once, for that one
//!    lies in the slot too; what a child wakes by other means than a handle or a group's exit it cannot see.
//! 3. A runtime with one worker has nobody else to take a driver over, unless that worker leaves all it has to
//!    another thread (`block_in_place`): one is scheduled while somebody is ready, which one does not matter. On a
//!    runtime of one thread there is one driver: while it runs, nobody else could.
//! 4. Who looks and finds that 1 to 3 do not hold any more owes a driver, or two, the first of which is free then: to
//!    be woken or spawned when the lock has been released.
//! 5. While a child lives a driver is there, if only a parked one: the runtime tells of its shutdown by dropping it.
//! 6. Parked drivers are woken when the last child leaves, to see that they are over.
//! 7. A child stands in the queue once (`WOKEN` in its state). One that has ended meanwhile is left there, to be
//!    passed over.

use std::collections::VecDeque;
use std::task::Waker;

use super::Node;
use super::member::NodeRef;
use super::node::Place;
use super::rounds::Rounds;
use crate::sync::{Arc, thread_token};

/// No more than this many stay parked; others end, and are spawned again.
const PARKED_MAX: usize = 4;

/// The queue of a group, and what its drivers are doing.
pub(super) struct Crew {
    ready: Rounds,
    /// With the thread whose LIFO slot may hold it: that which has scheduled it.
    scheduled: Vec<(DriverKey, Option<u32>)>,
    running: usize,
    threads: Threads,
    parked: Vec<(DriverKey, Waker)>,
    next_key: u32,
}

/// Tells the drivers of one group apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DriverKey(u32);

/// With how many threads a runtime polls its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// With the one that is in `block_on`.
    One,
    /// With one at a time, of which another may take over all that waits.
    OneWorker,
    Workers,
}

/// Who polls a child that is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// The crew, from now on.
    Queued,
    /// The crew, when it has been woken.
    Later,
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
    /// Poll this one, when the rest has been paid. So many more are ready.
    Poll(NodeRef, [Owed; 2], usize),
    /// Nothing: it has been parked.
    Park,
    /// Let others run, and look again.
    Yield,
    /// End. What is left in the queue has ended before.
    Over([VecDeque<NodeRef>; 2]),
}

impl Crew {
    pub(super) fn new(threads: Threads) -> Self {
        Self {
            ready: Rounds::new(),
            scheduled: Vec::new(),
            running: 0,
            threads,
            parked: Vec::new(),
            next_key: 0,
        }
    }

    /// Puts a child that may get on into the queue.
    pub(super) fn push(&mut self, member: NodeRef) -> Owed {
        self.ready.push(member);
        if self.is_covered() {
            return Owed::Nothing;
        }
        let by = scheduling_thread();
        // The one that is ready is the latest that this thread has woken, and so is a driver.
        let kept =
            by.is_some() && self.ready.len() == 1 && self.scheduled.iter().any(|(_, other)| *other == by);
        if kept { Owed::Nothing } else { self.schedule(by) }
    }

    /// A child is admitted that is not ready: somebody is to hear of a shutdown.
    pub(super) fn attend(&mut self) -> Owed {
        let attended = self.running > 0 || !self.scheduled.is_empty() || !self.parked.is_empty();
        if attended { Owed::Nothing } else { self.schedule(scheduling_thread()) }
    }

    /// A driver is about to poll a child, from which it may not come back for long.
    fn leave(&mut self) -> [Owed; 2] {
        if self.ready.is_empty() || self.is_covered() {
            return [Owed::Nothing, Owed::Nothing];
        }
        let by = scheduling_thread();
        let first = self.schedule(by);
        let second = if self.is_covered() { Owed::Nothing } else { self.schedule(by) };
        [first, second]
    }

    /// Whether somebody will look who can (invariants 2 and 3).
    fn is_covered(&self) -> bool {
        match self.threads {
            Threads::One => self.running > 0 || !self.scheduled.is_empty(),
            Threads::OneWorker => !self.scheduled.is_empty(),
            Threads::Workers => self.has_free(),
        }
    }

    /// Whether a driver is scheduled that any worker can take over. Counted by threads, not noted for each: one that
    /// has parked but not yet returned is not put into the slot of who wakes it, and leaves the other one there.
    fn has_free(&self) -> bool {
        let before = |place: usize| self.scheduled[..place].iter();
        let mut places = self.scheduled.iter().enumerate();
        places.any(|(place, (_, by))| by.is_none() || before(place).any(|(_, other)| other == by))
    }

    fn schedule(&mut self, by: Option<u32>) -> Owed {
        let (key, owed) = match self.parked.pop() {
            Some((key, waker)) => (key, Owed::Wake(waker)),
            None => {
                self.next_key += 1;
                let key = DriverKey(self.next_key);
                (key, Owed::Spawn(key))
            }
        };
        self.scheduled.push((key, by));
        owed
    }

    /// A driver begins to look, or is gone: it is neither scheduled nor parked any more.
    fn unschedule(&mut self, key: DriverKey) {
        if let Some(place) = self.scheduled.iter().position(|(scheduled, _)| *scheduled == key) {
            self.scheduled.swap_remove(place);
        } else if let Some(place) = self.parked.iter().position(|(parked, _)| *parked == key) {
            // Polled without having been woken by us.
            drop(self.parked.swap_remove(place));
        }
    }

    /// The drivers that are parked, for they are over.
    pub(super) fn dismiss(&mut self) -> Vec<Waker> {
        if self.parked.is_empty() {
            return Vec::new();
        }
        let by = scheduling_thread();
        self.scheduled.extend(self.parked.iter().map(|(key, _)| (*key, by)));
        self.parked.drain(..).map(|(_, waker)| waker).collect()
    }
}

/// The thread that schedules: if it is a worker, a driver that it schedules now may have to wait until it looks into
/// its slot. Also outside a poll: it may take a task from another queue first.
fn scheduling_thread() -> Option<u32> {
    // The threads of a model have no slots.
    if cfg!(taskgroup_loom) { None } else { Some(thread_token()) }
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
    /// What the driver `key` of this group is to do. `again`: the child that it has polled may get on already.
    pub(crate) fn next_ready(
        &self,
        key: DriverKey,
        look: Look,
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
        if let Some(again) = again {
            crew.ready.push(again);
        }
        if over {
            crew.running -= 1;
            return Next::Over(crew.ready.take());
        }
        if look != Look::Last
            && let Some(member) = crew.ready.pop()
        {
            let owed = crew.leave();
            return Next::Poll(member, owed, crew.ready.len());
        }
        crew.running -= 1;
        if !crew.ready.is_empty() && !crew.is_covered() {
            // Who yields goes to the end of its worker's queue, not into the slot.
            crew.scheduled.push((key, None));
            return Next::Yield;
        }
        if crew.ready.is_empty() {
            crew.ready.shrink();
        }
        if crew.parked.len() >= PARKED_MAX {
            return Next::Over(Default::default());
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
    // Where there is no crew the child has been adopted, being dropped.
    let Some(owed) = group.node().lock().members().crew_mut().map(|crew| crew.push(Arc::clone(&member)))
    else {
        return;
    };
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
        // Not noted as a wake-up of somebody else: see invariant 2.
        Owed::Wake(waker) => waker.wake(),
        Owed::Spawn(key) => Arc::clone(group).spawn_driver(key),
    }
}
