//! Conformance list `anyio-taskgroups`; what needs timeouts, scopes and shields is in `anyio_taskgroups_time.rs`.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures::{FutureExt, poll};
use taskgroup::{
    CancelReason, CancelToken, ErrorGroup, OnFailure, Ready, Spawner, StartError, Task, TaskGroup, scope,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::sleep;

#[cfg(feature = "tracing")]
use super::support::events::Events;
use super::support::{Alive, Guard, Steps};

pub(super) const LONG: Duration = Duration::from_secs(3600);

/// A child that never ends by itself.
pub(super) async fn sleeper(guard: Guard) -> Result<()> {
    let _guard = guard;
    sleep(LONG).await;
    Ok(())
}

/// A closure that answers its cancel with an error: a failure that only draining brings about.
fn fails_when_cancelled(
    begun: oneshot::Sender<()>,
    what: &'static str,
) -> impl FnOnce(&CancelToken) -> Result<()> + Send {
    move |token| {
        let _ = begun.send(());
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Err(anyhow!(what))
    }
}

/// A closure that ends when the test lets it, whatever its token says. It ends too when the test gives up.
fn held(
    begun: oneshot::Sender<()>,
    gate: mpsc::Receiver<()>,
) -> impl FnOnce(&CancelToken) -> Result<()> + Send {
    move |_token| {
        let _ = begun.send(());
        let _ = gate.recv();
        Ok(())
    }
}

async fn yield_often() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// Runs code as a task of a group, where a cancel that is left over would show.
pub(super) async fn hosted(host: impl Future<Output = Result<()>> + Send + 'static) {
    let app: TaskGroup = TaskGroup::new();
    let host = app.spawn(host);
    app.join().await.unwrap();
    host.into_result().unwrap();
}

/// Nothing is pending on the host: its waits come back.
pub(super) async fn nothing_is_pending() {
    assert!(!taskgroup::is_cancelled());
    sleep(Duration::from_secs(1)).await;
    yield_now().await;
    assert!(!taskgroup::is_cancelled());
}

fn texts(error: &ErrorGroup) -> Vec<String> {
    error.leaves().map(|leaf| leaf.error().unwrap().to_string()).collect()
}

/// An error that can be recognised as the very same one.
#[derive(Clone, Debug)]
struct Leaf(Arc<()>);

impl Leaf {
    fn new() -> (Self, Weak<()>) {
        let inner = Arc::new(());
        let weak = Arc::downgrade(&inner);
        (Self(inner), weak)
    }
}

impl std::fmt::Display for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("leaf")
    }
}

impl std::error::Error for Leaf {}

/// Into a group that has ended, `try_spawn` refuses and `spawn` gives a task that is born cancelled (R5).
#[tokio::test(start_paused = true)]
async fn line_001_test_already_closed() {
    let (group, alive) = (TaskGroup::new(), Alive::new());
    group.run(async { anyhow::Ok(()) }).await.unwrap();

    let refused = group.try_spawn(sleeper(alive.guard())).unwrap_err();
    assert!(refused.to_string().contains("not active"), "{refused}");
    assert!(matches!(refused.cause().reason(), CancelReason::GroupEnded));
    drop(refused);
    let task = group.spawn(sleeper(alive.guard()));
    assert_eq!((alive.ever(), alive.now()), (2, 0));
    assert!(task.into_result().unwrap_err().never_started());
}

