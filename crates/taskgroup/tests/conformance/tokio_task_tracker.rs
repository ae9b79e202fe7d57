//! tokio-util's `TaskTracker`: when a group is empty, and when it is over.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::{FutureExt, poll};
use taskgroup::{CancelReason, LocalGroup, LocalSpawner, Spawner, Task, TaskGroup};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::support::Alive;
use super::tokio_join_map::Wakes;
use super::tokio_join_set_local::{on_a_runtime, on_a_set};

/// A child that ends when the sender is used.
fn gated(spawner: &Spawner) -> (oneshot::Sender<()>, Task<()>) {
    let (open, gate) = oneshot::channel();
    (open, spawner.spawn(async move { Ok(gate.await?) }))
}

/// Ends the child, and waits for that.
async fn end((open, task): (oneshot::Sender<()>, Task<()>)) {
    open.send(()).unwrap();
    task.await.unwrap();
}

/// R6: becoming empty closes nothing, however often; the group closes once, at its exit, and stays closed.
#[tokio::test(start_paused = true)]
async fn line_01_open_close() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    for _ in 0..2 {
        group.wait_idle().await;
        assert!(!spawner.is_closed() && spawner.is_empty());
        let child = gated(&spawner);
        assert_eq!((spawner.is_closed(), spawner.len()), (false, 1));
        end(child).await;
        assert!(spawner.is_empty());
    }
    group.join().await.unwrap();
    assert!(spawner.is_closed() && spawner.is_empty());
    spawner.cancel();
    assert!(spawner.is_closed() && spawner.is_empty() && !spawner.is_cancelled());
}

/// The length is that of the living, while they become more and while they become fewer.
#[tokio::test(start_paused = true)]
async fn line_02_token_len() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let mut living = Vec::new();
    for len in 1..=100 {
        living.push(gated(&spawner));
        assert_eq!((group.len(), spawner.len(), group.is_empty()), (len, len, false));
    }
    while let Some(child) = living.pop() {
        end(child).await;
        assert_eq!((group.len(), spawner.len()), (living.len(), living.len()));
    }
    assert!(group.is_empty() && spawner.is_empty());
    group.join().await.unwrap();
}

/// The end of an empty group comes at the first poll.
#[tokio::test(start_paused = true)]
async fn line_03_notify_immediately() {
    let group: TaskGroup = TaskGroup::new();
    group.join().now_or_never().unwrap().unwrap();

    let group: TaskGroup = TaskGroup::new();
    assert_eq!(group.run(async { Ok(1) }).now_or_never().unwrap().unwrap(), 1);
}

/// What counts for a wait is what it finds when it is polled, not what there was when it was made.
#[tokio::test(start_paused = true)]
async fn line_04_notify_immediately_on_reopen() {
    let group: TaskGroup = TaskGroup::new();
    let mut idle = Box::pin(group.wait_idle());
    let child = gated(&group.spawner());
    assert!(poll!(idle.as_mut()).is_pending());
    end(child).await;
    assert!(poll!(idle.as_mut()).is_ready());
    drop(idle);
    group.join().await.unwrap();
}

/// An empty group whose body goes on has not ended; the end of the body wakes who waits, and ends it.
#[tokio::test(start_paused = true)]
async fn line_05_notify_on_close() {
    let group: TaskGroup = TaskGroup::new();
    let (end_body, body) = oneshot::channel();
    let mut run = pin!(group.run(async { Ok(body.await?) }));
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert!(run.as_mut().poll(&mut cx).is_pending());
    assert_eq!(wakes.count(), 0);
    end_body.send("value").unwrap();
    assert!(wakes.count() > 0);
    assert!(matches!(run.poll(&mut cx), Poll::Ready(Ok("value"))));
}

/// A body that has ended while a child spawns another loses nothing: the group ends, after the newcomer.
#[tokio::test(start_paused = true)]
async fn line_06_notify_on_close_reopen() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let first = gated(&spawner);
    let mut join = pin!(group.join());
    assert!(poll!(join.as_mut()).is_pending());
    let second = gated(&spawner);
    end(first).await;
    assert!(poll!(join.as_mut()).is_pending());
    assert!(!spawner.is_closed());
    end(second).await;
    assert!(matches!(poll!(join.as_mut()), Poll::Ready(Ok(()))));
    assert!(spawner.is_closed());
}

/// The end of the last child wakes the host of a group whose body has ended, and ends the group.
#[tokio::test(start_paused = true)]
async fn line_07_notify_on_last_task() {
    let group: TaskGroup = TaskGroup::new();
    let child = gated(&group.spawner());
    let mut join = pin!(group.join());
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert!(join.as_mut().poll(&mut cx).is_pending());
    assert_eq!(wakes.count(), 0);
    end(child).await;
    assert_eq!(wakes.count(), 1);
    assert!(matches!(join.poll(&mut cx), Poll::Ready(Ok(()))));
}

/// Emptiness is a state, not an event: a wait that was woken and finds a newcomer waits for it too.
#[tokio::test(start_paused = true)]
async fn line_08_notify_on_last_task_respawn() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let first = gated(&spawner);
    let mut idle = Box::pin(group.wait_idle());
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert!(idle.as_mut().poll(&mut cx).is_pending());
    end(first).await;
    assert_eq!(wakes.count(), 1);
    let second = gated(&spawner);
    assert!(idle.as_mut().poll(&mut cx).is_pending());
    end(second).await;
    assert_eq!(wakes.count(), 2);
    assert!(idle.as_mut().poll(&mut cx).is_ready());
    drop(idle);
    group.join().await.unwrap();
}

