//! The log of an exit that is slow: who holds it up, and when that is said.
#![cfg(feature = "tracing")]

mod common;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::events::{Events, Seen};
use taskgroup::{TaskGroup, shield, timeout};
use tokio::time::{Instant, sleep};
use tracing::Level;

const SECOND: Duration = Duration::from_secs(1);

type Group = TaskGroup<anyhow::Error>;

/// Waits through a shield for so long.
async fn stubborn(seconds: u32) -> anyhow::Result<()> {
    shield(sleep(seconds * SECOND)).await;
    Ok(())
}

/// What has been logged since the last call.
fn log_of(events: &Events) -> Vec<Seen> {
    let all = events.take(Level::WARN);
    assert!(all.iter().all(|event| event.target == "taskgroup"));
    all
}

#[tokio::test(start_paused = true)]
async fn a_slow_exit_is_logged_at_ten_seconds_and_then_ever_more_rarely() {
    let (events, _listening) = Events::listen();
    let group: Group = TaskGroup::builder().name("app").build();
    let id = group.task().name("flush").spawn(stubborn(100)).id();
    sleep(5 * SECOND).await;
    group.cancel();
    let begin = Instant::now();
    let joined = tokio::spawn(group.join());
    let mut logged = Vec::new();
    for second in 0..95 {
        sleep((begin + second * SECOND + SECOND / 2).duration_since(Instant::now())).await;
        logged.extend(log_of(&events).into_iter().map(|event| (second, event)));
    }
    joined.await.unwrap().unwrap();
    let seconds: Vec<_> = logged.iter().map(|(second, _)| *second).collect();
    assert_eq!(seconds, [10, 30, 70]);
    let first = &logged[0].1;
    assert_eq!(first.field("name"), "flush");
    assert_eq!(first.field("id"), id.as_u64().to_string());
    assert_eq!(first.field("path"), "app > flush");
    assert_eq!(first.field("state"), "shielded");
    assert_eq!((first.field("age"), first.field("since_cancel")), ("15s", "10s"));
    assert!(first.field("location").contains("slow_exit.rs:"));
    assert!(first.field("group").starts_with("group \"app\" (#"));
    assert!(
        first.field("message").contains("task \"flush\"") && first.field("message").ends_with(": shielded")
    );
}

