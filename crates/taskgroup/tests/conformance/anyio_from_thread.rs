//! anyio's `test_from_thread.py`: a blocking portal is a group and its `Spawner`, called from blocking closures
//! and from plain threads; a call waits by `Task::wait`.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail};
use taskgroup::{CancelToken, Cancelled, ErrorGroup, Spawner, StartError, Task, TaskError, TaskGroup};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance, sleep};

use super::support::Alive;

/// Calls and waits, as a thread outside the runtime does.
fn call<T: Send + 'static>(
    spawner: &Spawner,
    future: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> Result<T, TaskError> {
    spawner.spawn(future).wait()
}

/// The result of a closure on a plain thread, which this waits for.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::spawn(move || drop(sender.send(work())));
    let value = receiver.await;
    thread.join().expect("its panic has been seen");
    value.expect("the thread ended well")
}

fn until_cancelled(token: &CancelToken) {
    while !token.is_cancelled() {
        thread::yield_now();
    }
}

/// A group that is open until it is told to stop, in a task of its own.
struct Portal {
    spawner: Spawner,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), ErrorGroup>>,
}

impl Portal {
    fn open() -> Self {
        let (group, (stop, stopped)) = (TaskGroup::<anyhow::Error>::new(), oneshot::channel());
        let spawner = group.spawner();
        let ended = tokio::spawn(async move { group.run(async { Ok(stopped.await?) }).await });
        Self { spawner, stop, ended }
    }

    async fn close(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

/// A closure asks its token, and is cut there; the code behind does not run.
#[tokio::test]
async fn line_01_thread_cancelled() {
    let (group, (started, has_started)) = (TaskGroup::<anyhow::Error>::new(), oneshot::channel());
    let behind = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&behind);
    let task = group.spawn_blocking(move |token| {
        token.check()?;
        started.send(()).unwrap();
        until_cancelled(token);
        token.check()?;
        flag.store(true, Ordering::SeqCst);
        Ok(())
    });
    has_started.await.unwrap();
    group.cancel();
    assert!(group.join().await.is_ok());
    assert!(task.into_result().unwrap_err().is_cancelled());
    assert!(!behind.load(Ordering::SeqCst));
}

/// R2: a drop leaves at once, the closure learns of it, and ends later.
#[tokio::test]
async fn line_02_thread_cancelled_and_abandoned() {
    let (group, (started, has_started)) = (TaskGroup::<anyhow::Error>::new(), oneshot::channel());
    let (release, released) = oneshot::channel::<()>();
    let task = group.spawn_blocking(move |token| {
        started.send(()).unwrap();
        released.blocking_recv()?;
        Ok(token.check()?)
    });
    has_started.await.unwrap();
    drop(group);
    assert!(!task.is_finished());
    release.send(()).unwrap();
    task.wait_finished().await;
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// What a closure calls back runs in the group, and is cut with it.
#[tokio::test]
async fn line_04_cancelscope_propagation() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (spawner, guard) = (group.spawner(), alive.guard());
    let (started, has_started) = oneshot::channel();
    let task = group.spawn_blocking(move |_token| {
        let called = call(&spawner, async move {
            let _guard = guard;
            started.send(()).unwrap();
            pending::<anyhow::Result<()>>().await
        });
        Ok(called.unwrap_err().is_cancelled())
    });
    has_started.await.unwrap();
    group.cancel();
    group.join().await.unwrap();
    assert!(task.into_result().unwrap());
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// R2: nothing outlives its group: what an abandoned closure calls back is born cancelled.
#[tokio::test]
async fn line_05_cancelscope_propagation_when_abandoned() {
    let (group, (started, has_started)) = (TaskGroup::<anyhow::Error>::new(), oneshot::channel());
    let (release, released) = oneshot::channel::<()>();
    let (spawner, ran) = (group.spawner(), Alive::new());
    let (told, heard) = oneshot::channel();
    let calls = ran.clone();
    group.spawn_blocking(move |_token| {
        started.send(()).unwrap();
        released.blocking_recv()?;
        told.send(call(&spawner, async move { Ok(calls.guard()) })).unwrap();
        Ok(())
    });
    has_started.await.unwrap();
    drop(group);
    release.send(()).unwrap();
    assert!(heard.await.unwrap().unwrap_err().never_started());
    assert_eq!(ran.ever(), 0);
}

/// A closure runs async code on the runtime and gets its value.
#[tokio::test]
async fn line_06_run_corofunc_from_thread() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let task = group.spawn_blocking(move |_token| {
        Ok(call(&spawner, async {
            tokio::task::yield_now().await;
            Ok((thread::current().id(), 42))
        })?)
    });
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), (thread::current().id(), 42));
}

