//! Defects that a review found, so that they do not come back; each test names the rule it checks.

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use common::{Alive, multi_thread};
use futures::stream::{FuturesUnordered, StreamExt};
use taskgroup::{Ready, Task, TaskGroup, scope};
use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

/// What `work` gives on a thread of its own, or `None` where it hangs.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = send.send(work());
    });
    receive.recv_timeout(Duration::from_secs(5)).ok()
}

/// Runs a test of this program that may take the whole process with it, in a process of its own.
fn survives(name: &str) -> bool {
    let exe = std::env::current_exe().unwrap();
    let limited = format!("ulimit -v 3000000; exec {} --exact {name} --nocapture", exe.display());
    let mut child = Command::new("sh")
        .args(["-c", &limited])
        .env("TASKGROUP_INNER", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

fn is_inner() -> bool {
    std::env::var_os("TASKGROUP_INNER").is_some()
}

// ---- hangs

/// A background child that comes while the others are being told is never told.
#[test]
fn r06_a_background_child_that_comes_during_the_exit_does_not_keep_the_group() {
    let ended = ends(|| {
        multi_thread(2).block_on(async {
            let group: TaskGroup = TaskGroup::new();
            let spawner = group.spawner();
            group.task().background().spawn_blocking(move |token| {
                while !token.is_cancelled() {
                    std::thread::yield_now();
                }
                spawner.task().background().spawn(pending::<anyhow::Result<()>>());
                Ok(())
            });
            group.join().await.is_ok()
        })
    });
    assert_eq!(ended, Some(true));
}

/// The same on one thread, with a destructor.
#[tokio::test(start_paused = true)]
async fn r06_a_background_child_spawned_by_a_destructor_does_not_keep_the_group() {
    struct Respawn(Option<taskgroup::Spawner>);
    impl Drop for Respawn {
        fn drop(&mut self) {
            if let Some(spawner) = self.0.take() {
                spawner.task().background().spawn(pending::<anyhow::Result<()>>());
            }
        }
    }
    let group: TaskGroup = TaskGroup::new();
    let respawn = Respawn(Some(group.spawner()));
    group.task().background().spawn::<()>(async move {
        let _respawn = respawn;
        pending().await
    });
    settle().await;
    let joined = timeout(Duration::from_secs(60), group.join()).await;
    assert!(joined.is_ok(), "the exit hangs");
}

/// Nobody cuts a closure, so its waits must come back.
#[test]
fn r12_a_cancelled_closure_that_blocks_on_a_scope_ends() {
    let ended = ends(|| {
        let runtime = multi_thread(2);
        let handle = runtime.handle().clone();
        let ended = runtime.block_on(async {
            let group: TaskGroup = TaskGroup::new();
            let (started, wait) = oneshot::channel();
            group.spawn_blocking(move |_token| {
                started.send(()).unwrap();
                let _ = handle.block_on(scope(async |tg: &TaskGroup| {
                    tg.spawn(pending::<anyhow::Result<()>>());
                    Ok(())
                }));
                Ok(())
            });
            wait.await.unwrap();
            group.cancel();
            group.join().await.is_ok()
        });
        runtime.shutdown_background();
        ended
    });
    assert_eq!(ended, Some(true));
}

#[test]
fn r12_a_cancelled_closure_that_blocks_on_a_handle_ends() {
    let ended = ends(|| {
        let runtime = multi_thread(2);
        let handle = runtime.handle().clone();
        let ended = runtime.block_on(async {
            let group: TaskGroup = TaskGroup::new();
            let sibling = group.spawn(pending::<anyhow::Result<()>>());
            let (started, wait) = oneshot::channel();
            group.spawn_blocking(move |_token| {
                started.send(()).unwrap();
                let _ = handle.block_on(sibling);
                Ok(())
            });
            wait.await.unwrap();
            group.cancel();
            group.join().await.is_ok()
        });
        runtime.shutdown_background();
        ended
    });
    assert_eq!(ended, Some(true));
}

/// A user's predicate runs between the end of the future and `finish`: a panic in it loses the cell.
#[tokio::test(start_paused = true)]
async fn r10_a_predicate_that_panics_does_not_hang_the_group() {
    let group: TaskGroup =
        TaskGroup::builder().treat_as_cancelled(|_: &anyhow::Error| panic!("bad predicate")).build();
    let spawner = group.spawner();
    group.spawn::<()>(async move {
        spawner.cancel();
        Err(anyhow::anyhow!("no"))
    });
    let host = tokio::spawn(async move { group.join().await.is_err() });
    let ended = timeout(Duration::from_secs(60), host).await;
    assert!(ended.is_ok(), "the exit hangs");
}

/// An error over the limit is dropped in the same place.
#[tokio::test(start_paused = true)]
async fn r10_an_error_whose_destructor_panics_does_not_hang_the_group() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("bad destructor");
            }
        }
    }
    let group: TaskGroup<Bad> = TaskGroup::builder().max_failures(0).build();
    group.spawn::<()>(async { Err(Bad) });
    let host = tokio::spawn(async move { group.join().await.map_err(std::mem::forget) });
    let ended = timeout(Duration::from_secs(60), host).await;
    assert!(ended.is_ok(), "the exit hangs");
}

