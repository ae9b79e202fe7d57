//! kotlinx.coroutines' suites for parents, children and their cancelling.

use std::future::{Future, pending};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::FutureExt;
use taskgroup::{
    CancelReason, CancelScope, ErrorGroup, OnFailure, OnPanic, StartError, Task, TaskError, TaskGroup,
    checkpoint, finally, is_cancelled, scope, shield, timeout,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::support::events::Events;
use super::support::{Alive, Guard, Steps, multi_thread};

const SECOND: Duration = Duration::from_secs(1);

async fn sleeper(guard: Guard) -> Result<()> {
    let _guard = guard;
    pending().await
}

async fn fails(text: &'static str) -> Result<()> {
    yield_now().await;
    Err(anyhow!(text))
}

/// A task that fails in answer to its cancel.
async fn fails_when_cancelled(after: Duration, text: &'static str) -> Result<()> {
    let told = async {
        while !is_cancelled() {
            sleep(SECOND / 10).await;
        }
        sleep(after).await;
    };
    told.await;
    Err(anyhow!(text))
}

async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

fn texts(error: &ErrorGroup) -> Vec<String> {
    error.leaves().map(|leaf| leaf.error().unwrap().to_string()).collect()
}

/// So many failures were logged because nobody can be told of them. Without `tracing` they are lines on standard
/// error, and no events.
fn assert_logged(log: &Events, failures: usize) {
    assert_eq!(log.lost(), if cfg!(feature = "tracing") { failures } else { 0 });
}

/// How a child of a parent under test fares: a grandchild fails in it, or is cancelled.
#[derive(Clone, Copy, PartialEq)]
enum Grandchild {
    Fails,
    IsCancelled,
}

use Grandchild::{Fails, IsCancelled};

impl Grandchild {
    /// Comes to that end inside `group`.
    fn begin(self, group: &TaskGroup) {
        match self {
            Fails => drop(group.spawn(fails("grandchild"))),
            IsCancelled => group.spawn(pending::<Result<()>>()).cancel(),
        }
    }
}

/// Runs a child and a sleeping sibling in a parent. Gives the parent's failures, and whether the sibling was cut.
async fn parent_of<Fut>(child: impl FnOnce() -> Fut) -> (Vec<String>, bool)
where
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let parent: TaskGroup = TaskGroup::new();
    let sibling = parent.spawn(sleep(SECOND).map(Ok));
    parent.spawn(child());
    let ended = parent.join().await;
    (ended.as_ref().err().map(texts).unwrap_or_default(), sibling.into_result().is_err())
}

fn unharmed() -> (Vec<String>, bool) {
    (Vec::new(), false)
}

fn harmed() -> (Vec<String>, bool) {
    (vec!["grandchild".to_owned()], true)
}

/// A child that keeps a group and hands its failure on.
#[tokio::test(start_paused = true)]
async fn line_01_job_child() {
    for (end, expected) in [(Fails, harmed()), (IsCancelled, unharmed())] {
        let child = move || async move {
            let own: TaskGroup = TaskGroup::new();
            end.begin(&own);
            Ok(own.join().await?)
        };
        assert_eq!(parent_of(child).await, expected);
    }
}

/// A child that keeps a group and its failures to itself: the parent stays active, the child has been told.
#[tokio::test(start_paused = true)]
async fn line_02_supervisor_job_child() {
    for end in [Fails, IsCancelled] {
        let child = move || async move {
            let own: TaskGroup = TaskGroup::builder().on_failure(OnFailure::Continue).build();
            end.begin(&own);
            let beside = own.spawn(sleep(SECOND).map(Ok));
            let ended = own.join().await;
            assert_eq!(ended.is_err(), end == Fails);
            beside.into_result()?;
            Ok(())
        };
        assert_eq!(parent_of(child).await, unharmed());
    }
}

#[tokio::test(start_paused = true)]
async fn line_04_launch_child() {
    for (end, expected) in [(Fails, vec!["grandchild".to_owned()]), (IsCancelled, Vec::new())] {
        let parent: TaskGroup = TaskGroup::new();
        let sibling = parent.spawn(sleep(SECOND).map(Ok));
        end.begin(&parent);
        let ended = parent.join().await;
        assert_eq!(ended.as_ref().err().map(texts).unwrap_or_default(), expected);
        assert_eq!(sibling.into_result().is_err(), end == Fails);
    }
}

