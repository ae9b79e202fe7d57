//! As they complete: a stream of results, and whoever takes them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use taskgroup::{OnFailure, map, map_stream};
use tokio::time::sleep;

use super::common::{Alive, multi_thread, within_an_hour};
use super::{InFlight, Outcome, millis};

#[tokio::test(start_paused = true)]
async fn results_come_as_they_complete() {
    let naps = map([30, 10, 20], 3, |ms| async move {
        sleep(millis(ms)).await;
        Outcome::Ok(ms)
    });
    let woke: Vec<(usize, u64)> = naps.as_completed().indexed().try_collect().await.unwrap();
    assert_eq!(woke, [(1, 10), (2, 20), (0, 30)]);
    let none: Vec<u32> =
        map([0_u32; 0], 3, |n| async move { Outcome::Ok(n) }).as_completed().try_collect().await.unwrap();
    assert_eq!(none, []);
}

#[test]
fn every_result_comes_once() {
    for workers in [1, 2, 4] {
        for limit in [1, 2, 64] {
            multi_thread(workers).block_on(async {
                let items = stream::iter(0..2_000_usize);
                let results = map_stream(items, limit, |number| async move {
                    if number % 5 == 0 {
                        tokio::task::yield_now().await;
                    }
                    Outcome::Ok(number * 2)
                });
                let results: Vec<(usize, usize)> =
                    results.as_completed().indexed().try_collect().await.unwrap();
                assert!(results.iter().all(|(index, result)| *result == index * 2));
                let indices: BTreeSet<usize> = results.iter().map(|(index, _)| *index).collect();
                assert_eq!((results.len(), indices.len()), (2_000, 2_000));
            });
        }
    }
}

/// What was pulled and has not been taken is at most the limit, however slow who takes it is.
#[test]
fn a_slow_consumer_holds_up_the_items() {
    for workers in [1, 2] {
        for limit in [1, 4, 100] {
            let in_flight = InFlight::default();
            let counted = in_flight.clone();
            let items = (0..1_000).map(move |_| counted.enter());
            multi_thread(workers).block_on(async {
                let mut results =
                    map(items, limit, |flight| async move { Outcome::Ok(flight) }).as_completed();
                let mut taken = 0;
                while let Some(flight) = results.try_next().await.unwrap() {
                    // Held until here.
                    drop(flight);
                    taken += 1;
                    if taken % 10 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                assert_eq!(taken, 1_000);
            });
            // One more: that which has been taken and not been dropped.
            assert!(in_flight.most() <= limit + 1, "{} with {limit}", in_flight.most());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_and_nobody_goes_on() {
    let started = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&started);
    let mut results = map(0.., 8, move |number: usize| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { Outcome::Ok(number) }
    })
    .as_completed();
    for taken in 1..20 {
        assert!(results.next().await.unwrap().is_ok());
        sleep(millis(1)).await;
        assert_eq!(started.load(Ordering::SeqCst), taken + 8);
    }
}

/// Values that were there, then the failures, then nothing more.
#[tokio::test(start_paused = true)]
async fn failures_come_last() {
    let work = |number: u64| async move {
        sleep(millis(number * 10)).await;
        if number % 2 == 1 { Err("odd") } else { Ok(number) }
    };
    let mut results = map(0..5, 5, work).on_failure(OnFailure::Continue).as_completed();
    for even in [0, 2, 4] {
        assert_eq!(within_an_hour(results.next()).await.unwrap().unwrap(), even);
    }
    let errors = within_an_hour(results.next()).await.unwrap().unwrap_err();
    let paths: Vec<_> = errors.failures().iter().map(|failure| failure.path()).collect();
    assert_eq!(paths, ["map > item 1", "map > item 3"]);
    assert!(results.next().await.is_none());
    assert!(results.next().await.is_none());

    let alive = Alive::new();
    let guarded = alive.clone();
    let mut results = map(0..5, 5, move |number| {
        let guard = guarded.guard();
        async move {
            let _guard = guard;
            work(number).await
        }
    })
    .as_completed();
    assert_eq!(results.next().await.unwrap().unwrap(), 0);
    let errors = within_an_hour(results.next()).await.unwrap().unwrap_err();
    assert_eq!((errors.len(), alive.now()), (1, 0));
    assert!(results.next().await.is_none());
}
