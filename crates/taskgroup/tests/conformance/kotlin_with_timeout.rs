//! Conformance list `kotlin-with-timeout`.
//!
//! `withTimeout` is `timeout`; `withTimeoutOrNull` is a `CancelScope` with a time limit and `.ok()`.

use std::future::{Future, pending};
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{CancelScope, TaskGroup, is_cancelled, scope, shield, timeout, timeout_at};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep};

use super::support::{Alive, Steps};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

/// At most this long, or none.
async fn or_none<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    CancelScope::timeout(limit).run(future).await.ok()
}

/// Never waits for anything but its turn, while time passes; counts its rounds.
async fn yields_for_ever(rounds: &mut u32) {
    loop {
        *rounds += 1;
        advance(SECOND / 100).await;
    }
}

/// Without a wait inside, the value is there at once.
#[tokio::test(start_paused = true)]
async fn line_01_test_basic_no_suspend() {
    let entered = timeout(SECOND, async { "OK" });
    assert_eq!(entered.now_or_never().expect("no wait").unwrap(), "OK");
}

/// With a yield inside.
#[tokio::test(start_paused = true)]
async fn line_02_test_basic_suspend() {
    let entered = timeout(SECOND, async {
        yield_now().await;
        "OK"
    });
    assert_eq!(entered.await.unwrap(), "OK");
}

/// What runs, in order, where the code in a time limit yields once and another task is ready.
async fn order_of_turns<F: Future<Output = &'static str>>(
    enter: impl FnOnce(Steps) -> F,
) -> Vec<&'static str> {
    let (group, steps) = (TaskGroup::<anyhow::Error>::new(), Steps::default());
    let other = steps.clone();
    group
        .run(async {
            group.spawn(async move {
                other.mark("the other");
                Ok(())
            });
            steps.mark("before");
            assert_eq!(enter(steps.clone()).await, "OK");
            steps.mark("after");
            Ok(())
        })
        .await
        .unwrap();
    steps.seen()
}

/// Marks before and after its one yield.
async fn one_yield(steps: Steps) -> &'static str {
    steps.mark("entered");
    yield_now().await;
    steps.mark("yielded");
    "OK"
}

/// Neither the entry nor the exit lets others run, only the yield inside.
#[tokio::test(start_paused = true)]
async fn line_03_test_dispatch() {
    let order = order_of_turns(|steps| async { timeout(SECOND, one_yield(steps)).await.unwrap() }).await;
    assert_eq!(order, ["before", "entered", "the other", "yielded", "after"]);
}

/// A loop that only yields is cut, as soon as the time is over.
#[tokio::test(start_paused = true)]
async fn line_04_test_yield_blocking_with_timeout() {
    let mut rounds = 0;
    assert!(timeout(SECOND, yields_for_ever(&mut rounds)).await.is_err());
    assert_eq!(rounds, 100);
}

/// A group inside waits for its child, and gives its body's value after that.
#[tokio::test(start_paused = true)]
async fn line_05_test_with_timeout_child_wait() {
    let (steps, alive) = (Steps::default(), Alive::new());
    let value = timeout(
        10 * SECOND,
        scope(async |tg: &TaskGroup| {
            let (steps, guard) = (steps.clone(), alive.guard());
            tg.spawn(async move {
                let _guard = guard;
                sleep(SECOND).await;
                steps.mark("child");
                Ok(())
            });
            Ok("body")
        }),
    )
    .await;
    steps.mark("left");
    assert_eq!(value.unwrap().unwrap(), "body");
    assert_eq!(steps.seen(), ["child", "left"]);
    assert_eq!(alive.now(), 0);
}

/// The error says how long the code had.
#[tokio::test(start_paused = true)]
async fn line_07_test_exception_on_timeout() {
    let began = Instant::now();
    let elapsed = timeout(Duration::from_millis(1250), sleep(LONG)).await.unwrap_err();
    assert_eq!(elapsed.after(), Duration::from_millis(1250));
    assert!(elapsed.to_string().ends_with("ran out of time after 1.25s"), "{elapsed}");
    assert_eq!(began.elapsed(), Duration::from_millis(1250));
}

/// Answers its cancel with a value.
async fn suppresses() -> &'static str {
    shield(sleep(2 * SECOND)).await;
    assert!(is_cancelled());
    "value"
}

