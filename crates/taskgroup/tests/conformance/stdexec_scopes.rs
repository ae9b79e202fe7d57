//! C++ scopes (`counting_scope`, `async_scope`): counting, waiting for empty, stopping, handles, and what is
//! freed when.

use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures::{FutureExt, poll};
use taskgroup::{CancelToken, Ready, Spawner, Task, TaskGroup, scope};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::support::{Alive, Guard};

type Plain = TaskGroup<&'static str>;

/// A task that never ends by itself.
async fn forever(_guard: Guard) -> Result<(), &'static str> {
    pending().await
}

/// A task that ends when it is let go.
async fn until(go: oneshot::Receiver<()>) -> Result<(), &'static str> {
    go.await.map_err(|_| "nobody let it go")
}

/// Lets everything that can run do so.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

/// A group that was made where no runtime is, and that spawns in none: `spawn` panics, since nobody could
/// poll the task.
fn assert_spawn_panics<T>(spawn: impl FnOnce() -> T) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(spawn)) else { panic!("it did not panic") };
    assert!(payload.downcast_ref::<String>().unwrap().contains("outside a tokio runtime"));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A group that nobody used may be dropped.
#[tokio::test(start_paused = true)]
async fn line_06_unused_scopes_are_safe_to_destroy() {
    let group: Plain = TaskGroup::new();
    assert!(group.is_empty() && !group.is_cancelled());
    drop(group);
    // Outside a runtime as well.
    std::thread::spawn(|| drop(Plain::new())).join().unwrap();
}

/// A group that was cancelled, or run, and never used may be dropped.
#[tokio::test(start_paused = true)]
async fn line_07_unused_and_closed_scopes_are_safe_to_destroy() {
    let cancelled: Plain = TaskGroup::new();
    cancelled.cancel();
    drop(cancelled);
    let run: Plain = TaskGroup::new();
    run.run(async { Ok(()) }).await.unwrap();
    let spawner = run.spawner();
    assert!(spawner.is_closed());
    drop(run);
    assert!(spawner.is_closed() && !spawner.is_cancelled());
}

/// After its run a group may be dropped; one that was not run drops its tasks first (R2).
#[tokio::test(start_paused = true)]
async fn line_08_joined_scopes_are_safe_to_destroy() {
    let alive = Alive::new();
    let joined: Plain = TaskGroup::new();
    let guard = alive.guard();
    joined.spawn(async move { Ok(guard) });
    joined.run(async { Ok(()) }).await.unwrap();
    assert_eq!(alive.now(), 0);
    drop(joined);

    let unjoined: Plain = TaskGroup::new();
    unjoined.spawn(forever(alive.guard()));
    settle().await;
    assert_eq!(alive.now(), 1);
    drop(unjoined);
    assert_eq!((alive.now(), alive.ever()), (0, 2));
}

/// A join that has begun waits for the one task, and does not complete inside the call that lets it go.
#[tokio::test(start_paused = true)]
async fn line_09_deferred_join_senders_work() {
    let (go, gone) = oneshot::channel();
    let joined = Arc::new(AtomicBool::new(false));
    let group: Plain = TaskGroup::new();
    group.spawn(until(gone));
    let flag = Arc::clone(&joined);
    let join = tokio::spawn(async move {
        group.join().await.unwrap();
        flag.store(true, Ordering::SeqCst);
    });
    settle().await;
    assert!(!joined.load(Ordering::SeqCst));
    go.send(()).unwrap();
    assert!(!joined.load(Ordering::SeqCst));
    join.await.unwrap();
    assert!(joined.load(Ordering::SeqCst));
}

/// A cancelled group takes no work: it does not run and says that it was stopped, and the join completes.
#[tokio::test(start_paused = true)]
async fn line_10_closed_scopes_refuse_new_associations() {
    let ran = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    group.cancel();
    let count = Arc::clone(&ran);
    let task = group.spawn(async move { Ok(count.fetch_add(1, Ordering::SeqCst)) });
    assert!(group.is_empty());
    assert!(group.join().now_or_never().expect("nothing to wait for").is_ok());
    assert!(task.into_result().unwrap_err().never_started());
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// 256 tasks, and 256 more from each of the first 1023 that end: the join comes after exactly 262,144 of
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_11_spawn_lots_of_work_looking_for_tsan_errors() {
    const WIDTH: usize = 256;
    const SPAWNING: usize = 1023;

    fn work(spawner: Spawner<&'static str>, ended: Arc<AtomicUsize>) {
        let next = spawner.clone();
        spawner.spawn(async move {
            if ended.fetch_add(1, Ordering::SeqCst) < SPAWNING {
                (0..WIDTH).for_each(|_| work(next.clone(), Arc::clone(&ended)));
            }
            Ok(())
        });
    }

    let ended = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    (0..WIDTH).for_each(|_| work(group.spawner(), Arc::clone(&ended)));
    group.join().await.unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), WIDTH * (SPAWNING + 1));
}

