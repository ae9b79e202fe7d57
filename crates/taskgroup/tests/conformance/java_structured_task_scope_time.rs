//! Conformance list `java-structured-task-scope`: scopes with a timeout.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{CancelReason, ErrorGroup, Task, TaskGroup, shield, timeout};
use tokio::time::{Instant, sleep};

use crate::support::Alive;

type Plain = TaskGroup<&'static str>;

const SECOND: Duration = Duration::from_secs(1);

async fn after(seconds: u32) -> Result<u32, &'static str> {
    sleep(seconds * SECOND).await;
    Ok(seconds)
}

/// The time of the group is over, and nobody failed.
fn assert_timed_out(errors: &ErrorGroup<&'static str>) {
    assert!(errors.is_cancelled());
    assert!(matches!(errors.cause().unwrap().reason(), CancelReason::Deadline(..)), "{errors}");
}

/// Who ends before the time is over has its value, and the group was not cancelled.
#[tokio::test(start_paused = true)]
async fn line_23_test_join_with_timeout1() {
    let group: Plain = TaskGroup::builder().timeout(60 * SECOND).build();
    let (task, spawner) = (group.spawn(after(1)), group.spawner());
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), 1);
    assert!(!spawner.is_cancelled());
}

/// The time is over: the join says so, the group is cancelled, and so is the task.
#[tokio::test(start_paused = true)]
async fn line_24_test_join_with_timeout2() {
    let (began, group) = (Instant::now(), TaskGroup::builder().timeout(2 * SECOND).build() as Plain);
    let (task, spawner) = (group.spawn(pending::<Result<(), _>>()), group.spawner());
    assert_timed_out(&group.join().await.unwrap_err());
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert!(spawner.is_cancelled() && task.into_result().unwrap_err().is_cancelled());
}

/// A time that was over before: the same at once.
#[tokio::test(start_paused = true)]
async fn line_25_test_join_with_timeout3() {
    let past = Instant::now();
    sleep(SECOND).await;
    let (began, group) = (Instant::now(), TaskGroup::builder().deadline(past).build() as Plain);
    let (task, spawner) = (group.spawn(pending::<Result<(), _>>()), group.spawner());
    assert_timed_out(&group.join().await.unwrap_err());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(spawner.is_cancelled() && task.into_result().unwrap_err().is_cancelled());
}

/// The tasks are cut when the time is over, although the body is still in the middle of something.
#[tokio::test(start_paused = true)]
async fn line_27_test_timeout_interrupts_threads() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::builder().timeout(SECOND).build();
    let seen = std::cell::Cell::new(None);
    let body = async {
        let guard = alive.guard();
        let task: Task<()> = group.spawn(async move {
            let _guard = guard;
            pending().await
        });
        shield(sleep(5 * SECOND)).await;
        seen.set(Some((task.is_finished(), alive.now())));
        Ok(())
    };
    let _ = group.run(body).await;
    assert_eq!(seen.get(), Some((true, 0)));
}

/// The time is over: the run fails, and a second one is refused.
#[tokio::test(start_paused = true)]
async fn line_64_test_await_successful_or_throw4() {
    let group: Plain = TaskGroup::builder().timeout(SECOND).build();
    group.spawn(after(60));
    assert_timed_out(&group.run(async { Ok(()) }).await.unwrap_err());
    let second = AssertUnwindSafe(group.run(async { Ok(()) })).catch_unwind().await;
    assert!(second.is_err(), "a group is run once");
}

/// A limit of the waiting alone is no error: what has ended by then can be read, and the rest is cancelled.
#[tokio::test(start_paused = true)]
async fn line_71_test_all_until6() {
    let group: Plain = TaskGroup::new();
    let tasks = [1, 60, 2].map(|seconds| group.spawn(after(seconds)));
    assert!(timeout(3 * SECOND, group.wait_idle()).await.is_err());
    group.cancel();
    group.join().await.unwrap();
    let values: Vec<_> = tasks.into_iter().filter_map(|task| task.into_result().ok()).collect();
    assert_eq!(values, [1, 2]);
}
