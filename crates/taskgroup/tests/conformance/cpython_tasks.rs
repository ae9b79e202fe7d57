//! CPython's suite for asyncio tasks: cancelling, waiting, shielding, calls from another thread.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::FutureExt;
use futures::future::{join_all, select_all};
use taskgroup::{
    CancelReason, CancelScope, CancelToken, OnFailure, Task, TaskError, TaskGroup, checkpoint, finally,
    is_cancelled, scope, shield, timeout,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::support::{Alive, Steps};

const SECOND: Duration = Duration::from_secs(1);

/// A handle that the task itself can reach too.
type Slot<T> = Arc<OnceLock<Task<T>>>;

fn message_of(error: &TaskError) -> Option<&str> {
    match error.reason()?.root().reason() {
        CancelReason::Requested(Some(message)) => Some(message),
        _ => None,
    }
}

async fn told(token: &CancelToken) {
    while !token.is_cancelled() {
        sleep(SECOND / 10).await;
    }
}

/// A value after a sleep.
async fn after(seconds: u32, value: u32) -> Result<u32> {
    sleep(seconds * SECOND).await;
    Ok(value)
}

async fn fails_after(seconds: u32, text: &'static str) -> Result<u32> {
    sleep(seconds * SECOND).await;
    Err(anyhow!(text))
}

fn continuing() -> TaskGroup {
    TaskGroup::builder().on_failure(OnFailure::Continue).build()
}

/// A task awaits two others in turn.
#[tokio::test(start_paused = true)]
async fn line_001_task_basics() {
    let began = Instant::now();
    let sum = scope(async |tg: &TaskGroup| {
        let spawner = tg.spawner();
        let outer = tg.spawn(async move {
            let one = spawner.spawn(after(1, 10));
            let two = spawner.spawn(after(2, 32));
            Ok(one.await? + two.await?)
        });
        Ok(outer.await?)
    });
    assert_eq!(sum.await.unwrap(), 42);
    assert_eq!(began.elapsed(), 2 * SECOND);
}

/// A task that awaits its own handle waits until it is cancelled: it stands in nobody's way, and can be ended.
#[tokio::test(start_paused = true)]
async fn line_004_task_awaits_on_itself() {
    let (group, steps) = (TaskGroup::new(), Steps::default());
    let (give, take) = oneshot::channel::<Task<()>>();
    let inside = steps.clone();
    let itself = group.task().name("itself").spawn(async move {
        let handle = take.await?;
        assert_eq!(handle.name(), Some("itself"));
        let gave_up = timeout(SECOND, handle).await;
        assert!(gave_up.is_err());
        inside.mark("a timeout around it comes back");
        Ok(())
    });
    assert!(give.send(itself).is_ok());
    let sibling = group.spawn(after(3, 5));
    group.join().await.unwrap();
    assert_eq!(sibling.into_result().unwrap(), 5);
    assert_eq!(steps.seen(), ["a timeout around it comes back"]);
}

/// A second cancel changes nothing: the first reason stands, and the task says when it has ended.
#[tokio::test(start_paused = true)]
async fn line_005_cancelling() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let inside = steps.clone();
    let task = group.spawn::<()>(async move {
        assert!(!is_cancelled());
        shield(sleep(2 * SECOND)).await;
        assert!(is_cancelled());
        inside.mark("asked to end");
        pending().await
    });
    group
        .run(async {
            sleep(SECOND).await;
            task.cancel_because("first");
            task.cancel_because("second");
            assert!(!task.is_finished());
            let error = task.await.unwrap_err();
            assert!(error.is_cancelled() && !error.never_started());
            assert_eq!(message_of(&error), Some("first"));
            assert!(!group.is_cancelled());
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["asked to end"]);
}

/// There is nothing to clear: a request that a scope was given ends with the scope. The task goes on, a later
/// cancel of it works, and after its end one changes nothing.
#[tokio::test(start_paused = true)]
async fn line_006_uncancel_basic() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let part = CancelScope::new();
    let handle = part.handle();
    let (inside, cancel) = (steps.clone(), handle.clone());
    let goes_on = group.spawn(async move {
        assert!(part.run(pending::<()>()).await.is_err());
        assert!(!is_cancelled());
        sleep(SECOND).await;
        inside.mark("went on");
        Ok(7)
    });
    let part = CancelScope::new();
    let second = part.handle();
    let inside = steps.clone();
    let cut_later = group.spawn::<()>(async move {
        assert!(part.run(pending::<()>()).await.is_err());
        inside.mark("went on too");
        pending().await
    });
    group
        .run(async {
            yield_now().await;
            cancel.cancel();
            second.cancel();
            yield_now().await;
            cut_later.cancel_because("the task itself");
            assert_eq!(message_of(&cut_later.await.unwrap_err()), Some("the task itself"));
            goes_on.wait_finished().await;
            goes_on.cancel();
            handle.cancel();
            assert_eq!(goes_on.into_result().unwrap(), 7);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["went on too", "went on"]);
}

/// A timed block in a task: with and without expiry the code after it runs, and nothing is pending.
#[tokio::test(start_paused = true)]
async fn line_007_uncancel_structured_blocks() {
    for (work, expires) in [(3, true), (1, false)] {
        let (began, steps) = (Instant::now(), Steps::default());
        let inside = steps.clone();
        let caller = scope(async |tg: &TaskGroup| {
            let outer = tg.spawn(async move {
                let block = CancelScope::timeout(2 * SECOND);
                let handle = block.handle();
                let ended = block.run(async {
                    sleep(work * SECOND).await;
                    inside.mark("block done");
                });
                assert_eq!(ended.await.is_err(), expires);
                assert_eq!(handle.expired(), expires);
                assert!(!is_cancelled());
                checkpoint().await;
                sleep(SECOND).await;
                inside.mark("after the block");
                Ok(())
            });
            sleep(SECOND / 2).await;
            assert!(!is_cancelled() && !tg.is_cancelled());
            outer.await?;
            Ok(())
        });
        caller.await.unwrap();
        let seen = steps.seen();
        match expires {
            true => assert_eq!(seen, ["after the block"]),
            false => assert_eq!(seen, ["block done", "after the block"]),
        }
        assert_eq!(began.elapsed(), (work.min(2) + 1) * SECOND);
    }
}

/// A cancel cannot be withdrawn, also before it has been delivered: moving the deadline is refused (R16, R19).
/// A deadline that has not passed can be.
#[tokio::test(start_paused = true)]
async fn line_008_uncancel_resets_must_cancel() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (cut, kept) = (CancelScope::timeout(5 * SECOND), CancelScope::timeout(SECOND));
    let (handle, other) = (cut.handle(), kept.handle());
    let inside = steps.clone();
    let cut = group.spawn(async move {
        let ended = cut.run(async {
            yield_now().await;
            inside.mark("delivered all the same");
        });
        Ok(ended.await.is_err())
    });
    let kept = group.spawn(async move {
        let ended = kept.run(after(3, 9)).await;
        ended?
    });
    group
        .run(async {
            yield_now().await;
            handle.cancel();
            assert!(!handle.reschedule(None).unwrap_err().has_ended());
            other.reschedule(None).unwrap();
            Ok(())
        })
        .await
        .unwrap();
    assert!(cut.into_result().unwrap());
    assert_eq!(kept.into_result().unwrap(), 9);
    assert!(!other.cancel_called());
    assert_eq!(steps.seen(), [""; 0]);
}