/// The host of the adopting group waits for the adopted one; nobody tells it that it need not any more.
#[tokio::test(start_paused = true)]
async fn r04_a_host_is_woken_when_an_adopted_group_is_run_elsewhere() {
    let maker: TaskGroup = TaskGroup::new();
    let (open, door) = oneshot::channel::<()>();
    let made = maker.spawn(async move {
        let made: TaskGroup = TaskGroup::new();
        made.spawn(async move {
            let _ = door.await;
            Ok(())
        });
        Ok(made)
    });
    let made = made.await.unwrap();
    let joined = async {
        maker.join().await.unwrap();
        let _ = open.send(());
    };
    let ran = made.run(async { Ok(()) });
    let both = timeout(Duration::from_secs(60), async { tokio::join!(joined, ran) }).await;
    assert!(both.is_ok(), "the group that owns nothing any more does not exit");
}

/// The check for "inside one of its own tasks" is left out where only an adopted group is alive.
#[test]
fn r04_a_group_run_inside_a_task_of_a_group_it_adopted_makes_no_circle() {
    if !is_inner() {
        return assert!(survives("r04_a_group_run_inside_a_task_of_a_group_it_adopted_makes_no_circle"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let group: Arc<TaskGroup> = Arc::new(TaskGroup::new());
        let (send, receive) = oneshot::channel();
        let inside = Arc::clone(&group);
        let maker = group.spawn(async move {
            let adopted: TaskGroup = TaskGroup::new();
            adopted.spawn(async move {
                settle().await;
                inside.run(async { Ok(()) }).await?;
                Ok(())
            });
            let _ = send.send(adopted);
            Ok(())
        });
        maker.await.unwrap();
        let adopted: TaskGroup = receive.await.unwrap();
        settle().await;
        settle().await;
        drop(adopted);
    });
}

/// The refused `run` of a child must not cost the owner its own.
#[tokio::test]
async fn r10_a_refused_run_inside_a_task_leaves_the_owner_its_run() {
    let group: Arc<TaskGroup> = Arc::new(TaskGroup::new());
    let inside = Arc::clone(&group);
    group.spawn(async move {
        inside.run(async { Ok(()) }).await?;
        Ok(())
    });
    settle().await;
    let panic = tokio::spawn(async move { group.run(pending::<anyhow::Result<()>>()).await.is_ok() })
        .await
        .unwrap_err()
        .into_panic();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("inside one of its own tasks"), "{text}");
}

// ---- threads

#[test]
fn an_eager_child_spawned_from_a_plain_thread_has_its_runtime() {
    let runtime = multi_thread(1);
    runtime.block_on(async {
        let group: TaskGroup = TaskGroup::builder().on_panic(taskgroup::OnPanic::Collect).build();
        let spawner = group.spawner();
        let (send, receive) = oneshot::channel();
        std::thread::spawn(move || {
            let task = spawner.task().eager().spawn(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(())
            });
            let _ = send.send(task);
        });
        let _task: Task<()> = receive.await.unwrap();
        group.join().await.unwrap();
    });
}

