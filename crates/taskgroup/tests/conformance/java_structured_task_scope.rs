//! Java's `StructuredTaskScope`: forks, joins, closes, what a subtask's handle says, policies, and the older
//! form's extras.

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{CancelReason, OnDrop, OnFailure, Task, TaskError, TaskGroup, scope, shield};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Alive, Guard};

const SECOND: Duration = Duration::from_secs(1);

type Plain = TaskGroup<&'static str>;

/// A task that never ends by itself.
async fn forever(_guard: Guard) -> Result<(), &'static str> {
    pending().await
}

/// Lets everything that can run do so.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

/// Runs a future that is expected to panic; the text of the panic.
async fn panic_of<T>(future: impl Future<Output = T>) -> String {
    let Err(payload) = AssertUnwindSafe(future).catch_unwind().await else {
        panic!("it did not panic");
    };
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned()),
    }
}

/// Both ways of spawning into a group that takes no more: born cancelled, or refused (R5).
fn assert_takes_no_more(group: &Plain) {
    let alive = Alive::new();
    let born = group.spawn(forever(alive.guard()));
    assert_eq!(alive.now(), 0, "dropped before `spawn` returns");
    assert!(born.into_result().unwrap_err().never_started());
    let refused = group.try_spawn(forever(alive.guard())).unwrap_err();
    assert_eq!(alive.now(), 1, "the future comes back");
    drop(refused);
    assert_eq!((alive.now(), alive.ever()), (0, 2));
}

/// Runs a group with a task that never ends: it is cut at its deadline, after `after`, and says so (R19).
async fn assert_cut_by_its_deadline(group: &Plain, after: Duration) {
    let (began, alive) = (Instant::now(), Alive::new());
    let task = group.spawn(forever(alive.guard()));
    let error = group.run(async { Ok(()) }).await.unwrap_err();
    assert_eq!((began.elapsed(), alive.now()), (after, 0));
    assert!(error.is_cancelled() && error.is_empty());
    let reason = error.cause().unwrap().reason();
    assert!(
        matches!(reason, CancelReason::Deadline(who, limit) if (who.id(), *limit) == (group.id(), after)),
        "{reason}"
    );
    assert!(group.is_cancelled());
    assert!(task.into_result().unwrap_err().is_cancelled());
    assert_takes_no_more(group);
}

/// The body, a child and a plain thread may all spawn: whoever holds the group or a spawner (R5).
#[tokio::test(start_paused = true)]
async fn line_03_test_fork_confined() {
    let group: Plain = TaskGroup::new();
    let (from_child, from_thread) = (group.spawner(), group.spawner());
    let child = group.spawn(async move { Ok(from_child.spawn(async { Ok("by a child") })) });
    let by_thread =
        std::thread::spawn(move || from_thread.spawn(async { Ok("by a thread") })).join().unwrap();
    assert_eq!(group.len(), 2);
    group.join().await.unwrap();
    assert_eq!(child.into_result().unwrap().into_result().unwrap(), "by a child");
    assert_eq!(by_thread.into_result().unwrap(), "by a thread");
}

/// A group that was run without tasks takes no more.
#[tokio::test(start_paused = true)]
async fn line_04_test_fork_after_join_completed1() {
    let group: Plain = TaskGroup::new();
    group.run(async { Ok(()) }).await.unwrap();
    assert_takes_no_more(&group);
}

/// A group that was run with tasks takes no more; what they gave stays readable.
#[tokio::test(start_paused = true)]
async fn line_05_test_fork_after_join_completed2() {
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async { Ok(5) });
    group.run(async { Ok(()) }).await.unwrap();
    assert_takes_no_more(&group);
    assert_eq!(task.into_result().unwrap(), 5);
}

/// A group whose run was dropped half-way takes no more.
#[tokio::test(start_paused = true)]
async fn line_06_test_fork_after_join_interrupted() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let task = group.spawn(forever(alive.guard()));
    let mut run = Box::pin(group.run(async { Ok(()) }));
    assert!(futures::poll!(&mut run).is_pending());
    drop(run);
    assert_eq!(alive.now(), 0);
    assert!(task.into_result().unwrap_err().is_cancelled());
    assert_takes_no_more(&group);
}

