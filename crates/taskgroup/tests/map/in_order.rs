//! As a stream in the order of the items: who waits for whom, and what a failure leaves.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use taskgroup::{OnFailure, OnPanic, map, map_stream};
use tokio::time::{Instant, sleep};

use super::common::{Alive, multi_thread, within_an_hour};
use super::{Outcome, millis};

#[tokio::test(start_paused = true)]
async fn each_result_waits_for_those_before_it() {
    let begun = Instant::now();
    let mut naps = map([20, 10, 40, 30], 4, |ms| async move {
        sleep(millis(ms)).await;
        Outcome::Ok(ms)
    })
    .ordered();
    let mut seen = Vec::new();
    while let Some(ms) = within_an_hour(naps.try_next()).await.unwrap() {
        seen.push((ms, begun.elapsed().as_millis()));
    }
    assert_eq!(seen, [(20, 20), (10, 20), (40, 40), (30, 40)]);
}

#[test]
fn every_result_comes_once_and_in_order() {
    for workers in [1, 2, 4] {
        for limit in [1, 2, 64] {
            multi_thread(workers).block_on(async {
                let results = map_stream(stream::iter(0..2_000_usize), limit, |number| async move {
                    if number.is_multiple_of(5) {
                        tokio::task::yield_now().await;
                    }
                    Outcome::Ok(number * 2)
                });
                let results: Vec<_> = results.ordered().indexed().try_collect().await.unwrap();
                assert_eq!(results, (0..2_000).map(|number| (number, number * 2)).collect::<Vec<_>>());
            });
        }
    }
}

/// What waits for the first item counts as in flight.
#[tokio::test(start_paused = true)]
async fn a_slow_item_holds_up_no_more_than_the_limit() {
    let started = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&started);
    let mut results = map(0_u64.., 8, move |number| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(millis(if number == 0 { 100 } else { 1 })).await;
            Outcome::Ok(number)
        }
    })
    .ordered();
    assert!(tokio::time::timeout(millis(50), results.next()).await.is_err());
    assert_eq!(started.load(Ordering::SeqCst), 8);
    for number in 0..20 {
        assert_eq!(within_an_hour(results.next()).await.unwrap().unwrap(), number);
        assert!(started.load(Ordering::SeqCst) <= number as usize + 9);
    }
}

/// Values up to the failed item, then the failure: nothing that came after it, also where it was there before.
#[tokio::test(start_paused = true)]
async fn nothing_behind_a_failure_is_given() {
    let alive = Alive::new();
    let guarded = alive.clone();
    let mut results = map(0..8_u64, 8, move |number| {
        let guard = guarded.guard();
        async move {
            match number {
                2 => sleep(millis(20)).await,
                6 => pending().await,
                _ => sleep(millis(10)).await,
            }
            if number == 2 { Err("two") } else { Ok((number, guard)) }
        }
    })
    .ordered();
    for number in [0, 1] {
        assert_eq!(within_an_hour(results.next()).await.unwrap().unwrap().0, number);
    }
    let errors = within_an_hour(results.next()).await.unwrap().unwrap_err();
    assert_eq!((errors.len(), errors.first().unwrap().path()), (1, "map > item 2"));
    assert_eq!(alive.now(), 0);
    assert!(results.next().await.is_none());
}

/// Far more items fail than there are places: none of them keeps its place.
#[test]
fn with_continue_failed_items_are_passed_over() {
    for workers in [1, 2] {
        multi_thread(workers).block_on(async {
            let work = map(0..1_000, 4, |number: usize| async move {
                if number.is_multiple_of(3) {
                    tokio::task::yield_now().await;
                }
                assert!(number % 10 != 4, "four");
                if number % 10 < 8 { Err("low") } else { Ok(number) }
            });
            let work = work.on_failure(OnFailure::Continue).on_panic(OnPanic::Collect);
            let mut results = work.max_failures(2_000).ordered().indexed();
            for ten in 0..100 {
                for number in [ten * 10 + 8, ten * 10 + 9] {
                    assert_eq!(results.next().await.unwrap().unwrap(), (number, number));
                }
            }
            assert_eq!(results.next().await.unwrap().unwrap_err().len(), 800);
            assert!(results.next().await.is_none());
        });
    }
}

/// What waited for the item that panicked is gone too, whoever still holds the stream.
#[tokio::test(start_paused = true)]
async fn a_panic_leaves_nothing_that_waited() {
    let alive = Alive::new();
    let guarded = alive.clone();
    let mut results = map(0..4_u64, 4, move |number| {
        let guard = guarded.guard();
        async move {
            sleep(millis(10 - number)).await;
            assert!(number != 0, "item 0");
            Outcome::Ok(guard)
        }
    })
    .ordered();
    let next = std::panic::AssertUnwindSafe(within_an_hour(results.next())).catch_unwind().await;
    assert_eq!(next.err().unwrap().downcast_ref(), Some(&"item 0"));
    assert_eq!((alive.ever(), alive.now()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drop_in_the_middle_leaves_nothing() {
    let alive = Alive::new();
    let guarded = alive.clone();
    let mut results = map(0.., 8, move |number: u64| {
        let guard = guarded.guard();
        async move {
            sleep(millis(if number == 3 { 1_000 } else { 1 })).await;
            Outcome::Ok(guard)
        }
    })
    .ordered();
    for _ in 0..3 {
        assert!(within_an_hour(results.next()).await.unwrap().is_ok());
    }
    assert!(tokio::time::timeout(millis(100), results.next()).await.is_err());
    assert_eq!((alive.ever(), alive.now()), (11, 8));
    drop(results);
    assert_eq!(alive.now(), 0);
}
