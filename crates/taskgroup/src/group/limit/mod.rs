//! Limits: how many tasks of a group, or of several, run at a time, and who waits for a place.
//!
//! A [`Gate`] lets so many past it and has a line for the others. A group with a limit has one of its own; a
//! [`Limiter`] is one that groups share. A child goes through its group's own first, then through the limiter's:
//! so it never keeps a place that other groups wait for while it waits itself, and a group with a limit of its
//! own stands in a limiter's line with no more than that many.
//!
//! Who finds no room goes on by a [`Ticket`]: a queued child, which has a launcher that places it; or somebody
//! who waits ([`Wait`]), who has a waker.
//!
//! # The life of a ticket
//!
//! ```text
//!   outside ──▶ in the line ──▶ between ──▶ in the line ──▶ through ──▶ over
//!                 of the first     ▲           of the one      │
//!                    ▲             │             beyond        ▼
//!                    └── limit lowered meanwhile ◀──┘       launched, or woken
//!
//!   cancelled, given up, group ended: from anywhere to over
//! ```
//!
//! # Invariants
//!
//! 1. Under a gate's lock: where somebody stands in its line, no place is free. So whoever takes a place that is
//!    free passes nobody by, and each place that becomes free goes to the head of the line in the same step.
//! 2. `used` counts those who have a place, those it is reserved for, and those who have been taken from the
//!    line and not been told yet ([`Turn`](gate::Turn)).
//! 3. A ticket stands in one line at most. Its stage, under its own lock, tells which; the lock of a gate is
//!    taken inside that one, never the other way round, and never that of two tickets or two gates.
//! 4. A ticket that is over has given up each place that it had, once. If it was taken from a line before it
//!    could leave it, the turn that is on its way finds it over, and passes the place on.
//! 5. Launchers are called, wakers woken and either dropped outside every lock, and one after the other: a turn
//!    that comes up while a thread carries out others is carried out after them ([`carry_out`](gate::carry_out)).
//! 6. A child that stands under a limit has the bit `LIMITED` from before it is admitted. If it is cancelled before
//!    its first poll it is ended at once, by whoever cancels it: nobody may be going to poll it.
//! 7. A child gives up its place when its future has been dropped, its failure has been entered and its outcome is
//!    stored, before it leaves the books (R1). So a failure has cancelled those in the line before a place is free,
//!    and an exit finds all places of its children free.

mod face;
mod gate;
mod limiter;
mod line;
#[cfg(all(test, taskgroup_loom))]
mod loom_tests;
mod place;
mod ticket;
mod wait;

use std::future::Future;
use std::task::Waker;

use slab::Slab;

pub use limiter::{Limiter, Permit};
pub use place::Place;
pub(super) use wait::Reserved;

use self::gate::Gate;
use self::ticket::{Then, Ticket};
use self::wait::Wait;
use super::core::{GroupCore, ToGroup};
use super::spawn::Options;
use crate::sync::{Arc, Mutex, lock};
use crate::task::{Ended, Task, TaskCell};
use crate::tree::{self, Member, Node};

/// The limit of a group that has one, of its own or a limiter's.
pub(super) struct GroupLimit {
    gate: Arc<Gate>,
    waits: Mutex<Waits>,
}

/// Who waits for a place in the group.
struct Waits {
    /// The group has been cancelled, or has ended: nobody has to wait any more.
    closed: bool,
    tickets: Slab<Arc<Ticket>>,
}

impl GroupLimit {
    /// `None`: neither limit is set.
    pub(super) fn new(limit: Option<usize>, limiter: Option<Limiter>, group: &Node) -> Option<Arc<Self>> {
        if limit.is_none() && limiter.is_none() {
            return None;
        }
        let beyond = limiter.map(|limiter| Arc::clone(limiter.gate()));
        let gate = Gate::new(limit.unwrap_or(usize::MAX), beyond, Some(group.info()));
        Some(Arc::new(Self { gate, waits: Mutex::new(Waits { closed: false, tickets: Slab::new() }) }))
    }

    pub(super) fn limit(&self) -> Option<usize> {
        Some(self.gate.limit()).filter(|&limit| limit < usize::MAX)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.gate.set_limit(limit);
    }

    /// Children that have not had their turn.
    pub(super) fn queued(&self) -> usize {
        self.gate.queued_children()
    }

    /// The group has been cancelled, or has ended: what is spawned now is refused at once, and waits for nothing.
    pub(super) fn close(&self) {
        let mut waits = lock(&self.waits);
        waits.closed = true;
        let tickets = std::mem::take(&mut waits.tickets);
        drop(waits);
        tickets.into_iter().for_each(|(_, ticket)| ticket.let_off());
    }

    /// `None`: there is nothing to wait for.
    fn list(&self, ticket: &Arc<Ticket>) -> Option<usize> {
        let mut waits = lock(&self.waits);
        (!waits.closed).then(|| waits.tickets.insert(Arc::clone(ticket)))
    }

    fn unlist(&self, place: usize) {
        let mut waits = lock(&self.waits);
        let ticket = if waits.closed { None } else { waits.tickets.try_remove(place) };
        drop(waits);
        drop(ticket);
    }

