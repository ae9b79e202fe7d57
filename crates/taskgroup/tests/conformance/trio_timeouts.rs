//! Conformance list `trio-timeouts`.
//!
//! `move_on_after` is a `CancelScope` whose result is ignored, `fail_after` is `timeout`.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow};
use taskgroup::{
    CancelCause, CancelReason, CancelScope, Ending, NodeKind, Ready, Signal, Spawner, StartError, Task,
    TaskGroup, checkpoint, deadline, finally, is_cancelled, scope, timeout, timeout_at,
};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use super::support::Steps;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

/// What children have learnt about their cancel.
#[derive(Clone, Debug, Default)]
struct Causes(Arc<Mutex<Vec<CancelCause>>>);

impl Causes {
    /// A child that waits, and notes why it is cut.
    fn child(&self, group: &Spawner) -> Task<()> {
        let causes = self.clone();
        group.spawn(finally(pending::<Result<()>>(), async move |how| {
            if let Ending::Cancelled(cause) = how {
                causes.0.lock().unwrap().push(cause);
            }
        }))
    }

    fn seen(&self) -> Vec<CancelCause> {
        self.0.lock().unwrap().clone()
    }
}

/// Who failed, if that was the reason.
fn culprit(cause: &CancelCause) -> (NodeKind, Option<&str>) {
    match cause.root().reason() {
        CancelReason::SiblingFailed(who) => (who.kind(), who.name()),
        other => panic!("{other}"),
    }
}

/// Sleeps in a scope take their time and no more, a checkpoint takes none; in a scope out of time both are cut.
#[tokio::test(start_paused = true)]
async fn line_01_test_sleep() {
    let began = Instant::now();
    timeout(10 * SECOND, async {
        sleep(SECOND).await;
        assert_eq!(began.elapsed(), SECOND);
        sleep_until(began + 5 * SECOND).await;
        assert_eq!(began.elapsed(), 5 * SECOND);
        checkpoint().await;
        yield_now().await;
        assert_eq!(began.elapsed(), 5 * SECOND);
    })
    .await
    .unwrap();

    for checks in [false, true] {
        let (steps, expired) = (Steps::default(), CancelScope::deadline(Instant::now()));
        let result = expired
            .run(async {
                steps.mark("entered");
                if checks {
                    checkpoint().await
                } else {
                    sleep_until(Instant::now() + SECOND).await
                }
                steps.mark("past the wait");
            })
            .await;
        assert!(result.is_err());
        assert_eq!(steps.seen(), ["entered"]);
    }
    assert_eq!(began.elapsed(), 5 * SECOND);
}

/// A scope cuts a long sleep at its deadline, and the code goes on behind it.
#[tokio::test(start_paused = true)]
async fn line_02_test_move_on_after() {
    let (began, steps) = (Instant::now(), Steps::default());
    let moved_on = CancelScope::timeout(SECOND)
        .run(async {
            sleep(LONG).await;
            steps.mark("slept");
        })
        .await;
    steps.mark("moved on");
    assert!(moved_on.is_err() && !is_cancelled());
    assert_eq!(began.elapsed(), SECOND);
    sleep(SECOND).await;
    assert_eq!(steps.seen(), ["moved on"]);
}

/// A shielded scope is spared an outer cancel as long as it lasts; the first wait behind it is cut (R14).
#[tokio::test(start_paused = true)]
async fn line_04_test_context_shields_from_outer() {
    let (began, steps) = (Instant::now(), Steps::default());
    let outer = CancelScope::new();
    let handle = outer.handle();
    let shielded = CancelScope::timeout(10 * SECOND).shielded();
    let spared = shielded.handle();
    let result = outer
        .run(async {
            shielded
                .run(async {
                    handle.cancel();
                    checkpoint().await;
                    sleep(3 * SECOND).await;
                    steps.mark("shielded");
                })
                .await
                .unwrap();
            steps.mark("left the shield");
            checkpoint().await;
            steps.mark("past the checkpoint");
        })
        .await;
    assert!(result.is_err());
    assert_eq!(steps.seen(), ["shielded", "left the shield"]);
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert!(!spared.is_cancelled() && !spared.expired());
}

