//! Who was first, where several tasks of a group run for one answer.
//!
//! # Invariants
//!
//! 1. The answer is decided once, under the lock, by the task that ended first, before anybody is told. Who comes
//!    later changes nothing.
//! 2. Who decides it cancels the group after the lock has been released; the others are cut as in any cancelled group.
//! 3. A failure *of the draining* is that of a task which had been cancelled before the poll that ended it. One that
//!    failed by itself, in a poll that had begun before, merely came too late.
//! 4. Values that came too late are dropped by the tasks that gave them, outside the lock, and so before these end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

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

    /// The task whose code this is has failed, which decides it if nobody was first. True: a value was.
    pub(super) fn fail(&self) -> bool {
        let verdict = &mut lock(&self.standing).verdict;
        if matches!(verdict, Verdict::Open) {
            *verdict = Verdict::Closed;
        }
        matches!(verdict, Verdict::Value(_))
    }

    /// The task whose code this is, at place `index`, is about to give its error to the group.
    pub(super) fn note_failed(&self, index: usize) {
        let id = tree::with_current(|node| node.map(|node| node.node().id()));
        lock(&self.standing).failed.extend(id.map(|id| (id, index)));
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

pin_project! {
    /// A future that runs in a contest. Its judge is told how it ended, when it has been dropped, and whether it had
    /// been cancelled before the poll in which it ended.
    pub(super) struct Contender<F, J> {
        #[pin]
        future: Option<F>,
        judge: J,
    }
}

impl<F, J> Contender<F, J> {
    pub(super) fn new(future: F, judge: J) -> Self {
        Self { future: Some(future), judge }
    }
}

impl<F, J, T, E> Future for Contender<F, J>
where
    F: Future<Output = Result<T, E>>,
    J: FnMut(Result<T, E>, bool) -> Result<(), E>,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let cancelled = tree::is_cancelled();
        let future = this.future.as_mut().as_pin_mut().expect("not polled after its end");
        let result = ready!(future.poll(cx));
        this.future.set(None);
        Poll::Ready((this.judge)(result, cancelled))
    }
}
