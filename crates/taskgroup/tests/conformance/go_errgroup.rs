//! Go's `errgroup`.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use taskgroup::{CancelReason, OnFailure, TaskGroup};
use tokio::sync::{mpsc, oneshot};

use super::support::Alive;

type Group = TaskGroup<&'static str>;
type Outcome = Result<(), &'static str>;

const MIXES: [&[Outcome]; 8] = [
    &[],
    &[Ok(())],
    &[Err("one")],
    &[Ok(()), Err("one")],
    &[Err("one"), Ok(())],
    &[Err("one"), Err("two")],
    &[Ok(()), Err("two"), Ok(()), Err("one")],
    &[Err("two"), Ok(()), Err("one"), Err("two")],
];

fn first_error(mix: &[Outcome]) -> Option<&'static str> {
    mix.iter().find_map(|outcome| outcome.err())
}

/// The first failure stays first, whatever the children after it come to; a group without children ends well.
#[tokio::test(start_paused = true)]
async fn line_01_test_zero_group() {
    for mix in MIXES {
        let group: Group = TaskGroup::builder().on_failure(OnFailure::Continue).build();
        for &outcome in mix {
            let task = group.spawn(async move { outcome });
            group.wait_idle().await;
            assert_eq!(task.into_result().is_ok(), outcome.is_ok());
        }
        let result = group.join().await;
        let all: Vec<_> = mix.iter().filter_map(|outcome| outcome.err()).collect();
        match result {
            Ok(()) => assert!(all.is_empty()),
            Err(error) => {
                assert_eq!(error.leaves().map(|leaf| *leaf.error().unwrap()).collect::<Vec<_>>(), all);
                assert_eq!(error.into_first().unwrap().into_error().ok(), first_error(mix));
            }
        }
    }
}

/// Every mix gives its first error, or ends well; what ran in the background is stopped either way (R13).
#[tokio::test(start_paused = true)]
async fn line_02_test_with_context() {
    for mix in MIXES {
        let group = Group::new();
        let (spawner, alive) = (group.spawner(), Alive::new());
        let guard = alive.guard();
        let background = group.task().background().spawn(async move {
            let _guard = guard;
            pending::<Outcome>().await
        });
        for &outcome in mix {
            group.spawn(async move { outcome });
        }
        let first = group.join().await.err().map(|error| error.into_first().unwrap());
        assert_eq!(first.and_then(|failure| failure.into_error().ok()), first_error(mix));
        assert_eq!(alive.now(), 0);
        let stopped = background.into_result().unwrap_err();
        let reason = stopped.reason().unwrap().reason();
        match first_error(mix) {
            None => assert_eq!(reason, &CancelReason::GroupEnded),
            Some(_) => assert!(matches!(reason, CancelReason::SiblingFailed(_))),
        }
        // The group itself is not cancelled by ending well, and takes nothing any more.
        assert_eq!(spawner.is_cancelled(), first_error(mix).is_some());
        assert!(spawner.try_spawn(async { Ok(()) }).is_err());
    }
}

/// With a limit of n as many find room, and the next is refused without waiting; when they have ended there is room
/// again. The limit may change between batches; 0 refuses everybody, and there may be none.
#[tokio::test(start_paused = true)]
async fn line_03_test_try_go() {
    let group: Group = TaskGroup::builder().limit(0).build();
    let alive = Alive::new();
    for limit in [42, 8, 0] {
        group.set_limit(limit);
        for _ in 0..limit {
            let guard = alive.guard();
            let place = group.try_ready().expect("there is room");
            place.spawn(async move {
                let _guard = guard;
                tokio::task::yield_now().await;
                Ok(())
            });
        }
        // Who is refused has not given its future away.
        assert!(group.try_ready().is_none());
        assert_eq!((alive.now(), group.len()), (limit, limit));
        group.wait_idle().await;
    }
    group.set_limit(usize::MAX);
    for _ in 0..100 {
        group.try_ready().expect("no limit").spawn(async { Ok(()) });
    }
    group.join().await.unwrap();
    assert_eq!(alive.now(), 0);
}

/// With a limit of 10, of 1,025 children never more than 10 are active; a spawn that waits for a place finds one.
#[tokio::test(start_paused = true)]
async fn line_04_test_go_limit() {
    for waits in [true, false] {
        let (group, alive, most): (Group, _, _) =
            (TaskGroup::builder().limit(10).build(), Alive::new(), Arc::new(AtomicUsize::new(0)));
        let body = async {
            for _ in 0..1025 {
                let (alive, most) = (alive.clone(), Arc::clone(&most));
                let child = async move {
                    let _guard = alive.guard();
                    most.fetch_max(alive.now(), Ordering::SeqCst);
                    tokio::time::sleep(std::time::Duration::from_micros(1)).await;
                    Ok(())
                };
                match waits {
                    true => drop(group.spawn_when_ready(child).await),
                    false => drop(group.spawn(child)),
                }
                assert!(!waits || group.len() <= 10);
            }
            Ok(())
        };
        group.run(body).await.unwrap();
        assert_eq!((most.load(Ordering::SeqCst), alive.ever()), (10, 1025));
    }
}

