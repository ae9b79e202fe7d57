//! Tasks that wait for each other's places.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::common::within_an_hour;
use super::{Exit, Group, Running, limited, settle};
use taskgroup::{Limiter, OnFailure, OnPanic, TaskGroup};

async fn message<T>(future: impl Future<Output = T>) -> String {
    let panic = AssertUnwindSafe(within_an_hour(future)).catch_unwind().await.err().expect("it panics");
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[tokio::test(start_paused = true)]
async fn tasks_that_all_wait_for_room_in_their_own_group_are_told() {
    let group: Group = TaskGroup::builder().name("crawl").limit(2).build();
    for name in ["news", "sport"] {
        let spawner = group.spawner();
        group.task().name(name).spawn(async move {
            settle().await;
            spawner.spawn_when_ready(async { Ok(()) }).await;
            Ok(())
        });
    }
    let text = message(group.join()).await;
    for part in ["deadlock in group \"crawl\"", "whose limit is 2", "task \"news\"", "task \"sport\""] {
        assert!(text.contains(part), "{part} in: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_still_runs_is_no_deadlock() {
    let (group, running, exit) = (limited(3), Running::default(), Exit::closed());
    group.spawn(exit.task(&running));
    for _ in 0..2 {
        let spawner = group.spawner();
        group.spawn(async move {
            for _ in 0..5 {
                spawner.spawn_when_ready(async { Ok(()) }).await;
            }
            Ok(())
        });
    }
    settle().await;
    exit.open(1);
    within_an_hour(group.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nor_is_a_pause_or_a_wait_that_was_given_up() {
    let group = limited(1);
    let spawner = group.spawner();
    let task = group.spawn(async move {
        spawner.set_limit(0);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(1), spawner.ready()).await;
        spawner.set_limit(2);
        drop(spawner.ready().await);
        Ok(waited.is_err())
    });
    within_an_hour(group.join()).await.unwrap();
    assert!(task.into_result().unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_others_go_on_when_one_was_told() {
    let builder = TaskGroup::builder().on_failure(OnFailure::Continue).on_panic(OnPanic::Collect);
    let group: Group = builder.limit(2).build();
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let spawner = group.spawner();
            group.spawn(async move { Ok(spawner.spawn_when_ready(async { Ok(7) }).await.await.is_ok()) })
        })
        .collect();
    let error = within_an_hour(group.join()).await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert!(error.first().unwrap().panic().is_some());
    let ended: Vec<_> = tasks.into_iter().map(|task| task.into_result().unwrap_or(false)).collect();
    assert_eq!(ended, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_further_inside_counts_for_the_task_around_it() {
    let outer: Group = TaskGroup::builder().name("outer").limit(1).build();
    let spawner = outer.spawner();
    outer.task().name("host").spawn(async move {
        let inner: TaskGroup<()> = TaskGroup::new();
        inner.spawn(async move {
            drop(spawner.ready().await);
            Ok(())
        });
        inner.join().await.map_err(|_| "no")
    });
    let text = message(outer.join()).await;
    assert!(text.contains("task \"host\""), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_limiter_tells_it_too() {
    let limiter = Limiter::new(2);
    let groups: [Group; 2] = [(); 2].map(|()| TaskGroup::builder().limiter(&limiter).build());
    let (spawner, shared) = (groups[1].spawner(), limiter.clone());
    groups[0].task().name("spawns").spawn(async move {
        spawner.spawn_when_ready(async { Ok(()) }).await;
        Ok(())
    });
    groups[1].task().name("acquires").spawn(async move {
        settle().await;
        drop(shared.acquire().await);
        Ok(())
    });
    let [first, second] = groups;
    let text = message(second.join()).await;
    for part in ["deadlock at a limiter", "\"spawns\"", "\"acquires\""] {
        assert!(text.contains(part), "{part} in: {text}");
    }
    within_an_hour(first.join()).await.unwrap();
    assert_eq!(limiter.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_body_may_wait_as_long_as_it_likes() {
    let (group, running, exit) = (limited(1), Running::default(), Exit::closed());
    let body = async {
        group.spawn(exit.task(&running));
        let open = exit.clone();
        let (place, ()) = tokio::join!(group.ready(), async {
            settle().await;
            open.open(1);
        });
        drop(place);
        Ok(())
    };
    within_an_hour(group.run(body)).await.unwrap();
}