/// Wherever among the ends of five children the body ends, the group ends with the last of the six.
#[tokio::test(start_paused = true)]
async fn line_10_close_during_exit() {
    for body_ends_after in 0..=5 {
        let group: TaskGroup = TaskGroup::new();
        let spawner = group.spawner();
        let children: Vec<_> = (0..5).map(|_| gated(&spawner)).collect();
        let (end_body, body) = oneshot::channel();
        let (mut end_body, mut ended) = (Some(end_body), 0);
        let mut run = pin!(group.run(async { Ok(body.await?) }));
        let mut children = children.into_iter();
        loop {
            assert!(poll!(run.as_mut()).is_pending());
            if ended == body_ends_after && end_body.is_some() {
                end_body.take().unwrap().send(ended).unwrap();
            } else {
                end(children.next().unwrap()).await;
                ended += 1;
            }
            if ended == 5 && end_body.is_none() {
                break;
            }
        }
        let polled = poll!(run.as_mut());
        assert!(matches!(polled, Poll::Ready(Ok(value)) if value == body_ends_after));
        assert!(spawner.is_closed() && spawner.is_empty());
    }
}

/// Ten who wait for the group to be idle are all woken, once, when it is.
#[tokio::test(start_paused = true)]
async fn line_11_notify_many() {
    let group: TaskGroup = TaskGroup::new();
    let child = gated(&group.spawner());
    let mut waits: Vec<(_, _, Pin<Box<_>>)> = (0..10)
        .map(|_| {
            let (wakes, waker) = Wakes::new();
            (wakes, waker, Box::pin(group.wait_idle()))
        })
        .collect();
    for (_, waker, wait) in &mut waits {
        assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    assert!(waits.iter().all(|(wakes, ..)| wakes.count() == 0));
    end(child).await;
    for (wakes, waker, wait) in &mut waits {
        assert_eq!(wakes.count(), 1);
        assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_ready());
    }
    drop(waits);
    group.join().await.unwrap();
}

/// After the end of a group its children are done, it is empty, and it is closed.
#[tokio::test(start_paused = true)]
async fn line_12_spawn_then_close() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            group.spawn(async move {
                tokio::task::yield_now().await;
                Ok(number)
            })
        })
        .collect();
    assert!(!spawner.is_closed() && !spawner.is_empty());
    group.join().await.unwrap();
    assert!(spawner.is_closed() && spawner.is_empty());
    let values: Vec<_> = tasks.into_iter().map(|task| task.into_result().unwrap()).collect();
    assert_eq!(values, (0..10).collect::<Vec<_>>());
}

/// R5: after the body's end a child still alive may spawn, and is waited for; after the exit nothing runs.
#[tokio::test(start_paused = true)]
async fn line_16_spawn_after_close() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let (open, gate) = oneshot::channel();
    let parent = {
        let spawner = spawner.clone();
        group.spawn(async move {
            gate.await?;
            Ok(spawner.spawn(async {
                tokio::task::yield_now().await;
                Ok("late")
            }))
        })
    };
    let mut run = pin!(group.run(async { Ok(()) }));
    assert!(poll!(run.as_mut()).is_pending());
    open.send(()).unwrap();
    run.await.unwrap();
    let late = parent.into_result().unwrap();
    assert_eq!(late.into_result().unwrap(), "late");

    let alive = Alive::new();
    let guard = alive.guard();
    let too_late = spawner.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
        Ok(())
    });
    assert_eq!((alive.now(), spawner.len()), (0, 0));
    let error = too_late.into_result().unwrap_err();
    assert!(error.never_started());
    assert_eq!(error.reason().unwrap().reason(), &CancelReason::GroupEnded);
    let refused = spawner.try_spawn(async { Ok(()) }).unwrap_err();
    assert_eq!(refused.cause().reason(), &CancelReason::GroupEnded);
}

/// Ten children of a local group, which count what they have come to.
fn spawn_local_ten(spawner: &LocalSpawner<'static>, ended: &Rc<Cell<usize>>) {
    for _ in 0..10 {
        let ended = Rc::clone(ended);
        spawner.spawn(async move {
            tokio::task::yield_now().await;
            ended.set(ended.get() + 1);
            Ok(())
        });
    }
    assert!(!spawner.is_closed() && spawner.len() >= 10);
}

async fn spawn_local_then_close() {
    let (group, ended) = (LocalGroup::new(), Rc::default());
    let spawner = group.spawner();
    spawn_local_ten(&spawner, &ended);
    group.join().await.unwrap();
    assert!(spawner.is_closed() && spawner.is_empty());
    assert_eq!((ended.get(), Rc::strong_count(&ended)), (10, 1));
}

#[test]
fn line_15_spawn_local_spawn_then_close() {
    on_a_set(spawn_local_then_close());
}

#[test]
fn line_17_spawn_local_on_local_runtime_spawn_then_close() {
    on_a_runtime(spawn_local_then_close());
}

/// The body has ended, a child keeps the group open. What is spawned while nobody drives it is waited for.
#[test]
fn line_19_spawn_local_on_local_set_close_then_spawn() {
    on_a_runtime(async {
        let (group, ended) = (LocalGroup::new(), Rc::default());
        let spawner = group.spawner();
        let (open, gate) = oneshot::channel::<()>();
        spawner.spawn(async move { Ok(gate.await?) });
        let set = LocalSet::new();
        let host = set.spawn_local(group.join());
        set.run_until(tokio::task::yield_now()).await;
        assert!(!host.is_finished());
        spawn_local_ten(&spawner, &ended);
        open.send(()).unwrap();
        assert_eq!((ended.get(), spawner.len()), (0, 11));
        set.await;
        host.await.unwrap().unwrap();
        assert!(spawner.is_closed() && spawner.is_empty());
        assert_eq!(ended.get(), 10);
    });
}
