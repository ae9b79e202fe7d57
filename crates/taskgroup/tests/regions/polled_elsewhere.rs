//! What was first polled in a region that has ended since, or on another task, follows who polls it (R4, R14).

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures::FutureExt;
use taskgroup::{CancelScope, Ending, checkpoint, finally, shield, timeout};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::common::{Steps, within_an_hour};
use crate::{Group, Outcome, SECOND, cancelled_after};

/// Polls `step` for a second in a scope, which ends without it.
async fn begin_in_a_scope<F: Future>(step: Pin<&mut F>) {
    let scope = timeout(10 * SECOND, async {
        tokio::select! {
            _ = step => panic!("it takes longer"),
            () = sleep(SECOND) => {}
        }
    });
    scope.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shield_begun_in_a_scope_that_ended_completes() {
    let (began, steps) = (Instant::now(), Steps::default());
    let noted = steps.clone();
    let work = async move {
        let mut step = pin!(shield(async {
            sleep(5 * SECOND).await;
            noted.mark("saved");
        }));
        begin_in_a_scope(step.as_mut()).await;
        step.await;
        checkpoint().await;
        noted.mark("never");
        Ok(())
    };
    cancelled_after(2 * SECOND, work).await.unwrap();
    assert_eq!(steps.seen(), ["saved"]);
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_shield_begun_in_a_body_that_ended_completes() {
    let (began, steps) = (Instant::now(), Steps::default());
    let noted = steps.clone();
    let work = async move {
        let mut step = pin!(shield(async {
            sleep(5 * SECOND).await;
            noted.mark("saved");
        }));
        let group = Group::new();
        let body = group.run(async {
            tokio::select! {
                () = &mut step => panic!("it takes longer"),
                () = sleep(SECOND) => {}
            }
            Ok(())
        });
        body.await.unwrap();
        step.await;
        checkpoint().await;
        noted.mark("never");
        Ok(())
    };
    cancelled_after(2 * SECOND, work).await.unwrap();
    assert_eq!(steps.seen(), ["saved"]);
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_cleanup_of_work_begun_in_a_scope_that_ended_runs() {
    let (began, steps) = (Instant::now(), Steps::default());
    let noted = steps.clone();
    let work = async move {
        let mut step = pin!(finally(pending::<Outcome>(), async |how| {
            assert!(matches!(how, Ending::Cancelled(_)), "{how:?}");
            sleep(SECOND).await;
            noted.mark("cleaned up");
        }));
        begin_in_a_scope(step.as_mut()).await;
        let result = step.await;
        noted.mark("never");
        result
    };
    cancelled_after(2 * SECOND, work).await.unwrap();
    assert_eq!(steps.seen(), ["cleaned up"]);
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_group_begun_in_a_scope_that_ended_is_drained() {
    let (began, steps) = (Instant::now(), Steps::default());
    let noted = steps.clone();
    let work = async move {
        let group = Group::new();
        let inside = noted.clone();
        group.spawn(async move {
            shield(sleep(5 * SECOND)).await;
            inside.mark("saved");
            checkpoint().await;
            inside.mark("never");
            Ok(())
        });
        let mut step = pin!(timeout(100 * SECOND, group.join()));
        begin_in_a_scope(step.as_mut()).await;
        let _ = step.await;
        noted.mark("never");
        Ok(())
    };
    cancelled_after(2 * SECOND, work).await.unwrap();
    assert_eq!(steps.seen(), ["saved"]);
    assert_eq!(began.elapsed(), 5 * SECOND);
}

/// R20: the child that is still starting is cut, and its cleanup waited for.
#[tokio::test(start_paused = true)]
async fn a_start_begun_in_a_scope_that_ended_is_cut_and_waited_for() {
    let (began, steps) = (Instant::now(), Steps::default());
    let noted = steps.clone();
    let home = Arc::new(Group::new());
    let starts_in = Arc::clone(&home);
    let work = async move {
        let cleaned = noted.clone();
        let mut step = pin!(starts_in.start::<(), (), _>(|ready| async move {
            let _ready = ready;
            finally(pending::<Outcome>(), async |_| {
                sleep(SECOND).await;
                cleaned.mark("cleaned up");
            })
            .await
        }));
        begin_in_a_scope(step.as_mut()).await;
        let _ = step.await;
        noted.mark("never");
        Ok(())
    };
    cancelled_after(2 * SECOND, work).await.unwrap();
    assert_eq!(steps.seen(), ["cleaned up"]);
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert!(home.is_empty() && !home.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_shield_moved_to_another_task_completes_there() {
    let (began, steps) = (Instant::now(), Steps::default());
    let (saved, noted) = (steps.clone(), steps.clone());
    let (send, receive) = oneshot::channel();
    let group = Group::new();
    group.spawn(async move {
        let mut step = Box::pin(shield(async move {
            sleep(5 * SECOND).await;
            saved.mark("saved");
        }));
        assert!(futures::poll!(&mut step).is_pending());
        send.send(step).map_err(|_| "nobody takes it")
    });
    let other = group.spawn(async move {
        receive.await.unwrap().await;
        checkpoint().await;
        noted.mark("never");
        Ok(())
    });
    sleep(SECOND).await;
    other.cancel();
    within_an_hour(group.join()).await.unwrap();
    assert!(other.into_result().unwrap_err().is_cancelled());
    assert_eq!(steps.seen(), ["saved"]);
    assert_eq!(began.elapsed(), 5 * SECOND);
}

// A timeout that was cancelled with the code around it has no value for anybody else, and no `Elapsed` either:
// it was not its time that was over (R19).

/// Awaits a timeout that was cut together with what it was polled in.
async fn assert_has_no_value(timeout: impl Future) {
    let polled = within_an_hour(AssertUnwindSafe(timeout).catch_unwind()).await;
    let payload = polled.err().expect("it has nothing to give");
    let message = payload.downcast_ref::<String>().expect("a message");
    for part in
        ["polled_elsewhere.rs", "was cancelled with the code that it was polled in before", "polled again"]
    {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_cut_with_a_scope_and_polled_again_outside_panics() {
    let mut inner = Box::pin(timeout(10 * SECOND, sleep(5 * SECOND)));
    let scope = CancelScope::new();
    let handle = scope.handle();
    let cancel = async {
        sleep(SECOND).await;
        handle.cancel();
    };
    let (result, ()) = tokio::join!(scope.run(&mut inner), cancel);
    assert!(result.is_err());
    assert_has_no_value(inner).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_cut_with_a_shorter_one_does_not_report_that() {
    let mut inner = Box::pin(timeout(10 * SECOND, sleep(5 * SECOND)));
    let error = timeout(SECOND, &mut inner).await.unwrap_err();
    assert_eq!(error.after(), SECOND);
    assert_has_no_value(inner).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_moved_to_another_task_after_its_cut_panics_there() {
    let group = Group::new();
    let (send, receive) = oneshot::channel();
    let first = group.spawn::<()>(async move {
        let mut inner = Box::pin(timeout(10 * SECOND, sleep(5 * SECOND)));
        assert!(futures::poll!(&mut inner).is_pending());
        send.send(inner).map_err(|_| "nobody takes it")?;
        pending().await
    });
    let inner = receive.await.unwrap();
    first.cancel();
    let other = group.spawn(async move {
        assert_has_no_value(inner).await;
        Ok(())
    });
    within_an_hour(group.join()).await.unwrap();
    assert!(first.into_result().unwrap_err().is_cancelled());
    other.into_result().unwrap();
}