/// What two children did is there at exit.
#[tokio::test(start_paused = true)]
async fn line_002_test_success() {
    let steps = Steps::default();
    let (first, second) = (steps.clone(), steps.clone());
    scope(async |tg: &TaskGroup| {
        tg.spawn(async move {
            sleep(Duration::from_secs(1)).await;
            first.mark("first");
            Ok(())
        });
        tg.spawn(async move {
            sleep(Duration::from_secs(2)).await;
            second.mark("second");
            Ok(())
        });
        assert!(steps.seen().is_empty());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(steps.seen(), ["first", "second"]);
}

/// A running child spawns a sibling, and the group waits for it.
#[tokio::test(start_paused = true)]
async fn line_004_test_start_soon_while_running() {
    let (steps, alive) = (Steps::default(), Alive::new());
    scope(async |tg: &TaskGroup| {
        let (spawner, steps, guard) = (tg.spawner(), steps.clone(), alive.guard());
        tg.spawn(async move {
            spawner.spawn(async move {
                let _guard = guard;
                sleep(Duration::from_secs(1)).await;
                steps.mark("sibling");
                Ok(())
            });
            Ok(())
        });
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(steps.seen(), ["sibling"]);
    assert_eq!(alive.now(), 0);
}

/// After an exit by failure nothing can be spawned, and the answer names the failed task (R5).
#[tokio::test(start_paused = true)]
async fn line_005_test_start_soon_after_error() {
    let (group, alive) = (TaskGroup::new(), Alive::new());
    group.task().name("broken").spawn(async { Err::<(), _>(anyhow!("broke")) });
    let error = group.run(pending::<Result<()>>()).await.unwrap_err();
    assert_eq!(texts(&error), ["broke"]);

    let refused = group.try_spawn(sleeper(alive.guard())).unwrap_err();
    assert!(
        matches!(refused.cause().reason(), CancelReason::SiblingFailed(who) if who.name() == Some("broken"))
    );
    drop(refused);
    let task = group.spawn(sleeper(alive.guard()));
    assert_eq!((alive.ever(), alive.now()), (2, 0));
    assert!(task.into_result().unwrap_err().never_started());
}

/// Into a group that has ended nothing can be started (R20).
#[tokio::test(start_paused = true)]
async fn line_006_test_start_already_closed() {
    let (group, steps) = (TaskGroup::new(), Steps::default());
    group.run(async { anyhow::Ok(()) }).await.unwrap();

    let child = steps.clone();
    let refused = group
        .start(|ready: Ready<()>| async move {
            child.mark("polled");
            ready.ready(());
            Ok(())
        })
        .await
        .unwrap_err();
    let StartError::Cancelled(cause) = refused else { panic!("{refused:?}") };
    assert!(matches!(cause.reason(), CancelReason::GroupEnded));
    assert!(steps.seen().is_empty());
}

/// A child that is ready without a value: `start` gives the unit, while the child goes on.
#[tokio::test(start_paused = true)]
async fn line_007_test_start_no_value() {
    let steps = Steps::default();
    scope(async |tg: &TaskGroup| {
        let child = steps.clone();
        let ((), _task) = tg
            .start(|ready: Ready<()>| async move {
                ready.ready(());
                yield_now().await;
                child.mark("ended");
                Ok(())
            })
            .await?;
        assert!(steps.seen().is_empty());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(steps.seen(), ["ended"]);
}

/// A start whose group is cancelled before its first poll is answered with the cancel; nothing is polled (R20).
#[tokio::test(start_paused = true)]
async fn line_011_test_no_called_started_twice() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let child = steps.clone();
    let starting = group.start(|ready: Ready<()>| async move {
        child.mark("polled");
        ready.ready(());
        Ok(())
    });
    group.cancel_because("too late");
    let refused = starting.await.unwrap_err();
    let StartError::Cancelled(cause) = refused else { panic!("{refused:?}") };
    assert_eq!(cause.to_string(), "too late");
    assert!(steps.seen().is_empty());
    group.join().await.unwrap();
}

/// `start` gives the value that the child was ready with.
#[tokio::test(start_paused = true)]
async fn line_012_test_start_with_value() {
    let port = scope(async |tg: &TaskGroup| {
        let (port, _task) = tg
            .start(|ready| async move {
                sleep(Duration::from_secs(1)).await;
                ready.ready(8080);
                Ok(())
            })
            .await?;
        Ok(port)
    })
    .await
    .unwrap();
    assert_eq!(port, 8080);
}

/// A failure before `ready` comes out of `start`, and the group knows nothing of it (R20).
#[tokio::test(start_paused = true)]
async fn line_013_test_start_crash_before_started_call() {
    let answer = scope(async |tg: &TaskGroup| {
        let failed = tg
            .start(|_ready: Ready<()>| async move {
                yield_now().await;
                Err::<(), _>(anyhow!("no port"))
            })
            .await
            .unwrap_err();
        assert!(matches!(&failed, StartError::Failed(error) if error.to_string() == "no port"), "{failed:?}");
        assert!(!tg.is_cancelled());
        Ok(tg.spawn(async { Ok(42) }).await?)
    })
    .await
    .unwrap();
    assert_eq!(answer, 42);
}

/// A failure after `ready` is the group's: `start` has given the value already.
#[tokio::test(start_paused = true)]
async fn line_014_test_start_crash_after_started_call() {
    let steps = Steps::default();
    let (go, gone) = oneshot::channel();
    let error = scope(async |tg: &TaskGroup| {
        let (value, _task) = tg
            .start(|ready: Ready<u8>| async move {
                ready.ready(2);
                gone.await?;
                Err::<(), _>(anyhow!("broke later"))
            })
            .await?;
        assert_eq!(value, 2);
        steps.mark("started");
        let _ = go.send(());
        pending::<()>().await;
        steps.mark("went on");
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(error.len(), 1);
    assert_eq!(texts(&error), ["broke later"]);
    assert!(!error.first().unwrap().is_body());
    assert_eq!(steps.seen(), ["started"]);
}

/// A child that ends without having been ready: `start` says so, and the group goes on.
#[tokio::test(start_paused = true)]
async fn line_015_test_start_no_started_call() {
    scope(async |tg: &TaskGroup| {
        let refused = tg.start(|_ready: Ready<()>| async { Ok(()) }).await.unwrap_err();
        assert!(matches!(refused, StartError::NotReady), "{refused:?}");
        assert!(!tg.is_cancelled());
        Ok(())
    })
    .await
    .unwrap();
}

/// Into a cancelled group nothing is started: `Cancelled` at once, and the group ends in order (R20).
#[tokio::test(start_paused = true)]
async fn line_016_test_start_cancelled() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    group.cancel();
    let (guard, child) = (alive.guard(), steps.clone());
    let refused = group
        .start(|_ready: Ready<()>| async move {
            child.mark("polled");
            sleeper(guard).await
        })
        .await
        .unwrap_err();
    assert!(matches!(refused, StartError::Cancelled(_)), "{refused:?}");
    assert!(steps.seen().is_empty());
    assert_eq!(alive.now(), 0);
    group.join().await.unwrap();
}

/// The runtime aborts the host of a pending start: the child, which had begun, is dropped with it (R2).
#[tokio::test(start_paused = true)]
async fn line_017_test_start_native_host_cancelled() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let (guard, child, after) = (alive.guard(), steps.clone(), steps.clone());
    let host = tokio::spawn(scope(async move |tg: &TaskGroup| {
        let started = tg.start(|ready: Ready<()>| async move {
            let _ = begun.send(());
            sleeper(guard).await?;
            child.mark("finished");
            ready.ready(());
            Ok(())
        });
        started.await?;
        after.mark("started");
        Ok(())
    }));
    has_begun.await.unwrap();
    assert_eq!(alive.now(), 1);
    host.abort();
    assert!(host.await.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
    assert!(steps.seen().is_empty());
}

/// The runtime that polls a starting child is shut down: `start`, polled elsewhere, says that it was cancelled.
#[test]
fn line_018_test_start_native_child_cancelled() {
    let children = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let host = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (alive, steps) = (Alive::new(), Steps::default());
    let group: TaskGroup = {
        let _inside = children.enter();
        TaskGroup::new()
    };
    let (begun, has_begun) = oneshot::channel();
    let (guard, child) = (alive.guard(), steps.clone());
    let started = group.start(|ready: Ready<()>| async move {
        let _guard = guard;
        let _ = begun.send(());
        pending::<()>().await;
        child.mark("finished");
        ready.ready(());
        Ok(())
    });
    let shut_down = async move {
        has_begun.await.unwrap();
        children.shutdown_background();
    };
    let (refused, ()) = host.block_on(async { tokio::join!(started, shut_down) });
    let refused = refused.unwrap_err();
    let StartError::Cancelled(cause) = refused else { panic!("{refused:?}") };
    assert!(matches!(cause.reason(), CancelReason::RuntimeShutdown));
    assert_eq!(alive.now(), 0);
    assert!(steps.seen().is_empty());
    host.block_on(group.join()).unwrap();
}

/// The runtime aborts a host that waits at its group's exit: the abort comes through, the child is gone.
#[tokio::test(start_paused = true)]
async fn line_019_test_propagate_native_cancellation_from_taskgroup() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let (guard, after) = (alive.guard(), steps.clone());
    let host = tokio::spawn(async move {
        let ended = scope(async |tg: &TaskGroup| {
            tg.spawn(async move {
                let _ = begun.send(());
                sleeper(guard).await
            });
            Ok(())
        })
        .await;
        after.mark("left");
        ended
    });
    has_begun.await.unwrap();
    assert_eq!(alive.now(), 1);
    host.abort();
    assert!(host.await.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
    assert!(steps.seen().is_empty());
}

/// A child that a cancel cannot end is waited for without spinning: nobody is polled meanwhile (R18).
#[tokio::test(start_paused = true)]
async fn line_020_test_cancel_with_nested_task_groups() {
    let outer: TaskGroup = TaskGroup::new();
    let (spawner, polls, waits) =
        (outer.spawner(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begun, has_begun) = oneshot::channel();
    let (gate, closed) = mpsc::channel();
    let in_child = Arc::clone(&waits);
    outer.spawn(async move {
        let inner: TaskGroup = TaskGroup::new();
        inner.spawn_blocking(held(begun, closed));
        let mut inner = pin!(inner.join());
        poll_fn(|cx| {
            in_child.fetch_add(1, Ordering::SeqCst);
            inner.as_mut().poll(cx)
        })
        .await?;
        Ok(())
    });
    let at_exit = Arc::clone(&polls);
    let exit = tokio::spawn(async move {
        let mut join = pin!(outer.join());
        poll_fn(|cx| {
            at_exit.fetch_add(1, Ordering::SeqCst);
            join.as_mut().poll(cx)
        })
        .await
    });
    has_begun.await.unwrap();
    yield_now().await;
    let before = waits.load(Ordering::SeqCst);
    spawner.cancel();
    for _ in 0..1000 {
        yield_now().await;
    }
    assert!(!exit.is_finished());
    assert!(polls.load(Ordering::SeqCst) < 10);
    gate.send(()).unwrap();
    exit.await.unwrap().unwrap();
    assert!(polls.load(Ordering::SeqCst) < 10);
    assert_eq!(waits.load(Ordering::SeqCst), before, "frozen at its await, so not polled again");
}

/// A group that its host leaked while it ran is ended by a cancel of the enclosing group, without spinning
/// (R3, R4).
#[tokio::test(start_paused = true)]
async fn line_021_test_no_spin_on_done_task_in_cancel_scope() {
    let (outer, alive, polls) =
        (TaskGroup::<anyhow::Error>::new(), Alive::new(), Arc::new(AtomicUsize::new(0)));
    let (spawner, guard) = (outer.spawner(), alive.guard());
    let host = outer.spawn(async move {
        let inner: &'static TaskGroup = Box::leak(Box::new(TaskGroup::new()));
        inner.spawn(sleeper(guard));
        let mut run = Box::pin(inner.run(pending::<Result<()>>()));
        assert!(poll!(run.as_mut()).is_pending());
        std::mem::forget(run);
        Ok(())
    });
    host.await.unwrap();
    let at_exit = Arc::clone(&polls);
    let exit = tokio::spawn(async move {
        let mut join = pin!(outer.join());
        poll_fn(|cx| {
            at_exit.fetch_add(1, Ordering::SeqCst);
            join.as_mut().poll(cx)
        })
        .await
    });
    yield_often().await;
    assert!(!exit.is_finished(), "the leaked group's child is waited for");
    assert_eq!(alive.now(), 1);
    spawner.cancel();
    exit.await.unwrap().unwrap();
    assert_eq!(alive.now(), 0);
    assert!(polls.load(Ordering::SeqCst) < 10);
}

/// The body of an inner group starts a child in the outer one when an inner sibling fails: the pending child
/// is cut before the inner exit, and the errors nest as the groups do.
#[tokio::test(start_paused = true)]
async fn line_023_test_start_cancel_after_error() {
    let (outer, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let error = outer
        .run(async {
            let inner: TaskGroup = TaskGroup::new();
            inner.task().name("broken").spawn(async move {
                has_begun.await?;
                Err::<(), _>(anyhow!("inner broke"))
            });
            let (guard, child) = (alive.guard(), steps.clone());
            let ended = inner.run(async {
                let started = outer.start(|ready: Ready<()>| async move {
                    let _ = begun.send(());
                    sleeper(guard).await?;
                    child.mark("finished");
                    ready.ready(());
                    Ok(())
                });
                started.await?;
                steps.mark("started");
                Ok(())
            });
            let ended = ended.await;
            assert_eq!((alive.ever(), alive.now()), (1, 0));
            assert!(!outer.is_cancelled());
            Ok(ended?)
        })
        .await
        .unwrap_err();
    assert!(steps.seen().is_empty());
    assert_eq!(error.len(), 1);
    let failure = error.first().unwrap();
    assert!(failure.is_body());
    let nested = failure.nested().unwrap();
    assert_eq!(nested.len(), 1);
    assert_eq!(nested.first().unwrap().name(), Some("broken"));
    assert_eq!(texts(&error), ["inner broke"]);
}

/// The body fails while a child sleeps: the child is cut, and only the body's error comes out.
#[tokio::test(start_paused = true)]
async fn line_024_test_host_exception() {
    let (alive, handle) = (Alive::new(), Mutex::new(None));
    let error = scope(async |tg: &TaskGroup| {
        let child = tg.spawn(sleeper(alive.guard()));
        handle.lock().unwrap().replace(child);
        yield_now().await;
        Err::<(), _>(anyhow!("body broke"))
    })
    .await
    .unwrap_err();
    assert_eq!(texts(&error), ["body broke"]);
    assert!(error.first().unwrap().is_body());
    assert_eq!(alive.now(), 0);
    let child = handle.into_inner().unwrap().unwrap().into_result().unwrap_err();
    assert!(child.is_cancelled() && !child.never_started());
}

/// A child that is cancelled before its first poll never runs, and its handle says so.
#[tokio::test(start_paused = true)]
async fn line_025_test_level_cancellation() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (guard, child) = (alive.guard(), steps.clone());
    let task = group.spawn(async move {
        child.mark("polled");
        sleeper(guard).await
    });
    group.cancel();
    group.join().await.unwrap();
    assert!(steps.seen().is_empty());
    assert_eq!(alive.now(), 0);
    assert!(task.into_result().unwrap_err().never_started());
}

/// The message of a cancel is seen by whoever it reaches: by a closure on its token, by a handle (R16).
#[tokio::test(start_paused = true)]
async fn line_027_test_cancel_with_reason() {
    let group: TaskGroup = TaskGroup::new();
    let (begun, has_begun) = oneshot::channel();
    let seen = group.spawn_blocking(move |token| {
        let _ = begun.send(());
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(token.cause().unwrap().to_string())
    });
    let cut = group.spawn(pending::<Result<()>>());
    has_begun.await.unwrap();
    yield_now().await;
    group.cancel_because("closing time");
    group.join().await.unwrap();
    assert_eq!(seen.into_result().unwrap(), "closing time");
    let cut = cut.into_result().unwrap_err();
    assert!(cut.is_cancelled() && !cut.never_started());
    assert_eq!(cut.reason().unwrap().to_string(), "closing time");
}

/// A child's failure cuts the body at its wait, and is the only failure.
#[tokio::test(start_paused = true)]
async fn line_028_test_failing_child_task_cancels_host() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(async {
            yield_now().await;
            Err::<(), _>(anyhow!("child broke"))
        });
        steps.mark("sleeping");
        sleeper(alive.guard()).await?;
        steps.mark("slept");
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(steps.seen(), ["sleeping"]);
    assert_eq!(alive.now(), 0);
    assert_eq!(error.len(), 1);
    assert_eq!(texts(&error), ["child broke"]);
}

/// The body's failure cuts a child at its wait, and is the only failure.
#[tokio::test(start_paused = true)]
async fn line_029_test_failing_host_task_cancels_children() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let (guard, child) = (alive.guard(), steps.clone());
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(async move {
            child.mark("sleeping");
            sleeper(guard).await?;
            child.mark("slept");
            Ok(())
        });
        yield_now().await;
        Err::<(), _>(anyhow!("body broke"))
    })
    .await
    .unwrap_err();
    assert_eq!(steps.seen(), ["sleeping"]);
    assert_eq!(alive.now(), 0);
    assert_eq!(error.len(), 1);
    assert_eq!(texts(&error), ["body broke"]);
}

/// A group opened inside a child is cancelled from the outer body: the rest of the inner body is skipped,
/// the child goes on after it, and the outer group succeeds.
#[tokio::test(start_paused = true)]
async fn line_030_test_cancel_scope_in_another_task() {
    let steps = Steps::default();
    let (opened, inner) = oneshot::channel::<Spawner>();
    let child = steps.clone();
    scope(async |tg: &TaskGroup| {
        tg.spawn(async move {
            let inside = child.clone();
            let ended = scope(async move |inner: &TaskGroup| {
                let _ = opened.send(inner.spawner());
                inside.mark("inside");
                pending::<()>().await;
                inside.mark("rest");
                Ok(())
            });
            assert!(ended.await.unwrap_err().is_cancelled());
            child.mark("after");
            Ok(())
        });
        inner.await?.cancel();
        nothing_is_pending().await;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(steps.seen(), ["inside", "after"]);
}

/// A cancel of the outer group reaches a child that waits inside a nested group of its own.
#[tokio::test(start_paused = true)]
async fn line_031_test_cancel_propagation() {
    let (outer, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let (guard, child) = (alive.guard(), steps.clone());
    let task = outer.spawn(async move {
        let inside = child.clone();
        let ended = scope(async move |_inner: &TaskGroup| {
            let _ = begun.send(());
            sleeper(guard).await?;
            inside.mark("rest");
            Ok(())
        })
        .await;
        child.mark("after");
        Ok(ended?)
    });
    has_begun.await.unwrap();
    assert_eq!(alive.now(), 1);
    outer.cancel();
    outer.join().await.unwrap();
    assert!(steps.seen().is_empty());
    assert_eq!(alive.now(), 0);
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// A nested group that waits at its exit is cancelled: its children get the cancel, and it goes on waiting.
#[tokio::test(start_paused = true)]
async fn line_033_test_cancel_exiting_task_group() {
    let (outer, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let (gate, closed) = mpsc::channel();
    let (guard, in_body, after) = (alive.guard(), alive.guard(), steps.clone());
    outer.spawn(async move {
        let _in_body = in_body;
        let inner: TaskGroup = TaskGroup::new();
        inner.spawn(sleeper(guard));
        inner.spawn_blocking(held(begun, closed));
        let ended = inner.run(async { Ok(()) }).await;
        after.mark("left");
        Ok(ended?)
    });
    has_begun.await.unwrap();
    assert_eq!(alive.now(), 2);
    outer.cancel();
    let mut join = pin!(outer.join());
    for _ in 0..100 {
        assert!(poll!(join.as_mut()).is_pending());
        yield_now().await;
    }
    assert_eq!(alive.now(), 1, "the sleeper is gone, the host is kept until its group has drained");
    gate.send(()).unwrap();
    join.await.unwrap();
    assert_eq!(alive.now(), 0);
    assert!(steps.seen().is_empty());
}

/// A group cancelled before it is run: its body goes as far as its first wait, and no further (R12).
#[tokio::test(start_paused = true)]
async fn line_034_test_cancel_before_entering_scope() {
    let (group, steps) = (TaskGroup::new(), Steps::default());
    group.cancel();
    let error = group
        .run(async {
            steps.mark("before the wait");
            yield_now().await;
            steps.mark("after the wait");
            anyhow::Ok(())
        })
        .await
        .unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(steps.seen(), ["before the wait"]);
}

/// Two children fail, the second one by the cancel that the first caused: both come out, in this order.
#[tokio::test(start_paused = true)]
async fn line_035_test_exception_group_children() {
    let (begun, has_begun) = oneshot::channel();
    let error = scope(async |tg: &TaskGroup| {
        tg.task().name("first").spawn(async move {
            has_begun.await?;
            Err::<(), _>(anyhow!("one"))
        });
        tg.task().name("second").spawn(async move {
            let inner: TaskGroup = TaskGroup::new();
            inner.spawn_blocking(fails_when_cancelled(begun, "two"));
            Ok(inner.join().await?)
        });
        Ok(())
    })
    .await
    .unwrap_err();
    let names: Vec<_> = error.failures().iter().map(|failure| failure.name().unwrap()).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(texts(&error), ["one", "two"]);
}

/// The body fails, and a child does so by being cancelled for it: both come out.
#[tokio::test(start_paused = true)]
async fn line_036_test_exception_group_host() {
    let (begun, has_begun) = oneshot::channel();
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(async move {
            let inner: TaskGroup = TaskGroup::new();
            inner.spawn_blocking(fails_when_cancelled(begun, "child"));
            Ok(inner.join().await?)
        });
        has_begun.await?;
        Err::<(), _>(anyhow!("body"))
    })
    .await
    .unwrap_err();
    assert_eq!(error.len(), 2);
    assert!(error.first().unwrap().is_body());
    assert_eq!(texts(&error), ["body", "child"]);
}

/// A body that cancels its own group and waits is cut, and no failure comes out (R17).
#[tokio::test(start_paused = true)]
async fn line_037_test_escaping_cancelled_exception() {
    hosted(async {
        let steps = Steps::default();
        let error = scope(async |tg: &TaskGroup| {
            tg.cancel();
            steps.mark("cancelled");
            yield_now().await;
            steps.mark("after the wait");
            Ok(())
        })
        .await
        .unwrap_err();
        assert!(error.is_cancelled() && error.is_empty());
        assert_eq!(steps.seen(), ["cancelled"]);
        nothing_is_pending().await;
        Ok(())
    })
    .await;
}

/// An inner group drains from its own cancel when the outer one is cancelled too: the code between is skipped.
#[tokio::test(start_paused = true)]
async fn line_060_test_cancelled_raises_beyond_origin_unshielded() {
    let (outer, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let (draining, is_draining) = oneshot::channel();
    let (gate, closed) = mpsc::channel();
    let running = outer.run(async {
        let inner: TaskGroup = TaskGroup::new();
        inner.spawn_blocking(held(begun, closed));
        let ended = inner.run(async {
            has_begun.await?;
            inner.cancel_because("inner");
            let _ = draining.send(());
            pending::<Result<()>>().await
        });
        let ended = ended.await;
        steps.mark("between");
        Ok(ended?)
    });
    let cancelling = async {
        is_draining.await.unwrap();
        outer.cancel_because("outer");
        yield_often().await;
        gate.send(()).unwrap();
    };
    let (ended, ()) = tokio::join!(running, cancelling);
    let error = ended.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.cause().unwrap().to_string(), "outer");
    assert!(steps.seen().is_empty());
}

/// Cancelling a group that a child opened for itself touches neither the outer group nor its body.
#[tokio::test(start_paused = true)]
async fn line_066_test_cancel_scope_in_child_task() {
    let alive = Alive::new();
    let (child, sibling, body) = scope(async |tg: &TaskGroup| {
        let guard = alive.guard();
        let child = tg.spawn(async move {
            let own: TaskGroup = TaskGroup::new();
            let cut = own.spawn(sleeper(guard));
            yield_now().await;
            own.cancel();
            own.join().await?;
            Ok(cut.into_result().unwrap_err().is_cancelled())
        });
        let sibling = tg.spawn(async {
            sleep(Duration::from_secs(1)).await;
            Ok("sibling")
        });
        let child = child.await?;
        assert_eq!(alive.now(), 0);
        nothing_is_pending().await;
        assert!(!tg.is_cancelled());
        Ok((child, sibling.await?, "body"))
    })
    .await
    .unwrap();
    assert_eq!((child, sibling, body), (true, "sibling", "body"));
}

/// A failing child cuts a sleeping sibling; only its own error comes out.
#[tokio::test(start_paused = true)]
async fn line_067_test_exception_cancels_siblings() {
    let (group, alive) = (TaskGroup::new(), Alive::new());
    let sibling = group.spawn(sleeper(alive.guard()));
    group.spawn(async {
        yield_now().await;
        Err::<(), _>(anyhow!("broke"))
    });
    let error = group.join().await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert_eq!(texts(&error), ["broke"]);
    assert_eq!(alive.now(), 0);
    let sibling = sibling.into_result().unwrap_err();
    assert!(sibling.is_cancelled() && !sibling.never_started());
}

/// A cancel passes through a group nested in the body: the code after it does not run, nothing fails.
#[tokio::test(start_paused = true)]
async fn line_068_test_cancel_cascade() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let error = scope(async |tg: &TaskGroup| {
        let spawner = tg.spawner();
        let ended = scope(async |inner: &TaskGroup| {
            inner.spawn(sleeper(alive.guard()));
            inner.spawn(async move {
                yield_now().await;
                spawner.cancel();
                Ok(())
            });
            Ok(())
        });
        let ended = ended.await;
        steps.mark("after");
        Ok(ended?)
    })
    .await
    .unwrap_err();
    assert!(error.is_cancelled());
    assert!(steps.seen().is_empty());
    assert_eq!((alive.ever(), alive.now()), (1, 0));
}

/// Spawns a closure that waits for its cancel and answers with what `answer` makes of it.
fn answers_cancel<F>(group: &TaskGroup, answer: F) -> (Task<()>, oneshot::Receiver<()>)
where
    F: FnOnce(taskgroup::Cancelled) -> anyhow::Error + Send + 'static,
{
    let (begun, has_begun) = oneshot::channel();
    let task = group.spawn_blocking(move |token| {
        let _ = begun.send(());
        loop {
            if let Err(cancelled) = token.check() {
                return Err(answer(cancelled));
            }
            std::thread::yield_now();
        }
    });
    (task, has_begun)
}

fn error_group(errors: impl IntoIterator<Item = anyhow::Error>) -> anyhow::Error {
    ErrorGroup::from_errors(errors).unwrap().into()
}

/// A group made by hand of a real error and a `Cancelled`, returned by a cancelled child: the cancel is never
/// a leaf (R9), the real error is kept as it is.
#[tokio::test(start_paused = true)]
async fn line_079_test_exception_group_filtering() {
    let group: TaskGroup = TaskGroup::new();
    let (leaf, same) = Leaf::new();
    let (task, has_begun) =
        answers_cancel(&group, |cancelled| error_group([leaf.into(), anyhow::Error::new(cancelled)]));
    has_begun.await.unwrap();
    group.cancel();
    let error = group.join().await.unwrap_err();
    assert!(task.into_result().unwrap_err().is_failed());
    let leaves: Vec<_> = error.leaves().collect();
    assert_eq!(leaves.len(), 1, "{error}");
    let kept = leaves[0].downcast_ref::<Leaf>().unwrap();
    assert!(Arc::ptr_eq(&kept.0, &same.upgrade().unwrap()));
}

/// The same one level deeper: the nesting of what is kept stays (R9).
#[tokio::test(start_paused = true)]
async fn line_080_test_nested_exception_group_filtering() {
    let group: TaskGroup = TaskGroup::new();
    let (leaf, same) = Leaf::new();
    let (_task, has_begun) = answers_cancel(&group, |cancelled| {
        let inner = error_group([leaf.into(), anyhow::Error::new(cancelled.clone())]);
        error_group([anyhow::Error::new(cancelled), inner])
    });
    has_begun.await.unwrap();
    group.cancel();
    let error = group.join().await.unwrap_err();
    let made_by_hand = error.first().unwrap().nested().unwrap();
    assert_eq!(made_by_hand.len(), 1, "{error}");
    let inner = made_by_hand.first().unwrap().nested().unwrap();
    assert_eq!(inner.len(), 1, "{error}");
    let kept = inner.first().unwrap().downcast_ref::<Leaf>().unwrap();
    assert!(Arc::ptr_eq(&kept.0, &same.upgrade().unwrap()));
}

/// A nested group whose body and child both sleep is cut by the outer cancel; nothing fails.
#[tokio::test(start_paused = true)]
async fn line_081_test_cancel_propagation_with_inner_spawn() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let error = scope(async |tg: &TaskGroup| {
        let spawner = tg.spawner();
        tg.spawn(async move {
            yield_often().await;
            spawner.cancel();
            Ok(())
        });
        let ended = scope(async |inner: &TaskGroup| {
            inner.spawn(sleeper(alive.guard()));
            sleeper(alive.guard()).await?;
            steps.mark("slept");
            Ok(())
        });
        let ended = ended.await;
        steps.mark("after");
        Ok(ended?)
    })
    .await
    .unwrap_err();
    assert!(error.is_cancelled());
    assert!(steps.seen().is_empty());
    assert_eq!((alive.ever(), alive.now()), (2, 0));
}

/// A child that waits on a primitive of another library is cut as any other.
#[tokio::test(start_paused = true)]
async fn line_085_test_cancel_native_future_tasks() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (never, foreign) = futures::channel::oneshot::channel::<()>();
    let guard = alive.guard();
    let task = group.spawn(async move {
        let _guard = guard;
        foreign.await?;
        Ok(())
    });
    yield_now().await;
    group.cancel();
    group.join().await.unwrap();
    assert_eq!(alive.now(), 0);
    assert!(never.is_canceled(), "its receiver has been dropped");
    let cut = task.into_result().unwrap_err();
    assert!(cut.is_cancelled() && !cut.never_started());
}

/// The same inside a group of the child's own.
#[tokio::test(start_paused = true)]
async fn line_086_test_cancel_native_future_tasks_cancel_scope() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (never, foreign) = futures::channel::oneshot::channel::<()>();
    let (guard, child) = (alive.guard(), steps.clone());
    group.spawn(async move {
        let ended = scope(async move |_own: &TaskGroup| {
            let _guard = guard;
            foreign.await?;
            Ok(())
        })
        .await;
        child.mark("after");
        Ok(ended?)
    });
    yield_now().await;
    assert!(!never.is_canceled());
    group.cancel();
    group.join().await.unwrap();
    assert_eq!(alive.now(), 0);
    assert!(never.is_canceled());
    assert!(steps.seen().is_empty());
}

/// Cancelling a group whose child has just ended keeps the child's value, and nothing is logged.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn line_087_test_cancel_completed_task() {
    let (log, _recording) = Events::listen();
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn(async { Ok(7) });
    task.wait_finished().await;
    group.cancel();
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), 7);
    assert_eq!(log.lost(), 0);

    // The record would have shown it: a failure that nobody is told of.
    let dropped: TaskGroup = TaskGroup::new();
    dropped.spawn(async { Err::<(), _>(anyhow!("unheard")) }).wait_finished().await;
    drop(dropped);
    assert_eq!(log.lost(), 1);
}

