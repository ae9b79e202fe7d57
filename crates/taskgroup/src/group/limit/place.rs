//! A place in a group, for a task to be.

use std::fmt;
use std::future::Future;
use std::panic::Location;

use super::Reserved;
use crate::group::TaskBuilder;
use crate::group::core::GroupCore;
use crate::group::spawn::Options;
use crate::sync::Arc;
use crate::task::Task;

/// Room for one task in a group: from [`TaskGroup::ready`](crate::TaskGroup::ready). What is spawned by it runs at
/// once.
///
/// As long as you keep it, the place is taken. Dropped, it goes to whoever waits next.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use taskgroup::TaskGroup;
/// let group: TaskGroup = TaskGroup::builder().limit(2).build();
/// let place = group.ready().await;
/// let sum = place.task().name("sum").spawn_blocking(|_token| Ok((1..=100).sum::<u32>()));
/// group.join().await?;
/// assert_eq!(sum.into_result().unwrap(), 5050);
/// # Ok(()) }
/// ```
#[must_use = "the place is taken as long as this is kept, and free when it is dropped"]
pub struct Place<'g, E: Send + 'static = crate::Error> {
    core: &'g Arc<GroupCore<E>>,
    /// `None`: the group has no limit, or takes no tasks any more.
    reserved: Option<Reserved>,
}

impl<'g, E: Send + 'static> Place<'g, E> {
    pub(in crate::group) fn new(core: &'g Arc<GroupCore<E>>, reserved: Option<Reserved>) -> Self {
        Self { core, reserved }
    }

    /// Spawns into this place; as [`TaskGroup::spawn`](crate::TaskGroup::spawn).
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn spawn<T>(self, future: impl Future<Output = Result<T, E>> + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
    {
        self.core.spawn(future, Options { place: self.reserved, ..Options::new(Location::caller()) })
    }

    /// Spawns into this place with options, a closure, or a task that says when it is ready; as
    /// [`TaskGroup::task`](crate::TaskGroup::task).
    pub fn task(self) -> TaskBuilder<'g, E> {
        TaskBuilder::in_place(self.core, self.reserved)
    }
}

impl<E: Send + 'static> fmt::Debug for Place<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.debug("Place", f)
    }
}