/// A failure cancels the parent although the handle is kept and nobody awaits it.
#[tokio::test(start_paused = true)]
async fn line_05_async_child() {
    let parent: TaskGroup = TaskGroup::new();
    let steps = Steps::default();
    let child: Task<u32> = parent.spawn(async { Err(anyhow!("unasked")) });
    let error = parent
        .run(async {
            sleep(SECOND).await;
            steps.mark("never");
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(texts(&error), ["unasked"]);
    assert!(child.into_result().unwrap_err().is_failed());
    assert_eq!(steps.seen(), [""; 0]);
}

/// A scope with `Continue` in the child: siblings in it go on, and the parent is not harmed by what it reports.
#[tokio::test(start_paused = true)]
async fn line_08_supervisor_child() {
    for end in [Fails, IsCancelled] {
        let child = move || async move {
            let supervised =
                TaskGroup::builder().on_failure(OnFailure::Continue).scope(async |tg: &TaskGroup| {
                    end.begin(tg);
                    sleep(SECOND).await;
                    assert!(!tg.is_cancelled() && !is_cancelled());
                    Ok(())
                });
            let ended = supervised.await;
            assert_eq!(
                ended.err().map(|error| texts(&error)),
                (end == Fails).then(|| vec!["grandchild".to_owned()])
            );
            yield_now().await;
            Ok(())
        };
        assert_eq!(parent_of(child).await, unharmed());
    }
}

/// A scope's failure comes to its caller, who may handle it: until then nobody else is cancelled.
#[tokio::test(start_paused = true)]
async fn line_09_coroutine_scope_child() {
    for end in [Fails, IsCancelled] {
        let child = move || async move {
            let ended = scope(async |tg: &TaskGroup| {
                end.begin(tg);
                Ok(())
            });
            assert_eq!(ended.await.is_err(), end == Fails);
            assert!(!is_cancelled());
            yield_now().await;
            Ok(())
        };
        assert_eq!(parent_of(child).await, unharmed());
    }
}

/// The same for a cancel scope.
#[tokio::test(start_paused = true)]
async fn line_10_with_context_child() {
    for end in [Fails, IsCancelled] {
        let child = move || async move {
            let part = CancelScope::new();
            let handle = part.handle();
            let ended = part.run(async {
                if end == IsCancelled {
                    handle.cancel();
                }
                fails("grandchild").await
            });
            match (ended.await, end) {
                (Ok(failed), Fails) => assert_eq!(failed.unwrap_err().to_string(), "grandchild"),
                (cut, IsCancelled) => assert!(cut.is_err()),
                (cut, Fails) => panic!("{cut:?}"),
            }
            assert!(!is_cancelled());
            yield_now().await;
            Ok(())
        };
        assert_eq!(parent_of(child).await, unharmed());
    }
}

/// The same for a timeout: the failure comes out as it is, and time that is over is `Elapsed`.
#[tokio::test(start_paused = true)]
async fn line_11_with_timeout_child() {
    for end in [Fails, IsCancelled] {
        let child = move || async move {
            let limit = if end == Fails { SECOND } else { Duration::ZERO };
            match (timeout(limit, fails("grandchild")).await, end) {
                (Ok(failed), Fails) => assert_eq!(failed.unwrap_err().to_string(), "grandchild"),
                (elapsed, IsCancelled) => assert!(elapsed.is_err()),
                (elapsed, Fails) => panic!("{elapsed:?}"),
            }
            assert!(!is_cancelled());
            yield_now().await;
            Ok(())
        };
        assert_eq!(parent_of(child).await, unharmed());
    }
}

/// Into a cancelled group, in every way of spawning: the handle is there, has ended, and nothing hangs (R5).
#[tokio::test(start_paused = true)]
async fn line_12_async() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    group.cancel_because("too late");
    let closure = alive.guard();
    let handles: Vec<Task<()>> = vec![
        group.spawn(sleeper(alive.guard())),
        group.task().eager().spawn(sleeper(alive.guard())),
        group.task().background().spawn(sleeper(alive.guard())),
        group.task().cooperative({
            let guard = alive.guard();
            |_| sleeper(guard)
        }),
        group.spawner().spawn(sleeper(alive.guard())),
        group.spawn_blocking(move |_| {
            let _closure = closure;
            Ok(())
        }),
    ];
    assert!(handles.iter().all(Task::is_finished));
    assert_eq!((alive.ever(), alive.now()), (6, 0));
    for handle in handles {
        handle.wait_finished().await;
        let error = handle.await.unwrap_err();
        assert!(error.is_cancelled() && error.never_started());
        assert_eq!(error.reason().unwrap().to_string(), "too late");
    }
    let starting = group.start::<(), (), _>(async |_ready| unreachable!("born cancelled"));
    assert!(matches!(starting.await, Err(StartError::Cancelled(cause)) if cause.to_string() == "too late"));
    group.join().await.unwrap();
}

/// The same where nobody keeps the handle: the future is dropped before `spawn` returns, and the group ends.
#[tokio::test(start_paused = true)]
async fn line_13_launch() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    group.cancel();
    for eager in [false, true] {
        let (guard, inside) = (alive.guard(), steps.clone());
        let child = async move {
            let _guard = guard;
            inside.mark("never");
            Ok(())
        };
        match eager {
            true => drop(group.task().eager().spawn(child)),
            false => drop(group.spawn(child)),
        }
        assert_eq!(alive.now(), 0);
        assert!(group.is_empty());
    }
    group.join().await.unwrap();
    assert_eq!(steps.seen(), [""; 0]);
}

