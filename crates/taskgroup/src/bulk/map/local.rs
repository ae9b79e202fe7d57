//! `map_local`: items that borrow, run inside the task that awaits them.

use futures_core::Stream;

use super::completed::MapStream;
use super::crew::InTask;
use super::items::Items;
use super::ordered::Map;
use super::setup::Setup;

/// [`map`](crate::map()) inside the task that awaits it: `f` and its futures may borrow from what is around the call, and
/// need not be `Send`.
///
/// The way to run a piece of work over many items where it leans on what is at hand: a connection, a cache, a parser on
/// the stack. Items wait together, at most `limit` of them, but only one of them computes at a time; where they should
/// use more than one core take `map`. All else is as there: the settings, the results
/// [as they complete](crate::Map::as_completed), failures, panics and cancel. What is borrowed must be there before the call.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// let text = String::from("to be or not to be");
/// let words: Vec<&str> = text.split(' ').collect();
/// let seen = std::cell::Cell::new(0);
/// let lengths = taskgroup::map_local(&words, 3, async |word| {
///     tokio::task::yield_now().await;
///     seen.set(seen.get() + 1);
///     anyhow::Ok(word.len())
/// })
/// .await?;
/// assert_eq!((lengths.as_slice(), seen.get()), (&[2, 2, 2, 3, 2, 2][..], words.len()));
/// # Ok(()) }
/// ```
///
/// With what is not `Send`:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use std::{cell::RefCell, rc::Rc};
/// let log = Rc::new(RefCell::new(Vec::new()));
/// let noted = taskgroup::map_local(["a", "b"], 2, |name| {
///     let log = Rc::clone(&log);
///     async move {
///         log.borrow_mut().push(name);
///         anyhow::Ok(Rc::strong_count(&log))
///     }
/// });
/// assert_eq!(noted.await?, [2, 2]);
/// assert_eq!(*log.borrow(), ["a", "b"]);
/// # Ok(()) }
/// ```
///
/// Items are run by children of a [`LocalGroup`](crate::LocalGroup) that it opens for itself. They go on only while the
/// future, or the stream of results, is polled: code that takes a value and then waits for something else holds them up.
/// After about 100 microseconds in one poll it lets others on the thread have their turn.
///
/// # Cancel safety
///
/// As [`map`](crate::map()).
///
/// # Errors
///
/// As [`map`](crate::map()).
///
/// # Panics
///
/// As [`map`](crate::map()).
#[track_caller]
pub fn map_local<'env, I, F, Fut, T, E>(
    items: I,
    limit: usize,
    f: F,
) -> LocalMap<'env, Items<I::IntoIter>, F, T, E>
where
    I: IntoIterator<IntoIter: 'env>,
    F: Fn(I::Item) -> Fut + 'env,
    Fut: Future<Output = Result<T, E>> + 'env,
    T: 'env,
    E: Send + 'static,
{
    Map::new(Setup::in_task(Items::new(items.into_iter()), limit, f))
}

/// [`map_local`] over the items of a stream.
///
/// The stream is asked for its next item only when there is room for it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// let (offset, numbers) = (100, futures::stream::iter(0..3));
/// let sums = taskgroup::map_local_stream(numbers, 2, |n| {
///     let offset = &offset;
///     async move { anyhow::Ok(offset + n) }
/// });
/// assert_eq!(sums.await?, [100, 101, 102]);
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// As [`map`](crate::map()).
#[track_caller]
pub fn map_local_stream<'env, S, F, Fut, T, E>(items: S, limit: usize, f: F) -> LocalMap<'env, S, F, T, E>
where
    S: Stream + 'env,
    F: Fn(S::Item) -> Fut + 'env,
    Fut: Future<Output = Result<T, E>> + 'env,
    T: 'env,
    E: Send + 'static,
{
    Map::new(Setup::in_task(items, limit, f))
}

/// The future of [`map_local`] and [`map_local_stream`]: a [`Map`] that runs its items inside the task that awaits it.
pub type LocalMap<'env, S, F, T, E = crate::Error> = Map<S, F, T, E, InTask<'env>>;

/// The results of a [`map_local`] as a stream: a [`MapStream`] that runs the items while it is polled.
pub type LocalMapStream<'env, S, F, T, E = crate::Error> = MapStream<S, F, T, E, InTask<'env>>;
