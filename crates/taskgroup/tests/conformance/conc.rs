//! sourcegraph's `conc`: wait groups and pools of jobs that may fail or panic.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use taskgroup::{
    Builder, CancelReason, ErrorGroup, LocalGroup, OnFailure, OnPanic, Task, TaskGroup, map, timeout,
};
use tokio::sync::{Barrier, oneshot};
use tokio::time::{advance, sleep};

use super::support::Alive;

type Group = TaskGroup<&'static str>;

/// Nobody is cancelled for another's failure.
fn continuing() -> Group {
    TaskGroup::builder().on_failure(OnFailure::Continue).build()
}

/// Nor for another's panic, which is a failure like an error.
fn collecting() -> Group {
    TaskGroup::builder().on_failure(OnFailure::Continue).on_panic(OnPanic::Collect).build()
}

async fn panics(with: impl Any + Send) -> Result<u32, &'static str> {
    panic_any(with)
}

/// The number, after so many milliseconds.
async fn after(number: u32) -> Result<u32, &'static str> {
    sleep(Duration::from_millis(number.into())).await;
    Ok(number)
}

/// The error, after so many milliseconds.
async fn fails(millis: u64, error: &'static str) -> Result<u32, &'static str> {
    sleep(Duration::from_millis(millis)).await;
    Err(error)
}

fn errors(group: &ErrorGroup<&'static str>) -> Vec<&'static str> {
    group.failures().iter().map(|failure| *failure.error().unwrap()).collect()
}

/// What the future panics with.
async fn payload<F: Future<Output: std::fmt::Debug>>(future: F) -> Box<dyn Any + Send> {
    AssertUnwindSafe(future).catch_unwind().await.unwrap_err()
}

fn is_cancelled<T: 'static>(task: Task<T>) -> bool {
    task.into_result().is_err_and(|error| error.is_cancelled())
}

/// How many jobs run, and the most that ever did at a time.
#[derive(Clone, Default)]
struct Load(Arc<[AtomicUsize; 2]>);

impl Load {
    /// A job that takes a while, and what it comes to.
    fn job<T>(
        &self,
        number: u32,
        result: Result<T, &'static str>,
    ) -> impl Future<Output = Result<T, &'static str>> + use<T> {
        let load = self.clone();
        async move {
            let now = load.0[0].fetch_add(1, Ordering::SeqCst) + 1;
            load.0[1].fetch_max(now, Ordering::SeqCst);
            sleep(Duration::from_millis((1 + number % 5).into())).await;
            load.0[0].fetch_sub(1, Ordering::SeqCst);
            result
        }
    }

    fn most(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }
}

const LIMITS: [usize; 3] = [1, 10, 100];

/// Under each limit ten times as many jobs, of which every `failing`th fails: the limit is reached and never
/// exceeded, and each job comes to its end. Whatever becomes of the others, the results are those of the jobs.
async fn under_limits(failing: Option<u32>, builder: impl Fn() -> Builder<&'static str>) {
    for limit in LIMITS {
        let (group, load) = (builder().limit(limit).build(), Load::default());
        let jobs = 10 * limit as u32;
        let fails = |number: u32| failing.is_some_and(|nth| number.is_multiple_of(nth));
        let tasks: Vec<_> = (0..jobs)
            .map(|number| group.spawn(load.job(number, if fails(number) { Err("no") } else { Ok(number) })))
            .collect();
        let failures = group.join().await.map_or_else(|error| error.len() + error.more(), |()| 0);
        assert_eq!(failures, (0..jobs).filter(|&number| fails(number)).count());
        assert_eq!(load.most(), limit);
        let results: Vec<_> = tasks.into_iter().filter_map(|task| task.into_result().ok()).collect();
        assert_eq!(results, (0..jobs).filter(|&number| !fails(number)).collect::<Vec<_>>());
    }
}

/// A closure that ends when it is cancelled, and says then what `answer` says; and when it has started.
/// The paused clock stands still while it runs.
fn answering<E: Send + 'static>(
    group: &TaskGroup<E>,
    answer: impl FnOnce(&taskgroup::CancelToken) -> Result<(), E> + Send + 'static,
) -> (Task<()>, oneshot::Receiver<()>) {
    let (started, has_started) = oneshot::channel();
    let task = group.spawn_blocking(move |token| {
        let _ = started.send(());
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        answer(token)
    });
    (task, has_started)
}

