//! `scope`: a group around a closure.

use std::future::Future;
use std::panic::Location;

use super::builder::Settings;
use super::{Run, TaskGroup};
use crate::error::ErrorGroup;

/// What [`scope`] takes: an async closure over the group. Implemented for all of them; not for hand-writing.
///
/// It is both `AsyncFnOnce(&TaskGroup<E>) -> Result<T, E>` and `FnOnce(&TaskGroup<E>) -> Fut`: the first
/// lets the compiler infer the closure, the second gives the future a name, so that `scope` can say that it
/// is `Send`.
pub trait ScopeBody<'a, T, E: Send + 'static>:
    AsyncFnOnce(&'a TaskGroup<E>) -> Result<T, E> + FnOnce(&'a TaskGroup<E>) -> Self::Fut
{
    /// The future that the closure returns.
    type Fut: Future<Output = Result<T, E>>;
}

impl<'a, T, E, F, Fut> ScopeBody<'a, T, E> for F
where
    E: Send + 'static,
    F: AsyncFnOnce(&'a TaskGroup<E>) -> Result<T, E> + FnOnce(&'a TaskGroup<E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Fut = Fut;
}

/// Opens a group, runs `body` in it, and returns when the body and every task in the group have ended.
///
/// This is the first thing to reach for: what is spawned inside cannot outlive the call. The first failure
/// cancels the body and all tasks; all failures come out together.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// let (left, right) = taskgroup::scope(async |tg| {
///     let left = tg.spawn(async { Ok(20) });
///     let right = tg.spawn(async { Ok(22) });
///     Ok((left.await?, right.await?))
/// })
/// .await?;
/// assert_eq!(left + right, 42);
/// # Ok(()) }
/// ```
///
/// # Values of different types
///
/// The body does what a `try_join!` macro does, on all cores, and waits for what it cancels: spawn each, await each.
/// The order of the awaits does not matter, a failure cuts the body wherever it stands. For many futures of one type
/// there are [`gather`](crate::gather()), [`race`](crate::race()) and [`first_ok`](crate::first_ok()).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// # async fn user(id: u32) -> anyhow::Result<String> { Ok(format!("user {id}")) }
/// # async fn orders(_of: u32) -> anyhow::Result<Vec<u64>> { Ok(vec![7]) }
/// // let (user, orders) = try_join!(user(1), orders(1))?;
/// let (user, orders) = taskgroup::scope(async |tg| {
///     let (user, orders) = (tg.spawn(user(1)), tg.spawn(orders(1)));
///     Ok((user.await?, orders.await?))
/// })
/// .await?;
/// # assert_eq!((user.as_str(), &*orders), ("user 1", &[7][..]));
/// # Ok(()) }
/// ```
///
/// # Which error type?
///
/// `E` is inferred. Where only `?` says what the errors are, nothing does: write `async |tg: &TaskGroup|` for
/// the default (`anyhow::Error`), or `async |tg: &TaskGroup<MyError>|`. With
/// `E = Box<dyn Error + Send + Sync>` some compilers cannot prove such a closure `Send`: then use
/// [`TaskGroup::run`], which takes a plain future and has no such limit.
///
/// # Cancel safety
///
/// Dropping the future drops every task of the group before the drop returns: see [`TaskGroup`].
///
/// # Errors
///
/// Every failure of body and tasks, as one [`ErrorGroup`]; without failures, when the group was cancelled
/// by its own `cancel` and the body had no value yet.
///
/// # Panics
///
/// If the body or a task panicked, with the payload of the first such panic, after all have ended.
#[track_caller]
pub fn scope<T, E, F>(body: F) -> impl Future<Output = Result<T, ErrorGroup<E>>> + Send + use<T, E, F>
where
    F: for<'a> ScopeBody<'a, T, E, Fut: Send> + Send,
    T: Send,
    E: Send + 'static,
{
    scope_with(Settings::default(), body, Location::caller())
}

#[allow(clippy::manual_async_fn, reason = "an `async fn` cannot say that its future is `Send`")]
pub(super) fn scope_with<T, E, F>(
    settings: Settings<E>,
    body: F,
    location: &'static Location<'static>,
) -> impl Future<Output = Result<T, ErrorGroup<E>>> + Send + use<T, E, F>
where
    F: for<'a> ScopeBody<'a, T, E, Fut: Send> + Send,
    T: Send,
    E: Send + 'static,
{
    async move {
        let group = TaskGroup::open(settings, location);
        // Called inside the body, so that what a plain closure does before its future is done there too.
        let body = async { body(&group).await };
        Run::new(&group.core, body, location).await
    }
}