/// A group whose run was given up after a time takes no more.
#[tokio::test(start_paused = true)]
async fn line_07_test_fork_after_join_timeout() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    group.spawn(forever(alive.guard()));
    assert!(timeout(Duration::from_secs(1), group.run(async { Ok(()) })).await.is_err());
    assert_eq!(alive.now(), 0);
    assert_takes_no_more(&group);
}

/// A spawner that is left when its group is gone spawns nothing.
#[tokio::test(start_paused = true)]
async fn line_09_test_fork_after_close() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    assert!(!spawner.is_closed());
    drop(group);
    assert!(spawner.is_closed());
    let late = spawner.spawn(forever(alive.guard()));
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    assert!(late.into_result().unwrap_err().never_started());
    assert!(spawner.try_spawn(async { Ok(()) }).is_err());
}

/// A runtime that is gone cannot start a task: its handle says so at once, and the group goes on to an
/// orderly end.
#[test]
fn line_10_test_fork_rejected_execution_exception() {
    let alive = Alive::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let group: Plain = runtime.block_on(async { TaskGroup::new() });
    drop(runtime);
    let task = group.spawn(forever(alive.guard()));
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    let error = task.into_result().unwrap_err();
    assert!(error.never_started());
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::RuntimeShutdown));
    assert!(group.is_empty());
    assert!(!group.is_cancelled());
    assert!(futures::executor::block_on(group.join()).is_ok());
}

/// A scope without tasks gives its body's value.
#[tokio::test(start_paused = true)]
async fn line_11_test_join_with_no_subtasks() {
    let value = scope(async |_: &Plain| Ok(11)).await.unwrap();
    assert_eq!(value, 11);
}

/// The scope does not return before a running task has.
#[tokio::test(start_paused = true)]
async fn line_12_test_join_with_remaining_subtasks() {
    let start = Instant::now();
    let task = scope(async |tg: &Plain| {
        Ok(tg.spawn(async {
            sleep(Duration::from_secs(5)).await;
            Ok("late")
        }))
    })
    .await
    .unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(task.into_result().unwrap(), "late");
}

/// A second run panics, each time it is tried, and does not start its body.
#[tokio::test(start_paused = true)]
async fn line_13_test_join_after_join1() {
    let bodies = AtomicUsize::new(0);
    let group: Plain = TaskGroup::new();
    assert_eq!(group.run(async { Ok(1) }).await.unwrap(), 1);
    for _ in 0..3 {
        let again = panic_of(group.run(async {
            bodies.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }));
        assert!(again.await.contains("a second time"));
    }
    assert_eq!(bodies.load(Ordering::SeqCst), 0);
}

/// After a run that failed a second one panics, and `join` does not tell the failure again.
#[tokio::test(start_paused = true)]
async fn line_14_test_join_after_join2() {
    let group: Plain = TaskGroup::new();
    group.spawn(async { Err::<(), _>("no") });
    assert_eq!(group.run(async { Ok(()) }).await.unwrap_err().len(), 1);
    assert!(panic_of(group.run(async { Ok(()) })).await.contains("a second time"));
    assert!(group.join().await.is_ok());
}

/// After a run that was given up a second one panics.
#[tokio::test(start_paused = true)]
async fn line_16_test_join_after_join_timeout() {
    let group: Plain = TaskGroup::new();
    let given_up = timeout(Duration::from_secs(1), group.run(pending::<Result<(), _>>())).await;
    assert!(given_up.is_err());
    assert!(panic_of(group.run(async { Ok(()) })).await.contains("a second time"));
}

