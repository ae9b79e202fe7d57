//! Conformance list `java-structured-task-scope`: the policies "all successful" and "any successful", as `gather` and
//! `first_ok`.

use std::future::{Ready, pending};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{Elapsed, first_ok, gather, timeout};
use tokio::time::{Instant, sleep};

use crate::support::Alive;

type Outcome<T> = Result<T, &'static str>;

async fn after<T>(seconds: u64, outcome: Outcome<T>) -> Outcome<T> {
    sleep(Duration::from_secs(seconds)).await;
    outcome
}

/// Of no futures all values are an empty list.
#[tokio::test(start_paused = true)]
async fn line_48_test_all_successful_or_throw1() {
    let none: [Ready<Outcome<u8>>; 0] = [];
    assert_eq!(gather(none).await.unwrap(), []);
}

/// Values stand in the order of the futures, whoever was first.
#[tokio::test(start_paused = true)]
async fn line_49_test_all_successful_or_throw2() {
    let (ends, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let values = gather((1..=3).map(|number: u64| {
        let ends = ends.clone();
        async move {
            after(10 - number, Ok(())).await?;
            ends.send(number).map_err(|_| "nobody listens")?;
            Ok::<_, &str>(number)
        }
    }));
    assert_eq!(values.await.unwrap(), [1, 2, 3]);
    let order: Vec<_> = std::iter::from_fn(|| ended.try_recv().ok()).collect();
    assert_eq!(order, [3, 2, 1]);
}

/// One fails: its error alone comes out.
#[tokio::test(start_paused = true)]
async fn line_50_test_all_successful_or_throw3() {
    let alive = Alive::new();
    let guard = alive.guard();
    let never = async move {
        pending::<()>().await;
        drop(guard);
        Ok("never")
    };
    let futures = [after(0, Ok("foo")).boxed(), after(0, Err("no")).boxed(), never.boxed()];
    let errors = gather(futures).await.unwrap_err();
    assert_eq!((errors.len(), alive.now()), (1, 0));
    assert_eq!(errors.first().unwrap().error(), Some(&"no"));
}

/// The time is over: that is what comes out, once.
#[tokio::test(start_paused = true)]
async fn line_51_test_all_successful_or_throw4() {
    let (alive, began) = (Alive::new(), Instant::now());
    let guard = alive.guard();
    let slow = async move {
        let _guard = guard;
        after(3600, Ok("slow")).await
    };
    let limited = timeout(Duration::from_secs(1), gather([after(0, Ok("foo")).boxed(), slow.boxed()]));
    let late: Elapsed = limited.await.unwrap_err();
    assert_eq!(late.after(), Duration::from_secs(1));
    assert_eq!((alive.now(), began.elapsed()), (0, Duration::from_secs(1)));
}

/// Of no futures none can succeed: it is refused at the call.
#[tokio::test(start_paused = true)]
async fn line_54_test_any_successful_or_throw1() {
    let none: [Ready<Outcome<u8>>; 0] = [];
    let refused = std::panic::catch_unwind(AssertUnwindSafe(|| drop(first_ok(none))));
    let text = refused.unwrap_err();
    assert!(text.downcast_ref::<&str>().unwrap().starts_with("`first_ok` was given no future"));
}

/// One succeeds: its value.
#[tokio::test(start_paused = true)]
async fn line_55_test_any_successful_or_throw2() {
    assert_eq!(first_ok([after(1, Ok("foo"))]).await.unwrap(), "foo");
}

/// A value that says nothing is a success too.
#[tokio::test(start_paused = true)]
async fn line_56_test_any_successful_or_throw3() {
    assert_eq!(first_ok([after(1, Ok(None::<u8>)), after(2, Ok(Some(1)))]).await.unwrap(), None);
}

/// All fail: all the errors come out.
#[tokio::test(start_paused = true)]
async fn line_57_test_any_successful_or_throw4() {
    let errors = first_ok([after(1, Err::<(), _>("one")), after(2, Err("two"))]).await.unwrap_err();
    let texts: Vec<_> = errors.failures().iter().map(|failure| *failure.error().unwrap()).collect();
    assert_eq!(texts, ["one", "two"]);
}

/// A failure first and a success later: the success wins.
#[tokio::test(start_paused = true)]
async fn line_58_test_any_successful_or_throw5() {
    assert_eq!(first_ok([after(1, Err("no")), after(2, Ok("foo"))]).await.unwrap(), "foo");
}

/// A failure, somebody who never ends, and a time limit: the limit is what comes out.
#[tokio::test(start_paused = true)]
async fn line_59_test_any_successful_or_throw6() {
    let futures = [after(0, Err("no")).boxed(), pending::<Outcome<()>>().boxed()];
    let late = timeout(Duration::from_secs(1), first_ok(futures)).await.unwrap_err();
    assert_eq!(late.after(), Duration::from_secs(1));
}
