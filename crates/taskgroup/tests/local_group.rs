//! Groups that poll their own children: the rules of the design, with children that borrow and are not `Send`.

#![allow(clippy::unit_arg, reason = "the shortest way to write a child")]

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::{Alive, multi_thread, within_an_hour};
use taskgroup::{
    CancelReason, ErrorGroup, LocalGroup, NodeKind, OnFailure, OnPanic, SendLocalGroup, TaskGroup, current,
    deadline, is_cancelled, local_scope, scope, shield, timeout,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

#[tokio::test]
async fn children_borrow_and_need_not_be_send() {
    let log = RefCell::new(Vec::new());
    let shared = Rc::new(Cell::new(0));
    let sum = local_scope(async |group: &LocalGroup| {
        let one = group.spawn(async {
            log.borrow_mut().push("one");
            yield_now().await;
            shared.set(shared.get() + 1);
            Ok(1)
        });
        let two = group.spawn({
            let shared = Rc::clone(&shared);
            let log = &log;
            async move {
                log.borrow_mut().push("two");
                shared.set(shared.get() + 1);
                Ok(Rc::new(2))
            }
        });
        Ok(one.await? + *two.await?)
    })
    .await;
    assert_eq!(sum.unwrap(), 3);
    assert_eq!(*log.borrow(), ["one", "two"]);
    assert_eq!((shared.get(), Rc::strong_count(&shared)), (2, 1));
}

#[tokio::test]
async fn r01_exit_comes_after_the_last_drop() {
    let alive = Alive::new();
    let group: LocalGroup = LocalGroup::new();
    for turns in 0..50 {
        let guard = alive.guard();
        group.spawn(async move {
            for _ in 0..turns {
                yield_now().await;
            }
            drop(guard);
            Ok(())
        });
    }
    assert_eq!((alive.now(), group.len()), (50, 50));
    group.join().await.unwrap();
    assert_eq!((alive.now(), alive.ever()), (0, 50));
}

#[tokio::test]
async fn r01_a_value_without_a_handle_is_gone_at_exit() {
    let alive = Alive::new();
    let group: LocalGroup = LocalGroup::new();
    let guard = alive.guard();
    drop(group.spawn(async move { Ok(guard) }));
    let guard = alive.guard();
    drop(group.spawn(async move {
        yield_now().await;
        Ok(guard)
    }));
    let guard = alive.guard();
    let kept = group.spawn(async move { Ok(guard) });
    group.join().await.unwrap();
    assert_eq!(alive.now(), 1);
    drop(kept);
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
async fn r02_dropping_the_group_drops_its_children_at_once() {
    let alive = Alive::new();
    let guard = || alive.guard();
    let group: LocalGroup = LocalGroup::new();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let guard = guard();
            group.spawn::<()>(async move {
                let _guard = guard;
                pending().await
            })
        })
        .collect();
    {
        let mut run = Box::pin(group.run(async { pending::<anyhow::Result<()>>().await }));
        assert!(futures::poll!(run.as_mut()).is_pending());
        let late = guard();
        group.spawn::<()>(async move {
            let _late = late;
            unreachable!("never polled")
        });
        assert_eq!((alive.now(), group.len()), (11, 11));
    }
    assert_eq!((alive.now(), group.len()), (0, 0));
    for task in tasks {
        let error = task.into_result().unwrap_err();
        assert!(matches!(error.reason().unwrap().reason(), CancelReason::GroupDropped));
    }
    assert!(group.spawn(async { Ok(()) }).into_result().unwrap_err().never_started());
}

#[tokio::test]
async fn r02_children_of_inner_task_groups_are_gone_too() {
    let alive = Alive::new();
    let work = local_scope(async |group| {
        for _ in 0..3 {
            let (outer, inner) = (alive.guard(), alive.guard());
            group.spawn(async move {
                let _outer = outer;
                scope(async |tg: &TaskGroup| {
                    tg.spawn::<()>(async move {
                        let _inner = inner;
                        pending().await
                    });
                    Ok(())
                })
                .await?;
                Ok(())
            });
        }
        pending::<anyhow::Result<()>>().await
    });
    let mut work = Box::pin(work);
    assert!(futures::poll!(work.as_mut()).is_pending());
    settle().await;
    assert_eq!(alive.now(), 6);
    drop(work);
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
async fn r02_an_aborted_host_leaves_nothing() {
    let alive = Alive::new();
    let guard = alive.guard();
    let host = tokio::spawn(async move {
        let group: SendLocalGroup = SendLocalGroup::new();
        group.spawn::<()>(async move {
            let _guard = guard;
            pending().await
        });
        group.join().await
    });
    settle().await;
    assert_eq!(alive.now(), 1);
    host.abort();
    assert!(host.await.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
async fn r02_a_child_that_panics_while_it_is_dropped() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("a bad value");
        }
    }
    let alive = Alive::new();
    let group: LocalGroup = LocalGroup::builder().on_panic(OnPanic::Collect).build();
    for _ in 0..2 {
        let guard = alive.guard();
        group.spawn::<()>(async move {
            let _guard = guard;
            let _bad = Bad;
            pending().await
        });
    }
    let body = async {
        settle().await;
        group.cancel();
        Ok(())
    };
    let errors = group.run(body).await.unwrap_err();
    assert_eq!((errors.len(), alive.now()), (2, 0));
    assert_eq!(errors.first().unwrap().panic().unwrap().message(), Some("a bad value"));
}

