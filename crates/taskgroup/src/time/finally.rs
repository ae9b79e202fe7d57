//! Async cleanup that runs however the work ended, a cancel included.
//!
//! ```text
//!   new ──▶ working ──(value, panic, cut)──▶ cleaning ──(done, or out of time)──▶ done
//! ```
//!
//! The work is a scope of its own, which the surroundings' cancel reaches and cuts. Beside it stands a shield
//! from the first poll on: it is what keeps the cancelled surroundings from being dropped before the cleanup,
//! itself shielded, has been run.

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core::Core;
use super::elapsed::{limited, no_value};
use super::region::{Place, Region};
use crate::group::Limit;
use crate::lost;
use crate::sync::Arc;
use crate::task::{Panic, catch};
use crate::trace::Fields;
use crate::tree::{CancelCause, NodeKind};

/// How the work of a [`finally`] ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ending {
    /// It returned `Ok`.
    Succeeded,
    /// It returned `Err`.
    Failed,
    /// It panicked.
    Panicked,
    /// It was cancelled, and cut at a wait.
    Cancelled(CancelCause),
}

/// Runs `future`, and then `cleanup`, whether the future succeeded, failed, panicked or was cancelled.
///
/// The cleanup is told which it was. It runs [shielded](crate::shield()): a cancel, also one that has come
/// before, does not stop it, and whoever waits for this code waits for the cleanup too. It has ten seconds, with
/// [`finally_for`] as long as you say; one that takes longer is cancelled, and that is logged. Then the future's
/// result comes out, or its panic goes on, or the cancelled code is cut.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use taskgroup::{Ending, finally};
/// # async fn transfer() -> Result<u32, std::io::Error> { Ok(7) }
/// # async fn commit() {} async fn roll_back() {}
/// let result = finally(transfer(), async |how| match how {
///     Ending::Succeeded => commit().await,
///     _ => roll_back().await,
/// });
/// assert_eq!(result.await.unwrap(), 7);
/// # }
/// ```
///
/// # Cancel safety
///
/// *Dropping* it is not a cancel: no async code can run then, and the cleanup does not. A `select!` that loses
/// interest drops; a group or a [`timeout`](crate::timeout) of this crate cancels and waits.
///
/// # Panics
///
/// With the payload of the future's panic, after the cleanup; with the cleanup's own. Outside a tokio runtime
/// with its clock enabled, if the cleanup has to wait.
#[track_caller]
pub fn finally<F, T, E, C, Fut>(
    future: F,
    cleanup: C,
) -> impl Future<Output = Result<T, E>> + use<F, T, E, C, Fut>
where
    F: Future<Output = Result<T, E>>,
    C: FnOnce(Ending) -> Fut,
    Fut: Future<Output = ()>,
{
    with_cleanup(DEFAULT_LIMIT, future, cleanup, Location::caller())
}

/// [`finally()`] with a time limit of your own for the cleanup.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// # async fn talk() -> Result<(), std::io::Error> { Ok(()) }
/// # async fn say_goodbye() {}
/// let limit = Duration::from_millis(500);
/// taskgroup::finally_for(limit, talk(), async |_how| say_goodbye().await).await.unwrap();
/// # }
/// ```
///
/// # Cancel safety
///
/// As [`finally()`].
///
/// # Panics
///
/// As [`finally()`].
#[track_caller]
pub fn finally_for<F, T, E, C, Fut>(
    limit: Duration,
    future: F,
    cleanup: C,
) -> impl Future<Output = Result<T, E>> + use<F, T, E, C, Fut>
where
    F: Future<Output = Result<T, E>>,
    C: FnOnce(Ending) -> Fut,
    Fut: Future<Output = ()>,
{
    with_cleanup(limit, future, cleanup, Location::caller())
}

const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

enum Worked<O> {
    Returned(O),
    Panicked(Panic),
    Cut(CancelCause),
}

async fn with_cleanup<F, T, E, C, Fut>(
    limit: Duration,
    future: F,
    cleanup: C,
    location: &'static Location<'static>,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    C: FnOnce(Ending) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut guard = Place::new(Arc::new(Core::new(NodeKind::Shield, location, None)));
    let mut both = pin!(work_and_clean(limit, future, cleanup, location));
    let (worked, cleaned) = poll_fn(|cx| {
        guard.attach();
        let waker = guard.waker(cx);
        both.as_mut().poll(&mut Context::from_waker(waker.as_ref().unwrap_or(cx.waker())))
    })
    .await;
    drop(guard);
    match (worked, cleaned) {
        (Worked::Panicked(panic), cleaned) => {
            if let Err(second) = cleaned {
                let error = second.to_string();
                let fields = Fields { location: Some(location), error: Some(&error), ..Fields::default() };
                let what = format_args!("the cleanup of the `finally` at {location} {error}");
                lost::report_with(&fields, what);
            }
            panic.resume()
        }
        (_, Err(panic)) => panic.resume(),
        (Worked::Returned(result), Ok(())) => result,
        (Worked::Cut(cause), Ok(())) => no_value(&cause, location).await,
    }
}

async fn work_and_clean<F, T, E, C, Fut>(
    limit: Duration,
    future: F,
    cleanup: C,
    location: &'static Location<'static>,
) -> (Worked<Result<T, E>>, Result<(), Panic>)
where
    F: Future<Output = Result<T, E>>,
    C: FnOnce(Ending) -> Fut,
    Fut: Future<Output = ()>,
{
    let worked = work(future, location).await;
    let ending = match &worked {
        Worked::Returned(Ok(_)) => Ending::Succeeded,
        Worked::Returned(Err(_)) => Ending::Failed,
        Worked::Panicked(_) => Ending::Panicked,
        Worked::Cut(cause) => Ending::Cancelled(cause.clone()),
    };
    let cleaned = clean(limit, async { cleanup(ending).await }, location).await;
    (worked, cleaned)
}

/// The work, in a scope that its surroundings' cancel reaches.
async fn work<F: Future>(future: F, location: &'static Location<'static>) -> Worked<F::Output> {
    let core = Arc::new(Core::new(NodeKind::Scope, location, None));
    let mut region = pin!(Region::new(core, future));
    let worked = poll_fn(|cx| match catch(|| region.as_mut().poll_to_end(cx)) {
        Ok(polled) => polled.map(|end| match end {
            Ok(output) => Worked::Returned(output),
            Err(cause) => Worked::Cut(cause),
        }),
        Err(panic) => Poll::Ready(Worked::Panicked(panic)),
    })
    .await;
    match catch(|| region.as_mut().clear()) {
        Ok(()) => worked,
        Err(panic) => Worked::Panicked(panic),
    }
}

/// The cleanup, shielded. Out of time is logged, a panic handed back.
async fn clean(
    limit: Duration,
    cleanup: impl Future<Output = ()>,
    location: &'static Location<'static>,
) -> Result<(), Panic> {
    let mut shield = pin!(limited(NodeKind::Shield, Limit::After(limit), cleanup, location));
    let cleaned = poll_fn(|cx| match catch(|| shield.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    if cleaned.await?.is_err() {
        let what = format_args!(
            "the cleanup of the `finally` at {location} was cancelled: it had not ended after {limit:?}"
        );
        lost::report_with(&Fields { location: Some(location), ..Fields::default() }, what);
    }
    Ok(())
}