/// A task in a group, which cancels itself by what it is given, and does `work` then. Tells how it ended.
async fn in_a_cancelled_task<T, Fut>(
    work: impl FnOnce(Steps) -> Fut,
) -> (Result<T, TaskError>, Vec<&'static str>)
where
    T: Send + Sync + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let slot: Arc<OnceLock<Task<T>>> = Arc::default();
    let (itself, work) = (Arc::downgrade(&slot), work(steps.clone()));
    let task = group.spawn(async move {
        itself.upgrade().unwrap().get().unwrap().cancel_because("itself");
        work.await
    });
    assert!(slot.set(task).is_ok());
    group.join().await.unwrap();
    let task = Arc::into_inner(slot).and_then(OnceLock::into_inner).unwrap();
    (task.into_result(), steps.seen())
}

/// Every kind of nested scope, opened in a cancelled task and waiting in it: cut there.
#[tokio::test(start_paused = true)]
async fn line_16_scopes() {
    macro_rules! assert_cut {
        ($work:expr) => {{
            let (ended, seen) = in_a_cancelled_task(async |steps: Steps| {
                steps.mark("opens it");
                let work: Result<()> = $work.await;
                steps.mark("after it");
                work
            })
            .await;
            assert!(ended.unwrap_err().is_cancelled(), "{}", stringify!($work));
            assert_eq!(seen, ["opens it"], "{}", stringify!($work));
        }};
    }
    assert_cut!(scope(async |_: &TaskGroup| yield_now().map(Ok).await).map(|ended| Ok(ended?)));
    assert_cut!(TaskGroup::<anyhow::Error>::new().run(yield_now().map(Ok)).map(|ended| Ok(ended?)));
    assert_cut!(timeout(SECOND, yield_now()).map(|ended| Ok(ended?)));
    assert_cut!(CancelScope::new().run(yield_now()).map(|ended| Ok(ended?)));
    assert_cut!(finally(yield_now().map(Ok), async |_| ()));
    assert_cut!(async {
        let group: TaskGroup = TaskGroup::new();
        let child = group.spawn::<()>(async { unreachable!("born cancelled") });
        assert!(child.result().unwrap().unwrap_err().never_started());
        let _ = child.await;
        Ok(())
    });
}

#[tokio::test(start_paused = true)]
async fn line_17_cancelled_job() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (guard, inside) = (alive.guard(), steps.clone());
    let child = group.spawn(async move {
        let _guard = guard;
        inside.mark("never");
        Ok(())
    });
    assert!(!child.is_finished());
    child.cancel();
    group.join().await.unwrap();
    assert!(child.is_finished());
    let error = child.into_result().unwrap_err();
    assert!(error.is_cancelled() && error.never_started());
    assert_eq!(alive.now(), 0);
    assert_eq!(steps.seen(), [""; 0]);
}

/// A failed child has ended, as failed and not as cancelled; its group is cancelled by it.
#[tokio::test(start_paused = true)]
async fn line_18_failed_job() {
    let group: TaskGroup = TaskGroup::new();
    let child = group.spawn(fails("child"));
    assert!(!child.is_finished() && !group.is_cancelled());
    child.wait_finished().await;
    assert!(child.is_finished() && group.is_cancelled() && group.is_empty());
    let error = child.into_result().unwrap_err();
    assert!(error.is_failed() && !error.is_cancelled());
    assert_eq!(texts(&group.join().await.unwrap_err()), ["child"]);
}

/// A task whose own child failed ends as failed, and not before that child's siblings have ended.
#[tokio::test(start_paused = true)]
async fn line_19_failed_child_job() {
    let (group, began) = (TaskGroup::<anyhow::Error>::new(), Instant::now());
    let task = group.spawn(async {
        let own: TaskGroup = TaskGroup::new();
        own.spawn(fails("grandchild"));
        own.spawn(shield(sleep(SECOND)).map(Ok));
        Ok(own.join().await?)
    });
    let error = group
        .run(async {
            settle().await;
            assert!(!task.is_finished() && !group.is_cancelled());
            pending::<Result<()>>().await
        })
        .await
        .unwrap_err();
    assert_eq!(began.elapsed(), SECOND);
    assert!(task.into_result().unwrap_err().is_failed());
    assert_eq!(texts(&error), ["grandchild"]);
}

