//! Swift's task groups: accumulating and discarding ones, cancel from every side, and what is released when.

use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use taskgroup::{
    CancelReason, CancelToken, NodeKind, OnFailure, TaskGroup, checkpoint, finally, scope, shield,
    shield_for, timeout,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::support::{Alive, Guard};

type Plain = TaskGroup<&'static str>;

/// A task that never ends by itself.
async fn forever(_guard: Guard) -> Result<(), &'static str> {
    pending().await
}

/// Lets everything that can run do so.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

/// A closure's stay until its token is cancelled; it says first that it has started.
fn until_cancelled(token: &CancelToken, started: oneshot::Sender<()>) {
    started.send(()).expect("somebody waits for the start");
    while !token.is_cancelled() {
        std::thread::yield_now();
    }
}

/// An error that is counted.
#[derive(Debug)]
struct Counted {
    number: usize,
    _guard: Guard,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.number)
    }
}

impl std::error::Error for Counted {}

/// A body that awaits its tasks one by one meets the failing one: its error comes out, after all have ended.
#[tokio::test(start_paused = true)]
async fn line_01_test_task_group_throws_rethrows() {
    let (alive, pulled) = (Alive::new(), AtomicUsize::new(0));
    let errors = scope(async |tg: &TaskGroup| {
        let guard = alive.guard();
        tg.spawn(async move {
            pending::<()>().await;
            drop(guard);
            Ok(())
        });
        let tasks = [
            tg.spawn(async { Ok(1) }),
            tg.spawn(async { Ok(2) }),
            tg.spawn(async {
                sleep(Duration::from_secs(1)).await;
                Err(anyhow::anyhow!("boom"))
            }),
        ];
        for task in tasks {
            pulled.fetch_add(task.await?, Ordering::SeqCst);
        }
        Ok("never")
    })
    .await
    .unwrap_err();
    assert_eq!(pulled.load(Ordering::SeqCst), 3);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "boom");
    assert!(!errors.first().unwrap().is_body());
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// An error that is to be looked at, or not, is spawned as a value: never pulled, it fails nobody (R7).
#[tokio::test(start_paused = true)]
async fn line_02_test_task_group_no_throw_if_not_awaited_throwing_task() {
    let value = scope(async |tg: &Plain| {
        tg.spawn(async { Ok(Err::<(), _>("as a value")) });
        yield_now().await;
        Ok("the body's value")
    })
    .await
    .unwrap();
    assert_eq!(value, "the body's value");
}

/// A task that nobody cancelled and that returns an error meaning "cancelled" has failed, with that error.
#[tokio::test(start_paused = true)]
async fn line_03_test_task_group_throw_rethrows_wait_for_all() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let other = group.spawn(pending::<Result<(), _>>());
    other.cancel_because("that one alone");
    let task = group.spawn(async move { Ok(other.await?) });
    let guard = alive.guard();
    let straggler = group.spawn(async move {
        let _guard = guard;
        sleep(Duration::from_secs(1)).await;
        Ok("not cut")
    });
    let spawner = group.spawner();
    let errors = group.join().await.unwrap_err();
    assert!(spawner.is_empty() && alive.now() == 0);
    assert_eq!(errors.len(), 1);
    let failure = errors.first().unwrap();
    assert_eq!(failure.id(), task.id());
    assert!(failure.downcast_ref::<taskgroup::TaskError>().unwrap().is_cancelled());
    assert!(task.into_result().unwrap_err().is_failed());
    assert_eq!(straggler.into_result().unwrap(), "not cut");
}

/// A failing task whose handle nobody keeps fails the scope.
#[tokio::test(start_paused = true)]
async fn line_04_test_discarding_task_group_automatically_rethrows() {
    let errors = scope(async |tg: &Plain| {
        tg.spawn(async { Ok(1) });
        tg.spawn(async { Err::<(), _>("boom") });
        Ok("the body's value")
    })
    .await
    .unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors.first().unwrap().error(), Some(&"boom"));
}

/// The first failure cuts a long sleeper, which is waited for and is no failure.
#[tokio::test(start_paused = true)]
async fn line_05_test_discarding_task_group_automatically_rethrows_only_first() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let guard = alive.guard();
    let sleeper = group.spawn(async move {
        let _guard = guard;
        sleep(Duration::from_secs(60)).await;
        Ok(())
    });
    group.spawn(async {
        sleep(Duration::from_secs(1)).await;
        Err::<(), _>("first")
    });
    let start = Instant::now();
    let errors = group.join().await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors.first().unwrap().error(), Some(&"first"));
    assert_eq!(alive.now(), 0);
    let error = sleeper.into_result().unwrap_err();
    assert!(error.is_cancelled() && !error.never_started());
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::SiblingFailed(_)));
}

