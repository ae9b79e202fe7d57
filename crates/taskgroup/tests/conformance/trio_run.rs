//! Trio's suite for its core: running, cancel scopes, nurseries.

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::FutureExt;
use taskgroup::{
    CancelReason, CancelScope, ErrorGroup, NodeKind, OnFailure, StartError, Task, TaskGroup, checkpoint,
    current, deadline, finally, is_cancelled, scope, shield, shield_for, timeout, timeout_at,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::support::{Alive, Guard, Steps};

const SECOND: Duration = Duration::from_secs(1);

/// An error that can be recognised as the very same one.
#[derive(Clone, Debug)]
struct Leaf(Arc<()>);

impl Leaf {
    fn new() -> Self {
        Self(Arc::new(()))
    }

    fn is(&self, other: &Leaf) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Display for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("leaf")
    }
}

impl std::error::Error for Leaf {}

async fn sleeper(guard: Guard) -> Result<()> {
    let _guard = guard;
    pending().await
}

async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

fn texts(error: &ErrorGroup) -> Vec<String> {
    error.leaves().map(|leaf| leaf.error().unwrap().to_string()).collect()
}

/// The body runs once, and its value comes out.
#[tokio::test(start_paused = true)]
async fn line_001_basic() {
    let runs = AtomicUsize::new(0);
    let value = scope(async |tg: &TaskGroup| {
        runs.fetch_add(1, Ordering::SeqCst);
        assert!(tg.is_empty());
        Ok(8)
    });
    assert_eq!(value.await.unwrap(), 8);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// R8: the body's error comes out in a group, and in it it is the very same.
#[tokio::test(start_paused = true)]
async fn line_002_initial_task_error() {
    let leaf = Leaf::new();
    let group: TaskGroup<Leaf> = TaskGroup::new();
    let error = group.run(async { Err::<(), _>(leaf.clone()) }).await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert!(error.into_first().unwrap().into_error().unwrap().is(&leaf));
}

/// Groups nest; what would block the runtime's thread is refused instead.
#[tokio::test(start_paused = true)]
async fn line_003_run_nesting() {
    let value = scope(async |tg: &TaskGroup| {
        let task = tg.spawn(async { Ok(scope(async |_: &TaskGroup| Ok(4)).await?) });
        let slow = tg.spawn(sleep(SECOND).map(Ok));
        let refused = slow.wait().unwrap_err();
        assert!(refused.is_runtime_thread() && !refused.is_cancelled());
        Ok(task.await?)
    });
    assert_eq!(value.await.unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn line_005_nursery_main_block_error_basic() {
    let leaf = Leaf::new();
    let alive = Alive::new();
    let group: TaskGroup<Leaf> = TaskGroup::new();
    let guard = alive.guard();
    group.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    let error = group.run(async { Err::<(), _>(leaf.clone()) }).await.unwrap_err();
    assert_eq!((error.len(), alive.now()), (1, 0));
    let failure = error.first().unwrap();
    assert!(failure.is_body() && failure.error().unwrap().is(&leaf));
}

#[tokio::test(start_paused = true)]
async fn line_006_child_crash_basic() {
    let leaf = Leaf::new();
    let group: TaskGroup<Leaf> = TaskGroup::new();
    let thrown = leaf.clone();
    let child = group.spawn(async { Err::<(), _>(thrown) });
    let error = group.join().await.unwrap_err();
    assert_eq!(error.len(), 1);
    let failure = error.first().unwrap();
    assert!(!failure.is_body() && failure.id() == child.id() && failure.error().unwrap().is(&leaf));
}

/// Two children that yield take turns.
#[tokio::test(start_paused = true)]
async fn line_007_basic_interleave() {
    let (group, rounds) = (TaskGroup::<anyhow::Error>::new(), Arc::new(Mutex::new(Vec::new())));
    for name in ["a", "b"] {
        let rounds = Arc::clone(&rounds);
        group.spawn(async move {
            for round in 0..3 {
                rounds.lock().unwrap().push((round, name));
                yield_now().await;
            }
            Ok(())
        });
    }
    group.join().await.unwrap();
    let mut seen = rounds.lock().unwrap().clone();
    assert!(seen.is_sorted_by_key(|(round, _)| *round));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

/// A child that only ever looks in at checkpoints is cut at one of them when its sibling fails.
#[tokio::test(start_paused = true)]
async fn line_008_task_crash_propagation() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let inside = steps.clone();
    let looper = group.spawn::<()>(async move {
        let _dropped = inside.on_drop("looper dropped");
        loop {
            checkpoint().await;
            assert!(!is_cancelled());
        }
    });
    let crasher = group.spawn(async { Err::<(), _>(anyhow!("crashed")) });
    let error = group.join().await.unwrap_err();
    assert_eq!(texts(&error), ["crashed"]);
    assert_eq!(steps.seen(), ["looper dropped"]);
    let error = looper.into_result().unwrap_err();
    assert!(
        matches!(error.reason().unwrap().reason(), CancelReason::SiblingFailed(who) if who.id() == crasher.id())
    );
}

/// Body and child fail, the child in answer to its cancel: both errors, in order of happening (R8).
#[tokio::test(start_paused = true)]
async fn line_009_main_and_task_both_crash() {
    let group: TaskGroup = TaskGroup::new();
    group.spawn::<()>(async {
        shield(sleep(SECOND)).await;
        Err(anyhow!("child"))
    });
    let error = group
        .run(async {
            yield_now().await;
            Err::<(), _>(anyhow!("body"))
        })
        .await
        .unwrap_err();
    assert_eq!(texts(&error), ["body", "child"]);
    assert_eq!(error.failures().iter().map(|failure| failure.is_body()).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn line_011_child_crash_wakes_parent() {
    let (group, steps, began) = (TaskGroup::<anyhow::Error>::new(), Steps::default(), Instant::now());
    group.spawn(async {
        sleep(SECOND).await;
        Err::<(), _>(anyhow!("crashed"))
    });
    let error = group
        .run(async {
            let _dropped = steps.on_drop("body dropped");
            pending::<()>().await;
            steps.mark("never");
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(texts(&error), ["crashed"]);
    assert_eq!(steps.seen(), ["body dropped"]);
}

/// A task knows itself; whose child it is stands in its failure's path.
#[tokio::test(start_paused = true)]
async fn line_016_current_task() {
    assert!(current().is_none());
    let parent: TaskGroup = TaskGroup::builder().name("parent").build();
    let child = parent.task().name("child").spawn(async {
        let own: TaskGroup = TaskGroup::builder().name("own").build();
        own.task().name("grandchild").spawn(async {
            let itself = current().unwrap();
            assert_eq!((itself.kind(), itself.name()), (NodeKind::Task, Some("grandchild")));
            Err::<(), _>(anyhow!("where am I"))
        });
        assert_eq!(current().unwrap().name(), Some("child"));
        Ok(own.join().await?)
    });
    let id = child.id();
    let error = parent.join().await.unwrap_err();
    assert_eq!(error.first().unwrap().id(), id);
    assert_eq!(error.leaves().next().unwrap().path(), "parent > child > own > grandchild");
    assert!(current().is_none());
}

/// The count of live tasks rises and returns; a cancel takes effect without time passing; the next deadline is
/// there to be read.
#[tokio::test(start_paused = true)]
async fn line_019_current_statistics() {
    let began = Instant::now();
    let ended = timeout(5 * SECOND, async {
        assert_eq!(deadline(), Some(began + 5 * SECOND));
        let group: TaskGroup = TaskGroup::new();
        let handle = group.spawner();
        let ended = group.run(async {
            assert_eq!(group.len(), 0);
            let child = group.spawn(sleep(SECOND).map(Ok));
            assert_eq!((group.len(), handle.len()), (1, 1));
            let sleeper = group.spawn(pending::<Result<()>>());
            assert_eq!(group.len(), 2);
            child.await?;
            assert_eq!(group.len(), 1);
            sleeper.cancel();
            settle().await;
            assert_eq!((group.len(), began.elapsed()), (0, SECOND));
            Ok(())
        });
        ended.await.unwrap();
    });
    ended.await.unwrap();
    assert_eq!(deadline(), None);
}

/// What a `Duration` cannot say need not be refused; the longest possible is no limit, and of two kinds of limit
/// the later call counts.
#[tokio::test(start_paused = true)]
async fn line_021_cancel_scope_validation() {
    timeout(Duration::MAX, sleep(1000 * SECOND)).await.unwrap();
    shield_for(Duration::MAX, sleep(SECOND)).await.unwrap();
    let endless = CancelScope::timeout(Duration::MAX);
    let handle = endless.handle();
    endless.run(sleep(SECOND)).await.unwrap();
    assert!(!handle.cancel_called());
    let began = Instant::now();
    for at_last in [false, true] {
        let now = Instant::now();
        let builder = TaskGroup::<anyhow::Error>::builder();
        let group = match at_last {
            true => builder.timeout(SECOND).deadline(now + 2 * SECOND).build(),
            false => builder.deadline(now + 2 * SECOND).timeout(SECOND).build(),
        };
        assert!(group.run(pending::<Result<()>>()).await.unwrap_err().is_cancelled());
    }
    assert_eq!(began.elapsed(), 3 * SECOND);
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Every kind of wait, each of which would come back at once or soon.
fn kinds_of_wait() -> Vec<(&'static str, Wait)> {
    async fn ended<T: Send + 'static>(value: T) -> (TaskGroup, Task<T>) {
        let group: TaskGroup = TaskGroup::new();
        let task = group.spawn(async { Ok(value) });
        shield(group.wait_idle()).await;
        (group, task)
    }
    let group: TaskGroup = TaskGroup::new();
    vec![
        ("checkpoint", Box::pin(checkpoint())),
        ("yield", Box::pin(yield_now())),
        ("sleep", Box::pin(async { sleep(SECOND).await })),
        ("handle", Box::pin(async { assert!(ended(1).await.1.await.is_ok()) })),
        ("wait_finished", Box::pin(async { ended(1).await.1.wait_finished().await })),
        ("wait_idle", Box::pin(async { ended(1).await.0.wait_idle().await })),
        ("timeout", Box::pin(async { timeout(SECOND, yield_now()).await.unwrap() })),
        ("scope", Box::pin(async { CancelScope::new().run(yield_now()).await.unwrap() })),
        (
            "group",
            Box::pin(async {
                let group: TaskGroup = TaskGroup::new();
                let _ = group.run(yield_now().map(Ok)).await;
            }),
        ),
        (
            "finally",
            Box::pin(async {
                let _ = finally(yield_now().map(Ok::<_, ()>), async |_| ()).await;
            }),
        ),
        (
            "start",
            Box::pin(async move {
                let started = group.start(async |ready| {
                    yield_now().await;
                    ready.ready(());
                    Ok(())
                });
                let _ = started.await;
            }),
        ),
    ]
}

/// Before the cancel each wait comes back, after it none does; a shield does in both.
#[tokio::test(start_paused = true)]
async fn line_022_cancel_points() {
    for (kind, wait) in kinds_of_wait() {
        let before = CancelScope::new();
        let handle = before.handle();
        before.run(wait).await.unwrap_or_else(|_| panic!("{kind} was cut without a cancel"));
        assert!(!handle.is_cancelled());
    }
    for (kind, wait) in kinds_of_wait() {
        let (steps, cut) = (Steps::default(), CancelScope::new());
        let handle = cut.handle();
        let ended = cut.run(async {
            handle.cancel();
            shield(sleep(SECOND)).await;
            shield(checkpoint()).await;
            steps.mark("after the shields");
            wait.await;
            steps.mark("after the wait");
        });
        assert!(ended.await.is_err(), "{kind} came back");
        assert_eq!(steps.seen(), ["after the shields"], "{kind}");
    }
}

/// Children cut by an inner scope, by the outer one, one that says "cancelled" as an error, one real failure:
/// the real one comes out, in a group, and no cancellation is ever a leaf (R9).
#[tokio::test(start_paused = true)]
async fn line_024_cancel_scope_exceptiongroup_filtering() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let outer = CancelScope::new();
    let handle = outer.handle();
    let ended = outer.run(async {
        let group: TaskGroup = TaskGroup::new();
        let inner = CancelScope::new();
        let stop_inner = inner.handle();
        let inside = steps.clone();
        group.spawn(async move {
            assert!(inner.run(pending::<()>()).await.is_err());
            inside.mark("cut by the inner scope");
            Ok(())
        });
        let by_outer = group.spawn(sleeper(alive.guard()));
        group.task().cooperative::<(), _, _>(|token| async move {
            while !token.is_cancelled() {
                sleep(SECOND).await;
            }
            Ok(token.check()?)
        });
        group.spawn(async {
            shield(sleep(2 * SECOND)).await;
            Err::<(), _>(anyhow!("real"))
        });
        let ended = group.run(async {
            settle().await;
            stop_inner.cancel();
            settle().await;
            handle.cancel();
            pending::<Result<()>>().await
        });
        let ended = ended.await;
        assert!(by_outer.result().unwrap().unwrap_err().is_cancelled());
        ended
    });
    let error = ended.await.unwrap().unwrap_err();
    assert_eq!(texts(&error), ["real"]);
    assert!(error.len() == 1 && !error.is_cancelled());
    assert!(handle.cancel_called());
    assert_eq!(steps.seen(), ["cut by the inner scope"]);
    assert_eq!((alive.ever(), alive.now()), (1, 0));
}

/// A shielded scope under a cancelled one: waits come back in it; one inside it can be cancelled; its own cancel
/// is its own to absorb; behind it the code is cut. Whether it is shielded is said before it is entered.
#[tokio::test(start_paused = true)]
async fn line_026_cancel_shielding() {
    let (steps, outer) = (Steps::default(), CancelScope::new());
    let handle = outer.handle();
    let ended = outer.run(async {
        handle.cancel();
        let shielded = CancelScope::new().shielded();
        let stop = shielded.handle();
        let ended = shielded.run(async {
            checkpoint().await;
            sleep(SECOND).await;
            assert!(!is_cancelled());
            let inside = CancelScope::new();
            let stop_inside = inside.handle();
            let ended = inside.run(async {
                stop_inside.cancel();
                checkpoint().await;
                steps.mark("never");
            });
            assert!(ended.await.is_err());
            checkpoint().await;
            steps.mark("past the inner one");
            stop.cancel();
            checkpoint().await;
            steps.mark("never");
        });
        assert!(ended.await.is_err());
        steps.mark("absorbed its own");
        assert!(is_cancelled());
        checkpoint().await;
        steps.mark("never");
    });
    assert!(ended.await.is_err());
    assert_eq!(steps.seen(), ["past the inner one", "absorbed its own"]);
}

/// A task that keeps a group with a task that keeps a group, down to `depth`.
fn nest(depth: u32, alive: Alive) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    Box::pin(async move {
        let _guard = alive.guard();
        if depth == 0 {
            return pending().await;
        }
        let group: TaskGroup = TaskGroup::new();
        for _ in 0..2 {
            group.spawn(nest(depth - 1, alive.clone()));
        }
        group.spawn(nest(0, alive.clone()));
        Ok(group.join().await?)
    })
}

#[tokio::test(start_paused = true)]
async fn line_027_cancel_inheritance() {
    let (alive, began) = (Alive::new(), Instant::now());
    let group: TaskGroup = TaskGroup::new();
    let child = group.spawn(nest(4, alive.clone()));
    group
        .run(async {
            settle().await;
            assert_eq!(alive.now(), 31 + 15);
            group.cancel_because("all of you");
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((alive.ever(), alive.now()), (46, 0));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(child.into_result().unwrap_err().reason().unwrap().root().to_string(), "all of you");
}

/// Left in time, a scope never expires later; overrun, it is cut and absorbs that; a deadline moved into the past
/// cuts at the next checkpoint.
#[tokio::test(start_paused = true)]
async fn line_029_basic_timeout() {
    let (steps, began) = (Steps::default(), Instant::now());
    let in_time = CancelScope::timeout(5 * SECOND);
    let handle = in_time.handle();
    in_time.run(sleep(SECOND)).await.unwrap();
    sleep(10 * SECOND).await;
    assert!(!handle.cancel_called() && !handle.expired() && !handle.is_cancelled());
    let overrun = CancelScope::timeout(2 * SECOND);
    let handle = overrun.handle();
    assert!(overrun.run(sleep(1000 * SECOND)).await.is_err());
    assert!(handle.cancel_called() && handle.expired());
    assert_eq!(began.elapsed(), 13 * SECOND);
    let moved = CancelScope::timeout(5 * SECOND);
    let handle = moved.handle();
    let ended = moved.run(async {
        checkpoint().await;
        steps.mark("before");
        handle.reschedule(Instant::now() - SECOND).unwrap();
        steps.mark("still running");
        checkpoint().await;
        steps.mark("never");
    });
    assert!(ended.await.is_err());
    assert_eq!(steps.seen(), ["before", "still running"]);
    assert_eq!(began.elapsed(), 13 * SECOND);
}

/// A shield cannot be taken off: what it holds runs to its end while the cancel from outside stands, does not
/// claim that cancel, and the outer scope reports it.
#[tokio::test(start_paused = true)]
async fn line_031_unshield_while_cancel_propagating() {
    let (steps, outer, began) = (Steps::default(), CancelScope::new().name("outer"), Instant::now());
    let handle = outer.handle();
    let inner = CancelScope::new().shielded();
    let inner_handle = inner.handle();
    let late = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let scope = CancelScope::new();
        let _handle = scope.handle();
        scope.shielded()
    }));
    assert!(late.is_err());
    let ended = outer.run(async {
        let inside = inner.run(async {
            handle.cancel();
            sleep(SECOND).await;
            steps.mark("inner done");
        });
        inside.await.unwrap();
        assert!(is_cancelled());
        sleep(SECOND).await;
        steps.mark("never");
    });
    let error = ended.await.unwrap_err();
    assert_eq!(error.cause().target().name(), Some("outer"));
    assert!(!inner_handle.cancel_called() && !inner_handle.is_cancelled());
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(steps.seen(), ["inner done"]);
}

/// Before the entry a scope can be cancelled, shielded, be out of time for good; after the exit a cancel does
/// nothing. A second entry is no program: `run` takes the scope.
#[tokio::test(start_paused = true)]
async fn line_032_cancel_unbound() {
    let steps = Steps::default();
    let visit = async |scope: CancelScope| {
        let ended = scope.run(async {
            steps.mark("entered");
            checkpoint().await;
            steps.mark("past the checkpoint");
        });
        ended.await.is_ok()
    };
    let before = CancelScope::new();
    before.handle().cancel();
    assert!(!visit(before).await);
    // A preset shield is none against its own cancel.
    let shielded = CancelScope::new().shielded();
    shielded.handle().cancel();
    assert!(!visit(shielded).await);
    let expired = CancelScope::new();
    let handle = expired.handle();
    handle.reschedule(Instant::now() - SECOND).unwrap();
    assert!(handle.cancel_called() && handle.expired());
    assert!(handle.reschedule(Instant::now() + SECOND).is_err());
    assert!(handle.reschedule(None).is_err());
    assert!(!visit(expired).await);
    assert!(!visit(CancelScope::deadline(Instant::now() - SECOND)).await);
    assert_eq!(steps.seen(), ["entered"; 4]);
    let done = CancelScope::new();
    let handle = done.handle();
    assert!(visit(done).await);
    handle.cancel();
    assert!(!handle.cancel_called() && !handle.is_cancelled());
    assert_eq!(steps.seen()[4..], ["entered", "past the checkpoint"]);
}

/// An outer group is ended while one made in its body is open: it waits for that one's tasks, and ending the inner
/// one later is no error (R4).
#[tokio::test(start_paused = true)]
async fn line_033_cancel_scope_misnesting_1() {
    let (outer, alive, began) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Instant::now());
    let inner = outer
        .run(async {
            let inner: TaskGroup = TaskGroup::new();
            let guard = alive.guard();
            inner.spawn(async move {
                let _guard = guard;
                sleep(SECOND).await;
                Ok(())
            });
            Ok(inner)
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!((alive.ever(), alive.now()), (1, 0));
    inner.join().await.unwrap();
}

/// The same while the outer one is cancelled: the tasks of the abandoned one are cut with it, and what failed in
/// it is still there for who has it.
#[tokio::test(start_paused = true)]
async fn line_034_cancel_scope_misnesting_2() {
    let (alive, kept) = (Alive::new(), Mutex::new(None));
    let ended = timeout(SECOND, async {
        let outer: TaskGroup = TaskGroup::new();
        let body = async {
            let inner: TaskGroup = TaskGroup::builder().on_failure(OnFailure::Continue).build();
            inner.spawn(sleeper(alive.guard()));
            inner.spawn(async { Err::<(), _>(anyhow!("inside")) });
            *kept.lock().unwrap() = Some(inner);
            Ok(())
        };
        outer.run(body).await
    });
    assert!(ended.await.is_err());
    assert_eq!((alive.ever(), alive.now()), (1, 0));
    let inner = kept.into_inner().unwrap().unwrap();
    assert!(inner.is_empty() && inner.is_cancelled());
    assert_eq!(texts(&inner.join().await.unwrap_err()), ["inside"]);
}

/// An unrelated task may end a group: then it is that task's (R4). A second end is refused and changes nothing.
#[tokio::test(start_paused = true)]
async fn line_035_cancel_scope_misnesting_3() {
    let (group, alive) = (Arc::new(TaskGroup::<anyhow::Error>::new()), Alive::new());
    let child = group.spawn(sleeper(alive.guard()));
    let (app, owned) = (TaskGroup::<anyhow::Error>::new(), Arc::clone(&group));
    let unrelated = app.spawn(async move {
        owned.run(pending::<Result<()>>()).await?;
        Ok(())
    });
    app.run(async {
        settle().await;
        let second = AssertUnwindSafe(group.run(async { Ok(()) })).catch_unwind().await;
        assert!(second.is_err());
        assert!(!group.is_cancelled() && !child.is_finished() && alive.now() == 1);
        unrelated.cancel();
        assert!(unrelated.await.unwrap_err().is_cancelled());
        assert!(child.into_result().unwrap_err().is_cancelled());
        assert_eq!(alive.now(), 0);
        Ok(())
    })
    .await
    .unwrap();
}

/// A child leaks a group with a task in it: the parent group waits for that task (R3, R4); none lingers.
#[tokio::test(start_paused = true)]
async fn line_036_nursery_misnest() {
    let (group, alive, began) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Instant::now());
    let guard = alive.guard();
    let child = group.spawn(async move {
        let leaked: TaskGroup = TaskGroup::new();
        leaked.spawn(async move {
            let _guard = guard;
            sleep(SECOND).await;
            Ok(())
        });
        std::mem::forget(leaked);
        Ok(1)
    });
    group.join().await.unwrap();
    assert_eq!(child.into_result().unwrap(), 1);
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!((alive.ever(), alive.now()), (1, 0));
}

/// A body leaves without ending an inner group: its tasks are dropped with it, before the body has ended (R2).
#[tokio::test(start_paused = true)]
async fn line_037_nursery_nested_child_misnest() {
    let alive = Alive::new();
    let value = scope(async |_: &TaskGroup| {
        {
            let inner: TaskGroup = TaskGroup::new();
            inner.spawn(sleeper(alive.guard()));
            settle().await;
            assert_eq!(alive.now(), 1);
        }
        assert_eq!(alive.now(), 0);
        assert!(!is_cancelled());
        yield_now().await;
        Ok(3)
    });
    assert_eq!(value.await.unwrap(), 3);
}

/// A group escapes the child that made it: the child's group waits for its tasks, and cancels it with itself.
#[tokio::test(start_paused = true)]
async fn line_038_asyncexitstack_nursery_misnest() {
    let (group, alive, escape) =
        (TaskGroup::<anyhow::Error>::new(), Alive::new(), Arc::new(Mutex::new(None)));
    let (guard, hold) = (alive.guard(), Arc::clone(&escape));
    let child = group.spawn(async move {
        let escaped: TaskGroup = TaskGroup::new();
        escaped.spawn(sleeper(guard));
        *hold.lock().unwrap() = Some(escaped);
        Ok(())
    });
    group
        .run(async {
            child.await?;
            settle().await;
            assert_eq!(alive.now(), 1);
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(alive.now(), 0);
    let escaped = escape.lock().unwrap().take().unwrap();
    assert!(escaped.is_cancelled());
    escaped.join().await.unwrap();
}

/// The tasks of a group that is leaked outside every group end with the runtime at the latest.
#[test]
fn line_039_asyncexitstack_nursery_misnest_cleanup() {
    let (alive, runtime) = (Alive::new(), tokio::runtime::Builder::new_current_thread().build().unwrap());
    runtime.block_on(async {
        let leaked: TaskGroup = TaskGroup::new();
        leaked.spawn(sleeper(alive.guard()));
        settle().await;
        std::mem::forget(leaked);
        assert_eq!(alive.now(), 1);
    });
    assert_eq!(alive.now(), 1);
    drop(runtime);
    assert_eq!(alive.now(), 0);
}

/// A deadline of a second comes after a second, on the clock that the runtime keeps.
#[tokio::test(start_paused = true)]
async fn line_040_timekeeping() {
    let began = Instant::now();
    let limited = CancelScope::timeout(SECOND);
    let handle = limited.handle();
    assert!(limited.run(pending::<()>()).await.is_err());
    assert!(handle.expired());
    assert_eq!(began.elapsed(), SECOND);
}

/// What cannot be interrupted is not woken by a cancel; it is cut at its next wait after its own end.
#[tokio::test(start_paused = true)]
async fn line_041_failed_abort() {
    let (group, steps, began) = (TaskGroup::<anyhow::Error>::new(), Steps::default(), Instant::now());
    let (wake, stubborn) = oneshot::channel::<()>();
    let inside = steps.clone();
    let task = group.spawn(async move {
        shield(stubborn).await?;
        inside.mark("woke by itself");
        checkpoint().await;
        inside.mark("never");
        Ok(())
    });
    group
        .run(async {
            settle().await;
            task.cancel();
            sleep(SECOND).await;
            assert!(!task.is_finished() && steps.seen().is_empty());
            let _ = wake.send(());
            assert!(task.await.unwrap_err().is_cancelled());
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(steps.seen(), ["woke by itself"]);
}

/// A background task is not looser than others: when it fails, body and siblings are cut, and it is reported.
#[tokio::test(start_paused = true)]
async fn line_045_system_task_crash() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    group.spawn(sleeper(alive.guard()));
    group.task().background().name("system").spawn(async {
        sleep(SECOND).await;
        Err::<(), _>(anyhow!("crashed"))
    });
    let error = group.run(pending::<Result<()>>()).await.unwrap_err();
    assert_eq!(texts(&error), ["crashed"]);
    assert_eq!(error.first().unwrap().name(), Some("system"));
    assert_eq!(alive.now(), 0);
}

/// A checkpoint that need not wait sees that the time is over.
#[tokio::test(start_paused = true)]
async fn line_049_yield_briefly_checks_for_timeout() {
    let steps = Steps::default();
    let ended = timeout(SECOND, async {
        checkpoint().await;
        steps.mark("in time");
        // Moves the clock in this very poll.
        let _ = tokio::time::advance(2 * SECOND).now_or_never();
        steps.mark("late");
        checkpoint().await;
        steps.mark("never");
    });
    assert!(ended.await.is_err());
    assert_eq!(steps.seen(), ["in time", "late"]);
}

/// No link leads back from an error group: its chain of sources ends, whatever is nested in it.
#[tokio::test(start_paused = true)]
async fn line_055_nursery_exception_chaining_doesnt_make_context_loops() {
    let leaf = Leaf::new();
    let weak = Arc::downgrade(&leaf.0);
    let error = scope(async |tg: &TaskGroup| {
        let thrown = leaf.clone();
        tg.spawn(async move {
            let inner = scope(async |_: &TaskGroup| Err::<(), _>(anyhow!(thrown).context("inside")));
            Ok(inner.await?)
        });
        Ok(())
    });
    let error = error.await.unwrap_err();
    let first: &dyn std::error::Error = &error;
    assert!(std::iter::successors(Some(first), |error| error.source()).count() <= 2);
    drop(leaf);
    assert!(weak.upgrade().is_some());
    drop(error);
    assert!(weak.upgrade().is_none());
}

/// What is spawned runs soon, not inline; from a thread it runs on the runtime's.
#[tokio::test(start_paused = true)]
async fn line_057_trio_token_run_sync_soon_basic() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (spawner, here, there) = (group.spawner(), steps.clone(), steps.clone());
    let runtime_thread = thread::current().id();
    group
        .run(async {
            group.spawn(async move {
                here.mark("ran");
                Ok(())
            });
            steps.mark("spawned");
            yield_now().await;
            assert_eq!(steps.seen(), ["spawned", "ran"]);
            let (done, ended) = oneshot::channel();
            let thread = thread::spawn(move || {
                let task = spawner.spawn(async move {
                    assert_eq!(thread::current().id(), runtime_thread);
                    there.mark("ran for the thread");
                    Ok(())
                });
                let _ = done.send(task.wait().is_ok());
            });
            assert!(ended.await?);
            thread.join().unwrap();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["spawned", "ran", "ran for the thread"]);
}

/// Into a group that has ended: `try_spawn` refuses, `spawn` gives a task that is born cancelled (R5).
#[tokio::test(start_paused = true)]
async fn line_058_trio_token_run_sync_soon_too_late() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let spawner = group.spawner();
    group.join().await.unwrap();
    let (one, other) = (alive.guard(), alive.guard());
    let late = thread::spawn(move || {
        assert!(spawner.try_spawn(sleeper(one)).is_err());
        spawner.spawn(sleeper(other)).into_result().unwrap_err()
    });
    assert!(late.join().unwrap().never_started());
    assert_eq!((alive.ever(), alive.now()), (2, 0));
}

/// Notes its number.
fn note(group: &taskgroup::Spawner, seen: &Arc<Mutex<Vec<u32>>>, number: u32) {
    let seen = Arc::clone(seen);
    group.spawn(async move {
        seen.lock().unwrap().push(number);
        Ok(())
    });
}

/// Every spawn is a task of its own: nothing is coalesced, and the order is kept.
#[tokio::test(start_paused = true)]
async fn line_059_trio_token_run_sync_soon_idempotent() {
    let (group, seen) = (TaskGroup::<anyhow::Error>::new(), Arc::default());
    for number in [1, 2, 1, 3, 1] {
        note(&group.spawner(), &seen, number);
    }
    assert_eq!(group.len(), 5);
    group.join().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [1, 2, 1, 3, 1]);
}

/// A task that runs may spawn the same again, also as the last one of its group (R6).
#[tokio::test(start_paused = true)]
async fn line_060_trio_token_run_sync_soon_idempotent_requeue() {
    fn again(spawner: &taskgroup::Spawner, runs: &Arc<AtomicUsize>) {
        let (inner, count) = (spawner.clone(), Arc::clone(runs));
        spawner.spawn(async move {
            if count.fetch_add(1, Ordering::SeqCst) < 9 {
                again(&inner, &count);
            }
            Ok(())
        });
    }
    let (group, runs) = (TaskGroup::<anyhow::Error>::new(), Arc::default());
    again(&group.spawner(), &runs);
    group.join().await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 10);
}

/// A task spawned just before the body fails never runs, and says so (R5); nothing of it is left.
#[tokio::test(start_paused = true)]
async fn line_061_trio_token_run_sync_soon_after_main_crash() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (guard, inside, spawner) = (alive.guard(), steps.clone(), group.spawner());
    let mut queued = None;
    let error = group
        .run(async {
            queued = Some(spawner.spawn(async move {
                let _guard = guard;
                inside.mark("never");
                Ok(())
            }));
            Err::<(), _>(anyhow!("main"))
        })
        .await
        .unwrap_err();
    assert_eq!(texts(&error), ["main"]);
    assert!(queued.unwrap().into_result().unwrap_err().never_started());
    assert_eq!(alive.now(), 0);
    assert_eq!(steps.seen(), [""; 0]);
}

/// A failing task cuts the body and takes those behind it along (R7); under `Continue` it stands in nobody's way.
#[tokio::test(start_paused = true)]
async fn line_062_trio_token_run_sync_soon_crashes() {
    for (on_failure, ran) in [(OnFailure::Cancel, 0), (OnFailure::Continue, 1)] {
        let group: TaskGroup = TaskGroup::builder().on_failure(on_failure).build();
        let (steps, seen) = (Steps::default(), Arc::default());
        let error = group
            .run(async {
                group.spawn(async { Err::<(), _>(anyhow!("crashed")) });
                note(&group.spawner(), &seen, 7);
                sleep(SECOND).await;
                steps.mark("body went on");
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(texts(&error), ["crashed"]);
        assert_eq!((seen.lock().unwrap().len(), steps.seen().len()), (ran, ran));
    }
}

/// From a thread too, tasks begin in the order in which they were spawned.
#[tokio::test(start_paused = true)]
async fn line_063_trio_token_run_sync_soon_fifo() {
    let (group, seen) = (TaskGroup::<anyhow::Error>::new(), Arc::default());
    let (spawner, noted) = (group.spawner(), Arc::clone(&seen));
    let queue = move || (0..100).for_each(|number| note(&spawner, &noted, number));
    thread::spawn(queue).join().unwrap();
    group.join().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

/// Tasks that spawn their successors without end do not starve the others.
#[tokio::test(start_paused = true)]
async fn line_064_trio_token_run_sync_soon_starvation_resistance() {
    fn on_and_on(spawner: &taskgroup::Spawner, runs: &Arc<AtomicUsize>) {
        let (inner, count) = (spawner.clone(), Arc::clone(runs));
        spawner.spawn(async move {
            count.fetch_add(1, Ordering::SeqCst);
            on_and_on(&inner, &count);
            Ok(())
        });
    }
    let (group, runs) = (TaskGroup::<anyhow::Error>::new(), Arc::default());
    on_and_on(&group.spawner(), &runs);
    let other = group.spawn(async {
        for _ in 0..100 {
            yield_now().await;
        }
        Ok(())
    });
    group
        .run(async {
            other.await?;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert!(runs.load(Ordering::SeqCst) >= 100);
    assert!(group.is_empty());
}

/// A thread that spawns without a pause is served until the group ends, and then refused; each task that was
/// accepted has run or was cancelled, none is left.
#[tokio::test(start_paused = true)]
async fn line_065_trio_token_run_sync_soon_threaded_stress_test() {
    let (group, alive, ran) =
        (TaskGroup::<anyhow::Error>::new(), Alive::new(), Arc::new(AtomicUsize::new(0)));
    let (spawner, guards, count) = (group.spawner(), alive.clone(), Arc::clone(&ran));
    let hammer = thread::spawn(move || {
        let mut accepted = Vec::new();
        loop {
            let (guard, count) = (guards.guard(), Arc::clone(&count));
            let task = spawner.try_spawn(async move {
                let _guard = guard;
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            match task {
                Ok(task) => accepted.push(task),
                Err(_refused) => return accepted,
            }
        }
    });
    group
        .run(async {
            while ran.load(Ordering::SeqCst) < 1000 {
                yield_now().await;
            }
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert!(group.is_empty());
    let accepted = hammer.join().unwrap();
    let values = accepted.into_iter().map(Task::into_result);
    let (done, cut): (Vec<_>, Vec<_>) = values.partition(|value| value.is_ok());
    assert_eq!(done.len(), ran.load(Ordering::SeqCst));
    assert!(done.len() >= 1000);
    assert!(cut.into_iter().all(|cut| cut.unwrap_err().never_started()));
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn line_066_trio_token_run_sync_soon_massive_queue() {
    let (group, seen) = (TaskGroup::<anyhow::Error>::new(), Arc::default());
    let spawner = group.spawner();
    (0..1000).for_each(|number| note(&spawner, &seen, number));
    assert_eq!(group.len(), 1000);
    group.join().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (0..1000).collect::<Vec<_>>());
}

/// Work that takes its time to be cancelled ends cancelled all the same, and is waited for.
#[tokio::test(start_paused = true)]
async fn line_068_slow_abort_basic() {
    let (steps, began, slow) = (Steps::default(), Instant::now(), CancelScope::new());
    let handle = slow.handle();
    let ended = slow.run(async {
        let work = async {
            handle.cancel();
            pending::<Result<()>>().await
        };
        let _ = finally(work, async |_| {
            sleep(2 * SECOND).await;
            steps.mark("undone");
        })
        .await;
        steps.mark("never");
    });
    assert!(ended.await.is_err());
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(steps.seen(), ["undone"]);
}

/// Who stands where is told by a failure's path, also after the exit; a started child stands in its group, not
/// under its starter.
#[tokio::test(start_paused = true)]
async fn line_070_task_tree_introspection() {
    let app: TaskGroup = TaskGroup::builder().name("app").build();
    let spawner = app.spawner();
    let (go, gone) = oneshot::channel();
    app.task().name("starter").spawn(async move {
        let starting = spawner.task().name("server").start(async move |ready| {
            assert_eq!(current().unwrap().name(), Some("server"));
            ready.ready(());
            let own: TaskGroup = TaskGroup::builder().name("own").build();
            own.task().name("worker").spawn(async {
                gone.await?;
                Err::<(), _>(anyhow!("broke"))
            });
            Ok(own.join().await?)
        });
        let ((), server) = starting.await?;
        assert_eq!(server.name(), Some("server"));
        Ok(())
    });
    let error = app
        .run(async {
            settle().await;
            let _ = go.send(());
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.first().unwrap().path(), "app > server");
    assert_eq!(error.leaves().next().unwrap().path(), "app > server > own > worker");
}

/// Names can be given; who has none is told by its number and the place where it was spawned.
#[tokio::test(start_paused = true)]
async fn line_072_spawn_name() {
    let group: TaskGroup = TaskGroup::builder().name("group").build();
    assert_eq!(group.name(), Some("group"));
    let named = group.task().name(format!("child {}", 1)).spawn(async { Ok(current().unwrap()) });
    let (line, unnamed) = (line!(), group.spawn(async { Ok(current().unwrap()) }));
    assert_eq!((named.name(), unnamed.name()), (Some("child 1"), None));
    assert_eq!(unnamed.location().line(), line);
    let id = unnamed.id();
    group.join().await.unwrap();
    assert_eq!(named.into_result().unwrap().name(), Some("child 1"));
    let itself = unnamed.into_result().unwrap();
    assert!(itself.name().is_none() && itself.id() == id);
    assert_eq!(itself.to_string(), format!("task {id}"));
}

/// The deadline in force is the earliest up to the nearest shield; once cancelled it is never in the future;
/// outside, the former one holds again.
#[tokio::test(start_paused = true)]
async fn line_073_current_effective_deadline() {
    let now = Instant::now();
    assert_eq!(deadline(), None);
    let far = timeout_at(now + 5 * SECOND, async {
        let later = timeout_at(now + 9 * SECOND, async { assert_eq!(deadline(), Some(now + 5 * SECOND)) });
        later.await.unwrap();
        let near = timeout_at(now + SECOND, async {
            assert_eq!(deadline(), Some(now + SECOND));
            shield_for(3 * SECOND, async { assert_eq!(deadline(), Some(now + 3 * SECOND)) }).await.unwrap();
            shield(async { assert_eq!(deadline(), None) }).await;
        });
        near.await.unwrap();
        assert_eq!(deadline(), Some(now + 5 * SECOND));
        let cancelled = CancelScope::new();
        let handle = cancelled.handle();
        let inside = cancelled.run(async {
            assert_eq!(deadline(), Some(now + 5 * SECOND));
            handle.cancel();
            assert!(deadline().unwrap() <= Instant::now());
            shield(async { assert_eq!(deadline(), None) }).await;
            assert!(deadline().unwrap() <= Instant::now());
        });
        inside.await.unwrap();
        assert_eq!(deadline(), Some(now + 5 * SECOND));
    });
    far.await.unwrap();
    assert_eq!(deadline(), None);
}

/// An error of a foreign type, out of the body by `?`, cancels the children and is in the group.
#[tokio::test(start_paused = true)]
async fn line_076_asyncio_function_inside_nursery_does_not_explode() {
    let alive = Alive::new();
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(sleeper(alive.guard()));
        settle().await;
        let foreign: std::io::Result<()> = Err(std::io::ErrorKind::NotConnected.into());
        foreign?;
        Ok(())
    });
    let error = error.await.unwrap_err();
    assert_eq!((error.len(), alive.ever(), alive.now()), (1, 1, 0));
    assert_eq!(
        error.first().unwrap().downcast_ref::<std::io::Error>().unwrap().kind(),
        std::io::ErrorKind::NotConnected
    );
}

/// The target group is cancelled just before, at, or after `ready`, the child asleep in nested groups: it is cut,
/// and nobody hangs (R20).
#[tokio::test(start_paused = true)]
async fn line_080_nursery_start_with_cancelled_nursery() {
    for cancel_at in ["before", "with", "after"] {
        let (target, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
        let (inside, seen, itself) = (alive.clone(), steps.clone(), target.spawner());
        let ended = target.run(async {
            let starting = target.start(async move |ready| {
                let deep = TaskGroup::<anyhow::Error>::new();
                deep.spawn(nest(2, inside.clone()));
                settle().await;
                if cancel_at == "before" {
                    itself.cancel();
                }
                ready.ready(());
                if cancel_at == "with" {
                    itself.cancel();
                }
                deep.join().await?;
                seen.mark("never");
                Ok(())
            });
            let started = shield(starting).await;
            // `ready` was said by code that runs, before its next wait; but the group is cancelled by then.
            if cancel_at == "after" {
                started?;
                assert_eq!(alive.now(), 7 + 3);
                target.cancel();
            }
            pending::<Result<()>>().await
        });
        assert!(ended.await.unwrap_err().is_cancelled(), "{cancel_at}");
        assert_eq!((alive.ever(), alive.now()), (10, 0), "{cancel_at}");
        assert_eq!(steps.seen(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn line_082_nursery_explicit_exception() {
    let error = scope(async |tg: &TaskGroup| {
        assert!(tg.is_empty());
        Err::<(), _>(anyhow!("explicit"))
    });
    let error = error.await.unwrap_err();
    assert_eq!(texts(&error), ["explicit"]);
    assert!(error.first().unwrap().is_body() && !error.is_cancelled());
}

/// A group that lets go of `weak` when it is freed.
fn watched() -> (TaskGroup, Weak<()>) {
    let watched = Arc::new(());
    let weak = Arc::downgrade(&watched);
    let keep = move |_: &anyhow::Error| Arc::strong_count(&watched) == 0;
    (TaskGroup::builder().treat_as_cancelled(keep).build(), weak)
}

/// A cancelled scope and a group that failed are freed with their last handle: nothing in them holds itself.
#[tokio::test(start_paused = true)]
async fn line_101_simple_cancel_scope_usage_doesnt_create_cyclic_garbage() {
    let value = Arc::new(());
    let weak = Arc::downgrade(&value);
    let cut = CancelScope::new();
    let handle = cut.handle();
    let ended = cut.run(async move {
        let _value = value;
        handle.cancel();
        checkpoint().await;
    });
    let error = ended.await.unwrap_err();
    assert!(weak.upgrade().is_none());
    assert!(matches!(error.cause().reason(), CancelReason::Requested(None)));
    let (group, weak) = watched();
    let task = group.spawn(async { Err::<(), _>(anyhow!("broke")) });
    let error = group.join().await.unwrap_err();
    drop(task);
    assert!(weak.upgrade().is_none(), "the error keeps the group");
    assert_eq!(texts(&error), ["broke"]);
}

/// The same when the outer scope cuts a group: error and cancel part ways, nothing stays.
#[tokio::test(start_paused = true)]
async fn line_102_cancel_scope_exit_doesnt_create_cyclic_garbage() {
    let (group, weak) = watched();
    let outer = CancelScope::new();
    let handle = outer.handle();
    let ended = outer.run(async move {
        group.spawn(pending::<Result<()>>());
        group.spawn(async {
            shield(sleep(SECOND)).await;
            Err::<(), _>(anyhow!("broke"))
        });
        group
            .run(async {
                settle().await;
                handle.cancel();
                Ok(())
            })
            .await
    });
    let error = ended.await.unwrap().unwrap_err();
    assert_eq!(texts(&error), ["broke"]);
    assert!(weak.upgrade().is_none());
}

/// A group is freed at once after a cancelled exit.
#[tokio::test(start_paused = true)]
async fn line_103_nursery_cancel_doesnt_create_cyclic_garbage() {
    let (group, weak) = watched();
    let value = Arc::new(());
    let child_has = Arc::downgrade(&value);
    let spawner = group.spawner();
    let task = group.spawn::<()>(async move {
        let _value = value;
        pending().await
    });
    group
        .run(async {
            settle().await;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert!(child_has.upgrade().is_none());
    assert!(weak.upgrade().is_some());
    drop((group, spawner));
    let error = task.into_result().unwrap_err();
    assert!(weak.upgrade().is_none());
    assert!(error.is_cancelled());
}

/// R8: always a group, of one failure or of several, whether the body's or a child's; there is no other policy.
#[tokio::test(start_paused = true)]
async fn line_105_setting_strict_exception_groups() {
    for (body, children) in [(false, 1), (true, 0), (false, 2), (true, 2)] {
        let group: TaskGroup<&str> = TaskGroup::builder().on_failure(OnFailure::Continue).build();
        for _ in 0..children {
            group.spawn(async { Err::<(), _>("child") });
        }
        let error = group
            .run(async {
                group.wait_idle().await;
                if body { Err("body") } else { Ok(()) }
            })
            .await
            .unwrap_err();
        let mut expected = vec!["child"; children];
        expected.extend(body.then_some("body"));
        let errors: Vec<_> = error.failures().iter().map(|failure| *failure.error().unwrap()).collect();
        assert_eq!(errors, expected);
    }
}

/// Inside a nested group one is cut and one fails: that level stays, a group of one (R8).
#[tokio::test(start_paused = true)]
async fn line_106_nursery_collapse() {
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(pending::<Result<()>>());
        tg.task().name("nested").spawn(async {
            let nested = scope(async |tg: &TaskGroup| {
                tg.spawn(pending::<Result<()>>());
                tg.spawn(async { Err::<(), _>(anyhow!("value")) });
                Ok(())
            });
            Ok(nested.await?)
        });
        Ok(())
    });
    let error = error.await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert_eq!(error.first().unwrap().name(), Some("nested"));
    let nested = error.first().unwrap().nested().unwrap();
    assert_eq!((nested.len(), nested.leaves().count()), (1, 1));
    assert_eq!(texts(&error), ["value"]);
}

/// A cancelled scope that an error group passes through has caught nothing: `run` gives its work's result.
#[tokio::test(start_paused = true)]
async fn line_107_cancel_scope_no_cancellederror() {
    let passed = CancelScope::new();
    let handle = passed.handle();
    let ended = passed.run(async {
        let group: TaskGroup = TaskGroup::new();
        group.spawn(async { Err::<(), _>(anyhow!("one")) });
        let error = group.join().await.unwrap_err();
        handle.cancel();
        Err::<(), _>(error)
    });
    let passed = ended.await.expect("nothing was cut");
    assert_eq!(texts(&passed.unwrap_err()), ["one"]);
    assert!(handle.cancel_called());
}

/// A failure before `ready` comes out of `start` as it is, also when it is itself an error group, and its group
/// knows nothing of it (R20).
#[tokio::test(start_paused = true)]
async fn line_108_trio_run_strict_before_started() {
    scope(async |tg: &TaskGroup| {
        let bare = tg.start::<(), (), _>(async |_ready| Err(anyhow!("bare")));
        match bare.await {
            Err(StartError::Failed(error)) => assert_eq!(error.to_string(), "bare"),
            other => panic!("{other:?}"),
        }
        let grouped = tg.start::<(), (), _>(async |_ready| {
            Ok(scope(async |_: &TaskGroup| Err::<(), _>(anyhow!("grouped"))).await?)
        });
        match grouped.await {
            Err(StartError::Failed(error)) => {
                let group = error.downcast::<ErrorGroup>().unwrap();
                assert_eq!((group.len(), texts(&group)), (1, vec!["grouped".to_owned()]));
                assert!(group.first().unwrap().nested().is_none());
            }
            other => panic!("{other:?}"),
        }
        assert!(!tg.is_cancelled());
        Ok(())
    })
    .await
    .unwrap();
}

/// Whether this is a task is right everywhere: in plain functions, in destructors run by a cancel, in closures on
/// other threads; and on a plain thread.
#[tokio::test(start_paused = true)]
async fn line_113_trio_context_detection() {
    type Seen = Arc<Mutex<Vec<(&'static str, Option<NodeKind>)>>>;
    struct Look(Seen, &'static str);
    impl Look {
        fn look(&self) {
            self.0.lock().unwrap().push((self.1, current().map(|node| node.kind())));
        }
    }
    impl Drop for Look {
        fn drop(&mut self) {
            self.look();
        }
    }
    let seen = Seen::default();
    let (in_task, in_closure, in_thread) = (
        Look(Arc::clone(&seen), "task"),
        Look(Arc::clone(&seen), "closure"),
        Look(Arc::clone(&seen), "thread"),
    );
    assert!(current().is_none());
    let group: TaskGroup = TaskGroup::new();
    let cut = group.spawn::<()>(async move {
        in_task.look();
        pending().await
    });
    let closure = group.spawn_blocking(move |_| {
        drop(in_closure);
        Ok(())
    });
    group
        .run(async {
            assert_eq!(current().unwrap().kind(), NodeKind::Body);
            yield_now().await; // the task has its first poll
            closure.await?;
            thread::spawn(move || drop(in_thread)).join().unwrap();
            cut.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert!(current().is_none());
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_by_key(|(whose, _)| *whose);
    let task = ("task", Some(NodeKind::Task));
    assert_eq!(seen, [("closure", Some(NodeKind::Blocking)), task, task, ("thread", None)]);
}
