//! Errors and panics: of items, of what makes and holds them, and of destructors.

use std::future::pending;

use taskgroup::{
    CancelReason, CancelToken, Cancelled, OnFailure, OnPanic, finally, is_cancelled, map, shield,
};
use tokio::time::sleep;

use super::common::{Alive, Steps, multi_thread, within_an_hour};
use super::{Outcome, millis, paths, payload, text};

/// What the future panics with.
#[tokio::test(start_paused = true)]
async fn the_first_failure_cancels_the_rest_and_waits_for_them() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let (guarded, noted) = (alive.clone(), steps.clone());
    let work = map(0.., 8, move |number: usize| {
        let (guard, noted) = (guarded.guard(), noted.clone());
        async move {
            let _guard = guard;
            match number {
                3 => {
                    sleep(millis(1)).await;
                    Err("three")
                }
                5 => {
                    let cleanup = async move |_how: &_| {
                        sleep(millis(50)).await;
                        noted.mark("cleaned up");
                    };
                    finally(pending::<Outcome<usize>>(), async move |how| cleanup(&how).await).await
                }
                _ => pending().await,
            }
        }
    });
    let errors = within_an_hour(work.name("crawl")).await.unwrap_err();
    assert_eq!((alive.now(), steps.seen()), (0, vec!["cleaned up"]));
    assert!(alive.ever() <= 8, "{} were started", alive.ever());
    let failure = errors.first().unwrap();
    assert_eq!((errors.len(), failure.error()), (1, Some(&"three")));
    assert_eq!((failure.name(), failure.path()), (Some("item 3"), "crawl > item 3"));
    assert_eq!(failure.location().file(), file!());
    let cause = errors.cause().unwrap().root();
    let CancelReason::SiblingFailed(who) = cause.reason() else { panic!("{cause}") };
    assert_eq!((who.name(), who.id()), (Some("item 3"), failure.id()));
}

#[test]
fn an_endless_iterator_ends_by_a_failure() {
    for workers in [1, 2] {
        let work =
            map(
                0_u64..,
                256,
                |number| async move { if number == 10_000 { Err("enough") } else { Ok(number) } },
            );
        let errors = multi_thread(workers).block_on(work).unwrap_err();
        assert_eq!(paths(&errors), ["map > item 10000"]);
    }
}

#[test]
fn with_continue_all_are_run_and_all_failures_come_out() {
    for workers in [1, 2] {
        let alive = Alive::new();
        let guarded = alive.clone();
        let work = map(0..1_000, 16, move |number| {
            let guard = guarded.guard();
            async move {
                let _guard = guard;
                if number % 10 == 0 { Err(number) } else { Ok(number) }
            }
        });
        let errors = multi_thread(workers)
            .block_on(work.on_failure(OnFailure::Continue).max_failures(80))
            .unwrap_err();
        assert_eq!((alive.ever(), alive.now()), (1_000, 0));
        assert_eq!((errors.len(), errors.more()), (80, 20));
        assert!(errors.cause().is_none());
        for failure in errors.failures() {
            assert_eq!(failure.name(), Some(&*format!("item {}", failure.error().unwrap())));
        }
    }
}