/// A closure runs plain code on the runtime's thread and gets its value.
#[tokio::test]
async fn line_08_run_sync_from_thread() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let task = group.spawn_blocking(move |_token| Ok(call(&spawner, async { Ok(thread::current().id()) })?));
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), thread::current().id());
}

/// A plain thread that was given a spawner runs async code.
#[tokio::test]
async fn line_09_run_async_from_unclaimed_thread() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let called = on_a_thread(move || {
        call(&spawner, async {
            tokio::task::yield_now().await;
            Ok(42)
        })
    });
    assert_eq!(group.run(async { Ok(called.await?) }).await.unwrap(), 42);
}

/// R11: the error of what was called goes to the group, once; the caller is told that there was one. Called
/// for a value, it goes to the caller.
#[tokio::test]
async fn line_11_run_async_from_thread_exception() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let task = group.spawn_blocking(move |_token| {
        let text = call(&spawner, async { Ok("x".parse::<i32>()) })?.unwrap_err().to_string();
        let failed = call::<()>(&spawner, async { bail!("out of paper") }).unwrap_err();
        Ok((text, failed.is_failed()))
    });
    let errors = group.join().await.unwrap_err();
    let (text, failed) = task.into_result().unwrap();
    assert_eq!((text.as_str(), failed), ("invalid digit found in string", true));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors.first().unwrap().error().unwrap().to_string(), "out of paper");
}

/// And so does the closure's own.
#[tokio::test]
async fn line_12_run_sync_from_thread_exception() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    group.spawn_blocking(move |_token| Ok(call(&spawner, async { Ok("x".parse::<i32>()) })??));
    let errors = group.join().await.unwrap_err();
    assert!(errors.first().unwrap().is::<std::num::ParseIntError>());
}

/// A sleep that a closure called.
#[tokio::test(start_paused = true)]
async fn line_13_run_anyio_async_func_from_thread() {
    let (group, begin) = (TaskGroup::<anyhow::Error>::new(), Instant::now());
    let (spawner, (called, was_called)) = (group.spawner(), oneshot::channel());
    let task = group.spawn_blocking(move |_token| {
        Ok(call(&spawner, async move {
            let sleep = sleep(Duration::from_secs(5));
            called.send(()).unwrap();
            sleep.await;
            Ok(())
        })?)
    });
    was_called.await.unwrap();
    // The clock stands still while a closure runs.
    advance(Duration::from_secs(5)).await;
    group.join().await.unwrap();
    assert!(task.into_result().is_ok());
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

/// Without a runtime a call is refused, by words that say so.
#[test]
fn line_14_run_async_no_event_loop() {
    let group: TaskGroup = TaskGroup::new();
    let refused = catch_unwind(AssertUnwindSafe(|| group.spawn(async { Ok(()) }))).unwrap_err();
    assert!(refused.downcast::<String>().unwrap().contains("outside a tokio runtime"));
}

/// A group that has ended, and its runtime too, refuses.
#[test]
fn line_15_run_async_closed_event_loop() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let spawner = runtime.block_on(async {
        let group: TaskGroup = TaskGroup::new();
        let spawner = group.spawner();
        group.join().await.unwrap();
        spawner
    });
    drop(runtime);
    assert!(call(&spawner, async { Ok(()) }).unwrap_err().never_started());
}

