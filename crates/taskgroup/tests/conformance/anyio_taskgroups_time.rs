//! Conformance list `anyio-taskgroups`: timeouts, scopes and shields.
//!
//! `fail_after` is `timeout`, or a `CancelScope` where it is asked about itself; `move_on_after` is a
//! `CancelScope` whose result is ignored. A shield cannot be turned on and off: it ends where its future ends (R14).

use std::future::pending;
use std::time::Duration;

use anyhow::{Result, anyhow};
use taskgroup::{
    CancelReason, CancelScope, Cancelled, Ready, ScopeHandle, StartError, TaskGroup, checkpoint, deadline,
    is_cancelled, scope, shield, timeout, timeout_at,
};
use tokio::time::{Instant, sleep};

use super::anyio_taskgroups::{LONG, hosted, nothing_is_pending, sleeper};
use super::support::{Alive, Steps};

const SECOND: Duration = Duration::from_secs(1);

/// The scope was cut by its own deadline, and knows it.
fn assert_expired(error: &Cancelled, handle: &ScopeHandle) {
    let reason = error.cause().reason();
    assert!(matches!(reason, CancelReason::Deadline(who, _) if who.id() == handle.id()), "{reason}");
    assert!(handle.cancel_called() && handle.expired() && handle.is_cancelled());
}

/// Nobody has cancelled the scope, neither its deadline nor anything around it.
fn assert_untouched(handle: &ScopeHandle) {
    assert!(!handle.cancel_called() && !handle.expired() && !handle.is_cancelled());
}

/// Runs code for an hour in a scope that has no deadline.
async fn runs_without_a_deadline(entered: CancelScope) {
    let (handle, steps) = (entered.handle(), Steps::default());
    entered
        .run(async {
            assert_eq!(deadline(), None);
            sleep(LONG).await;
            steps.mark("slept");
        })
        .await
        .unwrap();
    assert_eq!(handle.deadline(), None);
    assert_untouched(&handle);
    assert_eq!(steps.seen(), ["slept"]);
}

/// An absolute deadline that is none: taken away before the entry.
fn no_deadline() -> CancelScope {
    let entered = CancelScope::deadline(Instant::now() + SECOND);
    entered.handle().reschedule(None).unwrap();
    entered
}

/// What a scope cut leaves behind is nothing: the next wait is an ordinary one.
#[tokio::test(start_paused = true)]
async fn line_038_test_cancel_scope_cleared() {
    hosted(async {
        assert!(CancelScope::timeout(SECOND).run(sleep(LONG)).await.is_err());
        nothing_is_pending().await;
        checkpoint().await;
        Ok(())
    })
    .await;
}

/// Without time, or with little: out of time; the scope was called and has cut, and names its deadline.
#[tokio::test(start_paused = true)]
async fn line_039_test_fail_after() {
    for limit in [Duration::ZERO, SECOND / 10] {
        let (began, steps) = (Instant::now(), Steps::default());
        let entered = CancelScope::timeout(limit);
        let handle = entered.handle();
        let ended = entered.run(async {
            sleep(SECOND).await;
            steps.mark("past the wait");
        });
        assert_expired(&ended.await.unwrap_err(), &handle);
        let elapsed = timeout(limit, sleep(SECOND)).await.unwrap_err();
        assert_eq!(elapsed.after(), limit);
        assert_eq!(began.elapsed(), 2 * limit);
        assert!(steps.seen().is_empty());
    }
}

/// A scope without a limit has no deadline, and nobody cancels it.
#[tokio::test(start_paused = true)]
async fn line_040_test_fail_after_no_timeout() {
    runs_without_a_deadline(CancelScope::new()).await;
    timeout(Duration::MAX, sleep(LONG)).await.unwrap();
}

/// After an earlier group of the same task was cancelled, a time limit is as ever.
#[tokio::test(start_paused = true)]
async fn line_041_test_fail_after_after_cancellation() {
    hosted(async {
        let group: TaskGroup = TaskGroup::new();
        let ended = group.run(async {
            group.cancel();
            pending::<Result<()>>().await
        });
        assert!(ended.await.unwrap_err().is_cancelled());
        let began = Instant::now();
        assert_eq!(timeout(SECOND, sleep(LONG)).await.unwrap_err().after(), SECOND);
        assert_eq!(began.elapsed(), SECOND);
        nothing_is_pending().await;
        Ok(())
    })
    .await;
}