/// The body fails first; a task that answers the cancel with an error is reported after it (R8).
#[tokio::test(start_paused = true)]
async fn line_06_test_discarding_task_group_automatically_rethrows_first_with_throwing_body_first() {
    let errors = scope(async |tg: &Plain| {
        let (started, has_started) = oneshot::channel();
        tg.spawn_blocking(move |token| {
            until_cancelled(token, started);
            Err::<(), _>("second, by the task")
        });
        has_started.await.expect("sent before the wait");
        Err::<(), _>("first, by the body")
    })
    .await
    .unwrap_err();
    let failures: Vec<_> = errors.failures().iter().map(|f| (*f.error().unwrap(), f.is_body())).collect();
    assert_eq!(failures, [("first, by the body", true), ("second, by the task", false)]);
}

/// A task fails first; the body, whose own group fails while it drains, fails second: both are reported (R8).
#[tokio::test(start_paused = true)]
async fn line_07_test_discarding_task_group_automatically_rethrows_first_with_throwing_body_second() {
    let errors = scope(async |tg: &TaskGroup| {
        let (started, has_started) = oneshot::channel();
        let inner: TaskGroup = TaskGroup::new();
        inner.spawn_blocking(|token| {
            until_cancelled(token, started);
            Err::<(), _>(anyhow::anyhow!("second"))
        });
        has_started.await?;
        tg.spawn(async { Err::<(), _>(anyhow::anyhow!("first")) });
        inner.join().await?;
        Ok("the body's value")
    })
    .await
    .unwrap_err();
    assert_eq!(errors.len(), 2);
    let [by_task, by_body] = errors.failures() else { panic!("two failures") };
    assert!(!by_task.is_body() && by_body.is_body());
    assert_eq!(by_task.error().unwrap().to_string(), "first");
    assert_eq!(by_body.nested().unwrap().first().unwrap().error().unwrap().to_string(), "second");
}

/// In a group that continues on failure the body sees that a task failed, spawns another one, which is not
/// cancelled, and ends with a value; exit still reports the failure (R7).
#[tokio::test(start_paused = true)]
async fn line_08_test_task_group_throws_recover() {
    let group: Plain = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let mut recovered = None;
    let body = async {
        let failed = group.spawn(async { Err::<i32, _>("boom") }).await;
        assert!(failed.unwrap_err().is_failed());
        assert!(!group.is_cancelled());
        recovered = group.spawn(async { Ok(3) }).await.ok();
        Ok("the body's value")
    };
    let errors = group.run(body).await.unwrap_err();
    assert_eq!(recovered, Some(3));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors.first().unwrap().error(), Some(&"boom"));
}

/// A task cancels its own group: from then on `try_spawn` refuses, and soon nothing is left.
#[tokio::test(start_paused = true)]
async fn line_09_test_task_group_cancel_from_inside_child() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    group.try_spawn(forever(alive.guard())).expect("the group is open");
    let first = group.try_spawn(async move {
        spawner.cancel_because("from inside");
        Ok(1)
    });
    group.wait_idle().await;
    assert_eq!(*first.expect("the group is open").result().unwrap().unwrap(), 1);
    assert!(group.is_cancelled() && group.is_empty());
    assert_eq!(alive.now(), 0);
    let refused = group.try_spawn(async { Ok(2) }).unwrap_err();
    assert_eq!(refused.cause().to_string(), "from inside");
    group.join().await.unwrap();
}

