//! Inside the task that awaits them: failures and panics, cancels from outside and drops in the middle, as for `map`.

use std::cell::Cell;
use std::future::pending;

use futures::{StreamExt, poll};
use taskgroup::{
    CancelReason, LocalGroup, OnFailure, OnPanic, TaskGroup, finally, map_local, shield, timeout,
};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::common::{Alive, Guard, Steps, within_an_hour};
use super::{Outcome, double, millis, paths, payload, text};

#[tokio::test(start_paused = true)]
async fn the_first_failure_cancels_the_rest_and_waits_for_them() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let work = map_local(0.., 8, async |number: usize| {
        let _guard = alive.guard();
        match number {
            3 => {
                sleep(millis(1)).await;
                Err("three")
            }
            5 => {
                let cleanup = async |_how: taskgroup::Ending| {
                    sleep(millis(50)).await;
                    steps.mark("cleaned up");
                };
                finally(pending::<Outcome<usize>>(), cleanup).await
            }
            _ => pending().await,
        }
    });
    let errors = within_an_hour(work.name("crawl")).await.unwrap_err();
    assert_eq!((alive.now(), alive.ever(), steps.seen()), (0, 8, vec!["cleaned up"]));
    let failure = errors.first().unwrap();
    assert_eq!((errors.len(), failure.error()), (1, Some(&"three")));
    assert_eq!((failure.name(), failure.path()), (Some("item 3"), "crawl > item 3"));
    assert_eq!(failure.location().file(), file!());
    let cause = errors.cause().unwrap().root();
    let CancelReason::SiblingFailed(who) = cause.reason() else { panic!("{cause}") };
    assert_eq!((who.name(), who.id()), (Some("item 3"), failure.id()));
}

#[tokio::test]
async fn an_endless_iterator_ends_by_a_failure() {
    let work =
        map_local(0_u64.., 256, async |number| if number == 10_000 { Err("enough") } else { Ok(number) });
    assert_eq!(paths(&work.await.unwrap_err()), ["map > item 10000"]);
}

#[tokio::test]
async fn with_continue_all_are_run_and_all_failures_come_out() {
    let alive = Alive::new();
    let work = map_local(0..1_000, 16, async |number| {
        let _guard = alive.guard();
        if number % 10 == 0 { Err(number) } else { Ok(number) }
    });
    let errors = work.on_failure(OnFailure::Continue).max_failures(80).await.unwrap_err();
    assert_eq!((alive.ever(), alive.now()), (1_000, 0));
    assert_eq!((errors.len(), errors.more()), (80, 20));
    for failure in errors.failures() {
        assert_eq!(failure.name(), Some(&*format!("item {}", failure.error().unwrap())));
    }
}

/// A panic of `f` itself, and of its future at the first and at a later poll.
#[tokio::test(start_paused = true)]
async fn a_panic_of_an_item_is_resumed_when_all_have_ended() {
    for polls in 0..3 {
        let alive = Alive::new();
        let work = map_local(0.., 8, |number: usize| {
            assert!(number != 4 || polls != 0, "in f");
            let guard = alive.guard();
            async move {
                let _guard = guard;
                if number != 4 {
                    pending::<()>().await;
                }
                if polls == 2 {
                    sleep(millis(1)).await;
                }
                assert!(number != 4, "in the future");
                Outcome::Ok(())
            }
        });
        let payload = text(payload(work).await);
        assert_eq!(payload, if polls == 0 { "in f" } else { "in the future" });
        assert_eq!(alive.now(), 0);
    }
}