/// A host that is cancelled already gets no further than its join, which waits for the task and no longer.
#[tokio::test(start_paused = true)]
async fn line_19_test_interrupt_join1() {
    let (alive, passed) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let outer: Plain = TaskGroup::new();
    let (guard, flag, myself) = (alive.guard(), Arc::clone(&passed), outer.spawner());
    let host = outer.spawn(async move {
        let inner: Plain = TaskGroup::new();
        inner.spawn(forever(guard));
        yield_now().await;
        myself.cancel();
        let _ = inner.join().await;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    let start = Instant::now();
    outer.join().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(host.into_result().unwrap_err().is_cancelled());
    assert!(!passed.load(Ordering::SeqCst));
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// A host that is cancelled while it joins is cut there, when the task is gone.
#[tokio::test(start_paused = true)]
async fn line_20_test_interrupt_join2() {
    let (alive, passed) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let outer: Plain = TaskGroup::new();
    let (guard, flag) = (alive.guard(), Arc::clone(&passed));
    let host = outer.spawn(async move {
        let inner: Plain = TaskGroup::new();
        inner.spawn(forever(guard));
        let _ = inner.join().await;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    settle().await;
    assert_eq!(alive.now(), 1);
    assert!(!host.is_finished());
    host.cancel();
    let error = host.await.unwrap_err();
    assert!(error.is_cancelled() && !error.never_started());
    assert!(!passed.load(Ordering::SeqCst));
    assert_eq!(alive.now(), 0);
    outer.join().await.unwrap();
}

/// Joining a cancelled group is quick: what a task gave before is kept, one that had not run has nothing.
#[tokio::test(start_paused = true)]
async fn line_21_test_join_when_cancelled() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let done = group.spawn(async { Ok("done") });
    group.wait_idle().await;
    let unrun = group.spawn(forever(alive.guard()));
    group.cancel();
    let start = Instant::now();
    group.join().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(done.into_result().unwrap(), "done");
    assert!(unrun.into_result().unwrap_err().never_started());
    assert_eq!(alive.now(), 0);
}

/// All is done before the timeout: nothing is cancelled.
#[tokio::test(start_paused = true)]
async fn line_23_test_join_with_timeout1() {
    let group: Plain = TaskGroup::builder().timeout(2 * SECOND).build();
    let task = group.spawn(async {
        sleep(SECOND).await;
        Ok("in time")
    });
    let began = Instant::now();
    assert_eq!(group.run(async { Ok(1) }).await.unwrap(), 1);
    assert_eq!(began.elapsed(), SECOND);
    sleep(5 * SECOND).await;
    assert!(!group.is_cancelled());
    assert_eq!(task.into_result().unwrap(), "in time");
}

/// The timeout cuts the task, at its time, and is the cause.
#[tokio::test(start_paused = true)]
async fn line_24_test_join_with_timeout2() {
    let group: Plain = TaskGroup::builder().timeout(SECOND).build();
    assert_cut_by_its_deadline(&group, SECOND).await;
}

/// No time at all, or an instant that has passed: the same at once.
#[tokio::test(start_paused = true)]
async fn line_25_test_join_with_timeout3() {
    let past = Instant::now();
    sleep(SECOND).await;
    assert_cut_by_its_deadline(&TaskGroup::builder().timeout(Duration::ZERO).build(), Duration::ZERO).await;
    assert_cut_by_its_deadline(&TaskGroup::builder().deadline(past).build(), Duration::ZERO).await;
}

/// A body that cancels when the first task is done: the running one is cut, the first one's value stays.
#[tokio::test(start_paused = true)]
async fn line_26_test_cancel_interrupts_threads2() {
    let alive = Alive::new();
    let start = Instant::now();
    let (first, second) = scope(async |tg: &Plain| {
        let second = tg.spawn(forever(alive.guard()));
        let first = tg.spawn(async {
            sleep(Duration::from_secs(1)).await;
            Ok("first")
        });
        first.wait_finished().await;
        tg.cancel();
        Ok((first, second))
    })
    .await
    .unwrap();
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(first.into_result().unwrap(), "first");
    let error = second.into_result().unwrap_err();
    assert!(error.is_cancelled() && !error.never_started());
    assert_eq!(alive.now(), 0);
}

/// A group's timeout counts from its `run` or `join`: before that nothing is interrupted. From then on it is, while
/// the body, here in a shield, is still at work (R19).
#[tokio::test(start_paused = true)]
async fn line_27_test_timeout_interrupts_threads() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::builder().timeout(SECOND).build();
    let task = group.spawn(forever(alive.guard()));
    sleep(5 * SECOND).await;
    assert_eq!(alive.now(), 1);
    assert!(!task.is_finished() && !group.is_cancelled());

    let began = Instant::now();
    let mut interrupted = None;
    let body = async {
        let result = shield(task).await;
        interrupted = Some((result.unwrap_err().is_cancelled(), began.elapsed(), alive.now()));
        Ok(())
    };
    let error = group.run(body).await.unwrap_err();
    assert!(error.is_cancelled());
    assert!(matches!(error.cause().unwrap().reason(), CancelReason::Deadline(_, after) if *after == SECOND));
    assert_eq!(interrupted, Some((true, SECOND, 0)));
}

/// A group that nobody used may be dropped.
#[tokio::test(start_paused = true)]
async fn line_28_test_close_without_join1() {
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    drop(group);
    assert!(spawner.is_closed() && spawner.is_empty());
}

/// After a run that was dropped half-way, dropping the group finds nothing left and says nothing.
#[tokio::test(start_paused = true)]
async fn line_30_test_close_after_join_throws() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let tasks: Vec<_> = (0..3).map(|_| group.spawn(forever(alive.guard()))).collect();
    let mut run = Box::pin(group.run(async { Ok(()) }));
    assert!(futures::poll!(&mut run).is_pending());
    settle().await;
    assert_eq!(alive.now(), 3);
    drop(run);
    drop(group);
    assert_eq!(alive.now(), 0);
    assert!(tasks.into_iter().all(|task| task.into_result().unwrap_err().is_cancelled()));
}

/// When the host of the group in [`straggler_holds_up_a_cancelled_host`] is cancelled.
#[derive(Clone, Copy, PartialEq)]
enum HostCancelled {
    BeforeTheJoin,
    DuringTheJoin,
}

/// Says at its drop that the host is gone.
struct Says(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Drop for Says {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(self.1);
    }
}

/// A closure that ignores its token is waited for by a host that is cancelled; and the host's cancel is
/// not used up by that wait: none of its later code runs.
async fn straggler_holds_up_a_cancelled_host(when: HostCancelled) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let (started, has_started) = oneshot::channel();
    let (release, released) = mpsc::channel::<()>();
    let outer: Plain = TaskGroup::new();
    let myself = outer.spawner();
    let joins = Arc::new(AtomicBool::new(false));
    let host = outer.spawn({
        let (order, joining) = (Arc::clone(&order), Arc::clone(&joins));
        async move {
            let _says = Says(Arc::clone(&order), "host dropped");
            let inner: Plain = TaskGroup::new();
            let says = Says(Arc::clone(&order), "straggler ended");
            inner.spawn_blocking(move |_token| {
                let _says = says;
                started.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            });
            has_started.await.unwrap();
            if when == HostCancelled::BeforeTheJoin {
                myself.cancel();
            }
            joining.store(true, Ordering::SeqCst);
            let _ = inner.join().await;
            order.lock().unwrap().push("host went on");
            Ok(())
        }
    });
    let mut join = Box::pin(outer.join());
    while !joins.load(Ordering::SeqCst) {
        yield_now().await;
    }
    settle().await;
    if when == HostCancelled::DuringTheJoin {
        host.cancel();
        settle().await;
    }
    assert!(!host.is_finished());
    assert!(futures::poll!(&mut join).is_pending());
    release.send(()).unwrap();
    join.await.unwrap();
    assert!(host.into_result().unwrap_err().is_cancelled());
    assert_eq!(*order.lock().unwrap(), ["straggler ended", "host dropped"]);
}

/// Cancelled before it joins, the host still waits for a closure that does not listen.
#[tokio::test(start_paused = true)]
async fn line_32_test_interrupt_close1() {
    straggler_holds_up_a_cancelled_host(HostCancelled::BeforeTheJoin).await;
}

/// Cancelled while it waits for a closure that does not listen, the host goes on waiting.
#[tokio::test(start_paused = true)]
async fn line_33_test_interrupt_close2() {
    straggler_holds_up_a_cancelled_host(HostCancelled::DuringTheJoin).await;
}

/// Dropping an outer group ends an inner one that somebody keeps elsewhere; it takes no more tasks.
#[tokio::test(start_paused = true)]
async fn line_34_test_close_throws_structure_violation() {
    let alive = Alive::new();
    let slot = Arc::new(Mutex::new(None));
    let outer: Plain = TaskGroup::new();
    let mut run = Box::pin(outer.run({
        let (slot, guard) = (Arc::clone(&slot), alive.guard());
        async move {
            let inner: Plain = TaskGroup::new();
            inner.spawn(forever(guard));
            *slot.lock().unwrap() = Some(inner);
            pending::<Result<(), _>>().await
        }
    }));
    assert!(futures::poll!(&mut run).is_pending());
    settle().await;
    assert_eq!(alive.now(), 1);
    drop(run);
    assert_eq!(alive.now(), 0);
    let inner = slot.lock().unwrap().take().unwrap();
    assert!(inner.is_cancelled());
    assert_takes_no_more(&inner);
}

/// A group that has ended in good order is closed, not cancelled (R13).
#[tokio::test(start_paused = true)]
async fn line_35_test_is_cancelled_after_close() {
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    group.spawn(async { Ok(()) });
    assert!(!spawner.is_closed());
    group.run(async { Ok(()) }).await.unwrap();
    assert!(spawner.is_closed());
    assert!(!group.is_cancelled());
    assert_takes_no_more(&group);
    group.cancel();
    assert!(!group.is_cancelled(), "a cancel after exit does nothing");
}

/// A callback of the group's that panics does not keep the group from ending, and the panic is told.
#[tokio::test(start_paused = true)]
async fn line_38_test_on_complete_throws() {
    let alive = Alive::new();
    // Abandon: should the task never end, the drop of the group must not wait for it too.
    let builder = TaskGroup::builder().on_drop(OnDrop::Abandon);
    let group: Plain = builder.treat_as_cancelled(|_| panic!("the predicate is broken")).build();
    group.spawn(forever(alive.guard()));
    yield_now().await;
    let spawner = group.spawner();
    group.spawn(async move {
        spawner.cancel();
        Err::<(), _>("an answer to the cancel")
    });
    let join = timeout(Duration::from_secs(1), AssertUnwindSafe(group.join()).catch_unwind());
    let joined = join.await.expect("the group ends");
    assert!(!matches!(joined, Ok(Ok(()))), "either the panic or the error comes out");
    assert_eq!(alive.now(), 0);
}

/// A handle has nothing before the task has ended; then its value can be read, on another thread too.
#[tokio::test(start_paused = true)]
async fn line_43_test_subtask_when_success() {
    let (go, gone) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let early = group.spawn(pending::<Result<(), _>>());
    let task = group.spawn(async move { Ok(gone.await.unwrap()) });
    assert!(early.result().is_none() && task.result().is_none());
    assert!(early.into_result().unwrap_err().is_unfinished());
    let task = std::thread::spawn(move || {
        assert!(task.result().is_none());
        task
    })
    .join()
    .unwrap();
    go.send("foo").unwrap();
    task.wait_finished().await;
    group.cancel();
    group.join().await.unwrap();
    assert_eq!(*task.result().unwrap().unwrap(), "foo");
    let read_there = std::thread::spawn(move || task.into_result().unwrap()).join().unwrap();
    assert_eq!(read_there, "foo");
}

/// A failed task's handle has no value; it says that it failed, and the group has the error.
#[tokio::test(start_paused = true)]
async fn line_44_test_subtask_when_failed() {
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async { Err::<(), _>("no") });
    assert!(task.result().is_none());
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.first().unwrap().error(), Some(&"no"));
    assert_eq!(errors.first().unwrap().id(), task.id());
    assert!(task.result().unwrap().unwrap_err().is_failed());
    let error = task.into_result().unwrap_err();
    assert!(error.is_failed() && !error.is_cancelled() && error.reason().is_none());
}

