//! Conformance list `kotlin-supervisor`.
//!
//! The supervisor is a group with `OnFailure::Continue`, its hook for errors the `ErrorGroup` at exit (R7).

use std::future::pending;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::poll;
use taskgroup::{CancelReason, ErrorGroup, OnFailure, TaskGroup};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::support::{Alive, Guard};

fn supervisor() -> TaskGroup {
    TaskGroup::builder().on_failure(OnFailure::Continue).build()
}

async fn sleeper(guard: Guard) -> Result<()> {
    let _guard = guard;
    pending::<()>().await;
    Ok(())
}

async fn fails_after(seconds: u64, what: &'static str) -> Result<()> {
    sleep(Duration::from_secs(seconds)).await;
    Err(anyhow!(what))
}

fn texts(error: &ErrorGroup) -> Vec<String> {
    error.leaves().map(|leaf| leaf.error().unwrap().to_string()).collect()
}

/// Two children fail: their handles say so, the supervisor is neither cancelled nor closed, and it reports
/// both errors.
#[tokio::test(start_paused = true)]
async fn line_01_test_supervisor_job() {
    let group = supervisor();
    let (one, two) = (group.spawn(fails_after(1, "one")), group.spawn(fails_after(2, "two")));
    assert!(one.await.unwrap_err().is_failed());
    assert!(!two.is_finished() && !group.is_cancelled());
    assert!(two.await.unwrap_err().is_failed());
    assert!(!group.is_cancelled());
    assert_eq!(group.spawn(async { Ok(3) }).await.unwrap(), 3);
    assert_eq!(texts(&group.join().await.unwrap_err()), ["one", "two"]);
}

/// Two children fail: the body goes on to its end all the same, and both errors come out at exit, in order.
#[tokio::test(start_paused = true)]
async fn line_02_test_supervisor_scope() {
    let (group, reached) = (supervisor(), Alive::new());
    let error = group
        .run(async {
            group.spawn(fails_after(2, "second"));
            group.spawn(fails_after(1, "first"));
            sleep(Duration::from_secs(3)).await;
            assert!(!taskgroup::is_cancelled() && group.is_empty());
            drop(reached.guard());
            Ok("value")
        })
        .await
        .unwrap_err();
    assert_eq!(reached.ever(), 1);
    assert_eq!(texts(&error), ["first", "second"]);
    assert!(error.failures().iter().all(|failure| !failure.is_body()));
    assert!(error.cause().is_none(), "nobody was cancelled");
}

