//! Who holds up an exit, as data. The log of it is in `slow_exit.rs`.

mod common;

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use common::multi_thread;
use taskgroup::{
    NodeKind, Spawner, Straggler, StragglerState, TaskGroup, checkpoint, finally_for, shield, shield_for,
    timeout,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

type Group = TaskGroup<anyhow::Error>;

fn states(stragglers: &[Straggler]) -> Vec<(&str, StragglerState)> {
    stragglers.iter().map(|straggler| (straggler.path(), straggler.state())).collect()
}

/// Waits through a shield for so long.
async fn stubborn(seconds: u32) -> anyhow::Result<()> {
    shield(sleep(seconds * SECOND)).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_group_without_tasks_has_none() {
    let group = Group::new();
    assert!(group.stragglers().is_empty());
    group.spawn(async { Ok(()) });
    group.run(async { Ok(()) }).await.unwrap();
    assert!(group.stragglers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn before_a_cancel_everybody_is_running() {
    let group: Group = TaskGroup::builder().name("app").build();
    group.task().name("one").spawn(pending::<Result<(), _>>());
    sleep(2 * SECOND).await;
    group.task().name("two").background().cooperative(|_token| pending::<Result<(), _>>());
    sleep(SECOND).await;
    let all = group.stragglers();
    assert_eq!(
        states(&all),
        [("app > one", StragglerState::Running), ("app > two", StragglerState::Running)]
    );
    assert_eq!((all[0].age(), all[1].age()), (Some(3 * SECOND), Some(SECOND)));
    assert!(all.iter().all(|one| one.since_cancel().is_none() && one.cause().is_none()));
    assert_eq!((all[0].kind(), all[0].name()), (NodeKind::Task, Some("one")));
    assert_eq!(all[0].location().file(), file!());
}

#[tokio::test(start_paused = true)]
async fn shielded_and_cooperative_tasks_say_so() {
    let group: Group = TaskGroup::builder().name("app").build();
    group.task().name("shield").spawn(stubborn(30));
    group.task().name("deep").spawn(async {
        let _ = timeout(100 * SECOND, shield_for(40 * SECOND, pending::<()>())).await;
        Ok(())
    });
    group.task().name("cleanup").spawn(async {
        let cleanup = |_how| sleep(20 * SECOND);
        finally_for(60 * SECOND, pending::<anyhow::Result<()>>(), cleanup).await
    });
    group.task().name("told").cooperative(|_token| async {
        sleep(25 * SECOND).await;
        Ok(())
    });
    group.task().name("cut").spawn(pending::<Result<(), _>>());
    yield_now().await;
    sleep(5 * SECOND).await;
    group.cancel_because("enough");
    let spawner = group.spawner();
    let watcher = tokio::spawn(watch_cancelled(spawner));
    group.join().await.unwrap();
    watcher.await.unwrap();
}

async fn watch_cancelled(spawner: Spawner<anyhow::Error>) {
    sleep(SECOND).await;
    let all = spawner.stragglers();
    let (shielded, told) = (StragglerState::Shielded, StragglerState::Cooperative);
    let expected = [
        ("app > shield", shielded),
        ("app > deep", shielded),
        ("app > cleanup", shielded),
        ("app > told", told),
    ];
    assert_eq!(states(&all), expected);
    for straggler in &all {
        assert_eq!((straggler.age(), straggler.since_cancel()), (Some(6 * SECOND), Some(SECOND)));
        assert_eq!(straggler.cause().unwrap().to_string(), "enough");
    }
    let text = all[0].to_string();
    assert!(text.starts_with("task \"shield\" (#") && text.contains("stragglers.rs:"), "{text}");
    assert!(text.ends_with(", in app > shield, 6.0s old: shielded, cancelled 1.0s ago"), "{text}");
    sleep(21 * SECOND).await;
    assert_eq!(states(&spawner.stragglers()), expected[..2]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_that_was_not_polled_yet_is_woken() {
    let group: Group = TaskGroup::builder().name("app").build();
    group.task().name("asleep").spawn(pending::<Result<(), _>>());
    yield_now().await;
    group.task().name("new").spawn(pending::<Result<(), _>>());
    group.cancel();
    let woken = StragglerState::Woken;
    assert_eq!(states(&group.stragglers()), [("app > asleep", woken), ("app > new", woken)]);
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_innermost_come_first_and_those_around_wait() {
    let group: Group = TaskGroup::builder().name("app").build();
    group.task().name("server").spawn(async {
        let inner: Group = TaskGroup::builder().name("connections").build();
        inner.task().name("conn 7").spawn(async {
            let deepest: Group = TaskGroup::builder().name("writes").build();
            deepest.task().name("flush").spawn(stubborn(60));
            deepest.run(pending::<Result<(), _>>()).await?;
            Ok(())
        });
        Ok(timeout(1000 * SECOND, inner.run(pending::<Result<(), _>>())).await??)
    });
    group.task().name("other").spawn(stubborn(90));
    sleep(SECOND).await;
    group.cancel();
    let waiting = StragglerState::Waiting;
    for _ in 0..2 {
        let all = group.stragglers();
        let flush = "app > server > connections > conn 7 > writes > flush";
        let leaves = [("app > other", StragglerState::Shielded), (flush, StragglerState::Shielded)];
        assert_eq!(states(&all[..2]), leaves);
        let around = [("app > server", waiting), ("app > server > connections > conn 7", waiting)];
        assert_eq!(states(&all[2..]), around);
        sleep(SECOND).await;
    }
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_shield_keeps_the_cancel_from_is_running() {
    let group: Group = TaskGroup::builder().name("app").build();
    group.task().name("host").spawn(async {
        shield(async {
            let inner: Group = TaskGroup::builder().name("inner").build();
            inner.task().name("work").spawn(async {
                sleep(30 * SECOND).await;
                Ok(())
            });
            inner.join().await
        })
        .await?;
        Ok(())
    });
    sleep(SECOND).await;
    group.cancel();
    let expected =
        [("app > host > inner > work", StragglerState::Running), ("app > host", StragglerState::Shielded)];
    assert_eq!(states(&group.stragglers()), expected);
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_is_listed_where_its_shield_holds_up_the_exit() {
    let group: Group = TaskGroup::builder().name("app").build();
    let spawner = group.spawner();
    let watcher = tokio::spawn(async move {
        sleep(SECOND).await;
        assert!(spawner.stragglers().iter().all(|one| one.kind() == NodeKind::Body));
        spawner.cancel();
        let all = spawner.stragglers();
        assert_eq!(states(&all), [("app", StragglerState::Shielded)]);
        assert_eq!((all[0].kind(), all[0].age()), (NodeKind::Body, None));
        assert_eq!(all[0].id(), spawner.id());
    });
    group.run(stubborn(5)).await.unwrap();
    watcher.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_starting_child_is_listed_once() {
    let group: Group = TaskGroup::builder().name("app").build();
    let outer = group.spawner();
    group.task().name("starter").spawn(async move {
        let start = outer.task().name("starting").start::<(), (), _>(|_ready| async {
            shield(sleep(20 * SECOND)).await;
            pending().await
        });
        drop(start.await);
        Ok(())
    });
    sleep(SECOND).await;
    group.cancel();
    let expected = [("app > starting", StragglerState::Shielded), ("app > starter", StragglerState::Waiting)];
    assert_eq!(states(&group.stragglers()), expected);
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_asks_in_its_own_poll_is_being_polled() {
    let group: Group = TaskGroup::builder().name("app").build();
    let spawner = group.spawner();
    group.task().name("curious").spawn(async move {
        let state = |spawner: &Spawner<_>| spawner.stragglers()[0].state();
        assert_eq!(state(&spawner), StragglerState::Polled { since: None });
        spawner.cancel();
        assert_eq!(state(&spawner), StragglerState::Polled { since: None });
        let cancelled = Instant::now();
        shield(async {
            sleep(2 * SECOND).await;
            assert_eq!(state(&spawner), StragglerState::Polled { since: Some(cancelled + 2 * SECOND) });
            assert!(
                spawner.stragglers()[0].to_string().contains(": being polled for 0.0ns, cancelled 2.0s ago")
            );
        })
        .await;
        Ok(())
    });
    group.join().await.unwrap();
}

#[test]
fn a_poll_on_another_thread_and_a_closure_are_seen() {
    let runtime = multi_thread(2);
    let group: Group = runtime.block_on(async { TaskGroup::builder().name("app").build() });
    let (go, gone) = mpsc::channel::<()>();
    let (inside, is_inside) = oneshot::channel();
    group.task().name("hog").spawn(async move {
        inside.send(()).unwrap();
        gone.recv().unwrap();
        checkpoint().await;
        Ok(())
    });
    let (leave, left) = mpsc::channel::<()>();
    let (working, is_working) = oneshot::channel();
    group.task().name("closure").spawn_blocking(move |token| {
        working.send(()).unwrap();
        left.recv().unwrap();
        Ok(token.check()?)
    });
    runtime.block_on(async {
        is_inside.await.unwrap();
        is_working.await.unwrap();
        group.cancel();
        let all = group.stragglers();
        let polled = StragglerState::Polled { since: None };
        assert_eq!(states(&all), [("app > hog", polled), ("app > closure", StragglerState::Blocking)]);
        assert!(all[0].to_string().contains("being polled since before its cancel"));
        go.send(()).unwrap();
        leave.send(()).unwrap();
        group.join().await.unwrap();
    });
}

#[test]
fn a_closure_without_a_thread_is_queued() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let group: Group = TaskGroup::builder().name("app").build();
        let (leave, left) = mpsc::channel::<()>();
        let (working, is_working) = oneshot::channel();
        group.task().name("first").spawn_blocking(move |_token| {
            working.send(()).unwrap();
            left.recv().unwrap();
            Ok(())
        });
        is_working.await.unwrap();
        group.task().name("second").spawn_blocking(|_token| Ok(()));
        let expected = [("app > first", StragglerState::Blocking), ("app > second", StragglerState::Queued)];
        assert_eq!(states(&group.stragglers()), expected);
        leave.send(()).unwrap();
        group.join().await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn the_ages_of_many_are_known_to_the_tenth_of_a_second() {
    let group: Group = TaskGroup::builder().report_records(2).build();
    for _ in 0..50 {
        group.spawn(pending::<Result<(), _>>());
        sleep(SECOND / 4).await;
    }
    let ages: Vec<_> = group.stragglers().iter().map(|one| one.age().unwrap()).collect();
    for (number, age) in ages.iter().enumerate() {
        let exact = (50 - number as u32) * SECOND / 4;
        let error = age.abs_diff(exact);
        assert!(error <= SECOND / 10 && (number >= 2 || error.is_zero()), "{number}: {age:?} for {exact:?}");
    }
    group.cancel();
    group.join().await.unwrap();
}