/// The requester's message is there for whoever awaits the handle, and nobody else's.
#[tokio::test(start_paused = true)]
async fn line_010_cancel_with_message_then_future_result() {
    scope(async |tg: &TaskGroup| {
        for message in [Some("my message"), None] {
            let task = tg.task().name("asked").spawn(pending::<Result<()>>());
            yield_now().await;
            match message {
                Some(message) => task.cancel_because(message),
                None => task.cancel(),
            }
            let error = task.await.unwrap_err();
            assert_eq!(message_of(&error), message);
            assert_eq!(error.to_string().contains("my message"), message.is_some());
        }
        Ok(())
    })
    .await
    .unwrap();
}

/// The same for who only looks: the error names the task, and the cause whom the request was for.
#[tokio::test(start_paused = true)]
async fn line_011_cancel_with_message_then_future_exception() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.task().name("asked").spawn(pending::<Result<()>>());
    assert!(task.result().is_none());
    yield_now().await;
    task.cancel_because("my message");
    group.join().await.unwrap();
    let error = task.result().unwrap().unwrap_err();
    assert_eq!(message_of(&error), Some("my message"));
    assert_eq!(error.name(), Some("asked"));
    assert_eq!(error.reason().unwrap().target().name(), Some("asked"));
    assert!(error.reason().unwrap().because().is_none());
}

/// Between two yields: who stands at the first is cut there, who runs is cut at the next.
#[tokio::test(start_paused = true)]
async fn line_014_cancel_yield() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let inside = steps.clone();
    let stands = group.spawn(async move {
        inside.mark("before the yields");
        yield_now().await;
        inside.mark("never");
        yield_now().await;
        Ok(())
    });
    let (inside, slot) = (steps.clone(), Slot::<()>::default());
    let itself = Arc::clone(&slot);
    let runs = group.spawn(async move {
        yield_now().await;
        itself.get().unwrap().cancel();
        inside.mark("between the yields");
        yield_now().await;
        inside.mark("never");
        Ok(())
    });
    slot.set(runs).unwrap();
    group
        .run(async {
            yield_now().await;
            stands.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["before the yields", "between the yields"]);
    assert!(stands.into_result().unwrap_err().is_cancelled());
    assert!(slot.get().unwrap().result().unwrap().unwrap_err().is_cancelled());
}

