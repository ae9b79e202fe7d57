//! Go's `conc`: wait groups that carry panics, pools that collect errors and results, caught panics.

use std::future::{Future, pending};
use std::io;
use std::panic::{AssertUnwindSafe, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{
    CancelReason, CancelToken, Cancelled, ErrorGroup, OnFailure, OnPanic, Spawner, Task, TaskGroup, scope,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::support::{Alive, Guard};

type Plain = TaskGroup<&'static str>;

/// A group whose tasks go on when one fails.
fn continuing() -> Plain {
    TaskGroup::builder().on_failure(OnFailure::Continue).build()
}

/// A group that keeps panics as failures, and goes on.
fn collecting() -> Plain {
    TaskGroup::builder().on_failure(OnFailure::Continue).on_panic(OnPanic::Collect).build()
}

async fn forever(_guard: Guard) -> Result<(), &'static str> {
    pending().await
}

/// Counts, after a wait.
async fn count(counter: Arc<AtomicUsize>) -> Result<(), &'static str> {
    sleep(Duration::from_millis(1)).await;
    counter.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

async fn after(millis: u64, end: Result<u32, &'static str>) -> Result<u32, &'static str> {
    sleep(Duration::from_millis(millis)).await;
    end
}

/// Blocks its thread until it is cancelled, after having said that it runs.
fn wait_for_cancel(started: &mpsc::UnboundedSender<()>, token: &CancelToken) -> Cancelled {
    started.send(()).expect("somebody waits for the start");
    loop {
        match token.check() {
            Ok(()) => std::thread::yield_now(),
            Err(cancelled) => return cancelled,
        }
    }
}

async fn panic_of<T>(future: impl Future<Output = T>) -> String {
    let Err(payload) = AssertUnwindSafe(future).catch_unwind().await else {
        panic!("it did not panic");
    };
    payload.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned())
}

fn errors_of<E: std::fmt::Display>(group: &ErrorGroup<E>) -> Vec<String> {
    group.failures().iter().map(|failure| failure.error().expect("no panic").to_string()).collect()
}

fn panics_of(group: &ErrorGroup<&'static str>) -> Vec<String> {
    let message = |panic: &taskgroup::Panic| panic.message().expect("a text").to_owned();
    group.failures().iter().filter_map(|failure| failure.panic()).map(message).collect()
}

/// The values of the tasks that have one, in the order in which they were spawned.
fn values(tasks: Vec<Task<u32>>) -> Vec<u32> {
    tasks.into_iter().filter_map(|task| task.into_result().ok()).collect()
}

/// A hundred spawned, a hundred ran.
#[tokio::test(start_paused = true)]
async fn line_02_all_spawned_run() {
    let counter = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    for _ in 0..100 {
        group.spawn(count(Arc::clone(&counter)));
    }
    assert_eq!(counter.load(Ordering::SeqCst), 0);
    group.join().await.unwrap();
    assert_eq!(counter.load(Ordering::SeqCst), 100);
}

/// A panic of the only task comes out of the join.
#[tokio::test(start_paused = true)]
async fn line_03_panic_is_propagated() {
    let group: Plain = TaskGroup::new();
    group.spawn::<()>(async { panic!("super bad thing") });
    assert_eq!(panic_of(group.join()).await, "super bad thing");
}

/// Of two panics the first is resumed, once.
#[tokio::test(start_paused = true)]
async fn line_04_one_is_propagated() {
    let (says_started, mut started) = mpsc::unbounded_channel();
    let group: Plain = TaskGroup::new();
    let second = group.spawn_blocking::<()>(move |token| {
        wait_for_cancel(&says_started, token);
        panic!("second")
    });
    let first = group.spawn::<()>(async move {
        started.recv().await;
        panic!("first")
    });
    assert_eq!(panic_of(group.join()).await, "first");
    assert!(first.into_result().unwrap_err().is_panicked());
    assert!(second.into_result().unwrap_err().is_panicked());
}

/// Ten tasks that end well afterwards do not hide a panic.
#[tokio::test(start_paused = true)]
async fn line_05_non_panics_do_not_overwrite_panic() {
    let (says_started, mut started) = mpsc::unbounded_channel();
    let group: Plain = TaskGroup::new();
    let later: Vec<_> = (0..10)
        .map(|_| {
            let says_started = says_started.clone();
            group.spawn_blocking(move |token| {
                wait_for_cancel(&says_started, token);
                Ok("fine")
            })
        })
        .collect();
    group.spawn::<()>(async move {
        for _ in 0..10 {
            started.recv().await;
        }
        panic!("super bad thing")
    });
    assert_eq!(panic_of(group.join()).await, "super bad thing");
    assert!(later.into_iter().all(|task| task.into_result().unwrap() == "fine"));
}

/// The panic comes out only when all have ended: a sibling that cannot be cut has run to its end, one that
/// can be is gone (R10).
#[tokio::test(start_paused = true)]
async fn line_06_non_panics_run_successfully() {
    let alive = Alive::new();
    let (says_started, mut started) = mpsc::unbounded_channel();
    let group: Plain = TaskGroup::new();
    let guard = alive.guard();
    let to_its_end = group.spawn_blocking(move |token| {
        let _guard = guard;
        wait_for_cancel(&says_started, token);
        Ok("ran to its end")
    });
    let cut = group.spawn(forever(alive.guard()));
    group.spawn::<()>(async move {
        started.recv().await;
        panic!("super bad thing")
    });
    assert_eq!(panic_of(group.join()).await, "super bad thing");
    assert_eq!((alive.now(), alive.ever()), (0, 2));
    assert_eq!(to_its_end.into_result().unwrap(), "ran to its end");
    let error = cut.into_result().unwrap_err();
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::SiblingPanicked(_)));
}