/// What children read as the cause of their cancel names the child that failed first; without a failure
/// there is none, but for background children, which are told that the group has ended.
#[tokio::test(start_paused = true)]
async fn line_05_test_cancel_cause() {
    let group = Group::new();
    let (started, has_started) = oneshot::channel();
    let reader = group.spawn_blocking(move |token| {
        assert!(token.cause().is_none());
        let _ = started.send(());
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(token.cause().unwrap())
    });
    has_started.await.unwrap();
    let failing = group.task().name("culprit").spawn(async { Err::<(), _>("broken") });
    let failing = failing.id();
    let error = group.join().await.unwrap_err();
    let cause = reader.into_result().unwrap();
    let CancelReason::SiblingFailed(who) = cause.reason() else { panic!("{cause:?}") };
    assert_eq!((who.id(), who.name()), (failing, Some("culprit")));
    assert_eq!(error.cause().unwrap().reason(), cause.reason());
    assert_eq!(error.first().unwrap().id(), failing);

    let group = Group::new();
    let ordinary = group.spawn_blocking(|token| Ok(token.cause()));
    let background = group.task().background().spawn(pending::<Outcome>());
    group.join().await.unwrap();
    assert!(ordinary.into_result().unwrap().is_none());
    let stopped = background.into_result().unwrap_err();
    assert_eq!(stopped.reason().unwrap().reason(), &CancelReason::GroupEnded);
}

/// Several jobs that may fail: the first error comes out, or all went well.
#[tokio::test(start_paused = true)]
async fn line_06_example_group_just_errors() {
    async fn fetch(name: &'static str) -> Outcome {
        if name == "bad" { Err("no such host") } else { Ok(()) }
    }
    for names in [["a", "b", "c"], ["a", "bad", "c"]] {
        let fetched = taskgroup::scope(async |tg: &Group| {
            for name in names {
                tg.spawn(fetch(name));
            }
            Ok(())
        })
        .await;
        match fetched {
            Ok(()) => assert!(!names.contains(&"bad")),
            Err(error) => {
                assert!(names.contains(&"bad"));
                assert_eq!(*error.first().unwrap().error().unwrap(), "no such host");
                assert_eq!(error.len(), 1);
            }
        }
    }
}

/// A fixed set of jobs: the results come in the order of the input, though the last input is done first.
#[tokio::test(start_paused = true)]
async fn line_07_example_group_parallel() {
    let done = Arc::new(Mutex::new(Vec::new()));
    let searches = ["web", "image", "video"];
    let found = taskgroup::scope(async |tg: &Group| {
        let tasks: Vec<_> = (1..)
            .zip(searches)
            .map(|(place, what)| {
                let done = Arc::clone(&done);
                tg.spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_secs(10 - place)).await;
                    done.lock().unwrap().push(what);
                    Ok(format!("{what} result"))
                })
            })
            .collect();
        futures::future::try_join_all(tasks).await.map_err(|_| "lost")
    })
    .await
    .unwrap();
    assert_eq!(found, ["web result", "image result", "video result"]);
    assert_eq!(*done.lock().unwrap(), ["video", "image", "web"]);
}

/// A pipeline in one group: without an error all comes through; a failing producer stops the workers, its
/// error alone comes out, and nobody is left.
#[tokio::test(start_paused = true)]
async fn line_08_example_group_pipeline() {
    async fn pipeline(fails_at: Option<u32>, alive: &Alive) -> Result<u32, taskgroup::ErrorGroup> {
        taskgroup::scope(async |tg: &TaskGroup| {
            let (paths, worker_paths) = mpsc::channel(1);
            let (sums, mut all_sums) = mpsc::channel(1);
            let guard = alive.guard();
            tg.task().name("producer").spawn(async move {
                let _guard = guard;
                for path in 0..20 {
                    if fails_at == Some(path) {
                        anyhow::bail!("walk failed");
                    }
                    paths.send(path).await?;
                }
                Ok(())
            });
            let worker_paths = Arc::new(tokio::sync::Mutex::new(worker_paths));
            for _ in 0..3 {
                let (worker_paths, sums, guard) = (Arc::clone(&worker_paths), sums.clone(), alive.guard());
                tg.spawn(async move {
                    let _guard = guard;
                    loop {
                        let Some(path) = worker_paths.lock().await.recv().await else { return Ok(()) };
                        tokio::task::yield_now().await;
                        sums.send(2 * path).await?;
                    }
                });
            }
            drop(sums);
            let mut total = 0;
            while let Some(sum) = all_sums.recv().await {
                total += sum;
            }
            Ok(total)
        })
        .await
    }
    let alive = Alive::new();
    assert_eq!(pipeline(None, &alive).await.unwrap(), 380);
    assert_eq!((alive.now(), alive.ever()), (0, 4));

    let error = pipeline(Some(7), &alive).await.unwrap_err();
    assert_eq!((alive.now(), alive.ever()), (0, 8));
    assert_eq!(error.len(), 1);
    let failure = error.first().unwrap();
    assert_eq!(
        (failure.name(), failure.error().unwrap().to_string()),
        (Some("producer"), "walk failed".into())
    );
}
