//! Scopes, shields, `finally`, deadlines and grace periods where they meet something else: polled elsewhere than
//! before, left standing, nested, in numbers, in a blocking closure. Rules R4 and R12 to R20.

mod cleanup;
mod closures;
mod combinators;
#[path = "../common/mod.rs"]
mod common;
mod deadlines;
mod frozen;
mod grace;
mod polled_elsewhere;
mod random_trees;

use std::future::Future;
use std::time::Duration;

use common::within_an_hour;
use taskgroup::{CancelReason, ErrorGroup, TaskGroup};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

type Group = TaskGroup<&'static str>;
type Outcome = Result<(), &'static str>;

/// Runs `work` as a task of a group that is cancelled after `delay`.
async fn cancelled_after(
    delay: Duration,
    work: impl Future<Output = Outcome> + Send + 'static,
) -> Result<(), ErrorGroup<&'static str>> {
    let group = Group::new();
    group.spawn(work);
    sleep(delay).await;
    group.cancel();
    within_an_hour(group.join()).await
}

/// Whether an `ErrorGroup` says that a deadline has cut, and nothing failed.
fn cut_by_deadline(error: &ErrorGroup<&'static str>) -> bool {
    let reason = error.cause().map(|cause| cause.root().reason().clone());
    error.is_cancelled() && matches!(reason, Some(CancelReason::Deadline(..)))
}
