//! Blocking until another thread has ended a cell: the one wait of this crate that holds up a thread.
//!
//! It happens where a group is dropped while a child of it is being polled elsewhere (R2), and in
//! `Task::wait`. Two threads that each drop the group of the task the other one is polling would wait for
//! each other; so drops register who waits for whom, and one that would close a circle does not wait: its
//! cell is doomed, and dropped when the poll returns.

use std::task::Wake;

use crate::sync::{Arc, Condvar, Mutex, lock};

/// A door that opens once, when it is woken.
#[derive(Debug)]
pub(crate) struct Latch {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Latch {
    pub(crate) fn new() -> Self {
        Self { open: Mutex::new(false), opened: Condvar::new() }
    }

    fn open(&self) {
        *lock(&self.open) = true;
        self.opened.notify_all();
    }

    pub(crate) fn wait(&self) {
        let mut open = lock(&self.open);
        while !*open {
            open = self.opened.wait(open).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn is_open(&self) -> bool {
        *lock(&self.open)
    }
}

impl Wake for Latch {
    fn wake(self: Arc<Self>) {
        self.open();
    }
}

/// One thread that waits in a drop, for the thread that holds the cell.
struct Edge {
    waiter: u32,
    holder: u32,
    latch: Arc<Latch>,
}

#[cfg(not(taskgroup_loom))]
static EDGES: Mutex<Vec<Edge>> = Mutex::new(Vec::new());
#[cfg(taskgroup_loom)]
loom::lazy_static! {
    static ref EDGES: Mutex<Vec<Edge>> = Mutex::new(Vec::new());
}

/// Waits until `latch` opens, unless the thread `holder` (who will open it) waits for us.
pub(crate) fn wait_in_drop(latch: &Arc<Latch>, waiter: u32, holder: u32) {
    {
        let mut edges = lock(&EDGES);
        if waits_for(&edges, holder, waiter) {
            return;
        }
        edges.push(Edge { waiter, holder, latch: Arc::clone(latch) });
    }
    latch.wait();
    let mut edges = lock(&EDGES);
    if let Some(mine) = edges.iter().position(|edge| edge.waiter == waiter && Arc::ptr_eq(&edge.latch, latch))
    {
        edges.swap_remove(mine);
    }
}

/// Whether thread `from` waits, directly or through others, for thread `goal`. A thread waits for one
/// other at most; an edge whose latch has opened is one that its waiter has not removed yet.
fn waits_for(edges: &[Edge], from: u32, goal: u32) -> bool {
    let mut at = from;
    for _ in 0..=edges.len() {
        if at == goal {
            return true;
        }
        match edges.iter().find(|edge| edge.waiter == at && !edge.latch.is_open()) {
            Some(edge) => at = edge.holder,
            None => return false,
        }
    }
    false
}

#[cfg(all(test, not(taskgroup_loom)))]
mod tests {
    use super::*;

    fn edge(waiter: u32, holder: u32) -> Edge {
        Edge { waiter, holder, latch: Arc::new(Latch::new()) }
    }

    #[test]
    fn a_circle_is_found_through_others_and_an_open_latch_ends_it() {
        let edges = [edge(1, 2), edge(2, 3), edge(5, 6)];
        assert!(waits_for(&edges, 1, 3));
        assert!(!waits_for(&edges, 3, 1));
        assert!(!waits_for(&edges, 5, 1));
        edges[1].latch.open();
        assert!(!waits_for(&edges, 1, 3));
    }
}