/// A shielded scope in a cancelled one ends by its own deadline.
#[tokio::test(start_paused = true)]
async fn line_05_test_move_on_after_moves_on_even_if_shielded() {
    let (began, steps) = (Instant::now(), Steps::default());
    let outer = CancelScope::new();
    let handle = outer.handle();
    let shielded = CancelScope::timeout(SECOND).shielded();
    let expired = shielded.handle();
    let result = outer
        .run(async {
            handle.cancel_because("outer");
            let error = shielded.run(sleep(LONG)).await.unwrap_err();
            assert!(matches!(error.cause().reason(), CancelReason::Deadline(..)));
            steps.mark("moved on");
            checkpoint().await;
            steps.mark("past the checkpoint");
        })
        .await;
    assert_eq!(result.unwrap_err().cause().to_string(), "outer");
    assert_eq!(began.elapsed(), SECOND);
    assert!(expired.expired());
    assert_eq!(steps.seen(), ["moved on"]);
}

/// `timeout` and `timeout_at` report an overrun, and nothing otherwise.
#[tokio::test(start_paused = true)]
async fn line_07_test_fail() {
    let began = Instant::now();
    let elapsed = timeout_at(began + SECOND, sleep(LONG)).await.unwrap_err();
    assert_eq!((elapsed.after(), began.elapsed()), (SECOND, SECOND));
    let elapsed = timeout(2 * SECOND, sleep(LONG)).await.unwrap_err();
    assert_eq!((elapsed.after(), began.elapsed()), (2 * SECOND, 3 * SECOND));

    timeout_at(began + 10 * SECOND, sleep(SECOND)).await.unwrap();
    timeout(10 * SECOND, sleep(SECOND)).await.unwrap();
    assert_eq!(began.elapsed(), 5 * SECOND);
}

/// A time limit cannot be negative; a deadline in the past is allowed, one too far away to be told is none.
#[tokio::test(start_paused = true)]
async fn line_08_test_timeouts_raise_value_error() {
    let steps = Steps::default();
    let past = Instant::now() - SECOND;
    let result = timeout_at(past, async {
        assert_eq!(deadline(), Some(past));
        steps.mark("entered");
        sleep(SECOND).await;
        steps.mark("past the wait");
    })
    .await;
    assert_eq!(result.unwrap_err().after(), Duration::ZERO);
    assert_eq!(steps.seen(), ["entered"]);

    timeout(Duration::MAX, async {
        assert_eq!(deadline(), None);
        sleep(LONG).await;
    })
    .await
    .unwrap();
}

/// A time limit has no deadline before its entry, and asking for it starts no clock; an absolute one has.
#[tokio::test(start_paused = true)]
async fn line_10_test_invalid_access_unentered() {
    let relative = CancelScope::timeout(5 * SECOND);
    let handle = relative.handle();
    assert_eq!(handle.deadline(), None);
    sleep(10 * SECOND).await;
    assert_eq!(handle.deadline(), None);
    let entered = Instant::now();
    relative
        .run(async {
            assert_eq!(handle.deadline(), Some(entered + 5 * SECOND));
            sleep(4 * SECOND).await;
        })
        .await
        .unwrap();

    let when = Instant::now() + SECOND;
    let absolute = CancelScope::deadline(when);
    let handle = absolute.handle();
    assert_eq!(handle.deadline(), Some(when));
    assert!(absolute.run(sleep(LONG)).await.is_err());
    assert_eq!(Instant::now(), when);
}