/// A task that had no value when its group's join was dropped has none afterwards, and is no failure.
#[tokio::test(start_paused = true)]
async fn line_45_test_subtask_when_not_completed() {
    let group: Plain = TaskGroup::new();
    let task = group.spawn(pending::<Result<(), _>>());
    let mut join = Box::pin(group.join());
    assert!(futures::poll!(&mut join).is_pending());
    settle().await;
    assert!(task.result().is_none());
    drop(join);
    let error = task.result().unwrap().unwrap_err();
    assert!(error.is_cancelled() && !error.is_failed() && !error.never_started());
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::GroupDropped));
}

/// A task that is spawned after the cancel is told to be cancelled at once, and after the join too.
#[tokio::test(start_paused = true)]
async fn line_46_test_subtask_when_cancelled() {
    let polled = Arc::new(AtomicBool::new(false));
    let group: Plain = TaskGroup::new();
    group.cancel();
    let flag = Arc::clone(&polled);
    let task = group.spawn(async move {
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    assert!(task.result().unwrap().unwrap_err().never_started());
    group.join().await.unwrap();
    assert!(task.into_result().unwrap_err().never_started());
    assert!(!polled.load(Ordering::SeqCst));
}

/// Joining a group without tasks succeeds.
#[tokio::test(start_paused = true)]
async fn line_61_test_await_successful_or_throw1() {
    let group: Plain = TaskGroup::new();
    assert!(group.join().now_or_never().expect("nothing to wait for").is_ok());
}

/// When all tasks succeed the handles have the values, without an await.
#[tokio::test(start_paused = true)]
async fn line_62_test_await_successful_or_throw2() {
    let group: Plain = TaskGroup::new();
    let text = group.spawn(async { Ok("foo") });
    let number = group.spawn(async { Ok(7) });
    group.join().await.unwrap();
    assert_eq!((text.into_result().unwrap(), number.into_result().unwrap()), ("foo", 7));
}

/// When one fails the join gives its error, and the value of one that was done before stays.
#[tokio::test(start_paused = true)]
async fn line_63_test_await_successful_or_throw3() {
    let group: Plain = TaskGroup::new();
    let good = group.spawn(async { Ok("foo") });
    let bad = group.spawn(async { Err::<(), _>("no") });
    let errors = group.join().await.unwrap_err();
    let failures: Vec<_> = errors.failures().iter().map(|failure| *failure.error().unwrap()).collect();
    assert_eq!(failures, ["no"]);
    assert_eq!(good.into_result().unwrap(), "foo");
    assert!(bad.into_result().unwrap_err().is_failed());
}

/// A timeout fails also a group whose tasks' values nobody asks for, and a second run is refused.
#[tokio::test(start_paused = true)]
async fn line_64_test_await_successful_or_throw4() {
    let group: Plain = TaskGroup::builder().timeout(SECOND).build();
    group.spawn(async { Ok(()) });
    assert_cut_by_its_deadline(&group, SECOND).await;
    assert!(panic_of(group.run(async { Ok(()) })).await.contains("a second time"));
}

/// A group that continues on failure, and gets no task, succeeds.
#[tokio::test(start_paused = true)]
async fn line_66_test_all_until1() {
    let group: Plain = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    assert!(group.join().now_or_never().expect("nothing to wait for").is_ok());
}

/// A group that continues on failure lets the others end; each handle says how its task ended, and exit
/// still reports the failure (R7).
#[tokio::test(start_paused = true)]
async fn line_67_test_all_until2() {
    let group: Plain = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let bad = group.spawn(async { Err::<(), _>("no") });
    let good = group.spawn(async {
        sleep(Duration::from_secs(1)).await;
        Ok("foo")
    });
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors.first().unwrap().error(), Some(&"no"));
    assert!(errors.cause().is_none());
    assert_eq!(good.into_result().unwrap(), "foo");
    assert!(bad.into_result().unwrap_err().is_failed());
}

/// The first task to end stops the group: its handle has the value, the unfinished one's has none.
#[tokio::test(start_paused = true)]
async fn line_68_test_all_until3() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    let spawner = group.spawner();
    let first = group.spawn(async move {
        sleep(Duration::from_secs(1)).await;
        spawner.cancel();
        Ok("foo")
    });
    let second = group.spawn(forever(alive.guard()));
    let start = Instant::now();
    group.join().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(first.into_result().unwrap(), "foo");
    assert!(second.into_result().unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
}

/// Tasks stop the group after two failures while a thread goes on spawning: no task is lost, each has
/// either failed, and is reported, or was cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_69_test_all_until4() {
    let alive = Alive::new();
    let builder = TaskGroup::builder().on_failure(OnFailure::Continue).max_failures(usize::MAX);
    let group: Plain = builder.build();
    let (spawner, guards) = (group.spawner(), alive.clone());
    let owner = std::thread::spawn(move || {
        let failed = Arc::new(AtomicUsize::new(0));
        let mut tasks: Vec<Task<()>> = Vec::new();
        let mut after_the_stop = 0;
        while after_the_stop < 10 {
            after_the_stop += usize::from(spawner.is_cancelled());
            let (stop, guard, failed) = (spawner.clone(), guards.guard(), Arc::clone(&failed));
            tasks.push(spawner.spawn(async move {
                let _guard = guard;
                if failed.fetch_add(1, Ordering::SeqCst) >= 1 {
                    stop.cancel();
                }
                Err("no")
            }));
            std::thread::yield_now();
        }
        tasks
    });
    let errors = group.run(pending::<Result<(), _>>()).await.unwrap_err();
    let tasks = owner.join().unwrap();
    assert_eq!((alive.now(), alive.ever()), (0, tasks.len()));
    let ends: Vec<TaskError> = tasks.into_iter().map(|task| task.into_result().unwrap_err()).collect();
    let failed = ends.iter().filter(|end| end.is_failed()).count();
    let cancelled = ends.iter().filter(|end| end.is_cancelled()).count();
    assert!(failed >= 2 && cancelled >= 10, "{failed} failed, {cancelled} cancelled");
    assert_eq!(failed + cancelled, ends.len());
    assert_eq!((errors.len(), errors.more()), (failed, 0));
}