/// Runs a task that marks its way through shields, and is cancelled inside the first. Gives its error.
async fn cancelled_in_a_shield(steps: &Steps, shields: usize) -> TaskError {
    let group: TaskGroup = TaskGroup::new();
    let (inside, inner) = (steps.clone(), oneshot::channel::<()>());
    let task = group.spawn(async move {
        let mut reached = Some(inner.0);
        for _ in 0..shields {
            shield(async {
                drop(reached.take());
                sleep(SECOND).await;
                yield_now().await;
                assert!(!is_cancelled());
                inside.mark("shield done");
            })
            .await;
            inside.mark("after the shield");
        }
        yield_now().await;
        inside.mark("never");
        Ok(())
    });
    group
        .run(async {
            let _ = inner.1.await;
            task.cancel_because("my reason");
            assert!(!task.is_finished());
            Ok(())
        })
        .await
        .unwrap();
    task.into_result().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn line_20_non_cancellable() {
    let steps = Steps::default();
    assert!(cancelled_in_a_shield(&steps, 1).await.is_cancelled());
    assert_eq!(steps.seen(), ["shield done", "after the shield"]);
}

/// The requester's reason is what the handle tells.
#[tokio::test(start_paused = true)]
async fn line_21_non_cancellable_with_exception() {
    let error = cancelled_in_a_shield(&Steps::default(), 1).await;
    let cause = error.reason().unwrap();
    assert!(matches!(cause.reason(), CancelReason::Requested(Some(message)) if message == "my reason"));
    assert!(cause.because().is_none() && !error.never_started());
}

#[tokio::test(start_paused = true)]
async fn line_23_non_cancellable_twice() {
    let (steps, began) = (Steps::default(), Instant::now());
    assert!(cancelled_in_a_shield(&steps, 2).await.is_cancelled());
    assert_eq!(steps.seen(), ["shield done", "after the shield", "shield done", "after the shield"]);
    assert_eq!(began.elapsed(), 2 * SECOND);
}

/// R12: in a task that is cancelled but runs, a scope's body begins; ended without a wait it has its value, and so
/// has the task.
#[tokio::test(start_paused = true)]
async fn line_24_cancelled_coroutine_scope() {
    let (ended, seen) = in_a_cancelled_task(async |steps: Steps| {
        let inner = scope(async |_: &TaskGroup| {
            steps.mark("body");
            assert!(is_cancelled());
            Ok(42)
        });
        Ok(inner.await?)
    })
    .await;
    assert_eq!(ended.unwrap(), 42);
    assert_eq!(seen, ["body"]);
    let (ended, seen) = in_a_cancelled_task(async |steps: Steps| {
        let inner = scope(async |_: &TaskGroup| {
            steps.mark("body");
            checkpoint().await;
            steps.mark("never");
            Ok(42)
        });
        Ok(inner.await?)
    })
    .await;
    assert!(ended.unwrap_err().is_cancelled());
    assert_eq!(seen, ["body"]);
}

/// The same with `OnFailure::Continue`: what a supervisor forgives is failures, not cancels.
#[tokio::test(start_paused = true)]
async fn line_25_cancelled_supervisor_scope() {
    for waits in [false, true] {
        let (ended, seen) = in_a_cancelled_task(async move |steps: Steps| {
            let supervised =
                TaskGroup::builder().on_failure(OnFailure::Continue).scope(async |_: &TaskGroup| {
                    steps.mark("body");
                    if waits {
                        checkpoint().await;
                        steps.mark("never");
                    }
                    Ok(42)
                });
            Ok(supervised.await?)
        })
        .await;
        assert_eq!(ended.ok(), (!waits).then_some(42));
        assert_eq!(seen, ["body"]);
    }
}

/// The same for a timeout, also for one of zero.
#[tokio::test(start_paused = true)]
async fn line_26_cancelled_with_timeout() {
    for (limit, waits) in [(SECOND, false), (SECOND, true), (Duration::ZERO, false), (Duration::ZERO, true)] {
        let (ended, seen) = in_a_cancelled_task(async move |steps: Steps| {
            let limited = timeout(limit, async {
                steps.mark("block");
                if waits {
                    checkpoint().await;
                    steps.mark("never");
                }
                42
            });
            let value = limited.await;
            steps.mark("after it");
            Ok(value?)
        })
        .await;
        match waits {
            true => assert!(ended.unwrap_err().is_cancelled()),
            false => assert_eq!(ended.unwrap(), 42),
        }
        assert_eq!(seen, if waits { vec!["block"] } else { vec!["block", "after it"] });
    }
}

/// Cancelled before its first poll, a task never runs; one that has begun is cut at its wait.
#[tokio::test(start_paused = true)]
async fn line_29_cancellable_launch() {
    scope(async |tg: &TaskGroup| {
        let steps = Steps::default();
        for begun in [false, true] {
            let inside = steps.clone();
            let task = tg.spawn(async move {
                inside.mark("begun");
                yield_now().await;
                inside.mark("never");
                Ok(())
            });
            if begun {
                yield_now().await;
            }
            task.cancel();
            assert_eq!(task.await.unwrap_err().never_started(), !begun);
        }
        assert_eq!(steps.seen(), ["begun"]);
        Ok(())
    })
    .await
    .unwrap();
}

/// There is no mode in which a task runs although it was cancelled before; a first step that must be taken is
/// taken inside `spawn`, by an eager task.
#[tokio::test(start_paused = true)]
async fn line_30_atomic_launch() {
    scope(async |tg: &TaskGroup| {
        let (steps, alive) = (Steps::default(), Alive::new());
        let (inside, guard) = (steps.clone(), alive.guard());
        let task = tg.task().eager().spawn(async move {
            let _guard = guard;
            inside.mark("first step");
            yield_now().await;
            inside.mark("never");
            Ok(())
        });
        task.cancel();
        assert_eq!(steps.seen(), ["first step"]);
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled() && !error.never_started());
        assert_eq!(alive.now(), 0);
        assert_eq!(steps.seen(), ["first step"]);
        Ok(())
    })
    .await
    .unwrap();
}