/// The reason of a deadline is the scope, by its name.
#[tokio::test(start_paused = true)]
async fn line_044_test_fail_after_reason() {
    let error = CancelScope::timeout(SECOND).name("waiting for the port").run(sleep(LONG)).await.unwrap_err();
    assert!(error.to_string().contains("scope \"waiting for the port\""), "{error}");
    assert!(error.to_string().ends_with("ran out of time after 1s"), "{error}");
}

/// The code behind the wait that was cut does not run; the scope was called and has cut.
#[tokio::test(start_paused = true)]
async fn line_045_test_move_on_after() {
    for limit in [Duration::ZERO, SECOND] {
        let (alive, steps) = (Alive::new(), Steps::default());
        let (guard, code) = (alive.guard(), steps.clone());
        let entered = CancelScope::timeout(limit);
        let handle = entered.handle();
        let ended = entered.run(async move {
            code.mark("entered");
            sleeper(guard).await.unwrap();
            code.mark("past the wait");
        });
        assert_expired(&ended.await.unwrap_err(), &handle);
        assert_eq!(alive.now(), 0);
        sleep(2 * LONG).await;
        assert_eq!(steps.seen(), ["entered"]);
    }
}

/// Without a limit the code runs to its end.
#[tokio::test(start_paused = true)]
async fn line_046_test_move_on_after_no_timeout() {
    runs_without_a_deadline(CancelScope::new()).await;
    runs_without_a_deadline(CancelScope::timeout(Duration::MAX)).await;
}

/// The outer deadline is sooner: it holds inside, it cuts, and the code between the scopes is skipped.
#[tokio::test(start_paused = true)]
async fn line_047_test_nested_move_on_after() {
    let (began, steps) = (Instant::now(), Steps::default());
    let (outer, inner) = (CancelScope::timeout(SECOND), CancelScope::timeout(2 * SECOND));
    let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
    let ended = outer.run(async {
        assert_eq!(deadline(), Some(began + SECOND));
        let ended = inner
            .run(async {
                assert_eq!(deadline(), Some(began + SECOND));
                sleep(LONG).await;
                steps.mark("past the wait");
            })
            .await;
        steps.mark("between");
        drop(ended);
    });
    assert_expired(&ended.await.unwrap_err(), &outer_handle);
    assert!(!inner_handle.cancel_called() && !inner_handle.expired());
    assert_eq!(inner_handle.deadline(), Some(began + 2 * SECOND));
    assert_eq!(began.elapsed(), SECOND);
    assert!(steps.seen().is_empty());
}

/// The absolute form: out of time now, or soon.
#[tokio::test(start_paused = true)]
async fn line_048_test_fail_at() {
    for limit in [Duration::ZERO, SECOND] {
        let when = Instant::now() + limit;
        let entered = CancelScope::deadline(when);
        let handle = entered.handle();
        assert_expired(&entered.run(sleep(LONG)).await.unwrap_err(), &handle);
        assert_eq!((handle.deadline(), Instant::now()), (Some(when), when));
        let when = Instant::now() + limit;
        assert_eq!(timeout_at(when, sleep(LONG)).await.unwrap_err().after(), limit);
        assert_eq!(Instant::now(), when);
    }
}

/// The absolute form without a deadline.
#[tokio::test(start_paused = true)]
async fn line_049_test_fail_at_no_timeout() {
    runs_without_a_deadline(no_deadline()).await;
}

/// The reason of an absolute deadline is the scope, by its name.
#[tokio::test(start_paused = true)]
async fn line_050_test_fail_at_reason() {
    let entered = CancelScope::deadline(Instant::now() + SECOND).name("before lunch");
    let error = entered.run(sleep(LONG)).await.unwrap_err();
    assert_eq!(error.cause().target().name(), Some("before lunch"));
    assert!(error.to_string().contains("scope \"before lunch\""), "{error}");
}

/// The absolute form: several steps share one deadline, and those behind it do not run.
#[tokio::test(start_paused = true)]
async fn line_051_test_move_on_at() {
    let (when, steps) = (Instant::now() + SECOND * 3 / 2, Steps::default());
    let first = CancelScope::deadline(when);
    let handle = first.handle();
    first.run(sleep(SECOND)).await.unwrap();
    assert_untouched(&handle);
    let second = CancelScope::deadline(when);
    let handle = second.handle();
    let ended = second.run(async {
        sleep(SECOND).await;
        steps.mark("past the wait");
    });
    assert_expired(&ended.await.unwrap_err(), &handle);
    assert_eq!(Instant::now(), when);
    assert!(steps.seen().is_empty());
}