/// A hundred tasks wait for one group to be idle; none is through before its last task, all are after it.
#[tokio::test(start_paused = true)]
async fn line_12_spawn_lots_of_concurrent_join_senders_looking_for_ub() {
    let (go, gone) = oneshot::channel();
    let through = Arc::new(AtomicUsize::new(0));
    let group: Arc<Plain> = Arc::new(TaskGroup::new());
    group.spawn(until(gone));
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let (group, through) = (Arc::clone(&group), Arc::clone(&through));
            tokio::spawn(async move {
                group.wait_idle().await;
                assert!(group.is_empty());
                through.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    settle().await;
    assert_eq!(through.load(Ordering::SeqCst), 0);
    go.send(()).unwrap();
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(through.load(Ordering::SeqCst), 100);
}

/// What is spawned after the cancel, future or closure, knows the cause and never runs (R5).
#[tokio::test(start_paused = true)]
async fn line_13_counting_scope_request_stop_signals_associated_senders() {
    let (alive, ran) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let group: Plain = TaskGroup::new();
    group.cancel_because("stop was requested");
    let future = group.spawn(forever(alive.guard()));
    let (guard, flag) = (alive.guard(), Arc::clone(&ran));
    let closure = group.spawn_blocking(move |_token| {
        let _guard = guard;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    assert_eq!((alive.now(), alive.ever()), (0, 2));
    group.join().await.unwrap();
    for task in [future, closure] {
        let error = task.into_result().unwrap_err();
        assert!(error.never_started());
        assert_eq!(error.reason().unwrap().to_string(), "stop was requested");
    }
    assert!(!ran.load(Ordering::SeqCst));
}

/// A group that is made and dropped at once leaves a closed spawner, and nothing else.
#[tokio::test(start_paused = true)]
async fn line_14_created_and_immediately_destructed() {
    let spawner = TaskGroup::<&str>::new().spawner();
    assert!(spawner.is_closed() && spawner.is_empty());
}

/// Ten tasks on several threads, then the wait for idle, then the drop: all ten have run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_15_destruction_after_spawning_work() {
    let ran = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    for _ in 0..10 {
        let ran = Arc::clone(&ran);
        group.spawn(async move { Ok(ran.fetch_add(1, Ordering::SeqCst)) });
    }
    group.wait_idle().await;
    assert_eq!(ran.load(Ordering::SeqCst), 10);
    drop(group);
    assert_eq!(ran.load(Ordering::SeqCst), 10);
}

/// Waiting for an empty group to be idle is over at the first poll.
#[tokio::test(start_paused = true)]
async fn line_16_empty_completes_immediately_on_an_empty_scope() {
    let group: Plain = TaskGroup::new();
    assert!(group.wait_idle().now_or_never().is_some());
    let (_go, gone) = oneshot::channel();
    group.spawn(until(gone));
    assert!(group.wait_idle().now_or_never().is_none());
}

/// Waiting for idle is not over before the task is.
#[tokio::test(start_paused = true)]
async fn line_18_empty_will_complete_after_the_work_is_done() {
    let (go, gone) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let task = group.spawn(until(gone));
    let mut idle = pin!(group.wait_idle());
    settle().await;
    assert!(poll!(&mut idle).is_pending());
    go.send(()).unwrap();
    assert!(poll!(&mut idle).is_pending());
    idle.await;
    assert!(task.is_finished());
}

/// One may spawn and wait for idle several times; the group stays open in between (R6).
#[tokio::test(start_paused = true)]
async fn line_19_empty_can_be_used_multiple_times() {
    let start = Instant::now();
    let group: Plain = TaskGroup::new();
    for round in 1..=2 {
        let task = group.spawn(async {
            sleep(Duration::from_secs(1)).await;
            Ok(())
        });
        group.wait_idle().await;
        assert!(task.is_finished());
        assert_eq!(start.elapsed().as_secs(), round);
        assert!(!group.spawner().is_closed());
    }
    group.join().await.unwrap();
}

/// Between a task's end and the task that it spawned nobody finds the group idle.
#[tokio::test(start_paused = true)]
async fn line_20_waiting_on_work_that_spawns_more_work() {
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    let parent = group.spawn(async move {
        Ok(spawner.spawn(async {
            sleep(Duration::from_secs(1)).await;
            Ok("the child's")
        }))
    });
    let start = Instant::now();
    let mut idle = pin!(group.wait_idle());
    assert!(poll!(&mut idle).is_pending());
    parent.wait_finished().await;
    assert!(poll!(&mut idle).is_pending());
    idle.await;
    assert_eq!(start.elapsed().as_secs(), 1);
    let child = parent.into_result().unwrap();
    assert_eq!(child.into_result().unwrap(), "the child's");
}

/// Work added after the cancel has ended when `spawn` returns and is not counted (R5); work that was there
/// before is counted until it has been dropped.
#[tokio::test(start_paused = true)]
async fn line_21_async_scope_is_empty_after_adding_work_when_in_cancelled_state() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    group.spawn(forever(alive.guard()));
    settle().await;
    group.cancel();
    assert_eq!((group.len(), alive.now()), (1, 1));
    group.spawn(forever(alive.guard()));
    assert_eq!((group.len(), alive.now()), (1, 1));
    group.wait_idle().await;
    assert!(group.is_empty());
    assert_eq!((alive.now(), alive.ever()), (0, 2));
}

/// A spawned task runs when the runtime gets to it.
#[tokio::test(start_paused = true)]
async fn line_22_spawn_will_execute_its_work() {
    let ran = Arc::new(AtomicBool::new(false));
    let group: Plain = TaskGroup::new();
    let flag = Arc::clone(&ran);
    group.spawn(async move {
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    assert!(!ran.load(Ordering::SeqCst));
    settle().await;
    assert!(ran.load(Ordering::SeqCst));
    group.join().await.unwrap();
}

/// A task takes its first step inside `spawn` where it is asked to be eager, and only there.
#[tokio::test(start_paused = true)]
async fn line_23_spawn_will_start_sender_before_returning() {
    let steps = Arc::new(AtomicUsize::new(0));
    let step = || {
        let steps = Arc::clone(&steps);
        async move {
            steps.fetch_add(1, Ordering::SeqCst);
            yield_now().await;
            steps.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let group: Plain = TaskGroup::new();
    group.spawn(step());
    assert_eq!(steps.load(Ordering::SeqCst), 0);
    group.task().eager().spawn(step());
    assert_eq!(steps.load(Ordering::SeqCst), 1);
    group.join().await.unwrap();
    assert_eq!(steps.load(Ordering::SeqCst), 4);
}

/// A panic while the future is being made comes out of the call that makes it; nothing is counted.
#[tokio::test(start_paused = true)]
async fn line_24_spawn_will_propagate_exceptions_encountered_during_op_creation() {
    fn broken(_ready: Ready<()>) -> std::future::Ready<Result<(), &'static str>> {
        panic!("no future for you")
    }

    let group: Plain = TaskGroup::new();
    let started = AssertUnwindSafe(group.start(broken)).catch_unwind().await;
    let payload = started.map(|_| "a future").unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"no future for you"));
    assert!(group.is_empty() && !group.is_cancelled());
    let task = group.spawn(async { Ok("usable") });
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), "usable");
}

/// From `spawn` to its end a task keeps the group from being empty.
#[tokio::test(start_paused = true)]
async fn line_25_spawn_will_keep_the_scope_non_empty_until_the_work_is_executed() {
    let (go, gone) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    group.spawn(until(gone));
    assert!(!group.is_empty());
    settle().await;
    assert!(!group.is_empty());
    go.send(()).unwrap();
    settle().await;
    assert!(group.is_empty());
}

/// The group's count goes up with each spawn and down with each end, background tasks included.
#[tokio::test(start_paused = true)]
async fn line_26_spawn_will_keep_track_on_how_many_operations_are_in_flight() {
    let group: Plain = TaskGroup::new();
    let mut gates = Vec::new();
    for count in 1..=10 {
        let (go, gone) = oneshot::channel();
        gates.push(go);
        match count % 2 {
            0 => group.spawn(until(gone)),
            _ => group.task().background().spawn(until(gone)),
        };
        assert_eq!(group.len(), count);
    }
    for left in (0..10).rev() {
        gates.pop().unwrap().send(()).unwrap();
        settle().await;
        assert_eq!(group.len(), left);
    }
    group.join().await.unwrap();
}

/// Work that has not run when the group is cancelled never does.
#[tokio::test(start_paused = true)]
async fn line_27_spawn_work_can_be_cancelled_by_cancelling_the_scope() {
    let (alive, ran) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let group: Plain = TaskGroup::new();
    let (guard, flag) = (alive.guard(), Arc::clone(&ran));
    group.spawn(async move {
        let _guard = guard;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    assert_eq!(group.len(), 1);
    group.cancel();
    group.join().await.unwrap();
    assert!(!ran.load(Ordering::SeqCst));
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// A task that ends by being cancelled leaves its group empty, uncancelled, and without a failure.
#[tokio::test(start_paused = true)]
async fn line_32_spawn_works_with_senders_that_complete_with_stopped_signal() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let task = group.spawn(forever(alive.guard()));
    settle().await;
    task.cancel();
    group.wait_idle().await;
    assert!(group.is_empty() && !group.is_cancelled());
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    group.join().await.unwrap();
}

/// Work is done although its handle was dropped as soon as it was there.
#[tokio::test(start_paused = true)]
async fn line_33_spawn_future_will_execute_its_work() {
    let ran = Arc::new(AtomicBool::new(false));
    let group: Plain = TaskGroup::new();
    let flag = Arc::clone(&ran);
    drop(group.spawn(async move {
        yield_now().await;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    }));
    assert!(!ran.load(Ordering::SeqCst));
    group.join().await.unwrap();
    assert!(ran.load(Ordering::SeqCst));
}

/// A handle completes with its task, while others still run.
#[tokio::test(start_paused = true)]
async fn line_34_spawn_future_sender_will_complete() {
    let (go, gone) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let other = group.spawn(until(gone));
    let task = group.spawn(async { Ok(()) });
    task.await.unwrap();
    assert!(!other.is_finished());
    go.send(()).unwrap();
    group.join().await.unwrap();
}

/// A handle completes after its task and not before.
#[tokio::test(start_paused = true)]
async fn line_35_spawn_future_completes_after_the_given_sender_completes() {
    let (go, gone) = oneshot::channel();
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let guard = alive.guard();
    let mut task = group.spawn(async move {
        let _guard = guard;
        until(gone).await
    });
    settle().await;
    assert!(poll!(&mut task).is_pending());
    go.send(()).unwrap();
    assert!(poll!(&mut task).is_pending());
    (&mut task).await.unwrap();
    assert_eq!(alive.now(), 0, "after the drop of its future (R1)");
}

/// Dropping the handle of a running task changes nothing for it (R11).
#[tokio::test(start_paused = true)]
async fn line_36_spawn_future_returned_sender_can_be_dropped() {
    let (go, gone) = oneshot::channel();
    let ran = Arc::new(AtomicBool::new(false));
    let group: Plain = TaskGroup::new();
    let flag = Arc::clone(&ran);
    let task = group.spawn(async move {
        until(gone).await?;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    settle().await;
    drop(task);
    settle().await;
    assert_eq!(group.len(), 1);
    go.send(()).unwrap();
    group.join().await.unwrap();
    assert!(ran.load(Ordering::SeqCst));
}

/// Nor does dropping a future that holds the handle, polled or not (R11).
#[tokio::test(start_paused = true)]
async fn line_37_spawn_future_returned_sender_can_be_captured_and_dropped() {
    let ran = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    for polled in [false, true] {
        let count = Arc::clone(&ran);
        let task = group.spawn(async move {
            yield_now().await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        let mut holder = Box::pin(async move { task.await.is_ok() });
        if polled {
            assert!(poll!(&mut holder).is_pending());
        }
        drop(holder);
    }
    group.join().await.unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

/// A handle inside a future that nobody polls holds up neither its task nor the group.
#[tokio::test(start_paused = true)]
async fn line_39_spawn_future_connected_but_not_started() {
    let ran = Arc::new(AtomicBool::new(false));
    let group: Plain = TaskGroup::new();
    let flag = Arc::clone(&ran);
    let task = group.spawn(async move {
        flag.store(true, Ordering::SeqCst);
        Ok("kept for later")
    });
    let unpolled = async move { task.await.unwrap() };
    group.join().await.unwrap();
    assert!(ran.load(Ordering::SeqCst));
    assert_eq!(unpolled.await, "kept for later");
}

/// An eager task that is ready at once has done its work when `spawn` returns; its handle hears of it from
/// the runtime.
#[tokio::test(start_paused = true)]
async fn line_40_spawn_future_will_start_sender_before_returning() {
    let ran = Arc::new(AtomicBool::new(false));
    let group: Plain = TaskGroup::new();
    let flag = Arc::clone(&ran);
    let mut task = group.task().eager().spawn(async move {
        flag.store(true, Ordering::SeqCst);
        Ok(7)
    });
    assert!(ran.load(Ordering::SeqCst));
    assert!(poll!(&mut task).is_pending() && !group.is_empty());
    assert_eq!(task.await.unwrap(), 7);
    group.join().await.unwrap();
}

/// A handle that is awaited long after its task has ended, and after the group has, gives the kept value.
#[tokio::test(start_paused = true)]
async fn line_41_spawn_future_started_after_given_sender_completed() {
    let group: Plain = TaskGroup::new();
    let early = group.spawn(async { Ok("early") });
    let late = group.spawn(async { Ok("late") });
    group.wait_idle().await;
    assert_eq!(early.now_or_never().expect("done").unwrap(), "early");
    group.join().await.unwrap();
    assert_eq!(late.now_or_never().expect("done").unwrap(), "late");
}

/// A spawn that nobody could poll panics and leaves the group empty; where there is a runtime it works.
#[test]
fn line_42_spawn_future_propagate_exceptions_during_op_creation() {
    let group: Plain = TaskGroup::new();
    assert_spawn_panics(|| group.spawn(async { Ok(()) }));
    assert!(group.is_empty() && !group.is_cancelled());
    let value = block_on(async {
        let task = group.spawn(async { Ok("usable") });
        group.join().await.unwrap();
        task.into_result().unwrap()
    });
    assert_eq!(value, "usable");
}

/// While the handle says that the task has not finished the group is not empty, and the other way round.
#[tokio::test(start_paused = true)]
async fn line_43_spawn_future_keep_the_scope_non_empty() {
    let (go, gone) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let mut task = group.spawn(until(gone));
    assert!(!group.is_empty() && !task.is_finished());
    settle().await;
    assert!(!group.is_empty() && !task.is_finished());
    go.send(()).unwrap();
    (&mut task).await.unwrap();
    assert!(group.is_empty() && task.is_finished());
}

/// The count follows the ends of the tasks, not the lives of their handles.
#[tokio::test(start_paused = true)]
async fn line_44_spawn_future_keep_track_of_operations_in_flight() {
    let group: Plain = TaskGroup::new();
    let (gates, tasks): (Vec<_>, Vec<_>) = (0..10)
        .map(|_| {
            let (go, gone) = oneshot::channel();
            (go, group.spawn(until(gone)))
        })
        .unzip();
    assert_eq!(group.len(), 10);
    for (ended, (go, task)) in gates.into_iter().zip(&tasks).enumerate() {
        go.send(()).unwrap();
        task.wait_finished().await;
        assert_eq!(group.len(), 9 - ended);
    }
    assert!(group.is_empty());
    drop(tasks);
    assert!(group.is_empty());
}

/// A task that has not run when its group is cancelled says so by its handle.
#[tokio::test(start_paused = true)]
async fn line_45_spawn_future_can_be_cancelled_by_cancelling_the_scope() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let started = group.spawn(forever(alive.guard()));
    settle().await;
    let unrun = group.spawn(forever(alive.guard()));
    group.cancel();
    let (started, unrun) = (started.await.unwrap_err(), unrun.await.unwrap_err());
    assert!(started.is_cancelled() && !started.never_started());
    assert!(unrun.is_cancelled() && unrun.never_started());
    assert_eq!((alive.now(), alive.ever()), (0, 2));
    group.join().await.unwrap();
}

/// When a handle says "cancelled" the task has left the group.
#[tokio::test(start_paused = true)]
async fn line_50_spawn_future_works_with_stopped_senders() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let task = group.spawn(forever(alive.guard()));
    settle().await;
    task.cancel();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(group.is_empty() && alive.now() == 0);
    group.join().await.unwrap();
}

/// The value arrives at the handle, moved and not copied.
#[tokio::test(start_paused = true)]
async fn line_51_spawn_future_forwards_value_to_returned_sender() {
    let sent: Arc<str> = Arc::from("the very same");
    let group: Plain = TaskGroup::new();
    let moved = Arc::clone(&sent);
    let received = group.spawn(async move { Ok(moved) }).await.unwrap();
    assert!(Arc::ptr_eq(&sent, &received));
    settle().await;
    assert_eq!(Arc::strong_count(&sent), 2);
    group.join().await.unwrap();
}

/// The handle says that there was an error, the group has it: told once (R11).
#[tokio::test(start_paused = true)]
async fn line_52_spawn_future_forwards_error_to_returned_sender() {
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async { Err::<(), _>("no") });
    let id = task.id();
    assert!(task.await.unwrap_err().is_failed());
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors.first().unwrap().error(), errors.first().unwrap().id()), (Some(&"no"), id));
}

/// The handle says "cancelled", and why.
#[tokio::test(start_paused = true)]
async fn line_53_spawn_future_forwards_stopped_signal() {
    let group: Plain = TaskGroup::new();
    let task = group.spawn(pending::<Result<(), _>>());
    task.cancel_because("no longer wanted");
    let error = task.await.unwrap_err();
    assert!(error.is_cancelled() && !error.is_failed() && !error.is_panicked());
    assert_eq!(error.reason().unwrap().to_string(), "no longer wanted");
    group.join().await.unwrap();
}

/// A fixed set of eager tasks has started when the last `spawn` returns, and is waited for; with none there
/// is
/// nothing to wait for.
#[tokio::test(start_paused = true)]
async fn line_54_start_now() {
    for count in [0, 1, 2] {
        let (started, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let group: Plain = TaskGroup::new();
        for _ in 0..count {
            let (started, ended) = (Arc::clone(&started), Arc::clone(&ended));
            group.task().eager().spawn(async move {
                started.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_secs(1)).await;
                ended.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
        }
        assert_eq!((started.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (count, 0));
        let mut join = pin!(group.join());
        assert_eq!(poll!(&mut join).is_ready(), count == 0);
        if count > 0 {
            join.await.unwrap();
        }
        assert_eq!(ended.load(Ordering::SeqCst), count);
    }
}

/// A cancel can be seen by the group and by every spawner of it.
#[tokio::test(start_paused = true)]
async fn line_55_request_stop_visible_in_stop_source() {
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    assert!(!group.is_cancelled() && !spawner.is_cancelled());
    spawner.cancel();
    assert!(group.is_cancelled() && spawner.is_cancelled());
    group.join().await.unwrap();
}

/// Starts a closure that hands out a copy of its token and stays until it is cancelled.
async fn token_of(group: &Plain) -> CancelToken {
    let (tell, told) = oneshot::channel();
    group.spawn_blocking(move |token| {
        tell.send(token.clone()).expect("received below");
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(())
    });
    told.await.unwrap()
}

/// A closure's own token says that its group was cancelled: otherwise the closure would not end.
#[tokio::test(start_paused = true)]
async fn line_56_request_stop_visible_in_stop_token() {
    let group: Plain = TaskGroup::new();
    let token = token_of(&group).await;
    assert!(!token.is_cancelled() && token.cause().is_none());
    group.cancel_because("stop");
    assert!(token.is_cancelled());
    assert_eq!(token.cause().unwrap().to_string(), "stop");
    group.join().await.unwrap();
}

/// A cancel ends the pending work and releases a thread that waits for idle, before the group is dropped.
#[tokio::test(start_paused = true)]
async fn line_57_cancelling_the_stop_source_cancels_the_scope() {
    let alive = Alive::new();
    let group: Arc<Plain> = Arc::new(TaskGroup::new());
    let task = group.spawn(forever(alive.guard()));
    let (waits, has_come) = oneshot::channel();
    let (idle, is_idle) = oneshot::channel();
    let (waited_for, seen) = (Arc::clone(&group), alive.clone());
    let waiter = std::thread::spawn(move || {
        let mut wait = pin!(waited_for.wait_idle());
        let first = (&mut wait).now_or_never();
        waits.send(first).unwrap();
        futures::executor::block_on(wait);
        idle.send(seen.now()).unwrap();
    });
    assert!(has_come.await.unwrap().is_none(), "not idle yet");
    group.cancel();
    assert_eq!(is_idle.await.unwrap(), 0);
    waiter.join().unwrap();
    assert!(task.into_result().unwrap_err().is_cancelled());
    Arc::into_inner(group).expect("the thread has let go of it").join().await.unwrap();
}

/// Tokens of all closures of a group see its cancel, and one that was given out stays readable.
#[tokio::test(start_paused = true)]
async fn line_58_stop_source_visible_in_stop_token() {
    let (group, other): (Plain, Plain) = (TaskGroup::new(), TaskGroup::new());
    let tokens = [token_of(&group).await, token_of(&group).await];
    let unconcerned = token_of(&other).await;
    group.cancel();
    group.join().await.unwrap();
    assert!(tokens.iter().all(|token| token.is_cancelled() && token.check().is_err()));
    assert!(!unconcerned.is_cancelled());
    other.cancel();
    other.join().await.unwrap();
}

/// Waiting for idle ends whatever was done with the group and its handles before, a cancel of tasks that wait
/// for tasks included.
#[tokio::test(start_paused = true)]
async fn line_59_type_async_scope_will_complete() {
    async fn after<T>(prepare: impl AsyncFnOnce(&Plain) -> T) -> T {
        let group: Plain = TaskGroup::new();
        let prepared = prepare(&group).await;
        group.wait_idle().await;
        assert!(group.is_empty());
        group.join().await.unwrap();
        prepared
    }
    let work = || async { Ok(1) };
    let waiting_for = |task: Task<i32>| async move { task.await.map_err(|_| "no value") };

    after(async |_| {}).await;
    after(async |group| drop(group.spawn(work()))).await;
    let unspawned = work();
    after(async |_| drop(unspawned)).await;
    assert_eq!(after(async |group| group.spawn(work()).await.unwrap()).await, 1);
    let handle = after(async |group| group.spawn(work())).await;
    assert_eq!(handle.into_result().unwrap(), 1);
    let nested = after(async |group| group.spawn(waiting_for(group.spawn(work()))).await).await;
    assert_eq!(nested.unwrap(), 1);
    let (stopped,) = after(async |group| {
        let inner = group.spawn(async { pending::<Result<i32, _>>().await });
        let outer = group.spawn(waiting_for(inner));
        settle().await;
        assert_eq!(group.len(), 2);
        group.cancel();
        (outer,)
    })
    .await;
    assert!(stopped.into_result().unwrap_err().is_cancelled());
}

/// What a task captures is dropped when it ends, and its value too when nobody holds the handle.
#[tokio::test(start_paused = true)]
async fn line_61_spawn_doesnt_leak() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let (captured, value) = (alive.guard(), alive.guard());
    drop(group.spawn(async move {
        let _captured = captured;
        yield_now().await;
        Ok(value)
    }));
    assert_eq!(alive.now(), 2);
    group.wait_idle().await;
    assert_eq!((alive.now(), alive.ever()), (0, 2));
    group.join().await.unwrap();
}

/// A spawn that panics for want of a runtime drops what it was given; that holds for every way to spawn.
#[test]
fn line_62_spawn_tolerates_throwing_scope_tokens() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    assert_spawn_panics(|| group.spawn(forever(alive.guard())));
    assert_spawn_panics(|| group.try_spawn(forever(alive.guard())).is_ok());
    assert_spawn_panics(|| group.spawner().spawn(forever(alive.guard())));
    assert_spawn_panics(|| group.task().eager().spawn(forever(alive.guard())));
    let guard = alive.guard();
    assert_spawn_panics(|| group.spawn_blocking(move |_token| Ok(guard)));
    assert_eq!((alive.now(), alive.ever()), (0, 5));
    assert!(group.is_empty() && !group.is_cancelled());
}

/// A spawn into a group that has ended is silent: nothing runs, nothing stays.
#[tokio::test(start_paused = true)]
async fn line_63_spawn_tolerates_expired_scope_tokens() {
    let (alive, ran) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    group.join().await.unwrap();
    let (guard, flag) = (alive.guard(), Arc::clone(&ran));
    drop(spawner.spawn(async move {
        let _guard = guard;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    }));
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    settle().await;
    assert!(!ran.load(Ordering::SeqCst) && spawner.is_empty());
}

/// Spawning a value that is ready and awaiting it gives the value, of whatever type.
#[tokio::test(start_paused = true)]
async fn line_64_spawn_future_just_x_equals_just_x() {
    let group: Plain = TaskGroup::new();
    assert_eq!(group.spawn(ready(Ok(42))).await.unwrap(), 42);
    assert_eq!(group.spawn(ready(Ok(()))).await.unwrap(), ());
    assert_eq!(group.spawn(ready(Ok(vec!["a", "b"]))).await.unwrap(), ["a", "b"]);
    let as_value: Result<(), &str> = group.spawn(ready(Ok(Err("a value like any other")))).await.unwrap();
    assert_eq!(as_value, Err("a value like any other"));
    group.join().await.unwrap();
}

/// A handle that is awaited before its task ends is woken with the value.
#[tokio::test(start_paused = true)]
async fn line_65_deferred_futures_work() {
    let (send, sent) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async move { sent.await.map_err(|_| "nothing was sent") });
    let waiter = tokio::spawn(task);
    settle().await;
    assert!(!waiter.is_finished());
    send.send("deferred").unwrap();
    assert_eq!(waiter.await.unwrap().unwrap(), "deferred");
    group.join().await.unwrap();
}

/// The value lives in its handle until it is taken out of it.
#[tokio::test(start_paused = true)]
async fn line_66_spawn_future_doesnt_leak() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let spawn = || {
        let (captured, value) = (alive.guard(), alive.guard());
        group.spawn(async move {
            let _captured = captured;
            Ok(value)
        })
    };
    let (taken, dropped) = (spawn(), spawn());
    group.wait_idle().await;
    assert_eq!((alive.now(), alive.ever()), (2, 4));
    drop(taken.await.unwrap());
    assert_eq!(alive.now(), 1);
    drop(dropped);
    assert_eq!(alive.now(), 0);
    group.join().await.unwrap();
}

/// The handle of what was spawned into an ended group says "cancelled, never started", and holds nothing.
#[tokio::test(start_paused = true)]
async fn line_67_spawn_future_tolerates_expired_scope_tokens() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    group.join().await.unwrap();
    let task = spawner.spawn(forever(alive.guard()));
    assert!(task.is_finished());
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    let error = task.await.unwrap_err();
    assert!(error.never_started());
    assert_eq!(error.reason().unwrap().to_string(), "the group had ended");
}

/// Dropping a handle asks nobody to stop: the group waits for the task, which ends as it would have (R11).
#[tokio::test(start_paused = true)]
async fn line_68_discarding_a_future_sends_a_stop_request() {
    let (alive, start) = (Alive::new(), Instant::now());
    let (captured, value) = (alive.guard(), alive.guard());
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async move {
        let _captured = captured;
        sleep(Duration::from_secs(3)).await;
        assert!(!taskgroup::is_cancelled());
        Ok(value)
    });
    settle().await;
    drop(task);
    assert_eq!(alive.now(), 2);
    group.join().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!((alive.now(), alive.ever()), (0, 2));
}