/// What was cut is said, also when failures stop nothing (R19); the handles have what there is.
#[tokio::test(start_paused = true)]
async fn line_71_test_all_until6() {
    let group: Plain = TaskGroup::builder().on_failure(OnFailure::Continue).timeout(SECOND).build();
    let done = group.spawn(async { Ok("done") });
    assert_cut_by_its_deadline(&group, SECOND).await;
    assert_eq!(done.into_result().unwrap(), "done");
}

/// Spawning and waiting may take turns; what an earlier round gave stays readable in the next.
#[tokio::test(start_paused = true)]
async fn line_78_test_fork_after_join() {
    let group: Plain = TaskGroup::new();
    let mut tasks = Vec::new();
    for round in 0..3 {
        tasks.push(group.spawn(async move {
            sleep(Duration::from_secs(1)).await;
            Ok(round)
        }));
        assert!(tasks[round].result().is_none());
        group.wait_idle().await;
        for (earlier, task) in tasks.iter().enumerate() {
            assert_eq!(*task.result().unwrap().unwrap(), earlier);
        }
    }
    group.join().await.unwrap();
}

/// Inside an inner scope one may spawn into the outer group: the inner scope does not wait for that task,
/// the outer one does.
#[tokio::test(start_paused = true)]
async fn line_79_test_fork_confined_tree() {
    let start = Instant::now();
    let (of_outer, of_inner) = scope(async |outer: &TaskGroup| {
        let tasks = scope(async |inner: &TaskGroup| {
            let of_outer = outer.spawn(async {
                sleep(Duration::from_secs(9)).await;
                Ok("outer")
            });
            let of_inner = inner.spawn(async {
                sleep(Duration::from_secs(2)).await;
                Ok("inner")
            });
            Ok((of_outer, of_inner))
        })
        .await?;
        assert_eq!(start.elapsed().as_secs(), 2);
        assert!(!tasks.0.is_finished() && tasks.1.is_finished());
        Ok(tasks)
    })
    .await
    .unwrap();
    assert_eq!(start.elapsed().as_secs(), 9);
    assert_eq!((of_outer.into_result().unwrap(), of_inner.into_result().unwrap()), ("outer", "inner"));
}

