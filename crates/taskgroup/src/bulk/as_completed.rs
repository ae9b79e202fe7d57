//! `as_completed`: tasks in the order in which they end.
//!
//! ```text
//! task ends ──▶ its own waker ──▶ its key is queued, the stream is woken ──▶ the stream takes the task's result
//! ```
//!
//! # Invariants
//!
//! 1. Every task in the stream has its key in the queue, or a waker of ours that will put it there: each is looked at
//!    when it has ended, and not before. So a stream of many costs what its tasks cost, never their square.
//! 2. Key and stream's waker are exchanged under one lock: whoever found the queue empty has left the waker that
//!    the next key takes.
//! 3. A key is used again when its task has been given out. A waker can come once too often (when a task ends
//!    while the waker is being left there), so what a key says is believed only of a task that has ended.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use slab::Slab;

use crate::sync::{Arc, Mutex, lock};
use crate::task::{Task, TaskError};
use crate::tree::{self, Id};

/// The tasks of these handles in the order in which they end.
///
/// Use it to go on with each result as soon as it is there: `asyncio.as_completed`, and with one step of it
/// `asyncio.wait(…, FIRST_COMPLETED)`. The tasks run on whoever looks at the stream: it starts, cancels and ends none of
/// them. Tasks that have ended before are the first, in the order of the handles.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use std::time::Duration;
/// let order = taskgroup::scope(async |tg: &taskgroup::TaskGroup| {
///     let tasks = [30, 10, 20].map(|delay| {
///         tg.spawn(async move {
///             tokio::time::sleep(Duration::from_millis(delay)).await;
///             Ok(delay)
///         })
///     });
///     let mut order = Vec::new();
///     let mut completed = taskgroup::as_completed(tasks);
///     while let Some(task) = completed.next().await {
///         order.push((task.index(), task.into_result()?));
///     }
///     Ok(order)
/// })
/// .await?;
/// assert_eq!(order, [(1, 10), (2, 20), (0, 30)]);
/// # Ok(()) }
/// ```
///
/// It is a [`Stream`] too, for the combinators of the `futures` and `tokio-stream` crates. The tasks have one type of
/// value, and may be of different groups. In a group that is to fail fast, a body that reads the stream is cut when a
/// task fails, as at every wait; to see failures as they come, use [`OnFailure::Continue`](crate::OnFailure), or tasks
/// with errors as values.
///
/// It costs one small allocation for each task that has not ended.
pub fn as_completed<T>(tasks: impl IntoIterator<Item = Task<T>>) -> AsCompleted<T> {
    tasks.into_iter().collect()
}

/// A stream of tasks in the order in which they end: see [`as_completed`](crate::as_completed()).
///
/// More can be [pushed](Self::push) while it is read; when it is empty it gives `None`, and goes on after the next
/// push.
///
/// # Cancel safety
///
/// Dropping the stream drops its handles, which changes nothing for the tasks. In a cancelled region reading it is a
/// wait, as awaiting a handle is, whatever its tasks have become: the region is cut there (R12).
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<T: 'static> {
    entries: Slab<Entry<T>>,
    arrivals: Arc<Arrivals>,
    /// How many have been pushed: the index of the next one.
    pushed: usize,
    #[cfg(test)]
    looks: usize,
}

struct Entry<T: 'static> {
    index: usize,
    task: Task<T>,
}

impl<T> AsCompleted<T> {
    /// The next task that ends, or has ended; `None` if none is left.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # let group: taskgroup::TaskGroup = taskgroup::TaskGroup::new();
    /// let mut completed = taskgroup::as_completed([group.spawn(async { Ok(1) })]);
    /// assert_eq!(completed.next().await.unwrap().into_result().unwrap(), 1);
    /// assert!(completed.next().await.is_none());
    /// # group.join().await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost if this is dropped, in a `select!` or by a timeout.
    ///
    /// # Panics
    ///
    /// If a task's result had been taken, by awaiting its handle, before it was put into the stream.
    pub async fn next(&mut self) -> Option<Completed<T>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// One more task; its [index](Completed::index) is how many there were before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # let group: taskgroup::TaskGroup = taskgroup::TaskGroup::new();
    /// let mut completed = taskgroup::as_completed([group.spawn(async { Ok(0) })]);
    /// while let Some(task) = completed.next().await {
    ///     let value = task.into_result().unwrap();
    ///     if value < 3 {
    ///         completed.push(group.spawn(async move { Ok(value + 1) }));
    ///     }
    /// }
    /// # group.join().await
    /// # }
    /// ```
    pub fn push(&mut self, task: Task<T>) {
        let slot = self.entries.vacant_entry();
        let key = slot.key();
        if task.is_finished() || !self.arrivals.follow(key, &task) {
            self.arrivals.arrive(key);
        }
        slot.insert(Entry { index: self.pushed, task });
        self.pushed += 1;
    }

    /// How many tasks have not been given out.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether every task has been given out.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The handles that have not been given out, in the order in which they came.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # let group: taskgroup::TaskGroup = taskgroup::TaskGroup::new();
    /// # let quick = group.spawn(async { Ok("quick") });
    /// # let slow = group.spawn(std::future::pending());
    /// // the first of them, the others cancelled
    /// let mut completed = taskgroup::as_completed([slow, quick]);
    /// let first = completed.next().await.unwrap();
    /// completed.into_tasks().iter().for_each(taskgroup::Task::cancel);
    /// assert_eq!(first.into_result().unwrap(), "quick");
    /// # group.join().await
    /// # }
    /// ```
    pub fn into_tasks(self) -> Vec<Task<T>> {
        let mut left: Vec<_> = self.entries.into_iter().map(|(_, entry)| entry).collect();
        left.sort_unstable_by_key(|entry| entry.index);
        left.into_iter().map(|entry| entry.task).collect()
    }
}

