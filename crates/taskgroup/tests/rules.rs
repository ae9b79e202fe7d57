//! Rules of the design that no list of another system pins down; each test names its rule.

mod common;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{Alive, multi_thread};
use taskgroup::{
    CancelReason, ErrorGroup, NodeKind, OnFailure, OnPanic, StartError, Task, TaskGroup, current,
    is_cancelled, scope,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::sleep;

async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

/// A child that fails while its group drains: a nested closure answers its token with an error.
async fn fails_while_draining(started: oneshot::Sender<()>) -> anyhow::Result<()> {
    scope(async |tg: &TaskGroup| {
        tg.task().name("stubborn").spawn_blocking::<()>(move |token| {
            let _ = started.send(());
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
            Err(anyhow::anyhow!("cleanup failed"))
        });
        pending().await
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn r01_exit_comes_after_the_last_drop() {
    let alive = Alive::new();
    scope(async |tg: &TaskGroup| {
        for _ in 0..50 {
            let guard = alive.guard();
            tg.spawn(async move {
                yield_now().await;
                drop(guard);
                Ok(())
            });
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!((alive.now(), alive.ever()), (0, 50));
}

#[test]
fn r01_a_value_without_a_handle_is_gone_at_exit() {
    let runtime = multi_thread(2);
    runtime.block_on(async {
        for _ in 0..2_000 {
            let alive = Alive::new();
            let group: TaskGroup = TaskGroup::new();
            let guard = alive.guard();
            drop(group.spawn(async move { Ok(guard) }));
            group.join().await.unwrap();
            assert_eq!(alive.now(), 0);
        }
    });
}

#[tokio::test]
async fn r10_a_value_that_panics_in_its_destructor_is_told() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("a bad value");
        }
    }
    let group: TaskGroup = TaskGroup::builder().on_panic(OnPanic::Collect).build();
    drop(group.spawn(async { Ok(Bad) }));
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.first().unwrap().panic().unwrap().message(), Some("a bad value"));
}

#[tokio::test]
async fn r04_a_group_made_in_a_task_is_cancelled_with_it() {
    let group: TaskGroup = TaskGroup::new();
    let (send, receive) = oneshot::channel();
    let task = group.spawn::<()>(async move {
        let inner: TaskGroup = TaskGroup::builder().name("inner").build();
        let sleeper = inner.spawn(pending::<anyhow::Result<()>>());
        send.send(sleeper).ok();
        inner.join().await?;
        Ok(())
    });
    let sleeper: Task<()> = receive.await.unwrap();
    settle().await;
    task.cancel_because("no longer wanted");
    let error = sleeper.await.unwrap_err();
    let chain: Vec<_> = error.reason().unwrap().chain().map(|link| link.reason().clone()).collect();
    assert!(matches!(&chain[0], CancelReason::HostCancelled(host) if host.id() == task.id()), "{chain:?}");
    assert_eq!(chain[1], CancelReason::Requested(Some("no longer wanted".into())));
    assert_eq!(chain.len(), 2);
    let error = group.join().await;
    assert!(error.is_ok(), "cancelling a task fails nobody (R11)");
}

#[tokio::test]
async fn r04_run_moves_a_group_under_the_node_that_polls_it() {
    let alive = Alive::new();
    let elsewhere: TaskGroup = TaskGroup::new();
    let guard = alive.guard();
    elsewhere.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    let host: TaskGroup = TaskGroup::new();
    let runner = host.spawn(async move { Ok(elsewhere.join().await?) });
    settle().await;
    assert_eq!(alive.now(), 1);
    runner.cancel();
    assert!(runner.await.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0, "drained before the host was dropped");
    host.join().await.unwrap();
}

#[tokio::test]
async fn r04_a_group_that_leaves_its_task_is_adopted_and_waited_for() {
    let done = Arc::new(AtomicUsize::new(0));
    let outer: TaskGroup = TaskGroup::new();
    let counter = done.clone();
    let maker = outer.spawn(async move {
        let inner: TaskGroup = TaskGroup::new();
        inner.spawn(async move {
            settle().await;
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        Ok(inner)
    });
    outer.join().await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 1, "the exit has waited for the adopted group");
    let inner = maker.into_result().unwrap();
    let late = inner.spawn(async { Ok(()) });
    assert!(late.await.unwrap_err().never_started(), "nothing outlives its group");
}

#[tokio::test]
async fn r05_born_cancelled_is_dropped_before_spawn_returns() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::new();
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
}

#[tokio::test]
async fn r07_continue_keeps_going_and_reports_all() {
    let group: TaskGroup = TaskGroup::builder().on_failure(OnFailure::Continue).max_failures(3).build();
    let tasks: Vec<_> =
        (0..5).map(|n| group.spawn::<()>(async move { Err(anyhow::anyhow!("no {n}")) })).collect();
    let fine = group.spawn(async {
        settle().await;
        Ok(9)
    });
    let errors = group.join().await.unwrap_err();
    assert_eq!((errors.len(), errors.more()), (3, 2));
    assert!(errors.cause().is_none());
    assert!(errors.to_string().contains("and 2 more"), "{errors}");
    assert_eq!(fine.into_result().unwrap(), 9);
    assert!(tasks.into_iter().all(|task| task.into_result().unwrap_err().is_failed()));
}

#[tokio::test]
async fn r08_a_failure_says_who_and_where() {
    let line = AtomicUsize::new(0);
    let run = TaskGroup::builder().name("app").scope(async |tg: &TaskGroup| {
        let crawl = async {
            let pages = TaskGroup::builder().name("pages");
            pages
                .scope(async |tg: &TaskGroup| {
                    tg.task().name("page 7").spawn::<()>(async { Err(anyhow::anyhow!("gone")) });
                    Ok(())
                })
                .await?;
            Ok(())
        };
        line.store(line!() as usize + 1, Ordering::SeqCst);
        tg.task().name("crawler").spawn(crawl);
        Ok(())
    });
    let errors = run.await.unwrap_err();
    let crawler = errors.first().unwrap();
    assert_eq!(crawler.name(), Some("crawler"));
    assert_eq!(crawler.location().line() as usize, line.load(Ordering::SeqCst));
    assert_eq!(crawler.path(), "app > crawler");
    let page = errors.leaves().next().unwrap();
    assert_eq!((page.name(), page.path()), (Some("page 7"), "app > crawler > pages > page 7"));
    let tree = format!("{errors:#}");
    for part in ["crawler", "pages", "page 7", "gone", "rules.rs"] {
        assert!(tree.contains(part), "{part} in {tree}");
    }
    assert_eq!(errors.to_string().lines().count(), 1);
}

#[tokio::test]
async fn r09_an_error_that_says_cancelled_is_no_failure_of_a_cancelled_child() {
    let group: TaskGroup = TaskGroup::builder()
        .treat_as_cancelled(|error: &anyhow::Error| error.to_string() == "interrupted")
        .build();
    let (started, is_started) = oneshot::channel();
    let polite = group.spawn_blocking::<()>(move |token| {
        let _ = started.send(());
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Err(anyhow::anyhow!("interrupted"))
    });
    is_started.await.unwrap();
    group.cancel();
    group.join().await.unwrap();
    assert!(polite.into_result().unwrap_err().is_cancelled());

    // Nobody cancelled this one: its error is an error.
    let group: TaskGroup = TaskGroup::builder().treat_as_cancelled(|_| true).build();
    group.spawn::<()>(async { Err(anyhow::anyhow!("interrupted")) });
    assert_eq!(group.join().await.unwrap_err().len(), 1);
}

#[tokio::test]
async fn r09_errors_beat_cancellation_and_the_cancel_stays_pending() {
    let outer: TaskGroup = TaskGroup::new();
    let (started, is_started) = oneshot::channel();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let host = outer.spawn(async move {
        let inner = fails_while_draining(started).await;
        log.lock().unwrap().push(inner.unwrap_err().to_string());
        yield_now().await;
        log.lock().unwrap().push("ran on".to_owned());
        Ok(())
    });
    is_started.await.unwrap();
    host.cancel();
    outer.join().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "delivered once, then cut at the next wait: {seen:?}");
    assert!(seen[0].contains("cleanup failed"));
    assert!(host.into_result().unwrap_err().is_cancelled());
}

#[tokio::test]
async fn r10_the_first_panic_is_resumed_after_all_have_ended() {
    let alive = Alive::new();
    let counter = alive.clone();
    let host = tokio::spawn(async move {
        scope(async |tg: &TaskGroup| {
            for _ in 0..3 {
                let guard = counter.guard();
                tg.spawn::<()>(async move {
                    let _guard = guard;
                    pending().await
                });
            }
            tg.spawn::<()>(async { panic!("first") });
            pending::<anyhow::Result<()>>().await
        })
        .await
    });
    let payload = host.await.unwrap_err().into_panic();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"first"));
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
async fn r10_collected_panics_are_failures() {
    let group: TaskGroup = TaskGroup::builder().on_panic(OnPanic::Collect).build();
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
async fn r12_a_frozen_child_does_not_run_even_if_its_wait_is_over() {
    let (send, receive) = oneshot::channel::<()>();
    let ran = Arc::new(AtomicUsize::new(0));
    let group: TaskGroup = TaskGroup::new();
    let counter = ran.clone();
    let task = group.spawn(async move {
        receive.await?;
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    settle().await;
    task.cancel();
    send.send(()).unwrap();
    group.join().await.unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert!(task.into_result().unwrap_err().is_cancelled());
}

#[tokio::test]
async fn r12_a_running_child_goes_to_its_next_wait() {
    let steps = Arc::new(AtomicUsize::new(0));
    let group: TaskGroup = TaskGroup::new();
    let (spawner, counter) = (group.spawner(), steps.clone());
    let waits = group.spawn(async move {
        spawner.cancel();
        counter.fetch_add(1, Ordering::SeqCst);
        assert!(is_cancelled());
        yield_now().await;
        counter.fetch_add(10, Ordering::SeqCst);
        Ok(())
    });
    settle().await;
    group.join().await.unwrap();
    assert_eq!(steps.load(Ordering::SeqCst), 1);
    assert!(waits.into_result().unwrap_err().is_cancelled());

    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let returns = group.spawn(async move {
        spawner.cancel();
        Ok("a value that exists counts")
    });
    group.join().await.unwrap();
    assert_eq!(returns.into_result().unwrap(), "a value that exists counts");
}

#[tokio::test]
async fn r12_innermost_first() {
    let order = Arc::new(Mutex::new(Vec::new()));
    struct Note(&'static str, Arc<Mutex<Vec<&'static str>>>);
    impl Drop for Note {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    let note = |what| Note(what, order.clone());
    let (outer, middle, inner) = (note("outer"), note("middle"), note("inner"));
    let group: TaskGroup = TaskGroup::new();
    group.spawn(async move {
        let _outer = outer;
        scope(async |tg: &TaskGroup| {
            tg.spawn(async move {
                let _middle = middle;
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
            Ok(())
        })
        .await?;
        Ok(())
    });
    settle().await;
    group.cancel();
    group.join().await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["inner", "middle", "outer"]);
}

#[tokio::test]
async fn r12_awaiting_a_handle_is_a_wait_in_a_cancelled_region() {
    let group: TaskGroup = TaskGroup::new();
    let ready = group.spawn(async { Ok(1) });
    settle().await;
    assert!(ready.is_finished());
    let spawner = group.spawner();
    let reader = group.spawn(async move {
        spawner.cancel();
        Ok(ready.await?)
    });
    group.join().await.unwrap();
    assert!(reader.into_result().unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn r13_a_groups_cancel_never_marks_its_host() {
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async {
        let cut = scope(async |tg: &TaskGroup| {
            tg.cancel();
            pending::<anyhow::Result<()>>().await
        })
        .await;
        let error = cut.unwrap_err();
        assert!(error.is_cancelled() && error.is_empty());
        assert!(!is_cancelled());
        sleep(Duration::from_secs(1)).await;
        Ok("ran on")
    });
    outer.join().await.unwrap();
    assert_eq!(host.into_result().unwrap(), "ran on");
}

#[tokio::test]
async fn r16_the_first_reason_wins_and_the_chain_is_printed() {
    let group: TaskGroup = TaskGroup::builder().name("top").build();
    let task = group.task().name("host").spawn::<()>(async {
        scope(async |tg: &TaskGroup| {
            tg.task().name("leaf").spawn(pending::<anyhow::Result<()>>());
            pending().await
        })
        .await?;
        Ok(())
    });
    settle().await;
    group.cancel_because("first");
    group.cancel_because("second");
    group.join().await.unwrap();
    let error = task.into_result().unwrap_err();
    let cause = error.reason().unwrap();
    assert_eq!(cause.to_string(), "first");
    assert_eq!(cause.target().name(), Some("top"));
    assert!(error.to_string().contains("host") && error.to_string().contains("first"), "{error}");
}

#[tokio::test]
async fn r16_siblings_see_who_failed_also_when_spawned_later() {
    let group: TaskGroup = TaskGroup::new();
    let sibling = group.spawn(pending::<anyhow::Result<()>>());
    settle().await;
    let bad = group.task().name("bad").spawn::<()>(async { Err(anyhow::anyhow!("no")) });
    settle().await;
    let late = group.spawn(async { Ok(()) });
    assert_eq!(group.join().await.unwrap_err().len(), 1);
    for task in [sibling, late] {
        let error = task.into_result().unwrap_err();
        let reason = error.reason().unwrap().reason().clone();
        assert!(matches!(reason, CancelReason::SiblingFailed(who) if who.id() == bad.id()));
    }
}

#[tokio::test]
async fn r17_cancel_and_what_comes_out() {
    let cut: Result<(), ErrorGroup> = scope(async |tg| {
        tg.cancel_because("stop");
        pending().await
    })
    .await;
    let error = cut.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.cause().unwrap().to_string(), "stop");
    assert!(error.to_string().ends_with("was cancelled: stop"), "{error}");

    let early: Result<u8, ErrorGroup> = scope(async |tg| {
        tg.spawn(pending::<anyhow::Result<()>>());
        tg.cancel();
        Ok(3)
    })
    .await;
    assert_eq!(early.unwrap(), 3);

    let failed = scope(async |tg: &TaskGroup| {
        tg.cancel();
        Err::<(), _>(anyhow::anyhow!("after the cancel"))
    })
    .await;
    let error = failed.unwrap_err();
    assert!(!error.is_cancelled());
    assert_eq!(error.len(), 1);
}

/// Counts its polls.
struct Counted<F>(F, Arc<AtomicUsize>);

impl<F: Future + Unpin> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll(cx)
    }
}

#[test]
fn r18_waiting_for_a_stubborn_child_costs_no_polls() {
    let runtime = multi_thread(2);
    let polls = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let (started, is_started) = oneshot::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let group: TaskGroup = TaskGroup::new();
        group.spawn_blocking(move |_| {
            started.send(()).ok();
            released.recv()?;
            Ok(())
        });
        is_started.await.unwrap();
        let joined = Counted(Box::pin(group.join()), polls.clone());
        let (tick, ticks) = oneshot::channel();
        let host = tokio::spawn(joined);
        // Two hundred turns of the scheduler later the host has been polled once.
        tokio::spawn(async move {
            for _ in 0..200 {
                yield_now().await;
            }
            tick.send(()).ok();
        });
        ticks.await.unwrap();
        assert!(polls.load(Ordering::SeqCst) <= 1);
        release.send(()).unwrap();
        host.await.unwrap().unwrap();
    });
    assert_eq!(polls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn r20_until_ready_the_child_is_its_starters() {
    let outer: TaskGroup = TaskGroup::new();
    let failed = outer.start::<(), (), _>(|_ready| async { Err(anyhow::anyhow!("no port")) }).await;
    assert!(matches!(failed.unwrap_err(), StartError::Failed(error) if error.to_string() == "no port"));
    let panicked = outer.start::<(), (), _>(|_ready| async { panic!("oh") }).await;
    assert!(matches!(panicked.unwrap_err(), StartError::Panicked(panic) if panic.message() == Some("oh")));
    let silent = outer.start::<(), _, _>(|_ready| async { Ok(()) }).await;
    assert!(matches!(silent.unwrap_err(), StartError::NotReady));
    let (port, task) = outer
        .start(|ready| async move {
            ready.ready(80);
            yield_now().await;
            Ok("done")
        })
        .await
        .unwrap();
    assert_eq!((port, task.await.unwrap()), (80, "done"));
    assert!(!outer.is_cancelled());
    outer.cancel();
    let late = outer.start::<(), (), _>(|_ready| async { unreachable!("never polled") }).await;
    assert!(matches!(late.unwrap_err(), StartError::Cancelled(_)));
    outer.join().await.unwrap();
}

#[tokio::test]
async fn r20_cancelling_the_starter_cuts_the_child_and_waits_for_it() {
    let alive = Alive::new();
    let group: Arc<TaskGroup> = Arc::new(TaskGroup::new());
    let starters: TaskGroup = TaskGroup::new();
    let (target, guard) = (group.clone(), alive.guard());
    let starter = starters.spawn(async move {
        let _ = target
            .start::<(), (), _>(|_ready| async move {
                let _guard = guard;
                pending().await
            })
            .await;
        unreachable!("its starter was cut")
    });
    settle().await;
    assert_eq!((alive.now(), group.len()), (1, 1));
    starter.cancel_because("no server wanted");
    assert!(starters.join().await.is_ok());
    assert_eq!(alive.now(), 0);
    let error: taskgroup::TaskError = Task::<()>::into_result(starter).unwrap_err();
    assert!(error.is_cancelled());
    assert!(group.is_empty() && !group.is_cancelled(), "only that child");
}

#[tokio::test]
async fn r20_dropping_the_start_drops_the_child_at_once() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::new();
    let guard = alive.guard();
    {
        let mut start = Box::pin(group.start::<(), (), _>(|_ready| async move {
            let _guard = guard;
            pending().await
        }));
        assert!(futures::poll!(start.as_mut()).is_pending());
        settle().await;
        assert_eq!(alive.now(), 1);
    }
    assert_eq!((alive.now(), group.len()), (0, 0));
    group.join().await.unwrap();
}

#[tokio::test]
async fn background_children_do_not_keep_the_group_open() {
    let group: TaskGroup = TaskGroup::new();
    let beat = group.task().background().spawn(pending::<anyhow::Result<()>>());
    let work = group.spawn(async {
        settle().await;
        Ok(())
    });
    group.wait_idle().await;
    assert!(work.is_finished() && !beat.is_finished());
    assert_eq!(group.len(), 1);
    group.join().await.unwrap();
    let error = beat.into_result().unwrap_err();
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::GroupEnded));
}

#[tokio::test]
async fn eager_children_take_a_first_step_and_report_later() {
    let group: TaskGroup = TaskGroup::new();
    let stepped = Arc::new(AtomicUsize::new(0));
    let counter = stepped.clone();
    let waits = group.task().eager().spawn(async move {
        counter.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        Ok(7)
    });
    assert_eq!(stepped.load(Ordering::SeqCst), 1);
    let returned = group.task().eager().spawn(async { Ok(8) });
    assert!(!returned.is_finished(), "never reported inline");
    assert_eq!(waits.await.unwrap() + returned.await.unwrap(), 15);
    let failed = group.task().eager().spawn::<()>(async { Err(anyhow::anyhow!("at once")) });
    assert!(!group.is_cancelled(), "not inside `spawn`");
    assert_eq!(group.join().await.unwrap_err().len(), 1);
    assert!(failed.into_result().unwrap_err().is_failed());

    // Registered before it is polled: what it starts finds its group, and its cancel finds it.
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let cut = group.task().eager().spawn::<()>(async move {
        spawner.cancel();
        pending().await
    });
    assert!(cut.is_finished());
    group.join().await.unwrap();
}

#[tokio::test]
async fn the_current_node_is_the_task_or_the_body() {
    assert!(current().is_none());
    TaskGroup::builder()
        .name("named")
        .scope(async |tg: &TaskGroup| {
            let body = current().unwrap();
            assert_eq!((body.kind(), body.name(), body.id()), (NodeKind::Body, Some("named"), tg.id()));
            let task = tg.task().name("child").spawn(async { Ok(current().unwrap()) });
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
    let group: TaskGroup = TaskGroup::new();
    let early = group.spawn(async { Ok(()) });
    assert!(early.result().is_none());
    let error = early.into_result().unwrap_err();
    assert!(error.is_unfinished() && !error.is_cancelled());
    let task = group.spawn(async { Ok("kept") });
    task.wait_finished().await;
    task.wait_finished().await;
    assert_eq!(task.result().unwrap().unwrap(), &"kept");
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), "kept");
}
