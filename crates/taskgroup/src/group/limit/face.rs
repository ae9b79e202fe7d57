//! What a group and its spawners say of limits.

use std::future::Future;
use std::panic::Location;

use super::Place;
use crate::group::spawn::Options;
use crate::group::{Spawner, TaskGroup};
use crate::task::Task;

impl<E: Send + 'static> TaskGroup<E> {
    /// Waits until there is room in the group, then spawns: for whoever makes tasks faster than they end.
    ///
    /// Without a [limit](crate::Builder::limit) it does not wait. [`spawn`](Self::spawn) never does: it queues the task. For a
    /// task with a name or other options there is [`TaskBuilder::spawn_when_ready`](crate::TaskBuilder::spawn_when_ready), for closures and
    /// [`start`](Self::start) [`ready`](Self::ready).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// use taskgroup::TaskGroup;
    /// let handled = TaskGroup::builder().limit(4).scope(async |tg| {
    ///     for request in 0..1_000 {
    ///         tg.spawn_when_ready(async move { Ok(request) }).await; // never more than four of them
    ///     }
    ///     assert_eq!(tg.report().queued(), 0);
    ///     Ok("all of them")
    /// });
    /// assert_eq!(handled.await?, "all of them");
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it resolves drops `future` unspawned; the place in the line is given up, and room
    /// that had been reserved goes to the next.
    ///
    /// When the group is cancelled or ends meanwhile, it resolves, and the task is born cancelled (R5); but in a
    /// region that is cancelled itself, such as the group's own body, it does not (R12).
    ///
    /// # Panics
    ///
    /// As [`ready`](Self::ready) and [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_when_ready<T, F>(&self, future: F) -> impl Future<Output = Task<T>> + Send + use<'_, T, F, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        self.core.spawn_when_ready(future, Options::new(Location::caller()))
    }

    /// Waits until a task would run at once, and keeps the room for it: see [`Place`].
    ///
    /// Whoever waits stands in one line with the tasks that are queued, first come first served. Dropping the
    /// [`Place`] gives the room to the next.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # async fn next_request() -> u32 { 7 }
    /// use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::builder().limit(4).build();
    /// let place = group.ready().await; // only then
    /// let request = next_request().await;
    /// place.spawn(async move { Ok(request + 1) });
    /// group.join().await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future gives up the place in the line, and room that had been reserved goes to
    /// the next. When the group is cancelled or ends meanwhile, it resolves; in a region that is cancelled itself it
    /// does not, and stays in the line until that region is dropped (R12).
    ///
    /// # Panics
    ///
    /// Where every task that runs in the group waits for room in it, this one the last: they would wait for each
    /// other for ever. The message names them. Tasks that wait inside tasks of the group count as those. (If it comes
    /// to that because the limit was lowered, it is logged instead.) A wait beside others, in a `select!` or a
    /// `timeout`, counts like any other; use [`try_ready`](Self::try_ready) there.
    pub async fn ready(&self) -> Place<'_, E> {
        Place::new(&self.core, self.core.wait_for_place().await)
    }

    /// Room for a task, if a task would run at once and nobody waits for that room.
    ///
    /// A group that is cancelled or has ended always has room: what is spawned is born cancelled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::builder().limit(1).build();
    /// group.try_ready().unwrap().spawn(async { Ok(()) });
    /// assert!(group.try_ready().is_none());
    /// group.join().await
    /// # }
    /// ```
    pub fn try_ready(&self) -> Option<Place<'_, E>> {
        Some(Place::new(&self.core, self.core.try_place()?))
    }

    /// How many tasks may run at a time; `None` if the group has no limit of its own.
    pub fn limit(&self) -> Option<usize> {
        self.core.group_limit().and_then(|limit| limit.limit())
    }

    /// Changes the [limit](crate::Builder::limit). Raised, it starts as many of the queued; lowered, it stops nobody, and
    /// starts nobody until so many have ended. 0 is a pause: running tasks go on, and nothing starts.
    ///
    /// Room that somebody has been given by [`ready`](Self::ready) is not taken back. `usize::MAX` lifts the limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::builder().limit(0).build();
    /// group.spawn(async { Ok(()) });
    /// assert_eq!(group.report().queued(), 1);
    /// group.set_limit(16);
    /// group.join().await
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the group was built without a [limit](crate::Builder::limit) and without a [limiter](crate::Builder::limiter): then
    /// nobody has counted its tasks. Build it with `limit(usize::MAX)` to limit it later.
    #[track_caller]
    pub fn set_limit(&self, limit: usize) {
        self.core.set_limit(limit);
    }
}

impl<E: Send + 'static> Spawner<E> {
    /// As [`TaskGroup::spawn_when_ready`](TaskGroup::spawn_when_ready).
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn spawn_when_ready<T, F>(&self, future: F) -> impl Future<Output = Task<T>> + Send + use<'_, T, F, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        self.core.spawn_when_ready(future, Options::new(Location::caller()))
    }

    /// As [`TaskGroup::ready`](TaskGroup::ready).
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    pub async fn ready(&self) -> Place<'_, E> {
        Place::new(&self.core, self.core.wait_for_place().await)
    }

    /// As [`TaskGroup::try_ready`](TaskGroup::try_ready).
    pub fn try_ready(&self) -> Option<Place<'_, E>> {
        Some(Place::new(&self.core, self.core.try_place()?))
    }

    /// As [`TaskGroup::limit`](TaskGroup::limit).
    pub fn limit(&self) -> Option<usize> {
        self.core.group_limit().and_then(|limit| limit.limit())
    }

    /// As [`TaskGroup::set_limit`](TaskGroup::set_limit).
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn set_limit(&self, limit: usize) {
        self.core.set_limit(limit);
    }
}
