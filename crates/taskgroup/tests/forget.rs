//! R3: `mem::forget` is sound. A program of its own, for it leaks on purpose, and the others are checked for leaks.

mod common;

use std::future::pending;

use common::Alive;
use taskgroup::{TaskGroup, scope};
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
