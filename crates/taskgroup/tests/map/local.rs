//! Inside the task that awaits them: items that borrow and are not `Send`, and who is run when, as for `map`.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, poll, stream};
use taskgroup::{LocalGroup, OnFailure, map_local, map_local_stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::common::within_an_hour;
use super::{InFlight, Outcome, double, millis, paths};

// What only the local form can do.

#[tokio::test]
async fn items_closure_and_results_borrow() {
    let (texts, prefix) = (vec![String::from("one"), String::from("three")], String::from("> "));
    let (longest, sum) = (Cell::new(0), RefCell::new(0));
    let parts: Vec<&str> = map_local(&texts, 2, async |text| {
        yield_now().await;
        *sum.borrow_mut() += prefix.len() + text.len();
        longest.set(longest.get().max(text.len()));
        Outcome::Ok(&text[..2])
    })
    .await
    .unwrap();
    assert_eq!((parts, longest.get(), sum.into_inner()), (vec!["on", "th"], 5, 12));
}

#[tokio::test]
async fn nothing_need_be_send() {
    let shared = Rc::new(Cell::new(0));
    let items = (0..100).map(Rc::new);
    let results = map_local(items, 8, |item| {
        let shared = Rc::clone(&shared);
        async move {
            yield_now().await;
            shared.set(shared.get() + *item);
            Outcome::Ok((item, shared))
        }
    });
    let results: Vec<_> = results.as_completed().try_collect().await.unwrap();
    assert_eq!((results.len(), shared.get()), (100, 4_950));
    drop(results);
    assert_eq!(Rc::strong_count(&shared), 1);
}

#[tokio::test]
async fn a_stream_may_borrow_too() {
    let numbers = [3, 4, 5];
    let offset = 10;
    let results = map_local_stream(stream::iter(&numbers), 2, async |number| Outcome::Ok(number + offset));
    assert_eq!(results.await.unwrap(), [13, 14, 15]);
}

/// Inside a child of a local group, and that from the outermost borrowing.
#[tokio::test(start_paused = true)]
async fn maps_in_maps_borrow_from_the_outermost() {
    let sum = Cell::new(0);
    let group: LocalGroup = LocalGroup::new();
    group.spawn(async {
        let rows = map_local(0..3, 2, async |row| {
            let columns = map_local(0..3, 2, async |column| {
                sleep(millis(1)).await;
                sum.set(sum.get() + row * column);
                anyhow::Ok(())
            });
            anyhow::Ok(columns.await?.len())
        });
        assert_eq!(rows.await?, [3, 3, 3]);
        Ok(())
    });
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(sum.get(), 9);
}

// Order and limit.

#[tokio::test(start_paused = true)]
async fn results_stand_in_the_order_of_the_items() {
    let begun = Instant::now();
    let results = map_local(0..100_u64, 100, async |number| {
        sleep(millis(100 - number)).await;
        Outcome::Ok(number)
    });
    assert_eq!(results.await.unwrap(), (0..100).collect::<Vec<_>>());
    assert_eq!(begun.elapsed(), millis(100), "all at a time");
}

#[tokio::test]
async fn empty_one_and_fewer_than_the_limit() {
    assert_eq!(map_local([], 4, double).await.unwrap(), []);
    assert_eq!(map_local([7], 1, double).await.unwrap(), [14]);
    assert_eq!(map_local([7, 8], usize::MAX, double).await.unwrap(), [14, 16]);
    assert_eq!(map_local_stream(stream::empty(), 4, double).await.unwrap(), []);
    assert!(map_local([], 4, double).as_completed().next().await.is_none());
    assert!(map_local([], 4, double).ordered().next().await.is_none());
}

#[tokio::test]
#[should_panic(expected = "a map with a limit of 0 would never start an item")]
async fn a_limit_of_0_panics() {
    let _never = map_local(0..3, 0, double);
}

#[tokio::test]
#[should_panic(expected = "a map takes its settings before its first poll")]
async fn settings_come_before_the_first_poll() {
    let mut work = map_local([1], 1, |_| pending::<Outcome<()>>());
    assert!(poll!(&mut work).is_pending());
    let _late = work.name("late");
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_reached_and_never_exceeded() {
    for limit in [1, 2, 16, 300] {
        let in_flight = InFlight::default();
        let results = map_local(0..400_u64, limit, async |number| {
            let _flight = in_flight.enter();
            sleep(millis(1 + number % 3)).await;
            Outcome::Ok(())
        });
        assert_eq!(within_an_hour(results).await.unwrap().len(), 400);
        assert_eq!((in_flight.most(), in_flight.now()), (limit, 0));
    }
}

#[tokio::test]
async fn pulled_items_count_although_they_are_ready_at_once() {
    for limit in [1, 100, 256] {
        let in_flight = InFlight::default();
        let items = (0..20_000).map(|number| (number, in_flight.enter()));
        let work = map_local(items, limit, |(number, flight)| async move {
            drop(flight);
            Outcome::Ok(number)
        });
        assert_eq!(work.await.unwrap().len(), 20_000);
        assert!(in_flight.most() <= limit, "{} with {limit}", in_flight.most());
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_item_is_pulled_when_there_is_room() {
    let (pulled, room) = (Cell::new(0), Semaphore::new(0));
    let items = (0..10).inspect(|_| pulled.set(pulled.get() + 1));
    let mut work = map_local(items, 4, async |number| {
        room.acquire().await.unwrap().forget();
        Outcome::Ok(number)
    });
    assert_eq!(pulled.get(), 0, "nothing before the first poll");
    for ended in 0..=6 {
        for _ in 0..5 {
            assert!(poll!(&mut work).is_pending());
        }
        assert_eq!(pulled.get(), ended + 4);
        room.add_permits(1);
    }
    room.add_permits(3);
    assert_eq!(within_an_hour(work).await.unwrap().len(), 10);
}

#[tokio::test]
async fn ten_thousand_items_that_wait_are_polled_twice_each() {
    for limit in [1, 64, 10_000] {
        let polls = Cell::new(0);
        let results = map_local(0..10_000, limit, |number| {
            let (mut waited, polls) = (false, &polls);
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                if std::mem::replace(&mut waited, true) {
                    return Poll::Ready(Outcome::Ok(number));
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        });
        assert_eq!(results.await.unwrap(), (0..10_000).collect::<Vec<_>>());
        assert_eq!(polls.get(), 20_000);
    }
}

/// Other tasks of the thread get their turn while short items are run; so does what stands beside the map.
#[tokio::test]
async fn short_items_let_others_run() {
    let (finished, turns) = (Cell::new(0), Cell::new(0));
    let work = map_local(0..200_000, 64, async |_| {
        finished.set(finished.get() + 1);
        Outcome::Ok(())
    });
    let beside = async {
        while finished.get() < 200_000 {
            turns.set(turns.get() + 1);
            yield_now().await;
        }
    };
    let (results, ()) = tokio::join!(work, beside);
    assert_eq!(results.unwrap().len(), 200_000);
    assert!(turns.get() > 2, "{} turns", turns.get());
}

/// Long items too: one poll of the map is no longer than about one of them, however many workers were woken.
#[tokio::test]
async fn long_items_let_others_run() {
    let (finished, turns) = (Cell::new(0), Cell::new(0));
    let work = map_local(0..100, 50, async |number| {
        if number < 50 {
            yield_now().await;
            return Outcome::Ok(());
        }
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_micros(300) {
            std::hint::spin_loop();
        }
        finished.set(finished.get() + 1);
        Ok(())
    });
    let beside = async {
        while finished.get() < 50 {
            turns.set(turns.get() + 1);
            yield_now().await;
        }
    };
    let (results, ()) = tokio::join!(work, beside);
    assert_eq!(results.unwrap().len(), 100);
    assert!(turns.get() >= 50, "{} turns", turns.get());
}

/// tokio's budget: items that use it up wait for others.
#[tokio::test]
async fn items_that_use_up_the_budget_go_on() {
    let permits = Semaphore::new(1);
    let results = map_local(0..2_000, 64, async |number| {
        drop(permits.acquire().await.unwrap());
        Outcome::Ok(number)
    });
    assert_eq!(results.await.unwrap().len(), 2_000);
}

/// A stream that is pending holds up nobody who is in flight, and is asked again when it wakes.
#[tokio::test]
async fn a_stream_may_be_pending_for_a_while() {
    let (sender, receiver) = mpsc::channel::<usize>(1);
    let items =
        stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|number| (number, receiver)));
    let (ended, mut has_ended) = mpsc::channel(1);
    let work = map_local_stream(items.boxed_local(), 8, async |number| {
        ended.send(number).await.unwrap();
        Outcome::Ok(number)
    });
    let feed = async move {
        for number in 0..50 {
            sender.send(number).await.unwrap();
            assert_eq!(has_ended.recv().await, Some(number), "run while the stream has nothing more to give");
        }
    };
    let (results, ()) = tokio::join!(work, feed);
    assert_eq!(results.unwrap(), (0..50).collect::<Vec<_>>());
}

/// A pending stream that has ended, while items were in flight, or while all was idle.
#[tokio::test(start_paused = true)]
async fn a_stream_may_end_late() {
    for end in [5, 50] {
        let items = stream::unfold(0_u64, async |number| {
            sleep(millis(if number == 3 { end } else { 1 })).await;
            (number < 3).then_some((number, number + 1))
        });
        let work = map_local_stream(items.boxed_local(), 8, async |number| {
            sleep(millis(20)).await;
            Outcome::Ok(number)
        });
        assert_eq!(within_an_hour(work).await.unwrap(), [0, 1, 2]);
    }
}

// As streams.

#[tokio::test(start_paused = true)]
async fn results_come_as_they_complete_or_in_order() {
    let nap = async |ms| {
        sleep(millis(ms)).await;
        Outcome::Ok(ms)
    };
    let woke = map_local([30, 10, 20], 3, nap).as_completed().indexed().try_collect::<Vec<_>>();
    assert_eq!(within_an_hour(woke).await.unwrap(), [(1, 10), (2, 20), (0, 30)]);
    let ordered = map_local([30, 10, 20], 3, nap).ordered().indexed().try_collect::<Vec<_>>();
    assert_eq!(within_an_hour(ordered).await.unwrap(), [(0, 30), (1, 10), (2, 20)]);
}

#[tokio::test]
async fn every_result_comes_once() {
    for limit in [1, 2, 64] {
        let work = async |number: usize| {
            if number.is_multiple_of(5) {
                yield_now().await;
            }
            double(number).await
        };
        let ordered: Vec<_> = map_local(0..2_000, limit, work).ordered().try_collect().await.unwrap();
        assert_eq!(ordered, (0..2_000).map(|number| number * 2).collect::<Vec<_>>());
        let mut any: Vec<_> = map_local(0..2_000, limit, work).as_completed().try_collect().await.unwrap();
        any.sort_unstable();
        assert_eq!(any, ordered);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_and_nobody_goes_on() {
    let started = Cell::new(0);
    let mut results = map_local(0.., 8, |number: usize| {
        started.set(started.get() + 1);
        double(number)
    })
    .as_completed();
    for taken in 1..20 {
        assert!(results.next().await.unwrap().is_ok());
        sleep(millis(1)).await;
        assert!(started.get() <= taken + 8, "{} were started", started.get());
    }
}

/// A value that is there is given before further items compute for long.
#[tokio::test]
async fn a_consumer_does_not_wait_for_all_of_them() {
    let mut results = map_local(0..100, 100, async |number| {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_micros(300) {
            std::hint::spin_loop();
        }
        Outcome::Ok(number)
    })
    .as_completed();
    let first = poll!(results.next());
    assert!(matches!(first, Poll::Ready(Some(Ok(0)))), "{first:?}");
    assert_eq!(results.count().await, 99);
}

#[tokio::test(start_paused = true)]
async fn failures_come_last() {
    let work = async |number: u64| {
        sleep(millis(number * 10)).await;
        if number % 2 == 1 { Err("odd") } else { Ok(number) }
    };
    let mut results = map_local(0..5, 5, work).on_failure(OnFailure::Continue).as_completed();
    for even in [0, 2, 4] {
        assert_eq!(within_an_hour(results.next()).await.unwrap().unwrap(), even);
    }
    let errors = within_an_hour(results.next()).await.unwrap().unwrap_err();
    assert_eq!(paths(&errors), ["map > item 1", "map > item 3"]);
    assert!(results.next().await.is_none());
    let mut results = map_local(0..5, 5, work).ordered();
    assert_eq!(within_an_hour(results.next()).await.unwrap().unwrap(), 0);
    assert_eq!(paths(&within_an_hour(results.next()).await.unwrap().unwrap_err()), ["map > item 1"]);
    assert!(results.next().await.is_none());
}