impl<T> Stream for AsCompleted<T> {
    type Item = Completed<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Completed<T>>> {
        let this = self.get_mut();
        if this.entries.is_empty() {
            return Poll::Ready(None);
        }
        if tree::is_cut() {
            return Poll::Pending;
        }
        while let Some(key) = this.arrivals.next(cx.waker()) {
            #[cfg(test)]
            {
                this.looks += 1;
            }
            let Some(entry) = this.entries.get_mut(key).filter(|entry| entry.task.is_finished()) else {
                continue;
            };
            // What it says also when it has ended: that this region has been cancelled meanwhile, or that others
            // are to run first.
            let Poll::Ready(result) = Pin::new(&mut entry.task).poll(cx) else {
                this.arrivals.put_back(key);
                return Poll::Pending;
            };
            let Entry { index, task } = this.entries.remove(key);
            return Poll::Ready(Some(Completed { index, task, result }));
        }
        Poll::Pending
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.entries.len(), Some(self.entries.len()))
    }
}

impl<T> FusedStream for AsCompleted<T> {
    fn is_terminated(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> FromIterator<Task<T>> for AsCompleted<T> {
    fn from_iter<I: IntoIterator<Item = Task<T>>>(tasks: I) -> Self {
        let mut completed = Self {
            entries: Slab::new(),
            arrivals: Arc::default(),
            pushed: 0,
            #[cfg(test)]
            looks: 0,
        };
        completed.extend(tasks);
        completed
    }
}

impl<T> Extend<Task<T>> for AsCompleted<T> {
    fn extend<I: IntoIterator<Item = Task<T>>>(&mut self, tasks: I) {
        let tasks = tasks.into_iter();
        self.entries.reserve(tasks.size_hint().0);
        tasks.for_each(|task| self.push(task));
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A task that has ended, with its result: what [`AsCompleted`] gives.
pub struct Completed<T: 'static> {
    index: usize,
    /// Its result has been taken.
    task: Task<T>,
    result: Result<T, TaskError>,
}

impl<T> Completed<T> {
    /// The place of the task's handle among those given to [`as_completed`](crate::as_completed()), from 0 on.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The identity of the task.
    pub fn id(&self) -> Id {
        self.task.id()
    }

    /// The name the task was given.
    pub fn name(&self) -> Option<&str> {
        self.task.name()
    }

    /// Where the task was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.task.location()
    }

    /// How it ended.
    pub fn result(&self) -> Result<&T, &TaskError> {
        self.result.as_ref()
    }

    /// How it ended, owned.
    ///
    /// # Errors
    ///
    /// [`TaskError`], as awaiting the handle: the task failed, panicked, or was cancelled.
    pub fn into_result(self) -> Result<T, TaskError> {
        self.result
    }
}

impl<T> fmt::Debug for Completed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = self.result.as_ref().map(|_| ());
        f.debug_struct("Completed").field("task", &self.task.info()).field("result", &result).finish()
    }
}

/// The keys of tasks that have ended and have not been given out, and who waits for one.
#[derive(Default)]
pub(super) struct Arrivals {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    keys: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Arrivals {
    /// The next key; if there is none, `waker` is woken when one comes.
    pub(super) fn next(&self, waker: &Waker) -> Option<usize> {
        let replaced = {
            let mut queue = lock(&self.queue);
            if let Some(key) = queue.keys.pop_front() {
                return Some(key);
            }
            match &queue.waker {
                Some(left) if left.will_wake(waker) => None,
                _ => queue.waker.replace(waker.clone()),
            }
        };
        drop(replaced);
        None
    }

    /// A key that was taken and is still to be seen to; nobody waits meanwhile.
    fn put_back(&self, key: usize) {
        lock(&self.queue).keys.push_front(key);
    }

    pub(super) fn arrive(&self, key: usize) {
        let waker = {
            let mut queue = lock(&self.queue);
            queue.keys.push_back(key);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            tree::wake(waker);
        }
    }

    /// Leaves word with a task that `key` is to arrive when it ends. False: it has ended, and nobody will.
    fn follow<T>(self: &Arc<Self>, key: usize, task: &Task<T>) -> bool {
        let waker = Waker::from(Arc::new(Arrival { key, arrivals: Arc::clone(self) }));
        task.poll_ended(&mut Context::from_waker(&waker)).is_pending()
    }
}

/// The waker of one task.
struct Arrival {
    key: usize,
    arrivals: Arc<Arrivals>,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        self.arrivals.arrive(self.key);
    }
}

#[cfg(all(test, not(taskgroup_loom)))]
mod tests {
    use super::*;
    use crate::TaskGroup;

    #[tokio::test(start_paused = true)]
    async fn each_task_is_looked_at_once_however_many_there_are() {
        const MANY: u64 = 10_000;
        let group: TaskGroup = TaskGroup::new();
        let tasks = (0..MANY).map(|number| {
            group.spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(number % 100)).await;
                Ok(())
            })
        });
        let mut completed = as_completed(tasks);
        let mut given = 0;
        while let Some(task) = completed.next().await {
            task.into_result().expect("a value");
            given += 1;
        }
        assert_eq!(given, MANY);
        // Beside them only those that the runtime's budget had put back.
        assert!((10_000..=10_500).contains(&completed.looks), "{}", completed.looks);
        group.join().await.expect("no failure");
    }
}
