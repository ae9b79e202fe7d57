//! R3: `mem::forget` is sound. A program of its own, for it leaks on purpose, and the others are checked for leaks.

mod common;

use std::future::pending;

use common::Alive;
use taskgroup::{LocalGroup, TaskGroup, scope};
use tokio::task::yield_now;

#[tokio::test]
async fn forgetting_is_sound() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::new();
    let guard = alive.guard();
    let task = group.spawn(async move {
        let _guard = guard;
        yield_now().await;
        Ok(3)
    });
    std::mem::forget(group);
    assert_eq!(task.await.unwrap(), 3);
    assert_eq!(alive.now(), 0);

    let mut run = Box::pin(scope(async |tg: &TaskGroup| {
        tg.spawn(async { Ok(()) });
        pending::<anyhow::Result<()>>().await
    }));
    assert!(futures::poll!(run.as_mut()).is_pending());
    std::mem::forget(run);
}

/// Its children are neither polled nor dropped any more, whatever is done to what is left of it: they may borrow from what
/// is gone.
#[tokio::test]
async fn forgetting_a_local_group_is_sound() {
    let outer: TaskGroup = TaskGroup::new();
    let mut wakers = Vec::new();
    let (polls, text) = (std::cell::Cell::new(0), String::from("gone"));
    let body = async {
        let group: LocalGroup = LocalGroup::new();
        let task = group.spawn(std::future::poll_fn(|cx| {
            polls.set(polls.get() + 1);
            wakers.push(cx.waker().clone());
            if text.is_empty() { std::task::Poll::Ready(Ok(())) } else { std::task::Poll::Pending }
        }));
        let mut run = Box::pin(group.run(pending::<anyhow::Result<()>>()));
        assert!(futures::poll!(run.as_mut()).is_pending());
        std::mem::forget(run);
        let token = group.token();
        std::mem::forget(group);
        token.cancel();
        yield_now().await;
        assert!(!task.is_finished());
        Ok(())
    };
    outer.run(body).await.unwrap();
    assert_eq!((polls.get(), wakers.len()), (1, 1));
    drop((polls, text));
    wakers.drain(..).for_each(|waker| waker.wake());
}
