//! tokio's `JoinSet`, with its abort handles.

use std::collections::BTreeSet;
use std::future::{Future, pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{CancelReason, CancelScope, OnPanic, Task, TaskGroup, timeout, timeout_at};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, advance, sleep};

use super::support::{Alive, Guard};

/// A child that holds the guard until it is cut, and says when it has been polled.
fn hold(group: &TaskGroup, guard: Guard) -> (Task<()>, oneshot::Receiver<()>) {
    let (started, has_started) = oneshot::channel();
    let task = group.spawn(async move {
        let _guard = guard;
        let _ = started.send(());
        pending().await
    });
    (task, has_started)
}

/// The length grows with every spawn, each of ten sleepers ends once, and an idle group takes a second round.
#[tokio::test(start_paused = true)]
async fn line_01_test_with_sleep() {
    let group: TaskGroup = TaskGroup::new();
    let ended = Arc::new(AtomicUsize::new(0));
    group.wait_idle().await;
    for round in 1..=2 {
        let mut tasks = Vec::new();
        for number in 0..10_u64 {
            assert_eq!(group.len(), tasks.len());
            let ended = Arc::clone(&ended);
            tasks.push(group.spawn(async move {
                sleep(Duration::from_millis(10 * number)).await;
                ended.fetch_add(1, Ordering::SeqCst);
                Ok(number)
            }));
        }
        assert_eq!(group.len(), 10);
        group.wait_idle().await;
        assert!(group.is_empty());
        assert_eq!(ended.load(Ordering::SeqCst), 10 * round);
        let values: Vec<_> = tasks.into_iter().map(|task| task.into_result().unwrap()).collect();
        assert_eq!(values, (0..10).collect::<Vec<_>>());
    }
    group.join().await.unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 20);
}

/// With one joined and one spawned in turn, the length is one after each join and two after each spawn.
#[tokio::test(start_paused = true)]
async fn line_03_alternating() {
    let group: TaskGroup = TaskGroup::new();
    let spawn = || {
        group.spawn(async {
            sleep(Duration::from_millis(1)).await;
            Ok(())
        })
    };
    let (mut older, mut newer) = (spawn(), spawn());
    assert_eq!(group.len(), 2);
    for _ in 0..16 {
        newer.cancel();
        newer.await.unwrap_err();
        assert_eq!(group.len(), 1);
        newer = spawn();
        assert_eq!(group.len(), 2);
        std::mem::swap(&mut older, &mut newer);
    }
    group.join().await.unwrap();
}

/// Cancelling eight of sixteen through their handles gives eight cancelled and eight values, and no failure.
#[tokio::test(start_paused = true)]
async fn line_04_abort_tasks() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> = (0..16_u64)
        .map(|number| {
            group.spawn(async move {
                sleep(Duration::from_secs(number)).await;
                Ok(number)
            })
        })
        .collect();
    tokio::task::yield_now().await;
    tasks.iter().skip(1).step_by(2).for_each(Task::cancel);
    group.join().await.unwrap();
    let (values, errors): (Vec<_>, Vec<_>) =
        tasks.into_iter().map(Task::into_result).partition(Result::is_ok);
    let values: Vec<_> = values.into_iter().map(Result::unwrap).collect();
    assert_eq!(values, [0, 2, 4, 6, 8, 10, 12, 14]);
    assert_eq!(errors.len(), 8);
    assert!(errors.iter().all(|error| error.as_ref().is_err_and(|error| error.is_cancelled())));
}