/// Waiting for the tasks can be given up and tried again without harm: `wait_idle` is the wait for that.
#[tokio::test(start_paused = true)]
async fn line_80_test_join_until3() {
    let group: Plain = TaskGroup::new();
    let task = group.spawn(async {
        sleep(Duration::from_secs(10)).await;
        Ok("foo")
    });
    for _ in 0..3 {
        assert!(timeout(Duration::from_secs(1), group.wait_idle()).await.is_err());
        assert!(!task.is_finished() && !group.is_cancelled());
    }
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), "foo");
}

/// A task that cancels its own group goes on to its next wait, and is cut there; if it ends before one, its
/// value counts (R12).
#[tokio::test(start_paused = true)]
async fn line_81_test_shutdown_interrupts_threads2() {
    let group: Plain = TaskGroup::new();
    let spawner = group.spawner();
    let ends = group.spawn(async move {
        spawner.cancel();
        assert!(taskgroup::is_cancelled());
        Ok("went on")
    });
    group.join().await.unwrap();
    assert_eq!(ends.into_result().unwrap(), "went on");

    let steps = Arc::new(AtomicUsize::new(0));
    let group: Plain = TaskGroup::new();
    let (spawner, step) = (group.spawner(), Arc::clone(&steps));
    let waits = group.spawn(async move {
        spawner.cancel();
        step.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        step.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    group.join().await.unwrap();
    assert!(waits.into_result().unwrap_err().is_cancelled());
    assert_eq!(steps.load(Ordering::SeqCst), 1);
}

/// A task that cancels its group wakes the body, which is cut although that task runs on; exit waits for it.
#[tokio::test(start_paused = true)]
async fn line_82_test_shutdown_wakes_join() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let (body_gone, is_body_gone) = mpsc::channel::<()>();
    let group: Plain = TaskGroup::new();
    let (spawner, says) = (group.spawner(), Arc::clone(&order));
    let task = group.spawn_blocking(move |_token| {
        spawner.cancel();
        // Nobody ever sends: the channel closes when the body's future has been dropped.
        is_body_gone.recv().unwrap_err();
        says.lock().unwrap().push("body gone, task still running");
        Ok("foo")
    });
    let says = Arc::clone(&order);
    let errors = group
        .run(async move {
            let _body_gone = body_gone;
            pending::<()>().await;
            says.lock().unwrap().push("the body went on");
            Ok(())
        })
        .await
        .unwrap_err();
    order.lock().unwrap().push("exit");
    assert!(errors.is_cancelled());
    assert_eq!(*order.lock().unwrap(), ["body gone, task still running", "exit"]);
    assert_eq!(task.into_result().unwrap(), "foo");
}

/// A task that waits when the cancel comes has no value, not even if what it waits for comes right after;
/// one that is spawned afterwards neither.
#[tokio::test(start_paused = true)]
async fn line_83_test_handle_complete_after_shutdown() {
    let (go, gone) = oneshot::channel();
    let group: Plain = TaskGroup::new();
    let waits = group.spawn(async move { Ok(gone.await.unwrap()) });
    settle().await;
    group.cancel();
    go.send("too late").unwrap();
    let after = group.spawn(async { Ok("too late") });
    group.join().await.unwrap();
    let error = waits.into_result().unwrap_err();
    assert!(error.is_cancelled() && !error.never_started());
    assert!(after.into_result().unwrap_err().never_started());
}

/// What is spawned after the last wait is unjoined: the group's end still waits for it, a drop ends it.
#[tokio::test(start_paused = true)]
async fn line_84_test_close_without_join3() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    group.spawn(async { Ok(()) });
    group.wait_idle().await;
    let late = group.spawn(async {
        sleep(Duration::from_secs(3)).await;
        Ok("joined")
    });
    let start = Instant::now();
    group.join().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(late.into_result().unwrap(), "joined");

    let group: Plain = TaskGroup::new();
    group.spawn(async { Ok(()) });
    group.wait_idle().await;
    let late = group.spawn(forever(alive.guard()));
    drop(group);
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    assert!(late.into_result().unwrap_err().is_cancelled());
}

