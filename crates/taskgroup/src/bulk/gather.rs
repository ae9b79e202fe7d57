//! `gather`: all values, in order, or all failures.

use std::panic::Location;

use super::Joined;
use super::items::{cut, name_failed, spawn_each};
use crate::group::{OnPanic, TaskGroup};
use crate::task::Task;

/// Runs futures in parallel and gives their values in the order of the futures; the first failure cancels the rest.
///
/// Use it where many futures of one type have to succeed, as `asyncio.gather` or `futures::try_join_all`; unlike the
/// one it leaves nothing running after a failure, unlike the other it runs on all cores and waits for what it
/// cancels. The futures become the tasks of a group of their own, which is opened when this future is first polled.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// async fn fetch(page: String) -> anyhow::Result<usize> {
///     Ok(page.len())
/// }
/// let pages = ["/", "/news", "/about"];
/// let lengths = taskgroup::gather(pages.map(|page| fetch(page.to_owned()))).await?;
/// assert_eq!(lengths, [1, 5, 6]);
/// # Ok(()) }
/// ```
///
/// Where only `?` says what the errors of the futures are, name the types: `gather::<usize, anyhow::Error, _>(…)`. To
/// have errors as values give futures that never fail: `async { Ok(fallible().await) }`. For futures of different types
/// see [`scope`](crate::scope()).
///
/// # With settings
///
/// A group of your own has a name, a limit of time, names for its tasks, and the rest of [`Builder`](crate::Builder).
/// Gathering is a loop over the handles then:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// # async fn fetch(page: String) -> anyhow::Result<usize> { Ok(page.len()) }
/// # use std::time::Duration;
/// use taskgroup::TaskGroup;
/// let crawl = TaskGroup::builder().name("crawl").timeout(Duration::from_secs(30));
/// let lengths = crawl.scope(async |tg: &TaskGroup| {
///     let pages = ["/", "/news", "/about"];
///     let tasks = pages.map(|page| tg.task().name(page).spawn(fetch(page.to_owned())));
///     let mut lengths = Vec::new();
///     for task in tasks {
///         lengths.push(task.await?);
///     }
///     Ok(lengths)
/// });
/// assert_eq!(lengths.await?, [1, 5, 6]);
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Dropping the future drops all futures before the drop returns, and the values of those that have ended. A cancel
/// from outside cuts them, and waits for their cleanup.
///
/// # Errors
///
/// Every failure, as one [`ErrorGroup`](crate::ErrorGroup): more than one where others failed while they were being cancelled. A failure
/// has the place of its future as its name: `item 3` for the fourth.
///
/// # Panics
///
/// If a future panicked, with the payload of the first such panic, after all have ended. When polled outside a
/// tokio runtime.
#[track_caller]
pub fn gather<T, E, F>(futures: impl IntoIterator<Item = F>) -> Joined<Vec<T>, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let location = Location::caller();
    let futures: Vec<F> = futures.into_iter().collect();
    Joined::new(async move {
        let group = TaskGroup::open_at("gather", OnPanic::Resume, location);
        let mut tasks = Vec::with_capacity(futures.len());
        let all = spawn_each(&group, futures, location, |_, future| future, |task| tasks.push(task));
        match group.drain_at(location).await {
            Ok(()) => match values(tasks).filter(|_| all) {
                Some(values) => Ok(values),
                None => Err(cut(group).await),
            },
            Err(errors) => {
                let places = tasks.iter().enumerate().map(|(index, task)| (task.id(), index));
                Err(name_failed(errors, places))
            }
        }
    })
}

/// The values of tasks that have ended; `None` if one has none.
fn values<T>(tasks: Vec<Task<T>>) -> Option<Vec<T>> {
    tasks.into_iter().map(|task| task.into_result().ok()).collect()
}