/// Code that swallows the cancel and returns a value: the value wins (R19).
#[tokio::test(start_paused = true)]
async fn line_08_test_suppress_exception_with_result() {
    let began = Instant::now();
    assert_eq!(timeout(SECOND, suppresses()).await.unwrap(), "value");
    assert_eq!(began.elapsed(), 2 * SECOND);
}

/// A deadline in the past: polled once, and cut at the first wait (R19).
#[tokio::test(start_paused = true)]
async fn line_10_test_negative_timeout() {
    let (began, steps) = (Instant::now(), Steps::default());
    let result = timeout_at(began - SECOND, async {
        steps.mark("polled");
        yield_now().await;
        steps.mark("past the wait");
    })
    .await;
    assert_eq!(result.unwrap_err().after(), Duration::ZERO);
    assert_eq!(steps.seen(), ["polled"]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// The code's own error, in time, passes unchanged.
#[tokio::test(start_paused = true)]
async fn line_11_test_exception_from_within_timeout() {
    let began = Instant::now();
    let failing = async {
        sleep(SECOND).await;
        Err::<(), _>("its own")
    };
    assert_eq!(timeout(10 * SECOND, failing).await.unwrap(), Err("its own"));
    assert_eq!(began.elapsed(), SECOND);
}

/// A handle of a scope that has ended: not cancelled, and not to be cancelled any more.
#[tokio::test(start_paused = true)]
async fn line_12_test_incomplete_with_timeout_state() {
    let entered = CancelScope::timeout(SECOND);
    let handle = entered.handle();
    assert_eq!(entered.run(async { "OK" }).await.unwrap(), "OK");
    handle.cancel();
    sleep(10 * SECOND).await;
    assert!(!handle.is_cancelled() && !handle.cancel_called() && !handle.expired());
    assert!(handle.reschedule(None).unwrap_err().has_ended());
}

/// Who ran out of time is named: the scope, or the group, and the task that was cut.
#[tokio::test(start_paused = true)]
async fn line_13_test_timeout_exception_includes_coroutine_name() {
    let error = CancelScope::timeout(SECOND).name("upload").run(pending::<()>()).await.unwrap_err();
    assert!(error.to_string().contains("scope \"upload\""), "{error}");

    let group: TaskGroup = TaskGroup::builder().name("batch").timeout(SECOND).build();
    let task = group.task().name("worker").spawn(pending::<anyhow::Result<()>>());
    assert!(group.join().await.unwrap_err().is_cancelled());
    let text = task.into_result().unwrap_err().to_string();
    assert!(text.starts_with("task \"worker\"") && text.contains("group \"batch\""), "{text}");
    assert!(text.ends_with("ran out of time after 1s"), "{text}");
}

/// Without a wait inside: some value, at once.
#[tokio::test(start_paused = true)]
async fn line_14_test_or_null_basic_no_suspend() {
    assert_eq!(or_none(SECOND, async { "OK" }).now_or_never(), Some(Some("OK")));
}

/// With a yield inside: some value.
#[tokio::test(start_paused = true)]
async fn line_15_test_or_null_basic_suspend() {
    let entered = or_none(SECOND, async {
        yield_now().await;
        "OK"
    });
    assert_eq!(entered.await, Some("OK"));
}

/// A scope's entry lets nobody else run either.
#[tokio::test(start_paused = true)]
async fn line_16_test_or_null_dispatch() {
    let order = order_of_turns(|steps| async { or_none(SECOND, one_yield(steps)).await.unwrap() }).await;
    assert_eq!(order, ["before", "entered", "the other", "yielded", "after"]);
}

/// A loop that only yields: none.
#[tokio::test(start_paused = true)]
async fn line_17_test_or_null_yield_blocking_with_timeout() {
    let mut rounds = 0;
    assert_eq!(or_none(SECOND / 2, yields_for_ever(&mut rounds)).await, None);
    assert_eq!(rounds, 50);
}

/// Waiting on an empty channel: none; what is sent afterwards is not lost.
#[tokio::test(start_paused = true)]
async fn line_18_test_or_null_small_timeout() {
    let (began, (sender, mut receiver)) = (Instant::now(), mpsc::channel(1));
    assert_eq!(or_none(SECOND / 1000, receiver.recv()).await, None);
    assert_eq!(began.elapsed(), SECOND / 1000);
    sender.try_send("late").unwrap();
    assert_eq!(or_none(SECOND / 1000, receiver.recv()).await, Some(Some("late")));
}

/// The code's own error, thrown at once, passes.
#[tokio::test(start_paused = true)]
async fn line_19_test_or_null_throw_exception() {
    assert_eq!(or_none(LONG, async { Err::<(), _>("its own") }).await, Some(Err("its own")));
}

/// An inner `Elapsed` is a value for the outer scope, and does not become its none.
#[tokio::test(start_paused = true)]
async fn line_20_test_or_null_inner_timeout() {
    let began = Instant::now();
    let inner = or_none(5 * SECOND, async { timeout(SECOND, pending::<()>()).await });
    assert_eq!(inner.await.expect("the outer one is in time").unwrap_err().after(), SECOND);
    assert_eq!(began.elapsed(), SECOND);
}

/// The same where the outer scope has no end.
#[tokio::test(start_paused = true)]
async fn line_21_test_or_null_nested_timeout() {
    for limit in [None, Some(Duration::MAX)] {
        let outer = limit.map_or_else(CancelScope::new, CancelScope::timeout);
        let handle = outer.handle();
        let inner = outer.run(async { timeout(SECOND, pending::<()>()).await });
        assert_eq!(inner.await.unwrap().unwrap_err().after(), SECOND);
        assert!(!handle.is_cancelled());
    }
}

/// Inner scopes that run out again and again, until the outer one does.
#[tokio::test(start_paused = true)]
async fn line_22_test_or_null_outer_timeout() {
    let (began, mut rounds) = (Instant::now(), 0);
    let outer = or_none(SECOND * 5 / 2, async {
        loop {
            assert_eq!(or_none(SECOND, pending::<()>()).await, None);
            rounds += 1;
        }
    });
    assert_eq!(outer.await, None::<()>);
    assert_eq!(rounds, 2);
    assert_eq!(began.elapsed(), SECOND * 5 / 2);
}

/// None, and the code behind the cut has not run.
#[tokio::test(start_paused = true)]
async fn line_24_test_or_null_null_on_timeout() {
    let (steps, alive) = (Steps::default(), Alive::new());
    let guard = alive.guard();
    let code = steps.clone();
    let none = or_none(SECOND, async move {
        let _guard = guard;
        code.mark("entered");
        sleep(10 * SECOND).await;
        code.mark("past the wait");
        "OK"
    });
    assert_eq!(none.await, None);
    assert_eq!(alive.now(), 0);
    sleep(LONG).await;
    assert_eq!(steps.seen(), ["entered"]);
}

/// Code that swallows the cancel and returns a value: some value (R19).
#[tokio::test(start_paused = true)]
async fn line_25_test_or_null_suppress_exception_with_result() {
    let began = Instant::now();
    assert_eq!(or_none(SECOND, suppresses()).await, Some("value"));
    assert_eq!(began.elapsed(), 2 * SECOND);
}

/// Zero, or a deadline in the past: polled once, then none; a value that is ready wins (R19).
#[tokio::test(start_paused = true)]
async fn line_27_test_or_null_negative_timeout() {
    let began = Instant::now();
    for late in [Duration::ZERO, SECOND] {
        let steps = Steps::default();
        let past = CancelScope::deadline(began - late);
        let none = past.run(async {
            steps.mark("polled");
            yield_now().await;
            steps.mark("past the wait");
        });
        assert!(none.await.is_err());
        assert_eq!(steps.seen(), ["polled"]);
        assert_eq!(CancelScope::deadline(began - late).run(async { "OK" }).await.ok(), Some("OK"));
    }
    assert_eq!(or_none(Duration::ZERO, pending::<()>()).await, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// The code's own error, in time, passes unchanged.
#[tokio::test(start_paused = true)]
async fn line_28_test_or_null_exception_from_within_timeout() {
    let (began, alive) = (Instant::now(), Alive::new());
    let guard = alive.guard();
    let failing = async move {
        let _guard = guard;
        sleep(SECOND).await;
        Err::<(), _>("its own")
    };
    assert_eq!(or_none(10 * SECOND, failing).await, Some(Err("its own")));
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(alive.now(), 0);
}
