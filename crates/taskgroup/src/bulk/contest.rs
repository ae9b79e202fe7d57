//! Who was first, where several tasks of a group run for one answer.
//!
//! # Invariants
//!
//! 1. The answer is decided once, under the lock, by the task that ended first, before anybody is told. Who comes
//!    later changes nothing.
//! 2. Who decides it cancels the group after the lock has been released; the others are cut as in any cancelled group.
//! 3. Values that came too late are dropped by the tasks that gave them, outside the lock, and so before these end.

use crate::group::Spawner;
use crate::sync::{Mutex, lock};
use crate::tree::{self, Id};

pub(super) struct Contest<T, E: Send + 'static> {
    standing: Mutex<Standing<T>>,
    group: Spawner<E>,
}

struct Standing<T> {
    verdict: Verdict<T>,
    /// The tasks that failed, and their places among the futures.
    failed: Vec<(Id, usize)>,
}

enum Verdict<T> {
    Open,
    Value(T),
    /// By a failure, which the group has; or the value has been taken.
    Closed,
}

impl<T, E: Send + 'static> Contest<T, E> {
    pub(super) fn new(group: Spawner<E>) -> Self {
        Self { standing: Mutex::new(Standing { verdict: Verdict::Open, failed: Vec::new() }), group }
    }

    /// The task whose code this is has a value: if it is the first, the others are cancelled.
    pub(super) fn succeed(&self, value: T) {
        let late = {
            let verdict = &mut lock(&self.standing).verdict;
            match verdict {
                Verdict::Open => {
                    *verdict = Verdict::Value(value);
                    None
                }
                _ => Some(value),
            }
        };
        match late {
            Some(late) => drop(late),
            None => self.group.cancel_because("another one was first"),
        }
    }

    /// The task whose code this is, at place `index`, is about to fail. `decides`: no value counts after it.
    pub(super) fn fail(&self, index: usize, decides: bool) {
        let id = tree::with_current(|node| node.map(|node| node.node().id()));
        let mut standing = lock(&self.standing);
        standing.failed.extend(id.map(|id| (id, index)));
        if decides && matches!(standing.verdict, Verdict::Open) {
            standing.verdict = Verdict::Closed;
        }
    }

    /// The value that decided it.
    pub(super) fn take(&self) -> Option<T> {
        match std::mem::replace(&mut lock(&self.standing).verdict, Verdict::Closed) {
            Verdict::Value(value) => Some(value),
            Verdict::Open | Verdict::Closed => None,
        }
    }

    /// The tasks that failed, and their places among the futures.
    pub(super) fn take_failed(&self) -> Vec<(Id, usize)> {
        std::mem::take(&mut lock(&self.standing).failed)
    }
}