/// Of a hundred spawned children all have run at the end.
#[tokio::test(start_paused = true)]
async fn line_02_all_spawned_run() {
    let (group, ran) = (Group::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..100 {
        let ran = Arc::clone(&ran);
        group.spawn(async move {
            ran.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    group.join().await.unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 100);
}

/// The panic of a child goes on in the host, with its payload.
#[tokio::test(start_paused = true)]
async fn line_03_panic_is_propagated() {
    let group = Group::new();
    group.spawn(panics("super bad"));
    assert_eq!(payload(group.join()).await.downcast_ref(), Some(&"super bad"));
}

/// Of two panics the first goes on in the host; the second child is cut before it can panic.
#[tokio::test(start_paused = true)]
async fn line_04_one_is_propagated() {
    let group = Group::new();
    let tasks = ["first", "second"].map(|text| group.spawn(panics(text)));
    assert_eq!(payload(group.join()).await.downcast_ref(), Some(&"first"));
    let [first, second] = tasks.map(|task| task.into_result().unwrap_err());
    assert!(first.is_panicked() && second.never_started());
}

/// Ten children that ended well, before the panic or after it, do not hide it.
#[tokio::test(start_paused = true)]
async fn line_05_non_panics_do_not_overwrite_panic() {
    let group = Group::new();
    let before: Vec<_> = (0..10).map(|number| group.spawn(async move { Ok(number) })).collect();
    group.wait_idle().await;
    let panicked = group.spawn(panics("super bad"));
    panicked.wait_finished().await;
    let after: Vec<_> = (0..10).map(|number| group.spawn(async move { Ok(number) })).collect();
    assert_eq!(payload(group.join()).await.downcast_ref(), Some(&"super bad"));
    assert!(before.into_iter().all(|task| task.into_result().is_ok()));
    assert!(after.into_iter().all(|task| task.into_result().is_err_and(|error| error.never_started())));
}

/// R10: a panic cuts the others, unless panics are collected and failures let the others go on.
#[tokio::test(start_paused = true)]
async fn line_06_non_panics_run_successfully() {
    for (group, go_on) in [(Group::new(), false), (collecting(), true)] {
        let before = group.spawn(after(5));
        group.spawn(panics("super bad"));
        let behind = group.spawn(after(5));
        match AssertUnwindSafe(group.join()).catch_unwind().await {
            Err(payload) => assert!(!go_on && payload.is::<&str>()),
            Ok(result) => assert!(go_on && result.unwrap_err().len() == 1),
        }
        for task in [before, behind] {
            assert_eq!(task.into_result().ok(), go_on.then_some(5));
        }
    }
}

/// Collected, the panic comes out as a failure with its payload, and nothing unwinds.
#[tokio::test(start_paused = true)]
async fn line_07_is_caught_by_waitandrecover() {
    let group = collecting();
    group.spawn(panics("super bad"));
    let failure = group.join().await.unwrap_err().into_first().unwrap();
    assert!(failure.error().is_none());
    assert_eq!(failure.into_panic().unwrap().into_payload().downcast_ref(), Some(&"super bad"));
}

/// Collected, two panics come out both, in their order.
#[tokio::test(start_paused = true)]
async fn line_08_one_is_caught_by_waitandrecover() {
    let group = collecting();
    group.spawn(panics("first"));
    group.spawn(panics("second"));
    let error = group.join().await.unwrap_err();
    let texts: Vec<_> = error.failures().iter().map(|failure| failure.panic().unwrap().message()).collect();
    assert_eq!(texts, [Some("first"), Some("second")]);
}

/// Collected, the panic leaves the others their values.
#[tokio::test(start_paused = true)]
async fn line_09_nonpanics_run_successfully_with_waitandrecover() {
    let group = collecting();
    let tasks: Vec<_> = (0..10).map(|number| group.spawn(after(number))).collect();
    group.spawn(panics("super bad"));
    let error = group.join().await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert_eq!(error.first().unwrap().panic().unwrap().message(), Some("super bad"));
    let values: Vec<_> = tasks.into_iter().map(|task| task.into_result().unwrap()).collect();
    assert_eq!(values, (0..10).collect::<Vec<_>>());
}

/// Ten children that count make ten.
#[tokio::test(start_paused = true)]
async fn line_10_example_wait_group() {
    let count = Arc::new(AtomicUsize::new(0));
    taskgroup::scope(async |tg: &Group| {
        for _ in 0..10 {
            let count = Arc::clone(&count);
            tg.spawn(async move {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 10);
}

/// The text of a collected panic can be read.
#[tokio::test(start_paused = true)]
async fn line_11_example_wait_group_wait_and_recover() {
    let group = collecting();
    group.spawn(panics("super bad thing"));
    let error = group.join().await.unwrap_err();
    let panic = error.first().unwrap().panic().unwrap();
    assert_eq!(panic.message(), Some("super bad thing"));
    assert_eq!(panic.to_string(), "panicked: super bad thing");
}

/// A hundred jobs that take different times are all completed at the end.
#[tokio::test(start_paused = true)]
async fn line_12_basic() {
    let group = Group::new();
    let tasks: Vec<_> = (0..100).map(|number| group.spawn(after(number % 7))).collect();
    assert!(tasks.iter().all(|task| !task.is_finished()));
    group.join().await.unwrap();
    assert!(tasks.into_iter().all(|task| task.into_result().is_ok()));
}

/// Limits of 1, 10 and 100 with ten times as many jobs are never exceeded, and all jobs finish.
#[tokio::test(start_paused = true)]
async fn line_15_limit() {
    under_limits(None, TaskGroup::builder).await;
}

/// The panic of one of ten jobs goes on in the host.
#[tokio::test(start_paused = true)]
async fn line_16_propagate_panic() {
    let group = Group::new();
    let mut others = Vec::new();
    for number in 0..10 {
        match number {
            5 => drop(group.spawn(panics("the fifth"))),
            _ => others.push(group.spawn(after(1 + number))),
        }
    }
    assert_eq!(payload(group.join()).await.downcast_ref(), Some(&"the fifth"));
    assert!(others.into_iter().all(is_cancelled));
}

/// Each of ten jobs panics under a limit of two: each gives its place back.
#[tokio::test(start_paused = true)]
async fn line_17_panics_do_not_exhaust_goroutines() {
    let builder = TaskGroup::builder().on_failure(OnFailure::Continue).on_panic(OnPanic::Collect);
    let group: Group = builder.limit(2).build();
    for _ in 0..10 {
        group.spawn(panics("every one of them"));
    }
    assert_eq!(group.join().await.unwrap_err().len(), 10);
}

/// A limit of 0 is not refused: it is a pause, until it is raised.
#[tokio::test(start_paused = true)]
async fn line_18_panics_on_invalid_with_max_goroutines() {
    let group: Group = TaskGroup::builder().limit(0).build();
    let task = group.spawn(after(1));
    sleep(Duration::from_secs(1)).await;
    assert!(!task.is_finished());
    assert_eq!(group.report().queued(), 1);
    group.set_limit(1);
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), 1);
}

/// A group may be used, waited for, and used again, until it is joined.
#[tokio::test(start_paused = true)]
async fn line_20_is_reusable() {
    let (group, ran) = (Group::new(), Arc::new(AtomicUsize::new(0)));
    for batch in 1..=3 {
        for _ in 0..10 {
            let ran = Arc::clone(&ran);
            group.spawn(async move {
                ran.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
        }
        group.wait_idle().await;
        assert_eq!(ran.load(Ordering::SeqCst), 10 * batch);
    }
    group.join().await.unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 30);
}

/// No error in, no error out.
#[tokio::test(start_paused = true)]
async fn line_23_wait_returns_no_error_if_no_errors() {
    let group = continuing();
    group.spawn(async { Ok(()) });
    group.join().await.unwrap();
}

/// The error of a child comes out.
#[tokio::test(start_paused = true)]
async fn line_24_wait_error_if_func_returns_error() {
    let group = continuing();
    group.spawn(fails(0, "err1"));
    assert_eq!(errors(&group.join().await.unwrap_err()), ["err1"]);
}

/// Of three children two fail: both errors come out, and nothing for the third.
#[tokio::test(start_paused = true)]
async fn line_25_wait_error_is_all_returned_errors() {
    let group = continuing();
    group.spawn(fails(1, "err1"));
    let good = group.spawn(after(2));
    group.spawn(fails(3, "err2"));
    assert_eq!(errors(&group.join().await.unwrap_err()), ["err1", "err2"]);
    assert_eq!(good.into_result().unwrap(), 2);
}

/// A panic beats values and errors, before it and after it.
#[tokio::test(start_paused = true)]
async fn line_26_propagates_panics() {
    let group = continuing();
    let good = group.spawn(after(0));
    group.spawn(fails(1, "err1"));
    group.spawn(async {
        sleep(Duration::from_millis(2)).await;
        panics("super bad").await
    });
    let too_late = group.spawn(fails(3, "err2"));
    assert_eq!(payload(group.join()).await.downcast_ref(), Some(&"super bad"));
    assert!(good.into_result().is_ok() && is_cancelled(too_late));
}

/// Limits hold where jobs fail, too.
#[tokio::test(start_paused = true)]
async fn line_27_limit() {
    under_limits(Some(3), || TaskGroup::builder().on_failure(OnFailure::Continue)).await;
}

/// No error in, no error out, where a failure would cancel the others.
#[tokio::test(start_paused = true)]
async fn line_31_wait_returns_no_error_if_no_errors() {
    let group = Group::new();
    let tasks = [0, 1].map(|number| group.spawn(after(number)));
    group.join().await.unwrap();
    assert_eq!(tasks.map(|task| task.into_result().unwrap()), [0, 1]);
}

/// The error of a child comes out, and its place is known.
#[tokio::test(start_paused = true)]
async fn line_32_wait_errors_if_func_returns_error() {
    let group = Group::new();
    let task = group.spawn(fails(1, "err1"));
    let error = group.join().await.unwrap_err();
    assert_eq!(errors(&error), ["err1"]);
    assert_eq!(
        (error.first().unwrap().id(), error.first().unwrap().location()),
        (task.id(), task.location())
    );
}

/// Two that answer the cancel with errors of their own: both are in the group, beside what cancelled them.
#[tokio::test(start_paused = true)]
async fn line_33_wait_error_is_all_returned_errors() {
    let group = Group::new();
    let (_, has_started) = answering(&group, |_| Err("err2"));
    has_started.await.unwrap();
    group.spawn(fails(0, "err1"));
    assert_eq!(errors(&group.join().await.unwrap_err()), ["err1", "err2"]);
}

/// R9: where the host is cancelled, a child that answers "cancelled" fails nobody: the host is cancelled.
#[tokio::test(start_paused = true)]
async fn line_34_context_canceled_propagates() {
    let outer: TaskGroup = TaskGroup::new();
    let (tell, told) = oneshot::channel();
    let host = outer.spawn(async move {
        taskgroup::scope(async |tg: &TaskGroup| {
            let (task, has_started) = answering(tg, |token| Ok(token.check()?));
            let _ = tell.send((task, has_started));
            Ok(())
        })
        .await?;
        Ok(())
    });
    let (inner, has_started) = told.await.unwrap();
    has_started.await.unwrap();
    host.cancel_because("outer");
    let error = host.await.unwrap_err();
    assert_eq!(error.reason().unwrap().to_string(), "outer");
    let error = inner.into_result().unwrap_err();
    assert_eq!(error.reason().unwrap().root().reason(), &CancelReason::Requested(Some("outer".into())));
    outer.join().await.unwrap();
}

/// R9: when the deadline around it passes, `Elapsed` comes out, and not the child's answer that it was cancelled.
#[tokio::test(start_paused = true)]
async fn line_35_context_timed_out_propagates() {
    let limit = Duration::from_secs(1);
    let (tell, told) = oneshot::channel();
    let around = timeout(limit, async {
        let group: TaskGroup = TaskGroup::new();
        let (task, has_started) = answering(&group, |token| Ok(token.check()?));
        let _ = tell.send((task, has_started));
        group.join().await
    });
    // The clock does not move by itself while a closure runs.
    let pass = async {
        let (task, has_started) = told.await.unwrap();
        has_started.await.unwrap();
        advance(limit / 2).await;
        assert!(!task.is_finished());
        advance(limit / 2).await;
        task.await
    };
    let (result, answer) = tokio::join!(around, pass);
    assert_eq!(result.unwrap_err().after(), limit);
    let error = answer.unwrap_err();
    assert!(error.is_cancelled() && !error.never_started());
    let cause = error.reason().unwrap().root();
    assert!(matches!(cause.reason(), CancelReason::Deadline(_, after) if *after == limit), "{cause}");

    // The group's own deadline, which counts from its `join`, is the cause of its error: no failure is in it.
    let group: TaskGroup = TaskGroup::builder().timeout(limit).build();
    let (task, has_started) = answering(&group, |token| Ok(token.check()?));
    has_started.await.unwrap();
    let watched = group.spawner();
    let pass = async {
        advance(limit / 2).await;
        assert!(!watched.is_cancelled());
        advance(limit / 2).await;
    };
    let (result, ()) = tokio::join!(group.join(), pass);
    let error = result.unwrap_err();
    assert!(error.is_cancelled() && error.is_empty());
    assert!(matches!(error.cause().unwrap().reason(), CancelReason::Deadline(_, after) if *after == limit));
    assert!(is_cancelled(task));
}

/// A cancel after the end changes nothing of what came out.
#[tokio::test(start_paused = true)]
async fn line_36_return_before_timed_out() {
    let group = Group::new();
    let spawner = group.spawner();
    let task = group.spawn(after(1));
    let value = group.run(async { Ok("value") }).await;
    spawner.cancel();
    assert_eq!(value.unwrap(), "value");
    assert!(!spawner.is_cancelled());
    assert_eq!(task.into_result().unwrap(), 1);
}

/// R9: the error of the first cancels its sibling, and the sibling's "cancelled" is no second failure.
#[tokio::test(start_paused = true)]
async fn line_37_with_cancel_on_error() {
    let group: TaskGroup = TaskGroup::new();
    let (sibling, has_started) = answering(&group, |token| Ok(token.check()?));
    has_started.await.unwrap();
    let failing = group.spawn(async { Err::<(), _>(anyhow::anyhow!("err1")) });
    let error = group.join().await.unwrap_err();
    assert_eq!((error.len(), error.first().unwrap().error().unwrap().to_string()), (1, "err1".into()));
    let sibling = sibling.into_result().unwrap_err();
    let CancelReason::SiblingFailed(who) = sibling.reason().unwrap().reason() else { panic!("{sibling}") };
    assert_eq!(who.id(), failing.id());
}

/// Where failures let the others go on, the sibling ends well, and the one real error comes out.
#[tokio::test(start_paused = true)]
async fn line_38_no_with_cancel_on_error() {
    let group = continuing();
    group.spawn(fails(1, "err1"));
    let sibling = group.spawn(async {
        let number = after(5).await;
        assert!(!taskgroup::is_cancelled());
        number
    });
    let error = group.join().await.unwrap_err();
    assert_eq!(errors(&error), ["err1"]);
    assert!(error.cause().is_none());
    assert_eq!(sibling.into_result().unwrap(), 5);
}

/// Who wants the first error alone takes it from the group, or has no other stored: the rest is counted.
#[tokio::test(start_paused = true)]
async fn line_39_with_first_error() {
    let group = continuing();
    group.spawn(fails(2, "err2"));
    group.spawn(fails(1, "err1"));
    let first = group.join().await.unwrap_err().into_first().unwrap();
    assert_eq!(first.into_error().ok(), Some("err1"));

    let group: Group = TaskGroup::builder().on_failure(OnFailure::Continue).max_failures(1).build();
    group.spawn(fails(2, "err2"));
    group.spawn(fails(1, "err1"));
    let error = group.join().await.unwrap_err();
    assert_eq!((errors(&error), error.more()), (vec!["err1"], 1));
}

/// The first error cuts the siblings and is the only one reported.
#[tokio::test(start_paused = true)]
async fn line_40_with_fail_fast() {
    let (group, alive) = (Group::new(), Alive::new());
    let guard = alive.guard();
    let endless = group.spawn(async move {
        let _guard = guard;
        pending::<Result<(), _>>().await
    });
    let later = group.spawn(fails(2, "err2"));
    group.spawn(fails(1, "err1"));
    let before = tokio::time::Instant::now();
    let error = group.join().await.unwrap_err();
    assert_eq!((before.elapsed(), alive.now()), (Duration::from_millis(1), 0));
    assert_eq!((errors(&error), error.more()), (vec!["err1"], 0));
    assert!(is_cancelled(endless) && is_cancelled(later));
}

/// A panic cancels siblings too; they have seen it, and have ended, before the panic goes on in the host.
#[tokio::test(start_paused = true)]
async fn line_41_with_cancel_on_error_and_panic() {
    let (group, alive) = (Group::new(), Alive::new());
    let guard = alive.guard();
    let cut = group.spawn(async move {
        let _guard = guard;
        pending::<Result<(), _>>().await
    });
    let guard = alive.guard();
    let (asking, has_started) = answering(&group, move |_| {
        drop(guard);
        Ok(())
    });
    has_started.await.unwrap();
    group.spawn(panics("super bad"));
    assert_eq!(payload(group.join()).await.downcast_ref(), Some(&"super bad"));
    assert_eq!((alive.now(), alive.ever()), (0, 2));
    asking.into_result().unwrap();
    let error = cut.into_result().unwrap_err();
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::SiblingPanicked(_)));
}

/// And where the jobs are cut by a deadline around them.
#[tokio::test(start_paused = true)]
async fn line_42_limit() {
    for limit in LIMITS {
        let (group, load): (Group, _) = (TaskGroup::builder().limit(limit).build(), Load::default());
        let tasks: Vec<_> = (0..10 * limit as u32).map(|_| group.spawn(load.job(4, Ok(())))).collect();
        let elapsed = timeout(Duration::from_millis(6), group.join()).await;
        assert!(elapsed.is_err());
        assert_eq!(load.most(), limit);
        let (done, cut): (Vec<_>, Vec<_>) =
            tasks.into_iter().map(|task| task.into_result()).partition(|result| result.is_ok());
        assert_eq!((done.len(), cut.len()), (limit, 9 * limit));
        let unstarted = cut.into_iter().filter(|result| result.as_ref().unwrap_err().never_started()).count();
        assert_eq!(unstarted, 8 * limit);
    }
}

/// A hundred results.
#[tokio::test(start_paused = true)]
async fn line_45_basic() {
    let group = Group::new();
    let tasks: Vec<_> = (0..100).map(|number| group.spawn(async move { Ok(number) })).collect();
    group.join().await.unwrap();
    let values: BTreeSet<_> = tasks.into_iter().map(|task| task.into_result().unwrap()).collect();
    assert_eq!(values, (0..100).collect());
}

/// The results come in the order of the handles, however long each took.
#[tokio::test(start_paused = true)]
async fn line_46_deterministic_order() {
    let group = Group::new();
    let tasks: Vec<_> = (0..100_u32)
        .map(|number| {
            group.spawn(async move {
                after(number * 37 % 101).await?;
                Ok(number)
            })
        })
        .collect();
    group.join().await.unwrap();
    let values: Vec<_> = tasks.into_iter().map(|task| task.into_result().unwrap()).collect();
    assert_eq!(values, (0..100).collect::<Vec<_>>());
}

/// Results come from every job under a limit, in the order in which they were spawned.
#[tokio::test(start_paused = true)]
async fn line_47_limit() {
    under_limits(None, || TaskGroup::builder().name("results")).await;
}

/// The values, and no error.
#[tokio::test(start_paused = true)]
async fn line_51_wait_returns_no_error_if_no_errors() {
    let group = continuing();
    let task = group.spawn(async { Ok(1) });
    assert!(group.join().await.is_ok());
    assert_eq!(task.into_result().unwrap(), 1);
}

/// A failed child has no value, and its handle sends to the group for the error.
#[tokio::test(start_paused = true)]
async fn line_52_wait_error_if_func_returns_error() {
    let group = continuing();
    let task = group.spawn(fails(0, "err1"));
    assert_eq!(errors(&group.join().await.unwrap_err()), ["err1"]);
    let error = task.into_result().unwrap_err();
    assert!(error.is_failed() && !error.is_cancelled() && error.reason().is_none());
}

/// An error that is wanted as a value is one: it fails nobody, and the results have it in its place.
#[tokio::test(start_paused = true)]
async fn line_53_with_collect_errored() {
    let group = Group::new();
    let good = group.spawn(async { Ok(after(1).await) });
    let bad = group.spawn(async { Ok(fails(0, "err1").await) });
    group.join().await.unwrap();
    assert_eq!([good, bad].map(|task| task.into_result().unwrap()), [Ok(1), Err("err1")]);
}

/// The first error is the first in time, not the one of the child that was spawned first.
#[tokio::test(start_paused = true)]
async fn line_54_with_first_error() {
    let group = continuing();
    let good = group.spawn(after(0));
    group.spawn(fails(9, "late"));
    group.spawn(fails(1, "early"));
    let first = group.join().await.unwrap_err().into_first().unwrap();
    assert_eq!(first.error(), Some(&"early"));
    assert_eq!(good.into_result().unwrap(), 0);
}

/// One value and two errors, each where it belongs.
#[tokio::test(start_paused = true)]
async fn line_55_wait_error_is_all_returned_errors() {
    let group = continuing();
    let tasks = [group.spawn(fails(0, "err1")), group.spawn(after(1)), group.spawn(fails(2, "err2"))];
    assert_eq!(errors(&group.join().await.unwrap_err()), ["err1", "err2"]);
    assert_eq!(tasks.map(|task| task.into_result().ok()), [None, Some(1), None]);
}

/// Of jobs under a limit of which half fail the results of the others are there, and all errors.
#[tokio::test(start_paused = true)]
async fn line_56_limit() {
    under_limits(Some(2), || TaskGroup::builder().on_failure(OnFailure::Continue).max_failures(5)).await;
}

/// The values, and no error, where a failure would cancel the others.
#[tokio::test(start_paused = true)]
async fn line_60_wait_returns_no_error_if_no_errors() {
    let values = taskgroup::scope(async |tg: &Group| {
        let tasks = [tg.spawn(after(2)), tg.spawn(after(1))];
        futures::future::try_join_all(tasks).await.map_err(|_| "no value")
    });
    assert_eq!(values.await.unwrap(), [2, 1]);
}

/// A body that waits for the value of a child that fails gets none; the child's error alone comes out.
#[tokio::test(start_paused = true)]
async fn line_61_wait_error_if_func_returns_error() {
    let result = taskgroup::scope(async |tg: &Group| {
        let task = tg.spawn(fails(1, "err1"));
        task.await.map_err(|_| "no value")
    });
    assert_eq!(errors(&result.await.unwrap_err()), ["err1"]);
}

/// Both errors, and the value that was there before them.
#[tokio::test(start_paused = true)]
async fn line_62_wait_error_is_all_returned_errors() {
    let group = Group::new();
    let good = group.spawn(after(1));
    good.wait_finished().await;
    let (bad, has_started) = answering(&group, |_| Err("err2"));
    has_started.await.unwrap();
    group.spawn(fails(0, "err1"));
    assert_eq!(errors(&group.join().await.unwrap_err()), ["err1", "err2"]);
    assert_eq!(good.into_result().unwrap(), 1);
    assert!(bad.into_result().unwrap_err().is_failed());
}

/// A cancel from outside leaves no values, neither of the children nor of the group.
#[tokio::test(start_paused = true)]
async fn line_63_context_cancel_propagates() {
    let outer = Group::new();
    let (tell, told) = oneshot::channel();
    let host = outer.spawn(async move {
        let tasks = taskgroup::scope(async |tg: &Group| {
            let tasks = [0, 1].map(|_| tg.spawn(pending::<Result<u32, _>>()));
            let _ = tell.send(tasks);
            Ok("value")
        });
        tasks.await.map_err(|_| "inner")
    });
    let tasks = told.await.unwrap();
    tokio::task::yield_now().await;
    outer.cancel_because("outer");
    outer.join().await.unwrap();
    assert_eq!(host.into_result().unwrap_err().reason().unwrap().to_string(), "outer");
    for task in tasks {
        let error = task.into_result().unwrap_err();
        let cause = error.reason().unwrap();
        assert!(matches!(cause.reason(), CancelReason::HostCancelled(_)));
        assert_eq!(cause.root().to_string(), "outer");
    }
}

/// R9: a sibling with a value to come has neither value nor failure when it is cut for another's error.
#[tokio::test(start_paused = true)]
async fn line_64_with_cancel_on_error() {
    let group = Group::new();
    let sibling = group.spawn(after(5));
    let failing = group.spawn(fails(1, "err1"));
    let error = group.join().await.unwrap_err();
    assert_eq!((errors(&error), error.first().unwrap().id()), (vec!["err1"], failing.id()));
    assert!(is_cancelled(sibling));
}

/// The first error alone, and no value.
#[tokio::test(start_paused = true)]
async fn line_65_with_fail_fast() {
    let result = taskgroup::scope(async |tg: &Group| {
        tg.spawn(fails(1, "err1"));
        let other = tg.spawn(fails(2, "err2"));
        let value = tg.spawn(after(3)).await;
        Ok((value.is_ok(), other.await.is_ok()))
    });
    let error = result.await.unwrap_err();
    assert_eq!((errors(&error), error.more()), (vec!["err1"], 0));
}

/// Siblings with values to come see the cancel before the panic goes on in the host.
#[tokio::test(start_paused = true)]
async fn line_66_with_cancel_on_error_and_panic() {
    let group = Group::new();
    let (tell, told) = oneshot::channel();
    let (sibling, has_started) = answering(&group, |token| {
        let _ = tell.send(token.cause());
        Ok(())
    });
    has_started.await.unwrap();
    let panicked = group.spawn(panics("super bad")).id();
    assert_eq!(payload(group.join()).await.downcast_ref(), Some(&"super bad"));
    let cause = told.now_or_never().unwrap().unwrap().unwrap();
    assert!(matches!(cause.reason(), CancelReason::SiblingPanicked(who) if who.id() == panicked));
    sibling.into_result().unwrap();
}

/// Where failures let the others go on, the sibling's value is kept.
#[tokio::test(start_paused = true)]
async fn line_67_no_with_cancel_on_error() {
    let group = continuing();
    let failing = group.spawn(fails(1, "err1"));
    let sibling = group.spawn(after(5));
    failing.wait_finished().await;
    assert!(!group.is_cancelled() && !sibling.is_finished());
    assert_eq!(errors(&group.join().await.unwrap_err()), ["err1"]);
    assert_eq!(sibling.into_result().unwrap(), 5);
}

/// An error taken as a value cancels nobody: the body has all results, good and bad.
#[tokio::test(start_paused = true)]
async fn line_68_with_collect_errored() {
    let group = Group::new();
    let results = group.run(async {
        let tasks =
            [group.spawn(async { Ok(fails(0, "err1").await) }), group.spawn(async { Ok(after(5).await) })];
        futures::future::try_join_all(tasks).await.map_err(|_| "no value")
    });
    assert_eq!(results.await.unwrap(), [Err("err1"), Ok(5)]);
}

/// Two failed in turn: the first is the cause of the second's cancel, and the first to be taken.
#[tokio::test(start_paused = true)]
async fn line_69_with_first_error() {
    let group = Group::new();
    let (_, has_started) = answering(&group, |_| Err("err2"));
    has_started.await.unwrap();
    let failing = group.spawn(fails(0, "err1")).id();
    let error = group.join().await.unwrap_err();
    let cause = error.cause().unwrap().reason();
    assert!(matches!(cause, CancelReason::SiblingFailed(who) if who.id() == failing));
    assert_eq!(error.into_first().unwrap().into_error().ok(), Some("err1"));
}

/// The results of jobs that take different times keep their order under a limit.
#[tokio::test(start_paused = true)]
async fn line_70_limit() {
    for limit in LIMITS {
        let results = TaskGroup::builder().limit(limit).scope(async |tg| {
            let load = Load::default();
            let tasks: Vec<_> = (0..50).map(|number| tg.spawn(load.job(7 * number, Ok(number)))).collect();
            let mut results = Vec::new();
            for task in tasks {
                results.push(task.await.map_err(|_| "no")?);
            }
            assert_eq!(load.most(), limit.min(50));
            Ok::<_, &'static str>(results)
        });
        assert_eq!(results.await.unwrap(), (0..50).collect::<Vec<_>>());
    }
}

/// A limit that is far above the number of processors is reached.
#[tokio::test(start_paused = true)]
async fn line_79_allows_more_than_default_concurrent_tasks() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let limit = 100 * cpus;
    let (group, load): (Group, _) = (TaskGroup::builder().limit(limit).build(), Load::default());
    for _ in 0..3 * limit {
        group.spawn(load.job(4, Ok(())));
    }
    group.join().await.unwrap();
    assert_eq!(load.most(), limit);
}

/// Items that complete in reverse, and what is done with each in their order.
#[tokio::test(start_paused = true)]
async fn line_72_stream_simple() {
    let results = map((0..30).rev(), 30, after).await.unwrap();
    let mut steps = Vec::new();
    for result in results {
        steps.push(result);
    }
    assert_eq!(steps, (0..30).rev().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn line_73_stream_nil_callback() {
    let some = map(0..4, 4, |number| async move { Ok::<_, &str>((number % 2 == 0).then_some(number)) });
    assert_eq!(some.await.unwrap(), [Some(0), None, Some(2), None]);
}

#[tokio::test(start_paused = true)]
async fn line_74_stream_max_goroutines() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, seen) = (Arc::clone(&running), Arc::clone(&most));
    let mut results = map(0..50_u32, 5, move |number| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let now = Arc::clone(&now);
        async move {
            let result = after(number % 7).await;
            now.fetch_sub(1, Ordering::SeqCst);
            result
        }
    })
    .as_completed();
    let mut callbacks = 0;
    while let Some(_result) = results.try_next().await.unwrap() {
        // One after the other, by type: taking the next needs the stream whole.
        sleep(Duration::from_millis(1)).await;
        callbacks += 1;
    }
    assert_eq!((callbacks, most.load(Ordering::SeqCst), running.load(Ordering::SeqCst)), (50, 5, 0));
}

#[tokio::test(start_paused = true)]
async fn line_75_stream_panic_in_task_is_propagated() {
    let work = map(0..10_u32, 4, |number| async move {
        if number == 3 { panics("something really bad happened in the task").await } else { after(1).await }
    });
    let payload = payload(work.as_completed().collect::<Vec<_>>()).await;
    assert_eq!(payload.downcast_ref(), Some(&"something really bad happened in the task"));
}

#[tokio::test(start_paused = true)]
async fn line_76_stream_panic_in_callback_is_propagated() {
    let mut results = map(0..10_u32, 4, after).as_completed();
    let payload = payload(async move {
        assert!(results.try_next().await.unwrap().is_some());
        panic_any("something really bad happened in the callback");
    })
    .await;
    assert_eq!(payload.downcast_ref(), Some(&"something really bad happened in the callback"));
}

/// Whoever is still at work for a stream whose consumer has panicked ends with it, and nobody hangs.
#[tokio::test(start_paused = true)]
async fn line_77_stream_panic_in_callback_does_not_block_producers() {
    let alive = Alive::new();
    let guarded = alive.clone();
    let items = (0..100_u32).map(move |number| (number, guarded.guard()));
    let mut results =
        map(items, 4, |(number, guard)| async move { after(number).await.map(|_| guard) }).as_completed();
    let payload = payload(async move {
        drop(results.try_next().await.unwrap().expect("the first value"));
        panic_any("something really bad happened in the callback");
    })
    .await;
    assert!(payload.is::<&str>());
    assert_eq!(alive.now(), 0);
}

/// What the lines about mapping share: none, many, changed in place, and a panic.
async fn maps_all<E: std::fmt::Debug + Send + 'static>() {
    let none = map([0; 0], 4, |_| async { panic!("it is not called") as Result<(), E> });
    assert_eq!(none.await.unwrap(), []);
    let panicking = map(0..10, 4, |_| async { panic_any("super bad") as Result<(), E> });
    assert_eq!(payload(panicking).await.downcast_ref(), Some(&"super bad"));
    let lists = vec![vec![1], vec![2], vec![3]];
    let changed = map(lists, 4, |mut list| async move {
        list.push(0);
        Ok::<_, E>(list)
    });
    assert_eq!(changed.await.unwrap(), [[1, 0], [2, 0], [3, 0]]);
    let huge = map(0..10_000, 16, |number| async move { Ok::<_, E>(number + 1) }).await.unwrap();
    assert!(huge.into_iter().eq(1..=10_000));
}

/// What the lines about items in place share: none, all changed where they lie, many, and a panic.
async fn changes_in_place(spawn: impl for<'g, 'i> Fn(&'g Local<'i>, &'i mut [usize])) {
    let over = async |items: &mut [usize]| {
        let group = Local::new();
        spawn(&group, items);
        group.join().await.unwrap();
    };
    over(&mut []).await;
    let mut items = [1, 2, 3];
    over(&mut items).await;
    assert_eq!(items, [1, 3, 5], "each has its place added");
    let mut items = vec![0; 10_000];
    over(&mut items).await;
    assert!(items.into_iter().eq(0..10_000));

    let mut items = [PANICS];
    let group = Local::new();
    spawn(&group, &mut items);
    let payload = AssertUnwindSafe(group.join()).catch_unwind().await.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"super bad"));
}

