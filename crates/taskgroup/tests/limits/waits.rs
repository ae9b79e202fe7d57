//! Waiting for room: `ready`, `spawn_when_ready`, and what becomes of room that nobody takes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::poll;

use super::common::{Alive, multi_thread, within_an_hour};
use super::{Exit, Group, Running, limited, settle};
use taskgroup::TaskGroup;

#[tokio::test(start_paused = true)]
async fn spawn_when_ready_keeps_the_queue_empty() {
    let (group, running) = (limited(3), Running::default());
    let body = async {
        for number in 0..50 {
            let running = running.clone();
            let task = async move {
                let _run = running.enter();
                settle().await;
                Ok(number)
            };
            match number % 3 {
                0 => drop(group.spawn_when_ready(task).await),
                1 => drop(group.spawner().spawn_when_ready(task).await),
                _ => {
                    let task = group.task().name("named").spawn_when_ready(task).await;
                    assert_eq!(task.name(), Some("named"));
                }
            }
            assert!(group.len() <= 3 && group.report().queued() == 0);
        }
        Ok(())
    };
    within_an_hour(group.run(body)).await.unwrap();
    assert_eq!((running.most(), group.report().completed()), (3, 50));
}

#[test]
fn and_on_several_threads() {
    multi_thread(2).block_on(async {
        let (group, running) = (limited(4), Running::default());
        let body = async {
            for number in 0..5_000 {
                let running = running.clone();
                let task = async move {
                    let _run = running.enter();
                    for _ in 0..number % 4 {
                        tokio::task::yield_now().await;
                    }
                    Ok(())
                };
                group.spawn_when_ready(task).await;
                assert!(group.report().queued() == 0);
            }
            Ok(())
        };
        group.run(body).await.unwrap();
        assert!(running.most() <= 4);
    });
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nobody_waits() {
    let group = Group::new();
    let place = group.ready().now_or_never().unwrap();
    assert_eq!(place.spawn(async { Ok(1) }).await.unwrap(), 1);
    assert!(group.spawn_when_ready(async { Ok(()) }).now_or_never().is_some());
    assert!(group.try_ready().is_some());
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_is_taken_until_it_is_dropped_or_its_task_has_ended() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    let place = group.ready().await;
    assert!(group.try_ready().is_none());
    drop(place);
    let place = group.try_ready().unwrap();
    let queued = group.spawn(async { Ok(2) });
    let task = place.task().name("in place").spawn(exit.task(&running));
    settle().await;
    assert_eq!((running.now(), task.name(), queued.is_finished()), (1, Some("in place"), false));
    exit.open(1);
    settle().await;
    assert!(queued.is_finished() && group.try_ready().is_some());
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_and_who_is_queued_stand_in_one_line() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let order = Arc::clone(&order);
        async move {
            order.lock().unwrap().push(what);
            Ok(())
        }
    };
    group.spawn(exit.task(&running));
    settle().await;
    group.spawn(note("first"));
    let mut second = Box::pin(group.spawn_when_ready(note("second")));
    assert!(poll!(&mut second).is_pending());
    group.spawn(note("third"));
    exit.open(1);
    settle().await;
    // It is second's turn, whether it takes it or not.
    assert_eq!(*order.lock().unwrap(), ["first"]);
    second.await;
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["first", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn room_reserved_for_somebody_who_goes_is_the_nexts() {
    let (group, running, exit, alive) = (limited(1), Running::default(), Exit::closed(), Alive::new());
    group.spawn(exit.task(&running));
    let guard = alive.guard();
    let mut first = Box::pin(group.spawn_when_ready(async move {
        drop(guard);
        Ok(())
    }));
    let mut second = Box::pin(group.ready());
    let mut third = Box::pin(group.ready());
    assert!(
        poll!(&mut first).is_pending() && poll!(&mut second).is_pending() && poll!(&mut third).is_pending()
    );
    exit.open(1);
    settle().await;
    // Reserved for the first, which has not been polled since.
    assert!(poll!(&mut second).is_pending() && group.try_ready().is_none());
    drop(first);
    assert_eq!(alive.now(), 0);
    // Gives it up before it is its turn: nothing changes for the others.
    drop(third);
    let place = second.now_or_never().expect("it is its turn");
    assert!(group.try_ready().is_none());
    drop(place);
    assert!(group.try_ready().is_some());
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_dropped_starts_the_next_in_the_queue() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    let place = group.ready().await;
    group.spawn(exit.task(&running));
    settle().await;
    assert_eq!(running.now(), 0);
    drop(place);
    settle().await;
    assert_eq!(running.now(), 1);
    exit.open(1);
    within_an_hour(group.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_or_ended_group_lets_everybody_through() {
    let group = limited(0);
    let spawner = group.spawner();
    let waiting = tokio::spawn(async move {
        let place = spawner.ready().await;
        let task = place.spawn(async { Ok(()) });
        (task.into_result().unwrap_err().never_started(), spawner.try_ready().is_some())
    });
    settle().await;
    assert!(!waiting.is_finished());
    group.cancel();
    assert_eq!(waiting.await.unwrap(), (true, true));
    assert!(group.spawn_when_ready(async { Ok(()) }).now_or_never().unwrap().is_finished());
    group.join().await.unwrap();

    let group = limited(0);
    let spawner = group.spawner();
    let waiting = tokio::spawn(async move {
        let task = spawner.spawn_when_ready(async { Ok(()) }).await;
        task.into_result()
    });
    settle().await;
    // Who waits outside does not keep it open.
    group.join().await.unwrap();
    assert!(waiting.await.unwrap().unwrap_err().never_started());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_for_room_is_cut_there() {
    for cancel in [true, false] {
        let (group, alive) = (limited(1), Alive::new());
        let (guard, spawner) = (alive.guard(), group.spawner());
        group.spawn::<()>(async move {
            let _guard = guard;
            settle().await;
            match cancel {
                true => {
                    spawner.cancel();
                    Ok(())
                }
                false => Err("broken"),
            }
        });
        let body = async {
            group.spawn_when_ready(async { Ok(()) }).await;
            unreachable!("its region is cancelled (R12)")
        };
        let ended: Result<(), _> = within_an_hour(group.run(body)).await;
        assert_eq!(ended.unwrap_err().is_cancelled(), cancel);
        assert_eq!((alive.now(), group.report().spawned()), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_region_that_is_cancelled_it_does_not_come_back() {
    let (busy, idle) = (limited(1), Group::new());
    let cut = Arc::new(Mutex::new(0));
    let host: Group = TaskGroup::new();
    let (spawner, ended) = (busy.spawner(), Arc::clone(&cut));
    let task = host.spawn(async move {
        let _ended = scopeguard(move || *ended.lock().unwrap() += 1);
        taskgroup::checkpoint().await;
        drop(spawner.ready().await);
        Ok(())
    });
    task.cancel();
    within_an_hour(host.join()).await.unwrap();
    assert!(task.into_result().unwrap_err().is_cancelled());
    // Nothing of it is left in the line.
    assert!(busy.try_ready().is_some());
    busy.join().await.unwrap();
    idle.join().await.unwrap();
}

fn scopeguard(end: impl FnOnce()) -> impl Drop {
    struct Guard<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for Guard<F> {
        fn drop(&mut self) {
            if let Some(end) = self.0.take() {
                end();
            }
        }
    }
    Guard(Some(end))
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_the_wait_leaves_the_line() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    group.spawn(exit.task(&running));
    settle().await;
    for _ in 0..3 {
        assert!(taskgroup::timeout(Duration::from_secs(1), group.ready()).await.is_err());
    }
    exit.open(1);
    settle().await;
    assert!(group.try_ready().is_some());
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_always_finds_room_lets_others_run() {
    let group: Group = TaskGroup::builder().limit(100_000).build();
    let other = tokio::spawn(async {});
    let body = async {
        let mut spawned = 0;
        while !other.is_finished() {
            group.spawn_when_ready(async { Ok(()) }).await;
            spawned += 1;
        }
        Ok(spawned)
    };
    assert!(group.run(body).await.unwrap() < 1_000);
}
