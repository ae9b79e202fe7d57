//! Conformance list `cpython-timeouts`.
//!
//! `asyncio.timeout` is a `CancelScope`, which says afterwards what became of it; `wait_for` is `timeout`. Code
//! that answers its cancel is a shield, a `finally` or a cooperative task.

use std::future::{Future, pending, poll_fn, ready};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Result, anyhow};
use taskgroup::{
    CancelReason, CancelScope, Elapsed, Ending, TaskGroup, checkpoint, deadline, finally, is_cancelled,
    shield, timeout, timeout_at,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep};

use super::support::{Alive, Guard, Steps};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

/// Never ends by itself; cancelled, it cleans up for two seconds, and says how it began and ended that.
async fn cleans_up(guard: Guard, steps: Steps) -> Result<()> {
    let _guard = guard;
    finally(pending::<Result<()>>(), async |how| {
        steps.mark(if matches!(how, Ending::Cancelled(_)) { "cleaning" } else { "not cancelled" });
        sleep(2 * SECOND).await;
        steps.mark("cleaned");
    })
    .await
}

/// A long sleep is cut when the time is over, and the scope knows that it has expired.
#[tokio::test(start_paused = true)]
async fn line_01_timeout_basic() {
    let (began, alive) = (Instant::now(), Alive::new());
    let scope = CancelScope::timeout(SECOND);
    let (handle, guard) = (scope.handle(), alive.guard());
    let error = scope
        .run(async move {
            let _guard = guard;
            sleep(LONG).await;
        })
        .await
        .unwrap_err();
    assert!(matches!(error.cause().reason(), CancelReason::Deadline(who, after)
        if who.id() == handle.id() && *after == SECOND));
    assert!(handle.expired() && handle.cancel_called());
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!((alive.ever(), alive.now()), (1, 0));
}

/// An absolute deadline cuts at that very instant, and is read back unchanged.
#[tokio::test(start_paused = true)]
async fn line_02_timeout_at_basic() {
    let when = Instant::now() + SECOND;
    let scope = CancelScope::deadline(when);
    let handle = scope.handle();
    assert!(scope.run(sleep(LONG)).await.is_err());
    assert!(handle.expired());
    assert_eq!(handle.deadline(), Some(when));
    assert_eq!(Instant::now(), when);
}

/// The cleanup of what is cut is over before `Elapsed` comes out.
#[tokio::test(start_paused = true)]
async fn line_04_waiter_cancelled() {
    let (began, alive, steps) = (Instant::now(), Alive::new(), Steps::default());
    let result = timeout(SECOND, cleans_up(alive.guard(), steps.clone())).await;
    steps.mark("elapsed");
    assert_eq!(result.unwrap_err().after(), SECOND);
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(steps.seen(), ["cleaning", "cleaned", "elapsed"]);
    assert_eq!(alive.now(), 0);
}

/// Code that ends in time gives its value; the deadline can still be read, and lies ahead.
#[tokio::test(start_paused = true)]
async fn line_05_timeout_not_called() {
    let began = Instant::now();
    let scope = CancelScope::timeout(10 * SECOND);
    let handle = scope.handle();
    let value = scope
        .run(async {
            sleep(SECOND).await;
            "done"
        })
        .await
        .unwrap();
    assert_eq!(value, "done");
    assert!(!handle.expired() && !handle.cancel_called() && !handle.is_cancelled());
    assert_eq!(handle.deadline(), Some(began + 10 * SECOND));
    assert!(handle.deadline().unwrap() > Instant::now());
}

/// A scope without a time limit never expires.
#[tokio::test(start_paused = true)]
async fn line_06_timeout_disabled() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    scope
        .run(async {
            assert_eq!(deadline(), None);
            sleep(LONG).await;
        })
        .await
        .unwrap();
    assert!(!handle.expired() && !handle.cancel_called());
    assert_eq!(handle.deadline(), None);
}

/// An absolute deadline that has been taken away does not expire.
#[tokio::test(start_paused = true)]
async fn line_07_timeout_at_disabled() {
    let scope = CancelScope::deadline(Instant::now() + SECOND);
    let handle = scope.handle();
    handle.reschedule(None).unwrap();
    scope
        .run(async {
            assert_eq!(deadline(), None);
            sleep(LONG).await;
        })
        .await
        .unwrap();
    assert!(!handle.expired() && !handle.cancel_called());
    assert_eq!(handle.deadline(), None);
}