/// A group that collects panics gives the payload instead of going on with it.
#[tokio::test(start_paused = true)]
async fn line_07_is_caught_by_waitandrecover() {
    let group = collecting();
    group.spawn::<()>(async { panic!("super bad thing") });
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.len(), 1);
    let payload = errors.into_first().unwrap().into_panic().unwrap().into_payload();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"super bad thing"));
}

/// Of two panics neither is lost.
#[tokio::test(start_paused = true)]
async fn line_08_one_is_caught_by_waitandrecover() {
    let group = collecting();
    group.spawn::<()>(async { panic!("first") });
    group.spawn::<()>(async { panic!("second") });
    assert_eq!(panics_of(&group.join().await.unwrap_err()), ["first", "second"]);
}

/// In a group that collects and goes on, the siblings run to their end, and the panic is there.
#[tokio::test(start_paused = true)]
async fn line_09_nonpanics_run_successfully_with_waitandrecover() {
    let counter = Arc::new(AtomicUsize::new(0));
    let group = collecting();
    for number in 0..10 {
        group.spawn(count(Arc::clone(&counter)));
        if number == 4 {
            group.spawn::<()>(async { panic!("super bad thing") });
        }
    }
    let errors = group.join().await.unwrap_err();
    assert_eq!((errors.len(), panics_of(&errors)), (1, vec!["super bad thing".to_owned()]));
    assert_eq!(counter.load(Ordering::SeqCst), 10);
}