/// R5: into a cancelled group an eager task is born cancelled like any other. A task that is running when it
/// cancels its group and spawns goes on to its next wait; what it spawned never runs.
#[tokio::test(start_paused = true)]
async fn line_31_undispatched_launch() {
    let (group, steps, alive) = (TaskGroup::<anyhow::Error>::new(), Steps::default(), Alive::new());
    let (spawner, inside, guard) = (group.spawner(), steps.clone(), alive.guard());
    group.spawn(async move {
        spawner.cancel();
        let child = inside.clone();
        let eager = spawner.task().eager().spawn(async move {
            let _guard = guard;
            child.mark("never");
            Ok(())
        });
        assert!(eager.into_result().unwrap_err().never_started());
        inside.mark("the parent goes on");
        yield_now().await;
        inside.mark("never");
        Ok(())
    });
    group.join().await.unwrap();
    assert_eq!(steps.seen(), ["the parent goes on"]);
    assert_eq!(alive.now(), 0);
}

/// What a waiter waits for has ended, and then the waiter is cancelled, both before it runs again: it does not.
#[tokio::test(start_paused = true)]
async fn line_34_job_join_cancellable() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (gate, opened) = oneshot::channel::<()>();
    let target = group.spawn(async move { Ok(opened.await?) });
    let (inside, slot) = (steps.clone(), Arc::new(OnceLock::<Task<()>>::new()));
    let waiter = group.spawn(async move {
        inside.mark("waits");
        target.await?;
        inside.mark("never");
        Ok(())
    });
    assert!(slot.set(waiter).is_ok());
    // It runs in the same turn as the target, before the waiter that the target wakes.
    let (canceller, inside) = (Arc::clone(&slot), steps.clone());
    group
        .run(async {
            settle().await;
            let _ = gate.send(());
            group.spawn(async move {
                inside.mark("cancels the waiter");
                canceller.get().unwrap().cancel();
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["waits", "cancels the waiter"]);
    assert!(slot.get().unwrap().result().unwrap().unwrap_err().is_cancelled());
}

/// A waiter that was handed a lock and is cancelled before it runs again does not keep the lock.
#[tokio::test(start_paused = true)]
async fn line_35_lock_cancellable() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let held = lock.try_lock().unwrap();
    let (inside, wanted) = (steps.clone(), Arc::clone(&lock));
    let waiter = group.spawn::<()>(async move {
        inside.mark("waits");
        let _held = wanted.lock().await;
        inside.mark("never");
        pending().await
    });
    let next = group.spawn({
        let lock = Arc::clone(&lock);
        async move {
            let _held = lock.lock_owned().await;
            Ok(())
        }
    });
    group
        .run(async {
            settle().await;
            drop(held);
            assert!(lock.try_lock().is_err(), "it was handed on");
            waiter.cancel();
            next.await?;
            Ok(())
        })
        .await
        .unwrap();
    assert!(waiter.into_result().unwrap_err().is_cancelled());
    assert!(lock.try_lock().is_ok());
    assert_eq!(steps.seen(), ["waits"]);
}

/// The same where the waiter stands in a `select!`.
#[tokio::test(start_paused = true)]
async fn line_36_select_lock_cancellable() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let held = lock.try_lock().unwrap();
    let (inside, wanted) = (steps.clone(), Arc::clone(&lock));
    let waiter = group.spawn::<()>(async move {
        inside.mark("waits");
        tokio::select! {
            _held = wanted.lock() => inside.mark("never"),
            () = sleep(1000 * SECOND) => inside.mark("never either"),
        }
        pending().await
    });
    group
        .run(async {
            settle().await;
            drop(held);
            assert!(lock.try_lock().is_err(), "it was handed on");
            waiter.cancel();
            assert!(waiter.await.unwrap_err().is_cancelled());
            assert!(lock.try_lock().is_ok());
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["waits"]);
}

/// Over and over: a body awaits a child that fails on another thread. The wait never comes back, since the body is
/// cancelled by then, and the scope fails with the child's error.
#[test]
fn line_37_stress_regular_join() {
    multi_thread(2).block_on(async {
        for _ in 0..10_000 {
            let group: TaskGroup<u32> = TaskGroup::new();
            let child = group.spawn(async { Err::<(), _>(7) });
            let mut came_back = false;
            let ended = group.run(async {
                let _ = child.await;
                came_back = true;
                Ok(())
            });
            let error = ended.await.unwrap_err();
            assert!(!came_back);
            assert_eq!(error.len(), 1);
            assert_eq!(error.first().unwrap().error(), Some(&7));
        }
    });
}

/// A scope in a scope, `levels` deep, with a failure at the bottom after so many yields.
fn nested_failure(levels: u32, yields: u32) -> futures::future::BoxFuture<'static, Result<()>> {
    Box::pin(async move {
        if levels == 0 {
            for _ in 0..yields {
                yield_now().await;
            }
            return Err(anyhow!(std::fmt::Error));
        }
        let group: TaskGroup = TaskGroup::new();
        group.spawn(nested_failure(levels - 1, yields));
        let ended = group.run(async move {
            match yields {
                0 => Ok(()),
                _ => pending().await,
            }
        });
        Ok(ended.await?)
    })
}

fn assert_one_leaf_below(error: &ErrorGroup, levels: usize) {
    assert_eq!((error.len(), error.leaves().count()), (1, 1));
    let leaf = error.leaves().next().unwrap();
    assert!(leaf.is::<std::fmt::Error>());
    let depth = std::iter::successors(Some(error), |group| group.first()?.nested()).count();
    assert_eq!(depth, levels);
}

