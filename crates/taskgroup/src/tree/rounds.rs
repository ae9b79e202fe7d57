//! The queue of a crew: whom it polls next, in rounds.
//!
//! # Invariants, under the group's lock
//!
//! 1. In a round nobody is polled twice. Who is woken joins this round, or the next one if it was polled in this one.
//! 2. A new child joins the next round. So a round ends: it has no more in it than lived when it began.
//!
//! In order of wake-ups alone children would not stay in step: tokio wakes those that have called its `yield_now` when
//! it has looked at timers and sockets, the latest first.

use std::collections::VecDeque;

use super::member::NodeRef;

/// Room for so many is kept in an empty queue.
const KEPT: usize = 64;
/// Room for so many is made at first: growing step by step costs small groups most.
const FIRST: usize = 16;

pub(super) struct Rounds {
    /// Of this round.
    now: VecDeque<NodeRef>,
    next: VecDeque<NodeRef>,
    /// Never 0, the mark of those that have not been polled. The numbers come again: who was last polled 255 rounds ago
    /// may have to wait for one round more.
    number: u8,
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self { now: VecDeque::new(), next: VecDeque::with_capacity(FIRST), number: 1 }
    }

    pub(super) fn push(&mut self, member: NodeRef) {
        let polled_in = member.node().round();
        let queue = if polled_in == 0 || polled_in == self.number { &mut self.next } else { &mut self.now };
        queue.push_back(member);
    }

    pub(super) fn pop(&mut self) -> Option<NodeRef> {
        if self.now.is_empty() {
            if self.next.is_empty() {
                return None;
            }
            std::mem::swap(&mut self.now, &mut self.next);
            self.number = self.number.checked_add(1).unwrap_or(1);
        }
        let member = self.now.pop_front()?;
        member.node().set_round(self.number);
        Some(member)
    }

    pub(super) fn len(&self) -> usize {
        self.now.len() + self.next.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An empty queue keeps little memory.
    pub(super) fn shrink(&mut self) {
        for queue in [&mut self.now, &mut self.next] {
            if queue.capacity() > KEPT {
                queue.shrink_to(KEPT);
            }
        }
    }

    /// Those that are left.
    pub(super) fn take(&mut self) -> [VecDeque<NodeRef>; 2] {
        [std::mem::take(&mut self.now), std::mem::take(&mut self.next)]
    }
}
