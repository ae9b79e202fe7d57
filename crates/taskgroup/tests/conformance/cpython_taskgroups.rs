//! CPython's suite for `asyncio.TaskGroup`.

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{CancelReason, CancelToken, Error, ErrorGroup, OnPanic, Spawner, Task, TaskGroup, scope};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::support::Alive;

#[derive(Debug)]
struct Boom(&'static str);

impl std::fmt::Display for Boom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Boom {}

fn boom<T>(text: &'static str) -> Result<T, Error> {
    Err(Error::new(Boom(text)))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The texts of the direct failures, each of which must be a `Boom`.
fn booms(group: &ErrorGroup) -> Vec<&'static str> {
    group.failures().iter().map(|failure| failure.downcast_ref::<Boom>().expect("a Boom").0).collect()
}

fn sorted(mut texts: Vec<&'static str>) -> Vec<&'static str> {
    texts.sort_unstable();
    texts
}

/// The one direct failure, which must be a nested group.
fn only_nested(group: &ErrorGroup) -> &ErrorGroup {
    assert_eq!(group.len(), 1, "{group:?}");
    group.failures()[0].nested().expect("a nested group")
}

fn until_cancelled(token: &CancelToken) {
    while !token.is_cancelled() {
        std::thread::yield_now();
    }
}

/// A child whose cleanup fails: it says that it runs, waits for its cancel, and answers it with an error.
fn fails_on_cancel(
    text: &'static str,
) -> (impl FnOnce(&CancelToken) -> Result<(), Error> + Send + 'static, oneshot::Receiver<()>) {
    let (running, seen) = oneshot::channel();
    let child = move |token: &CancelToken| {
        running.send(()).expect("the test waits for it");
        until_cancelled(token);
        boom(text)
    };
    (child, seen)
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn push(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    /// Writes `what` when it is dropped.
    fn on_drop(&self, what: &'static str) -> OnDrop {
        OnDrop(self.clone(), what)
    }

    fn entries(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, what: &str) -> usize {
        self.entries().iter().filter(|entry| **entry == what).count()
    }
}

struct OnDrop(Log, &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.push(self.1);
    }
}

struct PanicsOnDrop(&'static str);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        std::panic::panic_any(self.0);
    }
}

/// Values of children that end at different times are there after exit, though nobody awaited the handles.
#[tokio::test(start_paused = true)]
async fn line_01_test_taskgroup_01() {
    let began = Instant::now();
    let (quick, slow) = scope(async |tg: &TaskGroup| {
        let quick = tg.spawn(async {
            sleep(ms(10)).await;
            Ok(42)
        });
        let slow = tg.spawn(async {
            sleep(ms(20)).await;
            Ok("eleven")
        });
        assert!(!quick.is_finished() && !slow.is_finished());
        Ok((quick, slow))
    })
    .await
    .unwrap();
    assert!(began.elapsed() >= ms(20));
    assert_eq!(quick.into_result().unwrap(), 42);
    assert_eq!(slow.into_result().unwrap(), "eleven");
}

/// A group that is empty for a moment stays open while its body runs (R6).
#[tokio::test(start_paused = true)]
async fn line_02_test_taskgroup_02() {
    let (first, second) = scope(async |tg: &TaskGroup| {
        let first = tg.spawn(async {
            sleep(ms(10)).await;
            Ok(1)
        });
        sleep(ms(20)).await;
        assert!(first.is_finished());
        assert!(tg.is_empty() && !tg.is_cancelled());
        let second = tg.spawn(async {
            sleep(ms(10)).await;
            Ok(2)
        });
        Ok((first, second))
    })
    .await
    .unwrap();
    assert_eq!(first.into_result().unwrap(), 1);
    assert_eq!(second.into_result().unwrap(), 2);
}

/// Cancelling one handle fails nobody: siblings, body and later children go on (R11).
#[tokio::test(start_paused = true)]
async fn line_03_test_taskgroup_03() {
    let alive = Alive::new();
    let guard = alive.guard();
    let (cut, sibling, later) = scope(async |tg: &TaskGroup| {
        let cut = tg.spawn(async move {
            let _guard = guard;
            pending::<Result<i32, _>>().await
        });
        let sibling = tg.spawn(async {
            sleep(ms(30)).await;
            Ok(2)
        });
        sleep(ms(10)).await;
        cut.cancel();
        sleep(ms(10)).await;
        assert_eq!(alive.now(), 0);
        assert!(cut.is_finished() && !sibling.is_finished() && !tg.is_cancelled());
        let later = tg.spawn(async { Ok(3) });
        Ok((cut, sibling, later))
    })
    .await
    .unwrap();
    let error = cut.into_result().unwrap_err();
    assert!(error.is_cancelled() && !error.never_started() && !error.is_failed());
    assert_eq!(sibling.into_result().unwrap(), 2);
    assert_eq!(later.into_result().unwrap(), 3);
}

/// A failed child cuts its sleeping sibling; the error group holds that failure and no trace of the cancel.
#[tokio::test(start_paused = true)]
async fn line_04_test_taskgroup_04() {
    let (alive, completed, after) = (Alive::new(), Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let (guard, complete) = (alive.guard(), Arc::clone(&completed));
    let group: TaskGroup = TaskGroup::new();
    let failing = group.spawn(async {
        sleep(ms(10)).await;
        boom::<()>("a")
    });
    let sleeping = group.spawn(async move {
        let _guard = guard;
        sleep(ms(1000)).await;
        complete.store(true, SeqCst);
        Ok(())
    });
    let began = Instant::now();
    let outcome = async {
        group.run(async { Ok(()) }).await?;
        after.store(true, SeqCst);
        Ok::<_, ErrorGroup>(())
    };
    let error = outcome.await.unwrap_err();
    assert!(began.elapsed() < ms(1000));
    assert_eq!(booms(&error), ["a"]);
    assert_eq!(error.leaves().count(), 1);
    assert!(!error.is_cancelled() && !after.load(SeqCst));
    assert_eq!(alive.now(), 0);
    assert!(!completed.load(SeqCst));
    assert!(failing.into_result().unwrap_err().is_failed());
    let error = sleeping.into_result().unwrap_err();
    assert!(error.is_cancelled() && !error.never_started());
}

/// Of children due at one instant the first to fail freezes the others (R12); sleeper and body are cut too.
#[tokio::test(start_paused = true)]
async fn line_05_test_cancel_children_on_child_error() {
    let (children, body) = (Alive::new(), Alive::new());
    let awake = Arc::new(AtomicUsize::new(0));
    let error = scope(async |tg: &TaskGroup| {
        let _body = body.guard();
        for _ in 0..3 {
            let (guard, awake) = (children.guard(), Arc::clone(&awake));
            tg.spawn(async move {
                let _guard = guard;
                sleep(ms(10)).await;
                awake.fetch_add(1, SeqCst);
                boom::<()>("due")
            });
        }
        let guard = children.guard();
        let sleeper = Arc::clone(&awake);
        tg.spawn(async move {
            let _guard = guard;
            sleep(ms(1000)).await;
            sleeper.fetch_add(1, SeqCst);
            Ok(())
        });
        sleep(ms(1000)).await;
        awake.fetch_add(1, SeqCst);
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(booms(&error), ["due"]);
    assert_eq!(awake.load(SeqCst), 1);
    assert_eq!((children.now(), children.ever()), (0, 4));
    assert_eq!((body.now(), body.ever()), (0, 1));
}

/// A body that fails after a wait cancels its children, and its error comes out in a group (R8).
#[tokio::test(start_paused = true)]
async fn line_06_test_taskgroup_09() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::new();
    let children: Vec<Task<()>> = (0..2)
        .map(|_| {
            let guard = alive.guard();
            group.spawn(async move {
                let _guard = guard;
                pending().await
            })
        })
        .collect();
    let outcome = group.run(async {
        sleep(ms(10)).await;
        boom::<()>("body")
    });
    let error = outcome.await.unwrap_err();
    assert_eq!(booms(&error), ["body"]);
    assert!(error.failures()[0].is_body());
    assert_eq!(alive.now(), 0);
    for child in children {
        let error = child.into_result().unwrap_err();
        assert!(error.is_cancelled() && !error.never_started());
    }
}

/// A body that fails before its first wait: children that were never polled never run, and say so.
#[tokio::test(start_paused = true)]
async fn line_07_test_taskgroup_10() {
    let (alive, polled) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let mut children = Vec::new();
    let group: TaskGroup = TaskGroup::new();
    let outcome = group.run(async {
        for _ in 0..2 {
            let (guard, polled) = (alive.guard(), Arc::clone(&polled));
            children.push(group.spawn(async move {
                let _guard = guard;
                polled.store(true, SeqCst);
                Ok(())
            }));
        }
        boom::<()>("body")
    });
    let error = outcome.await.unwrap_err();
    assert_eq!(booms(&error), ["body"]);
    assert!(error.failures()[0].is_body());
    assert!(!polled.load(SeqCst));
    assert_eq!((alive.now(), alive.ever()), (0, 2));
    for child in children {
        let error = child.into_result().unwrap_err();
        assert!(error.is_cancelled() && error.never_started());
    }
}

/// A body that fails while it is being cut, in cleanup that it owns, stands beside the child that failed first.
#[tokio::test(start_paused = true)]
async fn line_08_test_taskgroup_19() {
    let (cleanup, running) = fails_on_cancel("cleanup");
    let error = scope(async move |tg: &TaskGroup| {
        tg.spawn(async {
            running.await.unwrap();
            boom::<()>("child")
        });
        let cleaned = scope(async move |inner: &TaskGroup| {
            inner.spawn_blocking(cleanup);
            Ok(())
        });
        assert_eq!(booms(&cleaned.await.unwrap_err()), ["cleanup"]);
        boom::<()>("body")
    })
    .await
    .unwrap_err();
    assert_eq!(booms(&error), ["child", "body"]);
    assert!(!error.failures()[0].is_body() && error.failures()[1].is_body());
}

/// A host cancelled while it waits at exit ends as cancelled, and only after its five children have ended.
#[tokio::test(start_paused = true)]
async fn line_09_test_cancellation() {
    let log = Log::default();
    let outer: TaskGroup = TaskGroup::new();
    let seen = log.clone();
    let host = outer.spawn(async move {
        let _host = seen.on_drop("host");
        scope(async |tg: &TaskGroup| {
            for _ in 0..5 {
                let child = seen.on_drop("child");
                tg.spawn(async move {
                    let _child = child;
                    pending::<Result<(), _>>().await
                });
            }
            Ok(())
        })
        .await?;
        seen.push("after");
        Ok(())
    });
    sleep(ms(10)).await;
    assert!(log.entries().is_empty());
    host.cancel();
    assert!(host.await.unwrap_err().is_cancelled());
    assert_eq!(log.entries(), ["child", "child", "child", "child", "child", "host"]);
    outer.join().await.unwrap();
}

/// A host cancelled while the body sleeps: body and five children are dropped, once each, then the host.
#[tokio::test(start_paused = true)]
async fn line_10_test_taskgroup_07() {
    let log = Log::default();
    let outer: TaskGroup = TaskGroup::new();
    let seen = log.clone();
    let host = outer.spawn(async move {
        let _host = seen.on_drop("host");
        scope(async |tg: &TaskGroup| {
            let _body = seen.on_drop("body");
            for _ in 0..5 {
                let child = seen.on_drop("child");
                tg.spawn(async move {
                    let _child = child;
                    pending::<Result<(), _>>().await
                });
            }
            sleep(ms(1000)).await;
            seen.push("after");
            Ok(())
        })
        .await?;
        seen.push("after");
        Ok(())
    });
    sleep(ms(10)).await;
    assert!(log.entries().is_empty());
    host.cancel();
    assert!(host.await.unwrap_err().is_cancelled());
    assert_eq!((log.count("body"), log.count("child"), log.count("after")), (1, 5, 0));
    assert_eq!(log.entries().last(), Some(&"host"));
    assert_eq!(log.entries().len(), 7);
    outer.join().await.unwrap();
}

/// Children whose cleanup fails: those errors come out of the cancelled host, not the cancel (R9).
#[tokio::test(start_paused = true)]
async fn line_11_test_taskgroup_08() {
    let (one, one_runs) = fails_on_cancel("one");
    let (two, two_runs) = fails_on_cancel("two");
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async move {
        scope(async move |tg: &TaskGroup| {
            tg.spawn_blocking(one);
            tg.spawn_blocking(two);
            pending::<Result<(), _>>().await
        })
        .await?;
        Ok(())
    });
    one_runs.await.unwrap();
    two_runs.await.unwrap();
    host.cancel();
    let error = outer.join().await.unwrap_err();
    assert_eq!(sorted(booms(only_nested(&error))), ["one", "two"]);
    let error = host.into_result().unwrap_err();
    assert!(error.is_failed() && !error.is_cancelled());
}

/// Two nested groups, the host cancelled, cleanup fails in the inner one: the nesting is kept in what comes out.
#[tokio::test(start_paused = true)]
async fn line_12_test_taskgroup_11() {
    let (one, one_runs) = fails_on_cancel("one");
    let (two, two_runs) = fails_on_cancel("two");
    let (tell, told) = oneshot::channel();
    let top: TaskGroup = TaskGroup::new();
    let host = top.spawn(async move {
        let outcome = scope(async move |_outer: &TaskGroup| {
            scope(async move |inner: &TaskGroup| {
                inner.spawn_blocking(one);
                inner.spawn_blocking(two);
                pending::<Result<(), _>>().await
            })
            .await?;
            Ok(())
        });
        tell.send(outcome.await.unwrap_err()).unwrap();
        Ok(())
    });
    one_runs.await.unwrap();
    two_runs.await.unwrap();
    host.cancel();
    let error = told.await.unwrap();
    assert_eq!(sorted(booms(only_nested(&error))), ["one", "two"]);
    assert!(error.failures()[0].is_body());
    // It returned before another wait, so its value counts (R12).
    host.await.unwrap();
    top.join().await.unwrap();
}

/// As line 12 with a sleeper in the outer group, which is cut and leaves no leaf.
#[tokio::test(start_paused = true)]
async fn line_13_test_taskgroup_12() {
    let alive = Alive::new();
    let guard = alive.guard();
    let (one, one_runs) = fails_on_cancel("one");
    let (two, two_runs) = fails_on_cancel("two");
    let (tell, told) = oneshot::channel();
    let top: TaskGroup = TaskGroup::new();
    let host = top.spawn(async move {
        let outcome = scope(async move |outer: &TaskGroup| {
            outer.spawn(async move {
                let _guard = guard;
                pending::<Result<(), _>>().await
            });
            scope(async move |inner: &TaskGroup| {
                inner.spawn_blocking(one);
                inner.spawn_blocking(two);
                pending::<Result<(), _>>().await
            })
            .await?;
            Ok(())
        });
        tell.send(outcome.await.unwrap_err()).unwrap();
        Ok(())
    });
    one_runs.await.unwrap();
    two_runs.await.unwrap();
    assert_eq!(alive.now(), 1);
    host.cancel();
    let error = told.await.unwrap();
    assert_eq!(alive.now(), 0);
    assert_eq!(sorted(booms(only_nested(&error))), ["one", "two"]);
    top.join().await.unwrap();
}

/// The outer group's child fails first: the inner group is cut with its child and adds nothing.
#[tokio::test(start_paused = true)]
async fn line_14_test_taskgroup_13() {
    let alive = Alive::new();
    let (guard, began) = (alive.guard(), Instant::now());
    let error = scope(async move |outer: &TaskGroup| {
        outer.spawn(async {
            sleep(ms(10)).await;
            boom::<()>("outer")
        });
        scope(async move |inner: &TaskGroup| {
            inner.spawn(async move {
                let _guard = guard;
                sleep(ms(1000)).await;
                boom::<()>("inner")
            });
            Ok(())
        })
        .await?;
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(booms(&error), ["outer"]);
    assert_eq!(alive.now(), 0);
    assert!(began.elapsed() < ms(1000));
}

/// The inner group's child fails: its group is the outer group's one failure, and the outer child is cut.
#[tokio::test(start_paused = true)]
async fn line_15_test_taskgroup_14() {
    let alive = Alive::new();
    let (guard, began) = (alive.guard(), Instant::now());
    let error = scope(async move |outer: &TaskGroup| {
        outer.spawn(async move {
            let _guard = guard;
            sleep(ms(1000)).await;
            boom::<()>("outer")
        });
        scope(async |inner: &TaskGroup| {
            inner.spawn(async {
                sleep(ms(10)).await;
                boom::<()>("inner")
            });
            Ok(())
        })
        .await?;
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(booms(only_nested(&error)), ["inner"]);
    assert_eq!(alive.now(), 0);
    assert!(began.elapsed() < ms(1000));
}

/// The other end of [`slow_cleanup`].
struct Cleanup {
    /// The child and the cleanup are on their threads, and wait.
    ready: [oneshot::Receiver<()>; 2],
    child: oneshot::Receiver<Task<()>>,
    /// Ends the cleanup.
    release: mpsc::Sender<()>,
}

/// A scope whose body, once cancelled, takes until `release` to clean up; a child fails in that time.
fn slow_cleanup() -> (impl Future<Output = Result<(), ErrorGroup>> + Send + 'static, Cleanup) {
    let (child_runs, child_ready) = oneshot::channel();
    let (cleanup_runs, cleanup_ready) = oneshot::channel();
    let (give_child, child) = oneshot::channel();
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let outcome = scope(async move |tg: &TaskGroup| {
        let child = tg.spawn_blocking(move |_token| {
            child_runs.send(()).unwrap();
            begun.recv()?;
            boom("child")
        });
        give_child.send(child).unwrap();
        scope(async move |inner: &TaskGroup| {
            inner.spawn_blocking(move |token| {
                cleanup_runs.send(()).unwrap();
                until_cancelled(token);
                begin.send(())?;
                released.recv()?;
                Ok(())
            });
            Ok(())
        })
        .await?;
        Ok(())
    });
    (outcome, Cleanup { ready: [child_ready, cleanup_ready], child, release })
}

/// A child that fails while the cancelled body cleans up: its error is the outcome, not the cancel.
#[tokio::test(start_paused = true)]
async fn line_16_test_taskgroup_15() {
    let (outcome, cleanup) = slow_cleanup();
    let (tell, told) = oneshot::channel();
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async move {
        tell.send(outcome.await.unwrap_err()).unwrap();
        pending::<Result<(), _>>().await
    });
    let child = cleanup.child.await.unwrap();
    for ready in cleanup.ready {
        ready.await.unwrap();
    }
    host.cancel();
    assert!(child.await.unwrap_err().is_failed());
    assert!(!host.is_finished());
    cleanup.release.send(()).unwrap();
    assert_eq!(booms(&told.await.unwrap()), ["child"]);
    // The cancel stays pending for the next wait (R9).
    assert!(host.await.unwrap_err().is_cancelled());
    outer.join().await.unwrap();
}

/// As line 16 with the group in a task of its own and its waiter cancelled: the waiter gets the errors.
#[tokio::test(start_paused = true)]
async fn line_17_test_taskgroup_16() {
    let (outcome, cleanup) = slow_cleanup();
    let (tell, told) = oneshot::channel();
    let outer: TaskGroup = TaskGroup::new();
    let waiter = outer.spawn(async move {
        let waited = scope(async move |tg: &TaskGroup| {
            let runner = tg.spawn(async move { Ok(outcome.await?) });
            Ok(runner.await?)
        });
        tell.send(waited.await.unwrap_err()).unwrap();
        Ok(())
    });
    let child = cleanup.child.await.unwrap();
    for ready in cleanup.ready {
        ready.await.unwrap();
    }
    waiter.cancel();
    assert!(child.await.unwrap_err().is_failed());
    assert!(!waiter.is_finished());
    cleanup.release.send(()).unwrap();
    let error = told.await.unwrap();
    assert_eq!(booms(only_nested(&error)), ["child"]);
    assert!(!error.failures()[0].is_body());
    waiter.await.unwrap();
    outer.join().await.unwrap();
}

/// An empty group with a sleeping body, host cancelled: a plain cancel, without an error group.
#[tokio::test(start_paused = true)]
async fn line_18_test_taskgroup_17() {
    let log = Log::default();
    let (tell, told) = oneshot::channel();
    let outer: TaskGroup = TaskGroup::new();
    let seen = log.clone();
    let host = outer.spawn(async move {
        let outcome = scope(async |_tg: &TaskGroup| {
            let _body = seen.on_drop("body");
            pending::<Result<(), _>>().await
        });
        tell.send(outcome.await).unwrap();
        Ok(())
    });
    sleep(ms(10)).await;
    host.cancel();
    let error = host.await.unwrap_err();
    assert!(error.is_cancelled() && !error.is_failed());
    assert_eq!(log.entries(), ["body"]);
    assert!(told.await.is_err(), "nothing came out of the scope");
    outer.join().await.unwrap();
}

/// A body that runs when its host is cancelled and then fails without a wait: its error is the whole outcome.
#[tokio::test(start_paused = true)]
async fn line_19_test_taskgroup_18() {
    let (tell, told) = oneshot::channel();
    let outer: TaskGroup = TaskGroup::new();
    let canceller = outer.spawner();
    let host = outer.spawn(async move {
        let outcome = scope(async move |_tg: &TaskGroup| {
            sleep(ms(10)).await;
            canceller.cancel();
            assert!(taskgroup::is_cancelled());
            boom::<()>("body")
        });
        tell.send(outcome.await.unwrap_err()).unwrap();
        Ok(())
    });
    outer.join().await.unwrap();
    let error = told.await.unwrap();
    assert_eq!(booms(&error), ["body"]);
    assert!(error.failures()[0].is_body() && !error.is_cancelled());
    host.into_result().unwrap();
}

/// A host that only waits for two sleepers, cancelled shortly after its start, ends as cancelled.
#[tokio::test(start_paused = true)]
async fn line_20_test_taskgroup_22() {
    let alive = Alive::new();
    let guards = [alive.guard(), alive.guard()];
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async move {
        scope(async move |tg: &TaskGroup| {
            for guard in guards {
                tg.spawn(async move {
                    let _guard = guard;
                    pending::<Result<(), _>>().await
                });
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
    yield_now().await;
    host.cancel();
    let error = host.await.unwrap_err();
    assert!(error.is_cancelled() && !error.never_started());
    assert_eq!(alive.now(), 0);
    outer.join().await.unwrap();
}

/// A body that panics in its cleanup after a child has failed: the bare payload is resumed, all joined (R10).
#[tokio::test(start_paused = true)]
async fn line_21_test_taskgroup_20() {
    let alive = Alive::new();
    let guard = alive.guard();
    let outcome = scope(async move |tg: &TaskGroup| {
        tg.spawn(async {
            sleep(ms(10)).await;
            boom::<()>("child")
        });
        tg.spawn(async move {
            let _guard = guard;
            pending::<Result<(), _>>().await
        });
        let _panics = PanicsOnDrop("body");
        pending::<Result<(), _>>().await
    });
    let payload = AssertUnwindSafe(outcome).catch_unwind().await.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"body"));
    assert_eq!(alive.now(), 0);
}

/// As line 21 with `OnPanic::Collect`: the error and the panic stand side by side, neither is lost.
#[tokio::test(start_paused = true)]
async fn line_22_test_taskgroup_20a() {
    let group: TaskGroup = TaskGroup::builder().on_panic(OnPanic::Collect).build();
    group.spawn(async {
        sleep(ms(10)).await;
        boom::<()>("child")
    });
    let outcome = group.run(async {
        let _panics = PanicsOnDrop("body");
        pending::<Result<(), _>>().await
    });
    let error = outcome.await.unwrap_err();
    assert_eq!(error.len(), 2);
    assert_eq!(error.failures()[0].downcast_ref::<Boom>().unwrap().0, "child");
    assert_eq!(error.failures()[1].panic().unwrap().message(), Some("body"));
    assert!(error.failures()[1].is_body() && error.failures()[1].error().is_none());
}

/// A child that panics and a body that fails in its cleanup: both are in the group that collects panics.
#[tokio::test(start_paused = true)]
async fn line_24_test_taskgroup_21a() {
    let (cleanup, running) = fails_on_cancel("cleanup");
    let group: TaskGroup = TaskGroup::builder().on_panic(OnPanic::Collect).build();
    group.spawn::<()>(async {
        running.await.unwrap();
        std::panic::panic_any("child")
    });
    let outcome = group.run(async {
        let cleaned = scope(async move |inner: &TaskGroup| {
            inner.spawn_blocking(cleanup);
            Ok(())
        });
        cleaned.await?;
        Ok(())
    });
    let error = outcome.await.unwrap_err();
    assert_eq!(error.len(), 2);
    assert_eq!(error.failures()[0].panic().unwrap().message(), Some("child"));
    assert!(error.failures()[1].is_body());
    assert_eq!(booms(error.failures()[1].nested().unwrap()), ["cleanup"]);
}

/// The books of a long-lived group shrink as children end; what they held and returned is let go.
#[tokio::test(start_paused = true)]
async fn line_25_test_taskgroup_23() {
    let (captured, returned) = (Alive::new(), Alive::new());
    scope(async |tg: &TaskGroup| {
        for _round in 0..50 {
            for delay in 1..=3 {
                let (capture, value) = (captured.guard(), returned.guard());
                tg.spawn(async move {
                    let _capture = capture;
                    sleep(ms(delay * 10)).await;
                    Ok(value)
                });
            }
            for left in [3, 2, 1, 0] {
                sleep(ms(if left == 3 { 5 } else { 10 })).await;
                assert_eq!((tg.len(), captured.now(), returned.now()), (left, left, left));
            }
            assert!(tg.is_empty());
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(captured.ever(), 150);
}

/// A child may spawn into its own group after the body has ended; exit waits for the grandchildren.
#[tokio::test(start_paused = true)]
async fn line_26_test_taskgroup_24() {
    let log = Log::default();
    let seen = log.clone();
    let began = Instant::now();
    scope(async |tg: &TaskGroup| {
        let (spawner, seen) = (tg.spawner(), seen);
        let _body = log.on_drop("body");
        tg.spawn(async move {
            sleep(ms(10)).await;
            seen.push("child");
            for _ in 0..2 {
                let seen = seen.clone();
                spawner.spawn(async move {
                    sleep(ms(20)).await;
                    seen.push("grandchild");
                    Ok(())
                });
            }
            Ok(())
        });
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(log.entries(), ["body", "child", "grandchild", "grandchild"]);
    assert_eq!(began.elapsed(), ms(30));
}

/// Grows two heads for each that has run.
fn hydra(spawner: Spawner, heads: Alive) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    let head = heads.guard();
    Box::pin(async move {
        let _head = head;
        yield_now().await;
        for _ in 0..2 {
            spawner.spawn(hydra(spawner.clone(), heads.clone()));
        }
        Ok(())
    })
}

/// A group whose children multiply without end still exits after one failure, which is all it reports.
#[tokio::test(start_paused = true)]
async fn line_27_test_taskgroup_25() {
    let heads = Alive::new();
    let grown = heads.clone();
    let error = scope(async |tg: &TaskGroup| {
        tg.spawn(hydra(tg.spawner(), grown.clone()));
        tg.spawn(async move {
            while grown.ever() < 10 {
                yield_now().await;
            }
            boom::<()>("hercules")
        });
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!(booms(&error), ["hercules"]);
    assert_eq!(heads.now(), 0);
    let ever = heads.ever();
    sleep(ms(100)).await;
    assert_eq!(heads.ever(), ever, "nothing grows after exit");
}

/// A named child's handle reports the name; one without a name reports none.
#[tokio::test(start_paused = true)]
async fn line_28_test_taskgroup_task_name() {
    scope(async |tg: &TaskGroup| {
        let named = tg.task().name("yolo").spawn(async { Ok(()) });
        let unnamed = tg.spawn(async { Ok(()) });
        assert_eq!((named.name(), unnamed.name()), (Some("yolo"), None));
        named.wait_finished().await;
        assert_eq!(named.name(), Some("yolo"));
        Ok(())
    })
    .await
    .unwrap();
}

/// A child that is being cancelled spawns into its failed group: born cancelled, dropped unpolled (R5).
#[tokio::test(start_paused = true)]
async fn line_30_test_taskgroup_no_create_task_after_failure() {
    let (offered, polled) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let (seen, poll) = (offered.clone(), Arc::clone(&polled));
    let (running, is_running) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let error = scope(async move |tg: &TaskGroup| {
        tg.spawn(async {
            is_running.await.unwrap();
            boom::<()>("first")
        });
        let spawner = tg.spawner();
        tg.spawn_blocking(move |token| {
            running.send(()).unwrap();
            until_cancelled(token);
            let (guard, poll) = (seen.guard(), poll);
            let task = spawner.spawn(async move {
                let _guard = guard;
                poll.store(true, SeqCst);
                Ok(())
            });
            let alive_after_spawn = seen.now();
            let refused = spawner.try_spawn(async { Ok(()) }).err().map(|refused| refused.cause().clone());
            tell.send((task, alive_after_spawn, refused)).unwrap();
            Ok(())
        });
        pending::<Result<(), _>>().await
    })
    .await
    .unwrap_err();
    assert_eq!(booms(&error), ["first"]);
    let (task, alive_after_spawn, refused) = told.await.unwrap();
    assert_eq!((offered.ever(), alive_after_spawn), (1, 0));
    assert!(!polled.load(SeqCst));
    let reason = refused.expect("refused").reason().clone();
    assert!(matches!(reason, CancelReason::SiblingFailed(_)));
    assert!(task.into_result().unwrap_err().never_started());
}

/// A resource of the body fails on release after a child has failed: both are told, the host is not cancelled.
#[tokio::test(start_paused = true)]
async fn line_31_test_taskgroup_context_manager_exit_raises() {
    let (release, running) = fails_on_cancel("release");
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async move {
        let group: TaskGroup = TaskGroup::new();
        group.spawn(async {
            running.await.unwrap();
            boom::<()>("child")
        });
        let outcome = group.run(async {
            let resource: TaskGroup = TaskGroup::new();
            resource.spawn_blocking(release);
            resource.run(pending::<Result<(), _>>()).await?;
            Ok(())
        });
        let error = outcome.await.unwrap_err();
        assert!(!taskgroup::is_cancelled());
        sleep(ms(10)).await;
        Ok(error)
    });
    let error = host.await.unwrap();
    assert_eq!(error.len(), 2);
    assert_eq!(error.failures()[0].downcast_ref::<Boom>().unwrap().0, "child");
    assert!(error.failures()[1].is_body());
    assert_eq!(booms(error.failures()[1].nested().unwrap()), ["release"]);
    outer.join().await.unwrap();
}

async fn panic_text(future: impl Future) -> String {
    match AssertUnwindSafe(future).catch_unwind().await {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => *payload.downcast::<String>().expect("a text"),
    }
}

/// A second `run` beside one that is under way panics, runs nothing, and leaves the first as it is.
#[tokio::test(start_paused = true)]
async fn line_32_test_taskgroup_already_entered() {
    let polled = AtomicBool::new(false);
    let group: TaskGroup = TaskGroup::new();
    let mut first = std::pin::pin!(group.run(async {
        sleep(ms(10)).await;
        Ok(1)
    }));
    assert!(futures::poll!(first.as_mut()).is_pending());
    let second = group.run(async {
        polled.store(true, SeqCst);
        Ok(2)
    });
    assert!(panic_text(second).await.contains("second time"));
    assert!(!polled.load(SeqCst));
    assert_eq!(first.await.unwrap(), 1);
}

/// A `run` after exit panics and runs nothing; `join` after exit is `Ok` at once.
#[tokio::test(start_paused = true)]
async fn line_33_test_taskgroup_double_enter() {
    let polled = AtomicBool::new(false);
    let group: TaskGroup = TaskGroup::new();
    group.run(async { Ok(()) }).await.unwrap();
    let second = group.run(async {
        polled.store(true, SeqCst);
        Ok(())
    });
    assert!(panic_text(second).await.contains("second time"));
    assert!(!polled.load(SeqCst));
    assert!(group.join().now_or_never().expect("at once").is_ok());
}

/// Spawning into an exited group through a spawner that escaped: the future is dropped unpolled (R5).
#[tokio::test(start_paused = true)]
async fn line_34_test_taskgroup_finished() {
    let (alive, polled) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let (guard, poll) = (alive.guard(), Arc::clone(&polled));
    let spawner = scope(async |tg: &TaskGroup| Ok(tg.spawner())).await.unwrap();
    assert!(spawner.is_closed() && !spawner.is_cancelled());
    let offered = async move {
        let _guard = guard;
        poll.store(true, SeqCst);
        Ok(())
    };
    let refused = spawner.try_spawn(offered).unwrap_err();
    assert!(matches!(refused.cause().reason(), CancelReason::GroupEnded));
    assert_eq!(alive.now(), 1, "try_spawn gives the future back");
    let task = spawner.spawn(refused.into_future());
    assert_eq!(alive.now(), 0, "spawn drops it before it returns");
    let error = task.into_result().unwrap_err();
    assert!(error.is_cancelled() && error.never_started());
    yield_now().await;
    assert!(!polled.load(SeqCst));
}

/// A group is open from the moment it is made: children spawned before `run` run, and are waited for (R5).
#[tokio::test(start_paused = true)]
async fn line_35_test_taskgroup_not_entered() {
    let alive = Alive::new();
    let guard = alive.guard();
    let group: TaskGroup = TaskGroup::new();
    let early = group.spawn(async { Ok(7) });
    let slow = group.spawn(async move {
        let _guard = guard;
        sleep(ms(20)).await;
        Ok(8)
    });
    assert_eq!(early.await.unwrap(), 7);
    assert_eq!(alive.now(), 1);
    group.run(async { Ok(()) }).await.unwrap();
    assert_eq!(alive.now(), 0);
    assert_eq!(slow.into_result().unwrap(), 8);
}

/// Spawning into an exited group from a plain thread, outside every runtime, drops the future unpolled.
#[test]
fn line_37_test_coro_closed_when_tg_closed() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let spawner = runtime.block_on(scope(async |tg: &TaskGroup| Ok(tg.spawner()))).unwrap();
    let (alive, polled) = (Alive::new(), Arc::new(AtomicBool::new(false)));
    let (guard, poll) = (alive.guard(), Arc::clone(&polled));
    let task = spawner.spawn(async move {
        let _guard = guard;
        poll.store(true, SeqCst);
        Ok(())
    });
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    runtime.block_on(yield_now());
    assert!(!polled.load(SeqCst));
    assert!(task.wait().unwrap_err().never_started());
}

/// A failed group that its host handles leaves no cancel on the host (R13).
#[tokio::test(start_paused = true)]
async fn line_38_test_cancelling_level_preserved() {
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async {
        let outcome = scope(async |tg: &TaskGroup| {
            tg.spawn(async { boom::<()>("child") });
            pending::<Result<(), _>>().await
        });
        assert_eq!(booms(&outcome.await.unwrap_err()), ["child"]);
        assert!(!taskgroup::is_cancelled());
        sleep(ms(10)).await;
        Ok("done")
    });
    assert_eq!(host.await.unwrap(), "done");
    assert!(!outer.is_cancelled());
    outer.join().await.unwrap();
}

/// Inner and outer child fail in one tick: the inner error can be handled, yet the outer cancel is pending
/// until the outer group has exited with its own error.
#[tokio::test(start_paused = true)]
async fn line_39_test_nested_groups_both_cancelled() {
    let log = Log::default();
    let seen = log.clone();
    let top: TaskGroup = TaskGroup::new();
    let host = top.spawn(async move {
        let outcome = scope(async |outer: &TaskGroup| {
            let inner = scope(async |inner: &TaskGroup| {
                inner.spawn(async { boom::<()>("inner") });
                outer.spawn(async { boom::<()>("outer") });
                pending::<Result<(), _>>().await
            });
            assert_eq!(booms(&inner.await.unwrap_err()), ["inner"]);
            seen.push("handled");
            assert!(taskgroup::is_cancelled());
            yield_now().await;
            seen.push("went on");
            Ok(())
        });
        let error = outcome.await.unwrap_err();
        assert!(!taskgroup::is_cancelled());
        sleep(ms(10)).await;
        Ok(error)
    });
    assert_eq!(booms(&host.await.unwrap()), ["outer"]);
    assert_eq!(log.entries(), ["handled"]);
    top.join().await.unwrap();
}

/// A child fails and the host is cancelled in one window, in either order: the error is delivered, and
/// handling it does not swallow the cancel, which cuts the host at its next wait (R9, R13).
#[tokio::test(start_paused = true)]
async fn line_40_test_error_and_cancel() {
    for cancel_first in [true, false] {
        let log = Log::default();
        let seen = log.clone();
        let outer: TaskGroup = TaskGroup::new();
        let canceller = outer.spawner();
        let host = outer.spawn(async move {
            let outcome = scope(async move |tg: &TaskGroup| {
                let (running, is_running) = oneshot::channel();
                let late = canceller.clone();
                tg.spawn(async move {
                    is_running.await?;
                    if cancel_first {
                        canceller.cancel_because("from outside");
                    }
                    boom::<()>("child")
                });
                // Told of the failure, and still keeping the group from its exit.
                tg.spawn_blocking(move |token| {
                    running.send(()).unwrap();
                    until_cancelled(token);
                    late.cancel_because("from outside");
                    Ok(())
                });
                pending::<Result<(), _>>().await
            });
            assert_eq!(booms(&outcome.await.unwrap_err()), ["child"]);
            seen.push("handled");
            assert!(taskgroup::is_cancelled());
            yield_now().await;
            seen.push("went on");
            Ok(())
        });
        outer.join().await.unwrap();
        let error = host.into_result().unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(error.reason().unwrap().to_string(), "from outside");
        assert_eq!(log.entries(), ["handled"]);
    }
}

/// A child that fails before the body has waited for anything leaves nothing behind for the next wait.
#[tokio::test(start_paused = true)]
async fn line_41_test_cancellation_does_not_leak_out_of_tg() {
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async {
        let outcome = scope(async |tg: &TaskGroup| {
            tg.task().eager().spawn(async { boom::<()>("child") });
            Ok(())
        });
        assert_eq!(booms(&outcome.await.unwrap_err()), ["child"]);
        assert!(!taskgroup::is_cancelled());
        yield_now().await;
        sleep(ms(10)).await;
        Ok("done")
    });
    assert_eq!(host.await.unwrap(), "done");
    outer.join().await.unwrap();
}

/// An error that says how long it is held.
#[derive(Debug)]
struct Held(#[expect(dead_code)] Arc<()>);

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("held")
    }
}

impl std::error::Error for Held {}

/// The body's error is moved out at exit: the group, still there, keeps none of it.
#[tokio::test(start_paused = true)]
async fn line_42_test_exception_refcycles_direct() {
    let token = Arc::new(());
    let held = Arc::downgrade(&token);
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let error = group.run(async { Err::<(), _>(Error::new(Held(token))) }).await.unwrap_err();
    assert_eq!(held.strong_count(), 1);
    drop(error);
    assert_eq!(held.strong_count(), 0);
    drop((group, spawner));
}

/// A child's error is moved out too: neither its group nor its handle keeps it.
#[tokio::test(start_paused = true)]
async fn line_43_test_exception_refcycles_errors() {
    let token = Arc::new(());
    let held = Arc::downgrade(&token);
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let child = group.spawn(async { Err::<(), _>(Error::new(Held(token))) });
    let error = group.run(async { Ok(()) }).await.unwrap_err();
    assert_eq!(held.strong_count(), 1);
    let leaf = error.into_first().unwrap().into_error().unwrap();
    assert!(leaf.is::<Held>());
    assert_eq!(held.strong_count(), 1);
    drop(leaf);
    assert_eq!(held.strong_count(), 0);
    assert!(child.into_result().unwrap_err().is_failed());
    drop((group, spawner));
}

/// An exited group keeps nothing of its host: the host's result goes with the host's handle.
#[tokio::test(start_paused = true)]
async fn line_44_test_exception_refcycles_parent_task() {
    let result = Alive::new();
    let guard = result.guard();
    let (tell, told) = oneshot::channel();
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async move {
        let group: TaskGroup = TaskGroup::new();
        group.spawn(async { boom::<()>("child") });
        let error = group.run(async { Ok(()) }).await.unwrap_err();
        tell.send((group.spawner(), group, error)).unwrap();
        Ok(guard)
    });
    let kept = told.await.unwrap();
    host.wait_finished().await;
    assert_eq!(result.now(), 1);
    drop(host);
    assert_eq!(result.now(), 0);
    drop(kept);
    outer.join().await.unwrap();
}

/// After exit nothing keeps a child: what it captured is gone, what it returned goes with its handle.
#[tokio::test(start_paused = true)]
async fn line_45_test_exception_refcycles_parent_task_wr() {
    let (captured, returned) = (Alive::new(), Alive::new());
    let (capture, value) = (captured.guard(), returned.guard());
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let returning = group.spawn(async move { Ok(value) });
    let failing = group.spawn(async move {
        let _capture = capture;
        sleep(ms(10)).await;
        boom::<()>("child")
    });
    let error = group.run(async { Ok(()) }).await.unwrap_err();
    assert_eq!((captured.now(), returned.now()), (0, 1));
    drop(returning);
    assert_eq!(returned.now(), 0);
    assert_eq!(booms(&error), ["child"]);
    drop((failing, group, spawner));
}

/// A cause that is kept after a cancel went through a group is text: nobody it names lives on in it.
#[tokio::test(start_paused = true)]
async fn line_46_test_exception_refcycles_propagate_cancellation_error() {
    let (captured, returned) = (Alive::new(), Alive::new());
    let (capture, value) = (captured.guard(), returned.guard());
    let (tell, told) = oneshot::channel();
    let outer: TaskGroup = TaskGroup::new();
    let host = outer.spawn(async move {
        let _capture = capture;
        let group: TaskGroup = TaskGroup::new();
        let returning = group.spawn(async move { Ok(value) });
        let sleeping = group.spawn(pending::<Result<(), _>>());
        tell.send((returning, sleeping)).unwrap();
        group.run(async { Ok(()) }).await?;
        Ok(())
    });
    let (returning, sleeping) = told.await.unwrap();
    returning.wait_finished().await;
    host.cancel_because("enough");
    assert!(host.await.unwrap_err().is_cancelled());
    let cause = sleeping.into_result().unwrap_err().reason().unwrap().clone();
    outer.join().await.unwrap();
    assert_eq!((captured.now(), returned.now()), (0, 1));
    drop(returning);
    assert_eq!(returned.now(), 0);
    assert_eq!(cause.root().to_string(), "enough");
}

/// The payload of a body that panicked is moved out: the group keeps none of it.
#[tokio::test(start_paused = true)]
async fn line_47_test_exception_refcycles_base_error() {
    for collect in [false, true] {
        let token = Arc::new(());
        let held = Arc::downgrade(&token);
        let on_panic = if collect { OnPanic::Collect } else { OnPanic::Resume };
        let group: TaskGroup = TaskGroup::builder().on_panic(on_panic).build();
        let spawner = group.spawner();
        let outcome = group.run::<(), _>(async { std::panic::panic_any(Held(token)) });
        let payload = match AssertUnwindSafe(outcome).catch_unwind().await {
            Err(payload) => {
                assert!(!collect);
                payload
            }
            Ok(outcome) => {
                assert!(collect);
                outcome.unwrap_err().into_first().unwrap().into_panic().unwrap().into_payload()
            }
        };
        assert!(payload.is::<Held>());
        assert_eq!(held.strong_count(), 1);
        drop(payload);
        assert_eq!(held.strong_count(), 0);
        drop((group, spawner));
    }
}

/// A child reads its own name while it runs, before and after a wait.
#[tokio::test(start_paused = true)]
async fn line_48_test_name() {
    let own_name = || taskgroup::current().and_then(|who| who.name().map(str::to_owned));
    let group: TaskGroup = TaskGroup::new();
    let named = group.task().name("yolo").spawn(async move {
        let before = own_name();
        yield_now().await;
        Ok((before, own_name()))
    });
    let unnamed = group.spawn(async move { Ok(own_name()) });
    let yolo = Some("yolo".to_owned());
    assert_eq!(named.await.unwrap(), (yolo.clone(), yolo));
    assert_eq!(unnamed.await.unwrap(), None);
    assert_eq!(own_name(), None);
    group.join().await.unwrap();
}

/// A child whose first poll, inside `spawn`, spawns a sibling that fails at once is cancelled like any other.
#[tokio::test(start_paused = true)]
async fn line_49_test_cancels_task_if_created_during_creation() {
    let alive = Alive::new();
    let (guard, began) = (alive.guard(), Instant::now());
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let outcome = group.run(async {
        let spawning = group.task().eager().spawn(async move {
            let _guard = guard;
            spawner.task().eager().spawn(async { boom::<()>("sibling") });
            sleep(ms(1000)).await;
            Ok(())
        });
        assert_eq!(alive.now(), 1);
        Ok(spawning)
    });
    let error = outcome.await.unwrap_err();
    assert_eq!(booms(&error), ["sibling"]);
    assert_eq!(alive.now(), 0);
    assert!(began.elapsed() < ms(1000));
}
