//! Timeouts, scopes, shields, grace: rules R12 to R19.

mod common;

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Alive, Steps, counting_polls};
use taskgroup::{
    CancelReason, CancelScope, Ending, ErrorGroup, TaskGroup, cancelled, checkpoint, deadline, finally,
    finally_for, is_cancelled, shield, shield_for, timeout, timeout_at,
};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

type Group = TaskGroup<&'static str>;

#[tokio::test(start_paused = true)]
async fn a_timeout_cuts_its_future_and_says_which_and_how_long() {
    let alive = Alive::new();
    let guard = alive.guard();
    let line = line!() + 1;
    let error = timeout(2 * SECOND, async move {
        let _guard = guard;
        pending::<()>().await
    })
    .await
    .unwrap_err();
    assert_eq!(alive.now(), 0);
    assert_eq!(error.after(), 2 * SECOND);
    assert_eq!(error.location().line(), line);
    assert!(error.to_string().contains("time.rs") && error.to_string().ends_with("ran out of time after 2s"));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_waits_for_the_groups_inside() {
    let began = Instant::now();
    let steps = Steps::default();
    let inner = steps.clone();
    let result = timeout(SECOND, async {
        let group = Group::new();
        group.spawn(async move {
            shield(sleep(3 * SECOND)).await;
            inner.mark("shielded part done");
            pending::<()>().await;
            Ok(())
        });
        group.run(pending::<Result<(), _>>()).await
    })
    .await;
    assert!(result.is_err());
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(steps.seen(), ["shielded part done"]);
}

#[tokio::test(start_paused = true)]
async fn a_value_beats_the_deadline() {
    assert_eq!(timeout(Duration::ZERO, async { 7 }).await.unwrap(), 7);
    assert!(timeout(Duration::ZERO, tokio::task::yield_now()).await.is_err());
    let past = Instant::now() - SECOND;
    assert_eq!(timeout_at(past, async { 7 }).await.unwrap(), 7);
    assert!(timeout_at(past, sleep(SECOND)).await.is_err());
    // Both are due at one instant.
    timeout(SECOND, sleep(SECOND)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_future_that_never_truly_waits_cannot_starve_its_timeout() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<()>();
    let spin = async {
        loop {
            sender.send(()).unwrap();
            receiver.recv().await;
        }
    };
    let moved = async {
        tokio::task::yield_now().await;
        tokio::time::advance(2 * SECOND).await;
        pending::<()>().await
    };
    let both = async { tokio::join!(timeout(SECOND, spin), timeout(3 * SECOND, moved)) };
    let (spun, moved): (Result<(), _>, Result<(), _>) = both.await;
    assert!(spun.is_err() && moved.is_err());
}

#[tokio::test(start_paused = true)]
async fn of_several_that_expire_together_the_outermost_reports() {
    let outer = timeout(SECOND, async {
        let inner = timeout(SECOND, pending::<()>()).await;
        panic!("the inner one reported: {inner:?}");
    })
    .await;
    let error: taskgroup::Elapsed = match outer {
        Err(error) => error,
        Ok(never) => never,
    };
    assert_eq!(error.after(), SECOND);
    // Across tasks too: the outer scope's group is drained, no child reports.
    let result = timeout(SECOND, async {
        let group: TaskGroup<taskgroup::Elapsed> = TaskGroup::new();
        group.spawn(timeout(SECOND, pending::<()>()));
        group.join().await
    })
    .await;
    assert!(result.is_err(), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_cancel_is_not_reported_as_elapsed() {
    let steps = Steps::default();
    let noted = steps.clone();
    let group = Group::new();
    let task = group.spawn(async move {
        let result = timeout(SECOND, pending::<()>()).await;
        noted.mark("came back");
        drop(result);
        Ok(())
    });
    group
        .run(async {
            tokio::task::yield_now().await;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    let error = task.into_result().unwrap_err();
    assert!(matches!(error.reason().unwrap().root().reason(), CancelReason::Requested(None)));
    assert_eq!(steps.seen(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_is_cancelled_through_its_handle_and_the_task_goes_on() {
    let scope = CancelScope::new().name("step");
    let handle = scope.handle();
    let group = Group::new();
    group.spawn({
        let handle = handle.clone();
        async move {
            sleep(SECOND).await;
            handle.cancel_because("enough");
            Ok(())
        }
    });
    group
        .run(async {
            let error = scope.run(pending::<()>()).await.unwrap_err();
            assert_eq!(error.cause().to_string(), "enough");
            assert_eq!(error.cause().target().name(), Some("step"));
            assert!(!is_cancelled());
            sleep(SECOND).await;
            Ok(())
        })
        .await
        .unwrap();
    assert!(handle.cancel_called() && !handle.expired());
}

#[tokio::test(start_paused = true)]
async fn a_scope_cancelled_before_its_entry_is_cut_at_its_first_wait() {
    let scope = CancelScope::new();
    scope.handle().cancel();
    let steps = Steps::default();
    let result = scope
        .run(async {
            steps.mark("begun");
            checkpoint().await;
            steps.mark("past the checkpoint");
        })
        .await;
    assert!(result.is_err());
    assert_eq!(steps.seen(), ["begun"]);
    let scope = CancelScope::new();
    scope.handle().cancel();
    assert_eq!(scope.run(async { 5 }).await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_can_be_moved() {
    let began = Instant::now();
    let scope = CancelScope::timeout(SECOND);
    let handle = scope.handle();
    assert_eq!(handle.deadline(), None);
    let inside = handle.clone();
    let result = scope
        .run(async move {
            assert_eq!(inside.deadline(), Some(began + SECOND));
            inside.reschedule(began + 5 * SECOND).unwrap();
            sleep(4 * SECOND).await;
            assert_eq!(deadline(), Some(began + 5 * SECOND));
            inside.reschedule(None).unwrap();
            sleep(10 * SECOND).await;
            assert_eq!(deadline(), None);
            inside.reschedule(Instant::now() + SECOND).unwrap();
            pending::<()>().await
        })
        .await;
    assert!(result.is_err());
    assert_eq!(began.elapsed(), 15 * SECOND);
    assert!(handle.expired() && handle.cancel_called());
    assert!(handle.reschedule(None).unwrap_err().has_ended());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_moved_from_elsewhere_takes_effect() {
    let began = Instant::now();
    let scope = CancelScope::timeout(10 * SECOND);
    let handle = scope.handle();
    let mover = tokio::spawn(async move {
        sleep(SECOND).await;
        handle.reschedule(began + 2 * SECOND).unwrap();
    });
    assert!(scope.run(pending::<()>()).await.is_err());
    assert_eq!(began.elapsed(), 2 * SECOND);
    mover.await.unwrap();
    // Into the past: it has expired, and stays so.
    let scope = CancelScope::timeout(10 * SECOND);
    let handle = scope.handle();
    let result = scope
        .run(async move {
            handle.reschedule(Instant::now() - SECOND).unwrap();
            assert!(is_cancelled() && handle.expired());
            assert!(!handle.reschedule(None).unwrap_err().has_ended());
            pending::<()>().await
        })
        .await;
    assert!(matches!(result.unwrap_err().cause().reason(), CancelReason::Deadline(..)));
}

#[tokio::test(start_paused = true)]
async fn a_shield_completes_and_the_code_after_it_is_cut() {
    let steps = Steps::default();
    let group = Group::new();
    let noted = steps.clone();
    let task = group.spawn(async move {
        shield(sleep(SECOND)).await;
        noted.mark("after the first");
        assert!(is_cancelled());
        shield(async {
            assert!(!is_cancelled());
            sleep(SECOND).await
        })
        .await;
        noted.mark("after the second");
        checkpoint().await;
        noted.mark("never");
        Ok(())
    });
    let began = Instant::now();
    group
        .run(async {
            tokio::task::yield_now().await;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(steps.seen(), ["after the first", "after the second"]);
    assert!(task.into_result().unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_shield_in_the_body_and_in_nested_groups_completes() {
    let steps = Steps::default();
    let result = timeout(SECOND, async {
        let outer = Group::new();
        outer
            .run(async {
                let inner = Group::new();
                inner
                    .run(async {
                        shield(sleep(4 * SECOND)).await;
                        steps.mark("shield done");
                        sleep(SECOND).await;
                        steps.mark("never");
                        Ok(())
                    })
                    .await
                    .ok();
                steps.mark("never either");
                Ok(())
            })
            .await
    })
    .await;
    assert!(result.is_err());
    assert_eq!(steps.seen(), ["shield done"]);
}

#[tokio::test(start_paused = true)]
async fn a_bounded_shield_gives_elapsed_in_a_cancelled_region() {
    let steps = Steps::default();
    let noted = steps.clone();
    let group = Group::new();
    group.spawn(async move {
        let result = shield_for(2 * SECOND, pending::<()>()).await;
        assert!(result.is_err());
        noted.mark("elapsed");
        sleep(SECOND).await;
        noted.mark("never");
        Ok(())
    });
    let began = Instant::now();
    group
        .run(async {
            tokio::task::yield_now().await;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(steps.seen(), ["elapsed"]);
}

#[tokio::test(start_paused = true)]
async fn a_shield_covers_what_runs_inside_it_only() {
    let inside = Alive::new();
    let outside = Alive::new();
    let outer = Group::new();
    let spawner = outer.spawner();
    let began = Instant::now();
    let (inside_guard, outside_guard) = (inside.guard(), outside.guard());
    outer.spawn(async move {
        shield(async move {
            spawner.spawn::<()>(async move {
                let _guard = outside_guard;
                pending().await
            });
            let group = Group::new();
            let held = group.spawn(async move {
                let _guard = inside_guard;
                sleep(2 * SECOND).await;
                Ok(5)
            });
            let value = group.run(async { Ok(held.await.unwrap()) }).await.unwrap();
            assert_eq!(value, 5);
        })
        .await;
        Ok(())
    });
    outer
        .run(async {
            sleep(SECOND).await;
            outer.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!((inside.now(), outside.now()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn deadlines_take_the_minimum_up_to_the_nearest_shield() {
    let now = Instant::now();
    timeout(10 * SECOND, async {
        timeout(20 * SECOND, async {
            assert_eq!(deadline(), Some(now + 10 * SECOND));
            shield(async { assert_eq!(deadline(), None) }).await;
            shield_for(30 * SECOND, async { assert_eq!(deadline(), Some(now + 30 * SECOND)) }).await.unwrap();
            let group: Group = TaskGroup::builder().timeout(5 * SECOND).build();
            group.spawn(async move {
                assert_eq!(deadline(), Some(now + 5 * SECOND));
                Ok(())
            });
            group.join().await.unwrap();
        })
        .await
        .unwrap();
    })
    .await
    .unwrap();
    assert_eq!(deadline(), None);
}

#[tokio::test(start_paused = true)]
async fn cleanup_runs_after_success_failure_panic_and_cancel() {
    let steps = Steps::default();
    let clean = |steps: &Steps| {
        let steps = steps.clone();
        async move |how: Ending| {
            sleep(SECOND).await;
            steps.mark(match how {
                Ending::Succeeded => "succeeded",
                Ending::Failed => "failed",
                Ending::Panicked => "panicked",
                Ending::Cancelled(_) => "cancelled",
                _ => "?",
            });
        }
    };
    assert_eq!(finally(async { Ok::<_, &str>(1) }, clean(&steps)).await, Ok(1));
    assert_eq!(finally(async { Err::<(), _>("no") }, clean(&steps)).await, Err("no"));
    let group: Group = TaskGroup::builder().on_panic(taskgroup::OnPanic::Collect).build();
    group.spawn::<()>(finally(async { panic!("oh") }, clean(&steps)));
    let error = group.join().await.unwrap_err();
    assert_eq!(error.first().unwrap().panic().unwrap().message(), Some("oh"));
    let cut = timeout(SECOND, finally(pending::<Result<(), &str>>(), clean(&steps))).await;
    assert!(cut.is_err());
    assert_eq!(steps.seen(), ["succeeded", "failed", "panicked", "cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn cleanup_that_takes_too_long_is_given_up() {
    let began = Instant::now();
    let result = finally_for(SECOND, async { Ok::<_, &str>(1) }, async |_| pending().await).await;
    assert_eq!(result, Ok(1));
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_cooperative_task_is_asked_and_ends_by_itself() {
    let steps = Steps::default();
    let noted = steps.clone();
    let group = Group::new();
    let task = group.task().cooperative(|token| async move {
        let mut rounds = 0;
        while !token.is_cancelled() {
            sleep(SECOND).await;
            rounds += 1;
        }
        assert!(is_cancelled());
        timeout(5 * SECOND, async {
            assert!(is_cancelled());
            cancelled().await;
            sleep(SECOND).await;
        })
        .await
        .unwrap();
        let inner = Group::new();
        let child = inner.spawn(async {
            sleep(SECOND).await;
            Ok(7)
        });
        assert_eq!(inner.run(async { Ok(child.await.unwrap()) }).await.unwrap(), 7);
        noted.mark("ended by itself");
        Ok(rounds)
    });
    group
        .run(async {
            sleep(SECOND * 5 / 2).await;
            group.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(task.into_result().unwrap(), 3);
    assert_eq!(steps.seen(), ["ended by itself"]);
}

#[tokio::test(start_paused = true)]
async fn grace_ends_what_does_not_end_by_itself() {
    let alive = Alive::new();
    let began = Instant::now();
    let group: Group = TaskGroup::builder().grace(3 * SECOND).build();
    let (one, two, three) = (alive.guard(), alive.guard(), alive.guard());
    let stubborn = group.task().cooperative(|_| async move {
        let _one = one;
        let inner = Group::new();
        inner.task().cooperative(|_| async move {
            let _two = two;
            pending::<Result<(), _>>().await
        });
        inner.join().await.map_err(|_| "inner")
    });
    let shorter = group.task().grace(SECOND).cooperative(|_| async move {
        let _three = three;
        pending::<Result<(), _>>().await
    });
    let error = group
        .run(async {
            tokio::task::yield_now().await;
            group.cancel();
            sleep(SECOND).await;
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(alive.now(), 0);
    assert!(stubborn.into_result().unwrap_err().is_cancelled());
    assert!(shorter.into_result().unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_groups_grace_bounds_its_body_and_holds_in_a_frozen_host() {
    let began = Instant::now();
    let group: Group = TaskGroup::builder().grace(2 * SECOND).build();
    let result = group
        .run(async {
            group.cancel();
            shield(pending::<()>()).await;
            Ok(())
        })
        .await;
    assert!(result.unwrap_err().is_cancelled());
    assert_eq!(began.elapsed(), 2 * SECOND);

    // The host is frozen, nobody polls the inner group's `run`.
    let alive = Alive::new();
    let guard = alive.guard();
    let began = Instant::now();
    let result = timeout(SECOND, async {
        let graced: Group = TaskGroup::builder().grace(2 * SECOND).build();
        graced
            .run(async {
                let inner = Group::new();
                inner.task().cooperative(|_| async move {
                    let _guard = guard;
                    pending::<Result<(), _>>().await
                });
                inner.run(pending::<Result<(), _>>()).await.ok();
                Ok(())
            })
            .await
    })
    .await;
    assert!(result.is_err());
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_groups_deadline_cuts_and_says_so() {
    let group: Group = TaskGroup::builder().name("batch").timeout(SECOND).build();
    group.spawn(pending::<Result<(), _>>());
    let error: ErrorGroup<_> = group.run(async { Ok(1) }).await.unwrap_err();
    assert!(error.is_cancelled());
    assert!(matches!(error.cause().unwrap().reason(), CancelReason::Deadline(who, after)
        if who.name() == Some("batch") && *after == SECOND));
    // In time.
    let group: Group = TaskGroup::builder().timeout(SECOND).build();
    group.spawn(async {
        sleep(SECOND / 2).await;
        Ok(())
    });
    assert_eq!(group.run(async { Ok(1) }).await.unwrap(), 1);
    // Errors of the drain come out.
    let group: Group = TaskGroup::builder().timeout(SECOND).build();
    let (started, start) = tokio::sync::oneshot::channel();
    group.spawn_blocking::<()>(|token| {
        started.send(()).unwrap();
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Err("late")
    });
    // The clock does not move by itself while a blocking closure runs.
    let pass = async {
        start.await.unwrap();
        tokio::time::advance(SECOND).await;
    };
    let (error, ()) = tokio::join!(group.join(), pass);
    assert_eq!(error.unwrap_err().first().unwrap().error(), Some(&"late"));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_shielded_children_costs_no_polls() {
    for children in [1, 100] {
        let began = Instant::now();
        let (polls, alive) = (AtomicUsize::new(0), Alive::new());
        let group = Group::new();
        for child in 1..=children {
            let guard = alive.guard();
            group.spawn(async move {
                let _guard = guard;
                shield(sleep(Duration::from_millis(200) * child / children)).await;
                Ok(())
            });
        }
        let run = group.run(async {
            sleep(Duration::from_millis(1)).await;
            group.cancel();
            Ok(())
        });
        counting_polls(&polls, run).await.unwrap();
        assert_eq!((began.elapsed(), alive.now()), (Duration::from_millis(200), 0));
        assert!(polls.load(Ordering::SeqCst) < 10, "{polls:?} for {children}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_grace_period_cannot_end_is_waited_for_in_a_frozen_host() {
    let closure = Alive::new();
    let guard = closure.guard();
    let (started, start) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let work = timeout(SECOND, async move {
        let group: Group = TaskGroup::builder().grace(SECOND).build();
        group.spawn_blocking(move |_| {
            let _guard = guard;
            started.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        });
        group.run(pending::<Result<(), _>>()).await
    });
    let pass = async {
        start.await.unwrap();
        // The clock does not move by itself while a blocking closure runs.
        for _ in 0..4 {
            tokio::time::advance(SECOND).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(closure.now(), 1);
        release.send(()).unwrap();
        pending::<()>().await;
    };
    let ended = async {
        assert!(work.await.is_err());
        assert_eq!(closure.now(), 0, "the scope waited for the closure, deadline and grace period or not");
    };
    tokio::select! {
        () = ended => {}
        () = pass => {}
    }
}

/// What is around a future holds it once: who nests such calls must not double it each time.
#[test]
fn a_future_with_a_limit_is_little_larger_than_the_future() {
    const LARGE: usize = 4096;
    const MORE: usize = 1024;
    let large = || async {
        let bytes = [1_u8; LARGE];
        tokio::task::yield_now().await;
        Ok::<_, ()>(std::hint::black_box(&bytes).len())
    };
    assert!(size_of_val(&large()) >= LARGE);
    for (name, size) in [
        ("timeout", size_of_val(&timeout(SECOND, large()))),
        ("shield", size_of_val(&shield(large()))),
        ("shield_for", size_of_val(&shield_for(SECOND, large()))),
        ("finally", size_of_val(&finally(large(), async |_how| {}))),
        ("scope", size_of_val(&CancelScope::new().run(large()))),
    ] {
        assert!(size < size_of_val(&large()) + MORE, "{name}: {size}");
    }
}
