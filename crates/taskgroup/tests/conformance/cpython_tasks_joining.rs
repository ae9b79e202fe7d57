//! Conformance list `cpython-tasks`: `as_completed` and `gather`.
//!
//! `gather(return_exceptions=True)` is `gather` of futures that give their results as values. A gathered future is a
//! task that only `gather` has the handle of; what is cancelled by itself is a task outside, whose handle it awaits.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::FutureExt;
use futures::future::join_all;
use taskgroup::{AsCompleted, TaskError, TaskGroup, as_completed, gather, scope, shield, timeout};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep};

use super::support::Alive;

const SECOND: Duration = Duration::from_secs(1);

/// A value after a sleep of so many seconds.
async fn after<T>(seconds: u32, value: T) -> Result<T> {
    sleep(seconds * SECOND).await;
    Ok(value)
}

async fn fails_after(seconds: u32, message: &'static str) -> Result<u32> {
    sleep(seconds * SECOND).await;
    Err(anyhow!(message))
}

/// Tasks that take so many seconds, and give that number.
fn spawn_each<const N: usize>(group: &TaskGroup, seconds: [u32; N]) -> AsCompleted<u32> {
    as_completed(seconds.map(|seconds| group.spawn(after(seconds, seconds))))
}

async fn next(completed: &mut AsCompleted<u32>) -> Option<u32> {
    Some(completed.next().await?.into_result().expect("a value"))
}

/// Results come in the order in which the tasks end, and all together take as long as the longest.
#[tokio::test(start_paused = true)]
async fn line_39_as_completed() {
    let (group, began) = (TaskGroup::new(), Instant::now());
    let mut completed = spawn_each(&group, [3, 1, 2]);
    let mut order = Vec::new();
    while let Some(value) = next(&mut completed).await {
        order.push(value);
    }
    assert_eq!(order, [1, 2, 3]);
    assert_eq!(began.elapsed(), 3 * SECOND);
    group.join().await.unwrap();
}

/// What comes out is what was put in: the same identities, each once.
#[tokio::test(start_paused = true)]
async fn line_40_as_completed_same_tasks_in_as_out() {
    let group: TaskGroup = TaskGroup::new();
    let tasks = [2, 1].map(|seconds| group.task().name(format!("t{seconds}")).spawn(after(seconds, seconds)));
    let ids: Vec<_> = tasks.iter().map(taskgroup::Task::id).collect();
    let mut completed = as_completed(tasks);
    for (index, name) in [(1, "t1"), (0, "t2")] {
        let task = completed.next().await.unwrap();
        assert_eq!((task.index(), task.name(), task.id()), (index, Some(name), ids[index]));
    }
    assert!(completed.next().await.is_none());
    group.join().await.unwrap();
}

/// A time limit around the reading: the first result is there, then the limit; it cancels none of the tasks.
#[tokio::test(start_paused = true)]
async fn line_41_as_completed_with_timeout() {
    let group = TaskGroup::new();
    let mut completed = spawn_each(&group, [1, 10]);
    let mut seen = Vec::new();
    let late = timeout(2 * SECOND, async {
        while let Some(value) = next(&mut completed).await {
            seen.push(value);
        }
    });
    assert!(late.await.is_err());
    assert_eq!((seen, group.len()), (vec![1], 1));
    assert_eq!(next(&mut completed).await, Some(10));
    group.join().await.unwrap();
}

/// A limit that is not reached does nothing.
#[tokio::test(start_paused = true)]
async fn line_42_as_completed_with_unused_timeout() {
    let group = TaskGroup::new();
    let mut completed = spawn_each(&group, [1]);
    assert_eq!(timeout(2 * SECOND, next(&mut completed)).await.unwrap(), Some(1));
    assert_eq!(timeout(2 * SECOND, next(&mut completed)).await.unwrap(), None);
    group.join().await.unwrap();
}

/// Reading may stop, be given up in the middle of a wait, and go on: nothing is lost.
#[tokio::test(start_paused = true)]
async fn line_43_as_completed_resume_iterator() {
    let group = TaskGroup::new();
    let mut completed = spawn_each(&group, [1, 2, 3]);
    assert_eq!(next(&mut completed).await, Some(1));
    assert!(next(&mut completed).now_or_never().is_none());
    sleep(10 * SECOND).await;
    assert_eq!(next(&mut completed).await, Some(2));
    assert_eq!(next(&mut completed).await, Some(3));
    assert_eq!(next(&mut completed).await, None);
    group.join().await.unwrap();
}