/// The absolute form without a deadline: the code runs to its end, under a deadline further out.
#[tokio::test(start_paused = true)]
async fn line_052_test_move_on_at_no_timeout() {
    let outer = Instant::now() + 2 * LONG;
    let entered = no_deadline();
    let handle = entered.handle();
    let ended = entered.run(async {
        assert_eq!(deadline(), Some(outer));
        sleep(LONG).await;
    });
    timeout_at(outer, ended).await.unwrap().unwrap();
    assert_untouched(&handle);
}

/// The group is cancelled while its body is in a shield: that sleep completes, the next one is cut.
#[tokio::test(start_paused = true)]
async fn line_053_test_shielding() {
    let (began, steps) = (Instant::now(), Steps::default());
    let (group, shielded) = (TaskGroup::<anyhow::Error>::new(), CancelScope::new().shielded());
    let (handle, spawner) = (shielded.handle(), group.spawner());
    group.spawn(async move {
        sleep(SECOND).await;
        spawner.cancel();
        Ok(())
    });
    let ended = group.run(async {
        shielded.run(sleep(3 * SECOND)).await?;
        steps.mark("shielded");
        sleep(SECOND).await;
        steps.mark("past the wait");
        Ok(())
    });
    assert!(ended.await.unwrap_err().is_cancelled());
    assert_eq!(steps.seen(), ["shielded"]);
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_untouched(&handle);
}

/// A shielded scope can be cancelled itself; then no time is left in it, and its next wait is cut.
#[tokio::test(start_paused = true)]
async fn line_055_test_cancel_shielded_scope() {
    let steps = Steps::default();
    let shielded = CancelScope::timeout(LONG).shielded();
    let handle = shielded.handle();
    let ended = shielded.run(async {
        assert_eq!(deadline(), Some(Instant::now() + LONG));
        handle.cancel_because("itself");
        assert!(is_cancelled());
        assert!(deadline().unwrap() <= Instant::now());
        steps.mark("cancelled");
        checkpoint().await;
        steps.mark("past the checkpoint");
    });
    assert_eq!(ended.await.unwrap_err().cause().to_string(), "itself");
    assert_eq!(steps.seen(), ["cancelled"]);
    assert!(handle.cancel_called() && !handle.expired());
}