#[tokio::test]
async fn r04_a_cancel_from_above_cuts_the_children() {
    let outer: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let guard = alive.guard();
    let host = outer.spawn(async move {
        let group: SendLocalGroup = SendLocalGroup::new();
        let task = group.task().name("leaf").spawn::<()>(async move {
            let _guard = guard;
            pending().await
        });
        let _ = group.join().await;
        drop(task);
        unreachable!("the host was cut")
    });
    let _: &taskgroup::Task<()> = &host;
    settle().await;
    assert_eq!(alive.now(), 1);
    host.cancel_because("no longer wanted");
    assert!(host.await.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
    outer.join().await.unwrap();
}

#[tokio::test]
async fn r04_run_moves_a_group_under_the_node_that_polls_it() {
    let alive = Alive::new();
    let guard = alive.guard();
    let elsewhere: SendLocalGroup = SendLocalGroup::new();
    let task = elsewhere.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    let host: TaskGroup = TaskGroup::new();
    let runner = host.spawn(async move { Ok(elsewhere.join().await?) });
    settle().await;
    runner.cancel_because("enough");
    assert!(runner.await.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
    let error = task.into_result().unwrap_err();
    let chain: Vec<_> = error.reason().unwrap().chain().map(|link| link.reason().clone()).collect();
    assert!(matches!(&chain[0], CancelReason::HostCancelled(_)), "{chain:?}");
    assert_eq!(chain[1], CancelReason::Requested(Some("enough".into())));
    host.join().await.unwrap();
}

#[tokio::test]
async fn r05_born_cancelled_is_dropped_before_spawn_returns() {
    let alive = Alive::new();
    let group: LocalGroup = LocalGroup::new();
    let spawner = group.spawner();
    group.cancel_because("closed");
    let guard = alive.guard();
    let task = spawner.spawn::<()>(async move {
        let _guard = guard;
        unreachable!("never polled")
    });
    assert_eq!(alive.now(), 0);
    assert!(task.is_finished());
    let refused = spawner.try_spawn(async { Ok(()) }).unwrap_err();
    assert_eq!(refused.cause().to_string(), "closed");
    assert_eq!(refused.into_future().await.unwrap(), (), "the future comes back");
    group.join().await.unwrap();
    let error = task.into_result().unwrap_err();
    assert!(error.never_started());
    assert_eq!(error.reason().unwrap().to_string(), "closed");
    let late = spawner.spawn(async { Ok(()) });
    assert!(late.await.unwrap_err().never_started());
    assert!(spawner.is_closed());
    assert_eq!((spawner.report().spawned(), spawner.report().never_started()), (2, 2));
}

#[tokio::test]
async fn r05_a_child_that_was_not_polled_before_the_cancel_never_starts() {
    let alive = Alive::new();
    let group: LocalGroup = LocalGroup::new();
    let guard = alive.guard();
    let task = group.spawn::<()>(async move {
        let _guard = guard;
        unreachable!("never polled")
    });
    let alone = group.spawn::<()>(async { unreachable!("never polled") });
    alone.cancel_because("alone");
    group.cancel_because("all");
    group.join().await.unwrap();
    assert_eq!(alive.now(), 0);
    for (task, cause) in [(task, "all"), (alone, "alone")] {
        let error = task.into_result().unwrap_err();
        assert!(error.never_started());
        assert_eq!(error.reason().unwrap().to_string(), cause);
    }
}

#[tokio::test]
async fn r06_children_spawn_siblings_after_the_body_has_ended() {
    let seen = RefCell::new(Vec::new());
    let group: LocalGroup = LocalGroup::new();
    let spawner = group.spawner();
    group.spawn({
        let (seen, spawner) = (&seen, spawner.clone());
        async move {
            yield_now().await;
            seen.borrow_mut().push(1);
            let again = spawner.clone();
            spawner.spawn(async move {
                seen.borrow_mut().push(2);
                again.spawn(async move {
                    yield_now().await;
                    seen.borrow_mut().push(3);
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        }
    });
    group.join().await.unwrap();
    assert_eq!(*seen.borrow(), [1, 2, 3]);
    assert!(spawner.is_closed());
    assert_eq!(spawner.report().completed(), 3);
}

#[tokio::test]
async fn r07_the_first_failure_cancels_body_and_siblings() {
    let alive = Alive::new();
    let guard = alive.guard();
    let group: LocalGroup = LocalGroup::new();
    let sibling = group.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    let bad = group.task().name("bad").spawn::<()>(async {
        yield_now().await;
        Err(anyhow::anyhow!("no"))
    });
    let errors = group.run(pending::<anyhow::Result<()>>()).await.unwrap_err();
    assert_eq!((errors.len(), alive.now()), (1, 0));
    assert_eq!(errors.first().unwrap().name(), Some("bad"));
    assert!(bad.into_result().unwrap_err().is_failed());
    let error = sibling.into_result().unwrap_err();
    assert!(
        matches!(error.reason().unwrap().reason(), CancelReason::SiblingFailed(who) if who.name() == Some("bad"))
    );
}

#[tokio::test]
async fn r07_continue_keeps_going_and_reports_all() {
    let group: LocalGroup = LocalGroup::builder().on_failure(OnFailure::Continue).max_failures(3).build();
    let tasks: Vec<_> =
        (0..5).map(|n| group.spawn::<()>(async move { Err(anyhow::anyhow!("no {n}")) })).collect();
    let fine = group.spawn(async {
        settle().await;
        Ok(9)
    });
    let errors = group.join().await.unwrap_err();
    assert_eq!((errors.len(), errors.more()), (3, 2));
    assert!(errors.cause().is_none());
    assert_eq!(fine.into_result().unwrap(), 9);
    assert!(tasks.into_iter().all(|task| task.into_result().unwrap_err().is_failed()));
}

#[tokio::test]
async fn r07_a_body_that_fails_takes_the_children_along() {
    let group: LocalGroup = LocalGroup::new();
    let task = group.spawn(pending::<anyhow::Result<()>>());
    let errors = group.run(async { Err::<(), _>(anyhow::anyhow!("body")) }).await.unwrap_err();
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "body");
    assert!(task.into_result().unwrap_err().is_cancelled());
}

#[tokio::test]
async fn r08_a_failure_says_who_and_where() {
    let errors = LocalGroup::builder()
        .name("app")
        .scope(async |group: &LocalGroup| {
            group.task().name("crawler").spawn(async {
                let pages = LocalGroup::builder().name("pages");
                pages
                    .scope(async |group: &LocalGroup| {
                        group.task().name("page 7").spawn::<()>(async { Err(anyhow::anyhow!("gone")) });
                        Ok(())
                    })
                    .await?;
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap_err();
    let crawler = errors.first().unwrap();
    assert_eq!((crawler.name(), crawler.path()), (Some("crawler"), "app > crawler"));
    assert!(crawler.location().file().ends_with("local_group.rs"));
    let page = errors.leaves().next().unwrap();
    assert_eq!((page.name(), page.path()), (Some("page 7"), "app > crawler > pages > page 7"));
}

#[tokio::test]
async fn r09_an_error_that_says_cancelled_is_no_failure_of_a_cancelled_child() {
    let group: LocalGroup = LocalGroup::builder()
        .treat_as_cancelled(|error: &anyhow::Error| error.to_string() == "interrupted")
        .build();
    let polite = group.task().cooperative::<(), _, _>(|token| async move {
        token.cancelled().await;
        Err(anyhow::anyhow!("interrupted"))
    });
    let own = group.task().cooperative::<(), _, _>(|token| async move {
        token.cancelled().await;
        token.check()?;
        unreachable!()
    });
    let body = async {
        settle().await;
        group.cancel();
        Ok(())
    };
    group.run(body).await.unwrap();
    assert!(polite.into_result().unwrap_err().is_cancelled());
    assert!(own.into_result().unwrap_err().is_cancelled());
    assert_eq!(group.report().asked(), 2);

    // Nobody cancelled this one: its error is an error.
    let group: LocalGroup = LocalGroup::builder().treat_as_cancelled(|_| true).build();
    group.spawn::<()>(async { Err(anyhow::anyhow!("interrupted")) });
    assert_eq!(group.join().await.unwrap_err().len(), 1);
}

#[tokio::test]
async fn r09_errors_beat_cancellation_and_the_cancel_stays_pending() {
    let outer: TaskGroup = TaskGroup::new();
    let (seen, mut told) = mpsc::unbounded_channel();
    let host = outer.spawn(async move {
        let group: SendLocalGroup = SendLocalGroup::new();
        group.task().name("stubborn").cooperative::<(), _, _>(|token| async move {
            token.cancelled().await;
            yield_now().await;
            Err(anyhow::anyhow!("cleanup failed"))
        });
        let inner = group.run(pending::<anyhow::Result<()>>()).await;
        seen.send(inner.unwrap_err().to_string()).unwrap();
        yield_now().await;
        seen.send("ran on".to_owned()).unwrap();
        Ok(())
    });
    settle().await;
    host.cancel();
    outer.join().await.unwrap();
    assert!(told.recv().await.unwrap().contains("cleanup failed"));
    assert_eq!(told.recv().await, None, "delivered once, then cut at the next wait");
    assert!(host.into_result().unwrap_err().is_cancelled());
}

#[tokio::test]
async fn r10_the_first_panic_is_resumed_after_all_have_ended() {
    let alive = Alive::new();
    let counter = alive.clone();
    let host = tokio::spawn(async move {
        let group: SendLocalGroup = SendLocalGroup::new();
        for _ in 0..3 {
            let guard = counter.guard();
            group.spawn::<()>(async move {
                let _guard = guard;
                pending().await
            });
        }
        group.spawn::<()>(async { panic!("first") });
        group.run(pending::<anyhow::Result<()>>()).await
    });
    let payload = host.await.unwrap_err().into_panic();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"first"));
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
async fn r10_collected_panics_are_failures() {
    let group: LocalGroup = LocalGroup::builder().on_panic(OnPanic::Collect).build();
    let sibling = group.spawn(pending::<anyhow::Result<()>>());
    group.task().name("bad").spawn::<()>(async { panic!("number {}", 5) });
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.first().unwrap().panic().unwrap().message(), Some("number 5"));
    let error = sibling.into_result().unwrap_err();
    assert!(
        matches!(error.reason().unwrap().reason(), CancelReason::SiblingPanicked(who) if who.name() == Some("bad"))
    );
}

#[tokio::test]
async fn r10_a_value_that_panics_in_its_destructor_is_told() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("a bad value");
        }
    }
    let group: LocalGroup = LocalGroup::builder().on_panic(OnPanic::Collect).build();
    drop(group.spawn(async { Ok(Bad) }));
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.first().unwrap().panic().unwrap().message(), Some("a bad value"));
}

#[tokio::test]
async fn r11_cancelling_one_handle_fails_nobody() {
    let group: LocalGroup = LocalGroup::new();
    let one = group.task().name("one").spawn(pending::<anyhow::Result<()>>());
    let two = group.spawn(async {
        settle().await;
        Ok(2)
    });
    let body = async {
        settle().await;
        one.cancel_because("not needed");
        one.wait_finished().await;
        Ok(two.await?)
    };
    assert_eq!(group.run(body).await.unwrap(), 2);
    let error = one.into_result().unwrap_err();
    assert!(error.to_string().contains("one") && error.to_string().contains("not needed"), "{error}");
}

#[tokio::test]
async fn r12_a_frozen_child_does_not_run_even_if_its_wait_is_over() {
    let (send, receive) = oneshot::channel::<()>();
    let ran = Cell::new(false);
    let group: LocalGroup = LocalGroup::new();
    let task = group.spawn(async {
        receive.await?;
        ran.set(true);
        Ok(())
    });
    let body = async {
        settle().await;
        task.cancel();
        send.send(()).unwrap();
        Ok(())
    };
    group.run(body).await.unwrap();
    assert!(!ran.get());
    assert!(task.into_result().unwrap_err().is_cancelled());
}

#[tokio::test]
async fn r12_a_running_child_goes_to_its_next_wait() {
    let steps = Cell::new(0);
    let group: LocalGroup = LocalGroup::new();
    let (spawner, steps_seen) = (group.spawner(), &steps);
    let waits = group.spawn(async move {
        spawner.cancel();
        steps_seen.set(1);
        assert!(is_cancelled(), "also in its first poll");
        yield_now().await;
        steps_seen.set(2);
        Ok(())
    });
    group.run(async { Ok(()) }).await.unwrap();
    assert_eq!(steps.get(), 1);
    assert!(waits.into_result().unwrap_err().is_cancelled());

    let group: LocalGroup = LocalGroup::new();
    let spawner = group.spawner();
    let returns = group.spawn(async move {
        spawner.cancel();
        Ok("a value that exists counts")
    });
    group.join().await.unwrap();
    assert_eq!(returns.into_result().unwrap(), "a value that exists counts");
}

#[tokio::test]
async fn r12_groups_inside_drain_first() {
    struct Note<'a>(&'static str, &'a std::sync::Mutex<Vec<&'static str>>);
    impl Drop for Note<'_> {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    static ORDER: std::sync::Mutex<Vec<&'static str>> = std::sync::Mutex::new(Vec::new());
    let order = &ORDER;
    let group: LocalGroup = LocalGroup::new();
    group.spawn(async {
        let _outer = Note("outer", order);
        scope(async |tg: &TaskGroup| {
            tg.spawn(async {
                let _middle = Note("middle", order);
                let inner: SendLocalGroup = SendLocalGroup::new();
                inner.spawn::<()>(async {
                    let _inner = Note("inner", order);
                    pending().await
                });
                inner.join().await?;
                Ok(())
            });
            Ok(())
        })
        .await?;
        Ok(())
    });
    let body = async {
        settle().await;
        group.cancel();
        Ok(())
    };
    group.run(body).await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["inner", "middle", "outer"]);
}

#[tokio::test]
async fn r12_awaiting_a_handle_is_a_wait_in_a_cancelled_region() {
    let group: LocalGroup = LocalGroup::new();
    let ready = group.spawn(async { Ok(1) });
    let spawner = group.spawner();
    let reader = group.spawn(async move {
        assert!(ready.is_finished());
        spawner.cancel();
        Ok(ready.await?)
    });
    group.join().await.unwrap();
    assert!(reader.into_result().unwrap_err().is_cancelled());
}

/// A cancelled task that awaits a local group is polled for the cleanup of its children, and for nothing else.
#[tokio::test(start_paused = true)]
async fn r12_children_of_a_frozen_host_come_to_their_end() {
    let outer: TaskGroup = TaskGroup::new();
    let (tell, mut told) = mpsc::unbounded_channel();
    let host = outer.spawn(async move {
        let group: SendLocalGroup = SendLocalGroup::new();
        let shielded = tell.clone();
        group.spawn::<()>(async move {
            shield(async {
                sleep(Duration::from_secs(3)).await;
                shielded.send("shielded").unwrap();
            })
            .await;
            shielded.send("and no further").unwrap();
            yield_now().await;
            unreachable!("cut")
        });
        let cooperative = tell.clone();
        group.task().cooperative(|token| async move {
            token.cancelled().await;
            for _ in 0..5 {
                sleep(Duration::from_secs(1)).await;
            }
            cooperative.send("cooperative").unwrap();
            Ok(())
        });
        group.spawn(async {
            scope(async |tg: &TaskGroup| {
                tg.spawn(async {
                    shield(sleep(Duration::from_secs(1))).await;
                    Ok(())
                });
                Ok(())
            })
            .await?;
            Ok(())
        });
        let _: Result<(), ErrorGroup> = group.join().await;
        unreachable!("the host was cut")
    });
    let _: &taskgroup::Task<()> = &host;
    settle().await;
    let begun = Instant::now();
    host.cancel();
    within_an_hour(outer.join()).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert!(host.into_result().unwrap_err().is_cancelled());
    let mut steps = Vec::new();
    while let Some(step) = told.recv().await {
        steps.push(step);
    }
    assert_eq!(steps, ["shielded", "and no further", "cooperative"]);
}

#[tokio::test(start_paused = true)]
async fn r13_a_groups_cancel_never_marks_its_host() {
    let ran_on = local_scope(async |outer: &LocalGroup| {
        let host = outer.spawn(async {
            let cut = local_scope(async |group: &LocalGroup| {
                group.cancel();
                pending::<anyhow::Result<()>>().await
            })
            .await;
            let error = cut.unwrap_err();
            assert!(error.is_cancelled() && error.is_empty());
            assert!(!is_cancelled());
            sleep(Duration::from_secs(1)).await;
            Ok("ran on")
        });
        Ok(host.await?)
    });
    assert_eq!(ran_on.await.unwrap(), "ran on");
}

#[tokio::test(start_paused = true)]
async fn r15_a_childs_grace_and_the_groups() {
    let alive = Alive::new();
    let guards = (alive.guard(), alive.guard());
    let begun = Instant::now();
    let group: LocalGroup = LocalGroup::builder().grace(Duration::from_secs(5)).build();
    let short = group.task().grace(Duration::from_secs(2)).cooperative::<(), _, _>(|_| async {
        let _guard = guards.0;
        pending().await
    });
    let long = group.spawn::<()>(async {
        let _guard = guards.1;
        shield(pending()).await
    });
    let body = async {
        settle().await;
        group.cancel();
        short.wait_finished().await;
        Ok(())
    };
    assert!(within_an_hour(group.run(body)).await.unwrap_err().is_cancelled());
    assert_eq!((begun.elapsed(), alive.now()), (Duration::from_secs(5), 0));
    assert_eq!((group.report().dropped(), group.report().needed_force()), (2, 2));
    assert!(short.into_result().unwrap_err().is_cancelled());
    assert!(long.into_result().unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn r15_the_grace_of_a_group_inside_a_frozen_host() {
    let alive = Alive::new();
    let guard = alive.guard();
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async move {
        let group: SendLocalGroup = SendLocalGroup::builder().grace(Duration::from_secs(2)).build();
        group.task().cooperative::<(), _, _>(|_| async {
            let _guard = guard;
            pending().await
        });
        Ok(group.join().await?)
    });
    settle().await;
    let begun = Instant::now();
    host.cancel();
    within_an_hour(outer.join()).await.unwrap();
    assert_eq!((begun.elapsed(), alive.now()), (Duration::from_secs(2), 0));
    assert!(host.into_result().unwrap_err().is_cancelled());
}

#[tokio::test]
async fn r17_cancel_and_what_comes_out() {
    let cut: Result<(), ErrorGroup> = local_scope(async |group| {
        group.cancel_because("stop");
        pending().await
    })
    .await;
    let error = cut.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.cause().unwrap().to_string(), "stop");

    let early: Result<u8, ErrorGroup> = local_scope(async |group| {
        group.spawn(pending::<anyhow::Result<()>>());
        group.cancel();
        Ok(3)
    })
    .await;
    assert_eq!(early.unwrap(), 3);

    let failed = local_scope(async |group: &LocalGroup| {
        group.cancel();
        Err::<(), _>(anyhow::anyhow!("after the cancel"))
    })
    .await;
    assert_eq!(failed.unwrap_err().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn r19_the_groups_own_deadline() {
    let seen = Cell::new(None);
    let group: LocalGroup = LocalGroup::builder().timeout(Duration::from_secs(30)).build();
    group.spawn::<()>(async {
        seen.set(deadline());
        pending().await
    });
    let begun = Instant::now();
    let error = within_an_hour(group.run(async { Ok(()) })).await.unwrap_err();
    assert!(error.is_cancelled());
    assert!(matches!(error.cause().unwrap().reason(), CancelReason::Deadline(..)));
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
    assert_eq!(seen.get(), Some(begun + Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn r19_timeouts_around_and_inside() {
    let begun = Instant::now();
    let group: LocalGroup = LocalGroup::new();
    let inside = group.spawn(async { Ok(timeout(Duration::from_secs(1), pending::<()>()).await) });
    group.spawn(pending::<anyhow::Result<()>>());
    let around = timeout(Duration::from_secs(2), group.run(async { Ok(()) })).await;
    assert!(around.is_err());
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert!(inside.into_result().unwrap().is_err());
    assert!(group.is_empty());
}

#[tokio::test]
async fn background_children_do_not_keep_the_group_open() {
    let group: LocalGroup = LocalGroup::new();
    let beat = group.task().background().spawn(pending::<anyhow::Result<()>>());
    let busy = group.task().background().spawn::<()>(async {
        loop {
            yield_now().await;
        }
    });
    let work = group.spawn(async {
        settle().await;
        Ok(())
    });
    let body = async {
        group.wait_idle().await;
        assert!(work.is_finished() && !beat.is_finished());
        assert_eq!(group.len(), 2);
        Ok(())
    };
    group.run(body).await.unwrap();
    for task in [beat, busy] {
        let error = task.into_result().unwrap_err();
        assert!(matches!(error.reason().unwrap().reason(), CancelReason::GroupEnded));
    }
}

#[tokio::test]
async fn eager_children_take_a_first_step_and_report_later() {
    let stepped = Cell::new(0);
    let group: LocalGroup = LocalGroup::new();
    let waits = group.task().eager().spawn(async {
        stepped.set(1);
        yield_now().await;
        Ok(7)
    });
    assert_eq!(stepped.get(), 1);
    let returned = group.task().eager().spawn(async { Ok(8) });
    assert!(!returned.is_finished(), "never reported inline");
    let failed = group.task().eager().spawn::<()>(async { Err(anyhow::anyhow!("at once")) });
    assert!(!group.is_cancelled(), "not inside `spawn`");
    assert_eq!(group.len(), 3);
    assert_eq!(group.run(async { Ok(()) }).await.unwrap_err().len(), 1);
    assert_eq!(returned.into_result().unwrap(), 8);
    assert!(failed.into_result().unwrap_err().is_failed());
    assert_eq!(waits.into_result().unwrap(), 7, "its turn came before");
}

#[tokio::test]
async fn the_current_node_is_the_child_or_the_body() {
    assert!(current().is_none());
    LocalGroup::builder()
        .name("named")
        .scope(async |group: &LocalGroup| {
            let body = current().unwrap();
            assert_eq!((body.kind(), body.name(), body.id()), (NodeKind::Body, Some("named"), group.id()));
            let task = group.task().name("child").spawn(async { Ok(current().unwrap()) });
            let (id, info) = (task.id(), task.await?);
            assert_eq!((info.kind(), info.id(), info.name()), (NodeKind::Task, id, Some("child")));
            Ok(())
        })
        .await
        .unwrap();
    assert!(current().is_none());
}

#[tokio::test]
async fn handles_stay_readable_and_say_when_it_is_too_early() {
    let group: LocalGroup = LocalGroup::new();
    let early = group.spawn(async { Ok(()) });
    assert!(early.result().is_none());
    assert!(early.into_result().unwrap_err().is_unfinished());
    let task = group.spawn(async { Ok(Rc::new("kept")) });
    group.run(async { Ok(task.wait_finished().await) }).await.unwrap();
    assert_eq!(**task.result().unwrap().unwrap(), "kept");
    assert_eq!(*task.into_result().unwrap(), "kept");
}

#[tokio::test(start_paused = true)]
async fn the_report_counts_all_and_records_the_first() {
    let group: LocalGroup = LocalGroup::builder().report_records(3).build();
    for _ in 0..2 {
        group.spawn(async { Ok(()) });
    }
    group.task().name("nap").spawn(async { Ok(sleep(Duration::from_secs(3)).await) });
    for _ in 0..10 {
        group.spawn(async { Ok(yield_now().await) });
    }
    assert_eq!((group.report().spawned(), group.report().running()), (13, 13));
    let body = async {
        sleep(Duration::from_secs(1)).await;
        let report = group.report();
        assert_eq!((report.running(), report.completed()), (1, 12));
        assert_eq!(group.stragglers()[0].name(), Some("nap"));
        Ok(())
    };
    group.run(body).await.unwrap();
    let report = group.report();
    assert_eq!((report.spawned(), report.completed(), report.unrecorded()), (13, 13, 10));
    let waited: Vec<_> = report.records().iter().map(|record| record.waited()).collect();
    assert_eq!(waited, [false, false, true]);
    assert_eq!(report.records()[2].lifetime(), Some(Duration::from_secs(3)));
}

/// Counts its rounds, and how far it is behind and before the others.
#[tokio::test]
async fn no_child_is_ever_more_than_one_round_ahead() {
    const CHILDREN: usize = 1_000;
    const ROUNDS: usize = 1_000;
    let (lowest, at_lowest) = (Cell::new(0), Cell::new(CHILDREN));
    let rounds: Vec<_> = (0..CHILDREN).map(|_| Cell::new(0)).collect();
    local_scope(async |group: &LocalGroup| {
        for own in &rounds {
            group.spawn(async {
                for round in 1..=ROUNDS {
                    assert!(round <= lowest.get() + 1, "ahead of somebody by more than a round");
                    own.set(round);
                    at_lowest.set(at_lowest.get() - 1);
                    if at_lowest.get() == 0 {
                        (lowest.set(round), at_lowest.set(CHILDREN)).0
                    }
                    yield_now().await;
                }
                Ok(())
            });
        }
        Ok(())
    })
    .await
    .unwrap();
    assert!(rounds.iter().all(|own| own.get() == ROUNDS));
}

/// Wakes itself inside its poll, so that the host is never asleep.
async fn spin(turns: usize) {
    for _ in 0..turns {
        let mut ready = false;
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut ready, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[tokio::test]
async fn children_that_wake_themselves_let_others_on_the_thread_run() {
    let ticks = Rc::new(Cell::new(0));
    let others = Rc::clone(&ticks);
    let set = tokio::task::LocalSet::new();
    set.spawn_local(async move {
        loop {
            others.set(others.get() + 1);
            yield_now().await;
        }
    });
    set.run_until(async {
        local_scope(async |group: &LocalGroup| {
            for _ in 0..10 {
                group.spawn(async { Ok(spin(1_000).await) });
            }
            Ok(())
        })
        .await
        .unwrap();
    })
    .await;
    assert!(ticks.get() >= 50, "{}", ticks.get());
}

/// Counts its polls.
struct Counted<'a, F>(F, &'a Cell<usize>);

impl<F: Future + Unpin> Future for Counted<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.set(self.1.get() + 1);
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Each of many children takes more than one poll's budget in all; where the budget is used up the round stops.
#[tokio::test]
async fn the_budget_is_honoured_without_polling_everybody_in_vain() {
    const CHILDREN: usize = 500;
    let polls = Cell::new(0);
    let ended = Cell::new(0);
    local_scope(async |group: &LocalGroup| {
        for _ in 0..CHILDREN {
            let (polls, ended) = (&polls, &ended);
            group.spawn(async move {
                let (send, mut receive) = mpsc::unbounded_channel();
                (0..20).for_each(|n| send.send(n).unwrap());
                drop(send);
                let drain = Box::pin(async move { while receive.recv().await.is_some() {} });
                Counted(drain, polls).await;
                ended.set(ended.get() + 1);
                Ok(())
            });
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(ended.get(), CHILDREN);
    // 500 children need 10,500 units, at 128 a poll some 82 polls of the host, and at most one child is stopped in each.
    assert!(polls.get() <= CHILDREN + 100, "{}", polls.get());
}

/// A child that has ended stands in the row beside one in the background that was never polled, when the body has ended
/// and tokio's budget is used up.
#[tokio::test]
async fn a_child_that_ended_in_its_first_poll_is_not_entered_later() {
    let group: LocalGroup = LocalGroup::new();
    let spawner = group.spawner();
    group.spawn(async move {
        // Woken before the other one, and so ahead of it in the next round.
        let mut woken = false;
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        spawner.task().background().spawn(pending::<anyhow::Result<()>>());
        while tokio::task::coop::has_budget_remaining() {
            std::future::poll_fn(|cx| tokio::task::coop::poll_proceed(cx).map(|unit| unit.made_progress()))
                .await;
        }
        Ok(())
    });
    group.spawn(std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(anyhow::Ok(()))
    }));
    let body = async { Ok(()) };
    group.run(body).await.unwrap();
    let report = group.report();
    assert_eq!((report.spawned(), report.completed(), report.cut()), (3, 2, 0));
}

/// Only those that were woken are polled, and the body too only when it was.
#[tokio::test]
async fn who_was_not_woken_is_not_polled() {
    let polls: Vec<_> = (0..101).map(|_| Cell::new(0)).collect();
    let (body_polls, child_polls) = polls.split_last().unwrap();
    let group: LocalGroup = LocalGroup::new();
    for own in child_polls {
        group.task().background().spawn(Counted(Box::pin(pending::<anyhow::Result<()>>()), own));
    }
    let busy = group.spawn(async { Ok(spin(1_000).await) });
    let body = Counted(Box::pin(async { Ok(busy.await?) }), body_polls);
    group.run(body).await.unwrap();
    assert!(child_polls.iter().all(|own| own.get() == 1));
    assert_eq!(body_polls.get(), 2);
}

#[tokio::test]
async fn wakers_outlive_their_children_and_the_group() {
    let kept = RefCell::new(Vec::new());
    let weak = {
        let value = Rc::new(5);
        let weak = Rc::downgrade(&value);
        let group: LocalGroup = LocalGroup::new();
        for waits in [false, true] {
            let value = Rc::clone(&value);
            let kept = &kept;
            group.spawn(async move {
                let mut polled = !waits;
                std::future::poll_fn(|cx| {
                    kept.borrow_mut().push(cx.waker().clone());
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                Ok(*value)
            });
        }
        drop(value);
        group.join().await.unwrap();
        weak
    };
    assert!(weak.upgrade().is_none());
    let wakers = kept.into_inner();
    assert_eq!(wakers.len(), 3);
    std::thread::spawn(move || {
        for waker in wakers {
            waker.wake_by_ref();
            drop(waker.clone());
            waker.wake();
        }
    })
    .join()
    .unwrap();
}

#[test]
fn a_send_group_moves_between_threads_and_is_spawned_into_from_others() {
    let runtime = multi_thread(2);
    runtime.block_on(async {
        for _ in 0..200 {
            let alive = Alive::new();
            let group: SendLocalGroup<'static> = SendLocalGroup::new();
            let counter = alive.clone();
            let spawner = group.spawner();
            let (begin, begun) = oneshot::channel::<()>();
            let other = tokio::spawn(async move {
                begun.await.unwrap();
                let mut tasks = Vec::new();
                for _ in 0..20 {
                    let guard = counter.guard();
                    tasks.push(spawner.spawn(async move {
                        yield_now().await;
                        drop(guard);
                        Ok(1)
                    }));
                    tokio::task::yield_now().await;
                }
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.map_or(0, |one| one);
                }
                sum
            });
            let host = tokio::spawn(async move {
                group.spawn::<()>(async move {
                    begin.send(()).unwrap();
                    settle().await;
                    Ok(())
                });
                group.join().await
            });
            host.await.unwrap().unwrap();
            assert!(other.await.unwrap() <= 20);
            assert_eq!(alive.now(), 0);
        }
    });
}

#[test]
fn a_cancel_from_another_thread_finds_the_children() {
    let runtime = multi_thread(2);
    runtime.block_on(async {
        for _ in 0..200 {
            let alive = Alive::new();
            let counter = alive.clone();
            let group: SendLocalGroup<'static> = SendLocalGroup::new();
            let token = group.token();
            let canceller = tokio::spawn(async move { token.cancel() });
            for _ in 0..20 {
                let guard = counter.guard();
                group.spawn::<()>(async move {
                    let _guard = guard;
                    yield_now().await;
                    pending().await
                });
            }
            tokio::spawn(group.join()).await.unwrap().unwrap();
            assert_eq!(alive.now(), 0);
            canceller.await.unwrap();
        }
    });
}