/// A failing child leaves its sibling asleep, which must be cancelled by hand for the supervisor to end.
#[tokio::test(start_paused = true)]
async fn line_03_test_supervisor_scope_isolation() {
    let (group, alive) = (supervisor(), Alive::new());
    let failing = group.spawn(fails_after(1, "broke"));
    let sibling = group.spawn(sleeper(alive.guard()));
    let error = group
        .run(async {
            failing.wait_finished().await;
            sleep(Duration::from_secs(60)).await;
            assert!(!sibling.is_finished());
            assert_eq!(alive.now(), 1);
            sibling.cancel();
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(alive.now(), 0);
    assert_eq!(texts(&error), ["broke"]);
    assert!(sibling.into_result().unwrap_err().is_cancelled());
}

/// Also under `Continue` a failing body cancels its child, waits for it, and its error comes out.
#[tokio::test(start_paused = true)]
async fn line_04_test_throwing_supervisor_scope() {
    let (group, alive) = (supervisor(), Alive::new());
    let guard = alive.guard();
    let child = group.spawn(async move {
        let _guard = guard;
        sleep(Duration::from_secs(60)).await;
        Ok("done")
    });
    let error = group
        .run(async {
            yield_now().await;
            Err::<(), _>(anyhow!("body"))
        })
        .await
        .unwrap_err();
    assert_eq!(alive.now(), 0);
    assert!(child.into_result().unwrap_err().is_cancelled());
    assert_eq!(texts(&error), ["body"]);
    assert!(error.first().unwrap().is_body());
}

/// The same with two sleeping children: both are dropped before exit, and only the body's error comes out.
#[tokio::test(start_paused = true)]
async fn line_05_test_supervisor_throws() {
    let (group, alive) = (supervisor(), Alive::new());
    let (one, two) = (group.spawn(sleeper(alive.guard())), group.spawn(sleeper(alive.guard())));
    let error = group
        .run(async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(alive.now(), 2);
            Err::<(), _>(anyhow!("body"))
        })
        .await
        .unwrap_err();
    assert_eq!(alive.now(), 0);
    assert_eq!(texts(&error), ["body"]);
    for child in [one, two] {
        let cut = child.into_result().unwrap_err();
        assert!(cut.is_cancelled() && !cut.never_started());
    }
}

/// The same, and a child fails while it is being cancelled: its error comes out behind the body's.
#[tokio::test(start_paused = true)]
async fn line_06_test_supervisor_throws_with_failing_child() {
    let (group, alive) = (supervisor(), Alive::new());
    let (begun, has_begun) = oneshot::channel();
    let (body_failed, go) = mpsc::channel();
    group.spawn(sleeper(alive.guard()));
    group.spawn_blocking::<()>(move |token| {
        let _ = begun.send(());
        let _ = go.recv();
        assert!(token.is_cancelled());
        Err(anyhow!("child"))
    });
    let mut run = pin!(group.run(async {
        has_begun.await?;
        Err::<(), _>(anyhow!("body"))
    }));
    while alive.now() > 0 {
        assert!(poll!(run.as_mut()).is_pending());
        yield_now().await;
    }
    body_failed.send(()).unwrap();
    let error = run.await.unwrap_err();
    assert!(error.first().unwrap().is_body());
    assert_eq!(texts(&error), ["body", "child"]);
}

/// Cancelling the enclosing task cancels the supervised children, and waits until they have ended.
#[tokio::test(start_paused = true)]
async fn line_07_test_supervisor_scope_external_cancellation() {
    let (app, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (begun, has_begun) = oneshot::channel();
    let (gate, closed) = mpsc::channel::<()>();
    let (one, two, of_host) = (alive.guard(), alive.guard(), alive.guard());
    let host = app.spawn(async move {
        let _host = of_host;
        let group = supervisor();
        group.spawn(sleeper(one));
        group.spawn(sleeper(two));
        group.spawn_blocking(move |_token| {
            let _ = begun.send(());
            let _ = closed.recv();
            Ok(())
        });
        Ok(group.join().await?)
    });
    has_begun.await.unwrap();
    assert_eq!(alive.now(), 3);
    host.cancel();
    for _ in 0..100 {
        yield_now().await;
    }
    assert!(!host.is_finished());
    assert_eq!(alive.now(), 1, "the children are gone, the host waits for the closure");
    gate.send(()).unwrap();
    app.join().await.unwrap();
    assert_eq!(alive.now(), 0);
    assert!(host.into_result().unwrap_err().is_cancelled());
}

/// A supervised child that is cancelled because the enclosing group failed can say so: the failure stands at
/// the root of its cause (R16).
#[tokio::test(start_paused = true)]
async fn line_08_test_async_cancellation() {
    let app: TaskGroup = TaskGroup::new();
    let (handle, child) = oneshot::channel();
    app.task().name("host").spawn(async move {
        let group = supervisor();
        let _ = handle.send(group.spawn(pending::<Result<()>>()));
        Ok(group.join().await?)
    });
    let child = child.await.unwrap();
    app.task().name("broken").spawn(fails_after(1, "broke"));
    assert_eq!(texts(&app.join().await.unwrap_err()), ["broke"]);
    let cut = child.into_result().unwrap_err();
    assert!(cut.is_cancelled());
    let cause = cut.reason().unwrap();
    assert!(matches!(cause.reason(), CancelReason::HostCancelled(who) if who.name() == Some("host")));
    assert!(
        matches!(cause.root().reason(), CancelReason::SiblingFailed(who) if who.name() == Some("broken"))
    );
}

/// Cancelling a supervisor does not cancel what is above it (R4).
#[tokio::test(start_paused = true)]
async fn line_09_test_supervisor_with_parent_cancel_normally() {
    let (app, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let guard = alive.guard();
    let host = app.spawn(async move {
        let group = supervisor();
        let child = group.spawn(sleeper(guard));
        yield_now().await;
        group.cancel();
        group.join().await?;
        assert!(!taskgroup::is_cancelled());
        sleep(Duration::from_secs(1)).await;
        Ok(child.into_result().unwrap_err().is_cancelled())
    });
    let sibling = app.spawn(async {
        sleep(Duration::from_secs(2)).await;
        Ok("untouched")
    });
    app.join().await.unwrap();
    assert!(host.into_result().unwrap());
    assert_eq!(sibling.into_result().unwrap(), "untouched");
    assert_eq!(alive.now(), 0);
}

/// A supervisor's own failure, passed on with `?`, fails the group above it and cancels the siblings there.
#[tokio::test(start_paused = true)]
async fn line_10_test_supervisor_with_parent_cancel_exception() {
    let (app, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let sibling = app.spawn(sleeper(alive.guard()));
    app.task().name("host").spawn(async {
        let group = supervisor();
        Ok(group.run(async { Err::<(), _>(anyhow!("supervisor")) }).await?)
    });
    let error = app.join().await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert_eq!(error.first().unwrap().name(), Some("host"));
    assert_eq!(error.first().unwrap().nested().unwrap().len(), 1);
    assert_eq!(texts(&error), ["supervisor"]);
    assert_eq!(alive.now(), 0);
    assert!(sibling.into_result().unwrap_err().is_cancelled());
}

/// The enclosing group is cancelled before the body fails: the body's error comes out all the same (R9).
#[tokio::test(start_paused = true)]
async fn line_11_test_supervisor_scope_cancellation_vs_exception() {
    let (app, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (enclosing, guard) = (app.spawner(), alive.guard());
    let host = app.spawn(async move {
        let group = supervisor();
        group.spawn(sleeper(guard));
        let ended = group.run(async {
            yield_now().await;
            enclosing.cancel();
            assert!(taskgroup::is_cancelled());
            Err::<(), _>(anyhow!("body"))
        });
        Ok(ended.await?)
    });
    let error = app.join().await.unwrap_err();
    assert_eq!(texts(&error), ["body"]);
    assert!(host.into_result().unwrap_err().is_failed());
    assert_eq!((alive.ever(), alive.now()), (1, 0));
}

/// Cancelling a child of a supervisor is no failure: nothing is reported (R9).
#[tokio::test(start_paused = true)]
async fn line_12_test_supervisor_job_cancellation_exception() {
    let (group, alive) = (supervisor(), Alive::new());
    let child = group.spawn(sleeper(alive.guard()));
    yield_now().await;
    child.cancel_because("not needed");
    child.wait_finished().await;
    assert_eq!(alive.now(), 0);
    assert!(!group.is_cancelled());
    group.join().await.unwrap();
    let cut = child.into_result().unwrap_err();
    assert_eq!(cut.reason().unwrap().to_string(), "not needed");
}