/// R8: each level keeps its group; walked by its leaves, the failure at the bottom is itself, once.
#[tokio::test(start_paused = true)]
async fn line_40_exception_unwrapping() {
    let error = scope(async |_: &TaskGroup| nested_failure(4, 0).await);
    assert_one_leaf_below(&error.await.unwrap_err(), 5);
}

/// The same with every level asleep when it happens.
#[tokio::test(start_paused = true)]
async fn line_41_exception_unwrapping_with_suspensions() {
    let error = scope(async |_: &TaskGroup| nested_failure(4, 3).await);
    assert_one_leaf_below(&error.await.unwrap_err(), 5);
}

/// A child fails after the body has failed: the body's error first, the child's after it.
#[tokio::test(start_paused = true)]
async fn line_42_nested_atomic_throw() {
    let began = Instant::now();
    let error = scope(async |tg: &TaskGroup| {
        tg.task().cooperative(|_| fails_when_cancelled(SECOND, "child"));
        yield_now().await;
        Err::<(), _>(anyhow!("body"))
    });
    let error = error.await.unwrap_err();
    assert_eq!(texts(&error), ["body", "child"]);
    assert!(error.first().unwrap().is_body() && !error.failures()[1].is_body());
    assert!(began.elapsed() >= SECOND);
}

/// Root, then child, then grandchild fail, each in answer to the one before: each stands with its own level.
#[tokio::test(start_paused = true)]
async fn line_43_child_throws_during_completion() {
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn::<()>(async {
            let inner = scope(async |tg: &TaskGroup| {
                tg.task().cooperative(|_| fails_when_cancelled(3 * SECOND, "grandchild"));
                shield(sleep(SECOND)).await;
                Err(anyhow!("child"))
            });
            Ok(inner.await?)
        });
        yield_now().await;
        Err::<(), _>(anyhow!("root"))
    });
    let error = error.await.unwrap_err();
    assert_eq!(texts(&error), ["root", "child", "grandchild"]);
    assert_eq!(error.len(), 2);
    let child = error.failures()[1].nested().unwrap();
    assert_eq!(child.len(), 2);
    assert!(child.first().unwrap().is_body());
    assert!(child.failures().iter().all(|failure| failure.nested().is_none()));
}

/// A failure that nobody can be told of is logged, once.
#[tokio::test(start_paused = true)]
async fn line_44_child_exception() {
    let (log, _listening) = Events::listen();
    let group: TaskGroup = TaskGroup::new();
    let child = group.spawn(fails("root child"));
    child.wait_finished().await;
    assert_logged(&log, 0);
    drop(group);
    assert_logged(&log, 1);
    assert!(child.into_result().unwrap_err().is_failed());
    assert_logged(&log, 1);
}

/// The group failed: awaiting a child that was cut by it tells of the cancel, and whose failure it was (R16).
#[tokio::test(start_paused = true)]
async fn line_45_async_cancellation_with_cause_and_parent() {
    let group: TaskGroup = TaskGroup::new();
    let cut = group.spawn(pending::<Result<()>>());
    let failing = group.task().name("failing").spawn(fails("cause"));
    let error = group.join().await.unwrap_err();
    assert_eq!(texts(&error), ["cause"]);
    let cut = cut.await.unwrap_err();
    assert!(cut.is_cancelled() && !cut.is_failed());
    let cause = cut.reason().unwrap();
    assert!(matches!(cause.reason(), CancelReason::SiblingFailed(who) if who.id() == failing.id()));
    assert!(cut.to_string().contains("failing"));
    assert!(cause.because().is_none());
}

/// A child that was cut because the body failed is no failure, in the group or in the log.
#[tokio::test(start_paused = true)]
async fn line_46_async_cancellation_with_cause_and_parent_does_not_trigger_handling() {
    let (log, _listening) = Events::listen();
    let group: TaskGroup = TaskGroup::new();
    let cut = group.spawn(pending::<Result<()>>());
    let error = group
        .run(async {
            settle().await;
            Err::<(), _>(anyhow!("body"))
        })
        .await
        .unwrap_err();
    assert_eq!(texts(&error), ["body"]);
    assert!(cut.into_result().unwrap_err().is_cancelled());
    drop(error);
    assert_logged(&log, 0);
}