/// With a time limit of zero the code is entered, and cut at its first wait.
#[tokio::test(start_paused = true)]
async fn line_08_timeout_zero() {
    let (scope, steps) = (CancelScope::timeout(Duration::ZERO), Steps::default());
    let handle = scope.handle();
    sleep(SECOND).await;
    let entered = Instant::now();
    let result = scope
        .run(async {
            steps.mark("entered");
            sleep(10 * SECOND).await;
            steps.mark("past the wait");
        })
        .await;
    assert!(result.is_err() && handle.expired());
    assert_eq!(steps.seen(), ["entered"]);
    let when = handle.deadline().unwrap();
    assert!(entered <= when && when <= Instant::now());
    assert_eq!(entered.elapsed(), Duration::ZERO);
}

/// A mere yield is a wait, and is cut at too.
#[tokio::test(start_paused = true)]
async fn line_09_timeout_zero_sleep_zero() {
    for checks in [false, true] {
        let (scope, steps) = (CancelScope::timeout(Duration::ZERO), Steps::default());
        let handle = scope.handle();
        let result = scope
            .run(async {
                steps.mark("entered");
                if checks {
                    checkpoint().await
                } else {
                    yield_now().await
                }
                steps.mark("past the yield");
            })
            .await;
        assert!(result.is_err() && handle.expired());
        assert_eq!(steps.seen(), ["entered"]);
    }
}

/// A deadline in the past is as a time limit of zero, and is read back as it is.
#[tokio::test(start_paused = true)]
async fn line_10_timeout_in_the_past_sleep_zero() {
    sleep(10 * SECOND).await;
    let past = Instant::now() - 5 * SECOND;
    let (scope, steps) = (CancelScope::deadline(past), Steps::default());
    let handle = scope.handle();
    let result = scope
        .run(async {
            steps.mark("entered");
            checkpoint().await;
            steps.mark("past the checkpoint");
        })
        .await;
    assert!(result.is_err() && handle.expired());
    assert_eq!(steps.seen(), ["entered"]);
    assert_eq!(handle.deadline(), Some(past));
}

/// Code that fails by itself before the deadline keeps its own error.
#[tokio::test(start_paused = true)]
async fn line_11_foreign_exception_passed() {
    let scope = CancelScope::timeout(10 * SECOND);
    let handle = scope.handle();
    let result = scope
        .run(async {
            sleep(SECOND).await;
            Err::<(), _>("its own")
        })
        .await;
    assert_eq!(result.unwrap(), Err("its own"));
    assert!(!handle.expired() && !handle.cancel_called());
}

/// Code that has an error in its hands and waits before it gives it is cut there: `Elapsed` comes out.
#[tokio::test(start_paused = true)]
async fn line_12_timeout_exception_context() {
    let (began, alive, steps) = (Instant::now(), Alive::new(), Steps::default());
    let guard = alive.guard();
    let failing = async move { Err::<(), _>(guard) };
    let result = timeout(SECOND, async {
        let failed = failing.await;
        steps.mark("failing");
        sleep(10 * SECOND).await;
        steps.mark("cleaned up");
        failed
    })
    .await;
    assert!(matches!(result, Err(elapsed) if elapsed.after() == SECOND));
    assert_eq!(steps.seen(), ["failing"]);
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!((alive.ever(), alive.now()), (1, 0));
}