    /// A place at both gates, if nobody has to be waited for; else a ticket that has come as far as it goes.
    fn try_enter(&self, then: impl FnOnce() -> Then) -> Result<(), Arc<Ticket>> {
        if !self.gate.try_enter() {
            return Err(Ticket::new(&self.gate, then()));
        }
        match self.gate.beyond() {
            Some(beyond) if !beyond.try_enter() => Err(Ticket::between(&self.gate, then())),
            _ => Ok(()),
        }
    }
}

/// A child that has not had its turn: counted until it is launched, or has ended.
struct Queued(Arc<Gate>);

impl Queued {
    fn count(gate: &Arc<Gate>) -> Self {
        gate.count_queued();
        Self(Arc::clone(gate))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.uncount_queued();
    }
}

impl<E: Send + 'static> GroupCore<E> {
    /// Launches a child that has been admitted: now, or when it is its turn. `launch` is told whether it is now.
    #[inline]
    pub(super) fn begin<F, T, L>(
        self: &Arc<Self>,
        cell: &Arc<TaskCell<F, T, ToGroup<E>>>,
        place: Option<Reserved>,
        launch: L,
    ) where
        F: Future + Send + 'static,
        F::Output: Into<Ended<T, E>>,
        T: Send + 'static,
        L: FnOnce(&Self, &Arc<TaskCell<F, T, ToGroup<E>>>, bool) + Send + 'static,
    {
        match self.group_limit() {
            None => launch(self, cell, true),
            Some(limit) => self.begin_limited(limit, cell, place, launch),
        }
    }

    #[inline(never)]
    fn begin_limited<F, T, L>(
        self: &Arc<Self>,
        limit: &Arc<GroupLimit>,
        cell: &Arc<TaskCell<F, T, ToGroup<E>>>,
        place: Option<Reserved>,
        launch: L,
    ) where
        F: Future + Send + 'static,
        F::Output: Into<Ended<T, E>>,
        T: Send + 'static,
        L: FnOnce(&Self, &Arc<TaskCell<F, T, ToGroup<E>>>, bool) + Send + 'static,
    {
        if let Some(place) = place {
            if cell.keep_place(&Waker::from(place.into_ticket())) {
                launch(self, cell, true);
            }
            return;
        }
        let mut launch = Some(launch);
        let entered = limit.try_enter(|| {
            let (core, cell) = (Arc::clone(self), Arc::clone(cell));
            let (launch, queued) = (launch.take().expect("called once"), Queued::count(&limit.gate));
            Then::Launch(Box::new(move || {
                drop(queued);
                cell.node().clear_queued();
                // Whoever cancelled either has ended the child, or is about to.
                if !core.node().is_cancelled() && !cell.is_over() {
                    launch(&core, &cell, false);
                }
            }))
        });
        match (entered, launch) {
            (Ok(()), Some(launch)) => {
                if cell.keep_place(&Waker::from(Arc::clone(&limit.gate))) {
                    launch(self, cell, true);
                }
            }
            (Err(ticket), _) => {
                cell.node().set_queued();
                if cell.keep_place(&Waker::from(Arc::clone(&ticket))) {
                    ticket.enter();
                }
            }
            (Ok(()), None) => unreachable!("taken for a ticket alone"),
        }
    }

    /// Waits until there is room for a child. `None`: none is needed.
    pub(super) async fn wait_for_place(&self) -> Option<Reserved> {
        match self.group_limit() {
            Some(limit) => {
                let mut wait = Wait::new(&limit.gate, Some(limit));
                std::future::poll_fn(|cx| wait.poll(cx)).await
            }
            None => {
                std::future::poll_fn(|_| match tree::is_cut() {
                    true => std::task::Poll::Pending,
                    false => std::task::Poll::Ready(None),
                })
                .await
            }
        }
    }

    pub(super) async fn spawn_when_ready<T, F>(self: &Arc<Self>, future: F, options: Options) -> Task<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        let place = match options.place {
            Some(place) => Some(place),
            None => self.wait_for_place().await,
        };
        self.spawn(future, Options { place, ..options })
    }

    #[track_caller]
    pub(super) fn set_limit(&self, limit: usize) {
        match self.group_limit() {
            Some(own) => own.set_limit(limit),
            None => panic!(
                "{} (made at {}) was built without a limit, so its tasks were not counted: build it with \
                 `limit(usize::MAX)` to limit it later",
                self.node().info(),
                self.node().location()
            ),
        }
    }

    /// Room for a child, if there is some now. `Some(None)`: none is needed.
    pub(super) fn try_place(&self) -> Option<Option<Reserved>> {
        let Some(limit) = self.group_limit() else { return Some(None) };
        if lock(&limit.waits).closed {
            return Some(None);
        }
        match limit.try_enter(|| Then::Nothing) {
            Ok(()) => Some(Some(Reserved::of(Ticket::through(&limit.gate)))),
            Err(ticket) => {
                ticket.give_up();
                None
            }
        }
    }
}
