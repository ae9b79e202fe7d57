//! tokio's `JoinSet` with children that are not `Send`: a local group polls them itself, inside whatever awaits it, so
//! the main future of a runtime does, and a `LocalSet` is not needed.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use futures::poll;
use taskgroup::{CancelReason, LocalGroup, LocalTask};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, yield_now};

/// On a runtime of this thread, without a `LocalSet`.
pub(super) fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().unwrap().block_on(future)
}

/// As a task of a `LocalSet`.
pub(super) fn on_a_set(future: impl Future<Output = ()> + 'static) {
    on_a_runtime(async {
        let set = LocalSet::new();
        let host = set.spawn_local(future);
        set.await;
        host.await.unwrap();
    });
}

/// Ten children that count what they have come to, each with a number that is not `Send`.
fn spawn_ten(group: &LocalGroup<'static>, ended: &Rc<Cell<usize>>) -> Vec<LocalTask<'static, Rc<usize>>> {
    let spawn = |number| {
        let ended = Rc::clone(ended);
        let task = group.spawn(async move {
            yield_now().await;
            ended.set(ended.get() + 1);
            Ok(Rc::new(number))
        });
        assert_eq!(group.len(), number + 1);
        task
    };
    (0..10).map(spawn).collect()
}

/// Ten children that hold what they were given until they are cut.
fn hold_ten(group: &LocalGroup<'static>, held: &Rc<()>) -> Vec<LocalTask<'static, ()>> {
    let hold = || {
        let held = Rc::clone(held);
        group.spawn(async move {
            let _held = held;
            pending().await
        })
    };
    (0..10).map(|_| hold()).collect()
}

fn were_dropped(tasks: Vec<LocalTask<'static, ()>>) -> bool {
    tasks
        .into_iter()
        .all(|task| task.into_result().unwrap_err().reason().unwrap().reason() == &CancelReason::GroupDropped)
}

async fn spawn_then_join_next() {
    let (group, ended) = (LocalGroup::new(), Rc::default());
    let body = async {
        let mut left = 10;
        for (number, task) in spawn_ten(&group, &ended).into_iter().enumerate() {
            assert_eq!(*task.await?, number);
            left -= 1;
            assert!(group.len() <= left);
        }
        Ok(())
    };
    group.run(body).await.unwrap();
    assert_eq!((ended.get(), group.len(), Rc::strong_count(&ended)), (10, 0, 1));
}

/// Dropped before their first poll, and in the middle: their values are gone when the drop returns.
async fn spawn_then_drop() {
    for polled in [false, true] {
        let (group, held) = (LocalGroup::new(), Rc::new(()));
        let tasks = hold_ten(&group, &held);
        let mut run = Box::pin(group.join());
        if polled {
            assert!(poll!(run.as_mut()).is_pending());
            yield_now().await;
        }
        assert_eq!(Rc::strong_count(&held), 11);
        drop(run);
        assert_eq!(Rc::strong_count(&held), 1);
        assert!(were_dropped(tasks));
    }
}

#[test]
fn line_15_spawn_local_local_runtime_spawn_then_join_next() {
    on_a_runtime(spawn_then_join_next());
}

#[test]
fn line_17_spawn_local_local_runtime_spawn_then_drop() {
    on_a_runtime(spawn_then_drop());
}

#[test]
fn line_18_spawn_local_local_set_spawn_then_join_next() {
    on_a_set(spawn_then_join_next());
}

#[test]
fn line_20_spawn_local_local_set_spawn_then_drop() {
    on_a_set(spawn_then_drop());
}

/// Children are spawned where there is no runtime yet, and joined on one.
#[test]
fn line_21_spawn_local_on_local_runtime_spawn_then_join_next() {
    let (group, ended) = (LocalGroup::new(), Rc::default());
    let tasks = spawn_ten(&group, &ended);
    assert_eq!((ended.get(), group.len()), (0, 10));
    on_a_runtime(group.join()).unwrap();
    assert_eq!(ended.get(), 10);
    let values: Vec<_> = tasks.into_iter().map(|task| *task.into_result().unwrap()).collect();
    assert_eq!(values, (0..10).collect::<Vec<_>>());
}

/// The group is on a `LocalSet` that nobody drives yet; what is spawned into it meanwhile waits.
#[test]
fn line_22_spawn_local_on_local_set_spawn_then_join_next() {
    on_a_runtime(async {
        let (group, ended) = (Rc::new(LocalGroup::new()), Rc::default());
        let set = LocalSet::new();
        let hosted = Rc::clone(&group);
        let host = set.spawn_local(async move { hosted.run(async { anyhow::Ok(()) }).await });
        let tasks = spawn_ten(&group, &ended);
        yield_now().await;
        assert_eq!((ended.get(), group.len()), (0, 10));
        set.await;
        host.await.unwrap().unwrap();
        assert_eq!(ended.get(), 10);
        assert!(tasks.iter().enumerate().all(|(number, task)| **task.result().unwrap().unwrap() == number));
    });
}

/// The group goes with the `LocalSet` that it is on, before that is driven or after.
#[test]
fn line_24_spawn_local_on_local_set_spawn_then_drop() {
    on_a_runtime(async {
        for driven in [false, true] {
            let (group, held) = (LocalGroup::new(), Rc::new(()));
            let tasks = hold_ten(&group, &held);
            let set = LocalSet::new();
            let host = set.spawn_local(group.join());
            if driven {
                assert!(poll!(pin!(set.run_until(yield_now()))).is_pending());
            }
            assert_eq!(Rc::strong_count(&held), 11);
            drop(set);
            assert_eq!(Rc::strong_count(&held), 1);
            assert!(were_dropped(tasks));
            assert!(host.await.unwrap_err().is_cancelled());
        }
    });
}

/// A group is cancelled from another thread by its token; its children are dropped on their own.
#[test]
fn line_29_remote_abort_local_set_3929() {
    struct DroppedOn(Arc<Mutex<Option<std::thread::ThreadId>>>);
    impl Drop for DroppedOn {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = Some(std::thread::current().id());
        }
    }
    let dropped_on = Arc::new(Mutex::new(None));
    let captured = DroppedOn(Arc::clone(&dropped_on));
    on_a_set(async move {
        let group: LocalGroup = LocalGroup::new();
        let task = group.spawn::<()>(async move {
            let _captured = (captured, Rc::new("not `Send`"));
            pending().await
        });
        let body = async {
            yield_now().await;
            assert_eq!(group.stragglers().len(), 1, "it has been polled");
            let token = group.token();
            std::thread::spawn(move || token.cancel_because("from afar")).join().unwrap();
            // The request alone drops nothing.
            assert!(dropped_on.lock().unwrap().is_none());
            Ok(())
        };
        group.run(body).await.unwrap();
        assert_eq!(*dropped_on.lock().unwrap(), Some(std::thread::current().id()));
        assert_eq!(task.into_result().unwrap_err().reason().unwrap().root().to_string(), "from afar");
    });
}