/// Whoever holds a handle may ask it, at any time: before the end it has nothing, after the group is gone
/// it still knows (R11).
#[tokio::test(start_paused = true)]
async fn line_85_test_ensure_owner_and_joined() {
    let group: Plain = TaskGroup::new();
    let cut = group.spawn(pending::<Result<(), _>>());
    let done = group.spawn(async {
        sleep(Duration::from_secs(1)).await;
        Ok("foo")
    });
    let asker = group.spawn(async move {
        let before = done.result().is_none();
        done.wait_finished().await;
        Ok((before, done.into_result()))
    });
    asker.wait_finished().await;
    assert!(cut.result().is_none());
    drop(group);
    let (before, after) = asker.into_result().unwrap();
    assert!(before);
    assert_eq!(after.unwrap(), "foo");
    assert!(cut.into_result().unwrap_err().is_cancelled());
}

/// Endless tasks before and after one that cancels the group, in all 256 numbers: the group always ends,
/// with every task dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_86_test_256_combinations() {
    for (before, after) in (0..16).flat_map(|before| (0..16).map(move |after| (before, after))) {
        let alive = Alive::new();
        let group: Plain = TaskGroup::new();
        let mut endless: Vec<_> = (0..before).map(|_| group.spawn(forever(alive.guard()))).collect();
        let spawner = group.spawner();
        let stops = group.spawn(async move {
            spawner.cancel();
            Ok("stopped")
        });
        endless.extend((0..after).map(|_| group.spawn(forever(alive.guard()))));
        group.join().await.unwrap();
        assert_eq!((alive.now(), alive.ever()), (0, before + after));
        assert_eq!(stops.into_result().unwrap(), "stopped");
        assert!(endless.into_iter().all(|task| task.into_result().unwrap_err().is_cancelled()));
    }
}