/// The value of a child whose handle was dropped must not live until its cell is let go of.
#[test]
fn r01_a_value_nobody_wants_does_not_outlive_the_exit() {
    let runtime = multi_thread(2);
    let late = runtime.block_on(async {
        let mut late = 0;
        for _ in 0..2_000 {
            let alive = Alive::new();
            let guard = alive.guard();
            scope(async |tg: &TaskGroup| {
                tg.spawn(async move { Ok(guard) });
                Ok(())
            })
            .await
            .unwrap();
            late += alive.now();
        }
        late
    });
    assert_eq!(late, 0, "values that were alive after the exit of their group");
}

// ---- R9, R12

/// `StartError::Cancelled` says "I was cancelled" as `TaskError` and `Cancelled` do.
#[tokio::test]
async fn r09_a_refused_start_is_no_failure_of_a_cancelled_child() {
    let closed: TaskGroup = TaskGroup::new();
    closed.cancel();
    let (other, group): (_, TaskGroup) = (closed.spawner(), TaskGroup::new());
    let own = group.spawner();
    group.spawn::<()>(async move {
        let refused = other.task().start(|_ready: Ready<()>| async { Ok(()) }).await;
        own.cancel();
        refused?;
        Ok(())
    });
    group.join().await.expect("a cancel is never a leaf");
}

/// One poll is given to a frozen region for its failures; a combinator with a budget may not use it.
#[tokio::test]
async fn r12_a_failure_of_draining_reaches_its_run_inside_a_combinator_that_yields() {
    let group: TaskGroup = TaskGroup::new();
    let (started, wait) = oneshot::channel();
    let seen = Arc::new(AtomicBool::new(false));
    let saw = Arc::clone(&seen);
    let task = group.spawn(async move {
        let failing = async move {
            let failed = scope(async |tg: &TaskGroup| {
                tg.spawn_blocking::<()>(move |token| {
                    let _ = started.send(());
                    while !token.is_cancelled() {
                        std::thread::yield_now();
                    }
                    Err(anyhow::anyhow!("cleanup failed"))
                });
                pending::<anyhow::Result<()>>().await
            })
            .await;
            saw.store(failed.is_err(), Ordering::SeqCst);
        };
        let busy = || {
            poll_fn(|cx| -> Poll<()> {
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        };
        let mut all: FuturesUnordered<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> =
            FuturesUnordered::new();
        all.push(Box::pin(busy()));
        all.push(Box::pin(busy()));
        all.push(Box::pin(busy()));
        all.push(Box::pin(failing));
        while all.next().await.is_some() {}
        Ok(())
    });
    wait.await.unwrap();
    task.cancel();
    let _ = group.join().await;
    assert!(seen.load(Ordering::SeqCst), "the failure was logged, not delivered");
}

// ---- R18 and cost

/// A chain of pending starts is walked by recursion.
#[test]
fn r18_a_long_chain_of_starts_is_cancelled_without_overflow() {
    fn chain(
        spawner: taskgroup::Spawner,
        depth: usize,
        bottom: Arc<Notify>,
    ) -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
        Box::pin(async move {
            if depth == 0 {
                bottom.notify_one();
                return pending().await;
            }
            let next = spawner.clone();
            spawner.task().start(move |_ready: Ready<()>| chain(next, depth - 1, bottom)).await?;
            Ok(())
        })
    }
    if !is_inner() {
        return assert!(survives("r18_a_long_chain_of_starts_is_cancelled_without_overflow"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let group: TaskGroup = TaskGroup::new();
        let bottom = Arc::new(Notify::new());
        let top = group.spawn(chain(group.spawner(), 10_000, Arc::clone(&bottom)));
        bottom.notified().await;
        top.cancel();
        group.join().await.unwrap();
    });
}

struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

fn kept_by<F: Future>(make: impl Fn() -> F) -> usize {
    let wakers: Vec<_> = (0..1_000).map(|_| Arc::new(Counted)).collect();
    for waker in &wakers {
        let waker = Waker::from(Arc::clone(waker));
        assert!(pin!(make()).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    wakers.iter().filter(|waker| Arc::strong_count(waker) > 1).count()
}

/// A wait that was given up leaves its waker with a long-lived group or task.
#[tokio::test]
async fn waits_that_were_given_up_leave_nothing() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn(pending::<anyhow::Result<()>>());
    let by_group = kept_by(|| group.wait_idle());
    let by_task = kept_by(|| task.wait_finished());
    assert!(by_group <= 1 && by_task <= 1, "kept: {by_group} by the group, {by_task} by the task");
}
