//! In the order of the items: who is run when, and how many at a time.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, poll, stream};
use taskgroup::{map, map_stream};
use tokio::sync::{Barrier, Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use super::common::{Alive, multi_thread, within_an_hour};
use super::{InFlight, Outcome, double, millis};

#[tokio::test(start_paused = true)]
async fn results_stand_in_the_order_of_the_items() {
    let begun = Instant::now();
    let slow_first = |number: u64| async move {
        sleep(millis(100 - number)).await;
        Outcome::Ok(number)
    };
    let results = map(0..100, 100, slow_first).await.unwrap();
    assert_eq!(results, (0..100).collect::<Vec<_>>());
    assert_eq!(begun.elapsed(), millis(100), "all at a time");
}

#[tokio::test]
async fn empty_one_and_fewer_than_the_limit() {
    assert_eq!(map([], 4, double).await.unwrap(), []);
    assert_eq!(map([7], 1, double).await.unwrap(), [14]);
    assert_eq!(map([7, 8], usize::MAX, double).await.unwrap(), [14, 16]);
    assert_eq!(map_stream(stream::empty(), 4, double).await.unwrap(), []);
}

#[test]
fn every_item_is_run_once_on_several_threads() {
    for workers in [1, 2, 4] {
        for limit in [1, 2, 3, 16, 256, 10_000] {
            let runtime = multi_thread(workers);
            let results = runtime.block_on(map(0..3_000, limit, double)).unwrap();
            assert!(results.iter().enumerate().all(|(place, result)| *result == place * 2));
            assert_eq!(results.len(), 3_000);
            let yielding = |number: usize| async move {
                if number.is_multiple_of(7) {
                    tokio::task::yield_now().await;
                }
                double(number).await
            };
            let results = runtime.block_on(map(0..3_000, limit, yielding)).unwrap();
            assert!(results.iter().enumerate().all(|(place, result)| *result == place * 2));
            assert_eq!(results.len(), 3_000);
        }
    }
}

/// The barrier opens only for as many as the limit at a time.
#[test]
fn the_limit_is_reached_and_never_exceeded() {
    for workers in [1, 2] {
        for limit in [1, 2, 7, 64] {
            let (in_flight, barrier) = (InFlight::default(), Arc::new(Barrier::new(limit)));
            let counted = in_flight.clone();
            let work = map(0..limit * 10, limit, move |_| {
                let (flight, barrier) = (counted.enter(), Arc::clone(&barrier));
                async move {
                    let _flight = flight;
                    barrier.wait().await;
                    tokio::task::yield_now().await;
                    Outcome::Ok(())
                }
            });
            multi_thread(workers).block_on(work).unwrap();
            assert_eq!((in_flight.most(), in_flight.now()), (limit, 0));
        }
    }
}

/// Items that are never pending: what was pulled and has not ended is counted by guards that the iterator gives out.
#[test]
fn pulled_items_count_although_they_are_ready_at_once() {
    for (workers, limit) in [(1, 1), (1, 100), (2, 3), (2, 100), (4, 256)] {
        let in_flight = InFlight::default();
        let counted = in_flight.clone();
        let items = (0..20_000).map(move |number| (number, counted.enter()));
        let runtime = multi_thread(workers);
        let work = map(items, limit, |(number, flight)| async move {
            drop(flight);
            Outcome::Ok(number)
        });
        assert_eq!(runtime.block_on(work).unwrap().len(), 20_000);
        assert!(in_flight.most() <= limit, "{} with {limit}", in_flight.most());
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_item_is_pulled_when_there_is_room() {
    let (pulled, room) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, held) = (Arc::clone(&pulled), Arc::clone(&room));
    let items = (0..10).inspect(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let work = tokio::spawn(async move {
        map(items, 4, move |number| {
            let held = Arc::clone(&held);
            async move {
                held.acquire().await.unwrap().forget();
                Outcome::Ok(number)
            }
        })
        .await
    });
    for ended in 0..=6 {
        sleep(millis(1)).await;
        assert_eq!(pulled.load(Ordering::SeqCst), ended + 4);
        room.add_permits(1);
    }
    room.add_permits(3);
    assert_eq!(within_an_hour(work).await.unwrap().unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pulled_before_the_first_poll() {
    let alive = Alive::new();
    let guarded = alive.clone();
    let items = (0..10).map(move |_| guarded.guard());
    let work = map(items, 4, |guard| async move {
        let _guard = guard;
        pending::<Outcome<()>>().await
    });
    sleep(millis(1)).await;
    assert_eq!(alive.ever(), 0);
    drop(work);
    assert_eq!(alive.ever(), 0);
}

/// Hints of an iterator may be wrong: they cost time, no items.
#[tokio::test]
async fn a_wrong_hint_loses_no_items() {
    struct Hinting<I>(I, (usize, Option<usize>));
    impl<I: Iterator> Iterator for Hinting<I> {
        type Item = I::Item;
        fn next(&mut self) -> Option<I::Item> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            self.1
        }
    }
    for hint in [(0, Some(0)), (usize::MAX, None), (7, Some(3)), (0, None)] {
        let results = map(Hinting(0..500, hint), 64, double).await.unwrap();
        assert_eq!(results.len(), 500, "{hint:?}");
    }
}

#[tokio::test]
#[should_panic(expected = "a map with a limit of 0 would never start an item")]
async fn a_limit_of_0_panics() {
    let _never = map(0..3, 0, double);
}

#[tokio::test]
#[should_panic(expected = "a map takes its settings before its first poll")]
async fn settings_come_before_the_first_poll() {
    let mut work = map([1], 1, |_| pending::<Outcome<()>>());
    assert!(poll!(&mut work).is_pending());
    let _late = work.name("late");
}

#[tokio::test]
#[should_panic(expected = "polled after it had completed")]
async fn it_is_awaited_once() {
    let mut work = map([1], 1, double);
    assert_eq!((&mut work).await.unwrap(), [2]);
    let _again = work.await;
}

/// A stream that is pending holds up nobody who is in flight, and is asked again when it wakes.
#[test]
fn a_stream_may_be_pending_for_a_while() {
    for workers in [1, 2] {
        multi_thread(workers).block_on(async {
            let (sender, receiver) = mpsc::channel::<usize>(1);
            let items = stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|number| (number, receiver))
            });
            let (ended, mut has_ended) = mpsc::channel(1);
            let work = tokio::spawn(map_stream(items.boxed(), 8, move |number| {
                let ended = ended.clone();
                async move {
                    ended.send(number).await.unwrap();
                    Outcome::Ok(number)
                }
            }));
            for number in 0..50 {
                sender.send(number).await.unwrap();
                // Run while the stream has nothing more to give.
                assert_eq!(has_ended.recv().await, Some(number));
            }
            drop(sender);
            assert_eq!(work.await.unwrap().unwrap(), (0..50).collect::<Vec<_>>());
        });
    }
}

/// tokio's budget: items that use it up wait for others, and do not make a worker each.
#[tokio::test]
async fn items_that_use_up_the_budget_go_on() {
    let permits = Arc::new(Semaphore::new(1));
    let results = map(0..2_000, 64, move |number| {
        let permits = Arc::clone(&permits);
        async move {
            drop(permits.acquire().await.unwrap());
            Outcome::Ok(number)
        }
    });
    assert_eq!(results.await.unwrap().len(), 2_000);
}

/// Other tasks of the thread get their turn while short items are run.
#[tokio::test]
async fn short_items_let_others_run() {
    let finished = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&finished);
    let work = tokio::spawn(map(0..200_000, 64, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Outcome::Ok(()) }
    }));
    while finished.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(finished.load(Ordering::Relaxed) < 200_000);
    assert_eq!(work.await.unwrap().unwrap().len(), 200_000);
}
