//! Conformance list `swift-taskgroup`: shields.

use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{Task, TaskError, TaskGroup, as_completed, cancelled, finally, is_cancelled, scope, shield};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::support::Steps;

type Plain = TaskGroup<&'static str>;

const SECOND: Duration = Duration::from_secs(1);

async fn quiet(time: Duration) -> Result<(), &'static str> {
    sleep(time).await;
    Ok(())
}

/// Spawns a task that is cancelled after a second, and waits for its end.
async fn cancelled_after_a_second<T: Send + 'static>(
    work: impl Future<Output = Result<T, &'static str>> + Send + 'static,
) -> Result<T, TaskError> {
    let group: Plain = TaskGroup::new();
    let task = group.spawn(work);
    sleep(SECOND).await;
    task.cancel();
    group.join().await.unwrap();
    task.into_result()
}

/// The flag of a cancelled task is down inside a shield and up after it; who waits inside to be told of a cancel is not
/// told; what is spawned into a group outside that is cancelled knows it.
#[tokio::test(start_paused = true)]
async fn line_42_test_task_cancel_shield() {
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    let task = group.spawn(async move {
        let inside = shield(async {
            sleep(2 * SECOND).await;
            let outside = spawner.spawn(async { Ok(()) });
            (
                is_cancelled(),
                cancelled().now_or_never().is_some(),
                outside.into_result().unwrap_err().never_started(),
            )
        });
        Ok((inside.await, is_cancelled()))
    });
    sleep(SECOND).await;
    group.cancel();
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), ((false, false, true), true));
}

/// Cleanup inside cleanup is shielded too.
#[tokio::test(start_paused = true)]
async fn line_43_test_defer_cancel_shield() {
    let steps = Steps::default();
    let noted = steps.clone();
    let ended = cancelled_after_a_second(finally(pending::<Result<(), _>>(), async move |_how| {
        let inner = finally(quiet(SECOND), async |_how| {
            shield(sleep(SECOND)).await;
            noted.note("inner cleanup");
        });
        inner.await.unwrap();
        noted.note("outer cleanup");
    }))
    .await;
    assert!(ended.unwrap_err().is_cancelled());
    assert_eq!(steps.all(), ["inner cleanup", "outer cleanup"]);
}

/// After an inner shield the outer one still holds.
#[tokio::test(start_paused = true)]
async fn line_44_test_nested_shields() {
    let value = cancelled_after_a_second(async {
        let seen = shield(async {
            shield(sleep(2 * SECOND)).await;
            sleep(SECOND).await;
            is_cancelled()
        });
        Ok((seen.await, is_cancelled()))
    });
    assert_eq!(value.await.unwrap(), (false, true));
}

/// A shielded sleep takes its time.
#[tokio::test(start_paused = true)]
async fn line_45_test_sleep_cancel_shield() {
    let began = Instant::now();
    let took = cancelled_after_a_second(async move {
        shield(sleep(5 * SECOND)).await;
        Ok(began.elapsed())
    });
    assert_eq!(took.await.unwrap(), 5 * SECOND);
}

/// A shielded reader of a stream gets its element.
#[tokio::test(start_paused = true)]
async fn line_46_test_async_stream_cancel_shield() {
    let other: Plain = TaskGroup::new();
    let mut completed = as_completed([other.spawn(quiet(2 * SECOND))]);
    let element = cancelled_after_a_second(async move {
        let task = shield(completed.next()).await.expect("one task");
        Ok(task.into_result().is_ok())
    });
    assert!(element.await.unwrap());
    other.join().await.unwrap();
}

/// The group is cancelled while a task waits in a shield: the task ends with its value.
#[tokio::test(start_paused = true)]
async fn line_47_test_child_task_cancel_shield() {
    let group: Plain = TaskGroup::new();
    let task = group.spawn(shield(quiet(2 * SECOND)));
    sleep(SECOND).await;
    group.cancel();
    group.join().await.unwrap();
    task.into_result().unwrap();
}

/// A group opened inside a shield is not cancelled with what is outside, nor are its tasks.
#[tokio::test(start_paused = true)]
async fn line_48_test_task_group_cancel_shield() {
    let value = cancelled_after_a_second(async {
        let seen = shield(scope(async |tg: &Plain| {
            let task = tg.spawn(async {
                sleep(2 * SECOND).await;
                Ok(is_cancelled())
            });
            let seen = task.await.map_err(|_| "cut")?;
            Ok((seen, tg.is_cancelled()))
        }));
        seen.await.map_err(|_| "cut")
    });
    assert_eq!(value.await.unwrap(), (false, false));
}

/// A shield around the spawning alone does not shield the task.
#[tokio::test(start_paused = true)]
async fn line_49_test_add_task_cancel_shield() {
    let group: Plain = TaskGroup::new();
    let (spawner, (tell, told)) = (group.spawner(), oneshot::channel::<Task<()>>());
    group.spawn(async move {
        let told = shield(async { tell.send(spawner.spawn(pending())) }).await;
        told.map_err(|_| "nobody listens")
    });
    let task = told.await.unwrap();
    sleep(SECOND).await;
    group.cancel();
    group.join().await.unwrap();
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// A shield is not handed on: a task spawned inside one is not cancelled by what is outside, and has no shield of its own
/// against its group.
#[tokio::test(start_paused = true)]
async fn line_50_test_has_active_cancellation_shield() {
    let value = cancelled_after_a_second(async {
        let seen = shield(async {
            let group: Plain = TaskGroup::new();
            let before = group.spawn(async {
                sleep(2 * SECOND).await;
                Ok(is_cancelled())
            });
            group.wait_idle().await;
            let cut = group.spawn(pending::<Result<(), _>>());
            tokio::task::yield_now().await;
            group.cancel();
            group.join().await.unwrap();
            (before.into_result().unwrap(), cut.into_result().unwrap_err().is_cancelled())
        });
        Ok(seen.await)
    });
    assert_eq!(value.await.unwrap(), (false, true));
}
