//! anyio's `test_to_thread.py`, and the futures of `test_futures.py` as far as a handle is one: blocking
//! closures, and what their handles say.

use std::future::{pending, ready};
use std::pin::pin;
use std::time::Duration;

use anyhow::bail;
use futures::poll;
use taskgroup::{CancelToken, Limiter, OnFailure, Task, TaskGroup, map};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::support::Alive;

type Group = TaskGroup<anyhow::Error>;

/// A closure that waits for the other side's word, and says when it runs.
struct Closure {
    has_started: oneshot::Receiver<()>,
    release: oneshot::Sender<u32>,
}

fn spawn(group: &Group) -> (Task<u32>, Closure) {
    let ((started, has_started), (release, released)) = (oneshot::channel(), oneshot::channel());
    let task = group.spawn_blocking(move |_token: &CancelToken| {
        started.send(()).unwrap();
        Ok(released.blocking_recv()?)
    });
    (task, Closure { has_started, release })
}

/// Cancelled before a thread has picked it up, a closure never runs.
#[test]
fn line_01_run_in_thread_cancelled() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (group, ran) = (Group::new(), Alive::new());
        let (_first, busy) = spawn(&group);
        busy.has_started.await.unwrap();
        let counted = ran.clone();
        let queued = group.spawn_blocking(move |_token| Ok(counted.guard()));
        group.cancel();
        busy.release.send(1).unwrap();
        group.join().await.unwrap();
        assert!(queued.into_result().unwrap_err().never_started());
        assert_eq!(ran.ever(), 0);
    });
}

/// The error of a closure comes out of its group.
#[tokio::test]
async fn line_02_run_in_thread_exception() {
    let group = Group::new();
    let task = group.spawn_blocking::<()>(|_token| bail!("out of paper"));
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "out of paper");
    assert!(task.into_result().unwrap_err().is_failed());
}

/// A limiter of three lets at most three of four closures run at once.
#[tokio::test]
async fn line_03_test_run_in_custom_limiter() {
    let limiter = Limiter::new(3);
    let group: Group = TaskGroup::builder().limiter(&limiter).build();
    let (mut closures, mut tasks) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (task, closure) = spawn(&group);
        tasks.push(task);
        closures.push(closure);
    }
    let mut fourth = closures.pop().unwrap();
    for closure in &mut closures {
        (&mut closure.has_started).await.unwrap();
    }
    assert_eq!((limiter.running(), limiter.queued()), (3, 1));
    assert!(fourth.has_started.try_recv().is_err());
    for closure in closures {
        closure.release.send(1).unwrap();
    }
    fourth.has_started.await.unwrap();
    fourth.release.send(1).unwrap();
    group.join().await.unwrap();
    assert!(tasks.into_iter().all(|task| task.into_result().is_ok()));
    assert_eq!((limiter.running(), limiter.queued()), (0, 0));
}

/// Cancelled while it runs: the group waits for the closure to end. Dropped, it leaves at once, and the
/// closure ends later.
#[tokio::test]
async fn line_04_cancel_worker_thread() {
    let group = Group::new();
    let (task, closure) = spawn(&group);
    closure.has_started.await.unwrap();
    group.cancel();
    let mut end = pin!(group.join());
    assert!(poll!(end.as_mut()).is_pending());
    closure.release.send(1).unwrap();
    end.await.unwrap();
    assert_eq!(task.into_result().unwrap(), 1);

    let group = Group::new();
    let (task, closure) = spawn(&group);
    closure.has_started.await.unwrap();
    drop(group);
    assert!(!task.is_finished());
    closure.release.send(1).unwrap();
    task.wait_finished().await;
}

/// The value of an abandoned closure comes all the same.
#[tokio::test]
async fn line_05_cancel_wait_on_thread() {
    let group = Group::new();
    let (task, closure) = spawn(&group);
    closure.has_started.await.unwrap();
    drop(group);
    closure.release.send(7).unwrap();
    assert_eq!(task.await.unwrap(), 7);
}

/// A task that awaits a closure is cut at once; the group waits for the closure.
#[tokio::test]
async fn line_09_asyncio_cancel_native_task() {
    let group = Group::new();
    let (closures_task, closure) = spawn(&group);
    let waiting: Task<u32> = group.task().eager().spawn(async { Ok(closures_task.await?) });
    closure.has_started.await.unwrap();
    waiting.cancel();
    waiting.wait_finished().await;
    assert_eq!(group.len(), 1);
    closure.release.send(1).unwrap();
    group.join().await.unwrap();
    assert!(waiting.into_result().unwrap_err().is_cancelled());
}

/// In the order of the items, though completion is reversed.
#[tokio::test(start_paused = true)]
async fn line_28_map_results_ordering() {
    let results = map([30, 20, 10], 3, |millis| async move {
        sleep(Duration::from_millis(millis)).await;
        anyhow::Ok(millis)
    });
    assert_eq!(results.await.unwrap(), [30, 20, 10]);
}

#[tokio::test]
async fn line_29_map_empty_args() {
    assert_eq!(map([0; 0], 3, |number| async move { anyhow::Ok(number) }).await.unwrap(), []);
}

#[tokio::test]
async fn line_30_map_propagates_exception() {
    let failing = map([1, 2, 3], 3, |number| async move {
        if number == 2 {
            bail!("number two");
        }
        pending::<()>().await;
        Ok(())
    });
    let errors = failing.await.unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "number two");
}