/// Two groups of one body are joined in any order: each stands under the node that polls it (R4).
#[tokio::test(start_paused = true)]
async fn line_090_test_cancelscope_wrong_exit_order() {
    hosted(async {
        let first: TaskGroup = TaskGroup::new();
        let second: TaskGroup = TaskGroup::new();
        let one = first.spawn(async {
            sleep(Duration::from_secs(2)).await;
            Ok(1)
        });
        let two = second.spawn(async {
            sleep(Duration::from_secs(1)).await;
            Ok(2)
        });
        first.join().await?;
        assert!(two.is_finished());
        second.join().await?;
        assert_eq!((one.into_result()?, two.into_result()?), (1, 2));
        nothing_is_pending().await;
        Ok(())
    })
    .await;
}

/// A group may be joined by another task than that which made it, and is under that one's cancel then (R4).
#[tokio::test(start_paused = true)]
async fn line_092_test_cancelscope_exit_in_wrong_task() {
    let (app, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (send, receive) = oneshot::channel::<TaskGroup>();
    let (done, is_done) = oneshot::channel::<()>();
    let guard = alive.guard();
    let maker = app.spawn(async move {
        let group: TaskGroup = TaskGroup::new();
        group.spawn(sleeper(guard));
        let _ = send.send(group);
        is_done.await?;
        Ok("untouched")
    });
    let joiner = app.spawn(async move { Ok(receive.await?.join().await?) });
    yield_often().await;
    assert_eq!(alive.now(), 1);
    joiner.cancel();
    joiner.wait_finished().await;
    assert_eq!(alive.now(), 0);
    assert!(!maker.is_finished());
    done.send(()).unwrap();
    app.join().await.unwrap();
    assert_eq!(maker.into_result().unwrap(), "untouched");
    assert!(joiner.into_result().unwrap_err().is_cancelled());
}

/// A panic comes out of nested groups with the payload it had, and nothing is logged (R10).
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn line_093_test_unhandled_exception_group() {
    #[derive(Debug, PartialEq)]
    struct Exit(u8);

    let (log, _recording) = Events::listen();
    let alive = Alive::new();
    let nested = scope(async |tg: &TaskGroup| {
        tg.spawn(sleeper(alive.guard()));
        tg.spawn(scope_error(async |inner: &TaskGroup| {
            inner.spawn::<()>(async {
                yield_now().await;
                resume_unwind(Box::new(Exit(7)))
            });
            Ok(())
        }));
        Ok(())
    });
    let payload = AssertUnwindSafe(nested).catch_unwind().await.unwrap_err();
    assert_eq!(*payload.downcast::<Exit>().unwrap(), Exit(7));
    assert_eq!(alive.now(), 0);
    assert_eq!(log.lost(), 0);
}

/// A scope as a child: its error group is the child's error.
#[cfg(feature = "tracing")]
async fn scope_error<F>(body: F) -> Result<()>
where
    F: for<'a> taskgroup::ScopeBody<'a, (), anyhow::Error, Fut: Send> + Send,
{
    Ok(scope(body).await?)
}

/// A task that another task spawns is the group's, a sibling: its path says so.
#[tokio::test(start_paused = true)]
async fn line_095_test_start_soon_parent_id() {
    let app: TaskGroup = TaskGroup::builder().name("app").build();
    app.task().name("host").spawn(async {
        let group: TaskGroup = TaskGroup::builder().name("crawl").build();
        let spawner = group.spawner();
        group.task().name("first").spawn(async move {
            spawner.task().name("second").spawn(async { Err::<(), _>(anyhow!("broke")) });
            Ok(())
        });
        Ok(group.join().await?)
    });
    let error = app.join().await.unwrap_err();
    let leaf = error.leaves().next().unwrap();
    assert_eq!(leaf.path(), "app > host > crawl > second");
}

/// An abort by the runtime goes through a group that nobody cancelled, and stays an abort.
#[tokio::test(start_paused = true)]
async fn line_097_test_uncancel_after_native_cancel() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let (of_child, of_body, after) = (alive.guard(), alive.guard(), steps.clone());
    let host = tokio::spawn(async move {
        let ended = scope(async |tg: &TaskGroup| {
            tg.spawn(sleeper(of_child));
            yield_now().await;
            let _ = begun.send(tg.spawner());
            sleeper(of_body).await
        })
        .await;
        after.mark("left");
        ended
    });
    let group = has_begun.await.unwrap();
    assert!(!group.is_cancelled());
    assert_eq!(alive.now(), 2);
    host.abort();
    assert!(host.await.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
    assert!(group.is_cancelled() && group.is_closed());
    assert!(steps.seen().is_empty());
}

/// A group's own cancel leaves nothing pending on its host (R13).
#[tokio::test(start_paused = true)]
async fn line_098_test_uncancel_after_scope_cancel() {
    hosted(async {
        let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
        group.spawn(sleeper(alive.guard()));
        let ended = group.run(async {
            yield_now().await;
            group.cancel();
            assert!(taskgroup::is_cancelled());
            pending::<Result<()>>().await
        });
        assert!(ended.await.unwrap_err().is_cancelled());
        assert_eq!(alive.now(), 0);
        nothing_is_pending().await;
        Ok(())
    })
    .await;
}

/// The host is cancelled while its group stops by its own cancel: the host's cancel survives (R13).
#[tokio::test(start_paused = true)]
async fn line_099_test_uncancel_after_scope_and_native_cancel() {
    let (app, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let (stopping, is_stopping) = oneshot::channel();
    let (gate, closed) = mpsc::channel();
    let after = steps.clone();
    let host = app.spawn(async move {
        let group: TaskGroup = TaskGroup::new();
        group.spawn_blocking(held(begun, closed));
        has_begun.await?;
        group.cancel_because("own");
        let _ = stopping.send(());
        let ended = group.join().await;
        after.mark("left");
        Ok(ended?)
    });
    is_stopping.await.unwrap();
    host.cancel_because("outside");
    yield_often().await;
    assert!(!host.is_finished());
    gate.send(()).unwrap();
    app.join().await.unwrap();
    assert!(steps.seen().is_empty());
    let cut = host.into_result().unwrap_err();
    assert_eq!(cut.reason().unwrap().to_string(), "outside");
    assert!(cut.reason().unwrap().because().is_none());
}

/// A cancel of the outer group, called inside a nested one, leaves nothing pending after both.
#[tokio::test(start_paused = true)]
async fn line_101_test_cancel_counter_nested_scopes() {
    hosted(async {
        let steps = Steps::default();
        let error = scope(async |root: &TaskGroup| {
            let ended = scope(async |_nested: &TaskGroup| {
                root.cancel();
                assert!(taskgroup::is_cancelled());
                yield_now().await;
                steps.mark("inside");
                Ok(())
            });
            let ended = ended.await;
            steps.mark("between");
            Ok(ended?)
        })
        .await
        .unwrap_err();
        assert!(error.is_cancelled());
        assert!(steps.seen().is_empty());
        nothing_is_pending().await;
        Ok(())
    })
    .await;
}

/// Cancels of children and of the group are not the host's: only the one from outside is, with its reason.
#[tokio::test(start_paused = true)]
async fn line_102_test_uncancel_after_taskgroup_cancelled() {
    let (app, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (waiting, is_waiting) = oneshot::channel();
    let guards = alive.clone();
    let host = app.spawn(async move {
        let group: TaskGroup = TaskGroup::new();
        let alone = group.spawn(sleeper(guards.guard()));
        group.spawn(sleeper(guards.guard()));
        yield_now().await;
        alone.cancel_because("alone");
        nothing_is_pending().await;
        assert_eq!(guards.now(), 1);
        group.cancel_because("own");
        group.join().await?;
        assert_eq!(guards.now(), 0);
        nothing_is_pending().await;
        let _ = waiting.send(());
        pending::<Result<()>>().await
    });
    is_waiting.await.unwrap();
    host.cancel_because("outside");
    app.join().await.unwrap();
    let cut = host.into_result().unwrap_err();
    let chain: Vec<_> = cut.reason().unwrap().chain().map(ToString::to_string).collect();
    assert_eq!(chain, ["outside"]);
}

/// Two cancels reach a host that waits for a stubborn child: the child is waited for, the first reason
/// stays (R16).
#[tokio::test(start_paused = true)]
async fn line_103_test_uncancel_after_group_aexit_native_cancel() {
    let (app, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let (gate, closed) = mpsc::channel();
    let after = steps.clone();
    let host = app.spawn(async move {
        let group: TaskGroup = TaskGroup::new();
        group.spawn_blocking(held(begun, closed));
        let ended = group.join().await;
        after.mark("left");
        Ok(ended?)
    });
    has_begun.await.unwrap();
    host.cancel_because("first");
    yield_often().await;
    host.cancel_because("second");
    yield_often().await;
    assert!(!host.is_finished());
    gate.send(()).unwrap();
    app.join().await.unwrap();
    assert!(steps.seen().is_empty());
    assert_eq!(host.into_result().unwrap_err().reason().unwrap().to_string(), "first");
}

/// A child's failure leaves nothing pending on the host.
#[tokio::test(start_paused = true)]
async fn line_104_test_uncancel_after_child_task_failed() {
    hosted(async {
        let error = scope(async |tg: &TaskGroup| {
            tg.spawn(async { Err::<(), _>(anyhow!("broke")) });
            pending::<Result<()>>().await
        })
        .await
        .unwrap_err();
        assert_eq!(texts(&error), ["broke"]);
        nothing_is_pending().await;
        Ok(())
    })
    .await;
}

/// Code that runs while its region is cut sees the cancel; after the outer group there is none.
#[tokio::test(start_paused = true)]
async fn line_105_test_uncancel_cancelled_scope_based_checkpoint() {
    struct Probe(Arc<Mutex<Vec<bool>>>);

    impl Drop for Probe {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(taskgroup::is_cancelled());
        }
    }

    hosted(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let error = scope(async |outer: &TaskGroup| {
            let _between = Probe(Arc::clone(&seen));
            let ended = scope(async |inner: &TaskGroup| {
                let (child, _body) = (Probe(Arc::clone(&seen)), Probe(Arc::clone(&seen)));
                inner.spawn(async move {
                    let _child = child;
                    pending::<Result<()>>().await
                });
                yield_now().await;
                assert!(!taskgroup::is_cancelled());
                outer.cancel();
                pending::<Result<()>>().await
            });
            Ok(ended.await?)
        })
        .await
        .unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(*seen.lock().unwrap(), [true, true, true]);
        nothing_is_pending().await;
        Ok(())
    })
    .await;
}

/// A group is run once: a second `run` panics and polls nothing; `join` after `run` is `Ok` at once.
#[tokio::test(start_paused = true)]
async fn line_106_test_taskgroup_reentry() {
    let (group, steps) = (TaskGroup::new(), Steps::default());
    group.run(async { anyhow::Ok(()) }).await.unwrap();
    let again = group.run(async {
        steps.mark("again");
        anyhow::Ok(())
    });
    let payload = AssertUnwindSafe(again).catch_unwind().await.unwrap_err();
    assert!(payload.downcast::<String>().unwrap().contains("a second time"));
    assert!(steps.seen().is_empty());
    group.join().await.unwrap();
}

/// An empty group inside a cancelled region does not wait, so it does not report the cancel.
#[tokio::test(start_paused = true)]
async fn line_107_test_cancel_before_entering_task_group() {
    let value = scope(async |tg: &TaskGroup| {
        tg.cancel();
        let value = scope(async |_empty: &TaskGroup| Ok(1)).await?;
        let empty: TaskGroup = TaskGroup::new();
        empty.join().await?;
        Ok(value)
    });
    assert_eq!(value.await.unwrap(), 1);
}

/// A `Cancelled` wrapped into a group of one and returned by a cancelled child is no failure (R9).
#[tokio::test(start_paused = true)]
async fn line_108_test_reraise_cancelled_in_excgroup() {
    let group: TaskGroup = TaskGroup::new();
    let (task, has_begun) = answers_cancel(&group, |cancelled| error_group([anyhow::Error::new(cancelled)]));
    has_begun.await.unwrap();
    group.cancel();
    group.join().await.unwrap();
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// A cancelled inner group around a start in the outer one cuts the starting child, not the outer group.
#[tokio::test(start_paused = true)]
async fn line_110_test_start_cancels_parent_scope() {
    let (outer, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let answer = outer
        .run(async {
            let inner: TaskGroup = TaskGroup::new();
            let spawner = inner.spawner();
            inner.spawn(async move {
                has_begun.await?;
                spawner.cancel();
                Ok(())
            });
            let (guard, child) = (alive.guard(), steps.clone());
            let ended = inner.run(async {
                let started = outer.start(|ready: Ready<()>| async move {
                    let _ = begun.send(());
                    sleeper(guard).await?;
                    child.mark("finished");
                    ready.ready(());
                    Ok(())
                });
                started.await?;
                steps.mark("started");
                Ok(())
            });
            assert!(ended.await.unwrap_err().is_cancelled());
            assert_eq!((alive.ever(), alive.now()), (1, 0));
            assert!(!outer.is_cancelled());
            nothing_is_pending().await;
            Ok(outer.spawn(async { Ok(42) }).await?)
        })
        .await
        .unwrap();
    assert_eq!(answer, 42);
    assert!(steps.seen().is_empty());
}

/// `start` gives the ready value and a handle, and the handle gives the final value.
#[tokio::test(start_paused = true)]
async fn line_111_test_start_return_handle_success() {
    let values = scope(async |tg: &TaskGroup| {
        let (ready, task) = tg
            .start(|ready: Ready<&str>| async move {
                ready.ready("ready");
                sleep(Duration::from_secs(1)).await;
                Ok("final")
            })
            .await?;
        assert!(!task.is_finished());
        Ok((ready, task.await?))
    })
    .await
    .unwrap();
    assert_eq!(values, ("ready", "final"));
}

/// A started child is cancelled by its handle; the ready value stays, and the group goes on.
#[tokio::test(start_paused = true)]
async fn line_112_test_start_return_handle_cancel() {
    let alive = Alive::new();
    let value = scope(async |tg: &TaskGroup| {
        let guard = alive.guard();
        let (value, task) = tg
            .start(|ready: Ready<String>| async move {
                ready.ready("ready".to_owned());
                sleeper(guard).await
            })
            .await?;
        task.cancel();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(alive.now(), 0);
        nothing_is_pending().await;
        Ok(value)
    })
    .await
    .unwrap();
    assert_eq!(value, "ready");
}

/// What keeps a group's handles keeps nothing of its error: when that is dropped, its leaves are gone.
#[tokio::test(start_paused = true)]
async fn line_113_test_exception_refcycles_direct() {
    let group: TaskGroup = TaskGroup::new();
    let (leaf, weak) = Leaf::new();
    let spawner = group.spawner();
    let task = group.spawn(async { Err::<(), _>(leaf.into()) });
    let error = group.run(pending::<Result<()>>()).await.unwrap_err();
    assert_eq!(weak.strong_count(), 1);
    drop(error);
    assert_eq!(weak.strong_count(), 0);
    assert!(spawner.is_closed() && task.into_result().unwrap_err().is_failed());
}

/// A leaf taken out of an error group is the only one that holds it.
#[tokio::test(start_paused = true)]
async fn line_114_test_exception_refcycles_errors() {
    let group: TaskGroup = TaskGroup::new();
    let (leaf, weak) = Leaf::new();
    let task = group.spawn(async { Err::<(), _>(leaf.into()) });
    let error = group.join().await.unwrap_err();
    let taken = error.into_first().unwrap().into_error().unwrap().downcast::<Leaf>().unwrap();
    assert_eq!(weak.strong_count(), 1);
    drop(taken);
    assert_eq!(weak.strong_count(), 0);
    assert!(task.is_finished());
}

/// Nothing of the host is kept by a group that has failed, whatever is kept of the group.
#[tokio::test(start_paused = true)]
async fn line_115_test_exception_refcycles_parent_task() {
    let app: TaskGroup = TaskGroup::new();
    let of_host = Arc::new(());
    let weak = Arc::downgrade(&of_host);
    let (kept, keep) = oneshot::channel();
    let host = app.spawn(async move {
        let group: TaskGroup = TaskGroup::new();
        group.spawn(async { Err::<(), _>(anyhow!("broke")) });
        let error = group.run(async { pending::<Result<()>>().await }).await.unwrap_err();
        let _ = kept.send((group.spawner(), error, Arc::strong_count(&of_host)));
        Ok(())
    });
    let (spawner, error, count) = keep.await.unwrap();
    app.join().await.unwrap();
    assert_eq!(count, 1);
    assert_eq!(weak.strong_count(), 0);
    assert!(spawner.is_closed() && host.is_finished());
    assert_eq!(error.len(), 1);
}

/// A handle and its error, with the cause of the cancel, keep nothing of the child that was cut.
#[tokio::test(start_paused = true)]
async fn line_116_test_exception_refcycles_propagate_cancellation_error() {
    let group: TaskGroup = TaskGroup::new();
    let of_child = Arc::new(());
    let weak = Arc::downgrade(&of_child);
    let task = group.spawn(async move {
        let _of_child = of_child;
        pending::<Result<()>>().await
    });
    yield_now().await;
    assert_eq!(weak.strong_count(), 1);
    group.cancel_because("enough");
    group.join().await.unwrap();
    assert!(task.is_finished());
    assert_eq!(weak.strong_count(), 0);
    assert_eq!(task.into_result().unwrap_err().reason().unwrap().to_string(), "enough");
}

/// A panic's payload belongs to whoever catches it, and to nobody else.
#[tokio::test(start_paused = true)]
async fn line_117_test_exception_refcycles_base_error() {
    let group: TaskGroup = TaskGroup::new();
    let (leaf, weak) = Leaf::new();
    let (spawner, task) = (group.spawner(), group.spawn::<()>(async { resume_unwind(Box::new(leaf)) }));
    let payload = AssertUnwindSafe(group.run(pending::<Result<()>>())).catch_unwind().await.unwrap_err();
    assert!(payload.is::<Leaf>());
    assert_eq!(weak.strong_count(), 1);
    drop(payload);
    assert_eq!(weak.strong_count(), 0);
    assert!(spawner.is_closed() && task.is_finished());
}

/// Who is cancelled for a sibling's failure can say which sibling, by name and place (R16).
#[tokio::test(start_paused = true)]
async fn line_121_test_cancel_reason() {
    let group: TaskGroup = TaskGroup::new();
    let cut = group.spawn(pending::<Result<()>>());
    let source = group.task().name("source").spawn(async {
        yield_now().await;
        Err::<(), _>(anyhow!("broke"))
    });
    let (id, location) = (source.id(), source.location());
    assert_eq!(group.join().await.unwrap_err().len(), 1);
    let cut = cut.into_result().unwrap_err();
    let CancelReason::SiblingFailed(who) = cut.reason().unwrap().reason() else { panic!("{cut}") };
    assert_eq!((who.name(), who.id(), who.location()), (Some("source"), id, location));
}

/// A handle has no result before the child's end; then it can be read, awaited, and read after exit.
#[tokio::test(start_paused = true)]
async fn line_126_test_return_value() {
    let group: TaskGroup = TaskGroup::new();
    let (awaited, kept) = (group.spawn(async { Ok(1) }), group.spawn(async { Ok(2) }));
    assert!(awaited.result().is_none() && kept.result().is_none());
    let early = group.spawn(async { Ok(3) });
    assert!(early.into_result().unwrap_err().is_unfinished());
    let value = group.run(async { Ok(awaited.await?) }).await.unwrap();
    assert_eq!(value, 1);
    assert_eq!(*kept.result().unwrap().unwrap(), 2);
    assert_eq!(kept.into_result().unwrap(), 2);
}

/// A child that panics: its handle says so, and the payload comes out of the group's `run` (R10).
#[tokio::test(start_paused = true)]
async fn line_128_test_base_exception() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn::<()>(async { resume_unwind(Box::new("exit")) });
    let payload = AssertUnwindSafe(group.run(pending::<Result<()>>())).catch_unwind().await.unwrap_err();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "exit");
    let error = task.into_result().unwrap_err();
    assert!(error.is_panicked() && !error.is_failed() && !error.is_cancelled());
}

/// Waiting for a child's end surfaces nothing of its error, and may be repeated, also after exit.
#[tokio::test(start_paused = true)]
async fn line_131_test_wait() {
    let group: TaskGroup = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let task = group.spawn(async {
        sleep(Duration::from_secs(1)).await;
        Err::<(), _>(anyhow!("broke"))
    });
    let error = group
        .run(async {
            assert!(!task.is_finished());
            task.wait_finished().await;
            assert!(task.is_finished());
            task.wait_finished().await;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(texts(&error), ["broke"]);
    task.wait_finished().await;
    assert!(task.into_result().unwrap_err().is_failed());
}

/// A task that was given no name has none: texts show its id instead.
#[tokio::test(start_paused = true)]
async fn line_132_test_task_name_default() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn(async { bail!("broke") as Result<()> });
    assert_eq!(task.name(), None);
    let error = group.join().await.unwrap_err();
    assert_eq!(error.first().unwrap().name(), None);
    assert!(error.to_string().contains(&task.id().to_string()), "{error}");
}

/// A name is seen by the handle, by the task itself, and in the group's error.
#[tokio::test(start_paused = true)]
async fn line_133_test_task_name_custom_name() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.task().name("indexer").spawn(async {
        assert_eq!(taskgroup::current().unwrap().name(), Some("indexer"));
        bail!("broke") as Result<()>
    });
    assert_eq!(task.name(), Some("indexer"));
    let error = group.join().await.unwrap_err();
    assert_eq!(error.first().unwrap().name(), Some("indexer"));
    assert!(error.to_string().contains("indexer"), "{error}");
}