/// A plain thread that was given a spawner runs plain code on the runtime's thread.
#[tokio::test]
async fn line_18_run_sync_from_unclaimed_thread() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let called = on_a_thread(move || call(&spawner, async { Ok(thread::current().id()) }));
    assert_eq!(group.run(async { Ok(called.await?) }).await.unwrap(), thread::current().id());
}

/// On a plain thread too a group that has ended refuses; `try_spawn` gives the future back.
#[tokio::test]
async fn line_20_run_sync_closed_event_loop() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    group.join().await.unwrap();
    on_a_thread(move || assert!(spawner.try_spawn(async { Ok(()) }).is_err())).await;
}

/// A call from a thread gives the value.
#[tokio::test]
async fn line_23_call_corofunc() {
    let portal = Portal::open();
    let spawner = portal.spawner.clone();
    assert_eq!(on_a_thread(move || call(&spawner, async { Ok(42) })).await.unwrap(), 42);
    portal.close().await;
}

/// The owner fails: threads that wait in a call are let go, cancelled.
#[tokio::test]
async fn line_26_aexit_with_exception() {
    let group: TaskGroup = TaskGroup::new();
    let threads = [group.spawner(), group.spawner()].map(|spawner| {
        let (started, has_started) = oneshot::channel();
        let thread = thread::spawn(move || {
            call::<()>(&spawner, async move {
                started.send(()).unwrap();
                pending().await
            })
        });
        (thread, has_started)
    });
    let mut waiting = Vec::new();
    let ended = group.run(async {
        for (thread, has_started) in threads {
            has_started.await?;
            waiting.push(thread);
        }
        Err::<(), _>(anyhow!("out of paper"))
    });
    assert_eq!(ended.await.unwrap_err().len(), 1);
    for thread in waiting {
        assert!(thread.join().unwrap().unwrap_err().is_cancelled());
    }
}

/// The owner leaves: it waits for the calls of the threads, which get their results.
#[tokio::test]
async fn line_27_aexit_without_exception() {
    let group: TaskGroup = TaskGroup::new();
    let (mut threads, mut releases) = (Vec::new(), Vec::new());
    for number in [1, 2] {
        let (spawner, (started, has_started)) = (group.spawner(), oneshot::channel());
        let (release, released) = oneshot::channel::<()>();
        threads.push(thread::spawn(move || {
            call(&spawner, async move {
                started.send(()).unwrap();
                released.await?;
                Ok(number)
            })
        }));
        has_started.await.unwrap();
        releases.push(release);
    }
    let mut end = Box::pin(group.join());
    assert!(futures::poll!(end.as_mut()).is_pending());
    releases.into_iter().for_each(|release| release.send(()).unwrap());
    end.await.unwrap();
    let values: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect();
    assert_eq!(values, [1, 2]);
}

/// A call that would block the runtime's own thread is refused.
#[tokio::test]
async fn line_28_call_portal_from_event_loop_thread() {
    let group: TaskGroup = TaskGroup::new();
    assert!(call(&group.spawner(), async { Ok(()) }).unwrap_err().is_runtime_thread());
    group.join().await.unwrap();
}

/// A runtime on a thread of its own, called from this one.
#[cfg(feature = "signal")]
#[test]
fn line_29_start_with_new_event_loop() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = thread::spawn(move || {
        let runner = taskgroup::Runner::new().current_thread().without_signals();
        let outcome = runner.block_on(async |root: &TaskGroup| {
            sender.send(root.spawner())?;
            Ok(stopped.await?)
        });
        assert!(outcome.unwrap().into_result().is_ok());
    });
    let spawner = receiver.recv().unwrap();
    let there = call(&spawner, async { Ok(thread::current().id()) }).unwrap();
    assert_eq!(there, runtime.thread().id());
    stop.send(()).unwrap();
    runtime.join().unwrap();
    assert!(spawner.is_closed());
}

