//! Conformance list `kotlin-coroutine-scope`.

use std::future::pending;
use std::time::Duration;

use anyhow::{Result, anyhow};
use taskgroup::{CancelReason, TaskGroup, scope};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::support::{Alive, Steps};

/// A scope gives its body's value only when children and the children that these spawned have ended; the
/// caller is not cancelled afterwards.
#[tokio::test(start_paused = true)]
async fn line_01_test_scope() {
    let (app, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let seen = steps.clone();
    let caller = app.spawn(async move {
        let inside = steps.clone();
        let value = scope(async move |tg: &TaskGroup| {
            let (spawner, child) = (tg.spawner(), inside.clone());
            tg.spawn(async move {
                let grandchild = child.clone();
                spawner.spawn(async move {
                    sleep(Duration::from_secs(2)).await;
                    grandchild.mark("grandchild");
                    Ok(())
                });
                sleep(Duration::from_secs(1)).await;
                child.mark("child");
                Ok(())
            });
            inside.mark("body");
            Ok(42)
        });
        let value = value.await?;
        steps.mark("after");
        assert!(!taskgroup::is_cancelled());
        yield_now().await;
        Ok(value)
    });
    app.join().await.unwrap();
    assert_eq!(caller.into_result().unwrap(), 42);
    assert_eq!(seen.seen(), ["body", "child", "grandchild", "after"]);
}

/// A child's failure cancels an endless sibling and is the scope's; the caller is not cancelled.
#[tokio::test(start_paused = true)]
async fn line_02_test_scope_cancelled_from_within() {
    let (app, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let guards = alive.clone();
    let caller = app.spawn(async move {
        let error = scope(async |tg: &TaskGroup| {
            let guard = guards.guard();
            tg.spawn::<()>(async move {
                let _guard = guard;
                loop {
                    sleep(Duration::from_secs(1)).await;
                }
            });
            tg.spawn(async {
                sleep(Duration::from_secs(10)).await;
                Err::<(), _>(anyhow!("broke"))
            });
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!((guards.ever(), guards.now()), (1, 0));
        assert_eq!(error.len(), 1);
        assert!(!taskgroup::is_cancelled());
        yield_now().await;
        Ok(error.to_string())
    });
    app.join().await.unwrap();
    assert!(caller.into_result().unwrap().contains("broke"));
}

/// A body without children fails: its error is the scope's.
#[tokio::test(start_paused = true)]
async fn line_03_test_exception_from_within() {
    let error = scope(async |_tg: &TaskGroup| Err::<(), _>(anyhow!("broke"))).await.unwrap_err();
    assert_eq!(error.len(), 1);
    let failure = error.first().unwrap();
    assert!(failure.is_body());
    assert_eq!(failure.error().unwrap().to_string(), "broke");
}

/// The caller is cancelled while body and child sleep: the child is dropped first, then body and caller;
/// the caller's cause is the request and nothing behind it.
#[tokio::test(start_paused = true)]
async fn line_05_test_outer_job_is_cancelled() {
    let (app, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (begun, has_begun) = oneshot::channel();
    let of_caller = steps.clone();
    let caller = app.spawn(async move {
        let _caller = of_caller.on_drop("caller");
        let inside = of_caller.clone();
        let ended = scope(async move |tg: &TaskGroup| {
            let _body = inside.on_drop("body");
            let of_child = inside.clone();
            tg.spawn(async move {
                let _child = of_child.on_drop("child");
                let _ = begun.send(());
                pending::<Result<()>>().await
            });
            pending::<()>().await;
            inside.mark("body went on");
            Ok(())
        });
        let ended = ended.await;
        of_caller.mark("caller went on");
        Ok(ended?)
    });
    has_begun.await.unwrap();
    assert!(steps.seen().is_empty());
    caller.cancel_because("stop");
    app.join().await.unwrap();
    assert_eq!(steps.seen(), ["child", "body", "caller"]);
    let cut = caller.into_result().unwrap_err();
    let cause = cut.reason().unwrap();
    assert!(matches!(cause.reason(), CancelReason::Requested(Some(message)) if message == "stop"));
    assert!(cause.because().is_none());
}

/// The body waits for one child, then for another; the first fails: the other, which had started, is dropped
/// before the scope fails with the first one's error.
#[tokio::test(start_paused = true)]
async fn line_06_test_async_cancellation_first() {
    let steps = Steps::default();
    let error = scope(async |tg: &TaskGroup| {
        let one = tg.task().name("one").spawn(async {
            sleep(Duration::from_secs(1)).await;
            Err::<u8, _>(anyhow!("one broke"))
        });
        let in_two = steps.clone();
        let two = tg.spawn(async move {
            let _two = in_two.on_drop("two dropped");
            in_two.mark("two started");
            pending::<Result<u8>>().await
        });
        let sum = one.await? + two.await?;
        steps.mark("summed");
        Ok(sum)
    });
    let error = error.await.unwrap_err();
    steps.mark("scope failed");
    assert_eq!(steps.seen(), ["two started", "two dropped", "scope failed"]);
    assert_eq!(error.len(), 1);
    assert_eq!(error.first().unwrap().name(), Some("one"));
}

/// A failure inside a block of the body drops a sleeping child and comes out of the scope as the body's.
#[tokio::test(start_paused = true)]
async fn line_08_test_documentation_example() {
    let steps = Steps::default();
    let error = scope(async |tg: &TaskGroup| {
        let in_child = steps.clone();
        tg.spawn(async move {
            let _child = in_child.on_drop("child dropped");
            in_child.mark("child started");
            pending::<Result<()>>().await
        });
        let block = async {
            sleep(Duration::from_secs(1)).await;
            Err::<(), _>(anyhow!("block broke"))
        };
        block.await?;
        steps.mark("after the block");
        Ok(())
    });
    let error = error.await.unwrap_err();
    steps.mark("scope failed");
    assert_eq!(steps.seen(), ["child started", "child dropped", "scope failed"]);
    assert_eq!(error.len(), 1);
    assert!(error.first().unwrap().is_body());
    assert_eq!(error.first().unwrap().error().unwrap().to_string(), "block broke");
}

/// What is kept of a group that has ended says: ended, empty, never cancelled; waiting for a task comes back
/// at once, and a late cancel changes nothing.
#[tokio::test(start_paused = true)]
async fn line_13_test_incomplete_scope_state() {
    let group: TaskGroup = TaskGroup::new();
    let (spawner, task) = (group.spawner(), group.spawn(async { Ok(1) }));
    assert!(!spawner.is_closed());
    assert_eq!(spawner.len(), 1);
    group.join().await.unwrap();
    assert!(spawner.is_closed() && spawner.is_empty() && !spawner.is_cancelled());
    task.wait_finished().await;
    spawner.cancel();
    task.cancel();
    assert!(!spawner.is_cancelled());
    assert_eq!(task.into_result().unwrap(), 1);
}