/// Cancelling the task that runs a group reaches the group, its tasks, and the task itself.
#[tokio::test(start_paused = true)]
async fn line_10_test_task_group_cancel_parent_affects_group() {
    let (started, has_started) = oneshot::channel();
    let (alive, (tell, told)) = (Alive::new(), mpsc::channel());
    let guard = alive.guard();
    let outer: Plain = TaskGroup::new();
    let host = outer.spawn(async move {
        let inner: Plain = TaskGroup::new();
        let seen = inner.spawner();
        inner.spawn(forever(guard));
        inner.spawn_blocking(move |token| {
            until_cancelled(token, started);
            tell.send((seen.is_cancelled(), token.cause().expect("cancelled"))).expect("read below");
            Ok(())
        });
        inner.join().await.map_err(|_| "the inner group failed")
    });
    has_started.await.unwrap();
    assert_eq!(alive.now(), 1);
    host.cancel_because("enough");
    let error = host.await.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(alive.now(), 0);
    let (group_saw_it, cause) = told.try_recv().unwrap();
    assert!(group_saw_it);
    assert!(matches!(cause.reason(), CancelReason::HostCancelled(_)));
    assert_eq!(cause.root().to_string(), "enough");
    outer.join().await.unwrap();
}

/// Tasks that do not listen to a cancel end as they would have, and their values are not lost.
#[tokio::test(start_paused = true)]
async fn line_11_test_task_group_cancel_then_completions() {
    let group: Plain = TaskGroup::new();
    let spawn = |value| {
        let (started, has_started) = oneshot::channel();
        let task = group.spawn_blocking(move |token| {
            until_cancelled(token, started);
            Ok(value)
        });
        (task, has_started)
    };
    let (one, one_started) = spawn(1);
    let (two, two_started) = spawn(2);
    one_started.await.unwrap();
    two_started.await.unwrap();
    group.cancel();
    group.wait_idle().await;
    assert_eq!((one.into_result().unwrap(), two.into_result().unwrap()), (1, 2));
    assert!(group.is_empty());
    group.join().await.unwrap();
}

/// After the cancel the group says so, `try_spawn` refuses, and `spawn` gives a task that never runs (R5).
#[tokio::test(start_paused = true)]
async fn line_12_test_task_group_cancel_then_add() {
    let polled = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    assert!(!group.is_cancelled());
    group.cancel();
    assert!(group.is_cancelled());
    let (refused, added) = (Arc::clone(&polled), Arc::clone(&polled));
    let refused = group.try_spawn(async move { Ok(refused.fetch_add(1, Ordering::SeqCst)) });
    assert!(refused.is_err());
    let added = group.spawn(async move { Ok(added.fetch_add(1, Ordering::SeqCst)) });
    assert!(added.await.unwrap_err().never_started());
    group.join().await.unwrap();
    assert_eq!(polled.load(Ordering::SeqCst), 0);
}

/// A group is empty before the first task, not while one runs, and again after it.
#[tokio::test(start_paused = true)]
async fn line_13_test_task_group_is_empty() {
    let group: Plain = TaskGroup::new();
    assert!(group.is_empty());
    group.spawn(async {
        sleep(Duration::from_secs(2)).await;
        Ok(())
    });
    assert!(!group.is_empty());
    sleep(Duration::from_secs(1)).await;
    assert!(!group.is_empty());
    group.wait_idle().await;
    assert!(group.is_empty());
    group.join().await.unwrap();
}