/// A group whose children borrow.
type Local<'i> = LocalGroup<'i, &'static str>;

/// An item of which nothing can be made.
const PANICS: usize = usize::MAX;

/// Adds to an item its place.
async fn add_place(item: &mut usize, place: usize) -> Result<(), &'static str> {
    tokio::task::yield_now().await;
    if *item == PANICS {
        panic_any("super bad");
    }
    *item += place;
    Ok(())
}

/// By places: each child borrows the whole slice through a cell of each item.
#[tokio::test]
async fn line_80_for_each_idx() {
    changes_in_place(|group, items| {
        let items = Cell::from_mut(items).as_slice_of_cells();
        let change = async |place: usize| {
            let mut item = items[place].get();
            add_place(&mut item, place).await?;
            items[place].set(item);
            Ok(())
        };
        (0..items.len()).for_each(|place| drop(group.spawn(change(place))));
    })
    .await;
}

/// By items: each child borrows its own mutably.
#[tokio::test]
async fn line_81_for_each() {
    changes_in_place(|group, items| {
        for (place, item) in items.iter_mut().enumerate() {
            group.spawn(add_place(item, place));
        }
    })
    .await;
}

#[tokio::test]
async fn line_82_map() {
    maps_all::<std::convert::Infallible>().await;
}