/// When the runtime of the children is gone they are cancelled, also those spawned later, and nobody hangs.
#[test]
fn line_05_runtime_gone() {
    let (gone, runtime) =
        (Builder::new_current_thread().build().unwrap(), Builder::new_current_thread().build().unwrap());
    let alive = Alive::new();
    let group = gone.block_on(async { TaskGroup::new() });
    let (polled, has_started) = hold(&group, alive.guard());
    gone.block_on(has_started).unwrap();
    let (unpolled, _) = hold(&group, alive.guard());
    assert_eq!((group.len(), alive.now()), (2, 2));
    drop(gone);
    assert_eq!((group.len(), alive.now()), (0, 0));
    let (late, _) = hold(&group, alive.guard());
    runtime.block_on(async {
        for (task, never_started) in [(polled, false), (unpolled, true), (late, true)] {
            let error = task.await.unwrap_err();
            assert_eq!((error.is_cancelled(), error.never_started()), (true, never_started));
            assert_eq!(error.reason().unwrap().reason(), &CancelReason::RuntimeShutdown);
        }
        group.join().await.unwrap();
    });
    assert_eq!(alive.now(), 0);
}

/// When all succeed, all values are there, in the order of the handles.
#[tokio::test(start_paused = true)]
async fn line_06_join_all() {
    let values = taskgroup::scope(async |tg: &TaskGroup| {
        let tasks: Vec<_> = (0..5).map(|number| tg.spawn(async move { Ok(number) })).collect();
        Ok(futures::future::try_join_all(tasks).await?)
    })
    .await
    .unwrap();
    assert_eq!(values, [0, 1, 2, 3, 4]);
}

/// R10: a panic cuts the others, and is resumed in the host when they have been dropped.
#[tokio::test(start_paused = true)]
async fn line_07_task_panics() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let (sender, mut receiver) = oneshot::channel();
    let guard = alive.guard();
    let sleeper = group.spawn(async move {
        let _guard = guard;
        sleep(Duration::from_secs(5)).await;
        let _ = sender.send(());
        Ok(())
    });
    let panicking = group.spawn(async {
        sleep(Duration::from_secs(1)).await;
        if true {
            panic!("one of them");
        }
        Ok(())
    });
    let before = tokio::time::Instant::now();
    let payload = AssertUnwindSafe(group.join()).catch_unwind().await.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"one of them"));
    assert_eq!((before.elapsed(), alive.now()), (Duration::from_secs(1), 0));
    assert_eq!(receiver.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    assert!(panicking.into_result().unwrap_err().is_panicked());
    assert!(sleeper.into_result().unwrap_err().is_cancelled());
}

/// Cancelling a group of five endless and five finished children ends all ten; the finished keep their values.
#[tokio::test(start_paused = true)]
async fn line_08_abort_all() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let endless: Vec<_> = (0..5).map(|_| hold(&group, alive.guard()).0).collect();
    let finished: Vec<_> = (0..5).map(|number| group.spawn(async move { Ok(number) })).collect();
    assert_eq!((group.len(), alive.now()), (10, 5));
    for task in &finished {
        task.wait_finished().await;
    }
    assert_eq!((group.len(), alive.now()), (5, 5));
    group.cancel();
    group.wait_idle().await;
    assert_eq!((group.len(), alive.now()), (0, 0));
    for task in endless {
        let error = task.into_result().unwrap_err();
        assert!(error.is_cancelled() && !error.never_started());
    }
    let values: Vec<_> = finished.into_iter().map(|task| task.into_result().unwrap()).collect();
    assert_eq!(values, [0, 1, 2, 3, 4]);
    group.join().await.unwrap();
}

/// A host that awaits a thousand finished children lets others run in between, and loses none of them.
#[tokio::test(start_paused = true)]
async fn line_09_join_set_coop() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> = (0..1000).map(|number| group.spawn(async move { Ok(number) })).collect();
    group.wait_idle().await;
    let mut joining = pin!(async {
        let mut values = Vec::new();
        for task in tasks {
            values.push(task.await.unwrap());
        }
        values
    });
    let mut polls = 0;
    let values = poll_fn(|cx| {
        polls += 1;
        joining.as_mut().poll(cx)
    })
    .await;
    assert_eq!(values, (0..1000).collect::<Vec<_>>());
    assert!(polls > 1, "a thousand joins in one poll");
    group.join().await.unwrap();
}

