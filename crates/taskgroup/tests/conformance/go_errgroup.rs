//! Go's `errgroup`: the first error, the cancel that comes with it or with the end, and its examples.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use taskgroup::{CancelCause, CancelReason, OnFailure, TaskGroup, scope};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::support::Alive;

type Plain = TaskGroup<&'static str>;
type End = Result<(), &'static str>;

const MIXES: [&[End]; 7] = [
    &[],
    &[Ok(())],
    &[Err("one")],
    &[Err("one"), Ok(())],
    &[Err("one"), Ok(()), Err("two")],
    &[Ok(()), Err("two"), Err("one")],
    &[Ok(()), Ok(()), Ok(())],
];

/// Waited for after each spawn, the first error stays the first: what is spawned later is born cancelled
/// (R5), or, in a group that continues, is reported after it.
#[tokio::test(start_paused = true)]
async fn line_01_test_zero_group() {
    for ends in MIXES {
        let first = ends.iter().position(Result::is_err);
        let all: Vec<_> = ends.iter().filter_map(|end| end.err()).collect();
        for on_failure in [OnFailure::Cancel, OnFailure::Continue] {
            let group: Plain = TaskGroup::builder().on_failure(on_failure).build();
            for (position, end) in ends.iter().copied().enumerate() {
                let task = group.spawn(async move { end });
                group.wait_idle().await;
                match task.into_result() {
                    Ok(()) => assert!(end.is_ok()),
                    Err(error) if error.is_failed() => assert!(end.is_err()),
                    Err(error) => {
                        assert!(error.never_started());
                        assert!(on_failure == OnFailure::Cancel && first.unwrap() < position);
                    }
                }
                let failed = first.is_some_and(|first| first <= position);
                assert_eq!(group.is_cancelled(), failed && on_failure == OnFailure::Cancel);
            }
            let reported: Vec<_> = match group.join().await {
                Ok(()) => Vec::new(),
                Err(errors) => errors.into_failures().into_iter().map(|f| f.into_error().unwrap()).collect(),
            };
            let stored = if on_failure == OnFailure::Continue { all.len() } else { all.len().min(1) };
            assert_eq!(reported, all[..stored]);
        }
    }
}

/// Whatever the tasks gave, after the end everything that belonged to the group has stopped: a background
/// task is gone, a spawner that was kept starts nothing.
#[tokio::test(start_paused = true)]
async fn line_02_test_with_context() {
    for ends in MIXES {
        let alive = Alive::new();
        let group: Plain = TaskGroup::new();
        let (guard, late) = (alive.guard(), alive.guard());
        let background = group.task().background().spawn(async move {
            let _guard = guard;
            pending::<End>().await
        });
        for end in ends.iter().copied() {
            group.spawn(async move { end });
        }
        let spawner = group.spawner();
        assert!(!spawner.is_closed());
        match group.join().await {
            Ok(()) => assert!(ends.iter().all(Result::is_ok)),
            Err(errors) => {
                assert_eq!(errors.first().unwrap().error(), ends.iter().find_map(|end| end.as_ref().err()));
            }
        }
        assert_eq!(alive.now(), 1, "only the guard that is here");
        assert!(background.into_result().unwrap_err().is_cancelled());
        assert!(spawner.is_closed());
        let late = spawner.spawn(async move {
            let _late = late;
            Ok(())
        });
        assert!(late.into_result().unwrap_err().never_started());
        assert_eq!(alive.now(), 0);
    }
}

/// The cause that the tasks see is the first task that failed, and the later failure does not replace it;
/// when all succeed what still runs is told that the group has ended.
#[tokio::test(start_paused = true)]
async fn line_05_test_cancel_cause() {
    let (says_started, mut started) = mpsc::unbounded_channel();
    let also_started = says_started.clone();
    let group: Plain = TaskGroup::new();
    let waits = group.spawn(pending::<End>());
    let looks = group.spawn_blocking::<CancelCause>(move |token| {
        says_started.send(()).unwrap();
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(token.cause().unwrap())
    });
    let fails_later = group.spawn_blocking::<()>(move |token| {
        also_started.send(()).unwrap();
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        Err("later")
    });
    let bad = group.task().name("bad").spawn(async move {
        started.recv().await.unwrap();
        started.recv().await.unwrap();
        Err::<(), _>("first")
    });
    let bad_id = bad.id();
    let errors = group.join().await.unwrap_err();
    let failures: Vec<_> = errors.failures().iter().map(|failure| *failure.error().unwrap()).collect();
    assert_eq!(failures, ["first", "later"]);
    assert!(fails_later.into_result().unwrap_err().is_failed());
    let seen = [
        waits.into_result().unwrap_err().reason().unwrap().clone(),
        looks.into_result().unwrap(),
        errors.cause().unwrap().clone(),
    ];
    for cause in seen {
        let CancelReason::SiblingFailed(who) = cause.reason() else { panic!("{cause:?}") };
        assert_eq!((who.id(), who.name()), (bad_id, Some("bad")));
    }

    let group: Plain = TaskGroup::new();
    let background = group.task().background().spawn(pending::<End>());
    group.spawn(async { Ok(()) });
    group.spawn(async { Ok(()) });
    group.join().await.unwrap();
    let error = background.into_result().unwrap_err();
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::GroupEnded));
}