/// Who asks for the second result before the first has been asked for gets what ends first.
#[tokio::test(start_paused = true)]
async fn line_44_as_completed_reverse_wait() {
    let group = TaskGroup::new();
    let completed = Mutex::new(spawn_each(&group, [2, 1]));
    let slot = || async { next(&mut *completed.lock().await).await };
    let (first, second) = (slot(), slot());
    assert_eq!(second.await, Some(1));
    assert_eq!(first.await, Some(2));
    group.join().await.unwrap();
}

/// Many that ask at once: each result is given to one of them.
#[tokio::test(start_paused = true)]
async fn line_45_as_completed_concurrent() {
    let group = TaskGroup::new();
    let completed = Mutex::new(spawn_each(&group, [3, 1, 2]));
    let mut seen = join_all((0..4).map(async |_| next(&mut *completed.lock().await).await)).await;
    seen.sort_unstable();
    assert_eq!(seen, [None, Some(1), Some(2), Some(3)]);
    group.join().await.unwrap();
}

/// A shield around a gather: the caller is cancelled, and both values are there before it is cut.
#[tokio::test(start_paused = true)]
async fn line_69_shield_gather() {
    let group: TaskGroup = TaskGroup::new();
    let (tell, told) = oneshot::channel();
    let caller = group.spawn::<()>(async move {
        let values = shield(gather([after(2, 1), after(3, 2)])).await?;
        tell.send(values).expect("somebody listens");
        pending().await
    });
    sleep(SECOND).await;
    caller.cancel();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(told.await.unwrap(), [1, 2]);
    group.join().await.unwrap();
}

/// A gather of shields is cancelled: it gives nothing, and what is shielded has run to its end when it has ended.
#[tokio::test(start_paused = true)]
async fn line_70_gather_shield() {
    let (group, done): (TaskGroup, _) = (TaskGroup::new(), Arc::new(AtomicUsize::new(0)));
    let shielded = |seconds| {
        let done = Arc::clone(&done);
        async move {
            shield(sleep(seconds * SECOND)).await;
            done.fetch_add(1, Ordering::SeqCst);
            pending::<Result<()>>().await
        }
    };
    let futures = [shielded(2), shielded(3)];
    let caller = group.spawn(async move { Ok(gather(futures).await?) });
    sleep(SECOND).await;
    caller.cancel();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(done.load(Ordering::SeqCst), 2);
    group.join().await.unwrap();
}

/// Values stand in the order of the futures, whoever ends first; there is none before all are there.
#[tokio::test(start_paused = true)]
async fn line_74_success() {
    let began = Instant::now();
    assert_eq!(gather([3, 1, 2].map(|seconds| after(seconds, seconds))).await.unwrap(), [3, 1, 2]);
    assert_eq!(began.elapsed(), 3 * SECOND);
}

/// Gives its result as a value, so that the gather never fails.
async fn collected(future: impl Future<Output = Result<u32>>) -> Result<Result<u32>> {
    Ok(future.await)
}

/// The same where errors are values.
#[tokio::test(start_paused = true)]
async fn line_75_result_exception_success() {
    let values = gather([3, 1, 2].map(|seconds| collected(after(seconds, seconds)))).await.unwrap();
    assert_eq!(values.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [3, 1, 2]);
}

/// The first failure ends the gather; the others are cancelled, so nothing of theirs comes later.
#[tokio::test(start_paused = true)]
async fn line_76_one_exception() {
    let (alive, began) = (Alive::new(), Instant::now());
    let guard = alive.guard();
    let sibling = async move {
        let _guard = guard;
        fails_after(2, "later").await
    };
    let errors = gather([sibling.boxed(), fails_after(1, "first").boxed(), after(3, 0).boxed()]).await;
    let errors = errors.unwrap_err();
    assert_eq!((errors.len(), began.elapsed(), alive.now()), (1, SECOND, 0));
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "first");
}

/// Where errors are values all are waited for, and values and errors stand in their places.
#[tokio::test(start_paused = true)]
async fn line_77_return_exceptions() {
    let futures = [fails_after(3, "late").boxed(), after(2, 2).boxed(), fails_after(1, "early").boxed()];
    let results = gather(futures.map(collected)).await.unwrap();
    let results: Vec<_> =
        results.into_iter().map(|result| result.map_err(|error| error.to_string())).collect();
    assert_eq!(results, [Err("late".to_owned()), Ok(2), Err("early".to_owned())]);
}

/// Of nothing it is an empty list, at once.
#[tokio::test(start_paused = true)]
async fn line_80_constructor_empty_sequence_use_running_loop() {
    let none: [std::future::Ready<Result<()>>; 0] = [];
    assert_eq!(gather(none).now_or_never().expect("at once").unwrap(), []);
}