/// Asking without waiting gives nothing while nothing has ended, and every result once all have.
#[tokio::test(start_paused = true)]
async fn line_10_try_join_next() {
    let group: TaskGroup = TaskGroup::new();
    let gate = Arc::new(Semaphore::new(0));
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let gate = Arc::clone(&gate);
            group.spawn(async move {
                gate.acquire().await?.forget();
                Ok(number)
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(tasks.iter().all(|task| task.result().is_none() && !task.is_finished()));
    assert_eq!(group.len(), 1000);
    gate.add_permits(1000);
    group.wait_idle().await;
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(*task.result().unwrap().unwrap(), number);
        assert_eq!(task.into_result().unwrap(), number);
    }
    assert!(group.is_empty());
    group.join().await.unwrap();
}

/// The ids that the children see for themselves are those of their handles, each once.
#[tokio::test(start_paused = true)]
async fn line_11_try_join_next_with_id() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> =
        (0..1000).map(|_| group.spawn(async { Ok(taskgroup::current().unwrap().id()) })).collect();
    let spawned: BTreeSet<_> = tasks.iter().map(Task::id).collect();
    assert!(tasks.iter().all(|task| task.result().is_none()));
    group.join().await.unwrap();
    let joined: BTreeSet<_> = tasks.into_iter().map(|task| task.into_result().unwrap()).collect();
    assert_eq!(spawned.len(), 1000);
    assert_eq!(joined, spawned);
}

/// From an iterator of futures each is spawned once, and may be, more at a time, into a group in use.
#[tokio::test(start_paused = true)]
async fn line_12_extend() {
    let group: TaskGroup = TaskGroup::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let futures = |numbers: std::ops::Range<u32>| {
        let seen = Arc::clone(&seen);
        numbers.map(move |number| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push(number);
                Ok(())
            }
        })
    };
    futures(0..5).for_each(|future| drop(group.spawn(future)));
    let spawner = group.spawner();
    futures(5..9).for_each(|future| drop(spawner.spawn(future)));
    assert_eq!(group.len(), 9);
    group.join().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (0..9).collect::<Vec<_>>());
}

/// A child that has ended, on another thread, is out of its group's books (R1), at whatever moment it is
/// joined; dropping a group with a child left is clean.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn line_25_test_join_set() {
    for _ in 0..5_000 {
        let group: TaskGroup = TaskGroup::new();
        let alive = Alive::new();
        let (left, _) = hold(&group, alive.guard());
        assert_eq!(group.len(), 1);
        let ending = group.spawn(async { Ok(7) });
        // Looked at without a pause, so that it is joined in the moment in which it ends.
        while !ending.is_finished() {
            std::hint::spin_loop();
        }
        assert_eq!((group.len(), ending.await.unwrap()), (1, 7));
        drop(group);
        assert_eq!(alive.now(), 0);
        assert!(left.into_result().unwrap_err().is_cancelled());
    }
}

/// Cancelling a sleeping child, again and again, panics nobody, and the runtime goes on.
#[tokio::test(start_paused = true)]
async fn line_27_test_abort_without_panic_3157() {
    let group: TaskGroup = TaskGroup::new();
    for polled in [false, true] {
        let task = group.spawn(async {
            sleep(Duration::from_secs(3600)).await;
            Ok(())
        });
        if polled {
            tokio::task::yield_now().await;
        }
        task.cancel();
        task.cancel();
        let error = task.await.unwrap_err();
        assert_eq!((error.is_cancelled(), error.never_started()), (true, !polled));
    }
    let after = group.spawn(async {
        sleep(Duration::from_millis(1)).await;
        Ok("alive")
    });
    assert_eq!(after.await.unwrap(), "alive");
    group.join().await.unwrap();
}

