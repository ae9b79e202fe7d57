//! What runs in a region that has been cancelled, what does not, and at what cost (R12, R18).

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use taskgroup::{TaskGroup, checkpoint, shield, timeout};
use tokio::time::{Instant, sleep};

use crate::common::{Steps, counting_polls, multi_thread, within_an_hour};
use crate::{Group, HOUR, SECOND, cancelled_after};

const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_branch_beside_a_shield_makes_no_step_after_the_cancel() {
    let (began, ticks) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let ticking = Arc::clone(&ticks);
    let group = Group::new();
    group.spawn::<()>(async move {
        let ticker = async {
            loop {
                sleep(SECOND / 10).await;
                ticking.fetch_add(1, Ordering::SeqCst);
            }
        };
        tokio::join!(shield(sleep(2 * SECOND)), ticker).1
    });
    sleep(SECOND + SECOND / 20).await;
    assert_eq!(ticks.load(Ordering::SeqCst), 10);
    group.cancel();
    sleep(SECOND * 9 / 10).await;
    assert_eq!(ticks.load(Ordering::SeqCst), 10, "its timer fires, its code does not run");
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(began.elapsed(), 2 * SECOND);
    // The shield is done: the code around it goes on to its next wait, this branch too.
    assert_eq!(ticks.load(Ordering::SeqCst), 11);
}

#[tokio::test(start_paused = true)]
async fn a_shield_that_a_select_left_standing_does_not_let_the_code_run_on() {
    let (began, rounds) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&rounds);
    let group = Group::new();
    group.spawn(async move {
        let mut standing = pin!(shield(sleep(100 * SECOND)));
        tokio::select! {
            () = &mut standing => panic!("it takes longer"),
            () = sleep(SECOND) => {}
        }
        for _ in 0..200 {
            sleep(SECOND).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    sleep(SECOND * 5 / 2).await;
    group.cancel();
    sleep(90 * SECOND).await;
    assert_eq!(rounds.load(Ordering::SeqCst), 1);
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(began.elapsed(), 100 * SECOND);
    assert!(rounds.load(Ordering::SeqCst) <= 2, "one more wait at most, when the shield is woken");
}

/// However the branches are polled: past thirty, `join_all` gives each a waker of its own.
#[tokio::test(start_paused = true)]
async fn many_shields_in_timeouts_of_a_cancelled_task_all_complete() {
    for many in [1, 31, 40, 200] {
        for unordered in [false, true] {
            let (began, done) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
            let counted = Arc::clone(&done);
            let work = async move {
                let branches = (1..=many).map(|n| {
                    let done = Arc::clone(&counted);
                    async move {
                        let step = shield(sleep(MILLISECOND + n * MILLISECOND));
                        timeout(HOUR, step).await.unwrap();
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
                match unordered {
                    true => branches.collect::<FuturesUnordered<_>>().collect::<()>().await,
                    false => drop(join_all(branches).await),
                }
                checkpoint().await;
                panic!("the task was cut");
            };
            cancelled_after(MILLISECOND, work).await.unwrap();
            assert_eq!(done.load(Ordering::SeqCst), many as usize, "unordered: {unordered}");
            assert_eq!(began.elapsed(), MILLISECOND + many * MILLISECOND);
        }
    }
}

/// R18: the scopes and groups around a shield are polled for it, and for nothing else.
#[tokio::test(start_paused = true)]
async fn a_shield_deep_inside_costs_only_its_own_polls() {
    let (steps, polls) = (Steps::default(), Arc::new(AtomicUsize::new(0)));
    let (noted, counted) = (steps.clone(), Arc::clone(&polls));
    let work = async move {
        let deep = async {
            let ten_sleeps = shield(async {
                for _ in 0..10 {
                    sleep(SECOND).await;
                }
                noted.mark("shield done");
            });
            counting_polls(&counted, ten_sleeps).await;
            noted.mark("up to the next wait");
            sleep(SECOND).await;
            noted.mark("never");
        };
        let in_body = async {
            let group: Group = TaskGroup::builder().grace(500 * SECOND).build();
            let scopes = timeout(900 * SECOND, timeout(800 * SECOND, deep));
            let ended = group.run(async {
                let _ = scopes.await;
                Ok(())
            });
            ended.await
        };
        let _ = timeout(1000 * SECOND, in_body).await;
        noted.mark("never either");
        Ok(())
    };
    cancelled_after(SECOND * 3 / 2, work).await.unwrap();
    assert_eq!(steps.seen(), ["shield done", "up to the next wait"]);
    let polls = polls.load(Ordering::SeqCst);
    assert!((11..15).contains(&polls), "{polls} polls for ten sleeps");
}

/// R4, R12: whoever owns the group now is its host, and drains it.
#[tokio::test(start_paused = true)]
async fn a_group_taken_out_of_its_scope_drains_with_the_task() {
    let (began, steps) = (Instant::now(), Steps::default());
    for cancel_after in [SECOND, 2 * SECOND] {
        let noted = steps.clone();
        let work = async move {
            let made = timeout(5 * SECOND, async {
                let group = Group::new();
                let saved = noted.clone();
                group.spawn(async move {
                    shield(sleep(9 * SECOND)).await;
                    saved.mark("saved");
                    Ok(())
                });
                sleep(SECOND * 3 / 2).await;
                group
            });
            let _group = made.await.map_err(|_| "in time")?;
            pending::<()>().await;
            noted.mark("never");
            Ok(())
        };
        cancelled_after(cancel_after, work).await.unwrap();
    }
    assert_eq!(steps.seen(), ["saved", "saved"]);
    assert_eq!(began.elapsed(), 18 * SECOND);
}

/// R12, on two threads: in a cancelled body a handle's await is a wait, also of the very child that failed.
#[test]
fn an_await_of_the_child_that_cancelled_the_body_never_comes_back() {
    multi_thread(2).block_on(async {
        for round in 0..6_000 {
            let group = Group::new();
            let child = group.spawn::<()>(async { Err("no") });
            let came_back = AtomicUsize::new(0);
            let ended = group.run(async {
                match round % 3 {
                    0 => drop(child.await),
                    1 => drop(timeout(HOUR, child).await),
                    _ => group.wait_idle().await,
                }
                came_back.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            let error = ended.await.unwrap_err();
            assert_eq!(came_back.load(Ordering::SeqCst), 0, "round {round}");
            assert_eq!(error.len(), 1);
            assert_eq!(error.first().unwrap().error(), Some(&"no"));
        }
    });
}