/// Awaiting a task that has ended gives its value.
#[tokio::test]
async fn line_31_result() {
    let group = Group::new();
    let task = group.spawn(ready(Ok(42)));
    task.wait_finished().await;
    assert_eq!(task.result().unwrap().unwrap(), &42);
    assert_eq!(task.await.unwrap(), 42);
    group.join().await.unwrap();
}

/// A waiter is woken when the value comes.
#[tokio::test]
async fn line_33_waiting_for_result() {
    let group = Group::new();
    let (give, given) = oneshot::channel();
    let task = group.task().eager().spawn(async { Ok(given.await?) });
    let waiter = tokio::spawn(task);
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    give.send(42).unwrap();
    assert_eq!(waiter.await.unwrap().unwrap(), 42);
    group.join().await.unwrap();
}

/// First the end is waited for, then the value read.
#[tokio::test]
async fn line_34_waiting_with_wait() {
    let group = Group::new();
    let task = group.spawn(async {
        tokio::task::yield_now().await;
        Ok(42)
    });
    task.wait_finished().await;
    assert_eq!(task.into_result().unwrap(), 42);
    group.join().await.unwrap();
}

/// Awaiting a task that failed says that it failed.
#[tokio::test]
async fn line_35_raising_exception() {
    let group: Group = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let task = group.spawn::<()>(async { bail!("out of paper") });
    assert!(task.await.unwrap_err().is_failed());
    assert_eq!(group.join().await.unwrap_err().len(), 1);
}

/// Awaiting a task that was cancelled says so.
#[tokio::test]
async fn line_37_cancelled_wait() {
    let group = Group::new();
    let task = group.spawn(pending::<anyhow::Result<()>>());
    task.cancel();
    assert!(task.await.unwrap_err().is_cancelled());
    group.join().await.unwrap();
}

/// To read before the end says that it has not ended.
#[tokio::test]
async fn line_38_return_value_when_future_not_finished() {
    let group = Group::new();
    let task = group.spawn(pending::<anyhow::Result<()>>());
    assert!(task.result().is_none());
    assert!(task.into_result().unwrap_err().is_unfinished());
    drop(group);
}

/// And so for the error.
#[tokio::test]
async fn line_39_exception_when_future_not_finished() {
    let group = Group::new();
    let task = group.spawn(pending::<anyhow::Result<()>>());
    let error = task.into_result().unwrap_err();
    assert!(!error.is_failed() && !error.is_cancelled());
    drop(group);
}

/// The error is read from the group; the handle says that there is one.
#[tokio::test]
async fn line_40_exception_when_future_failed() {
    let group = Group::new();
    let task = group.task().name("printer").spawn::<()>(async { bail!("out of paper") });
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "out of paper");
    let error = task.into_result().unwrap_err();
    assert_eq!((error.is_failed(), error.name()), (true, Some("printer")));
}

/// Of a cancelled task the error is that it was cancelled, and by whom.
#[tokio::test]
async fn line_41_exception_when_future_cancelled() {
    let group = Group::new();
    let task = group.spawn(pending::<anyhow::Result<()>>());
    task.cancel_because("not needed");
    group.join().await.unwrap();
    let error = task.into_result().unwrap_err();
    assert!(error.is_cancelled() && !error.is_failed());
    assert_eq!(error.reason().unwrap().to_string(), "not needed");
}

/// A cancel after the value: the value stays.
#[tokio::test]
async fn line_42_cancelling_already_set_return_value() {
    let group = Group::new();
    let task = group.spawn(ready(Ok(42)));
    task.wait_finished().await;
    task.cancel();
    assert_eq!(task.into_result().unwrap(), 42);
    group.join().await.unwrap();
}

/// A cancel after the error: the error stays.
#[tokio::test]
async fn line_43_cancelling_already_set_exception() {
    let group: Group = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let task = group.spawn::<()>(async { bail!("out of paper") });
    task.wait_finished().await;
    task.cancel();
    assert!(task.into_result().unwrap_err().is_failed());
    assert_eq!(group.join().await.unwrap_err().len(), 1);
}

/// Two who wait for one end are both woken.
#[tokio::test]
async fn line_46_multiple_waiters() {
    let group = Group::new();
    let (give, given) = oneshot::channel();
    let task = group.task().eager().spawn(async { Ok(given.await?) });
    let mut both = pin!(futures::future::join(task.wait_finished(), task.wait_finished()));
    assert!(poll!(both.as_mut()).is_pending());
    give.send(42).unwrap();
    both.await;
    assert_eq!(task.result().unwrap().unwrap(), &42);
    group.join().await.unwrap();
}

/// One of two waiters gives up: the other one is woken all the same.
#[tokio::test]
async fn line_47_cancelled_waiter_allows_other() {
    let group = Group::new();
    let (give, given) = oneshot::channel();
    let task = group.task().eager().spawn(async { Ok(given.await?) });
    let mut kept = pin!(task.wait_finished());
    let mut given_up = Box::pin(task.wait_finished());
    assert!(poll!(kept.as_mut()).is_pending() && poll!(given_up.as_mut()).is_pending());
    drop(given_up);
    give.send(42).unwrap();
    kept.await;
    assert_eq!(task.result().unwrap().unwrap(), &42);
    group.join().await.unwrap();
}