/// After the end calls are refused.
#[tokio::test]
async fn line_33_call_stopped_portal() {
    let portal = Portal::open();
    let spawner = portal.spawner.clone();
    portal.close().await;
    assert!(spawner.is_closed());
    assert!(on_a_thread(move || call(&spawner, async { Ok(()) })).await.unwrap_err().never_started());
}

/// A thread gets the handle of a task, and its value.
#[tokio::test]
async fn line_34_start_task_soon() {
    let portal = Portal::open();
    let spawner = portal.spawner.clone();
    let value = on_a_thread(move || {
        let task = spawner.spawn(async { Ok(42) });
        task.wait()
    });
    assert_eq!(value.await.unwrap(), 42);
    portal.close().await;
}

/// A thread cancels the running task by its handle.
#[tokio::test]
async fn line_36_start_task_soon_cancel_later() {
    let portal = Portal::open();
    let spawner = portal.spawner.clone();
    let alive = Alive::new();
    let (guard, (started, has_started)) = (alive.guard(), oneshot::channel());
    let ended = on_a_thread(move || {
        let task: Task<()> = spawner.spawn(async move {
            let _guard = guard;
            started.send(()).unwrap();
            pending().await
        });
        has_started.blocking_recv().unwrap();
        task.cancel_because("by its thread");
        task.wait().unwrap_err()
    });
    let error = ended.await;
    assert!(error.is_cancelled() && !error.never_started());
    assert_eq!(alive.now(), 0);
    portal.close().await;
}

/// Cancelled at once it never starts; its destructors run.
#[tokio::test]
async fn line_37_start_task_soon_cancel_immediately() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let guard = alive.guard();
    let task: Task<()> = group.spawn(async move {
        let _guard = guard;
        pending().await
    });
    task.cancel();
    group.join().await.unwrap();
    assert!(task.into_result().unwrap_err().never_started());
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// Cancelled when the owner is waiting for it: then the owner can end.
#[tokio::test]
async fn line_38_start_task_soon_cancel_after_stop() {
    let group: TaskGroup = TaskGroup::new();
    let task: Task<()> = group.task().eager().spawn(pending());
    let mut end = Box::pin(group.join());
    assert!(futures::poll!(end.as_mut()).is_pending());
    on_a_thread(move || {
        task.cancel();
        assert!(task.wait().unwrap_err().is_cancelled());
    })
    .await;
    end.await.unwrap();
}

/// A group inside what a thread called: the thread gets the group of errors, and nothing hangs.
#[tokio::test]
async fn line_43_async_context_manager_exception_in_task_group() {
    let portal = Portal::open();
    let spawner = portal.spawner.clone();
    let called = on_a_thread(move || {
        call(&spawner, async {
            let inner: Result<(), ErrorGroup> = taskgroup::scope(async |tg: &TaskGroup| {
                tg.spawn::<()>(async { bail!("out of paper") });
                pending::<anyhow::Result<()>>().await
            })
            .await;
            Ok(inner)
        })
    });
    let errors = called.await.unwrap().unwrap_err();
    assert_eq!(errors.leaves().count(), 1);
    portal.close().await;
}

