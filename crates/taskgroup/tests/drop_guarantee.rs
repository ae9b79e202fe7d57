//! R2: dropping a group leaves no future of it alive when `drop` returns, whatever the runtime is doing.

mod common;

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use common::{Alive, multi_thread};
use taskgroup::{OnDrop, TaskGroup, scope};
use tokio::task::yield_now;

#[tokio::test]
async fn queued_children_are_dropped_unpolled() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::new();
    for _ in 0..100 {
        let guard = alive.guard();
        group.spawn::<()>(async move {
            let _guard = guard;
            unreachable!("the only worker is busy until the group is dropped")
        });
    }
    drop(group);
    assert_eq!((alive.now(), alive.ever()), (0, 100));
    yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn sleeping_children_are_dropped_and_leave_the_runtime() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::new();
    for _ in 0..100 {
        let guard = alive.guard();
        group.spawn::<()>(async move {
            let _guard = guard;
            pending().await
        });
    }
    // One poll of a driver polls some of them.
    for _ in 0..8 {
        yield_now().await;
    }
    let in_runtime = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!((alive.now(), in_runtime()), (100, 1), "one driver for all");
    drop(group);
    assert_eq!(alive.now(), 0);
    for _ in 0..4 {
        yield_now().await;
    }
    assert_eq!(in_runtime(), 0, "the driver is woken and ends");
}

#[test]
fn a_child_that_is_being_polled_elsewhere_is_waited_for() {
    let runtime = multi_thread(2);
    let alive = Alive::new();
    let (polling, is_polling) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let group: TaskGroup = runtime.block_on(async { TaskGroup::new() });
    let spawner = group.spawner();
    let guard = alive.guard();
    group.spawn::<()>(async move {
        let _guard = guard;
        polling.send(()).unwrap();
        released.recv().unwrap();
        pending().await
    });
    is_polling.recv().unwrap();
    let dropper = std::thread::spawn({
        let alive = alive.clone();
        move || {
            drop(group);
            alive.now()
        }
    });
    while !spawner.is_cancelled() {
        std::thread::yield_now();
    }
    // The drop is under way, the poll too: only this lets it return.
    assert_eq!(alive.now(), 1);
    release.send(()).unwrap();
    assert_eq!(dropper.join().unwrap(), 0);
}