/// A child that fails while it is being cancelled alone: its error is the group's.
#[tokio::test(start_paused = true)]
async fn line_47_exception_during_cancellation() {
    let group: TaskGroup = TaskGroup::new();
    let child = group.task().cooperative(|_| fails_when_cancelled(SECOND, "while cancelled"));
    let error = group
        .run(async {
            settle().await;
            child.cancel();
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(texts(&error), ["while cancelled"]);
    assert!(!error.is_cancelled());
    assert!(child.into_result().unwrap_err().is_failed());
}

/// A child that keeps a group with a grandchild that answers its cancel with an error.
async fn with_grandchild(eager: bool, text: &'static str) -> Result<()> {
    let own: TaskGroup = TaskGroup::new();
    let grandchild = shield(fails_when_told(text));
    match eager {
        true => own.task().eager().spawn::<()>(grandchild),
        false => own.spawn(grandchild),
    };
    Ok(own.run(pending::<Result<()>>()).await?)
}

async fn fails_when_told(text: &'static str) -> Result<()> {
    sleep(5 * SECOND).await;
    Err(anyhow!(text))
}

/// A grandchild fails in answer to its parent's cancel: the error comes up through its levels.
async fn assert_grandchild_is_heard(eager: bool) {
    let group: TaskGroup = TaskGroup::new();
    let child = group.spawn(with_grandchild(eager, "grandchild"));
    let error = group
        .run(async {
            settle().await;
            child.cancel();
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(texts(&error), ["grandchild"]);
    assert_eq!(error.first().unwrap().id(), child.id());
    assert_eq!(error.first().unwrap().nested().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn line_48_exception_on_child_cancellation() {
    assert_grandchild_is_heard(false).await;
}

#[tokio::test(start_paused = true)]
async fn line_49_inner_child_exception() {
    assert_grandchild_is_heard(true).await;
}

/// The body fails with one error, a grandchild in response with another: both, in order (R8).
#[tokio::test(start_paused = true)]
async fn line_50_exception_on_child_cancellation_with_cause() {
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(with_grandchild(false, "in response"));
        settle().await;
        Err::<(), _>(anyhow!("first"))
    });
    let error = error.await.unwrap_err();
    assert_eq!(texts(&error), ["first", "in response"]);
    assert!(error.first().unwrap().is_body());
    assert_eq!(error.failures()[1].nested().unwrap().len(), 1);
}

/// The body fails first, then two children, one as a panic that is collected: all three, in order.
#[tokio::test(start_paused = true)]
async fn line_52_multiple_children_and_parent_throws_atomic() {
    let group: TaskGroup = TaskGroup::builder().on_panic(OnPanic::Collect).build();
    group.task().cooperative(|_| fails_when_cancelled(2 * SECOND, "second child"));
    group.task().cooperative::<(), _, _>(|_| async {
        let _ = fails_when_cancelled(SECOND, "").await;
        panic!("first child")
    });
    let error = group
        .run(async {
            settle().await;
            Err::<(), _>(anyhow!("body"))
        })
        .await
        .unwrap_err();
    assert_eq!(error.len(), 3);
    let [body, first, second] = error.failures() else { panic!("{error:?}") };
    assert!(body.is_body() && body.error().unwrap().to_string() == "body");
    assert_eq!(first.panic().unwrap().message(), Some("first child"));
    assert_eq!(second.error().unwrap().to_string(), "second child");
}

/// Spawned into a group that has failed, and drains: never runs (R5).
#[tokio::test(start_paused = true)]
async fn line_54_cancelled_parent() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    group.spawn(fails("child"));
    let (spawner, inside) = (group.spawner(), steps.clone());
    let draining = group.task().cooperative(|token| async move {
        while !token.is_cancelled() {
            sleep(SECOND).await;
        }
        let late = inside.clone();
        let late = spawner.spawn(async move {
            late.mark("never");
            Ok(())
        });
        let error = late.into_result().unwrap_err();
        assert!(matches!(error.reason().unwrap().reason(), CancelReason::SiblingFailed(_)));
        inside.mark("while draining");
        Ok(error.never_started())
    });
    let error = group.join().await.unwrap_err();
    assert_eq!(texts(&error), ["child"]);
    assert!(draining.into_result().unwrap());
    assert_eq!(steps.seen(), ["while draining"]);
}

/// A failure that came out of the scope is not logged as well.
#[tokio::test(start_paused = true)]
async fn line_55_exception_is_not_reported() {
    let (log, _listening) = Events::listen();
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(fails("child"));
        Ok(())
    });
    let error = error.await.unwrap_err();
    assert_eq!(texts(&error), ["child"]);
    drop(error);
    assert_logged(&log, 0);
}

/// The same through three nested levels.
#[tokio::test(start_paused = true)]
async fn line_56_exception_is_not_reported_triple_chain() {
    let (log, _listening) = Events::listen();
    let error = scope(async |_: &TaskGroup| nested_failure(3, 1).await).await.unwrap_err();
    assert_one_leaf_below(&error, 4);
    drop(error);
    assert_logged(&log, 0);
}

/// Spawned into a failed group, or into a group that stands in it: never runs.
#[tokio::test(start_paused = true)]
async fn line_57_attach_to_cancelled_job() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let (guards, inside) = (alive.clone(), steps.clone());
    let outer: TaskGroup = TaskGroup::new();
    outer.spawn(fails("outer"));
    let nested = outer.spawn(async move {
        shield(sleep(SECOND)).await;
        assert!(is_cancelled());
        let own: TaskGroup = TaskGroup::new();
        assert!(own.is_cancelled());
        let child = own.spawn(sleeper(guards.guard()));
        assert!(child.into_result().unwrap_err().never_started());
        inside.mark("spawned in vain");
        own.join().await?;
        checkpoint().await;
        inside.mark("never");
        Ok(())
    });
    let error = outer.run(pending::<Result<()>>()).await.unwrap_err();
    assert_eq!(texts(&error), ["outer"]);
    assert!(nested.into_result().unwrap_err().is_cancelled());
    assert_eq!((alive.ever(), alive.now()), (1, 0));
    assert_eq!(steps.seen(), ["spawned in vain"]);
}