/// Ten items of which the fourth fails: the error comes out, the other results are at their places.
#[tokio::test(start_paused = true)]
async fn line_83_map_err_error_is_propagated() {
    let group = continuing();
    let tasks: Vec<_> =
        (0..10).map(|n| group.spawn(async move { if n == 3 { Err("err1") } else { Ok(n * n) } })).collect();
    let failed = tasks[3].id();
    let error = group.join().await.unwrap_err();
    assert_eq!((errors(&error), error.first().unwrap().id()), (vec!["err1"], failed));
    let squares: Vec<_> = tasks.into_iter().map(|task| task.into_result().ok()).collect();
    assert_eq!(squares, (0..10).map(|n| (n != 3).then_some(n * n)).collect::<Vec<_>>());
}

/// Of several items that fail all errors come out, each with the id of its item.
#[tokio::test(start_paused = true)]
async fn line_84_map_err_multiple_errors_are_propagated() {
    let group = continuing();
    let tasks: Vec<_> =
        (0..10).map(|n| group.spawn(async move { if n % 5 == 3 { Err("err") } else { Ok(n) } })).collect();
    let error = group.join().await.unwrap_err();
    assert_eq!(errors(&error), ["err", "err"]);
    let failed: Vec<_> = error.failures().iter().map(|failure| failure.id()).collect();
    assert_eq!(failed, [tasks[3].id(), tasks[8].id()]);
    let values: Vec<_> = tasks.into_iter().filter_map(|task| task.into_result().ok()).collect();
    assert_eq!(values, [0, 1, 2, 4, 5, 6, 7, 9]);
}

