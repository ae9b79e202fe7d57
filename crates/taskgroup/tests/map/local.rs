//! Inside the task that awaits them: items that borrow and are not `Send`, and all that holds for `map`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt, poll, stream};
use taskgroup::{
    CancelReason, ErrorGroup, LocalGroup, OnFailure, OnPanic, TaskGroup, finally, map_local,
    map_local_stream, shield, timeout,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::InFlight;
use super::common::{Alive, Guard, Steps, within_an_hour};

type Outcome<T> = Result<T, &'static str>;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn double(number: usize) -> Outcome<usize> {
    Ok(number * 2)
}

fn paths<E: 'static>(errors: &ErrorGroup<E>) -> Vec<&str> {
    errors.failures().iter().map(|failure| failure.path()).collect()
}

async fn payload<F: Future>(future: F) -> Box<dyn Any + Send> {
    AssertUnwindSafe(within_an_hour(future)).catch_unwind().await.err().expect("it panics")
}

fn text(payload: Box<dyn Any + Send>) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().expect("a text")
}

// ---- what only the local form can do

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
    let items = (0..100).map(|number| Rc::new(number));
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

// ---- order and limit

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

// ---- as streams

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

// ---- failures and panics

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

// ---- cancelled from outside, and dropped in the middle

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