/// `Cancelled` says who cancelled: somebody, with a message or without, a deadline, a failed sibling, a signal.
#[tokio::test(start_paused = true)]
async fn line_13_test_cancelled_str() {
    let asked = CancelScope::new();
    asked.handle().cancel();
    assert_eq!(asked.run(pending::<()>()).await.unwrap_err().to_string(), "cancelled: cancel was called");
    let asked = CancelScope::new();
    asked.handle().cancel_because("lunch");
    assert_eq!(asked.run(pending::<()>()).await.unwrap_err().to_string(), "cancelled: lunch");

    let late = CancelScope::timeout(SECOND).name("upload");
    let text = late.run(pending::<()>()).await.unwrap_err().to_string();
    assert!(text.starts_with("cancelled: scope \"upload\" (#"), "{text}");
    assert!(text.contains("trio_timeouts.rs") && text.ends_with("ran out of time after 1s"), "{text}");

    let (group, seen) = (TaskGroup::new(), Arc::new(Mutex::new(String::new())));
    let text = Arc::clone(&seen);
    group.task().name("watcher").cooperative(|token| async move {
        sleep(2 * SECOND).await;
        *text.lock().unwrap() = token.check().unwrap_err().to_string();
        Ok(())
    });
    group.task().name("reader").spawn(async {
        sleep(SECOND).await;
        Err::<(), _>(anyhow!("no file"))
    });
    assert_eq!(group.join().await.unwrap_err().len(), 1);
    let text = seen.lock().unwrap().clone();
    assert!(text.starts_with("cancelled: task \"reader\" (#") && text.contains("failed (at "), "{text}");

    assert_eq!(CancelReason::Signal(Signal::Interrupt).to_string(), "SIGINT was received");
}

/// A cancel by hand carries its message; a deadline says so, also one that was moved into the past.
#[tokio::test(start_paused = true)]
async fn line_16_test_cancel_reason() {
    let asked = CancelScope::timeout(10 * SECOND);
    let handle = asked.handle();
    let ended = asked.run(async {
        handle.cancel_because("hello");
        checkpoint().await;
    });
    let error = ended.await.unwrap_err();
    assert!(matches!(error.cause().reason(), CancelReason::Requested(Some(text)) if text == "hello"));
    assert!(!handle.expired());

    let late = CancelScope::timeout(SECOND);
    let handle = late.handle();
    let error = late.run(pending::<()>()).await.unwrap_err();
    assert!(matches!(error.cause().reason(), CancelReason::Deadline(who, after)
        if who.id() == handle.id() && *after == SECOND));

    let moved = CancelScope::new();
    let handle = moved.handle();
    let ended = moved.run(async {
        handle.reschedule(Instant::now() - SECOND).unwrap();
        checkpoint().await;
    });
    let error = ended.await.unwrap_err();
    assert!(matches!(error.cause().reason(), CancelReason::Deadline(who, _) if who.id() == handle.id()));
    assert!(handle.expired());
}

/// Siblings of a failed child see which one it was, also one that is spawned after the failure.
#[tokio::test(start_paused = true)]
async fn line_17_test_cancel_reason_nursery() {
    let (group, causes) = (TaskGroup::<anyhow::Error>::new(), Causes::default());
    let spawner = group.spawner();
    causes.child(&spawner);
    // Keeps the group open when it has failed.
    group.task().cooperative(|_token| async {
        sleep(3 * SECOND).await;
        Ok(())
    });
    group.task().name("broken").spawn(async {
        sleep(SECOND).await;
        Err::<(), _>(anyhow!("broke"))
    });
    let late = async {
        sleep(2 * SECOND).await;
        causes.child(&spawner).await.unwrap_err()
    };
    let (ended, error) = tokio::join!(group.join(), late);
    assert_eq!(ended.unwrap_err().len(), 1);

    let seen = causes.seen();
    assert_eq!(seen.len(), 1, "the late one was never polled");
    assert_eq!(culprit(&seen[0]), (NodeKind::Task, Some("broken")));
    assert!(error.never_started());
    assert_eq!(culprit(error.reason().unwrap()), (NodeKind::Task, Some("broken")));
}

