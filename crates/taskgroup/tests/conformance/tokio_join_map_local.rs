//! tokio-util's `JoinMap` with children that are not `Send`: in a local group, names stand for keys.

use std::collections::BTreeSet;
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;

use futures::poll;
use taskgroup::{LocalGroup, LocalTask};
use tokio::task::{LocalSet, yield_now};

use super::tokio_join_set_local::{on_a_runtime, on_a_set};

/// Ten children with names that give what they share.
fn spawn_ten(group: &LocalGroup<'static>, shared: &Rc<str>) -> Vec<LocalTask<'static, Rc<str>>> {
    let spawn = |number: usize| {
        let shared = Rc::clone(shared);
        group.task().name(number.to_string()).spawn(async move {
            yield_now().await;
            Ok(shared)
        })
    };
    (0..10).map(spawn).collect()
}

/// The same, which never end by themselves.
fn hold_ten(group: &LocalGroup<'static>, held: &Rc<str>) -> Vec<LocalTask<'static, ()>> {
    let hold = |number: usize| {
        let held = Rc::clone(held);
        group.task().name(number.to_string()).spawn(async move {
            let _held = held;
            pending().await
        })
    };
    (0..10).map(hold).collect()
}

fn all_names() -> BTreeSet<String> {
    (0..10).map(|number| number.to_string()).collect()
}

/// The names of those that were cancelled.
fn cancelled(tasks: Vec<LocalTask<'static, ()>>) -> BTreeSet<String> {
    let errors = tasks.into_iter().map(|task| task.into_result().unwrap_err());
    errors.filter(|error| error.is_cancelled()).map(|error| error.name().unwrap().to_owned()).collect()
}

async fn spawn_then_join_next() {
    let (group, shared) = (LocalGroup::new(), Rc::from("shared"));
    let body = async {
        let mut seen = BTreeSet::new();
        for task in spawn_ten(&group, &shared) {
            assert!(seen.insert(task.name().unwrap().to_owned()));
            assert!(Rc::ptr_eq(&task.await?, &shared));
        }
        assert_eq!((seen, group.len()), (all_names(), 0));
        Ok(())
    };
    group.run(body).await.unwrap();
    assert_eq!(Rc::strong_count(&shared), 1);
}

async fn spawn_then_drop() {
    let (group, held) = (LocalGroup::new(), Rc::from("held"));
    let tasks = hold_ten(&group, &held);
    {
        let mut run = pin!(group.run(pending::<anyhow::Result<()>>()));
        assert!(poll!(run.as_mut()).is_pending());
        let living = group.stragglers();
        let names: BTreeSet<_> = living.iter().filter_map(|child| child.name().map(str::to_owned)).collect();
        assert_eq!((names, Rc::strong_count(&held)), (all_names(), 11));
    }
    assert_eq!((cancelled(tasks), Rc::strong_count(&held)), (all_names(), 1));
}

#[test]
fn line_21_spawn_local_local_runtime_spawn_then_join_next() {
    on_a_runtime(spawn_then_join_next());
}

#[test]
fn line_23_spawn_local_local_runtime_spawn_then_drop() {
    on_a_runtime(spawn_then_drop());
}

#[test]
fn line_24_spawn_local_local_set_spawn_then_join_next() {
    on_a_set(spawn_then_join_next());
}

#[test]
fn line_26_spawn_local_local_set_spawn_then_drop() {
    on_a_set(spawn_then_drop());
}

/// Spawned where there is no runtime yet.
#[test]
fn line_27_spawn_local_on_local_runtime_spawn_then_join_next() {
    let (group, shared) = (LocalGroup::new(), Rc::from("shared"));
    let tasks = spawn_ten(&group, &shared);
    assert_eq!(group.report().completed(), 0);
    on_a_runtime(group.join()).unwrap();
    let named = |task: LocalTask<'static, Rc<str>>| {
        let name = task.name().unwrap().to_owned();
        task.into_result().map(|_| name).unwrap()
    };
    assert_eq!(tasks.into_iter().map(named).collect::<BTreeSet<_>>(), all_names());
}

/// Spawned into a group on a `LocalSet` that nobody drives yet.
#[test]
fn line_28_spawn_local_on_local_set_spawn_then_join_next() {
    on_a_runtime(async {
        let (group, shared) = (LocalGroup::new(), Rc::from("shared"));
        let tasks = spawn_ten(&group, &shared);
        let set = LocalSet::new();
        let host = set.spawn_local(group.join());
        yield_now().await;
        assert!(!tasks.iter().any(LocalTask::is_finished));
        set.await;
        host.await.unwrap().unwrap();
        assert!(tasks.iter().all(|task| Rc::ptr_eq(task.result().unwrap().unwrap(), &shared)));
    });
}

/// Dropped with the `LocalSet`, before that is driven or after.
#[test]
fn line_30_spawn_local_on_local_set_spawn_then_drop() {
    on_a_runtime(async {
        for driven in [false, true] {
            let (group, held) = (LocalGroup::new(), Rc::from("held"));
            let tasks = hold_ten(&group, &held);
            let set = LocalSet::new();
            drop(set.spawn_local(group.join()));
            if driven {
                assert!(poll!(pin!(set.run_until(yield_now()))).is_pending());
            }
            assert!(!tasks.iter().any(LocalTask::is_finished));
            drop(set);
            assert_eq!((cancelled(tasks), Rc::strong_count(&held)), (all_names(), 1));
        }
    });
}