/// Cancelling a child that has ended, and waiting for it: the parent runs on.
#[tokio::test(start_paused = true)]
async fn line_59_job_cancel_child() {
    let steps = Steps::default();
    scope(async |tg: &TaskGroup| {
        let inside = steps.clone();
        let child = tg.spawn(async move {
            inside.mark("child");
            Ok(())
        });
        child.wait_finished().await;
        child.cancel();
        child.wait_finished().await;
        assert!(!tg.is_cancelled() && !is_cancelled());
        yield_now().await;
        steps.mark("parent");
        Ok(child.await?)
    })
    .await
    .unwrap();
    assert_eq!(steps.seen(), ["child", "parent"]);
}

/// The same before it has started: it never runs, and the parent runs on.
#[tokio::test(start_paused = true)]
async fn line_60_job_cancel_child_atomic() {
    let steps = Steps::default();
    scope(async |tg: &TaskGroup| {
        let inside = steps.clone();
        let child = tg.spawn(async move {
            inside.mark("never");
            Ok(())
        });
        child.cancel();
        child.wait_finished().await;
        assert!(!tg.is_cancelled() && !is_cancelled());
        yield_now().await;
        steps.mark("parent");
        assert!(child.await.unwrap_err().never_started());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(steps.seen(), ["parent"]);
}

/// A cancel that comes after the end changes no value.
#[tokio::test(start_paused = true)]
async fn line_61_async_cancel_child() {
    let sum = scope(async |tg: &TaskGroup| {
        let child = tg.spawn(async { Ok(42) });
        child.wait_finished().await;
        child.cancel();
        assert_eq!(*child.result().unwrap().unwrap(), 42);
        yield_now().await;
        Ok(child.await? + 1)
    });
    assert_eq!(sum.await.unwrap(), 43);
}

/// An eager child that ended in its first step has its value, whatever comes at once after it.
#[tokio::test(start_paused = true)]
async fn line_62_async_cancel_child_atomic() {
    let sum = scope(async |tg: &TaskGroup| {
        let eager = tg.task().eager().spawn(async { Ok(42) });
        eager.cancel();
        let plain = tg.spawn(async { Ok(1) });
        plain.cancel();
        assert!(plain.await.unwrap_err().never_started());
        assert!(!tg.is_cancelled());
        Ok(eager.await? + 1)
    });
    assert_eq!(sum.await.unwrap(), 43);
}

/// A failure that is to come out of its handle alone is a value: nobody else is touched by it.
#[tokio::test(start_paused = true)]
async fn line_63_nested_async_failure() {
    let message = scope(async |tg: &TaskGroup| {
        let isolated = tg.spawn(async { Ok(fails("isolated").await) });
        let sibling = tg.spawn(sleep(SECOND).map(Ok));
        let error = isolated.await?.unwrap_err();
        assert!(!tg.is_cancelled());
        sibling.await?;
        Ok(error.to_string())
    });
    assert_eq!(message.await.unwrap(), "isolated");
}

/// Cancelling a nested group, empty or not, leaves the one around it alone (R13).
#[tokio::test(start_paused = true)]
async fn line_64_cancel_job_impl() {
    let alive = Alive::new();
    let value = scope(async |tg: &TaskGroup| {
        let sibling = tg.spawn(sleep(SECOND).map(Ok));
        for children in 0..2 {
            let nested: TaskGroup = TaskGroup::new();
            (0..children).for_each(|_| drop(nested.spawn(sleeper(alive.guard()))));
            nested.cancel();
            nested.join().await.unwrap();
            assert!(!tg.is_cancelled() && !is_cancelled());
        }
        sibling.await?;
        Ok(5)
    });
    assert_eq!(value.await.unwrap(), 5);
    assert_eq!((alive.ever(), alive.now()), (1, 0));
}

/// The first cause stands: a later cancel, with another reason or another message, does not replace it.
#[tokio::test(start_paused = true)]
async fn line_66_consecutive_cancellation() {
    let group: TaskGroup = TaskGroup::new();
    group.cancel_because("first");
    group.cancel_because("second");
    group.cancel();
    let born = group.spawn(pending::<Result<()>>());
    assert_eq!(born.into_result().unwrap_err().reason().unwrap().to_string(), "first");
    group.join().await.unwrap();
    let group: TaskGroup = TaskGroup::new();
    let cut = group.spawn(shield(sleep(SECOND)).then(|()| pending::<Result<()>>()));
    let failing = group.spawn(fails("failure"));
    let handle = group.spawner();
    let late = async {
        failing.wait_finished().await;
        handle.cancel_because("too late");
    };
    let (ended, ()) = tokio::join!(group.join(), late);
    assert_eq!(texts(&ended.unwrap_err()), ["failure"]);
    let error = cut.into_result().unwrap_err();
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::SiblingFailed(_)));
}