/// Two nested cleanups that fail while the code is cut: the last error comes out, and no `Elapsed`.
#[tokio::test(start_paused = true)]
async fn line_14_foreign_exception_on_timeout_2() {
    async fn fails(steps: &Steps, what: &'static str) -> Result<(), &'static str> {
        sleep(2 * SECOND).await;
        steps.mark(what);
        Err(what)
    }
    let (began, steps) = (Instant::now(), Steps::default());
    let scope = CancelScope::timeout(SECOND);
    let handle = scope.handle();
    let result = scope
        .run(async {
            let first = shield(fails(&steps, "first")).await;
            let last = shield(fails(&steps, "last")).await;
            last.and(first)
        })
        .await;
    assert_eq!(result.unwrap(), Err("last"));
    assert_eq!(steps.seen(), ["first", "last"]);
    assert_eq!(began.elapsed(), 4 * SECOND);
    assert!(handle.expired());
}

/// Somebody else's cancel before the deadline passes through as that, not as the scope's time.
#[tokio::test(start_paused = true)]
async fn line_15_foreign_cancel_doesnt_timeout_if_not_expired() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let scope = CancelScope::timeout(10 * SECOND);
    let (handle, guard, child) = (scope.handle(), alive.guard(), steps.clone());
    let task = group.spawn(async move {
        let _guard = guard;
        let result = scope.run(sleep(LONG)).await;
        child.mark("came back");
        Ok(result?)
    });
    group
        .run(async {
            sleep(SECOND).await;
            task.cancel_because("somebody else");
            Ok(())
        })
        .await
        .unwrap();
    let error = task.into_result().unwrap_err();
    assert!(matches!(error.reason().unwrap().root().reason(), CancelReason::Requested(Some(text))
        if text == "somebody else"));
    assert!(handle.is_cancelled() && !handle.expired() && !handle.cancel_called());
    assert!(steps.seen().is_empty());
    assert_eq!(alive.now(), 0);
}

/// After `Elapsed` the task goes on: nothing of the cancel is left on it.
#[tokio::test(start_paused = true)]
async fn line_16_outer_task_is_not_cancelled() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn(async {
        assert!(timeout(SECOND, sleep(LONG)).await.is_err());
        assert!(!is_cancelled());
        sleep(SECOND).await;
        checkpoint().await;
        yield_now().await;
        assert!(!is_cancelled());
        Ok("completed")
    });
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), "completed");
}

/// Of two that are late together the outermost reports, and the inner's handler does not run (R19).
#[tokio::test(start_paused = true)]
async fn line_17_nested_timeouts_concurrent() {
    for late in [10, 200].map(Duration::from_millis) {
        let steps = Steps::default();
        let (outer, inner) = (CancelScope::timeout(SECOND / 500), CancelScope::timeout(SECOND / 10));
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let result = outer
            .run(async {
                let ended = inner
                    .run(async {
                        advance(late).await;
                        steps.mark("past the wait");
                    })
                    .await;
                steps.mark("the inner one reported");
                ended
            })
            .await;
        assert!(matches!(result.unwrap_err().cause().reason(), CancelReason::Deadline(who, _)
            if who.id() == outer_handle.id()));
        assert!(outer_handle.expired());
        assert!(inner_handle.is_cancelled() && !inner_handle.expired());
        assert!(steps.seen().is_empty());
    }
}

/// A holder of the handle moves the deadline, and takes it away; then only a cancel ends the code.
#[tokio::test(start_paused = true)]
async fn line_19_reschedule() {
    let began = Instant::now();
    let group: TaskGroup = TaskGroup::new();
    let scope = CancelScope::timeout(10 * SECOND);
    let handle = scope.handle();
    let task = group.spawn(async move { Ok(scope.run(sleep(LONG)).await?) });
    group
        .run(async {
            sleep(SECOND).await;
            assert_eq!(handle.deadline(), Some(began + 10 * SECOND));
            handle.reschedule(began + 20 * SECOND).unwrap();
            assert_eq!(handle.deadline(), Some(began + 20 * SECOND));
            sleep(15 * SECOND).await;
            assert!(!handle.is_cancelled() && !task.is_finished());
            handle.reschedule(None).unwrap();
            assert_eq!(handle.deadline(), None);
            sleep(100 * SECOND).await;
            assert!(!handle.is_cancelled() && !task.is_finished());
            task.cancel_because("after all");
            Ok(())
        })
        .await
        .unwrap();
    let error = task.into_result().unwrap_err();
    assert_eq!(error.reason().unwrap().root().to_string(), "after all");
    assert!(handle.is_cancelled() && !handle.expired() && !handle.cancel_called());
}