/// A destructor that cancels its own group again, and drops the handle of its own task, in the middle of
/// that task's end.
struct Reentrant {
    group: Spawner<&'static str>,
    own: Arc<Mutex<Option<Task<()>>>>,
    _guard: Guard,
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        self.group.cancel();
        let own = self.own.lock().unwrap().take().expect("dropped once");
        own.cancel();
    }
}

/// A task whose destructor calls back into the group and drops its own handle ends once, by cancel and by
/// the drop of the group.
#[tokio::test(start_paused = true)]
async fn line_69_abandoning_a_never_sender() {
    for by_drop in [false, true] {
        let alive = Alive::new();
        let group: Plain = TaskGroup::new();
        let own = Arc::new(Mutex::new(None));
        let reentrant = Reentrant { group: group.spawner(), own: Arc::clone(&own), _guard: alive.guard() };
        *own.lock().unwrap() = Some(group.spawn(async move {
            let _reentrant = reentrant;
            pending().await
        }));
        settle().await;
        assert_eq!(alive.now(), 1);
        if by_drop {
            drop(group);
        } else {
            group.cancel();
            group.join().await.unwrap();
        }
        assert_eq!((alive.now(), alive.ever()), (0, 1));
        assert!(own.lock().unwrap().is_none());
    }
}

