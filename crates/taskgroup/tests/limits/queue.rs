//! Who runs, who is queued, and in which order they start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::common::{Alive, multi_thread, within_an_hour};
use super::{Exit, Group, Running, limited, settle};
use taskgroup::{CancelEnd, ChildEnd, OnPanic, StragglerState, TaskGroup};

#[tokio::test(start_paused = true)]
async fn never_more_than_the_limit_run_and_so_many_do() {
    let (group, running) = (limited(3), Running::default());
    for _ in 0..30 {
        let running = running.clone();
        group.spawn(async move {
            let _run = running.enter();
            settle().await;
            Ok(())
        });
    }
    assert_eq!((group.len(), group.report().queued()), (30, 27));
    within_an_hour(group.join()).await.unwrap();
    assert_eq!((running.most(), running.now()), (3, 0));
}

#[test]
fn on_several_threads_too() {
    multi_thread(2).block_on(async {
        let running = Running::default();
        for limit in [1, 2, 7] {
            let group = limited(limit);
            for number in 0..2_000 {
                let running = running.clone();
                group.spawn(async move {
                    let _run = running.enter();
                    for _ in 0..number % 3 {
                        tokio::task::yield_now().await;
                    }
                    assert!(running.now() <= limit);
                    Ok(())
                });
            }
            let spawner = group.spawner();
            group.join().await.unwrap();
            assert!((1..=limit).contains(&running.most()));
            let report = spawner.report();
            assert_eq!((report.completed(), report.queued(), report.running()), (2_000, 0, 0));
        }
    });
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    for limit in [1, 4] {
        let (group, order) = (limited(limit), Arc::new(Mutex::new(Vec::new())));
        for number in 0..100 {
            let order = Arc::clone(&order);
            let started = async move {
                order.lock().unwrap().push(number);
                tokio::task::yield_now().await;
                Ok(())
            };
            // Whatever kind of task it is.
            match number % 3 {
                0 => drop(group.spawn(started)),
                1 => drop(group.task().background().spawn(started)),
                _ if number < 10 => drop(group.task().cooperative(|_token| started)),
                // Queued it is polled in its turn.
                _ => drop(group.task().eager().spawn(started)),
            }
        }
        within_an_hour(group.wait_idle()).await;
        group.set_limit(usize::MAX);
        within_an_hour(group.join()).await.unwrap();
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_free_is_taken_at_once() {
    let (group, running, exit) = (limited(2), Running::default(), Exit::closed());
    for ran in [1, 2, 2] {
        group.spawn(exit.task(&running));
        settle().await;
        assert_eq!(running.now(), ran);
    }
    exit.open(1);
    settle().await;
    assert_eq!((running.now(), group.len(), group.report().queued()), (2, 2, 0));
    exit.open(2);
    within_an_hour(group.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_eager_task_is_polled_in_spawn_if_there_is_room_and_else_when_it_is_its_turn() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    group.task().eager().spawn(exit.task(&running));
    assert_eq!(running.now(), 1);
    group.task().eager().spawn(exit.task(&running));
    assert_eq!(running.now(), 1);
    exit.open(2);
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(running.most(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_its_queue() {
    let (group, alive) = (limited(1), Alive::new());
    for _ in 0..10 {
        let guard = alive.guard();
        group.spawn(async move {
            settle().await;
            drop(guard);
            Ok(())
        });
    }
    // R6: also when, for a moment, nobody runs.
    group.wait_idle().await;
    assert_eq!((alive.now(), group.len()), (0, 0));
    let late = alive.guard();
    let body = async {
        group.spawn(async move {
            drop(late);
            Ok(())
        });
        Ok(())
    };
    group.run(body).await.unwrap();
    assert_eq!((alive.now(), group.report().completed()), (0, 11));
}

#[tokio::test(start_paused = true)]
async fn a_queued_background_task_is_cancelled_when_nothing_ordinary_is_left() {
    let (group, alive) = (limited(1), Alive::new());
    let ordinary = group.spawn(async {
        settle().await;
        Ok(1)
    });
    let guard = alive.guard();
    group.set_limit(0);
    let background = group.task().background().spawn::<()>(async move {
        drop(guard);
        unreachable!("there is no room for it")
    });
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(ordinary.into_result().unwrap(), 1);
    assert!(background.into_result().unwrap_err().never_started());
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_background_task_keeps_its_place() {
    let (group, running, exit) = (limited(2), Running::default(), Exit::closed());
    group.task().background().spawn(std::future::pending::<Result<(), _>>());
    for _ in 0..5 {
        group.spawn(exit.task(&running));
    }
    exit.open(5);
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(running.most(), 1);
}

#[tokio::test(start_paused = true)]
async fn blocking_closures_are_queued_like_tasks() {
    let (group, running, open) = (limited(2), Running::default(), Arc::new(AtomicBool::new(false)));
    let sums: Vec<_> = (0..20)
        .map(|number| {
            let (running, open) = (running.clone(), Arc::clone(&open));
            group.spawn_blocking(move |_token| {
                let _run = running.enter();
                while !open.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                Ok(number)
            })
        })
        .collect();
    assert_eq!(group.report().queued(), 18);
    open.store(true, Ordering::SeqCst);
    group.join().await.unwrap();
    assert!(running.most() <= 2);
    assert_eq!(sums.into_iter().map(|sum| sum.into_result().unwrap()).sum::<u32>(), 190);
}

#[tokio::test(start_paused = true)]
async fn a_queued_start_becomes_ready_when_it_is_its_turn() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    group.spawn(exit.task(&running));
    let body = async {
        let start = group.start(|ready| async move {
            ready.ready(8080);
            Ok(7)
        });
        let (started, ()) = tokio::join!(start, async {
            settle().await;
            assert_eq!(group.report().queued(), 1);
            exit.open(1);
        });
        let (port, task) = started.unwrap();
        assert_eq!(port, 8080);
        Ok(task.await.unwrap())
    };
    assert_eq!(within_an_hour(group.run(body)).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_given_up_leaves_the_queue() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    group.spawn(exit.task(&running));
    let start = group.start::<(), (), _>(|_ready| async { unreachable!("never its turn") });
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), start).await.is_err());
    assert_eq!((group.len(), group.report().queued()), (1, 0));
    exit.open(1);
    within_an_hour(group.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_raised_starts_the_first_of_the_queue() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    for _ in 0..10 {
        group.spawn(exit.task(&running));
    }
    for (limit, ran) in [(4, 4), (2, 4), (5, 5)] {
        group.set_limit(limit);
        settle().await;
        assert_eq!((group.limit(), running.now()), (Some(limit), ran));
    }
    exit.open(10);
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(running.most(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_lowered_lets_those_that_run_end() {
    let (group, running, exit) = (limited(4), Running::default(), Exit::closed());
    for _ in 0..10 {
        group.spawn(exit.task(&running));
    }
    settle().await;
    group.set_limit(2);
    for ran in [3, 2, 2, 2] {
        exit.open(1);
        settle().await;
        assert_eq!(running.now(), ran);
    }
    exit.open(6);
    within_an_hour(group.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nought_is_a_pause() {
    let (group, running, exit) = (limited(2), Running::default(), Exit::closed());
    for _ in 0..4 {
        group.spawn(exit.task(&running));
    }
    settle().await;
    group.set_limit(0);
    exit.open(4);
    settle().await;
    assert_eq!((running.now(), group.len(), group.report().queued()), (0, 2, 2));
    group.set_limit(1);
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(running.most(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_limit_can_be_lifted_and_set_again() {
    let (group, running, exit) = (limited(usize::MAX), Running::default(), Exit::closed());
    assert_eq!((group.limit(), Group::new().limit()), (None, None));
    for _ in 0..3 {
        group.spawn(exit.task(&running));
    }
    group.spawner().set_limit(1);
    assert_eq!(group.spawner().limit(), Some(1));
    group.spawn(exit.task(&running));
    settle().await;
    assert_eq!(running.now(), 3);
    exit.open(4);
    within_an_hour(group.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "was built without a limit")]
async fn who_was_built_without_a_limit_cannot_get_one() {
    Group::new().set_limit(3);
}

#[tokio::test(start_paused = true)]
async fn report_and_stragglers_tell_who_is_queued() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    group.task().name("first").spawn(exit.task(&running));
    let second = group.task().name("second").spawn(exit.task(&running));
    group.task().name("third").spawn_blocking::<()>(|_token| Ok(()));
    settle().await;
    let states: Vec<_> = group
        .stragglers()
        .iter()
        .map(|straggler| (straggler.name().unwrap().to_owned(), straggler.state()))
        .collect();
    let state = |name: &str, state| (name.to_owned(), state);
    assert_eq!(
        states,
        [
            state("first", StragglerState::Running),
            state("second", StragglerState::Limited),
            state("third", StragglerState::Limited),
        ]
    );
    let report = group.report();
    assert_eq!((report.running(), report.queued()), (3, 2));
    assert!(report.to_string().contains("3 spawned, 1 running, 2 queued"), "{report}");
    assert!(group.stragglers()[1].to_string().contains("queued for a place in its group"));
    second.cancel();
    exit.open(1);
    within_an_hour(group.wait_idle()).await;
    let report = group.report();
    assert_eq!((report.running(), report.queued(), report.never_started()), (0, 0, 1));
    assert_eq!(report.records()[1].end(), Some(ChildEnd::Cancelled(CancelEnd::NeverStarted)));
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_of_the_queued_are_their_own_groups_business() {
    let outer = limited(1);
    let running = Running::default();
    for _ in 0..5 {
        let running = running.clone();
        outer.spawn(async move {
            let inner: Group = TaskGroup::builder().limit(2).on_panic(OnPanic::Collect).build();
            for _ in 0..6 {
                let running = running.clone();
                inner.spawn(async move {
                    let _run = running.enter();
                    settle().await;
                    Ok(())
                });
            }
            inner.join().await.map_err(|_| "no")
        });
    }
    within_an_hour(outer.join()).await.unwrap();
    assert_eq!(running.most(), 2);
}
