//! Items, iterators and streams that block their thread: the others go on on the runtime's other thread. What blocks
//! here waits until all others have finished, so each test hangs where somebody is held up, and fails by a limit
//! that only a hang reaches.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;
use std::time::Duration;

use taskgroup::map;

use super::Outcome;
use super::common::multi_thread;

/// Counts who has finished; a thread can wait for a number of them.
#[derive(Default)]
struct Finished(Mutex<usize>, Condvar);

impl Finished {
    fn one(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    fn block_until(&self, count: usize) {
        let limit = Duration::from_secs(60);
        let (finished, wait) =
            self.1.wait_timeout_while(self.0.lock().unwrap(), limit, |now| *now < count).unwrap();
        assert!(!wait.timed_out(), "only {} of {count} went on", *finished);
    }
}

/// Lets others run. tokio's own `yield_now` would leave its waker with the thread, until that has nothing to do: with
/// one that blocks next, for ever.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// One of 1,000 items blocks its thread until the 999 others have finished.
fn one_blocks(limit: usize, blocking: usize, yields: fn(usize) -> usize) {
    let finished = Arc::new(Finished::default());
    let work = map(0..1_000, limit, move |number| {
        let finished = Arc::clone(&finished);
        async move {
            for _ in 0..yields(number) {
                yield_now().await;
            }
            if number == blocking {
                finished.block_until(999);
            } else {
                finished.one();
            }
            Outcome::Ok(number)
        }
    });
    let results = multi_thread(2).block_on(work).unwrap();
    assert_eq!(results, (0..1_000).collect::<Vec<_>>());
}

#[test]
fn an_item_that_blocks_holds_up_nobody() {
    for limit in [2, 3, 16, 256, 2_000] {
        for blocking in [0, 1, 2, 17, 250, 500, 777, 998, 999] {
            one_blocks(limit, blocking, |_| 0);
        }
    }
}

#[test]
fn an_item_that_blocks_after_a_wait_holds_up_nobody() {
    for limit in [2, 16, 256] {
        for blocking in [0, 63, 500, 999] {
            one_blocks(limit, blocking, |_| 1);
            one_blocks(limit, blocking, |number| number % 3);
            one_blocks(limit, blocking, |number| usize::from(number % 50 == 0));
        }
    }
}

/// Run by the runtime's own threads, the map itself shares one with the item that blocks.
#[test]
fn the_host_may_be_a_task_of_the_runtime() {
    let finished = Arc::new(Finished::default());
    let runtime = multi_thread(2);
    let work = map(0..1_000, 256, move |number| {
        let finished = Arc::clone(&finished);
        async move {
            if number == 500 {
                finished.block_until(999)
            } else {
                finished.one()
            }
            Outcome::Ok(())
        }
    });
    let work = runtime.spawn(work);
    assert_eq!(runtime.block_on(work).unwrap().unwrap().len(), 1_000);
}

/// An iterator that blocks before each item until those it has given have finished.
#[test]
fn an_iterator_that_blocks_holds_up_no_item() {
    let finished = Arc::new(Finished::default());
    let seen = Arc::clone(&finished);
    let mut given = 0;
    let items = std::iter::from_fn(move || {
        seen.block_until(given);
        given += 1;
        (given <= 200).then_some(given)
    });
    let work = map(items, 16, move |number| {
        let finished = Arc::clone(&finished);
        async move {
            yield_now().await;
            finished.one();
            Outcome::Ok(number)
        }
    });
    assert_eq!(multi_thread(2).block_on(work).unwrap().len(), 200);
}

/// Results come to their consumer while an item blocks.
#[test]
fn a_consumer_is_not_held_up() {
    use futures::TryStreamExt;
    for limit in [2, 16, 256] {
        let finished = Arc::new(Finished::default());
        let taken = Arc::clone(&finished);
        let runtime = multi_thread(2);
        let consumer = runtime.spawn(async move {
            let mut results = map(0..1_000, limit, move |number| {
                let finished = Arc::clone(&finished);
                async move {
                    if number == 300 {
                        finished.block_until(999);
                    }
                    Outcome::Ok(number)
                }
            })
            .as_completed();
            while let Some(number) = results.try_next().await.unwrap() {
                if number != 300 {
                    taken.one();
                }
            }
        });
        runtime.block_on(consumer).unwrap();
    }
}
