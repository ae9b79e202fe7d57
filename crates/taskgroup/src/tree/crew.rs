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
//!    may not look again for long, for the child that it polls blocks its thread. It must be one that any thread can
//!    take, and of what a thread wakes it keeps the latest for itself (tokio's LIFO slot), which frees the one
//!    before. So who leaves somebody in the queue does not count drivers that a thread may keep; one who puts the
//!    first there counts the one that its own thread keeps, as with any task that a task wakes. On a runtime of one
//!    thread there is one driver: while it runs, nobody else could.
//! 3. Who looks and finds that 1 or 2 do not hold any more owes one: to be woken or spawned when the lock has
//!    been released.
//! 4. Parked drivers are woken when the last child leaves, to see that they are over.
//! 5. A child stands in the queue once (`WOKEN` in its state). One that has ended meanwhile is left there, to be
//!    passed over.

use std::collections::VecDeque;
use std::task::Waker;

use super::Node;
use super::member::NodeRef;
use super::node::Place;
use crate::sync::{Arc, thread_token};

/// No more than this many stay parked; others end, and are spawned again.
const PARKED_MAX: usize = 4;
/// Room for so many is kept in an empty queue.
const QUEUE_KEPT: usize = 64;
/// Room for so many is made at first: growing step by step costs small groups most.
const QUEUE_FIRST: usize = 16;

/// The queue of a group, and what its drivers are doing.
pub(super) struct Crew {
    ready: VecDeque<NodeRef>,
    scheduled: Vec<Scheduled>,
    running: usize,
    /// Whether the runtime has one thread alone.
    single: bool,
    parked: Vec<(DriverKey, Waker)>,
    next_key: u32,
}

/// A driver that has been spawned or woken, and has not begun to look.
struct Scheduled {
    key: DriverKey,
    /// The thread that may keep it for itself, or [`NOBODY`].
    keeper: u32,
}

/// No thread has this token.
const NOBODY: u32 = 0;

/// Tells the drivers of one group apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DriverKey(u32);

/// Who polls a child that is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// The crew, from now on.
    Queued { single: bool },
    /// The crew, when it has been woken.
    Later { single: bool },
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
    Poll(NodeRef, [Owed; 2]),
    /// Nothing: it has been parked.
    Park,
    /// Let others run, and look again.
    Yield,
    /// End. What is left in the queue has ended before.
    Over(VecDeque<NodeRef>),
}

impl Crew {
    pub(super) fn new(single: bool) -> Self {
        Self {
            ready: VecDeque::with_capacity(QUEUE_FIRST),
            scheduled: Vec::new(),
            running: 0,
            single,
            parked: Vec::new(),
            next_key: 0,
        }
    }

    /// Puts a child that may get on at the end of the queue.
    pub(super) fn push(&mut self, member: NodeRef) -> Owed {
        self.ready.push_back(member);
        let keeper = if self.ready.len() == 1 { thread_token() } else { NOBODY };
        self.owed(keeper)
    }

    /// Whether a driver is scheduled that any thread can take, or that `keeper` keeps.
    fn is_served(&self, keeper: u32) -> bool {
        let counts = |scheduled: &Scheduled| self.single || [NOBODY, keeper].contains(&scheduled.keeper);
        self.ready.is_empty() || self.scheduled.iter().any(counts)
    }

    /// A driver, if one is to be scheduled for who is in the queue (invariant 2).
    fn owed(&mut self, keeper: u32) -> Owed {
        if (self.single && self.running > 0) || self.is_served(keeper) {
            return Owed::Nothing;
        }
        let (key, owed) = match self.parked.pop() {
            Some((key, waker)) => (key, Owed::Wake(waker)),
            None => {
                self.next_key += 1;
                let key = DriverKey(self.next_key);
                (key, Owed::Spawn(key))
            }
        };
        self.schedule(key, thread_token());
        owed
    }

    fn schedule(&mut self, key: DriverKey, keeper: u32) {
        for scheduled in &mut self.scheduled {
            if scheduled.keeper == keeper {
                scheduled.keeper = NOBODY;
            }
        }
        self.scheduled.push(Scheduled { key, keeper });
    }

    /// A driver begins to look, or is gone: it is neither scheduled nor parked any more.
    fn unschedule(&mut self, key: DriverKey) {
        self.scheduled.retain(|scheduled| scheduled.key != key);
        self.parked.retain(|(parked, _)| *parked != key);
    }

    /// The drivers that are parked, for they are over.
    pub(super) fn dismiss(&mut self) -> Vec<Waker> {
        let parked = std::mem::take(&mut self.parked);
        parked.iter().for_each(|(key, _)| self.schedule(*key, NOBODY));
        parked.into_iter().map(|(_, waker)| waker).collect()
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
        crew.ready.extend(again);
        if over {
            crew.running -= 1;
            return Next::Over(std::mem::take(&mut crew.ready));
        }
        if look != Look::Last
            && let Some(member) = crew.ready.pop_front()
        {
            // The first goes to this thread, which may keep it; the second frees it for others.
            let owed = [crew.owed(NOBODY), crew.owed(NOBODY)];
            return Next::Poll(member, owed);
        }
        crew.running -= 1;
        if !crew.is_served(NOBODY) {
            crew.schedule(key, NOBODY);
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
        // Not noted as a wake-up of somebody else: the driver that calls for it looks after its own.
        Owed::Wake(waker) => waker.wake(),
        Owed::Spawn(key) => Arc::clone(group).spawn_driver(key),
    }
}