/// Cancelled from a foreign thread, a child of a current-thread runtime has dropped its values when it is joined.
#[test]
fn line_28_test_abort_without_panic_3662() {
    struct DroppedOn(Arc<Mutex<Option<std::thread::ThreadId>>>);
    impl Drop for DroppedOn {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = Some(std::thread::current().id());
        }
    }
    let dropped_on = Arc::new(Mutex::new(None));
    let captured = DroppedOn(Arc::clone(&dropped_on));
    Builder::new_current_thread().build().unwrap().block_on(async {
        let group: TaskGroup = TaskGroup::new();
        let (started, has_started) = oneshot::channel();
        let task = group.spawn(async move {
            let _captured = captured;
            let _ = started.send(());
            pending::<()>().await;
            Ok(())
        });
        has_started.await.unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| task.cancel_because("from afar"));
        });
        // The request alone drops nothing: the runtime's thread does.
        assert!(dropped_on.lock().unwrap().is_none());
        let error = task.await.unwrap_err();
        assert_eq!(error.reason().unwrap().to_string(), "from afar");
        assert_eq!(*dropped_on.lock().unwrap(), Some(std::thread::current().id()));
        group.join().await.unwrap();
    });
}

/// A child whose handle is dropped after the cancel is woken and dropped all the same, the group still open.
#[tokio::test(start_paused = true)]
async fn line_30_test_abort_wakes_task_3964() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let (task, has_started) = hold(&group, alive.guard());
    has_started.await.unwrap();
    task.cancel();
    drop(task);
    assert_eq!(alive.now(), 1);
    group.wait_idle().await;
    assert_eq!(alive.now(), 0);
    assert!(!group.is_cancelled());
    group.join().await.unwrap();
}

fn collecting() -> TaskGroup {
    TaskGroup::builder().on_panic(OnPanic::Collect).build()
}

/// What a panic said is in the text of its failure and of the group; a handle names the task and sends there.
#[tokio::test(start_paused = true)]
async fn line_33_test_join_error_display() {
    let group = collecting();
    let task =
        group.task().name("fragile").spawn(async { if true { panic!("broke in {}", 2) } else { Ok(()) } });
    let error = group.join().await.unwrap_err();
    for text in [error.to_string(), format!("{error:#}"), error.first().unwrap().to_string()] {
        assert!(text.contains("fragile") && text.contains("panicked: broke in 2"), "{text}");
    }
    let handle = task.into_result().unwrap_err().to_string();
    assert!(handle.contains("fragile") && handle.contains("panicked"), "{handle}");

    let group = collecting();
    group.spawn(async { if true { std::panic::panic_any(5) } else { Ok(()) } });
    let text = group.join().await.unwrap_err().to_string();
    assert!(text.contains("panicked with a payload that is not a text"), "{text}");
}

/// So is it in the `Debug` texts.
#[tokio::test(start_paused = true)]
async fn line_34_test_join_error_debug() {
    let group = collecting();
    let task = group.task().name("fragile").spawn(async { if true { panic!("broke") } else { Ok(()) } });
    let error = group.join().await.unwrap_err();
    let failure = error.first().unwrap();
    for text in [format!("{error:?}"), format!("{failure:?}")] {
        assert!(text.contains("fragile") && text.contains("panicked: broke"), "{text}");
    }
    assert!(format!("{:?}", failure.panic().unwrap()).contains("broke"));
    let handle = format!("{:?}", task.into_result().unwrap_err());
    assert!(handle.contains("fragile") && handle.contains("panicked"), "{handle}");
}

/// Polls by hand, and counts how often it is woken.
struct Polled<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> Polled<F> {
    fn new(future: F) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.wakes.0.load(Ordering::SeqCst) > 0
    }
}

const LIMIT: Duration = Duration::from_millis(100);