/// A member awaits a task that is cancelled: the gather fails with the error that says so, and is not itself cancelled.
#[tokio::test(start_paused = true)]
async fn line_84_one_cancellation() {
    let group: TaskGroup = TaskGroup::new();
    let [one, two] = [1, 10].map(|seconds| group.spawn(after(seconds, seconds)));
    two.cancel_because("not needed");
    let errors = gather([one, two].map(|task| async move { Ok(task.await?) })).await.unwrap_err()
        as taskgroup::ErrorGroup;
    assert!(!errors.is_cancelled());
    let failure = errors.first().unwrap();
    assert!(failure.downcast_ref::<TaskError>().unwrap().is_cancelled());
    assert_eq!(failure.name(), Some("item 1"));
    group.join().await.unwrap();
}

/// The same where errors are values: the cancelled one stands in its place.
#[tokio::test(start_paused = true)]
async fn line_85_result_exception_one_cancellation() {
    let group: TaskGroup = TaskGroup::new();
    let [one, two] = [1, 10].map(|seconds| group.spawn(after(seconds, seconds)));
    two.cancel_because("not needed");
    let results =
        gather([one, two].map(|task| async move { Ok::<_, anyhow::Error>(task.await) })).await.unwrap();
    assert_eq!(*results[0].as_ref().unwrap(), 1);
    assert_eq!(results[1].as_ref().unwrap_err().reason().unwrap().to_string(), "not needed");
    group.join().await.unwrap();
}

/// Clones of one shared future: it runs once, and its value stands in every place.
#[tokio::test(start_paused = true)]
async fn line_89_duplicate_coroutines() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let shared = async move {
        counted.fetch_add(1, Ordering::SeqCst);
        sleep(SECOND).await;
        Ok::<_, &str>("abc")
    }
    .boxed()
    .shared();
    assert_eq!(gather([shared.clone(), shared.clone(), shared]).await.unwrap(), ["abc"; 3]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// Cancelling the task that awaits a gather cancels every member; a second cancel changes nothing.
#[tokio::test(start_paused = true)]
async fn line_90_cancellation_broadcast() {
    let (group, alive): (TaskGroup, _) = (TaskGroup::new(), Alive::new());
    let members = [(); 2].map(|()| alive.guard()).map(|guard| async move {
        let _guard = guard;
        pending::<Result<()>>().await
    });
    let caller = group.spawn(async move { Ok(gather(members).await?) });
    sleep(SECOND).await;
    assert_eq!(alive.now(), 2);
    caller.cancel_because("the first");
    caller.cancel_because("the second");
    caller.wait_finished().await;
    assert_eq!((alive.now(), alive.ever()), (0, 2));
    assert_eq!(caller.into_result().unwrap_err().reason().unwrap().to_string(), "the first");
    group.join().await.unwrap();
}

/// Of two that fail at the same moment the first cancels the other; what comes out is all there is, and nothing is
/// logged.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn line_91_exception_marking() {
    let (events, _listening) = super::support::events::Events::listen();
    let errors = gather([fails_after(1, "one"), fails_after(1, "two")]).await.unwrap_err();
    assert_eq!(errors.len(), 1, "{errors}");
    drop(errors);
    assert!(events.take(tracing::Level::ERROR).is_empty());
}

/// A cancel after all members are done comes too late: the values stand.
#[tokio::test(start_paused = true)]
async fn line_93_cancel_gather_1() {
    let group: TaskGroup = TaskGroup::new();
    let caller = group.spawn(async { Ok(gather([after(1, 1), after(1, 2)]).await?) });
    caller.wait_finished().await;
    caller.cancel();
    assert_eq!(caller.await.unwrap(), [1, 2]);
    group.join().await.unwrap();
}

/// Where errors are values a gather does not take the cancel of its caller for one: the caller ends cancelled, with
/// the reason.
#[tokio::test(start_paused = true)]
async fn line_94_cancel_gather_2() {
    scope(async |tg: &TaskGroup| {
        let caller = tg.spawn(async {
            let results = gather([collected(pending()).boxed(), collected(after(60, 1)).boxed()]).await;
            unreachable!("it goes on with {} results", results?.len())
        });
        sleep(SECOND).await;
        caller.cancel_because("hi");
        let error: TaskError = (caller.await as Result<(), _>).unwrap_err();
        assert_eq!(error.reason().unwrap().to_string(), "hi");
        Ok(())
    })
    .await
    .unwrap();
}
