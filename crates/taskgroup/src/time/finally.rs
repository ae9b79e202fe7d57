//! Async cleanup that runs however the work ended, a cancel included.
//!
//! ```text
//!   new ──▶ working ──(value, panic, cut)──▶ cleaning ──(done, or out of time)──▶ done
//! ```
//!
//! 1. The work is a scope of its own, which the surroundings' cancel reaches and cuts. Beside it stands a shield
//!    from the first poll on, the guard: it is what keeps the cancelled surroundings from being dropped before the cleanup,
//!    itself shielded, has been run. It is dropped last.
//! 2. The work has been dropped before the cleanup begins.
//! 3. Nothing of either is alive when the result comes out.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::core::Core;
use super::elapsed::{Limited, assert_cut, limited};
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

impl<T, E> Worked<Result<T, E>> {
    fn ending(&self) -> Ending {
        match self {
            Worked::Returned(Ok(_)) => Ending::Succeeded,
            Worked::Returned(Err(_)) => Ending::Failed,
            Worked::Panicked(_) => Ending::Panicked,
            Worked::Cut(cause) => Ending::Cancelled(cause.clone()),
        }
    }
}

fn with_cleanup<F, T, E, C, Fut>(
    limit: Duration,
    future: F,
    cleanup: C,
    location: &'static Location<'static>,
) -> Finally<F, C, Fut>
where
    F: Future<Output = Result<T, E>>,
    C: FnOnce(Ending) -> Fut,
    Fut: Future<Output = ()>,
{
    let core = |kind| Arc::new(Core::new(kind, location, None));
    Finally {
        work: Region::new(core(NodeKind::Scope), future),
        shield: None,
        guard: Place::new(core(NodeKind::Shield)),
        phase: Phase::Working(Some(cleanup)),
        limit,
        location,
    }
}

pin_project! {
    // Written out: `async` functions that hand the work on to each other would hold it once each.
    struct Finally<F, C, Fut>
    where
        F: Future,
    {
        #[pin]
        work: Region<F>,
        #[pin]
        shield: Option<Limited<Cleanup<C, Fut>>>,
        // Dropped after both.
        guard: Place,
        phase: Phase<C, F::Output>,
        limit: Duration,
        location: &'static Location<'static>,
    }
}

enum Phase<C, O> {
    Working(Option<C>),
    Cleaning(Worked<O>),
    Done,
}

pin_project! {
    #[project = CleanupStage]
    enum Cleanup<C, Fut> {
        New { cleanup: Option<(C, Ending)> },
        Begun { #[pin] future: Fut },
    }
}

impl<C, Fut> Future for Cleanup<C, Fut>
where
    C: FnOnce(Ending) -> Fut,
    Fut: Future<Output = ()>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let future = match self.as_mut().project() {
                CleanupStage::Begun { future } => return future.poll(cx),
                CleanupStage::New { cleanup } => {
                    let (cleanup, ending) = cleanup.take().expect("not polled again when it has panicked");
                    cleanup(ending)
                }
            };
            self.set(Cleanup::Begun { future });
        }
    }
}

impl<F, T, E, C, Fut> Future for Finally<F, C, Fut>
where
    F: Future<Output = Result<T, E>>,
    C: FnOnce(Ending) -> Fut,
    Fut: Future<Output = ()>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut this = self.project();
        if matches!(this.phase, Phase::Done) {
            return Poll::Pending;
        }
        this.guard.attach();
        let waker = this.guard.waker(cx);
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(cx.waker()));
        if let Phase::Working(cleanup) = this.phase {
            let worked = ready!(poll_work(this.work.as_mut(), &mut cx));
            let cleanup = Cleanup::New { cleanup: cleanup.take().map(|cleanup| (cleanup, worked.ending())) };
            let limit = Limit::After(*this.limit);
            this.shield.set(Some(limited(NodeKind::Shield, limit, cleanup, this.location)));
            *this.phase = Phase::Cleaning(worked);
        }
        let Some(shield) = this.shield.as_mut().as_pin_mut() else { unreachable!("set when the work ended") };
        let cleaned = match catch(|| shield.poll(&mut cx)) {
            Ok(polled) => Ok(ready!(polled)),
            Err(panic) => Err(panic),
        };
        this.shield.set(None);
        if let Ok(Err(_)) = &cleaned {
            report(
                this.location,
                None,
                format_args!("was cancelled: it had not ended after {:?}", this.limit),
            );
        }
        let Phase::Cleaning(worked) = std::mem::replace(this.phase, Phase::Done) else {
            unreachable!("left when the cleanup has ended")
        };
        this.guard.leave();
        finish(worked, cleaned.err(), this.location)
    }
}

/// The work, in a scope that its surroundings' cancel reaches.
fn poll_work<F: Future>(mut work: Pin<&mut Region<F>>, cx: &mut Context<'_>) -> Poll<Worked<F::Output>> {
    let worked = match catch(|| work.as_mut().poll_to_end(cx)) {
        Ok(polled) => match ready!(polled) {
            Ok(output) => Worked::Returned(output),
            Err(cause) => Worked::Cut(cause),
        },
        Err(panic) => Worked::Panicked(panic),
    };
    let cleared = catch(|| work.as_mut().clear());
    work.leave();
    Poll::Ready(cleared.map_or_else(Worked::Panicked, |()| worked))
}

/// What comes out when both have ended.
fn finish<T, E>(
    worked: Worked<Result<T, E>>,
    cleanups_panic: Option<Panic>,
    location: &'static Location<'static>,
) -> Poll<Result<T, E>> {
    match (worked, cleanups_panic) {
        (Worked::Panicked(panic), second) => {
            if let Some(second) = second {
                report(location, Some(&second.to_string()), format_args!("{second}"));
            }
            panic.resume()
        }
        (_, Some(panic)) => panic.resume(),
        (Worked::Returned(result), None) => Poll::Ready(result),
        (Worked::Cut(cause), None) => {
            assert_cut(&cause, location);
            Poll::Pending
        }
    }
}

fn report(location: &'static Location<'static>, error: Option<&str>, what: fmt::Arguments<'_>) {
    let fields = Fields { location: Some(location), error, ..Fields::default() };
    lost::report_with(&fields, format_args!("the cleanup of the `finally` at {location} {what}"));
}