/// A task that goes on although it has been cancelled can use a time limit in its cleanup: that is its own.
#[tokio::test(start_paused = true)]
async fn line_25_timeout_after_cancellation() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (cooperative, cut) = (steps.clone(), steps.clone());
    group.task().cooperative(|token| async move {
        sleep(2 * SECOND).await;
        assert!(token.is_cancelled());
        let elapsed = timeout(Duration::ZERO, sleep(LONG)).await.unwrap_err();
        assert_eq!(elapsed.after(), Duration::ZERO);
        cooperative.mark("elapsed");
        Ok(())
    });
    group.spawn(finally(pending::<Result<()>>(), async move |_| {
        let elapsed = timeout(Duration::ZERO, sleep(LONG)).await.unwrap_err();
        assert_eq!(elapsed.after(), Duration::ZERO);
        cut.mark("elapsed in the cleanup");
    }));
    group
        .run(async {
            sleep(SECOND).await;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["elapsed in the cleanup", "elapsed"]);
}

/// A new cancel inside such a scope, before its deadline, is a cancel and no `Elapsed`.
#[tokio::test(start_paused = true)]
async fn line_26_cancel_in_timeout_after_cancellation() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let scope = CancelScope::timeout(10 * SECOND);
    let (handle, child) = (scope.handle(), steps.clone());
    group.task().cooperative(|token| async move {
        sleep(2 * SECOND).await;
        assert!(token.is_cancelled());
        let error = scope.run(sleep(LONG)).await.unwrap_err();
        assert!(matches!(error.cause().reason(), CancelReason::Requested(Some(text)) if text == "once more"));
        child.mark("cancelled");
        Ok(())
    });
    group
        .run(async {
            sleep(SECOND).await;
            group.cancel_because("once");
            let again = handle.clone();
            // The body has been cancelled with its group.
            shield(async move {
                sleep(2 * SECOND).await;
                again.cancel_because("once more");
            })
            .await;
            Ok(())
        })
        .await
        .unwrap();
    assert!(handle.cancel_called() && !handle.expired());
    assert_eq!(steps.seen(), ["cancelled"]);
}

/// The deadline of a scope that has ended is not moved.
#[tokio::test(start_paused = true)]
async fn line_29_timeout_finished() {
    let scope = CancelScope::timeout(10 * SECOND);
    let (handle, when) = (scope.handle(), Instant::now() + 10 * SECOND);
    scope.run(sleep(SECOND)).await.unwrap();
    for to in [Some(when + LONG), None] {
        let refused = handle.reschedule(to).unwrap_err();
        assert!(refused.has_ended());
        assert!(refused.to_string().contains("has ended"), "{refused}");
    }
    assert_eq!(handle.deadline(), Some(when));
}

/// The deadline of a scope that has reported its expiry is not moved.
#[tokio::test(start_paused = true)]
async fn line_30_timeout_expired() {
    let scope = CancelScope::timeout(SECOND);
    let handle = scope.handle();
    assert!(scope.run(sleep(LONG)).await.is_err());
    let refused = handle.reschedule(Instant::now() + LONG).unwrap_err();
    assert!(refused.has_ended());
    assert!(handle.expired());
    assert_eq!(handle.deadline(), Some(Instant::now()));
}

/// Between the expiry and the scope's end it is too late as well: what has expired stays so.
#[tokio::test(start_paused = true)]
async fn line_31_timeout_expiring() {
    let (steps, began) = (Steps::default(), Instant::now());
    let scope = CancelScope::timeout(SECOND);
    let handle = scope.handle();
    let inside = handle.clone();
    let result = scope
        .run(async {
            shield(async {
                sleep(2 * SECOND).await;
                for to in [Some(Instant::now() + LONG), None] {
                    let refused = inside.reschedule(to).unwrap_err();
                    assert!(!refused.has_ended());
                    assert!(refused.to_string().contains("has been cancelled"), "{refused}");
                }
                steps.mark("refused");
            })
            .await;
            sleep(SECOND).await;
            steps.mark("past the wait");
        })
        .await;
    assert!(matches!(result.unwrap_err().cause().reason(), CancelReason::Deadline(..)));
    assert!(handle.expired());
    assert_eq!(handle.deadline(), Some(began + SECOND));
    assert_eq!(steps.seen(), ["refused"]);
}

/// Before the entry the deadline may be moved, and the new one holds.
#[tokio::test(start_paused = true)]
async fn line_32_timeout_not_entered() {
    let began = Instant::now();
    let scope = CancelScope::timeout(SECOND);
    let handle = scope.handle();
    handle.reschedule(began + 5 * SECOND).unwrap();
    assert_eq!(handle.deadline(), Some(began + 5 * SECOND));
    sleep(2 * SECOND).await;
    assert!(scope.run(sleep(LONG)).await.is_err());
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert!(handle.expired());
}