/// Some jobs that may fail: the end says that all were fine, or which was not.
#[tokio::test(start_paused = true)]
async fn line_06_example_group_just_errors() {
    async fn fetch(address: &str) -> anyhow::Result<()> {
        sleep(Duration::from_millis(address.len() as u64)).await;
        anyhow::ensure!(!address.contains("nowhere"), "no host {address}");
        Ok(())
    }
    for (addresses, expected) in
        [(["a.example", "bb.example"], None), (["a.example", "b.nowhere"], Some("no host b.nowhere"))]
    {
        let fetched = scope(async |tg: &TaskGroup| {
            for address in addresses {
                tg.spawn(fetch(address));
            }
            Ok(())
        });
        let texts: Vec<_> = match fetched.await {
            Ok(()) => Vec::new(),
            Err(errors) => errors.leaves().map(|leaf| leaf.error().unwrap().to_string()).collect(),
        };
        assert_eq!(texts, Vec::from_iter(expected));
    }
}

/// A fixed set of jobs side by side: the results stand in the order of the input, not of the ends.
#[tokio::test(start_paused = true)]
async fn line_07_example_group_parallel() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let results = scope(async |tg: &TaskGroup| {
        let searches = [("web", 3), ("image", 1), ("video", 2)].map(|(kind, seconds)| {
            let ended = Arc::clone(&ended);
            tg.spawn(async move {
                sleep(Duration::from_secs(seconds)).await;
                ended.lock().unwrap().push(kind);
                Ok(format!("{kind} result"))
            })
        });
        let mut results = Vec::new();
        for search in searches {
            results.push(search.await?);
        }
        Ok(results)
    })
    .await
    .unwrap();
    assert_eq!(results, ["web result", "image result", "video result"]);
    assert_eq!(*ended.lock().unwrap(), ["image", "video", "web"]);
    assert_eq!(start.elapsed().as_secs(), 3);
}

/// Sums of the numbers that a producer gives, by four workers over two channels; the end of each stage
/// closes the channel to the next. The producer fails after `good` numbers, if told so.
async fn pipeline(good: u32, fails: bool, alive: &Alive) -> Result<u32, taskgroup::ErrorGroup<&'static str>> {
    scope(async |tg: &Plain| {
        let (numbers, to_square) = mpsc::channel(1);
        let (squares, mut to_sum) = mpsc::channel(1);
        let guard = alive.guard();
        tg.task().name("producer").spawn(async move {
            let _guard = guard;
            for number in 1..=good {
                numbers.send(number).await.map_err(|_| "no worker")?;
            }
            if fails {
                return Err("the disk is gone");
            }
            Ok(())
        });
        let to_square = Arc::new(tokio::sync::Mutex::new(to_square));
        for _ in 0..4 {
            let (to_square, squares, guard) = (Arc::clone(&to_square), squares.clone(), alive.guard());
            tg.spawn(async move {
                let _guard = guard;
                loop {
                    let Some(number) = to_square.lock().await.recv().await else { return Ok(()) };
                    squares.send(number * number).await.map_err(|_| "no consumer")?;
                }
            });
        }
        drop(squares);
        let mut sum = 0;
        while let Some(square) = to_sum.recv().await {
            sum += square;
        }
        Ok(sum)
    })
    .await
}

/// Three stages in one group: all is summed; a producer that fails cancels the workers and the consumer, its
/// error comes out alone, and nobody is left.
#[tokio::test(start_paused = true)]
async fn line_08_example_group_pipeline() {
    let alive = Alive::new();
    assert_eq!(pipeline(10, false, &alive).await.unwrap(), 385);
    assert_eq!((alive.now(), alive.ever()), (0, 5));

    let errors = pipeline(10, true, &alive).await.unwrap_err();
    assert_eq!((errors.len(), errors.more()), (1, 0));
    let failure = errors.first().unwrap();
    assert_eq!((failure.name(), failure.error()), (Some("producer"), Some(&"the disk is gone")));
    assert_eq!((alive.now(), alive.ever()), (0, 10));
}

/// A panic in a task is caught, ends the others, and goes on in the host (R10); Go lets the process die.
#[tokio::test(start_paused = true)]
async fn line_10_panics_are_not_captured() {
    let alive = Alive::new();
    let group: Plain = TaskGroup::new();
    let guard = alive.guard();
    let sibling = group.spawn(async move {
        let _guard = guard;
        pending::<End>().await
    });
    let bad = group.spawn::<()>(async {
        sleep(Duration::from_secs(1)).await;
        panic!("lost")
    });
    let payload = AssertUnwindSafe(group.join()).catch_unwind().await.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"lost"));
    assert_eq!(alive.now(), 0);
    assert!(bad.into_result().unwrap_err().is_panicked());
    let error = sibling.into_result().unwrap_err();
    assert!(matches!(error.reason().unwrap().reason(), CancelReason::SiblingPanicked(_)));
}