#[derive(Debug, PartialEq)]
struct Broken(u32);

#[tokio::test]
async fn line_85_map_err() {
    maps_all::<&'static str>().await;
}

/// A payload that is an error is had back as that error; the text tells who panicked, and where it began.
#[tokio::test(start_paused = true)]
async fn line_86_catcher_error() {
    let group = collecting();
    let task = group.task().name("fragile").spawn(panics(Broken(5)));
    let error = group.join().await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("fragile") && text.contains(&task.location().to_string()), "{text}");
    let panic = error.into_first().unwrap().into_panic().unwrap();
    assert_eq!(*panic.into_payload().downcast::<Broken>().unwrap(), Broken(5));
}

/// Any other payload is kept as it is; it has no message, and is no error.
#[tokio::test(start_paused = true)]
async fn line_87_catcher_not_error() {
    let group = collecting();
    group.spawn(panics(7_u8));
    let failure = group.join().await.unwrap_err().into_first().unwrap();
    assert!(failure.error().is_none() && !failure.is::<std::io::Error>());
    let panic = failure.into_panic().unwrap();
    assert_eq!(panic.message(), None);
    let payload = panic.into_payload();
    assert!(!payload.is::<Broken>());
    assert_eq!(payload.downcast_ref(), Some(&7_u8));
}