/// A group with a task that ignores its cancel for five seconds.
fn stubborn(alive: &Alive, steps: &Steps) -> TaskGroup {
    let (group, guard, steps) = (TaskGroup::new(), alive.guard(), steps.clone());
    group.task().cooperative(|token| async move {
        let _guard = guard;
        sleep(5 * SECOND).await;
        assert!(token.is_cancelled());
        steps.mark("inner ended");
        Ok(())
    });
    group
}

/// A cancelled waiter does not end before what it waits for, however long that takes.
#[tokio::test(start_paused = true)]
async fn line_35_asyncio_wait_for_cancelled() {
    let (began, alive, steps) = (Instant::now(), Alive::new(), Steps::default());
    let (inner, child) = (stubborn(&alive, &steps), steps.clone());
    let app: TaskGroup = TaskGroup::new();
    let waiter = app.spawn(async move {
        let result = timeout(10 * SECOND, inner.join()).await;
        child.mark("came back");
        Ok(result??)
    });
    app.run(async {
        sleep(SECOND).await;
        waiter.cancel();
        waiter.wait_finished().await;
        steps.mark("waiter ended");
        assert_eq!(alive.now(), 0);
        Ok(())
    })
    .await
    .unwrap();
    assert!(waiter.into_result().unwrap_err().is_cancelled());
    assert_eq!(steps.seen(), ["inner ended", "waiter ended"]);
    assert_eq!(began.elapsed(), 5 * SECOND);
}

/// On expiry too: `Elapsed` comes out when the stubborn one has really ended.
#[tokio::test(start_paused = true)]
async fn line_36_asyncio_wait_for_timeout() {
    let (began, alive, steps) = (Instant::now(), Alive::new(), Steps::default());
    let inner = stubborn(&alive, &steps);
    let elapsed = timeout(SECOND, inner.join()).await.unwrap_err();
    assert_eq!(elapsed.after(), SECOND);
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(steps.seen(), ["inner ended"]);
    assert_eq!(alive.now(), 0);
}

/// Without time, what is there already is given.
#[tokio::test(start_paused = true)]
async fn line_37_wait_for_timeout_less_then_0_or_0_future_done() {
    let group: TaskGroup = TaskGroup::new();
    group
        .run(async {
            for late in [Duration::ZERO, SECOND] {
                let task = group.spawn(async { Ok("done") });
                yield_now().await;
                assert!(task.is_finished());
                let value = timeout_at(Instant::now() - late, task).await;
                assert_eq!(value.unwrap().unwrap(), "done");
            }
            assert_eq!(timeout(Duration::ZERO, ready("ready")).await.unwrap(), "ready");
            Ok(())
        })
        .await
        .unwrap();
}