/// A future that is under a limit of 100 ms waits for either, and what completes in time wakes it and gives
/// its value.
async fn completes_in_time<F, E>(limited: impl FnOnce(oneshot::Receiver<u32>) -> F)
where
    F: Future<Output = Result<Result<u32, oneshot::error::RecvError>, E>>,
    E: std::fmt::Debug,
{
    let (sender, receiver) = oneshot::channel();
    let mut limited = Polled::new(limited(receiver));
    assert!(limited.poll().is_pending());
    advance(LIMIT * 9 / 10).await;
    assert!(!limited.is_woken());
    assert!(limited.poll().is_pending());
    sender.send(7).unwrap();
    assert!(limited.is_woken());
    assert!(matches!(limited.poll(), Poll::Ready(Ok(Ok(7)))));
}

/// When the future is ready and the deadline is now, the value wins.
#[tokio::test(start_paused = true)]
async fn line_35_simultaneous_deadline_future_completion() {
    let mut limited = Polled::new(timeout_at(Instant::now(), async { 7 }));
    let Poll::Ready(result) = limited.poll() else { panic!("it is ready at once") };
    assert_eq!(result.unwrap(), 7);
    let scope = CancelScope::deadline(Instant::now());
    let handle = scope.handle();
    assert_eq!(scope.run(async { 8 }).await.unwrap(), 8);
    assert!(handle.reschedule(None).unwrap_err().has_ended());
}

/// With a deadline ahead it is pending, and woken by the completion, which comes first.
#[tokio::test(start_paused = true)]
async fn line_37_future_and_deadline_in_future() {
    completes_in_time(|receiver| timeout_at(Instant::now() + LIMIT, receiver)).await;
    completes_in_time(|receiver| CancelScope::deadline(Instant::now() + LIMIT).run(receiver)).await;
}

/// So it is with a limit that is relative.
#[tokio::test(start_paused = true)]
async fn line_38_future_and_timeout_in_future() {
    completes_in_time(|receiver| timeout(LIMIT, receiver)).await;
    completes_in_time(|receiver| CancelScope::timeout(LIMIT).run(receiver)).await;
}

/// The longest duration there is does not overflow, and is no limit: for a future and for a group.
#[tokio::test(start_paused = true)]
async fn line_39_very_large_timeout() {
    let day = Duration::from_secs(24 * 3600);
    let (sender, receiver) = oneshot::channel();
    let mut limited = Polled::new(timeout(Duration::MAX, receiver));
    let group: TaskGroup = TaskGroup::builder().timeout(Duration::MAX).build();
    let task = group.spawn(async move {
        sleep(20 * day).await;
        Ok(8)
    });
    assert!(limited.poll().is_pending());
    advance(10 * day).await;
    assert!(!limited.is_woken());
    assert!(limited.poll().is_pending());
    sender.send(7).unwrap();
    assert!(limited.is_woken());
    assert!(matches!(limited.poll(), Poll::Ready(Ok(Ok(7)))));
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), 8);
}

/// When the future is pending and the deadline is now, it elapses without any waiting, and what it held is
/// dropped.
#[tokio::test(start_paused = true)]
async fn line_40_deadline_now_elapses() {
    let (began, alive) = (Instant::now(), Alive::new());
    let guard = alive.guard();
    let limited = timeout_at(began, async move {
        let _guard = guard;
        pending::<()>().await
    });
    assert_eq!(alive.now(), 1);
    let error = limited.await.unwrap_err();
    assert_eq!((error.after(), alive.now()), (Duration::ZERO, 0));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// A deadline ahead wakes its future when it comes, and not before, and then it elapses.
#[tokio::test(start_paused = true)]
async fn line_41_deadline_future_elapses() {
    let alive = Alive::new();
    let guard = alive.guard();
    let mut limited = Polled::new(timeout_at(Instant::now() + LIMIT, async move {
        let _guard = guard;
        pending::<()>().await
    }));
    assert!(limited.poll().is_pending());
    let last = Duration::from_millis(1);
    advance(LIMIT - last).await;
    assert!(!limited.is_woken());
    assert_eq!(alive.now(), 1);
    advance(last).await;
    assert!(limited.is_woken());
    let Poll::Ready(result) = limited.poll() else { panic!("its time is over") };
    assert_eq!(result.unwrap_err().after(), LIMIT);
    assert_eq!(alive.now(), 0);
}

/// What aborts when it is dropped is the group, and its child is gone before the drop returns (R2).
#[tokio::test(start_paused = true)]
async fn line_43_aborts_task_on_drop() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let (task, has_started) = hold(&group, alive.guard());
    has_started.await.unwrap();
    assert!(!task.is_finished());
    drop(group);
    assert!(task.is_finished());
    assert_eq!(alive.now(), 0);
    let error = task.into_result().unwrap_err();
    assert_eq!(error.reason().unwrap().reason(), &CancelReason::GroupDropped);
}