/// Whether work is admitted is decided at each spawn: what was admitted runs on after the cancel as far as
/// it can, and the same spawner, copied before or after, is refused.
#[tokio::test(start_paused = true)]
async fn line_70_associate_copying_re_queries_the_association() {
    let (release, released) = mpsc::channel::<()>();
    let (started, has_started) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let before = group.spawner();
    let admitted = before.spawn_blocking(move |_token| {
        started.send(()).expect("received below");
        released.recv().expect("sent below");
        Ok("admitted while open")
    });
    has_started.await.unwrap();
    group.cancel();
    let after = before.clone();
    assert!(before.try_spawn(async { Ok(()) }).is_err());
    assert!(after.try_spawn(async { Ok(()) }).is_err());
    assert!(!admitted.is_finished());
    release.send(()).unwrap();
    assert_eq!(admitted.await.unwrap(), "admitted while open");
    group.join().await.unwrap();
}

/// What refused work captured is dropped inside `spawn`, long before the group ends; `try_spawn` gives it
/// back.
#[tokio::test(start_paused = true)]
async fn line_71_associate_argument_eagerly_destroyed_when_refused() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    group.cancel();
    let handle = group.spawn(forever(alive.guard()));
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    let refused = group.try_spawn(forever(alive.guard())).unwrap_err();
    assert_eq!(alive.now(), 1);
    let mut future = Box::pin(refused.into_future());
    assert!(poll!(&mut future).is_pending(), "it is whole, and may be used elsewhere");
    drop(future);
    assert_eq!((alive.now(), alive.ever()), (0, 2));
    drop(handle);
    group.join().await.unwrap();
}