/// What was not started is gone too when the panic comes out, whoever still holds the future.
#[tokio::test(start_paused = true)]
async fn a_panic_leaves_nothing_of_the_map() {
    let alive = Alive::new();
    let own = alive.guard();
    let items = (0..1_000).map(|number| (number, alive.guard()));
    let items = items.inspect(move |_| {
        let _own = &own;
    });
    let mut work = map_local(items, 256, async |(number, guard)| {
        assert!(number != 400, "item 400");
        Outcome::Ok(guard)
    });
    assert_eq!(text(payload(&mut work).await), "item 400");
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
async fn collected_panics_are_named_after_their_items() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }
    let alive = Alive::new();
    let work = map_local(0..100, 8, |number| {
        let guard = alive.guard();
        assert!(number != 10, "in f");
        let held = (number == 30).then(|| Panics);
        async move {
            let _held = (guard, held);
            assert!(number != 20, "in the future");
            if number % 5 == 0 {
                yield_now().await;
            }
            Outcome::Ok(number)
        }
    });
    let errors = work.on_failure(OnFailure::Continue).on_panic(OnPanic::Collect).await.unwrap_err();
    let mut told: Vec<_> =
        errors.failures().iter().map(|it| (it.path(), it.panic().unwrap().message().unwrap())).collect();
    told.sort_unstable();
    let expected = [
        ("map > item 10", "in f"),
        ("map > item 20", "in the future"),
        ("map > item 30", "in the destructor"),
    ];
    assert_eq!(told, expected);
    assert_eq!((alive.ever(), alive.now()), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_iterator_cancels_the_items() {
    let alive = Alive::new();
    let items = (0..10).inspect(|number| assert!(*number != 5, "no item 5"));
    let work = map_local(items, 8, async |_| {
        let _guard = alive.guard();
        pending::<Outcome<()>>().await
    });
    assert_eq!(text(payload(work).await), "no item 5");
    assert_eq!((alive.ever(), alive.now()), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_its_own_cuts_the_map() {
    let alive = Alive::new();
    let work = map_local(0..10, 4, async |number| {
        let _guard = alive.guard();
        sleep(millis(if number == 6 { 10_000 } else { 1 })).await;
        Outcome::Ok(number)
    });
    let errors = within_an_hour(work.timeout(millis(100))).await.unwrap_err();
    assert!(errors.is_cancelled());
    assert!(matches!(errors.cause().unwrap().reason(), CancelReason::Deadline(..)));
    assert_eq!(alive.now(), 0);
    assert_eq!(map_local(0..10, 4, double).timeout(millis(100)).await.unwrap().len(), 10);
}

/// Items that hold a guard, from an iterator that holds one too.
fn guarded(alive: &Alive) -> impl Iterator<Item = Guard> + use<> {
    let (alive, own) = (alive.clone(), alive.guard());
    std::iter::repeat_with(move || {
        let _own = &own;
        alive.guard()
    })
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_the_region_around_reaches_the_items() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let work = map_local(guarded(&alive), 4, |guard| {
        let work = async move {
            let _guard = guard;
            pending::<Outcome<()>>().await
        };
        finally(work, async |_how| {
            sleep(millis(5)).await;
            steps.mark("cleaned up");
        })
    });
    assert!(within_an_hour(timeout(millis(10), work)).await.is_err());
    assert_eq!((alive.now(), steps.seen().len()), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_is_cut_at_its_map() {
    for as_stream in [false, true] {
        let (alive, steps) = (Alive::new(), Steps::default());
        let group: LocalGroup = LocalGroup::new();
        let task = group.spawn(async {
            let work = map_local(guarded(&alive), 4, async |guard| {
                let _guard = guard;
                shield(sleep(millis(50))).await;
                pending::<Outcome<()>>().await
            });
            if as_stream {
                let _next = work.ordered().next().await;
            } else {
                let _all = work.await;
            }
            steps.mark("went on");
            Ok(())
        });
        let cancel = async {
            sleep(millis(10)).await;
            task.cancel();
        };
        let (joined, ()) = tokio::join!(within_an_hour(group.join()), cancel);
        joined.unwrap();
        assert!(task.result().unwrap().is_err_and(|error| error.is_cancelled()));
        assert_eq!((alive.now(), alive.ever(), steps.seen()), (0, 5, vec![]));
    }
}

/// In a region that is cancelled already nothing is started, and nobody gets an answer.
#[tokio::test(start_paused = true)]
async fn in_a_cancelled_region_nothing_is_pulled() {
    let (alive, steps) = (Alive::new(), Steps::default());
    for stream in [false, true] {
        let group = TaskGroup::<&'static str>::new();
        let result = group
            .run(async {
                group.cancel();
                let work = map_local(guarded(&alive), 4, async |guard| {
                    drop(guard);
                    Outcome::Ok(())
                });
                if stream {
                    let _next = work.as_completed().next().await;
                } else {
                    let _all = work.await;
                }
                steps.mark("went on");
                Ok(())
            })
            .await;
        assert!(result.unwrap_err().is_cancelled());
    }
    assert_eq!((alive.ever(), alive.now(), steps.seen()), (2, 0, vec![]));
}

/// Items that never wait: a cancel finds them between two of their turns.
#[tokio::test]
async fn a_cancel_ends_an_endless_map_of_ready_items() {
    for as_stream in [false, true] {
        let alive = Alive::new();
        let group = TaskGroup::<&'static str>::new();
        let body = group.run(async {
            let work = map_local(guarded(&alive), 4, async |guard| {
                drop(guard);
                Outcome::Ok(())
            });
            match as_stream {
                true => assert!(work.as_completed().all(async |result| result.is_ok()).await),
                false => drop(work.await),
            }
            Ok(())
        });
        let cancel = async {
            for _ in 0..3 {
                yield_now().await;
            }
            group.cancel();
        };
        let (result, ()) = tokio::join!(body, cancel);
        assert!(result.unwrap_err().is_cancelled());
        assert_eq!(alive.now(), 0);
        assert!(alive.ever() > 1);
    }
}

#[tokio::test]
async fn a_drop_in_the_middle_leaves_nothing() {
    for round in 0..20 {
        let (alive, started) = (Alive::new(), Cell::new(0));
        let mut work = map_local(guarded(&alive), 64, |guard| {
            let number = started.get();
            started.set(number + 1);
            async move {
                match number % 4 {
                    0 => yield_now().await,
                    1 if number > round * 10 => pending().await,
                    _ => {}
                }
                Outcome::Ok(guard) // results are dropped too
            }
        });
        while started.get() < round * 10 {
            assert!(poll!(&mut work).is_pending());
            yield_now().await;
        }
        assert!(poll!(&mut work).is_pending());
        drop(work);
        assert_eq!(alive.now(), 0);
    }
}

#[tokio::test]
async fn a_stream_dropped_in_the_middle_leaves_nothing() {
    for ordered in [false, true] {
        let alive = Alive::new();
        let work = map_local(guarded(&alive), 16, |guard| async move { Outcome::Ok(guard) });
        let mut results = if ordered { work.ordered() } else { work.as_completed() };
        for _ in 0..100 {
            assert!(results.next().await.unwrap().is_ok());
        }
        drop(results);
        assert_eq!(alive.now(), 0);
        assert!(alive.ever() <= 100 + 16 + 1, "{}", alive.ever());
    }
}