#[tokio::test(start_paused = true)]
async fn an_exit_in_time_logs_nothing() {
    let (events, _listening) = Events::listen();
    let group = Group::new();
    group.spawn(stubborn(10));
    sleep(SECOND).await;
    group.cancel();
    group.join().await.unwrap();
    sleep(1000 * SECOND).await;
    assert!(log_of(&events).is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_can_be_switched_off_and_set() {
    let (events, _listening) = Events::listen();
    for (builder, lines) in [
        (TaskGroup::<anyhow::Error>::builder().no_slow_exit(), 0),
        (TaskGroup::<anyhow::Error>::builder().slow_exit(Duration::MAX), 0),
        (TaskGroup::<anyhow::Error>::builder().slow_exit(101 * SECOND), 0),
        (TaskGroup::<anyhow::Error>::builder().slow_exit(60 * SECOND), 1),
        (TaskGroup::<anyhow::Error>::builder().slow_exit(20 * SECOND), 2),
        (TaskGroup::<anyhow::Error>::builder().slow_exit(Duration::ZERO), 6),
    ] {
        let group = builder.build();
        group.spawn(stubborn(101));
        sleep(SECOND).await;
        group.cancel();
        group.join().await.unwrap();
        assert_eq!(log_of(&events).len(), lines);
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_armed_while_nothing_drains() {
    let (events, _listening) = Events::listen();
    let group = Group::new();
    let spawner = group.spawner();
    group.spawn(stubborn(10_000));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut joined = pin!(group.join());
    assert!(joined.as_mut().poll(&mut cx).is_pending());
    sleep(3600 * SECOND).await;
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);

    spawner.cancel();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(joined.as_mut().poll(&mut cx).is_pending());
    sleep(9 * SECOND).await;
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    sleep(2 * SECOND).await;
    assert_eq!(woken.0.load(Ordering::SeqCst), 2);
    assert!(log_of(&events).is_empty());
    assert!(joined.as_mut().poll(&mut cx).is_pending());
    assert_eq!(log_of(&events).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_outermost_that_drains_logs() {
    let (events, _listening) = Events::listen();
    let group: Group = TaskGroup::builder().name("app").build();
    group.task().name("host").spawn(async {
        let inner: Group = TaskGroup::builder().name("inner").slow_exit(SECOND).build();
        inner.task().name("flush").spawn(stubborn(15));
        inner.run(pending::<Result<(), _>>()).await?;
        Ok(())
    });
    sleep(SECOND).await;
    group.cancel();
    group.join().await.unwrap();
    let log = log_of(&events);
    let lines: Vec<_> = log.iter().map(|event| (event.field("name"), event.field("state"))).collect();
    assert_eq!(lines, [("flush", "shielded"), ("host", "waiting for its own tasks")]);
    assert!(log.iter().all(|event| event.field("group").starts_with("group \"app\"")));
}

#[tokio::test(start_paused = true)]
async fn a_task_cancelled_alone_is_watched_too() {
    let (events, _listening) = Events::listen();
    let group: Group = TaskGroup::builder().name("app").slow_exit(2 * SECOND).build();
    let host = group.task().name("host").spawn(async {
        let inner = Group::new();
        inner.task().name("flush").spawn(stubborn(5));
        inner.run(pending::<Result<(), _>>()).await?;
        Ok(())
    });
    let off: Group = TaskGroup::builder().no_slow_exit().build();
    let quiet = off.spawn(stubborn(50));
    sleep(SECOND).await;
    host.cancel();
    quiet.cancel();
    sleep(60 * SECOND).await;
    assert!(host.is_finished() && quiet.is_finished());
    let log = log_of(&events);
    let lines: Vec<_> = log.iter().map(|event| (event.field("name"), event.field("group"))).collect();
    assert_eq!(lines.iter().map(|line| line.0).collect::<Vec<_>>(), ["flush", "host"]);
    assert_eq!(log[1].field("state"), "waiting for its own tasks");
    assert!(lines.iter().all(|line| line.1.starts_with("task \"host\"")));
    group.join().await.unwrap();
    off.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_timeout_whose_time_was_over_is_watched_too() {
    let (events, _listening) = Events::listen();
    let begin = Instant::now();
    let inside = async {
        let inner = Group::new();
        inner.task().name("flush").spawn(stubborn(13));
        inner.run(pending::<Result<(), _>>()).await
    };
    assert!(timeout(SECOND, inside).await.is_err());
    assert_eq!(begin.elapsed(), 13 * SECOND);
    let log = log_of(&events);
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].field("name"), log[0].field("since_cancel")), ("flush", "10s"));
    assert!(log[0].field("group").starts_with("scope #"));
}

#[tokio::test(start_paused = true)]
async fn a_background_task_that_does_not_end_is_watched_too() {
    let (events, _listening) = Events::listen();
    let group: Group = TaskGroup::builder().name("app").build();
    group.task().name("heart").background().spawn(stubborn(30));
    let began = Instant::now();
    let body = async {
        sleep(SECOND).await;
        Ok(())
    };
    group.run(body).await.unwrap();
    assert_eq!(began.elapsed(), 30 * SECOND);
    let log = log_of(&events);
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].field("name"), log[0].field("state")), ("heart", "shielded"));
}

#[tokio::test(start_paused = true)]
async fn twenty_are_told_and_the_rest_is_counted() {
    let (events, _listening) = Events::listen();
    let group: Group = TaskGroup::builder().name("app").build();
    for _ in 0..33 {
        group.spawn(stubborn(15));
    }
    sleep(SECOND).await;
    group.cancel();
    group.join().await.unwrap();
    let log = log_of(&events);
    assert_eq!(log.len(), 21);
    assert!(log[20].field("message").starts_with("13 more hold up the exit of group \"app\""));
}