/// Ten tasks that count give ten.
#[tokio::test(start_paused = true)]
async fn line_10_example_wait_group() {
    let counter = Arc::new(AtomicUsize::new(0));
    scope(async |tg: &Plain| {
        for _ in 0..10 {
            tg.spawn(count(Arc::clone(&counter)));
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(counter.load(Ordering::SeqCst), 10);
}

/// The text of a collected panic can be read, and stands in the text of the group.
#[tokio::test(start_paused = true)]
async fn line_11_example_wait_group_wait_and_recover() {
    let group = collecting();
    group.spawn::<()>(async { panic!("super bad {}", "thing") });
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.first().unwrap().panic().unwrap().message(), Some("super bad thing"));
    assert!(errors.to_string().contains("super bad thing"));
}

/// A hundred jobs, spawned by a job, are all done at the end.
#[tokio::test(start_paused = true)]
async fn line_12_basic() {
    let counter = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    let (spawner, counted) = (group.spawner(), Arc::clone(&counter));
    group.spawn(async move {
        for _ in 0..100 {
            spawner.spawn(count(Arc::clone(&counted)));
        }
        Ok(())
    });
    group.join().await.unwrap();
    assert_eq!(counter.load(Ordering::SeqCst), 100);
}

/// One of ten jobs panics: the join does.
#[tokio::test(start_paused = true)]
async fn line_16_propagate_panic() {
    let group: Plain = TaskGroup::new();
    let jobs: Vec<Task<()>> = (0..10)
        .map(|number| {
            group.spawn(async move {
                assert!(number != 5, "job five");
                Ok(())
            })
        })
        .collect();
    assert_eq!(panic_of(group.join()).await, "job five");
    let panicked = jobs.into_iter().map(|job| job.into_result().is_err_and(|error| error.is_panicked()));
    assert_eq!(panicked.filter(|panicked| *panicked).count(), 1);
}

/// Spawning and waiting may take turns; the counts add up.
#[tokio::test(start_paused = true)]
async fn line_20_is_reusable() {
    let counter = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    for round in 1..=3 {
        for _ in 0..10 {
            group.spawn(count(Arc::clone(&counter)));
        }
        group.wait_idle().await;
        assert_eq!(counter.load(Ordering::SeqCst), 10 * round);
    }
    group.join().await.unwrap();
}

/// Without an error there is none, whether the group would go on after one or not.
#[tokio::test(start_paused = true)]
async fn line_23_wait_returns_no_error_if_no_errors() {
    for group in [Plain::new(), continuing()] {
        let jobs: Vec<_> = (0..100).map(|number| group.spawn(after(1, Ok(number)))).collect();
        group.join().await.unwrap();
        assert_eq!(values(jobs).len(), 100);
    }
}

/// A job's error comes out.
#[tokio::test(start_paused = true)]
async fn line_24_wait_error_if_func_returns_error() {
    let group: Plain = TaskGroup::new();
    group.spawn(after(1, Err("err1")));
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1"]);
}

/// Two of three jobs fail: both errors come out of a group that goes on.
#[tokio::test(start_paused = true)]
async fn line_25_wait_error_is_all_returned_errors() {
    let group = continuing();
    group.spawn(after(2, Err("err1")));
    group.spawn(after(1, Ok(0)));
    group.spawn(after(3, Err("err2")));
    let errors = group.join().await.unwrap_err();
    assert_eq!((errors_of(&errors), errors.more()), (vec!["err1".to_owned(), "err2".to_owned()], 0));
}

/// A panic beats errors and values.
#[tokio::test(start_paused = true)]
async fn line_26_propagates_panics() {
    let group = continuing();
    let failed = group.spawn(after(1, Err("err1")));
    let good = group.spawn(after(1, Ok(1)));
    group.spawn::<()>(async {
        sleep(Duration::from_millis(2)).await;
        panic!("super bad thing")
    });
    assert_eq!(panic_of(group.join()).await, "super bad thing");
    assert!(failed.into_result().unwrap_err().is_failed());
    assert_eq!(good.into_result().unwrap(), 1);
}

/// With the group at hand, too, a body that only waits sees no error where there is none.
#[tokio::test(start_paused = true)]
async fn line_31_wait_returns_no_error_if_no_errors() {
    let cancelled = scope(async |tg: &Plain| {
        let jobs: Vec<_> = (0..10).map(|_| tg.spawn(async { Ok(taskgroup::is_cancelled()) })).collect();
        tg.wait_idle().await;
        Ok(jobs.into_iter().any(|job| job.into_result().unwrap()))
    });
    assert!(!cancelled.await.unwrap());
}

/// A job's error cuts the body that waits for the jobs.
#[tokio::test(start_paused = true)]
async fn line_32_wait_errors_if_func_returns_error() {
    let went_on = AtomicUsize::new(0);
    let group: Plain = TaskGroup::new();
    group.spawn(after(1, Err("err1")));
    let ended = group.run(async {
        group.wait_idle().await;
        went_on.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    assert_eq!(errors_of(&ended.await.unwrap_err()), ["err1"]);
    assert_eq!(went_on.load(Ordering::SeqCst), 0);
}

/// Two jobs of a scope fail: both errors come out, in the order in which they happened.
#[tokio::test(start_paused = true)]
async fn line_33_wait_error_is_all_returned_errors() {
    let builder = TaskGroup::builder().on_failure(OnFailure::Continue);
    let ended = builder.scope(async |tg: &Plain| {
        tg.spawn(after(2, Err("err2")));
        tg.spawn(after(1, Err("err1")));
        tg.spawn(after(3, Ok(0)));
        Ok(())
    });
    assert_eq!(errors_of(&ended.await.unwrap_err()), ["err1", "err2"]);
}

/// Outside is cancelled: a job that answers with the cancel does not fail (R9), and the host is told who
/// cancelled it.
#[tokio::test(start_paused = true)]
async fn line_34_context_canceled_propagates() {
    let (says_started, mut started) = mpsc::unbounded_channel();
    let went_on = Arc::new(AtomicUsize::new(0));
    let outer: TaskGroup = TaskGroup::new();
    let passed = Arc::clone(&went_on);
    let host = outer.spawn(async move {
        let inner: TaskGroup = TaskGroup::new();
        inner.spawn_blocking::<()>(move |token| Err(wait_for_cancel(&says_started, token).into()));
        let _ = inner.join().await;
        passed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    started.recv().await.unwrap();
    outer.cancel_because("enough");
    outer.join().await.unwrap();
    let error = host.into_result().unwrap_err();
    let root = error.reason().unwrap().root();
    assert!(matches!(root.reason(), CancelReason::Requested(Some(text)) if text == "enough"));
    assert_eq!(went_on.load(Ordering::SeqCst), 0);
}

/// What ends before a limit of time is not touched by it, nor by a cancel that comes after the end.
#[tokio::test(start_paused = true)]
async fn line_36_return_before_timed_out() {
    let ended = tokio::time::timeout(
        Duration::from_secs(5),
        scope(async |tg: &Plain| Ok((tg.spawn(after(1, Ok(1))), tg.spawner()))),
    );
    let (job, spawner): (Task<u32>, Spawner<_>) = ended.await.unwrap().unwrap();
    spawner.cancel();
    assert_eq!(job.into_result().unwrap(), 1);
}

/// One job fails: the sibling is cancelled, and the error by which it says so is not reported beside the
/// first (R9).
#[tokio::test(start_paused = true)]
async fn line_37_with_cancel_on_error() {
    let (says_started, mut started) = mpsc::unbounded_channel();
    let group: TaskGroup = TaskGroup::new();
    let sibling = group.spawn_blocking::<()>(move |token| Err(wait_for_cancel(&says_started, token).into()));
    group.spawn::<()>(async move {
        started.recv().await;
        anyhow::bail!("err1")
    });
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1"]);
    let error = sibling.into_result().unwrap_err();
    assert!(error.is_cancelled());
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::SiblingFailed(_)));
}

/// In a group that goes on the sibling of a failed job runs on, and only the real error is reported.
#[tokio::test(start_paused = true)]
async fn line_38_no_with_cancel_on_error() {
    let start = Instant::now();
    let group = continuing();
    group.spawn(after(1, Err("err1")));
    let sibling = group.spawn(async {
        sleep(Duration::from_secs(10)).await;
        Ok(taskgroup::is_cancelled())
    });
    let errors = group.join().await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!((errors_of(&errors), errors.cause().is_none()), (vec!["err1".to_owned()], true));
    assert!(!sibling.into_result().unwrap());
}

/// Two jobs fail: who wants only the first takes that, or has only one kept.
#[tokio::test(start_paused = true)]
async fn line_39_with_first_error() {
    for (kept, stored) in [(64, 2), (1, 1)] {
        let builder = TaskGroup::builder().on_failure(OnFailure::Continue).max_failures(kept);
        let group: Plain = builder.build();
        group.spawn(after(2, Err("err2")));
        group.spawn(after(1, Err("err1")));
        let errors = group.join().await.unwrap_err();
        assert_eq!((errors.len(), errors.more()), (stored, 2 - stored));
        assert_eq!(errors.into_first().unwrap().into_error().unwrap(), "err1");
    }
}

/// The first error cancels the siblings, and comes out alone and at once.
#[tokio::test(start_paused = true)]
async fn line_40_with_fail_fast() {
    let (alive, start) = (Alive::new(), Instant::now());
    let group: Plain = TaskGroup::new();
    let siblings: Vec<_> = (0..5).map(|_| group.spawn(forever(alive.guard()))).collect();
    group.spawn(after(3, Err("err1")));
    group.spawn(after(4, Err("err2")));
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1"]);
    assert_eq!(start.elapsed().as_millis(), 3);
    assert_eq!((alive.now(), alive.ever()), (0, 5));
    assert!(siblings.into_iter().all(|task| task.into_result().unwrap_err().is_cancelled()));
}

/// A panic cancels the siblings of a group that would go on after an error; they have seen it when the
/// panic comes out.
#[tokio::test(start_paused = true)]
async fn line_41_with_cancel_on_error_and_panic() {
    let alive = Alive::new();
    let (says_started, mut started) = mpsc::unbounded_channel();
    let group = continuing();
    let cut = group.spawn(forever(alive.guard()));
    let sees = group.spawn_blocking(move |token| {
        let cancelled = wait_for_cancel(&says_started, token);
        Ok(matches!(cancelled.cause().reason(), CancelReason::SiblingPanicked(_)))
    });
    group.spawn::<()>(async move {
        started.recv().await;
        panic!("super bad thing")
    });
    assert_eq!(panic_of(group.join()).await, "super bad thing");
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    assert!(cut.into_result().unwrap_err().is_cancelled());
    assert!(sees.into_result().unwrap());
}

/// A hundred jobs give a hundred values.
#[tokio::test(start_paused = true)]
async fn line_45_basic() {
    let group: Plain = TaskGroup::new();
    let jobs: Vec<_> = (0..100).map(|number| group.spawn(async move { Ok(number) })).collect();
    group.join().await.unwrap();
    assert_eq!(values(jobs).into_iter().sum::<u32>(), 4950);
}

/// The values stand in the order of the handles, although the jobs end in another.
#[tokio::test(start_paused = true)]
async fn line_46_deterministic_order() {
    let ended = Arc::new(std::sync::Mutex::new(Vec::new()));
    let results = scope(async |tg: &TaskGroup| {
        let jobs: Vec<_> = (0..100)
            .map(|number: u32| {
                let ended = Arc::clone(&ended);
                tg.spawn(async move {
                    sleep(Duration::from_millis(u64::from(number * 37 % 101))).await;
                    ended.lock().unwrap().push(number);
                    Ok(number)
                })
            })
            .collect();
        let mut results = Vec::new();
        for job in jobs {
            results.push(job.await?);
        }
        Ok(results)
    })
    .await
    .unwrap();
    assert!(results.iter().copied().eq(0..100));
    assert_ne!(*ended.lock().unwrap(), results);
}

/// A second batch in the same group gives its own values.
#[tokio::test(start_paused = true)]
async fn line_48_reuse() {
    let group: Plain = TaskGroup::new();
    for numbers in [0..10, 10..20] {
        let jobs: Vec<_> = numbers.clone().map(|number| group.spawn(after(1, Ok(number)))).collect();
        group.wait_idle().await;
        assert!(values(jobs).into_iter().eq(numbers));
    }
    group.join().await.unwrap();
}

/// Without errors: all values, and a good end.
#[tokio::test(start_paused = true)]
async fn line_51_wait_returns_no_error_if_no_errors() {
    let group = continuing();
    let jobs = [3, 1, 2].map(|number| group.spawn(after(number, Ok(1)))).into();
    assert!(group.join().await.is_ok());
    assert_eq!(values(jobs), [1, 1, 1]);
}

/// A job that failed has no value.
#[tokio::test(start_paused = true)]
async fn line_52_wait_error_if_func_returns_error() {
    let group = continuing();
    let jobs = [Ok(1), Err("err1"), Ok(3)].map(|end| group.spawn(after(1, end))).into();
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1"]);
    assert_eq!(values(jobs), [1, 3]);
}

/// Errors that are wanted as values are values: they stand among the results, and fail nobody.
#[tokio::test(start_paused = true)]
async fn line_53_with_collect_errored() {
    let ends = [Ok(1), Err("err1"), Ok(3)];
    let group: Plain = TaskGroup::new();
    let jobs = ends.map(|end| group.spawn(async move { Ok(after(1, end).await) }));
    assert!(group.join().await.is_ok());
    assert_eq!(jobs.map(|job| job.into_result().unwrap()), ends);
}

/// The first failure is the one that happened first, not the one spawned first.
#[tokio::test(start_paused = true)]
async fn line_54_with_first_error() {
    let group = continuing();
    let jobs = [(3, Err("late")), (1, Err("early")), (2, Ok(2))]
        .map(|(millis, end)| group.spawn(after(millis, end)))
        .into();
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.into_first().unwrap().into_error().unwrap(), "early");
    assert_eq!(values(jobs), [2]);
}

/// Of three jobs one gives a value and two an error: all three come out.
#[tokio::test(start_paused = true)]
async fn line_55_wait_error_is_all_returned_errors() {
    let group = continuing();
    let jobs = [Err("err1"), Ok(2), Err("err2")].map(|end| group.spawn(after(1, end))).into();
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1", "err2"]);
    assert_eq!(values(jobs), [2]);
}

/// A scope's value may be made of its jobs' values.
#[tokio::test(start_paused = true)]
async fn line_60_wait_returns_no_error_if_no_errors() {
    let sum = scope(async |tg: &TaskGroup| {
        let jobs = [1, 2].map(|number| tg.spawn(async move { Ok(number) }));
        let mut sum = 0;
        for job in jobs {
            sum += job.await?;
        }
        Ok(sum)
    });
    assert_eq!(sum.await.unwrap(), 3);
}

/// A scope of which a job fails has no value, though its body had one: only the error.
#[tokio::test(start_paused = true)]
async fn line_61_wait_error_if_func_returns_error() {
    let ended = scope(async |tg: &Plain| {
        tg.spawn(after(1, Err("err1")));
        Ok("a value")
    });
    assert_eq!(errors_of(&ended.await.unwrap_err()), ["err1"]);
}

/// Two jobs and the body fail: all three errors come out, in order, and the value of the good job stays.
#[tokio::test(start_paused = true)]
async fn line_62_wait_error_is_all_returned_errors() {
    let group = continuing();
    let jobs = [(1, Err("err1")), (2, Ok(2)), (4, Err("err2"))]
        .map(|(millis, end)| group.spawn(after(millis, end)))
        .into();
    let ended = group.run(after(3, Err("the body's"))).await;
    assert_eq!(errors_of(&ended.unwrap_err()), ["err1", "the body's", "err2"]);
    assert_eq!(values(jobs), [2]);
}

/// A cancelled group says so, without failures; its jobs and its body have no values.
#[tokio::test(start_paused = true)]
async fn line_63_context_cancel_propagates() {
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    let jobs = (0..3).map(|_| group.spawn(after(100, Ok(1)))).collect();
    let canceller = tokio::spawn(async move {
        sleep(Duration::from_millis(1)).await;
        spawner.cancel_because("enough");
    });
    let errors = group.run(after(50, Ok(7))).await.unwrap_err();
    canceller.await.unwrap();
    assert!(errors.is_cancelled() && errors.is_empty());
    assert_eq!(errors.cause().unwrap().to_string(), "enough");
    assert!(values(jobs).is_empty());
}

/// A real error that a cancelled sibling ends with is reported beside the first; one that only says
/// "cancelled" is not.
#[tokio::test(start_paused = true)]
async fn line_64_with_cancel_on_error() {
    let (says_started, mut started) = mpsc::unbounded_channel();
    let also = says_started.clone();
    let group: TaskGroup = TaskGroup::new();
    let says_cancelled =
        group.spawn_blocking::<u32>(move |token| Err(wait_for_cancel(&says_started, token).into()));
    let fails = group.spawn_blocking::<u32>(move |token| {
        wait_for_cancel(&also, token);
        anyhow::bail!("err2")
    });
    group.spawn::<()>(async move {
        started.recv().await;
        started.recv().await;
        anyhow::bail!("err1")
    });
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1", "err2"]);
    assert!(says_cancelled.into_result().unwrap_err().is_cancelled());
    assert!(fails.into_result().unwrap_err().is_failed());
}

/// The first error ends it all: no other error, no values.
#[tokio::test(start_paused = true)]
async fn line_65_with_fail_fast() {
    let group: Plain = TaskGroup::new();
    let jobs = [(5, Ok(1)), (1, Err("err1")), (3, Err("err2"))]
        .map(|(millis, end)| group.spawn(after(millis, end)))
        .into();
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1"]);
    assert!(values(jobs).is_empty());
}

/// A panic of one of several jobs with values: the others are gone when it comes out of the scope.
#[tokio::test(start_paused = true)]
async fn line_66_with_cancel_on_error_and_panic() {
    let alive = Alive::new();
    let ended = scope(async |tg: &Plain| {
        tg.spawn(forever(alive.guard()));
        tg.spawn(forever(alive.guard()));
        tg.spawn::<u32>(async {
            sleep(Duration::from_millis(1)).await;
            panic!("super bad thing")
        });
        pending::<Result<u32, _>>().await
    });
    assert_eq!(panic_of(ended).await, "super bad thing");
    assert_eq!((alive.now(), alive.ever()), (0, 2));
}

/// In a group that goes on, the value of a job that ends after the failure is kept.
#[tokio::test(start_paused = true)]
async fn line_67_no_with_cancel_on_error() {
    let group = continuing();
    let jobs = [(1, Err("err1")), (5, Ok(5))].map(|(millis, end)| group.spawn(after(millis, end))).into();
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1"]);
    assert_eq!(values(jobs), [5]);
}

/// An error that is a value cancels nobody, and one that is not still does.
#[tokio::test(start_paused = true)]
async fn line_68_with_collect_errored() {
    let group: Plain = TaskGroup::new();
    let collected = group.spawn(async { Ok(after(1, Err("a value")).await) });
    let good = group.spawn(after(2, Ok(2)));
    group.spawn(after(3, Err("err1")));
    let late = group.spawn(after(4, Ok(4)));
    assert_eq!(errors_of(&group.join().await.unwrap_err()), ["err1"]);
    assert_eq!(collected.into_result().unwrap(), Err("a value"));
    assert_eq!(good.into_result().unwrap(), 2);
    assert!(late.into_result().unwrap_err().is_cancelled());
}

/// Of the errors of jobs and body the first to happen is taken; the body's is one like any other.
#[tokio::test(start_paused = true)]
async fn line_69_with_first_error() {
    let group = continuing();
    group.spawn(after(2, Err("a job's")));
    let errors = group.run(after(1, Err("the body's"))).await.unwrap_err();
    let first = errors.into_first().unwrap();
    assert!(first.is_body());
    assert_eq!(first.into_error().unwrap(), "the body's");
}

/// A payload that is an error can be had back as that error; the text tells the job and where it was
/// spawned.
#[tokio::test(start_paused = true)]
async fn line_86_catcher_error() {
    let group = collecting();
    group.task().name("reader").spawn::<()>(async { panic_any(io::Error::other("SOS")) });
    group.spawn::<()>(async { panic!("in plain text") });
    let errors = group.join().await.unwrap_err();
    let text = format!("{errors:#}");
    assert!(text.contains("reader") && text.contains(file!()) && text.contains("in plain text"), "{text}");
    let panic = errors.into_first().unwrap().into_panic().unwrap();
    let error = panic.into_payload().downcast::<io::Error>().unwrap();
    assert_eq!(error.to_string(), "SOS");
}

/// Any other payload stays what it is; it has no text, and is no error.
#[tokio::test(start_paused = true)]
async fn line_87_catcher_not_error() {
    let group = collecting();
    group.spawn::<()>(async { panic_any(8_i32) });
    let failure = group.join().await.unwrap_err().into_first().unwrap();
    assert!(failure.error().is_none() && failure.downcast_ref::<io::Error>().is_none());
    let panic = failure.into_panic().unwrap();
    assert_eq!((panic.message(), panic.to_string().contains("not a text")), (None, true));
    assert_eq!(*panic.into_payload().downcast::<i32>().unwrap(), 8);
}

/// A collected panic can be gone on with.
#[tokio::test(start_paused = true)]
async fn line_88_catcher_repanic_panics() {
    let group = collecting();
    group.spawn::<()>(async { panic!("super bad thing") });
    let panic = group.join().await.unwrap_err().into_first().unwrap().into_panic().unwrap();
    assert_eq!(panic_of(async { panic.resume() }).await, "super bad thing");
}

/// Where nobody panicked there is nothing to go on with: a good end, or the error back.
#[tokio::test(start_paused = true)]
async fn line_89_catcher_repanic_does_not_panic_without_child_panic() {
    let group = collecting();
    group.spawn(after(1, Ok(1)));
    group.join().await.unwrap();

    let group = collecting();
    group.spawn(after(1, Err("err1")));
    let failure = group.join().await.unwrap_err().into_first().unwrap().into_panic().unwrap_err();
    assert_eq!(failure.into_error().unwrap(), "err1");
}

/// When many panic at once on several threads, the first one is the first: each is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_90_catcher_is_goroutine_safe() {
    let (says_started, mut started) = mpsc::unbounded_channel();
    let group: Plain = TaskGroup::builder().on_panic(OnPanic::Collect).build();
    for _ in 0..8 {
        let says_started = says_started.clone();
        group.spawn_blocking::<()>(move |token| {
            wait_for_cancel(&says_started, token);
            panic!("later")
        });
    }
    group.spawn::<()>(async move {
        for _ in 0..8 {
            started.recv().await;
        }
        panic!("first")
    });
    let errors = group.join().await.unwrap_err();
    let panics = panics_of(&errors);
    assert_eq!((errors.len(), errors.more(), panics[0].as_str()), (9, 0, "first"));
    assert!(panics[1..].iter().all(|text| text == "later"));
}

/// A failure that was no panic has none; one that was goes on as an error, by `?`, with its text.
#[tokio::test(start_paused = true)]
async fn line_91_recovered_as_error_nil_not_nil() {
    let group = continuing();
    group.spawn(after(1, Err("err1")));
    let errors = group.join().await.unwrap_err();
    assert!(errors.first().unwrap().panic().is_none());

    let group = collecting();
    let job = group.spawn::<()>(async { panic!("super bad thing") });
    let as_error: anyhow::Result<()> = async { Ok(group.join().await?) }.await;
    assert!(as_error.unwrap_err().to_string().contains("super bad thing"));
    let error = job.into_result().unwrap_err();
    assert!(error.is_panicked() && !error.is_failed());
}
