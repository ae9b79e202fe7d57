//! Conformance list `swift-taskgroup`: results in the order in which they come.

use std::time::Duration;

use futures::StreamExt;
use taskgroup::{AsCompleted, OnFailure, Task, TaskGroup, as_completed, scope};
use tokio::time::sleep;

type Plain = TaskGroup<&'static str>;

async fn after(millis: u64, number: u64) -> Result<u64, &'static str> {
    sleep(Duration::from_millis(millis)).await;
    Ok(number)
}

/// Five had ended before the first is asked for: each comes once, and then none.
#[tokio::test(start_paused = true)]
async fn line_16_test_sum_next_on_completed() {
    let group: Plain = TaskGroup::new();
    let tasks: Vec<_> = (1..=5).map(|number| group.spawn(async move { Ok(number) })).collect();
    group.wait_idle().await;
    assert!(tasks.iter().all(Task::is_finished) && group.is_empty());
    let mut completed = as_completed(tasks);
    let mut sum = 0;
    while let Some(task) = completed.next().await {
        sum += task.into_result().unwrap();
    }
    assert_eq!(sum, 15);
    assert!(completed.next().await.is_none());
    group.join().await.unwrap();
}

/// Asked for before they end, they come in the order in which they do.
#[tokio::test(start_paused = true)]
async fn line_17_test_sum_next_on_pending() {
    let group: Plain = TaskGroup::new();
    let completed = as_completed((1..=5).map(|number| group.spawn(after(10 - number, number))));
    let order: Vec<_> = completed.map(|task| task.into_result().unwrap()).collect().await;
    assert_eq!(order, [5, 4, 3, 2, 1]);
    group.join().await.unwrap();
}

/// Ten tasks, of which three fail; nobody is cancelled for another.
fn ten_of_which_three_fail(group: &Plain) -> AsCompleted<u64> {
    let fails = |number| matches!(number, 2 | 5 | 8);
    let work = move |number: u64| async move {
        let number = after(10 - number, number).await?;
        if fails(number) { Err("boom") } else { Ok(number) }
    };
    as_completed((1..=10).map(|number| group.spawn(work(number))))
}

/// Read in a loop that is left at each failure and begun again: three failures, and the sum of the rest.
#[tokio::test(start_paused = true)]
async fn line_20_test_task_group_for_in() {
    let group: Plain = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let mut completed = ten_of_which_three_fail(&group);
    let (mut sum, mut failed) = (0, 0);
    while !completed.is_empty() {
        while let Some(task) = completed.next().await {
            match task.into_result() {
                Ok(number) => sum += number,
                Err(error) => {
                    assert!(error.is_failed());
                    failed += 1;
                    break;
                }
            }
        }
    }
    assert_eq!((sum, failed), (55 - 15, 3));
    assert_eq!(group.join().await.unwrap_err().len(), 3);
}

/// A stream that has ended gives none for ever, whatever the group does; another one over other handles gives theirs. A
/// failure ends no stream.
#[tokio::test(start_paused = true)]
async fn line_21_test_task_group_async_iterator() {
    let group: Plain = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let mut first = as_completed([group.spawn(async { Err("boom") }), group.spawn(after(1, 1))]);
    assert!(first.next().await.unwrap().into_result().unwrap_err().is_failed());
    assert_eq!(first.next().await.unwrap().into_result().unwrap(), 1);
    let later = group.spawn(after(1, 2));
    for _ in 0..3 {
        assert!(first.next().await.is_none());
    }
    assert_eq!(as_completed([later]).next().await.unwrap().into_result().unwrap(), 2);
    assert_eq!(group.join().await.unwrap_err().len(), 1);
}

/// Looking for a value takes the results up to it. With more tasks the search goes on; what was taken is not found
/// again.
#[tokio::test(start_paused = true)]
async fn line_22_test_task_group_contains() {
    let group: Plain = TaskGroup::new();
    let mut completed = as_completed((1..=4).map(|number| group.spawn(after(number, number))));
    let is =
        |wanted| move |task: taskgroup::Completed<u64>| async move { task.into_result().unwrap() == wanted };
    assert!(completed.by_ref().any(is(3)).await);
    assert_eq!(completed.len(), 1);
    completed.extend((5..=6).map(|number| group.spawn(after(number, number))));
    assert!(completed.by_ref().any(is(5)).await);
    assert!(!completed.by_ref().any(is(3)).await);
    assert!(completed.is_empty());
    group.join().await.unwrap();
}

/// It is a stream: ten results and their sum.
#[tokio::test(start_paused = true)]
async fn line_23_test_task_group_is_async_sequence() {
    let sum = scope(async |tg: &Plain| {
        let completed = as_completed((1..=10).map(|number| tg.spawn(after(number, number))));
        Ok(completed.fold(0, async |sum, task| sum + task.into_result().unwrap()).await)
    });
    assert_eq!(sum.await.unwrap(), 55);
}

/// The same with combinators that stop at the first failure.
#[tokio::test(start_paused = true)]
async fn line_24_test_throwing_task_group_is_async_sequence() {
    use futures::TryStreamExt;
    let sum = scope(async |tg: &TaskGroup| {
        let tasks = (1..=10).map(|number| tg.spawn(async move { Ok(after(number, number).await.unwrap()) }));
        let values = as_completed(tasks).map(taskgroup::Completed::into_result);
        Ok(values.try_fold(0, async |sum, number| Ok(sum + number)).await?)
    });
    assert_eq!(sum.await.unwrap(), 55);
}
