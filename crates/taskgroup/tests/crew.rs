//! Children as a runtime polls them: who waits for whom, on runtimes of every kind. Nothing here depends on time;
//! a test that hangs fails after a limit.

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{Alive, multi_thread};
use taskgroup::{TaskGroup, scope};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

/// Real time, only to fail.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs `program` on a thread of its own; one that hangs fails the test.
fn within_limit<T: Send + 'static>(what: &str, program: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let value = program();
        let _ = done.send(());
        value
    });
    match is_done.recv_timeout(LIMIT) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }
        Err(RecvTimeoutError::Timeout) => panic!("{what} hangs"),
    }
}

#[test]
fn children_that_block_their_threads_meet() {
    for workers in 2..=4 {
        for _ in 0..50 {
            within_limit("a barrier of children", move || {
                let runtime = multi_thread(workers);
                let barrier = Arc::new(Barrier::new(workers));
                runtime.block_on(async {
                    scope(async |tg: &TaskGroup| {
                        for _ in 0..workers {
                            let barrier = Arc::clone(&barrier);
                            tg.spawn(async move {
                                barrier.wait();
                                Ok(())
                            });
                        }
                        Ok(())
                    })
                    .await
                    .unwrap();
                });
            });
        }
    }
}

#[test]
fn a_blocked_child_that_has_woken_others_keeps_only_the_last() {
    for _ in 0..50 {
        within_limit("a child that waits for those it has spawned", || {
            let runtime = multi_thread(4);
            runtime.block_on(async {
                scope(async |tg: &TaskGroup| {
                    let spawner = tg.spawner();
                    tg.spawn(async move {
                        let barrier = Arc::new(Barrier::new(3));
                        for _ in 0..2 {
                            let barrier = Arc::clone(&barrier);
                            spawner.spawn(async move {
                                barrier.wait();
                                Ok(())
                            });
                        }
                        spawner.spawn(async { Ok(()) });
                        barrier.wait();
                        Ok(())
                    });
                    Ok(())
                })
                .await
                .unwrap();
            });
        });
    }
}

/// Runtimes of every kind.
fn runtimes() -> Vec<Runtime> {
    let current_thread = Builder::new_current_thread().enable_all().build().unwrap();
    vec![current_thread, multi_thread(1), multi_thread(2), multi_thread(4)]
}

/// Fails where the runtime keeps a task.
async fn assert_no_task_left() {
    let began = std::time::Instant::now();
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 0 {
        assert!(began.elapsed() < LIMIT, "{} tasks are left in the runtime", metrics.num_alive_tasks());
        yield_now().await;
    }
}

#[test]
fn a_child_waits_in_place_for_siblings_spawned_before_and_after_it() {
    for workers in [1, 2, 4] {
        within_limit("a child in block_in_place", move || {
            multi_thread(workers).block_on(async {
                let group: TaskGroup = TaskGroup::new();
                let (wake, woken) = tokio::sync::oneshot::channel::<()>();
                let (hand, handed) = tokio::sync::oneshot::channel();
                let before = group.spawn(async move { woken.await.map_err(Into::into) });
                group.spawn(async move {
                    let after: taskgroup::Task<()> = handed.await.unwrap();
                    tokio::task::block_in_place(|| {
                        wake.send(()).unwrap();
                        let handle = tokio::runtime::Handle::current();
                        handle.block_on(async {
                            before.await.unwrap();
                            after.await.unwrap();
                        });
                    });
                    Ok(())
                });
                let task = group.spawn(async {
                    yield_now().await;
                    Ok(())
                });
                assert!(hand.send(task).is_ok());
                group.join().await.unwrap();
            });
        });
    }
}

#[test]
fn drivers_leave_the_runtime_with_the_last_child() {
    for runtime in runtimes() {
        let alive = Alive::new();
        runtime.block_on(async {
            for end in 0..4 {
                let group: TaskGroup = TaskGroup::new();
                for turns in 0..20 {
                    let guard = alive.guard();
                    group.spawn(async move {
                        let _guard = guard;
                        for _ in 0..turns {
                            yield_now().await;
                        }
                        match end {
                            0 => Ok(()),
                            1 if turns == 3 => Err(taskgroup::Error::msg("no")),
                            _ => pending().await,
                        }
                    });
                }
                yield_now().await;
                match end {
                    0 => group.join().await.unwrap(),
                    1 => drop(group.join().await.unwrap_err()),
                    2 => {
                        group.cancel();
                        group.join().await.unwrap();
                    }
                    _ => drop(group),
                }
                assert_eq!(alive.now(), 0);
                assert_no_task_left().await;
            }
        });
    }
}

#[test]
fn children_end_with_their_runtime() {
    for runtime in runtimes() {
        let alive = Alive::new();
        let guarded = || {
            let guard = alive.guard();
            async move {
                let _guard = guard;
                pending::<Result<(), taskgroup::Error>>().await
            }
        };
        let (group, eager_only, mut tasks) = runtime.block_on(async {
            let (group, eager_only) = (TaskGroup::new(), TaskGroup::new());
            let mut tasks = vec![group.spawn(guarded()), eager_only.task().eager().spawn(guarded())];
            yield_now().await;
            // Nobody comes to poll this one where there is one thread.
            tasks.push(group.spawn(guarded()));
            (group, eager_only, tasks)
        });
        drop(runtime);
        assert_eq!(alive.now(), 0);
        tasks.extend([group.spawn(guarded()), group.task().eager().spawn(guarded())]);
        assert_eq!(alive.now(), 0, "spawned too late");
        for task in tasks {
            let error = task.into_result().unwrap_err();
            assert!(error.is_cancelled(), "{error}");
            assert!(
                matches!(error.reason().unwrap().reason(), taskgroup::CancelReason::RuntimeShutdown),
                "{error}"
            );
        }
        within_limit("the exit", || {
            let other = Builder::new_current_thread().build().unwrap();
            other.block_on(group.join()).unwrap();
            other.block_on(eager_only.join()).unwrap();
        });
    }
}