/// Tasks of different types in one scope: the first error stops the others, and is the result.
#[tokio::test(start_paused = true)]
async fn line_72_when_all_cancels_remaining_children_if_error_is_detected() {
    let (alive, start) = (Alive::new(), Instant::now());
    let errors = scope(async |tg: &TaskGroup| {
        let guard = alive.guard();
        let number = tg.spawn(async { Ok(7) });
        let text = tg.spawn(async {
            sleep(Duration::from_secs(1)).await;
            Err::<String, _>(anyhow::anyhow!("no text"))
        });
        let never = tg.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
            Ok([0_u8; 4])
        });
        Ok((number.await?, text.await?, never.await?))
    })
    .await
    .unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "no text");
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// One task that is cancelled by its handle stops nobody else (R11); its group ends in good order.
#[tokio::test(start_paused = true)]
async fn line_73_when_all_cancels_remaining_if_cancel_is_detected() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let stopped = group.spawn(forever(alive.guard()));
    let other = group.spawn(async {
        sleep(Duration::from_secs(1)).await;
        Ok("to its end")
    });
    settle().await;
    stopped.cancel();
    assert!(stopped.await.unwrap_err().is_cancelled());
    assert!(!group.is_cancelled() && !other.is_finished());
    group.join().await.unwrap();
    assert_eq!(other.into_result().unwrap(), "to its end");
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// In a scope that is cancelled already no task is started to decide for itself (R5); the body may still
/// return a value without a wait (R17).
#[tokio::test(start_paused = true)]
async fn line_74_when_all_defers_stop_handling_to_its_children() {
    let polled = Arc::new(AtomicUsize::new(0));
    let tasks = scope(async |tg: &Plain| {
        tg.cancel();
        let spawn = || {
            let polled = Arc::clone(&polled);
            tg.spawn(async move { Ok(polled.fetch_add(1, Ordering::SeqCst)) })
        };
        Ok([spawn(), spawn()])
    })
    .await
    .unwrap();
    assert!(tasks.into_iter().all(|task| task.into_result().unwrap_err().never_started()));
    assert_eq!(polled.load(Ordering::SeqCst), 0);
}