/// A body that cancels and returns at once has its value, and both tasks are waited for; they saw the cancel.
#[tokio::test(start_paused = true)]
async fn line_14_test_skip_calling_next_but_invoke_cancel_all() {
    let saw = Arc::new(AtomicUsize::new(0));
    let value = scope(async |tg: &Plain| {
        for _ in 0..2 {
            let ((started, has_started), saw) = (oneshot::channel(), Arc::clone(&saw));
            tg.spawn_blocking(move |token| {
                until_cancelled(token, started);
                saw.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            has_started.await.expect("sent before the wait");
        }
        tg.cancel();
        Ok("returned at once")
    })
    .await
    .unwrap();
    assert_eq!(value, "returned at once");
    assert_eq!(saw.load(Ordering::SeqCst), 2);
}

/// A task that succeeds, one that fails, and a body that returns at once: in a thousand races the failure is
/// reported each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_18_main_1000_iterations() {
    for _ in 0..1000 {
        let errors = scope(async |tg: &Plain| {
            tg.spawn(async { Ok(()) });
            tg.spawn(async { Err::<(), _>("boom") });
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors.first().unwrap().error(), Some(&"boom"));
    }
}

/// Where the group continues on failure, asking the handles goes on after one: three failures, and the sum
/// of the other seven.
#[tokio::test(start_paused = true)]
async fn line_19_test_task_group_next() {
    let group: Plain = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let fails = |number| matches!(number, 2 | 5 | 8);
    let work = |number: u64| async move {
        sleep(Duration::from_secs(10 - number)).await;
        if fails(number) { Err("boom") } else { Ok(number) }
    };
    let tasks: Vec<_> = (1..=10).map(|number| group.spawn(work(number))).collect();
    let (mut sum, mut failed) = (0, 0);
    let body = async {
        for task in tasks {
            match task.await {
                Ok(number) => sum += number,
                Err(error) => failed += usize::from(error.is_failed()),
            }
        }
        Ok(())
    };
    let errors = group.run(body).await.unwrap_err();
    assert_eq!((sum, failed), (55 - 15, 3));
    assert_eq!(errors.len(), 3);
}

/// A hundred tasks whose handles nobody keeps: all are waited for.
#[tokio::test(start_paused = true)]
async fn line_25_test_discarding_task_group_never_consume() {
    let (alive, done) = (Alive::new(), Arc::new(AtomicUsize::new(0)));
    scope(async |tg: &Plain| {
        for number in 0..100_u64 {
            let (guard, done) = (alive.guard(), Arc::clone(&done));
            tg.spawn(async move {
                sleep(Duration::from_millis(number)).await;
                done.fetch_add(1, Ordering::SeqCst);
                Ok(guard)
            });
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 100);
    assert_eq!((alive.now(), alive.ever()), (0, 100));
}

/// The same where the tasks end long before the body does: nothing of them is kept until then.
#[tokio::test(start_paused = true)]
async fn line_26_test_discarding_task_group_never_consume_sleep_before_group_wait_all() {
    let alive = Alive::new();
    scope(async |tg: &Plain| {
        for _ in 0..100 {
            let guard = alive.guard();
            tg.spawn(async move { Ok(guard) });
        }
        assert_eq!((tg.len(), alive.now()), (100, 100));
        sleep(Duration::from_secs(1)).await;
        assert_eq!((tg.len(), alive.now()), (0, 0));
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(alive.ever(), 100);
}

/// A value that was taken from its handle lives as long as who took it, and no longer.
#[tokio::test(start_paused = true)]
async fn line_27_async_taskgroup_dont_leak_tasks() {
    let alive = Alive::new();
    scope(async |tg: &TaskGroup| {
        for _ in 0..3 {
            let guard = alive.guard();
            let value = tg.spawn(async move { Ok(guard) }).await?;
            assert_eq!(alive.now(), 1);
            drop(value);
            assert_eq!(alive.now(), 0);
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!((alive.now(), alive.ever()), (0, 3));
}

/// Work races a sleep in one group: the first to end gives the result, and cancel ends the other at once.
#[tokio::test(start_paused = true)]
async fn line_28_wait_for_release_or_timeout() {
    let alive = Alive::new();
    let start = Instant::now();
    let winner = scope(async |tg: &Plain| {
        let (ends, mut ended) = tokio::sync::mpsc::unbounded_channel();
        for (name, seconds) in [("work", 1), ("time is up", 60)] {
            let (ends, guard) = (ends.clone(), alive.guard());
            tg.spawn(async move {
                let _guard = guard;
                sleep(Duration::from_secs(seconds)).await;
                ends.send(name).map_err(|_| "nobody listens")
            });
        }
        let first = ended.recv().await.expect("the sender is above");
        tg.cancel();
        Ok(first)
    })
    .await
    .unwrap();
    assert_eq!(winner, "work");
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!((alive.now(), alive.ever()), (0, 2));
}

/// Runs `ok` tasks that return a counted value and `bad` ones that return a counted error, all handles
/// dropped; returns how many errors were reported, the others counted along.
async fn all_released(ok: usize, bad: usize) -> usize {
    let alive = Alive::new();
    let ended = scope(async |tg: &TaskGroup<Counted>| {
        for _ in 0..ok {
            let guard = alive.guard();
            tg.spawn(async move { Ok(guard) });
        }
        for number in 0..bad {
            let _guard = alive.guard();
            tg.spawn(async move { Err::<(), _>(Counted { number, _guard }) });
        }
        Ok("the body's value")
    })
    .await;
    let Err(errors) = ended else {
        assert_eq!((alive.now(), alive.ever()), (0, ok));
        return 0;
    };
    assert_eq!(errors.first().unwrap().error().unwrap().number, 0, "the first to fail");
    let reported = errors.len();
    assert_eq!(alive.now(), reported, "the errors live in the report, and nothing else does");
    drop(errors);
    assert_eq!((alive.now(), alive.ever()), (0, ok + bad));
    reported
}

/// A value and an error that nobody takes are released.
#[tokio::test(start_paused = true)]
async fn line_29_discarding_dont_leak_test_two() {
    assert_eq!(all_released(1, 1).await, 1);
}

/// Six values that nobody takes are released.
#[tokio::test(start_paused = true)]
async fn line_30_discarding_dont_leak_many_ok() {
    assert_eq!(all_released(6, 0).await, 0);
}

/// Of six errors the first is reported; the tasks behind it are cut before they start. All six are released.
#[tokio::test(start_paused = true)]
async fn line_31_discarding_dont_leak_many_throws() {
    assert_eq!(all_released(0, 6).await, 1);
}

/// Three values and three errors are released.
#[tokio::test(start_paused = true)]
async fn line_32_discarding_dont_leak_many_values_throws() {
    assert_eq!(all_released(3, 3).await, 1);
}

/// Four errors that are all reported, behind a reference each: released when the report has been handled.
#[tokio::test(start_paused = true)]
async fn line_33_discarding_dont_leak_class_error() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    for number in 0..4 {
        let _guard = alive.guard();
        group.spawn(async move { Err::<(), _>(anyhow::Error::new(Counted { number, _guard })) });
    }
    let errors = group.join().await.unwrap_err();
    assert_eq!((errors.len(), alive.now()), (4, 4));
    let mut seen = Vec::new();
    errors.except::<Counted>(|error| seen.push(error.number)).rest().unwrap();
    assert_eq!(seen, [0, 1, 2, 3]);
    assert_eq!((alive.now(), alive.ever()), (0, 4));
}

/// Cancelling a group does not cancel the task that runs it (R13).
#[tokio::test(start_paused = true)]
async fn line_34_test_task_group_cancel_all() {
    let alive = Alive::new();
    let guard = alive.guard();
    let outer: Plain = TaskGroup::new();
    let host = outer.spawn(async move {
        let inner: Plain = TaskGroup::new();
        inner.spawn(forever(guard));
        inner.cancel();
        inner.join().await.map_err(|_| "an orderly end")?;
        assert!(!taskgroup::is_cancelled());
        sleep(Duration::from_secs(1)).await;
        Ok("went on")
    });
    outer.join().await.unwrap();
    assert_eq!(host.into_result().unwrap(), "went on");
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// What is added after the cancel is dropped before `spawn` returns, and none of it runs (R5).
#[tokio::test(start_paused = true)]
async fn line_35_test_detach_cancel_task_group() {
    let (alive, ran) = (Alive::new(), Arc::new(AtomicUsize::new(0)));
    let group: Plain = TaskGroup::new();
    group.cancel_because("before");
    let (guard, count) = (alive.guard(), Arc::clone(&ran));
    let task = group.spawn(async move {
        let _guard = guard;
        Ok(count.fetch_add(1, Ordering::SeqCst))
    });
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    let error = task.await.unwrap_err();
    assert!(error.never_started());
    assert_eq!(error.reason().unwrap().to_string(), "before");
    group.join().await.unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// A task that is cancelled half-way sees it at its next look, and so does what runs below it.
#[tokio::test(start_paused = true)]
async fn line_36_cancel_while_child_running() {
    let (started, has_started) = oneshot::channel();
    let outer: Plain = TaskGroup::new();
    let myself = outer.spawner();
    let parent = outer.spawn(async move {
        let inner: Plain = TaskGroup::new();
        let child = inner.spawn_blocking(move |token| {
            let before = token.is_cancelled();
            until_cancelled(token, started);
            Ok((before, taskgroup::is_cancelled()))
        });
        has_started.await.map_err(|_| "not started")?;
        let before = taskgroup::is_cancelled();
        myself.cancel();
        Ok(((before, taskgroup::is_cancelled()), child))
    });
    outer.join().await.unwrap();
    let (parent_saw, child) = parent.into_result().unwrap();
    assert_eq!(parent_saw, (false, true));
    assert_eq!(child.into_result().unwrap(), (false, true));
}

/// A cancel is seen at once by whoever has the token, while the closure that it is for still runs.
#[tokio::test(start_paused = true)]
async fn line_37_handler_inflight() {
    let (tell, told) = oneshot::channel();
    let (release, released) = mpsc::channel::<()>();
    let group: Plain = TaskGroup::new();
    let task = group.spawn_blocking(move |token| {
        tell.send(token.clone()).expect("received below");
        released.recv().expect("sent below");
        Ok("to its end")
    });
    let token = told.await.unwrap();
    assert!(!token.is_cancelled() && token.check().is_ok());
    task.cancel();
    assert!(token.is_cancelled() && token.check().is_err());
    assert!(!task.is_finished());
    release.send(()).unwrap();
    assert_eq!(task.await.unwrap(), "to its end");
    group.join().await.unwrap();
}

/// Three cancels are one: the task is dropped once, and the first reason stays (R16).
#[tokio::test(start_paused = true)]
async fn line_38_handler_only_once() {
    struct OnDrop(Arc<AtomicUsize>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let drops = Arc::new(AtomicUsize::new(0));
    let handler = OnDrop(Arc::clone(&drops));
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async move {
        let _handler = handler;
        pending::<Result<(), _>>().await
    });
    settle().await;
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    task.cancel_because("one");
    task.cancel_because("two");
    group.cancel_because("three");
    group.join().await.unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    assert_eq!(task.into_result().unwrap_err().reason().unwrap().to_string(), "one");
}

/// A task that is cancelled before its first poll never runs, so it has no children either.
#[tokio::test(start_paused = true)]
async fn line_39_cancel_early() {
    let (alive, ran) = (Alive::new(), Arc::new(AtomicUsize::new(0)));
    let group: Plain = TaskGroup::new();
    let (count, guard) = (Arc::clone(&ran), alive.guard());
    let parent = group.spawn(async move {
        count.fetch_add(1, Ordering::SeqCst);
        let inner: Plain = TaskGroup::new();
        inner.spawn(forever(guard));
        inner.join().await.map_err(|_| "the inner group failed")
    });
    parent.cancel();
    assert!(parent.await.unwrap_err().never_started());
    assert_eq!((ran.load(Ordering::SeqCst), alive.now()), (0, 0));
    group.join().await.unwrap();
}

/// A group that a task opens after its own cancel is born cancelled, and so is what is spawned into it.
#[tokio::test(start_paused = true)]
async fn line_40_later_child_is_born_cancelled() {
    let alive = Alive::new();
    let guard = alive.guard();
    let outer: Plain = TaskGroup::new();
    let myself = outer.spawner();
    let seen = alive.clone();
    let parent = outer.spawn(async move {
        myself.cancel_because("before");
        let inner: Plain = TaskGroup::new();
        let child = inner.spawn(forever(guard));
        let alive_after_spawn = seen.now();
        Ok((inner.is_cancelled(), alive_after_spawn, child))
    });
    outer.join().await.unwrap();
    let (inner_was_cancelled, alive_after_spawn, child) = parent.into_result().unwrap();
    assert!(inner_was_cancelled);
    assert_eq!((alive_after_spawn, alive.ever()), (0, 1));
    let error = child.into_result().unwrap_err();
    assert!(error.never_started());
    assert_eq!(error.reason().unwrap().root().to_string(), "before");
}

/// A loop without a wait can look whether it is cancelled, and stop; what it returns counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_41_synchronous_polling() {
    let (started, has_started) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async move {
        started.send(()).expect("received below");
        while !taskgroup::is_cancelled() {
            std::thread::yield_now();
        }
        Ok("stopped by itself")
    });
    has_started.await.unwrap();
    assert!(!task.is_finished());
    task.cancel();
    assert_eq!(task.await.unwrap(), "stopped by itself");
    group.join().await.unwrap();
}

/// In a shield the cancel is not seen, and who waits for it there hears nothing; after it, it is; a sibling is cut.
#[tokio::test(start_paused = true)]
async fn line_42_cancel_shield() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let sibling = group.spawn(forever(alive.guard()));
    let (myself, others) = (group.spawner(), alive.clone());
    let task = group.spawn(async move {
        let during = shield(async {
            let handler = timeout(Duration::from_secs(1), taskgroup::cancelled());
            let cancel = async {
                let before = (taskgroup::is_cancelled(), others.now());
                myself.cancel();
                checkpoint().await;
                (before, taskgroup::is_cancelled())
            };
            let (handled, seen) = tokio::join!(handler, cancel);
            (handled.is_err(), seen, others.now())
        })
        .await;
        let between = taskgroup::is_cancelled();
        let again = shield(async {
            checkpoint().await;
            taskgroup::is_cancelled()
        })
        .await;
        Ok((during, between, again, taskgroup::is_cancelled()))
    });
    group.join().await.unwrap();
    let (during, between, again, after) = task.into_result().unwrap();
    assert_eq!(during, (true, ((false, 1), false), 0));
    assert_eq!((between, again, after), (true, false, true));
    assert!(sibling.into_result().unwrap_err().is_cancelled());
}

/// Cleanup inside cleanup, each with a shield of its own: all of it runs, and then the task is cut.
#[tokio::test(start_paused = true)]
async fn line_43_shields_in_nested_cleanup() {
    async fn step(log: &mpsc::Sender<(&'static str, bool)>, name: &'static str) {
        shield(async {
            sleep(Duration::from_secs(1)).await;
            log.send((name, taskgroup::is_cancelled())).expect("received below");
        })
        .await;
    }

    let (log, logged) = mpsc::channel();
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async move {
        let work = finally(pending::<Result<(), &'static str>>(), async |_| {
            let work = async {
                step(&log, "first").await;
                Ok::<_, ()>(())
            };
            let nested = finally(work, async |_| step(&log, "second").await);
            nested.await.expect("it has no failure");
            step(&log, "third").await;
        });
        let ended = work.await;
        log.send(("not cut", taskgroup::is_cancelled())).expect("received below");
        ended
    });
    settle().await;
    assert!(logged.try_recv().is_err());
    let begin = Instant::now();
    task.cancel();
    group.join().await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(3));
    assert_eq!(logged.iter().collect::<Vec<_>>(), [("first", false), ("second", false), ("third", false)]);
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// The end of an inner shield is not the end of the outer one.
#[tokio::test(start_paused = true)]
async fn line_44_nested_shields() {
    let (log, logged) = mpsc::channel();
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async move {
        shield(async {
            shield(sleep(Duration::from_secs(1))).await;
            log.send(taskgroup::is_cancelled()).expect("received below");
            sleep(Duration::from_secs(1)).await;
            log.send(taskgroup::is_cancelled()).expect("received below");
        })
        .await;
        log.send(taskgroup::is_cancelled()).expect("received below");
        checkpoint().await;
        log.send(false).expect("received below");
        Ok(())
    });
    settle().await;
    let begin = Instant::now();
    task.cancel();
    group.join().await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
    assert_eq!(logged.iter().collect::<Vec<_>>(), [false, false, true]);
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// A sleep in a shield takes its time, one beside it is cut at once; with a limit it takes no more than that.
#[tokio::test(start_paused = true)]
async fn line_45_sleep_in_a_shield() {
    let group: Plain = TaskGroup::new();
    let long = Duration::from_secs(10);
    let bare = group.spawn(async move {
        sleep(long).await;
        Ok(())
    });
    let shielded = group.spawn(async move {
        shield(sleep(long)).await;
        Ok("whole")
    });
    let limited = group.spawn(async move { Ok(shield_for(long / 2, sleep(long)).await.is_err()) });
    settle().await;
    let begin = Instant::now();
    group.cancel();
    assert!(bare.await.unwrap_err().is_cancelled());
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(limited.await.unwrap());
    assert_eq!(begin.elapsed(), long / 2);
    assert!(!shielded.is_finished());
    assert_eq!(shielded.await.unwrap(), "whole");
    assert_eq!(begin.elapsed(), long);
    group.join().await.unwrap();
}

/// A loop over a channel in a shield gets what is sent after the cancel; one without a shield does not.
#[tokio::test(start_paused = true)]
async fn line_46_stream_in_a_shield() {
    async fn all(mut elements: tokio::sync::mpsc::Receiver<u32>) -> Vec<u32> {
        let mut got = Vec::new();
        while let Some(element) = elements.recv().await {
            got.push(element);
        }
        got
    }

    let (to_shielded, elements) = tokio::sync::mpsc::channel(1);
    let (to_bare, bare_elements) = tokio::sync::mpsc::channel(1);
    let group: Plain = TaskGroup::new();
    let shielded = group.spawn(async move { Ok(shield(all(elements)).await) });
    let bare = group.spawn(async move { Ok(all(bare_elements).await) });
    settle().await;
    group.cancel();
    assert!(bare.await.unwrap_err().is_cancelled());
    assert!(to_bare.send(1).await.is_err());
    for element in 1..=3 {
        to_shielded.send(element).await.unwrap();
    }
    settle().await;
    assert!(!shielded.is_finished());
    drop(to_shielded);
    assert_eq!(shielded.await.unwrap(), [1, 2, 3]);
    group.join().await.unwrap();
}

/// A child that waits in a shield when its group is cancelled completes, and its value counts.
#[tokio::test(start_paused = true)]
async fn line_47_child_in_a_shield() {
    let alive = Alive::new();
    let (release, released) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let child = group.spawn(async move { shield(released).await.map_err(|_| "never released") });
    let sibling = group.spawn(forever(alive.guard()));
    settle().await;
    assert_eq!(alive.now(), 1);
    group.cancel();
    settle().await;
    assert!(!child.is_finished());
    assert_eq!(alive.now(), 0);
    release.send("completed").unwrap();
    group.join().await.unwrap();
    assert_eq!(child.into_result().unwrap(), "completed");
    assert!(sibling.into_result().unwrap_err().is_cancelled());
}

/// A group opened in a shield is not cancelled with the task around it; one opened after the shield is.
#[tokio::test(start_paused = true)]
async fn line_48_group_in_a_shield() {
    let outer: Plain = TaskGroup::new();
    let myself = outer.spawner();
    let task = outer.spawn(async move {
        let inside = shield(async {
            let inner: Plain = TaskGroup::new();
            let early = inner.spawn(async {
                sleep(Duration::from_secs(1)).await;
                Ok(taskgroup::is_cancelled())
            });
            settle().await;
            myself.cancel();
            let late = inner.spawn(async {
                sleep(Duration::from_secs(1)).await;
                Ok(taskgroup::is_cancelled())
            });
            let cancelled = inner.is_cancelled();
            inner.join().await.expect("none of them fails");
            (cancelled, early.into_result().ok(), late.into_result().ok())
        })
        .await;
        let after: Plain = TaskGroup::new();
        Ok((inside, after.is_cancelled()))
    });
    outer.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), ((false, Some(false), Some(false)), true));
}

/// A shield around the call of `spawn` alone does not cover the child: it is cut, or not started at all.
#[tokio::test(start_paused = true)]
async fn line_49_shield_around_the_spawn() {
    let alive = Alive::new();
    let (first, second) = (alive.guard(), alive.guard());
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    let task = group.spawn(async move {
        let (early,) = shield(async { (spawner.spawn(forever(first)),) }).await;
        settle().await;
        let started = !early.is_finished();
        spawner.cancel();
        let (late,) = shield(async { (spawner.spawn(forever(second)),) }).await;
        Ok((started, early, late))
    });
    group.join().await.unwrap();
    let (started, early, late) = task.into_result().unwrap();
    let (early, late) = (early.into_result().unwrap_err(), late.into_result().unwrap_err());
    assert!(started && early.is_cancelled() && !early.never_started());
    assert!(late.is_cancelled() && late.never_started());
    assert_eq!(alive.now(), 0);
}

/// Children in a shield are not shields themselves: not cancelled from outside, but cut with their own group.
#[tokio::test(start_paused = true)]
async fn line_50_shield_is_not_inherited() {
    fn here() -> (Option<NodeKind>, bool) {
        (taskgroup::current().map(|node| node.kind()), taskgroup::is_cancelled())
    }

    let outer: Plain = TaskGroup::new();
    let myself = outer.spawner();
    let task = outer.spawn(async move {
        let outside = here();
        let inside = shield(async {
            myself.cancel();
            checkpoint().await;
            let inner: Plain = TaskGroup::new();
            let child = inner.spawn(async {
                checkpoint().await;
                Ok(here())
            });
            let cut = inner.spawn(pending::<Result<(), _>>());
            let child = child.await.ok();
            inner.cancel();
            inner.join().await.expect("none of them fails");
            (here(), child, cut.into_result().is_err_and(|error| error.is_cancelled()))
        })
        .await;
        Ok((outside, inside, here()))
    });
    outer.join().await.unwrap();
    let (outside, (inside, child, cut), after) = task.into_result().unwrap();
    assert_eq!((outside, after), ((Some(NodeKind::Task), false), (Some(NodeKind::Task), true)));
    assert_eq!(inside, (Some(NodeKind::Shield), false));
    assert_eq!(child, Some((Some(NodeKind::Task), false)));
    assert!(cut);
}