/// A child that is cancelled by its handle has ended, and says so; its group has not.
#[tokio::test(start_paused = true)]
async fn line_44_aborts_task_directly() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let (task, has_started) = hold(&group, alive.guard());
    has_started.await.unwrap();
    task.cancel();
    assert!(!task.is_finished());
    task.wait_finished().await;
    assert!(task.is_finished() && task.into_result().unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
    assert!(!group.is_cancelled());
    group.join().await.unwrap();
}

/// Dropping the handle lets the child run on, to be waited for by its group (R11).
#[tokio::test(start_paused = true)]
async fn line_45_does_not_abort_after_detach() {
    let group: TaskGroup = TaskGroup::new();
    let (done, mut is_done) = oneshot::channel();
    drop(group.spawn(async move {
        sleep(Duration::from_secs(1)).await;
        let _ = done.send(());
        Ok(())
    }));
    tokio::task::yield_now().await;
    assert_eq!(group.len(), 1);
    assert_eq!(is_done.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    group.join().await.unwrap();
    assert_eq!(is_done.try_recv(), Ok(()));
}

/// Dropping the future of `run` in the middle drops the child before the drop returns (R2).
#[tokio::test(start_paused = true)]
async fn line_46_handle_aborts_task_on_drop() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let (task, has_started) = hold(&group, alive.guard());
    {
        let mut run = pin!(group.run(pending::<anyhow::Result<()>>()));
        assert!(run.as_mut().now_or_never().is_none());
        has_started.await.unwrap();
        assert!(run.as_mut().now_or_never().is_none());
        assert_eq!((alive.now(), task.is_finished()), (1, false));
    }
    assert_eq!((alive.now(), task.is_finished()), (0, true));
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// A `Spawner` cancels from afar: the child ends, and so does the group, in order.
#[tokio::test(start_paused = true)]
async fn line_47_handle_aborts_task_directly() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let (task, has_started) = hold(&group, alive.guard());
    has_started.await.unwrap();
    let spawner = group.spawner();
    spawner.cancel();
    assert!(!task.is_finished());
    group.join().await.unwrap();
    assert!(task.is_finished() && spawner.is_closed());
    assert_eq!(alive.now(), 0);
}

/// Dropping a `Spawner`, and the handle it gave, leaves the child running.
#[tokio::test(start_paused = true)]
async fn line_48_handle_does_not_abort_after_detach() {
    let group: TaskGroup = TaskGroup::new();
    let (done, mut is_done) = oneshot::channel();
    let spawner = group.spawner();
    let task = spawner.spawn(async move {
        sleep(Duration::from_secs(1)).await;
        let _ = done.send(());
        Ok(())
    });
    tokio::task::yield_now().await;
    drop(spawner);
    drop(task);
    assert_eq!((group.len(), group.is_cancelled()), (1, false));
    assert_eq!(is_done.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    group.join().await.unwrap();
    assert_eq!(is_done.try_recv(), Ok(()));
}