/// Without time, a future that has not started is polled once, and dropped (R19).
#[tokio::test(start_paused = true)]
async fn line_38_wait_for_timeout_less_then_0_or_0_coroutine_do_not_started() {
    for late in [Duration::ZERO, SECOND] {
        let (alive, mut polls) = (Alive::new(), 0);
        let guard = alive.guard();
        let counting = poll_fn(|cx| {
            let _guard = &guard;
            polls += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(timeout_at(Instant::now() - late, counting).await.is_err());
        drop(guard);
        assert_eq!((polls, alive.now()), (1, 0));
    }
}

/// Without time, a running task is cancelled, and its cleanup has run when `Elapsed` comes out.
#[tokio::test(start_paused = true)]
async fn line_39_wait_for_timeout_less_then_0_or_0() {
    for late in [Duration::ZERO, SECOND] {
        let (alive, steps) = (Alive::new(), Steps::default());
        let inner: TaskGroup = TaskGroup::new();
        let task = inner.spawn(cleans_up(alive.guard(), steps.clone()));
        sleep(SECOND).await;
        assert!(timeout_at(Instant::now() - late, inner.join()).await.is_err());
        assert_eq!(steps.seen(), ["cleaning", "cleaned"]);
        assert_eq!(alive.now(), 0);
        assert!(task.into_result().unwrap_err().is_cancelled());
    }
}

/// Ordinary expiry: the task is cancelled, its cleanup is over, then `Elapsed`; the deadline is the cause.
#[tokio::test(start_paused = true)]
async fn line_40_wait_for() {
    let (began, alive, steps) = (Instant::now(), Alive::new(), Steps::default());
    let inner: TaskGroup = TaskGroup::new();
    let task = inner.spawn(cleans_up(alive.guard(), steps.clone()));
    let elapsed = timeout(SECOND, inner.join()).await.unwrap_err();
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(steps.seen(), ["cleaning", "cleaned"]);
    assert_eq!(alive.now(), 0);
    let error = task.into_result().unwrap_err();
    let CancelReason::Deadline(who, _) = error.reason().unwrap().root().reason() else { panic!("{error}") };
    assert_eq!(who, elapsed.scope());
}

/// Without a limit the value passes through, however late.
#[tokio::test(start_paused = true)]
async fn line_41_wait_for_blocking() {
    let late = async {
        sleep(LONG).await;
        "late"
    };
    assert_eq!(CancelScope::new().run(late).await.unwrap(), "late");
    let late = async {
        sleep(LONG).await;
        "late"
    };
    assert_eq!(timeout(Duration::MAX, late).await.unwrap(), "late");
}

/// A value that is set in the turn in which the waiting begins is not lost.
#[tokio::test(start_paused = true)]
async fn line_42_wait_for_race_condition() {
    for limit in [SECOND / 5, Duration::MAX] {
        let began = Instant::now();
        let (sender, receiver) = oneshot::channel();
        let (received, ()) = tokio::join!(timeout(limit, receiver), async { sender.send("value").unwrap() });
        assert_eq!(received.unwrap().unwrap(), "value");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

/// Code that answers its cancel with a value: the value wins over `Elapsed` (R19).
#[tokio::test(start_paused = true)]
async fn line_43_wait_for_cancellation_race_condition() {
    let began = Instant::now();
    let scope = CancelScope::timeout(SECOND);
    let handle = scope.handle();
    let answering = async {
        shield(sleep(2 * SECOND)).await;
        assert!(is_cancelled());
        "value"
    };
    assert_eq!(scope.run(answering).await.unwrap(), "value");
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert!(handle.expired());
}

/// `Elapsed` waits for a cleanup that waits, in whatever depth it is.
#[tokio::test(start_paused = true)]
async fn line_44_wait_for_waits_for_task_cancellation() {
    let (began, alive, steps) = (Instant::now(), Alive::new(), Steps::default());
    let (guard, child) = (alive.guard(), steps.clone());
    let result = timeout(SECOND, async move {
        let outer: TaskGroup = TaskGroup::new();
        outer.spawn(async move {
            let inner: TaskGroup = TaskGroup::new();
            inner.spawn(cleans_up(guard, child));
            Ok(inner.join().await?)
        });
        outer.join().await
    })
    .await;
    steps.mark("elapsed");
    assert!(result.is_err());
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(steps.seen(), ["cleaning", "cleaned", "elapsed"]);
    assert_eq!(alive.now(), 0);
}

/// The same for a task that runs already when it is waited for without time.
#[tokio::test(start_paused = true)]
async fn line_45_wait_for_waits_for_task_cancellation_w_timeout_0() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let inner: TaskGroup = TaskGroup::new();
    inner.spawn(cleans_up(alive.guard(), steps.clone()));
    yield_now().await;
    let began = Instant::now();
    assert!(timeout(Duration::ZERO, inner.join()).await.is_err());
    steps.mark("elapsed");
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(steps.seen(), ["cleaning", "cleaned", "elapsed"]);
    assert_eq!(alive.now(), 0);
}

/// A failure that the cancel brings about comes out instead of `Elapsed` (R9).
#[tokio::test(start_paused = true)]
async fn line_46_wait_for_reraises_exception_during_cancellation() {
    let began = Instant::now();
    let inner: TaskGroup = TaskGroup::new();
    inner.spawn(async {
        shield(sleep(2 * SECOND)).await;
        assert!(is_cancelled());
        Err::<(), _>(anyhow!("while it was cancelled"))
    });
    let error = timeout(SECOND, inner.join()).await.unwrap().unwrap_err();
    let texts: Vec<_> = error.leaves().map(|leaf| leaf.error().unwrap().to_string()).collect();
    assert_eq!(texts, ["while it was cancelled"]);
    assert_eq!(began.elapsed(), 2 * SECOND);
}

/// Cancels a task that waits as `waiting` says for a group of its own: the group's child has ended before it.
async fn cancels_a_waiter<F, Fut>(waiting: F)
where
    F: FnOnce(TaskGroup) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let (alive, steps) = (Alive::new(), Steps::default());
    let (app, inner): (TaskGroup, TaskGroup) = (TaskGroup::new(), TaskGroup::new());
    let child = inner.spawn(cleans_up(alive.guard(), steps.clone()));
    let waiter = app.spawn(waiting(inner));
    app.run(async {
        sleep(SECOND).await;
        assert_eq!(alive.now(), 1);
        waiter.cancel_because("no interest");
        waiter.wait_finished().await;
        steps.mark("waiter ended");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(steps.seen(), ["cleaning", "cleaned", "waiter ended"]);
    assert_eq!(alive.now(), 0);
    for error in [child.into_result().unwrap_err(), waiter.into_result().unwrap_err()] {
        assert_eq!(error.reason().unwrap().root().to_string(), "no interest");
    }
}

/// Cancelling a waiter without a limit cancels what it waits for.
#[tokio::test(start_paused = true)]
async fn line_47_cancel_blocking_wait_for() {
    cancels_a_waiter(|inner| async move { Ok(CancelScope::new().run(inner.join()).await??) }).await;
}

/// Cancelling a waiter with a limit cancels what it waits for.
#[tokio::test(start_paused = true)]
async fn line_48_cancel_wait_for() {
    cancels_a_waiter(|inner| async move { Ok(timeout(LONG, inner.join()).await??) }).await;
}

/// What is waited for swallows the cancel of the waiter and returns a value: that is the waiter's.
#[tokio::test(start_paused = true)]
async fn line_49_wait_for_cancel_suppressed() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn(async {
        let suppressing = async {
            shield(sleep(2 * SECOND)).await;
            assert!(is_cancelled());
            42
        };
        Ok(timeout(LONG, suppressing).await?)
    });
    let began = Instant::now();
    group
        .run(async {
            sleep(SECOND).await;
            task.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(task.into_result().unwrap(), 42);
}

/// Waits in a scope for a task of a longer-lived group, for as long as `limit`; the task is left alone.
async fn waits_for_anothers_task(limit: Option<Duration>) -> Option<Elapsed> {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let guard = alive.guard();
    group
        .run(async {
            let mut task = group.spawn(async move {
                let _guard = guard;
                sleep(5 * SECOND).await;
                assert!(!is_cancelled());
                Ok("value")
            });
            yield_now().await;
            let waited = match limit {
                Some(limit) => timeout(limit, &mut task).await,
                None => Ok(CancelScope::new().run(&mut task).await.unwrap()),
            };
            let elapsed = match waited {
                Ok(value) => {
                    assert_eq!(value.unwrap(), "value");
                    return Ok(None);
                }
                Err(elapsed) => elapsed,
            };
            assert!(!task.is_finished() && !group.is_cancelled());
            assert_eq!(alive.now(), 1);
            assert_eq!(task.await.unwrap(), "value");
            Ok(Some(elapsed))
        })
        .await
        .unwrap()
}

/// A task of a longer-lived group is waited for without time: it goes on.
#[tokio::test(start_paused = true)]
async fn line_51_zero_timeout_shield() {
    let began = Instant::now();
    let elapsed = waits_for_anothers_task(Some(Duration::ZERO)).await.unwrap();
    assert_eq!(elapsed.after(), Duration::ZERO);
    assert_eq!(began.elapsed(), 5 * SECOND);
}

/// A task of a longer-lived group is waited for without a limit: its value comes.
#[tokio::test(start_paused = true)]
async fn line_52_none_timeout_shield() {
    let began = Instant::now();
    assert!(waits_for_anothers_task(None).await.is_none());
    assert_eq!(began.elapsed(), 5 * SECOND);
}

/// A task of a longer-lived group is waited for too short: it goes on, and later gives its value.
#[tokio::test(start_paused = true)]
async fn line_53_shielded_timeout() {
    let began = Instant::now();
    let elapsed = waits_for_anothers_task(Some(SECOND)).await.unwrap();
    assert_eq!(elapsed.after(), SECOND);
    assert_eq!(began.elapsed(), 5 * SECOND);
}