type Started<R> = Result<(R, Task<&'static str>), StartError<anyhow::Error>>;

/// Starts a task from a plain thread.
async fn start_from_a_thread<R, Fut>(
    spawner: Spawner,
    make: impl FnOnce(taskgroup::Ready<R>) -> Fut + Send + 'static,
) -> Started<R>
where
    R: Send + 'static,
    Fut: Future<Output = anyhow::Result<&'static str>> + Send + 'static,
{
    on_a_thread(move || {
        let group = spawner.clone();
        call(&spawner, async move { Ok(group.task().start(make).await) }).unwrap()
    })
    .await
}

/// A thread starts a task that is ready without a value.
#[tokio::test]
async fn line_44_start_no_value() {
    let group: TaskGroup = TaskGroup::new();
    let start = start_from_a_thread(group.spawner(), |ready| async move {
        ready.ready(());
        Ok("ended")
    });
    let ended = group.run(async { Ok(start.await?.1.await?) }).await.unwrap();
    assert_eq!(ended, "ended");
}

/// A thread starts a task, gets its value, and its handle.
#[tokio::test]
async fn line_45_start_with_value() {
    let group: TaskGroup = TaskGroup::new();
    let start = start_from_a_thread(group.spawner(), |ready| async move {
        ready.ready(42);
        Ok("ended")
    });
    let both = group.run(async {
        let (value, task) = start.await?;
        Ok((value, task.await?))
    });
    assert_eq!(both.await.unwrap(), (42, "ended"));
}

/// A failure before `ready` comes out of the start, and nowhere else (R20).
#[tokio::test]
async fn line_47_start_crash_before_started_call() {
    let group: TaskGroup = TaskGroup::new();
    let start = start_from_a_thread::<(), _>(group.spawner(), |_ready| async { bail!("out of paper") });
    let failed = group.run(async { Ok(start.await.unwrap_err()) }).await.unwrap();
    assert!(matches!(failed, StartError::Failed(error) if error.to_string() == "out of paper"));
}

/// A failure after `ready` goes to the group; the handle says so.
#[tokio::test]
async fn line_48_start_crash_after_started_call() {
    let group: TaskGroup = TaskGroup::new();
    let (fail, failing) = oneshot::channel::<()>();
    let start = start_from_a_thread(group.spawner(), |ready| async move {
        ready.ready(2);
        failing.await?;
        bail!("out of paper")
    });
    let mut started = None;
    let ended = group.run(async {
        started = Some(start.await?);
        fail.send(()).unwrap();
        pending::<anyhow::Result<()>>().await
    });
    assert_eq!(ended.await.unwrap_err().len(), 1);
    let (value, task) = started.unwrap();
    assert_eq!(value, 2);
    assert!(task.into_result().unwrap_err().is_failed());
}

/// To end without `ready` is an error.
#[tokio::test]
async fn line_49_start_no_started_call() {
    let group: TaskGroup = TaskGroup::new();
    let start = start_from_a_thread::<(), _>(group.spawner(), |_ready| async { Ok("ended") });
    let failed = group.run(async { Ok(start.await.unwrap_err()) }).await.unwrap();
    assert!(matches!(failed, StartError::NotReady));
}

/// R9: a task that ends by saying "cancelled" fails nobody.
#[tokio::test]
async fn line_53_asyncio_run_sync_called() {
    let (group, (started, has_started)) = (TaskGroup::<anyhow::Error>::new(), oneshot::channel());
    let task = group.spawn_blocking::<()>(|token| {
        started.send(()).unwrap();
        until_cancelled(token);
        let cancelled: Cancelled = token.check().unwrap_err();
        Err(cancelled.into())
    });
    has_started.await.unwrap();
    task.cancel();
    group.join().await.unwrap();
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// A task of one runtime awaited in another.
#[tokio::test]
async fn line_55_from_async() {
    let (group, alive) = (TaskGroup::<anyhow::Error>::new(), Alive::new());
    let (spawner, guard) = (group.spawner(), alive.guard());
    let there = on_a_thread(move || {
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        other.block_on(spawner.spawn(async move {
            let _guard = guard;
            tokio::task::yield_now().await;
            Ok(thread::current().id())
        }))
    });
    assert_eq!(group.run(async { Ok(there.await?) }).await.unwrap(), thread::current().id());
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

/// The group is cancelled while a thread waits for one of its tasks: the thread is let go.
#[tokio::test]
async fn line_56_cancel_portal_future() {
    let (group, (started, has_started)) = (TaskGroup::<anyhow::Error>::new(), oneshot::channel());
    let spawner = group.spawner();
    let thread = thread::spawn(move || {
        call::<()>(&spawner, async move {
            started.send(()).unwrap();
            pending().await
        })
    });
    has_started.await.unwrap();
    group.cancel_because("closing time");
    group.join().await.unwrap();
    let error = thread.join().unwrap().unwrap_err();
    assert_eq!(error.reason().unwrap().to_string(), "closing time");
}
