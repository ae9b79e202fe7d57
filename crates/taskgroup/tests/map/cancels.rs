//! Cancelled from outside, and dropped in the middle: no item, no iterator and no result is left (R2, R4, R12).

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, poll};
use taskgroup::{TaskGroup, finally, map, scope, shield, timeout};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::common::{Alive, Guard, Steps, multi_thread, within_an_hour};
use super::{Outcome, millis};

type Group = TaskGroup<&'static str>;

/// Items that hold a guard, from an iterator that holds one too.
fn guarded(alive: &Alive) -> impl Iterator<Item = Guard> + Send + 'static {
    let (alive, own) = (alive.clone(), alive.guard());
    std::iter::repeat_with(move || {
        let _own = &own;
        alive.guard()
    })
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_the_region_around_reaches_the_items() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let (items, noted) = (guarded(&alive), steps.clone());
    let late = timeout(millis(10), async move {
        map(items, 4, move |guard| {
            let noted = noted.clone();
            let work = async move {
                let _guard = guard;
                pending::<Outcome<()>>().await
            };
            finally(work, async move |_how| {
                sleep(millis(5)).await;
                noted.mark("cleaned up");
            })
        })
        .await
    });
    assert!(within_an_hour(late).await.is_err());
    assert_eq!((alive.now(), steps.seen().len()), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_is_cut_at_its_map() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let (items, noted) = (guarded(&alive), steps.clone());
    let group = Group::new();
    let task = group.spawn(async move {
        let _results = map(items, 4, |guard| async move {
            let _guard = guard;
            shield(sleep(millis(50))).await;
            pending::<Outcome<()>>().await
        })
        .await;
        noted.mark("went on");
        Ok(())
    });
    sleep(millis(10)).await;
    task.cancel();
    within_an_hour(group.join()).await.unwrap();
    assert!(task.into_result().unwrap_err().is_cancelled());
    assert_eq!((alive.now(), steps.seen()), (0, vec![]));
    assert_eq!(alive.ever(), 5, "the iterator and four items");
}

/// In a region that is cancelled already nothing is started, and nobody gets an answer.
#[tokio::test(start_paused = true)]
async fn in_a_cancelled_region_nothing_is_pulled() {
    let (alive, steps) = (Alive::new(), Steps::default());
    for stream in [false, true] {
        let (items, noted) = (guarded(&alive), steps.clone());
        let group = Group::new();
        let spawner = group.spawner();
        let result = group
            .run(async move {
                spawner.cancel();
                let work = map(items, 4, |guard| async move {
                    {
                        drop(guard);
                        Outcome::Ok(())
                    }
                });
                if stream {
                    let _next = work.as_completed().next().await;
                } else {
                    let _all = work.await;
                }
                noted.mark("went on");
                Ok(())
            })
            .await;
        assert!(result.unwrap_err().is_cancelled());
    }
    assert_eq!((alive.ever(), alive.now(), steps.seen()), (2, 0, vec![]));
}

#[test]
fn a_drop_in_the_middle_leaves_nothing() {
    for workers in [1, 2, 4] {
        for round in 0..20 {
            multi_thread(workers).block_on(async {
                let (alive, some) = (Alive::new(), Arc::new(Notify::new()));
                let (started, told) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&some));
                let mut work = map(guarded(&alive), 64, move |guard| {
                    let number = started.fetch_add(1, Ordering::SeqCst);
                    if number == round * 10 {
                        told.notify_one();
                    }
                    async move {
                        match number % 4 {
                            0 => tokio::task::yield_now().await,
                            1 if number > round * 10 => pending().await,
                            _ => {}
                        }
                        Outcome::Ok(guard) // results are dropped too
                    }
                });
                assert!(poll!(&mut work).is_pending());
                tokio::select! {
                    _ = &mut work => unreachable!("it is endless"),
                    () = some.notified() => {}
                }
                drop(work);
                assert_eq!(alive.now(), 0);
            });
        }
    }
}

#[test]
fn a_stream_dropped_in_the_middle_leaves_nothing() {
    for workers in [1, 2] {
        multi_thread(workers).block_on(async {
            let alive = Alive::new();
            let work = map(guarded(&alive), 16, |guard| async move { Outcome::Ok(guard) });
            let mut results = work.as_completed();
            for _ in 0..100 {
                assert!(results.next().await.unwrap().is_ok());
            }
            drop(results);
            assert_eq!(alive.now(), 0);
            assert!(alive.ever() <= 100 + 16 + 1, "{}", alive.ever());
        });
    }
}

/// A map inside an item of a map, cut from the outermost group.
#[tokio::test(start_paused = true)]
async fn maps_in_maps_end_with_their_items() {
    let alive = Alive::new();
    let guarded = alive.clone();
    let result = scope(async |tg: &Group| {
        let task = tg.spawn(async move {
            let nested = map(0..3, 3, move |_| {
                let guarded = guarded.clone();
                async move {
                    let all = map(0..3, 3, move |_| {
                        let guard = guarded.guard();
                        async move {
                            let _guard = guard;
                            pending::<Outcome<()>>().await
                        }
                    });
                    all.await.map(drop).map_err(|_| "inner")
                }
            });
            nested.await.map(drop).map_err(|_| "outer")
        });
        sleep(millis(1)).await;
        assert_eq!(alive.now(), 9);
        tg.cancel();
        Ok(task)
    })
    .await;
    assert!(result.unwrap().into_result().unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
}