/// R11: who awaits a task that is cancelled learns it as an error and may go on. An error handed on by a task
/// that was not cancelled itself is a failure, not a cancellation (R9).
#[tokio::test(start_paused = true)]
async fn line_015_cancel_inner_future() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let guard = alive.guard();
    let inner = Arc::new(group.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    }));
    let awaited = Arc::clone(&inner);
    let handles = group.spawn(async move {
        awaited.wait_finished().await;
        assert!(!is_cancelled());
        Ok(awaited.result().unwrap().unwrap_err().is_cancelled())
    });
    group
        .run(async {
            yield_now().await;
            inner.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert!(handles.into_result().unwrap());
    assert_eq!((alive.ever(), alive.now()), (1, 0));
    let error = scope(async |tg: &TaskGroup| {
        let inner = tg.spawn(pending::<Result<()>>());
        inner.cancel();
        tg.spawn(async move { Ok(inner.await?) });
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(error.len(), 1);
    assert!(error.first().unwrap().downcast_ref::<TaskError>().unwrap().is_cancelled());
}

/// The waiter and what it waits for are cancelled in one breath: both end cancelled, and nobody fails.
#[tokio::test(start_paused = true)]
async fn line_016_cancel_both_task_and_inner_future() {
    for waiter_first in [true, false] {
        let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
        let guard = alive.guard();
        let inner = Arc::new(group.spawn::<()>(async move {
            let _guard = guard;
            pending().await
        }));
        let (awaited, inside) = (Arc::clone(&inner), steps.clone());
        let waiter = group.spawn(async move {
            let _dropped = inside.on_drop("waiter dropped");
            awaited.wait_finished().await;
            inside.mark("waiter came back");
            Ok(())
        });
        group
            .run(async {
                yield_now().await;
                let mut both = [&waiter, &*inner];
                if !waiter_first {
                    both.reverse();
                }
                both.into_iter().for_each(Task::cancel);
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(steps.seen(), ["waiter dropped"]);
        assert_eq!(alive.now(), 0);
        assert!(waiter.into_result().unwrap_err().is_cancelled());
        assert!(inner.result().unwrap().unwrap_err().is_cancelled());
    }
}

/// A task that answers its cancel with a value has that value; what it awaited has been dropped.
#[tokio::test(start_paused = true)]
async fn line_017_cancel_task_catching() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let guard = alive.guard();
    let task = group.task().cooperative(|token| async move {
        let work = async move {
            let _guard = guard;
            pending::<()>().await
        };
        let stopped = {
            let (work, stop) = (std::pin::pin!(work), std::pin::pin!(told(&token)));
            matches!(futures::future::select(work, stop).await, futures::future::Either::Right(_))
        };
        assert!(stopped && is_cancelled());
        Ok(42)
    });
    group
        .run(async {
            sleep(SECOND).await;
            assert_eq!(alive.now(), 1);
            task.cancel();
            assert_eq!(task.await.unwrap(), 42);
            assert_eq!(alive.now(), 0);
            Ok(())
        })
        .await
        .unwrap();
}

/// A task that takes note of its cancel and waits for something else goes on to its value (R15).
#[tokio::test(start_paused = true)]
async fn line_018_cancel_task_ignoring() {
    let (group, began) = (TaskGroup::<anyhow::Error>::new(), Instant::now());
    let task = group.task().cooperative(|token| async move {
        told(&token).await;
        after(5, 7).await
    });
    group
        .run(async {
            sleep(SECOND).await;
            task.cancel();
            assert_eq!(task.await.unwrap(), 7);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn line_019_cancel_current_task() {
    let (group, steps, slot) = (TaskGroup::<anyhow::Error>::new(), Steps::default(), Slot::default());
    let (inside, itself) = (steps.clone(), Arc::clone(&slot));
    let task = group.spawn(async move {
        itself.get().unwrap().cancel();
        inside.mark("goes on to its next wait");
        sleep(SECOND).await;
        inside.mark("never");
        Ok(())
    });
    slot.set(task).unwrap();
    let began = Instant::now();
    group.join().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(steps.seen(), ["goes on to its next wait"]);
    assert!(slot.get().unwrap().result().unwrap().unwrap_err().is_cancelled());
}

/// R12: a task that cancels itself and returns without another wait has its value.
#[tokio::test(start_paused = true)]
async fn line_020_cancel_at_end() {
    let (group, slot) = (TaskGroup::<anyhow::Error>::new(), Slot::default());
    let itself = Arc::clone(&slot);
    let task = group.spawn(async move {
        itself.get().unwrap().cancel();
        assert!(is_cancelled());
        Ok(12)
    });
    slot.set(task).unwrap();
    group.join().await.unwrap();
    assert_eq!(*slot.get().unwrap().result().unwrap().unwrap(), 12);
}

/// A running task cancels itself and then waits for a task of its own: that one, and what it stands in, end at once.
#[tokio::test(start_paused = true)]
async fn line_021_cancel_awaited_task() {
    let (group, steps, slot) = (TaskGroup::<anyhow::Error>::new(), Steps::default(), Slot::default());
    let (inside, itself) = (steps.clone(), Arc::clone(&slot));
    let task = group.spawn::<()>(async move {
        let _outer = inside.on_drop("outer dropped");
        let own: TaskGroup = TaskGroup::new();
        let inner = inside.clone();
        let sub = own.spawn::<()>(async move {
            let _sub = inner.on_drop("sub dropped");
            inner.mark("sub began");
            sleep(1000 * SECOND).await;
            inner.mark("never");
            Ok(())
        });
        yield_now().await;
        itself.get().unwrap().cancel();
        let _ = own.run(async { Ok(sub.await?) }).await;
        inside.mark("never");
        Ok(())
    });
    slot.set(task).unwrap();
    let began = Instant::now();
    group.join().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(steps.seen(), ["sub began", "sub dropped", "outer dropped"]);
}

/// All have ended, and waiting again comes back at once.
#[tokio::test(start_paused = true)]
async fn line_025_wait() {
    scope(async |tg: &TaskGroup| {
        let began = Instant::now();
        let tasks = [tg.spawn(after(1, 1)), tg.spawn(after(2, 2))];
        for _ in 0..2 {
            join_all(tasks.iter().map(Task::wait_finished)).await;
            assert_eq!(began.elapsed(), 2 * SECOND);
        }
        assert_eq!(tasks.map(|task| task.into_result().unwrap()), [1, 2]);
        Ok(())
    })
    .await
    .unwrap();
}

/// One task waited for several times at once is one task, and every wait comes back.
#[tokio::test(start_paused = true)]
async fn line_026_wait_duplicate_coroutines() {
    scope(async |tg: &TaskGroup| {
        let alive = Alive::new();
        let inside = alive.clone();
        let task = tg.spawn(async move {
            let _guard = inside.guard();
            after(1, 5).await
        });
        let waits = join_all([&task, &task, &task].map(Task::wait_finished));
        assert_eq!(waits.await.len(), 3);
        assert_eq!((alive.ever(), alive.now()), (1, 0));
        assert_eq!(task.into_result().unwrap(), 5);
        Ok(())
    })
    .await
    .unwrap();
}

/// Waiting for nothing is no error and no wait; it does not close the group. Modes are types.
#[tokio::test(start_paused = true)]
async fn line_027_wait_errors() {
    let group: TaskGroup = TaskGroup::new();
    assert!(group.wait_idle().now_or_never().is_some());
    let task = group.spawn(after(1, 3));
    assert!(group.wait_idle().now_or_never().is_none());
    group.wait_idle().await;
    assert!(task.is_finished());
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn line_028_wait_first_completed() {
    scope(async |tg: &TaskGroup| {
        let began = Instant::now();
        let tasks = [tg.spawn(after(10, 1)), tg.spawn(after(1, 2))];
        let ((), first, _) = select_all(tasks.iter().map(|task| Box::pin(task.wait_finished()))).await;
        assert_eq!((first, began.elapsed()), (1, SECOND));
        assert!(tasks[1].is_finished() && !tasks[0].is_finished());
        let [slow, quick] = tasks;
        assert_eq!((slow.await?, quick.await?), (1, 2));
        assert_eq!(began.elapsed(), 10 * SECOND);
        Ok(())
    })
    .await
    .unwrap();
}

/// Both end in the turn in which the first one wakes the waiter: it finds both done.
#[tokio::test(start_paused = true)]
async fn line_029_wait_really_done() {
    scope(async |tg: &TaskGroup| {
        let tasks = [tg.spawn(async { Ok(1) }), tg.spawn(async { Ok(2) })];
        assert!(!tasks[0].is_finished() && !tasks[1].is_finished());
        select_all(tasks.iter().map(|task| Box::pin(task.wait_finished()))).await;
        assert!(tasks[0].is_finished() && tasks[1].is_finished());
        assert_eq!(tasks.map(|task| task.into_result().unwrap()), [1, 2]);
        Ok(())
    })
    .await
    .unwrap();
}

/// Waits until a task has failed, or all have ended.
async fn first_failure(tasks: &[Task<u32>]) -> Option<usize> {
    let mut waits: HashMap<usize, _> =
        tasks.iter().map(|task| Box::pin(task.wait_finished())).enumerate().collect();
    while !waits.is_empty() {
        let (place, _, _) = select_all(waits.iter_mut().map(|(place, wait)| wait.map(|()| *place))).await;
        waits.remove(&place);
        if tasks[place].result().unwrap().is_err_and(|error| error.is_failed()) {
            return Some(place);
        }
    }
    None
}

/// A task that has failed already is seen at once; the other runs on.
#[tokio::test(start_paused = true)]
async fn line_030_wait_first_exception() {
    let (group, began) = (continuing(), Instant::now());
    let tasks = [group.spawn(after(10, 1)), group.spawn(fails_after(0, "broke"))];
    tasks[1].wait_finished().await;
    assert_eq!(first_failure(&tasks).await, Some(1));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!tasks[0].is_finished());
    let error = group.join().await.unwrap_err();
    assert_eq!(error.len(), 1);
    let [slow, _] = tasks;
    assert_eq!(slow.into_result().unwrap(), 1);
}

/// A failure comes while it is waited for; the other runs on.
#[tokio::test(start_paused = true)]
async fn line_031_wait_first_exception_in_wait() {
    let (group, began) = (continuing(), Instant::now());
    let tasks = [group.spawn(after(10, 1)), group.spawn(fails_after(2, "broke")), group.spawn(after(1, 3))];
    assert_eq!(first_failure(&tasks).await, Some(1));
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert!(!tasks[0].is_finished() && tasks[2].is_finished() && !group.is_cancelled());
    assert_eq!(group.join().await.unwrap_err().len(), 1);
    assert_eq!(began.elapsed(), 10 * SECOND);
    assert_eq!(*tasks[0].result().unwrap().unwrap(), 1);
}

/// Waiting for all never fails the waiter: the error is the group's and the handle's to tell.
#[tokio::test(start_paused = true)]
async fn line_032_wait_with_exception() {
    let (group, began) = (continuing(), Instant::now());
    let tasks = [group.spawn(after(10, 1)), group.spawn(fails_after(5, "broke"))];
    join_all(tasks.iter().map(Task::wait_finished)).await;
    assert_eq!(began.elapsed(), 10 * SECOND);
    assert_eq!(*tasks[0].result().unwrap().unwrap(), 1);
    assert!(tasks[1].result().unwrap().unwrap_err().is_failed());
    let error = group.join().await.unwrap_err();
    assert_eq!(error.first().unwrap().error().unwrap().to_string(), "broke");
}

/// The time for the waiting is over: some have ended, the others run on, not cancelled.
#[tokio::test(start_paused = true)]
async fn line_033_wait_with_timeout() {
    scope(async |tg: &TaskGroup| {
        let began = Instant::now();
        let tasks = [tg.spawn(after(1, 1)), tg.spawn(after(15, 2))];
        let all = join_all(tasks.iter().map(Task::wait_finished));
        assert!(timeout(11 * SECOND, all).await.is_err());
        assert_eq!(began.elapsed(), 11 * SECOND);
        assert!(tasks[0].is_finished() && !tasks[1].is_finished());
        let [_, slow] = tasks;
        assert_eq!(slow.await?, 2);
        assert_eq!(began.elapsed(), 15 * SECOND);
        Ok(())
    })
    .await
    .unwrap();
}

/// The end and the time limit fall on one instant: it is done, and not out of time (R19).
#[tokio::test(start_paused = true)]
async fn line_034_wait_concurrent_complete() {
    let group: TaskGroup = TaskGroup::new();
    let task = Arc::new(group.spawn(after(1, 1)));
    let slow = Arc::new(group.spawn(after(2, 2)));
    let awaited = [Arc::clone(&task), Arc::clone(&slow)];
    let waiter = group.spawn(async move {
        let waits = awaited.iter().map(|task| timeout(SECOND, task.wait_finished()));
        Ok(join_all(waits).await.iter().map(|ended| ended.is_ok()).collect::<Vec<_>>())
    });
    group.join().await.unwrap();
    assert_eq!(waiter.into_result().unwrap(), [true, false]);
    assert_eq!(*slow.result().unwrap().unwrap(), 2);
}

/// Handles out of any collection.
#[tokio::test(start_paused = true)]
async fn line_035_wait_with_iterator_of_tasks() {
    scope(async |tg: &TaskGroup| {
        let began = Instant::now();
        let by_id: HashMap<_, _> =
            (1..=2).map(|seconds| tg.spawn(after(seconds, seconds))).map(|task| (task.id(), task)).collect();
        assert_eq!(by_id.len(), 2);
        join_all(by_id.values().map(Task::wait_finished)).await;
        assert_eq!(began.elapsed(), 2 * SECOND);
        let sum: u32 = by_id.into_values().map(|task| task.into_result().unwrap()).sum();
        assert_eq!(sum, 3);
        Ok(())
    })
    .await
    .unwrap();
}

/// Ten tasks out of a lazy iterator, spawned as it is walked.
#[tokio::test(start_paused = true)]
async fn line_036_wait_generator() {
    scope(async |tg: &TaskGroup| {
        let lazy = (0..10).map(|number| tg.spawn(after(0, number)));
        assert!(tg.is_empty());
        let values: Vec<u32> = join_all(lazy).await.into_iter().map(|value| value.unwrap()).collect();
        assert_eq!(values, (0..10).collect::<Vec<_>>());
        Ok(())
    })
    .await
    .unwrap();
}

/// A cancelled waiter is cut; those it waited for run on.
#[tokio::test(start_paused = true)]
async fn line_037_yield_wait_does_not_shield_cancel() {
    let (group, steps, began) = (TaskGroup::<anyhow::Error>::new(), Steps::default(), Instant::now());
    let tasks = Arc::new([group.spawn(after(1, 1)), group.spawn(after(2, 2))]);
    let (awaited, inside) = (Arc::clone(&tasks), steps.clone());
    let waiter = group.spawn(async move {
        let _dropped = inside.on_drop("waiter dropped");
        join_all(awaited.iter().map(Task::wait_finished)).await;
        inside.mark("never");
        Ok(())
    });
    group
        .run(async {
            yield_now().await;
            waiter.cancel();
            assert!(waiter.await.unwrap_err().is_cancelled());
            assert_eq!(began.elapsed(), Duration::ZERO);
            assert!(tasks.iter().all(|task| !task.is_finished()));
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!([0, 1].map(|place| *tasks[place].result().unwrap().unwrap()), [1, 2]);
    assert_eq!(steps.seen(), ["waiter dropped"]);
}

#[tokio::test(start_paused = true)]
async fn line_050_sleep() {
    let group: TaskGroup = TaskGroup::new();
    let began = Instant::now();
    let task = group.spawn(async {
        sleep(SECOND / 20).await;
        sleep(SECOND / 10).await;
        Ok("yeah")
    });
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), "yeah");
    assert_eq!(began.elapsed(), 3 * SECOND / 20);
}

#[tokio::test(start_paused = true)]
async fn line_053_task_cancel_sleeping_task() {
    let began = Instant::now();
    let steps = Steps::default();
    scope(async |tg: &TaskGroup| {
        let inside = steps.clone();
        let sleeper = tg.spawn(async move {
            sleep(10 * SECOND).await;
            inside.mark("slept");
            Ok(())
        });
        sleep(SECOND / 10).await;
        sleeper.cancel();
        assert!(sleeper.await.unwrap_err().is_cancelled());
        assert_eq!(began.elapsed(), SECOND / 10);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(began.elapsed(), SECOND / 10);
    assert_eq!(steps.seen(), [""; 0]);
}

/// What a cancelled task waited for is gone when its handle says that it has ended.
#[tokio::test(start_paused = true)]
async fn line_054_task_cancel_waiter_future() {
    scope(async |tg: &TaskGroup| {
        let (sender, receiver) = oneshot::channel::<()>();
        let task = tg.spawn(async move { Ok(receiver.await?) });
        yield_now().await;
        assert!(!sender.is_closed());
        task.cancel();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(sender.is_closed() && sender.send(()).is_err());
        Ok(())
    })
    .await
    .unwrap();
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        std::panic::panic_any("out of the destructor");
    }
}

/// A panic in answer to a cancel: panicked, not cancelled, and the payload comes out of the group (R10).
#[tokio::test(start_paused = true)]
async fn line_057_baseexception_during_cancel() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn::<()>(async {
        let _panics = PanicsOnDrop;
        pending().await
    });
    let ended = AssertUnwindSafe(group.run(async {
        yield_now().await;
        task.cancel();
        Ok(())
    }));
    let payload = ended.catch_unwind().await.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"out of the destructor"));
    let error = task.into_result().unwrap_err();
    assert!(error.is_panicked() && !error.is_cancelled());
}

/// A yield gives up one turn; a checkpoint that finds nothing gives up none.
#[tokio::test(start_paused = true)]
async fn line_058_sleep_zero() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    for marks in [["a1", "a2", "a3"], ["b1", "b2", "b3"]] {
        let inside = steps.clone();
        group.spawn(async move {
            inside.mark(marks[0]);
            yield_now().await;
            inside.mark(marks[1]);
            checkpoint().await;
            inside.mark(marks[2]);
            Ok(())
        });
    }
    group.join().await.unwrap();
    let seen = steps.seen();
    assert_eq!(seen[..2], ["a1", "b1"]);
    let mut turns = [&seen[2..4], &seen[4..]];
    turns.sort_unstable();
    assert_eq!(turns, [["a2", "a3"], ["b2", "b3"]]);
}

/// A cancel of the outer one takes the innermost first; the outer one may do more, and finish.
#[tokio::test(start_paused = true)]
async fn line_059_yield_future_passes_cancel() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let inside = steps.clone();
    let outer = group.spawn(async move {
        let cleanup = inside.clone();
        let inner = async {
            let own: TaskGroup = TaskGroup::new();
            let innermost = inside.clone();
            own.spawn::<()>(async move {
                let _dropped = innermost.on_drop("innermost");
                pending().await
            });
            let _dropped = inside.on_drop("inner");
            let ended = own.run(pending::<Result<()>>()).await;
            inside.mark("never");
            Ok(ended?)
        };
        finally(inner, async |_| {
            sleep(SECOND).await;
            cleanup.mark("outer");
        })
        .await
    });
    group
        .run(async {
            yield_now().await;
            yield_now().await;
            outer.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["innermost", "inner", "outer"]);
    assert!(outer.into_result().unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn line_060_shield_result() {
    assert_eq!(shield(after(1, 42)).await.unwrap(), 42);
    // Also where the region was cancelled before.
    let (group, slot) = (TaskGroup::<anyhow::Error>::new(), Slot::default());
    let itself = Arc::clone(&slot);
    let task = group.spawn(async move {
        itself.get().unwrap().cancel();
        shield(after(1, 42)).await
    });
    slot.set(task).unwrap();
    group.join().await.unwrap();
    assert_eq!(*slot.get().unwrap().result().unwrap().unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn line_061_shield_exception() {
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(shield(fails_after(1, "broke")));
        Ok(())
    });
    let error = error.await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert_eq!(error.first().unwrap().error().unwrap().to_string(), "broke");
}

/// Its own cancel ends a shield, and its surroundings go on (R14).
#[tokio::test(start_paused = true)]
async fn line_062_shield_cancel_inner() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let group: TaskGroup = TaskGroup::new();
    let shielded = CancelScope::new().shielded();
    let (handle, guard, inside) = (shielded.handle(), alive.guard(), steps.clone());
    let task = group.spawn(async move {
        let inner = async move {
            let _guard = guard;
            pending::<()>().await
        };
        let error = shielded.run(inner).await.unwrap_err();
        assert_eq!(error.cause().to_string(), "the inner one");
        assert!(!is_cancelled());
        sleep(SECOND).await;
        inside.mark("went on");
        Ok(())
    });
    group
        .run(async {
            yield_now().await;
            handle.cancel_because("the inner one");
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(alive.now(), 0);
    assert_eq!(steps.seen(), ["went on"]);
    task.into_result().unwrap();
}

/// The surroundings are cancelled: what is inside runs to its end, then they are cut.
#[tokio::test(start_paused = true)]
async fn line_063_shield_cancel_outer() {
    let (group, steps, began) = (TaskGroup::<anyhow::Error>::new(), Steps::default(), Instant::now());
    let inside = steps.clone();
    let task = group.spawn(async move {
        shield(async {
            assert!(!is_cancelled());
            sleep(SECOND).await;
            checkpoint().await;
            assert!(!is_cancelled());
            inside.mark("inner done");
        })
        .await;
        checkpoint().await;
        inside.mark("never");
        Ok(())
    });
    group
        .run(async {
            yield_now().await;
            task.cancel();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(began.elapsed(), SECOND);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["inner done"]);
}

/// The value of a shield in a cancelled task goes with the task: dropped, once, and nothing fails.
#[tokio::test(start_paused = true)]
async fn line_064_shield_cancel_outer_result() {
    let (group, values) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let inside = values.clone();
    let task = group.spawn(async move {
        let value = shield(async {
            sleep(SECOND).await;
            inside.guard()
        })
        .await;
        sleep(SECOND).await;
        Ok(value)
    });
    group
        .run(async {
            yield_now().await;
            task.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((values.ever(), values.now()), (1, 0));
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// The error of a shield in a cancelled task is not lost: handed on before another wait, it is the group's,
/// once (R9).
#[tokio::test(start_paused = true)]
async fn line_065_shield_cancel_outer_exception() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn(async { shield(fails_after(1, "broke")).await });
    let error = group
        .run(async {
            yield_now().await;
            task.cancel();
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.leaves().count(), 1);
    assert_eq!(error.first().unwrap().error().unwrap().to_string(), "broke");
    assert!(task.into_result().unwrap_err().is_failed());
}

/// Two cancelled tasks waited for one that fails: its failure is there once.
#[tokio::test(start_paused = true)]
async fn line_066_shield_duplicate_log_once() {
    let (group, steps) = (continuing(), Steps::default());
    let inner = Arc::new(group.spawn(fails_after(1, "broke")));
    let wrappers = [(); 2].map(|()| {
        let (inner, inside) = (Arc::clone(&inner), steps.clone());
        group.spawn::<()>(async move {
            shield(inner.wait_finished()).await;
            inside.mark("saw it fail");
            inner.wait_finished().await;
            inside.mark("never");
            Ok(())
        })
    });
    let error = group
        .run(async {
            yield_now().await;
            wrappers.iter().for_each(Task::cancel);
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.leaves().count(), 1);
    assert_eq!(error.first().unwrap().error().unwrap().to_string(), "broke");
    assert_eq!(steps.seen(), ["saw it fail", "saw it fail"]);
    for wrapper in wrappers {
        assert!(wrapper.into_result().unwrap_err().is_cancelled());
    }
}

/// What is ready needs no turn.
#[tokio::test(start_paused = true)]
async fn line_067_shield_shortcut() {
    assert_eq!(shield(ready(42)).now_or_never(), Some(42));
    assert_eq!(shield(yield_now()).now_or_never(), None);
}

/// The waiter is cut, what it shielded by giving it to the group outside completes later (R14).
#[tokio::test(start_paused = true)]
async fn line_068_shield_effect() {
    let (group, steps, began) = (TaskGroup::<anyhow::Error>::new(), Steps::default(), Instant::now());
    let (outer, inside) = (group.spawner(), steps.clone());
    let waiter = group.spawn(async move {
        let given = inside.clone();
        let inner = outer.spawn(async move {
            sleep(SECOND).await;
            given.mark("inner done");
            Ok(())
        });
        inner.wait_finished().await;
        inside.mark("never");
        Ok(())
    });
    group
        .run(async {
            yield_now().await;
            yield_now().await;
            waiter.cancel();
            assert!(waiter.await.unwrap_err().is_cancelled());
            assert_eq!(began.elapsed(), Duration::ZERO);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(steps.seen(), ["inner done"]);
}

/// Runs a closure on a plain thread, as the body of a group that goes on meanwhile.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = oneshot::channel();
    let thread = thread::spawn(move || {
        let _ = done.send(work());
    });
    let value = ended.await.expect("the thread has an answer");
    thread.join().unwrap();
    value
}

#[tokio::test(start_paused = true)]
async fn line_095_run_coroutine_threadsafe() {
    let (group, runtime_thread) = (TaskGroup::<anyhow::Error>::new(), thread::current().id());
    let spawner = group.spawner();
    let sum = group.run(async {
        let work = move || {
            let task = spawner.spawn(async move {
                assert_eq!(thread::current().id(), runtime_thread);
                after(1, 3).await
            });
            assert_ne!(thread::current().id(), runtime_thread);
            task.wait().unwrap()
        };
        Ok(on_a_thread(work).await)
    });
    assert_eq!(sum.await.unwrap(), 3);
}

/// R11: the error goes to the group, the thread learns that there is one; as a value it comes to the thread.
#[tokio::test(start_paused = true)]
async fn line_096_run_coroutine_threadsafe_with_exception() {
    let group = continuing();
    let spawner = group.spawner();
    let told = group.spawner();
    let error = group
        .run(async {
            let failed =
                on_a_thread(move || spawner.spawn(fails_after(1, "broke")).wait().unwrap_err()).await;
            assert!(failed.is_failed());
            let work = move || told.spawn(async { Ok(fails_after(1, "as a value").await) }).wait().unwrap();
            assert_eq!(on_a_thread(work).await.unwrap_err().to_string(), "as a value");
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.len(), 1);
    assert_eq!(error.first().unwrap().error().unwrap().to_string(), "broke");
}

/// The thread's patience is a timeout around the work: the work is cut, and nothing is left of it.
#[tokio::test(start_paused = true)]
async fn line_097_run_coroutine_threadsafe_with_timeout() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (spawner, guard, inside) = (group.spawner(), alive.guard(), steps.clone());
    let began = Instant::now();
    group
        .run(async {
            let work = async move {
                let _guard = guard;
                sleep(10 * SECOND).await;
                inside.mark("never");
            };
            let work = move || spawner.spawn(async move { Ok(timeout(SECOND, work).await) }).wait().unwrap();
            assert_eq!(on_a_thread(work).await.unwrap_err().after(), SECOND);
            assert_eq!(alive.now(), 0);
            assert!(group.is_empty());
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(steps.seen(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn line_098_run_coroutine_threadsafe_task_cancelled() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (spawner, guard) = (group.spawner(), alive.guard());
    group
        .run(async {
            let work = move || {
                // A task reaches its own cancel through a group of its own.
                let task = spawner.spawn(async move {
                    let own: TaskGroup = TaskGroup::new();
                    let itself = own.spawner();
                    let work = own.spawn::<()>(async move {
                        let _guard = guard;
                        itself.cancel_because("enough");
                        pending().await
                    });
                    own.join().await?;
                    Ok(work.into_result())
                });
                task.wait().unwrap().unwrap_err()
            };
            let error = on_a_thread(work).await;
            assert!(error.is_cancelled());
            assert_eq!(message_of(&error), Some("enough"));
            assert_eq!(alive.now(), 0);
            Ok(())
        })
        .await
        .unwrap();
}

/// The thread cancels by the handle it got.
#[tokio::test(start_paused = true)]
async fn line_100_run_coroutine_threadsafe_and_cancel() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (spawner, guard) = (group.spawner(), alive.guard());
    group
        .run(async {
            let work = move || {
                let task = spawner.spawn::<()>(async move {
                    let _guard = guard;
                    pending().await
                });
                task.cancel_because("from the thread");
                task.wait().unwrap_err()
            };
            let error = on_a_thread(work).await;
            assert_eq!(message_of(&error), Some("from the thread"));
            assert_eq!((alive.ever(), alive.now()), (1, 0));
            assert!(!group.is_cancelled());
            Ok(())
        })
        .await
        .unwrap();
}