/// The same where all of them, and the body, run before the failure.
#[tokio::test(start_paused = true)]
async fn line_18_test_cancel_reason_nursery2() {
    let (group, causes, body) = (TaskGroup::<anyhow::Error>::new(), Causes::default(), Causes::default());
    let tasks = [causes.child(&group.spawner()), causes.child(&group.spawner())];
    group.task().name("broken").spawn(async {
        sleep(SECOND).await;
        Err::<(), _>(anyhow!("broke"))
    });
    let waiting = finally(pending::<Result<()>>(), async |how| {
        if let Ending::Cancelled(cause) = how {
            body.0.lock().unwrap().push(cause);
        }
    });
    assert_eq!(group.run(waiting).await.unwrap_err().len(), 1);
    let seen = [causes.seen(), body.seen()].concat();
    assert_eq!(seen.len(), 3);
    for cause in &seen {
        assert_eq!(culprit(cause), (NodeKind::Task, Some("broken")));
    }
    for task in tasks {
        let error = task.into_result().unwrap_err();
        assert_eq!(culprit(error.reason().unwrap()), (NodeKind::Task, Some("broken")));
    }
}

/// A failure before `ready` is the starter's; where the body passes it on, the body is the one who failed (R20).
#[tokio::test(start_paused = true)]
async fn line_19_test_cancel_reason_nursery3() {
    let causes = Causes::default();
    let ended = scope(async |tg: &TaskGroup| {
        causes.child(&tg.spawner());
        let failed = tg
            .task()
            .name("starter")
            .start(|_ready: Ready<()>| async {
                sleep(SECOND).await;
                Err::<(), _>(anyhow!("no port"))
            })
            .await;
        assert!(!tg.is_cancelled() && causes.seen().is_empty());
        let Err(StartError::Failed(error)) = failed else { panic!("it failed before it was ready") };
        Err::<(), _>(error)
    });
    let error = ended.await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert!(error.first().unwrap().is_body());
    let seen = causes.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(culprit(&seen[0]).0, NodeKind::Body);
}

/// The first reason stays: a cancel by hand is not overwritten by a deadline.
#[tokio::test(start_paused = true)]
async fn line_20_test_cancel_reason_not_overwritten() {
    let asked = CancelScope::new();
    let handle = asked.handle();
    let ended = asked.run(async {
        handle.cancel_because("by hand");
        let refused = handle.reschedule(Instant::now() - SECOND).unwrap_err();
        assert!(!refused.has_ended());
        checkpoint().await;
    });
    let error = ended.await.unwrap_err();
    assert!(matches!(error.cause().reason(), CancelReason::Requested(Some(text)) if text == "by hand"));
    assert!(handle.cancel_called() && !handle.expired());
}

/// The first reason stays: a deadline is not overwritten by a cancel by hand.
#[tokio::test(start_paused = true)]
async fn line_21_test_cancel_reason_not_overwritten_2() {
    let late = CancelScope::new();
    let handle = late.handle();
    let ended = late.run(async {
        handle.reschedule(Instant::now() - SECOND).unwrap();
        handle.cancel_because("by hand");
        checkpoint().await;
    });
    let error = ended.await.unwrap_err();
    assert!(matches!(error.cause().reason(), CancelReason::Deadline(..)));
    assert!(handle.cancel_called() && handle.expired());
}

/// Children see that it was the body that failed.
#[tokio::test(start_paused = true)]
async fn line_22_test_nested_child_source() {
    let causes = Causes::default();
    let ended = scope(async |tg: &TaskGroup| {
        causes.child(&tg.spawner());
        let (causes, spawner) = (causes.clone(), tg.spawner());
        tg.spawn(async move { Ok(causes.child(&spawner).await?) });
        sleep(SECOND).await;
        Err::<(), _>(anyhow!("the body"))
    });
    let error = ended.await.unwrap_err();
    assert_eq!(error.len(), 1);
    let seen = causes.seen();
    assert_eq!(seen.len(), 2);
    for cause in &seen {
        assert_eq!(culprit(cause).0, NodeKind::Body);
        assert!(cause.to_string().contains("failed"), "{cause}");
    }
}
