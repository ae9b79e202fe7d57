//! `race`: the first to settle.

use std::panic::Location;

use super::Joined;
use super::contest::{Contender, Contest};
use super::items::{cut, failure_here, name_failed, spawn_each, tell_failed};
use crate::group::{OnPanic, TaskGroup, log_late};
use crate::sync::Arc;
use crate::tree;

/// Runs futures in parallel and gives what the first one to end gives, value or error; the others are cancelled, and
/// waited for.
///
/// Use it where any answer will do: the same question to two servers, work against the news that it is not needed.
/// Where an error should not win against a value that comes later, use [`first_ok`](crate::first_ok()). Unlike in a
/// `select!`, the cleanup of the losers is awaited before the answer comes out, so nothing of them runs behind your
/// back.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use std::time::Duration;
///
/// async fn ask(server: &str, delay: Duration) -> anyhow::Result<String> {
///     tokio::time::sleep(delay).await;
///     Ok(format!("the answer of {server}"))
/// }
/// let near = ask("near", Duration::from_millis(20));
/// let far = ask("far", Duration::from_millis(200));
/// assert_eq!(taskgroup::race([near, far]).await?, "the answer of near");
/// # Ok(()) }
/// ```
///
/// The futures become the tasks of a group of their own, which is opened when this future is first polled. A future
/// that has not run when the race is decided never runs. Futures that are not of one type are boxed
/// (`Box::pin(…) as Pin<Box<dyn Future<Output = _> + Send>>`).
///
/// A value that won stands, and who ends by itself a moment later came too late, with an error (a `DEBUG` event, as
/// every failed task) as with a value. An error with which a loser ends that has already been *cancelled* is another
/// thing: something went wrong while it was ended. It is logged, as a failure that nobody can be told of, unless
/// it says "cancelled" ([`Cancelled`](crate::Cancelled)). A panic goes on here in any case (below).
///
/// # Cancel safety
///
/// Dropping the future drops all futures before the drop returns. A cancel from outside cuts them, and waits for
/// their cleanup; a value that had won by then is lost, as any value that a cancelled region waits for.
///
/// # Errors
///
/// If the first to end failed, an [`ErrorGroup`](crate::ErrorGroup) with that error, and after it those of losers that failed while
/// they were being cancelled. A failure has the place of its future as its name: `item 1` for the second.
///
/// # Panics
///
/// If no future is given: of none, none is the first. If a future panicked, the winner or a loser while it was being
/// cancelled, with the payload of the first such panic, after all have ended. When polled outside a tokio runtime.
#[track_caller]
pub fn race<T, E, F>(futures: impl IntoIterator<Item = F>) -> Joined<T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let location = Location::caller();
    let futures: Vec<F> = futures.into_iter().collect();
    assert!(!futures.is_empty(), "`race` was given no future: of none, none is the first");
    Joined::new(async move {
        let group = TaskGroup::open_at("race", OnPanic::Resume, location);
        let contest = Arc::new(Contest::new(group.spawner()));
        let each = |index, future| {
            let contest = Arc::clone(&contest);
            Contender::new(future, move |result, cancelled| judge(&contest, index, result, cancelled))
        };
        spawn_each(&group, futures, location, each, drop);
        match (group.drain_at(location).await, contest.take()) {
            (Ok(()), Some(value)) => Ok(value),
            (Ok(()), None) => Err(cut(group).await),
            // To a region that is cut only failures are delivered (R9, R12).
            (Err(late), Some(value)) if !tree::is_cut() => {
                log_late(name_failed(late, contest.take_failed()));
                Ok(value)
            }
            (Err(errors), _) => Err(name_failed(errors, contest.take_failed())),
        }
    })
}

/// Who ended with `result`, at place `index`. `cancelled`: the end was one of the draining.
fn judge<T, E: Send + 'static>(
    contest: &Contest<T, E>,
    index: usize,
    result: Result<T, E>,
    cancelled: bool,
) -> Result<(), E> {
    match result {
        Ok(value) => contest.succeed(value),
        Err(error) if contest.fail() && !cancelled => {
            // Dropped, as a value that comes second.
            tell_failed(&failure_here(error));
        }
        Err(error) => {
            contest.note_failed(index);
            return Err(error);
        }
    }
    Ok(())
}
