//! `gather`, `race`, `first_ok` and `as_completed`: who comes out and when, and that nothing outlives the call.

mod as_completed;
#[path = "../common/mod.rs"]
mod common;
mod first_ok;
mod gather;
mod race;

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use common::{Alive, Guard, Steps};
use futures::FutureExt;
use taskgroup::{ErrorGroup, TaskGroup, finally, shield};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

type Group = TaskGroup<&'static str>;
type Outcome<T = ()> = Result<T, &'static str>;
type Errors = ErrorGroup<&'static str>;

/// Ends with `outcome` after so many seconds.
async fn after<T>(seconds: u32, outcome: Outcome<T>) -> Outcome<T> {
    sleep(seconds * SECOND).await;
    outcome
}

/// [`after`], alive as long as it is not dropped.
async fn guarded<T>(guard: Guard, seconds: u32, outcome: Outcome<T>) -> Outcome<T> {
    let _guard = guard;
    after(seconds, outcome).await
}

/// Waits for ever, and cleans up for a second.
async fn tidy<T>(guard: Guard, steps: Steps) -> Outcome<T> {
    let _guard = guard;
    let cleanup = async move |_how| {
        steps.mark("cleanup begins");
        sleep(SECOND).await;
        steps.mark("cleanup ends");
    };
    finally(pending(), cleanup).await
}

/// Cannot be cut for so many seconds, and ends with `outcome` then.
async fn stubborn<T>(guard: Guard, seconds: u32, outcome: Outcome<T>) -> Outcome<T> {
    let _guard = guard;
    shield(sleep(seconds * SECOND)).await;
    outcome
}

/// The errors, with the places of their futures.
fn told(errors: &Errors) -> Vec<(&str, &'static str)> {
    let told = errors.failures().iter().map(|failure| (failure.name(), failure.error()));
    told.map(|(name, error)| (name.expect("its place"), *error.expect("an error"))).collect()
}

/// The text of the panic that a future ends with.
async fn panic_of<T>(future: impl Future<Output = T>) -> &'static str {
    let Err(payload) = AssertUnwindSafe(future).catch_unwind().await else { panic!("it did not panic") };
    payload.downcast_ref::<&'static str>().expect("a text")
}

/// Runs `work` as a task of a group that is cancelled after a second; how long the whole took, in seconds.
async fn cancelled_after_a_second(
    work: impl Future<Output = Outcome> + Send + 'static,
) -> (Result<(), Errors>, f32) {
    let began = tokio::time::Instant::now();
    let group = Group::new();
    group.spawn(work);
    sleep(SECOND).await;
    group.cancel();
    let ended = common::within_an_hour(group.join()).await;
    (ended, began.elapsed().as_secs_f32())
}

/// Polls a future once, after what it has spawned has run as far as it goes.
async fn poll_and_settle<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) {
    assert!(future.as_mut().now_or_never().is_none());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// A guard each for `N` futures.
fn guards<const N: usize>(alive: &Alive) -> [Guard; N] {
    std::array::from_fn(|_| alive.guard())
}
