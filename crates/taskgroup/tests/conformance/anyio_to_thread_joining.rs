//! Conformance list `anyio-to-thread`: what `test_concurrency_utils.py` says of `gather` and `as_completed`.

use std::future::pending;
use std::time::Duration;

use anyhow::anyhow;
use futures::FutureExt;
use taskgroup::{AsCompleted, TaskGroup, as_completed, gather, scope};
use tokio::time::sleep;

use super::support::Alive;

async fn after(seconds: u64) -> anyhow::Result<u64> {
    sleep(Duration::from_secs(seconds)).await;
    Ok(seconds)
}

/// Values in the order of the futures, which end in the opposite one.
#[tokio::test(start_paused = true)]
async fn line_21_gather_results_in_order() {
    assert_eq!(gather([3, 2, 1].map(after)).await.unwrap(), [3, 2, 1]);
}

/// A failure is a group of errors, and the others are cancelled.
#[tokio::test(start_paused = true)]
async fn line_22_gather_propagates_exception() {
    let alive = Alive::new();
    let guard = alive.guard();
    let sibling = async move {
        let _guard = guard;
        pending().await
    };
    let fails = async { Err::<u64, _>(anyhow!("reset")) };
    let errors = gather([sibling.boxed(), after(1).boxed(), fails.boxed()]).await.unwrap_err();
    assert_eq!((errors.len(), alive.now()), (1, 0));
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "reset");
}

/// Tasks come in the order in which they end.
#[tokio::test(start_paused = true)]
async fn line_23_as_completed_ordering() {
    let order = scope(async |tg: &TaskGroup| {
        let mut completed = as_completed([3, 1, 2].map(|seconds| tg.spawn(after(seconds))));
        let mut order = Vec::new();
        while let Some(task) = completed.next().await {
            order.push(task.into_result()?);
        }
        Ok(order)
    });
    assert_eq!(order.await.unwrap(), [1, 2, 3]);
}

/// Of no tasks it is an empty stream.
#[tokio::test(start_paused = true)]
async fn line_25_as_completed_no_coroutines() {
    let mut completed: AsCompleted<()> = as_completed([]);
    assert!(completed.next().now_or_never().expect("at once").is_none());
}

/// A failure ends the reading, for it ends the body; the others are cancelled, and the error comes out.
#[tokio::test(start_paused = true)]
async fn line_26_as_completed_propagates_exception() {
    let (alive, mut seen) = (Alive::new(), Vec::new());
    let failed = TaskGroup::new();
    let body = async {
        let guard = alive.guard();
        let sleeper = failed.spawn(async move {
            let _guard = guard;
            pending().await
        });
        let fails = failed.spawn(async {
            after(2).await?;
            Err(anyhow!("reset"))
        });
        let mut completed = as_completed([sleeper, fails, failed.spawn(after(1))]);
        while let Some(task) = completed.next().await {
            seen.push(task.into_result()?);
        }
        Ok(())
    };
    let errors = failed.run(body).await.unwrap_err();
    assert_eq!((errors.len(), alive.now()), (1, 0));
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "reset");
    assert_eq!(seen, [1]);
}

/// Who leaves early cancels what is left: by the handles that have not been given out, or by the group's `cancel`.
#[tokio::test(start_paused = true)]
async fn line_27_as_completed_early_exit() {
    for by_handles in [true, false] {
        let alive = Alive::new();
        let first = scope(async |tg: &TaskGroup| {
            let slow = [(); 3].map(|()| alive.guard()).map(|guard| {
                tg.spawn(async move {
                    let _guard = guard;
                    pending().await
                })
            });
            let mut completed = as_completed(slow.into_iter().chain([tg.spawn(after(1))]));
            let first = completed.next().await.expect("four").into_result()?;
            match by_handles {
                true => completed.into_tasks().iter().for_each(taskgroup::Task::cancel),
                false => tg.cancel(),
            }
            Ok(first)
        });
        assert_eq!(first.await.unwrap(), 1);
        assert_eq!((alive.now(), alive.ever()), (0, 3));
    }
}