/// A panic of `f` itself, and of its future at the first and at a later poll.
#[tokio::test(start_paused = true)]
async fn a_panic_of_an_item_is_resumed_when_all_have_ended() {
    for polls in 0..3 {
        let alive = Alive::new();
        let guarded = alive.clone();
        let work = map(0.., 8, move |number: usize| {
            assert!(number != 4 || polls != 0, "in f");
            let guard = guarded.guard();
            async move {
                let _guard = guard;
                if number != 4 {
                    pending::<()>().await;
                }
                if polls == 2 {
                    sleep(millis(1)).await;
                }
                std::panic::panic_any("in the future");
                #[allow(unreachable_code, reason = "it gives the type")]
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
    let (guarded, own) = (alive.clone(), alive.guard());
    let items = (0..1_000).map(move |number| {
        let _own = &own;
        (number, guarded.guard())
    });
    let mut work = map(items, 256, |(number, guard)| async move {
        assert!(number != 400, "item 400");
        Outcome::Ok(guard)
    });
    assert_eq!(text(payload(&mut work).await), "item 400");
    assert_eq!(alive.now(), 0);
}

/// Collected, a panic of an item is one failure, and the other items are run.
#[test]
fn collected_panics_are_named_after_their_items() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }
    for workers in [1, 2] {
        let alive = Alive::new();
        let guarded = alive.clone();
        let work = map(0..100, 8, move |number| {
            let guard = guarded.guard();
            assert!(number != 10, "in f");
            let held = (number == 30).then(|| Panics);
            async move {
                let _held = (guard, held);
                if number == 20 {
                    panic!("in the future");
                }
                if number % 5 == 0 {
                    tokio::task::yield_now().await;
                }
                Outcome::Ok(number)
            }
        });
        let work = work.on_failure(OnFailure::Continue).on_panic(OnPanic::Collect);
        let errors = multi_thread(workers).block_on(work).unwrap_err();
        let mut told: Vec<_> = errors
            .failures()
            .iter()
            .map(|failure| (failure.path(), failure.panic().unwrap().message().unwrap()))
            .collect();
        told.sort_unstable();
        let expected = [
            ("map > item 10", "in f"),
            ("map > item 20", "in the future"),
            ("map > item 30", "in the destructor"),
        ];
        assert_eq!(told, expected);
        assert_eq!((alive.ever(), alive.now()), (100, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_iterator_cancels_the_items() {
    let alive = Alive::new();
    let guarded = alive.clone();
    let items = (0..10).inspect(|number| assert!(*number != 5, "no item 5"));
    let work = map(items, 8, move |_| {
        let guard = guarded.guard();
        async move {
            let _guard = guard;
            pending::<Outcome<()>>().await
        }
    });
    assert_eq!(text(payload(work).await), "no item 5");
    assert_eq!((alive.ever(), alive.now()), (5, 0));
}

/// It is its end, collected: those it had given are run.
#[test]
fn a_collected_panic_of_the_iterator_is_its_end() {
    for workers in [1, 2] {
        for at in [0, 1, 50, 500] {
            let alive = Alive::new();
            let guarded = alive.clone();
            let items = (0..1_000).inspect(move |number| assert!(*number != at, "no more"));
            let work = map(items, 256, move |number| {
                let _guard = guarded.guard();
                async move { Outcome::Ok(number) }
            });
            let work = work.on_failure(OnFailure::Continue).on_panic(OnPanic::Collect);
            let errors = multi_thread(workers).block_on(work).unwrap_err();
            assert_eq!(paths(&errors), ["map > items"]);
            assert_eq!(alive.ever(), at);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_destructor_of_the_iterator_is_told() {
    struct Items(u32);
    impl Iterator for Items {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.0.checked_sub(1).inspect(|next| self.0 = *next)
        }
    }
    impl Drop for Items {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }
    let errors = map(Items(3), 2, |number| async move { Outcome::Ok(number) })
        .on_panic(OnPanic::Collect)
        .await
        .unwrap_err();
    assert_eq!(paths(&errors), ["map > items"]);
}

/// Errors of items that were in flight when the first one failed: "I was cancelled" is none of them (R9).
#[tokio::test(start_paused = true)]
async fn errors_that_mean_cancelled_are_filtered() {
    let work = map(0..4, 4, move |number| async move {
        if number == 0 {
            sleep(millis(1)).await;
            anyhow::bail!("a real one");
        }
        // The code goes on after it, to its next wait.
        shield(sleep(millis(10))).await;
        assert!(is_cancelled());
        match number {
            1 => anyhow::bail!("another one"),
            2 => Err(cancelled().into()),
            _ => Ok(()),
        }
    });
    let errors = within_an_hour(work).await.unwrap_err();
    let texts: Vec<_> =
        errors.failures().iter().map(|failure| failure.error().unwrap().to_string()).collect();
    assert_eq!(texts, ["a real one", "another one"]);
    assert_eq!(paths(&errors), ["map > item 0", "map > item 1"]);
}

fn cancelled() -> Cancelled {
    let token = CancelToken::new();
    token.cancel();
    token.check().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_its_own_cuts_the_map() {
    let alive = Alive::new();
    let guarded = alive.clone();
    let work = map(0..10, 4, move |number| {
        let guard = guarded.guard();
        async move {
            let _guard = guard;
            sleep(millis(if number == 6 { 10_000 } else { 1 })).await;
            Outcome::Ok(number)
        }
    });
    let errors = within_an_hour(work.timeout(millis(100))).await.unwrap_err();
    assert!(errors.is_cancelled());
    assert!(matches!(errors.cause().unwrap().reason(), CancelReason::Deadline(..)));
    assert_eq!(alive.now(), 0);
    let in_time = map(0..10, 4, |number| async move { Outcome::Ok(number) }).timeout(millis(100));
    assert_eq!(in_time.await.unwrap().len(), 10);
}
