//! Conformance list `tokio-join-set`: what tokio's `timeout` and `timeout_at` promise, of ours.

use std::future::{pending, ready};
use std::time::Duration;

use taskgroup::{timeout, timeout_at};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// The deadline is now and the value is there: the value wins.
#[tokio::test(start_paused = true)]
async fn line_35_simultaneous_deadline_future_completion() {
    assert_eq!(timeout_at(Instant::now(), ready(1)).await.unwrap(), 1);
}

/// Waits before either; the value that comes first wakes it and wins.
#[tokio::test(start_paused = true)]
async fn line_37_future_and_deadline_in_future() {
    let (send, receive) = oneshot::channel();
    let limited = tokio::spawn(timeout_at(Instant::now() + 2 * SECOND, receive));
    sleep(SECOND).await;
    assert!(!limited.is_finished());
    send.send(1).unwrap();
    assert_eq!(limited.await.unwrap().unwrap().unwrap(), 1);
}

/// The same with a time counted from now.
#[tokio::test(start_paused = true)]
async fn line_38_future_and_timeout_in_future() {
    let (send, receive) = oneshot::channel();
    let limited = tokio::spawn(timeout(2 * SECOND, receive));
    sleep(SECOND).await;
    assert!(!limited.is_finished());
    send.send(1).unwrap();
    assert_eq!(limited.await.unwrap().unwrap().unwrap(), 1);
}

/// The longest time there is does not overflow: it is no limit.
#[tokio::test(start_paused = true)]
async fn line_39_very_large_timeout() {
    let began = Instant::now();
    let slow = async {
        sleep(1_000_000 * SECOND).await;
        1
    };
    assert_eq!(timeout(Duration::MAX, slow).await.unwrap(), 1);
    assert_eq!(began.elapsed(), 1_000_000 * SECOND);
}

/// The deadline is now, and nothing is there: it is over.
#[tokio::test(start_paused = true)]
async fn line_40_deadline_now_elapses() {
    advance(SECOND).await;
    let began = Instant::now();
    assert!(timeout_at(Instant::now(), pending::<()>()).await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// A deadline that comes wakes who waits.
#[tokio::test(start_paused = true)]
async fn line_41_deadline_future_elapses() {
    let began = Instant::now();
    assert!(timeout_at(began + SECOND, pending::<()>()).await.is_err());
    assert_eq!(began.elapsed(), SECOND);
}