async fn children_stay_in_step<Y: Future<Output = ()> + Send>(
    children: usize,
    rounds: usize,
    yields: impl Fn() -> Y + Clone + Send + Sync + 'static,
) {
    let reached: Arc<Vec<AtomicUsize>> = Arc::new((0..=rounds).map(|_| AtomicUsize::new(0)).collect());
    let group: TaskGroup = TaskGroup::new();
    for _ in 0..children {
        let (reached, yields) = (Arc::clone(&reached), yields.clone());
        group.spawn(async move {
            for round in 1..=rounds {
                yields().await;
                reached[round].fetch_add(1, Ordering::SeqCst);
                let behind = reached[round - 1].load(Ordering::SeqCst);
                assert!(round == 1 || behind == children, "{behind} have come to round {}", round - 1);
            }
            Ok(())
        });
    }
    group.join().await.unwrap();
    assert_eq!(reached[rounds].load(Ordering::SeqCst), children);
}

#[tokio::test]
async fn children_that_yield_stay_in_step() {
    children_stay_in_step(1_000, 50, || {
        let mut has_yielded = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    })
    .await;
}

/// tokio wakes some of them in the middle of a round, and the latest first.
#[tokio::test]
async fn children_that_yield_by_tokio_stay_in_step() {
    children_stay_in_step(1_000, 1_000, yield_now).await;
    children_stay_in_step(5_000, 50, yield_now).await;
}

#[tokio::test]
async fn children_that_wake_themselves_let_others_of_the_runtime_run() {
    let polls = Arc::new(AtomicUsize::new(0));
    let group: TaskGroup = TaskGroup::new();
    for _ in 0..2 {
        let polls = Arc::clone(&polls);
        group.spawn(poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::SeqCst);
            cx.waker().wake_by_ref();
            Poll::<Result<(), _>>::Pending
        }));
    }
    for _ in 0..20 {
        yield_now().await;
    }
    drop(group);
    // tokio looks at who has yielded after 61 polls of tasks.
    let polls = polls.load(Ordering::SeqCst);
    assert!(polls <= 21 * 61 * 2, "{polls} polls of two children in 20 turns of the runtime");
}

#[test]
fn children_that_never_wait_let_siblings_and_others_run() {
    for runtime in runtimes() {
        within_limit("a loop that is always ready", move || {
            runtime.block_on(async {
                let group: TaskGroup = TaskGroup::new();
                for _ in 0..1_000 {
                    group.spawn::<()>(async {
                        loop {
                            tokio::task::coop::consume_budget().await;
                        }
                    });
                }
                let last = group.spawn(async {
                    for _ in 0..3 {
                        yield_now().await;
                    }
                    Ok(())
                });
                let outside = tokio::spawn(async {
                    for _ in 0..3 {
                        yield_now().await;
                    }
                });
                last.await.unwrap();
                outside.await.unwrap();
                drop(group);
                assert_no_task_left().await;
            });
        });
    }
}

/// Gives its waker away at each poll; ready at the second.
struct Lends(Arc<Mutex<Vec<Waker>>>, bool);

impl Future for Lends {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().unwrap().extend((0..1_000).map(|_| cx.waker().clone()));
        if std::mem::replace(&mut self.1, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Lends {
    /// Wakes from its destructor too.
    fn drop(&mut self) {
        self.0.lock().unwrap().iter().for_each(Waker::wake_by_ref);
    }
}

#[test]
fn wakers_are_woken_from_everywhere_and_outlive_their_child() {
    for runtime in runtimes() {
        within_limit("a woken child", move || {
            let wakers = Arc::new(Mutex::new(Vec::new()));
            let (polled, group) = runtime.block_on(async {
                let group: TaskGroup = TaskGroup::new();
                let (polled, is_polled) = tokio::sync::oneshot::channel();
                let lends = Lends(Arc::clone(&wakers), false);
                let task = group.spawn(async move {
                    let mut lends = std::pin::pin!(lends);
                    let mut polled = Some(polled);
                    poll_fn(|cx| {
                        let poll = lends.as_mut().poll(cx);
                        polled.take().into_iter().for_each(|polled| polled.send(()).unwrap());
                        poll
                    })
                    .await;
                    Ok(())
                });
                is_polled.await.unwrap();
                let taken = std::mem::take(&mut *wakers.lock().unwrap());
                std::thread::spawn(move || taken.into_iter().for_each(Waker::wake));
                (task.await, group)
            });
            polled.unwrap();
            wakers.lock().unwrap().iter().for_each(Waker::wake_by_ref);
            let waiting = Lends(Arc::clone(&wakers), false);
            runtime.block_on(async {
                group.spawn(async move {
                    waiting.await;
                    Ok(())
                });
                yield_now().await;
                drop(group);
            });
            wakers.lock().unwrap().iter().for_each(Waker::wake_by_ref);
            drop(runtime);
            std::mem::take(&mut *wakers.lock().unwrap()).into_iter().for_each(Waker::wake);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_goes_on_when_children_sleep() {
    let began = tokio::time::Instant::now();
    let group: TaskGroup = TaskGroup::new();
    for seconds in 0..100 {
        group.spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(())
        });
    }
    group.join().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 99);
}