/// In code that goes on after a cancel it can be seen; in a shield it cannot; behind the shield it can again.
#[tokio::test(start_paused = true)]
async fn line_056_test_shielded_cleanup_after_cancel() {
    async fn cleanup(steps: &Steps) {
        assert!(is_cancelled());
        assert!(!shield(async { is_cancelled() }).await);
        shield(async {
            sleep(SECOND).await;
            checkpoint().await;
            assert!(!is_cancelled());
        })
        .await;
        assert!(is_cancelled());
        steps.mark("cleaned up");
    }
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (cut, cooperative) = (steps.clone(), steps.clone());
    let task = group.spawn(async move {
        shield(sleep(2 * SECOND)).await;
        cleanup(&cut).await;
        checkpoint().await;
        cut.mark("past the checkpoint");
        Ok(())
    });
    group.task().cooperative(|_token| async move {
        sleep(2 * SECOND).await;
        cleanup(&cooperative).await;
        Ok(())
    });
    group
        .run(async {
            sleep(SECOND).await;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["cleaned up", "cleaned up"]);
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// Cancels a scope when it is dropped.
struct CancelsOnDrop(ScopeHandle);

impl Drop for CancelsOnDrop {
    fn drop(&mut self) {
        self.0.cancel_because("while it unwound");
    }
}

/// A cancelled shielded scope reports, although the outer one is cancelled while it unwinds; the code between
/// runs, and without another wait the outer scope has cut nothing.
#[tokio::test(start_paused = true)]
async fn line_061_test_cancelled_raises_beyond_origin_shielded() {
    for waits in [false, true] {
        let steps = Steps::default();
        let (outer, inner) = (CancelScope::new(), CancelScope::new().shielded());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let unwinding = CancelsOnDrop(outer_handle.clone());
        let ended = outer.run(async {
            let ended = inner.run(async {
                let _unwinding = unwinding;
                inner_handle.cancel_because("inner");
                checkpoint().await;
                steps.mark("past the checkpoint");
            });
            assert_eq!(ended.await.unwrap_err().cause().to_string(), "inner");
            assert!(is_cancelled());
            steps.mark("between");
            if waits {
                checkpoint().await;
                steps.mark("past the outer checkpoint");
            }
            "value"
        });
        match (ended.await, waits) {
            (Ok(value), false) => assert_eq!(value, "value"),
            (Err(error), true) => assert_eq!(error.cause().to_string(), "while it unwound"),
            (other, _) => panic!("{other:?}"),
        }
        assert_eq!(steps.seen(), ["between"]);
        assert!(outer_handle.cancel_called());
    }
}

/// A shielded scope that another task cancels is cut in its sleep.
#[tokio::test(start_paused = true)]
async fn line_064_test_shielding_immediate_scope_cancelled() {
    let (began, steps) = (Instant::now(), Steps::default());
    let shielded = CancelScope::new().shielded();
    let handle = shielded.handle();
    scope(async |tg: &TaskGroup| {
        tg.spawn(async move {
            sleep(SECOND).await;
            handle.cancel_because("from another task");
            Ok(())
        });
        let ended = shielded.run(async {
            sleep(LONG).await;
            steps.mark("slept");
        });
        assert_eq!(ended.await.unwrap_err().cause().to_string(), "from another task");
        assert_eq!(began.elapsed(), SECOND);
        nothing_is_pending().await;
        Ok(())
    })
    .await
    .unwrap();
    assert!(steps.seen().is_empty());
}

/// In a cancelled task each shield protects what is in it, and the first wait that is in none is cut.
#[tokio::test(start_paused = true)]
async fn line_065_test_shielding_mutate() {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let (child, began) = (steps.clone(), Instant::now());
    let task = group.spawn(async move {
        sleep(SECOND).await;
        child.mark("unprotected");
        shield(sleep(2 * SECOND)).await;
        child.mark("protected");
        shield(sleep(2 * SECOND)).await;
        child.mark("protected again");
        sleep(SECOND).await;
        child.mark("past the wait");
        Ok(())
    });
    group
        .run(async {
            sleep(2 * SECOND).await;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(steps.seen(), ["unprotected", "protected", "protected again"]);
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// Deadlines from outside do not hold in a shield, its own does (R14).
#[tokio::test(start_paused = true)]
async fn line_070_test_shielded_deadline() {
    let began = Instant::now();
    let ended = timeout(10 * SECOND, async {
        assert_eq!(deadline(), Some(began + 10 * SECOND));
        let shielded = CancelScope::timeout(LONG).shielded();
        let within = shielded.run(async {
            assert_eq!(deadline(), Some(began + LONG));
            timeout(SECOND, async { assert_eq!(deadline(), Some(began + SECOND)) }).await.unwrap();
            shield(async { assert_eq!(deadline(), None) }).await;
            sleep(20 * SECOND).await;
            assert_eq!(deadline(), Some(began + LONG));
        });
        within.await.unwrap();
        pending::<()>().await
    });
    assert_eq!(ended.await.unwrap_err().after(), 10 * SECOND);
    assert_eq!(began.elapsed(), 20 * SECOND);
}

/// A deadline that has been reached at the entry: the first checkpoint is cut.
#[tokio::test(start_paused = true)]
async fn line_071_test_deadline_reached_on_start() {
    let (steps, entered) = (Steps::default(), CancelScope::deadline(Instant::now()));
    let handle = entered.handle();
    let ended = entered.run(async {
        steps.mark("entered");
        checkpoint().await;
        steps.mark("past the checkpoint");
    });
    assert_expired(&ended.await.unwrap_err(), &handle);
    assert_eq!(steps.seen(), ["entered"]);
}

/// A deadline that is moved later before it has passed does not cut at its former instant.
#[tokio::test(start_paused = true)]
async fn line_072_test_deadline_moved() {
    let began = Instant::now();
    let entered = CancelScope::timeout(2 * SECOND);
    let handle = entered.handle();
    let ended = entered.run(async {
        sleep(SECOND).await;
        handle.reschedule(began + 4 * SECOND).unwrap();
        sleep(2 * SECOND).await;
        "in time"
    });
    assert_eq!(ended.await.unwrap(), "in time");
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_untouched(&handle);
}

/// A time limit around a group whose body and child both sleep: one `Elapsed`, and no group of cancellations.
#[tokio::test(start_paused = true)]
async fn line_073_test_timeout_error_with_multiple_cancellations() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let ended = timeout(
        SECOND,
        scope(async |tg: &TaskGroup| {
            tg.spawn(sleeper(alive.guard()));
            tg.spawn(sleeper(alive.guard()));
            sleep(LONG).await;
            steps.mark("slept");
            Ok(())
        }),
    )
    .await;
    assert_eq!(ended.unwrap_err().after(), SECOND);
    assert_eq!((alive.ever(), alive.now()), (2, 0));
    assert!(steps.seen().is_empty());
}

/// The middle scope is cancelled while a time limit inside waits: no `Elapsed`, and no code up to that scope's end.
#[tokio::test(start_paused = true)]
async fn line_074_test_nested_fail_after() {
    let (began, steps) = (Instant::now(), Steps::default());
    let (outer, middle) = (CancelScope::new(), CancelScope::new());
    let (outer_handle, middle_handle) = (outer.handle(), middle.handle());
    scope(async |tg: &TaskGroup| {
        tg.spawn(async move {
            sleep(SECOND).await;
            middle_handle.cancel_because("the middle one");
            Ok(())
        });
        let ended = outer.run(async {
            let ended = middle.run(async {
                let elapsed = timeout(2 * SECOND, sleep(LONG)).await;
                steps.mark("the inner one reported");
                drop(elapsed);
                checkpoint().await;
                steps.mark("at the middle's end");
            });
            assert_eq!(ended.await.unwrap_err().cause().to_string(), "the middle one");
            steps.mark("behind the middle");
            nothing_is_pending().await;
        });
        Ok(ended.await?)
    })
    .await
    .unwrap();
    assert_eq!(steps.seen(), ["behind the middle"]);
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_untouched(&outer_handle);
}

/// Two scopes are cancelled from within a shield: a wait behind the inner one, in the outer one, is cut.
#[tokio::test(start_paused = true)]
async fn line_076_test_triple_nested_shield_checkpoint_in_outer() {
    let (steps, first, second) = (Steps::default(), CancelScope::new(), CancelScope::new());
    let (first_handle, second_handle) = (first.handle(), second.handle());
    let ended = first.run(async {
        let within = second.run(shield(async {
            first_handle.cancel_because("first");
            second_handle.cancel_because("second");
        }));
        within.await.unwrap();
        steps.mark("behind the second");
        checkpoint().await;
        steps.mark("past the checkpoint");
    });
    assert_eq!(ended.await.unwrap_err().cause().to_string(), "first");
    assert_eq!(steps.seen(), ["behind the second"]);
}

/// Only the outer one of two scopes is cancelled from within a shield: a wait in the inner one is cut.
#[tokio::test(start_paused = true)]
async fn line_077_test_triple_nested_shield_checkpoint_in_middle() {
    let (steps, first, second) = (Steps::default(), CancelScope::new(), CancelScope::new());
    let (first_handle, second_handle) = (first.handle(), second.handle());
    let ended = first.run(async {
        let within = second.run(async {
            shield(async { first_handle.cancel_because("first") }).await;
            steps.mark("behind the shield");
            checkpoint().await;
            steps.mark("past the checkpoint");
        });
        let ended = within.await;
        steps.mark("behind the second");
        drop(ended);
    });
    assert_eq!(ended.await.unwrap_err().cause().to_string(), "first");
    assert_eq!(steps.seen(), ["behind the shield"]);
    assert!(!second_handle.cancel_called());
}

/// An inner scope ran out of time, then the outer one is cancelled and left without a wait: it has cut nothing.
#[tokio::test(start_paused = true)]
async fn line_082_test_escaping_cancelled_error_from_cancelled_task() {
    hosted(async {
        let outer = CancelScope::new();
        let handle = outer.handle();
        let ended = outer.run(async {
            assert!(timeout(SECOND, sleep(LONG)).await.is_err());
            handle.cancel();
            "value"
        });
        assert_eq!(ended.await.unwrap(), "value");
        assert!(handle.cancel_called());
        nothing_is_pending().await;
        Ok(())
    })
    .await;
}

/// Until `ready` the child is its starter's: the starter's cancel cuts it. After it, it is its group's alone. It
/// stands in the group from the beginning (R20).
#[tokio::test(start_paused = true)]
async fn line_096_test_start_parent_id() {
    for is_ready in [false, true] {
        let alive = Alive::new();
        let guard = alive.guard();
        let group: TaskGroup = TaskGroup::builder().name("home").build();
        let starter = CancelScope::new();
        let handle = starter.handle();
        let body = async {
            let starting = starter.run(async {
                let started = group.task().name("child").start(|ready: Ready<()>| async move {
                    let _guard = guard;
                    if is_ready {
                        ready.ready(());
                    }
                    sleep(2 * SECOND).await;
                    Err::<(), _>(anyhow!("late"))
                });
                drop(started.await);
                sleep(LONG).await;
            });
            let cancel = async {
                sleep(SECOND).await;
                assert_eq!(group.stragglers()[0].path(), "home > child");
                handle.cancel();
            };
            let (starting, ()) = tokio::join!(starting, cancel);
            assert!(starting.is_err());
            assert_eq!(alive.now(), usize::from(is_ready));
            Ok(())
        };
        match group.run(body).await {
            Ok(()) => assert!(!is_ready),
            Err(error) => {
                assert!(is_ready);
                assert_eq!(error.first().unwrap().path(), "home > child");
            }
        }
        assert_eq!(alive.now(), 0);
    }
}

/// The host is in a shield when the scope around the group is cancelled: the child, which is not, is cut.
#[tokio::test(start_paused = true)]
async fn line_109_test_cancel_child_task_when_host_is_shielded() {
    let (began, alive, steps) = (Instant::now(), Alive::new(), Steps::default());
    let parent = CancelScope::new();
    let handle = parent.handle();
    let ended = parent.run(async {
        let group: TaskGroup = TaskGroup::new();
        let child = group.spawn(sleeper(alive.guard()));
        let ended = group.run(async {
            shield(async {
                sleep(SECOND).await;
                assert!(alive.now() == 1 && !child.is_finished());
                handle.cancel_because("the parent");
                sleep(SECOND).await;
                assert!(alive.now() == 0 && child.is_finished());
                assert!(!is_cancelled());
                steps.mark("shielded");
            })
            .await;
            checkpoint().await;
            steps.mark("past the checkpoint");
            Ok(())
        });
        let ended = ended.await;
        steps.mark("behind the group");
        drop(ended);
    });
    assert_eq!(ended.await.unwrap_err().cause().to_string(), "the parent");
    assert_eq!(steps.seen(), ["shielded"]);
    assert_eq!(began.elapsed(), 2 * SECOND);
}

/// The starter is cancelled while the starting child is in a shield: that part is finished, the next wait is
/// cut, and the starter has waited for it (R20). The group goes on.
#[tokio::test(start_paused = true)]
async fn line_122_test_cancel_shielding_start() {
    let (group, alive, steps) = (TaskGroup::<anyhow::Error>::new(), Alive::new(), Steps::default());
    let (starter, began) = (CancelScope::new(), Instant::now());
    let (handle, guard, child) = (starter.handle(), alive.guard(), steps.clone());
    group.spawn(async move {
        sleep(SECOND).await;
        handle.cancel_because("the starter");
        Ok(())
    });
    let answer = group
        .run(async {
            let starting = group.start(|ready: Ready<()>| async move {
                let _guard = guard;
                shield(sleep(3 * SECOND)).await;
                child.mark("shielded");
                checkpoint().await;
                child.mark("past the checkpoint");
                ready.ready(());
                Ok(())
            });
            let ended = starter.run(async {
                let started: Result<_, StartError<_>> = starting.await;
                steps.mark("started");
                started.map_err(|error| anyhow!("{error}")).map(drop)
            });
            assert_eq!(ended.await.unwrap_err().cause().to_string(), "the starter");
            assert_eq!(began.elapsed(), 3 * SECOND);
            assert_eq!(alive.now(), 0);
            assert!(!group.is_cancelled());
            nothing_is_pending().await;
            Ok(group.spawn(async { Ok(42) }).await?)
        })
        .await
        .unwrap();
    assert_eq!(answer, 42);
    assert_eq!(steps.seen(), ["shielded"]);
}
