//! `first_ok`: the first success, or all the errors.

use std::panic::Location;

use super::Joined;
use super::contest::{Contender, Contest};
use super::items::{cut, failure_here, name_failed, name_item, spawn_each, tell_failed};
use crate::error::{ErrorGroup, Failure};
use crate::group::{OnPanic, TaskGroup, log_late};
use crate::sync::{Arc, Mutex, lock};
use crate::tree;

/// Runs futures in parallel and gives the first value; the others are cancelled, and waited for. If all fail, all
/// the errors come out.
///
/// Use it for several ways to one end, of which some may fail: mirrors, addresses of one host, strategies. Where an
/// error is an answer too, use [`race`](crate::race()).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// async fn connect(address: &'static str) -> anyhow::Result<&'static str> {
///     anyhow::ensure!(address != "::1", "no route to {address}");
///     Ok(address)
/// }
/// let connected = taskgroup::first_ok(["::1", "127.0.0.1"].map(connect)).await?;
/// assert_eq!(connected, "127.0.0.1");
///
/// let errors = taskgroup::first_ok([connect("::1")]).await.unwrap_err();
/// assert_eq!(errors.first().unwrap().path(), "first_ok > item 0");
/// # Ok(()) }
/// ```
///
/// The futures become the tasks of a group of their own, which is opened when this future is first polled. A future
/// that has not run when the first value is there never runs.
///
/// Who asks for the first success has been given what was asked for: the errors before it are dropped (each is a
/// `DEBUG` event, as every failed task). An error with which a future ends that has already been *cancelled* is not one
/// of its attempts but something that went wrong while it was ended: it is logged, as a failure that nobody
/// can be told of, unless it says "cancelled" ([`Cancelled`](crate::Cancelled)). The value stands.
///
/// # Cancel safety
///
/// Dropping the future drops all futures before the drop returns, and the errors so far. A cancel from outside cuts
/// them, and waits for their cleanup; so a timeout around it gives [`Elapsed`](crate::Elapsed), although some had
/// failed before. Only if one fails while it is being cancelled, that comes out, and the errors before it.
///
/// # Errors
///
/// If all fail, all their errors as one [`ErrorGroup`], in the order in which they happened; all of them, however
/// many. A failure has the place of its future as its name: `item 1` for the second.
///
/// # Panics
///
/// If no future is given: there is neither a success nor an error then. If a future panicked: that is no failed
/// attempt, it cancels the others at once; the payload of the first such panic goes on here after all have ended, and
/// the errors so far are logged. When polled outside a tokio runtime.
#[track_caller]
pub fn first_ok<T, E, F>(futures: impl IntoIterator<Item = F>) -> Joined<T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let location = Location::caller();
    let futures: Vec<F> = futures.into_iter().collect();
    assert!(
        !futures.is_empty(),
        "`first_ok` was given no future: there is neither a success nor an error then"
    );
    Joined::new(async move {
        let group = TaskGroup::open_at("first_ok", OnPanic::Collect, location);
        let attempts =
            Arc::new(Attempts { contest: Contest::new(group.spawner()), failed: Mutex::new(Vec::new()) });
        let each = |index, future| {
            let attempts = Arc::clone(&attempts);
            Contender::new(future, move |result, cancelled| judge(&attempts, index, result, cancelled))
        };
        let all = spawn_each(&group, futures, location, each, drop);
        let drained = group.drain_at(location).await;
        let drained = drained.map_err(|errors| name_failed(errors, attempts.contest.take_failed()));
        let value = attempts.contest.take();
        match (drained, value) {
            (Ok(()), Some(value)) => Ok(value),
            (Ok(()), None) if all && !tree::is_cut() => Err(attempts.all_failed(&group)),
            (Ok(()), None) => Err(cut(group).await),
            (Err(errors), value) => {
                let errors = resume_panic(errors, &attempts);
                match value {
                    // To a region that is cut only failures are delivered (R9, R12).
                    Some(value) if !tree::is_cut() => {
                        log_late(errors);
                        Ok(value)
                    }
                    _ => Err(attempts.failed_before(errors)),
                }
            }
        }
    })
}

struct Attempts<T, E: Send + 'static> {
    contest: Contest<T, E>,
    /// What has failed so far, with its place. Not in the group's books: alone it is no failure of the call, nor
    /// what a cancel from outside is to be answered with.
    failed: Mutex<Vec<(usize, Failure<E>)>>,
}

impl<T, E: Send + 'static> Attempts<T, E> {
    /// The task whose code this is, at place `index`, has failed by itself.
    fn fail(&self, index: usize, error: E) {
        let failure = failure_here(error);
        tell_failed(&failure);
        lock(&self.failed).push((index, failure));
    }

    fn take_failed(&self) -> Vec<Failure<E>> {
        let failed = std::mem::take(&mut *lock(&self.failed));
        let named = |(index, mut failure): (usize, Failure<E>)| {
            name_item(&mut failure, index);
            failure
        };
        failed.into_iter().map(named).collect()
    }

    fn all_failed(&self, group: &TaskGroup<E>) -> ErrorGroup<E> {
        ErrorGroup::new(group.info(), self.take_failed(), 0, group.cause())
    }

    /// What had failed before, and then `errors`.
    fn failed_before(&self, errors: ErrorGroup<E>) -> ErrorGroup<E> {
        let (who, more, cause) = (errors.who().clone(), errors.more(), errors.cause().cloned());
        let mut failures = self.take_failed();
        failures.extend(errors.into_failures());
        ErrorGroup::new(who, failures, more, cause)
    }
}

/// The attempt at place `index` ended with `result`. `cancelled`: the end was one of the draining.
fn judge<T, E: Send + 'static>(
    attempts: &Attempts<T, E>,
    index: usize,
    result: Result<T, E>,
    cancelled: bool,
) -> Result<(), E> {
    match result {
        Ok(value) => attempts.contest.succeed(value),
        Err(error) if !cancelled => attempts.fail(index, error),
        Err(error) => {
            attempts.contest.note_failed(index);
            return Err(error);
        }
    }
    Ok(())
}

/// Goes on with the first panic, if there is one; what else went wrong then has nobody to be told (R10).
fn resume_panic<T, E: Send + 'static>(errors: ErrorGroup<E>, attempts: &Attempts<T, E>) -> ErrorGroup<E> {
    if errors.failures().iter().all(|failure| failure.panic().is_none()) {
        return errors;
    }
    let errors = attempts.failed_before(errors);
    let (who, more, cause) = (errors.who().clone(), errors.more(), errors.cause().cloned());
    let mut failures = errors.into_failures();
    let first = failures.iter().position(|failure| failure.panic().is_some()).expect("looked for above");
    let first = failures.remove(first).into_panic();
    log_late(ErrorGroup::new(who, failures, more, cause));
    match first {
        Ok(panic) => panic.resume(),
        Err(_) => unreachable!("found by being a panic"),
    }
}