#[test]
fn abandon_gives_up_the_waiting_never_the_cancel() {
    let runtime = multi_thread(2);
    let alive = Alive::new();
    let (polling, is_polling) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (gone, is_gone) = mpsc::channel();
    struct Tell(mpsc::Sender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let group: TaskGroup = runtime.block_on(async { TaskGroup::builder().on_drop(OnDrop::Abandon).build() });
    let tell = Tell(gone);
    group.spawn::<()>(async move {
        let _tell = tell;
        polling.send(()).unwrap();
        released.recv().unwrap();
        pending().await
    });
    is_polling.recv().unwrap();
    let guard = alive.guard();
    group.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    drop(group);
    assert!(is_gone.try_recv().is_err(), "still inside its poll");
    release.send(()).unwrap();
    is_gone.recv().unwrap();
}

#[test]
fn a_child_may_drop_its_own_group() {
    let runtime = multi_thread(2);
    runtime.block_on(async {
        let alive = Alive::new();
        let outer: TaskGroup = TaskGroup::new();
        let group: TaskGroup = TaskGroup::new();
        let spawner = group.spawner();
        let (give, take) = tokio::sync::oneshot::channel::<TaskGroup>();
        let (mine, sibling) = (alive.guard(), alive.guard());
        let counter = alive.clone();
        let suicidal = spawner.spawn::<()>(async move {
            let _mine = mine;
            let own = take.await?;
            drop(own);
            // The sibling is gone; this one is dropped when its poll returns.
            assert_eq!(counter.now(), 1);
            pending().await
        });
        spawner.spawn::<()>(async move {
            let _sibling = sibling;
            pending().await
        });
        give.send(group).ok().unwrap();
        let error = suicidal.await.unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(alive.now(), 0);
        outer.join().await.unwrap();
    });
}

#[test]
fn two_children_that_drop_each_others_group_do_not_deadlock() {
    for _ in 0..100 {
        let runtime = multi_thread(2);
        runtime.block_on(async {
            let alive = Alive::new();
            let make = || {
                let group: TaskGroup = TaskGroup::new();
                let (give, take) = tokio::sync::oneshot::channel::<TaskGroup>();
                let guard = alive.guard();
                let task = group.spawn::<()>(async move {
                    let _guard = guard;
                    drop(take.await?);
                    pending().await
                });
                (group, give, task)
            };
            let (left, to_left, left_task) = make();
            let (right, to_right, right_task) = make();
            to_left.send(right).ok().unwrap();
            // Refused where the left child was quick and has dropped the right one: then dropped here.
            drop(to_right.send(left));
            assert!(left_task.await.is_err());
            assert!(right_task.await.is_err());
            assert_eq!(alive.now(), 0);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_loser_of_a_select_is_gone() {
    let alive = Alive::new();
    let work = scope(async |tg: &TaskGroup| {
        for _ in 0..10 {
            let (outer, inner) = (alive.guard(), alive.guard());
            tg.spawn(async move {
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
    let limited = tokio::time::timeout(Duration::from_secs(5), work).await;
    assert!(limited.is_err());
    assert_eq!((alive.now(), alive.ever()), (0, 20));
}

#[tokio::test]
async fn an_aborted_host_leaves_nothing() {
    let alive = Alive::new();
    let guard = alive.guard();
    let host = tokio::spawn(scope(async move |tg: &TaskGroup| {
        tg.spawn::<()>(async move {
            let _guard = guard;
            pending().await
        });
        pending::<anyhow::Result<()>>().await
    }));
    yield_now().await;
    yield_now().await;
    assert_eq!(alive.now(), 1);
    host.abort();
    assert!(host.await.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
async fn ten_thousand_nested_groups_are_dropped_and_cancelled_without_overflow() {
    fn nest(
        depth: usize,
        alive: Alive,
    ) -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
        Box::pin(async move {
            let _guard = alive.guard();
            if depth == 0 {
                return pending().await;
            }
            scope(async |tg: &TaskGroup| {
                tg.spawn(nest(depth - 1, alive));
                Ok(())
            })
            .await?;
            Ok(())
        })
    }
    for drops in [true, false] {
        let alive = Alive::new();
        let group: TaskGroup = TaskGroup::new();
        let root = group.spawn(nest(10_000, alive.clone()));
        while alive.now() < 10_001 {
            yield_now().await;
        }
        if drops {
            drop(group);
        } else {
            group.cancel_because("enough");
            group.join().await.unwrap();
        }
        assert_eq!(alive.now(), 0);
        assert!(root.into_result().unwrap_err().is_cancelled());
    }
}

#[test]
fn a_started_closure_is_adopted_by_the_enclosing_group() {
    let runtime = multi_thread(2);
    runtime.block_on(async {
        let (started, is_started) = tokio::sync::oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let alive = Alive::new();
        let guard = alive.guard();
        let counter = alive.clone();
        scope(async |tg: &TaskGroup| {
            let inner: TaskGroup = TaskGroup::new();
            let closure = inner.spawn_blocking(move |token| {
                let _guard = guard;
                started.send(()).unwrap();
                released.recv().unwrap();
                assert!(token.is_cancelled());
                Ok(())
            });
            is_started.await?;
            drop(inner);
            assert!(!closure.is_finished());
            assert_eq!(tg.len(), 1, "adopted");
            release.send(())?;
            Ok(())
        })
        .await
        .unwrap();
        // The exit has waited for it.
        assert_eq!(counter.now(), 0);
    });
}