/// A collected panic can be resumed later, with the payload it had.
#[tokio::test(start_paused = true)]
async fn line_88_catcher_repanic_panics() {
    let group = collecting();
    group.spawn(panics("super bad"));
    let panic = group.join().await.unwrap_err().into_first().unwrap().into_panic().unwrap();
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| panic.resume()));
    assert_eq!(payload.downcast_ref(), Some(&"super bad"));
}

/// Where no child panicked, nothing unwinds: not for values, not for errors, not for a cancel.
#[tokio::test(start_paused = true)]
async fn line_89_catcher_repanic_does_not_panic_without_child_panic() {
    for (future, outcome) in [(after(1).boxed(), None), (fails(1, "err1").boxed(), Some("err1"))] {
        let group = Group::new();
        let cut = group.spawn(pending::<Result<(), _>>());
        let task = group.spawn(future);
        task.wait_finished().await;
        cut.cancel();
        let joined = AssertUnwindSafe(group.join()).catch_unwind().await.unwrap();
        assert_eq!(joined.err().map(|error| errors(&error)), outcome.map(|error| vec![error]));
    }
}

/// Of many panics at once on several threads one is kept where one is asked for, and all are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_90_catcher_is_goroutine_safe() {
    for (max_failures, stored) in [(1, 1), (1000, 100)] {
        let group: Group = TaskGroup::builder()
            .on_failure(OnFailure::Continue)
            .on_panic(OnPanic::Collect)
            .max_failures(max_failures)
            .build();
        let barrier = Arc::new(Barrier::new(100));
        let tasks: Vec<_> = (0..100_u32)
            .map(|number| {
                let barrier = Arc::clone(&barrier);
                group.spawn(async move {
                    barrier.wait().await;
                    panics(number).await
                })
            })
            .collect();
        let error = group.join().await.unwrap_err();
        assert_eq!((error.len(), error.more()), (stored, 100 - stored));
        let payloads: BTreeSet<u32> = error
            .into_failures()
            .into_iter()
            .map(|failure| *failure.into_panic().unwrap().into_payload().downcast().unwrap())
            .collect();
        assert_eq!(payloads.len(), stored);
        assert!(payloads.iter().all(|number| *number < 100));
        assert!(tasks.into_iter().all(|task| task.into_result().unwrap_err().is_panicked()));
    }
}

/// A failure is a panic or an error, and only one of them is there to be asked for.
#[tokio::test(start_paused = true)]
async fn line_91_recovered_as_error() {
    let group = collecting();
    group.spawn(fails(0, "err1"));
    group.spawn(panics("super bad"));
    let error = group.join().await.unwrap_err();
    let mut kinds: Vec<_> = error
        .failures()
        .iter()
        .map(|failure| (failure.error().copied(), failure.panic().and_then(|panic| panic.message())))
        .collect();
    kinds.sort();
    assert_eq!(kinds, [(None, Some("super bad")), (Some("err1"), None)]);
    for failure in error.into_failures() {
        assert_ne!(failure.panic().is_some(), failure.into_error().is_ok());
    }
}

/// A child's handle tells whether it panicked: tried in a collecting group, a panic is an answer.
#[tokio::test(start_paused = true)]
async fn line_92_try() {
    let group = collecting();
    let panicking = group.spawn(panics("super bad"));
    let quiet = group.spawn(after(1));
    let error = panicking.await.unwrap_err();
    assert!(error.is_panicked() && !error.is_failed() && !error.is_cancelled());
    assert_eq!(quiet.await.unwrap(), 1);
    assert_eq!(group.join().await.unwrap_err().len(), 1);
}
