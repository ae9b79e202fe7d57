//! However a task ends, its place is free; whoever is cancelled leaves the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::common::{Alive, multi_thread, within_an_hour};
use super::{Exit, Group, Running, limited, settle};
use taskgroup::{Limiter, OnFailure, OnPanic, TaskGroup};

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_leaves_the_queue_unpolled_and_at_once() {
    let (group, running, exit, alive) = (limited(1), Running::default(), Exit::closed(), Alive::new());
    group.spawn(exit.task(&running));
    let queued: Vec<_> = (0..3)
        .map(|_| {
            let (guard, task) = (alive.guard(), exit.task(&running));
            group.spawn(async move {
                let _guard = guard;
                task.await
            })
        })
        .collect();
    queued[1].cancel_because("not this one");
    assert_eq!((alive.now(), group.len(), group.report().queued()), (2, 3, 2));
    assert!(queued[1].is_finished());
    let error = queued[1].result().unwrap().unwrap_err();
    assert!(error.never_started() && error.is_cancelled());
    assert_eq!(error.reason().unwrap().to_string(), "not this one");
    exit.open(3);
    within_an_hour(group.join()).await.unwrap();
    assert_eq!((running.most(), alive.now()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_cancels_the_queue_before_its_place_is_free() {
    let (group, alive) = (limited(2), Alive::new());
    group.spawn::<()>(async {
        settle().await;
        Err("broken")
    });
    group.spawn(std::future::pending::<Result<(), _>>());
    for _ in 0..10 {
        let guard = alive.guard();
        group.spawn::<()>(async move {
            drop(guard);
            unreachable!("its turn never comes")
        });
    }
    let spawner = group.spawner();
    let error = within_an_hour(group.join()).await.unwrap_err();
    assert_eq!((error.len(), alive.now()), (1, 0));
    let report = spawner.report();
    assert_eq!((report.failed(), report.cut(), report.never_started()), (1, 1, 10));
}

#[test]
fn on_several_threads_a_failure_lets_nobody_start() {
    multi_thread(2).block_on(async {
        for _ in 0..200 {
            let (group, started) = (limited(1), Arc::new(AtomicUsize::new(0)));
            for number in 0..20 {
                let started = Arc::clone(&started);
                group.spawn::<()>(async move {
                    started.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    if number == 5 { Err("broken") } else { Ok(()) }
                });
            }
            assert_eq!(group.join().await.unwrap_err().len(), 1);
            assert_eq!(started.load(Ordering::SeqCst), 6);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn cancel_ends_the_queue_before_it_returns() {
    let (group, running, exit, alive) = (limited(1), Running::default(), Exit::closed(), Alive::new());
    group.spawn(exit.task(&running));
    for _ in 0..5 {
        let (guard, task) = (alive.guard(), exit.task(&running));
        group.spawn(async move {
            let _guard = guard;
            task.await
        });
    }
    settle().await;
    group.cancel();
    assert_eq!((alive.now(), group.len(), group.report().queued()), (0, 1, 0));
    let late = group.spawn(async { Ok(()) });
    assert!(late.is_finished());
    within_an_hour(group.join()).await.unwrap();
    assert_eq!((running.most(), running.now()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drop_ends_the_queue_before_it_returns() {
    let limiter = Limiter::new(1);
    let (running, exit, alive) = (Running::default(), Exit::closed(), Alive::new());
    let group: Group = TaskGroup::builder().limiter(&limiter).build();
    for _ in 0..5 {
        let (guard, task) = (alive.guard(), exit.task(&running));
        group.spawn(async move {
            let _guard = guard;
            task.await
        });
    }
    group.spawn_blocking::<()>(|_token| unreachable!("its turn never comes"));
    settle().await;
    assert_eq!((limiter.running(), limiter.queued()), (1, 5));
    drop(group);
    assert_eq!((alive.now(), running.now(), running.most()), (0, 0, 1));
    assert_eq!((limiter.running(), limiter.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn whatever_a_task_comes_to_its_place_is_free() {
    let builder = TaskGroup::builder().on_failure(OnFailure::Continue).on_panic(OnPanic::Collect);
    let (group, running): (Group, _) = (builder.limit(2).build(), Running::default());
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while it is dropped");
        }
    }
    for _ in 0..10 {
        let run = |running: &Running| running.clone();
        let (one, two, three, four) = (run(&running), run(&running), run(&running), run(&running));
        group.spawn::<()>(async move {
            let _run = one.enter();
            panic!("in its code")
        });
        group.spawn::<()>(async move {
            let _run = two.enter();
            settle().await;
            Err("an error")
        });
        group.spawn(async move {
            let _run = three.enter();
            let _bomb = Bomb;
            settle().await;
            Ok(())
        });
        let cut = group.spawn(async move {
            let _run = four.enter();
            std::future::pending::<Result<(), _>>().await
        });
        group.spawn_blocking::<()>(|_token| panic!("on a thread"));
        group.spawn(async move {
            settle().await;
            cut.cancel();
            Ok(())
        });
    }
    let spawner = group.spawner();
    let error = within_an_hour(group.join()).await.unwrap_err();
    assert_eq!(error.len(), 40);
    assert_eq!((running.most(), running.now()), (2, 0));
    assert_eq!(spawner.report().queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_destructor_of_a_queued_task_that_panics_is_told() {
    let builder = TaskGroup::builder().on_failure(OnFailure::Continue).on_panic(OnPanic::Collect);
    let (group, running, exit): (Group, _, _) =
        (builder.limit(1).build(), Running::default(), Exit::closed());
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while it is dropped");
        }
    }
    group.spawn(exit.task(&running));
    let bomb = Bomb;
    let queued = group.spawn::<()>(async move {
        let _bomb = bomb;
        Ok(())
    });
    queued.cancel();
    assert!(queued.into_result().unwrap_err().is_panicked());
    exit.open(1);
    assert_eq!(within_an_hour(group.join()).await.unwrap_err().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_when_the_future_has_been_dropped_and_not_before() {
    let (group, alive) = (limited(1), Alive::new());
    for _ in 0..20 {
        let alive = alive.clone();
        group.spawn(async move {
            assert_eq!(alive.now(), 0);
            let _guard = alive.guard();
            settle().await;
            Ok(())
        });
    }
    within_an_hour(group.join()).await.unwrap();
    assert_eq!((alive.now(), alive.ever()), (0, 20));
}

#[tokio::test]
async fn ten_thousand_that_end_at_once_do_not_overflow_the_stack() {
    let group = limited(1);
    for _ in 0..10_000 {
        group.spawn(async { Ok(()) });
    }
    let spawner = group.spawner();
    group.join().await.unwrap();
    assert_eq!(spawner.report().completed(), 10_000);
}

/// The runtime drops what it is given then, and each that ends by it would start the next.
#[test]
fn nor_do_those_whose_runtime_has_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let alive = Alive::new();
    let group: Group = {
        let _inside = runtime.enter();
        TaskGroup::builder().limit(0).build()
    };
    let tasks: Vec<_> = (0..10_000)
        .map(|_| {
            let guard = alive.guard();
            group.spawn::<()>(async move {
                drop(guard);
                unreachable!("it has no runtime")
            })
        })
        .collect();
    drop(runtime);
    group.set_limit(1);
    assert_eq!((alive.now(), group.len()), (0, 0));
    assert!(tasks.into_iter().all(|task| task.into_result().unwrap_err().never_started()));
}

#[tokio::test]
async fn a_hundred_thousand_in_the_queue_are_cancelled_in_linear_time() {
    let took = |tasks: usize, each: bool| async move {
        let (group, alive) = (limited(1), Alive::new());
        let queued: Vec<_> = (0..tasks)
            .map(|_| {
                let guard = alive.guard();
                group.spawn(async move {
                    let _guard = guard;
                    std::future::pending::<Result<(), _>>().await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let began = Instant::now();
        match each {
            // From the middle: neither end of the queue is near.
            true => queued[tasks / 2..].iter().chain(&queued[..tasks / 2]).for_each(|task| task.cancel()),
            false => group.cancel(),
        }
        let took = began.elapsed();
        assert!(alive.now() <= 1);
        group.join().await.unwrap();
        took
    };
    for each in [true, false] {
        let (few, many) = (took(10_000, each).await, took(100_000, each).await);
        assert!(many < few * 60 + Duration::from_millis(50), "{few:?} for 10,000, {many:?} for 100,000");
    }
}

/// A closure cannot be dropped with its group: the enclosing one waits for it, and its place is taken so long.
#[tokio::test]
async fn a_closure_that_outlives_its_group_keeps_its_permit() {
    let limiter = Limiter::new(2);
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let outer: Group = TaskGroup::builder().limit(5).build();
    let (started, starts) = tokio::sync::oneshot::channel();
    let body = async {
        let inner: Group = TaskGroup::builder().limiter(&limiter).build();
        inner.spawn_blocking(move |_token| {
            started.send(()).unwrap();
            gone.recv().unwrap();
            Ok(())
        });
        starts.await.unwrap();
        drop(inner);
        assert_eq!((limiter.running(), outer.len()), (1, 1));
        // A permit of the limiter, no place in the group that has taken it over.
        let all: Vec<_> = std::iter::from_fn(|| outer.try_ready()).collect();
        assert_eq!(all.len(), 5);
        drop(all);
        go.send(()).unwrap();
        outer.wait_idle().await;
        assert_eq!(limiter.running(), 0);
        assert_eq!(std::iter::from_fn(|| limiter.try_acquire()).take(9).collect::<Vec<_>>().len(), 2);
        Ok(())
    };
    outer.run(body).await.unwrap();
}
