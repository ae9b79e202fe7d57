//! Shields and cleanup behind combinators that poll a branch only when its own waker was called, and give up
//! their turn when branches wake themselves (R12, R14).

use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures::future::select;
use futures::stream::{FuturesUnordered, StreamExt};
use taskgroup::{finally, shield, shield_for, timeout};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::common::{Alive, Guard, Steps, multi_thread, within_an_hour};
use crate::{Group, HOUR, Outcome, SECOND, cancelled_after};

type Branch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls a branch only when its waker was called, and ends its turn after two that woke themselves.
async fn unordered(branches: impl IntoIterator<Item = Branch>) {
    branches.into_iter().collect::<FuturesUnordered<_>>().collect().await
}

/// Wakes itself in every poll, for ever.
async fn busy() {
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    })
    .await
}

/// Two branches: a shield of three seconds, and a sleep that is over before it.
async fn shield_and_shorter_sleep(steps: Steps) {
    let saving = shield(async {
        sleep(3 * SECOND).await;
        steps.mark("saved");
    });
    tokio::join!(saving, sleep(SECOND * 3 / 2));
}

// The sleep's wake-up is used up on the inner combinator, which says nothing to the outer one again.

#[tokio::test(start_paused = true)]
async fn a_shield_in_a_scope_that_was_cut_before_its_task_completes() {
    let (began, steps) = (Instant::now(), Steps::default());
    let noted = steps.clone();
    let work = async move {
        let inner: Branch = Box::pin(shield_and_shorter_sleep(noted.clone()));
        let scope: Branch = Box::pin(async { drop(timeout(SECOND, unordered([inner])).await) });
        unordered([scope]).await;
        pending::<()>().await;
        noted.mark("never");
        Ok(())
    };
    cancelled_after(2 * SECOND, work).await.unwrap();
    assert_eq!(steps.seen(), ["saved"]);
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_shield_in_a_shield_for_that_was_cut_before_its_task_completes() {
    let (began, steps) = (Instant::now(), Steps::default());
    let noted = steps.clone();
    let work = async move {
        let inner: Branch = Box::pin(shield_and_shorter_sleep(noted.clone()));
        let bounded: Branch = Box::pin(async { drop(shield_for(SECOND, unordered([inner])).await) });
        unordered([bounded]).await;
        pending::<()>().await;
        noted.mark("never");
        Ok(())
    };
    cancelled_after(2 * SECOND, work).await.unwrap();
    assert_eq!(steps.seen(), ["saved"]);
    assert_eq!(began.elapsed(), 3 * SECOND);
}

/// Lets a task with busy branches, under which a paused clock stands still, come to where it stays.
async fn let_it_run() {
    for _ in 0..100 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_woken_shield_is_polled_although_another_one_sleeps() {
    let (began, steps) = (Instant::now(), Steps::default());
    let (first, second, after) = (steps.clone(), steps.clone(), steps.clone());
    let group = Group::new();
    group.spawn(async move {
        let (send, receive) = oneshot::channel();
        let waiting = shield(async {
            receive.await.unwrap();
            first.mark("told");
        });
        let telling: Branch = Box::pin(shield(async move {
            sleep(3 * SECOND).await;
            second.mark("slept");
            send.send(()).unwrap();
        }));
        tokio::join!(waiting, unordered([Box::pin(busy()), Box::pin(busy()), telling]));
        after.mark("never");
        Ok(())
    });
    let_it_run().await;
    group.cancel();
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(steps.seen(), ["slept", "told"]);
    assert_eq!(began.elapsed(), 3 * SECOND);
}

/// Cancels a task where `protected` stands behind `many` busy branches, in `depth` timeouts.
async fn cancelled_behind_busy_branches(many: usize, depth: usize, protected: Branch) {
    let group = Group::new();
    group.spawn::<()>(async move {
        let branches = (0..many).map(|_| Box::pin(busy()) as Branch);
        let mut work: Branch = Box::pin(unordered(branches.chain([protected]).collect::<Vec<_>>()));
        for _ in 0..depth {
            work = Box::pin(async { drop(timeout(HOUR, work).await) });
        }
        work.await;
        panic!("its branches never end");
    });
    let_it_run().await;
    group.cancel();
    within_an_hour(group.join()).await.unwrap();
}

const MANY_AND_DEPTH: [(usize, usize); 6] = [(2, 0), (40, 0), (2, 8), (2, 15), (2, 20), (10, 3)];

#[tokio::test(start_paused = true)]
async fn a_shield_behind_many_busy_branches_completes() {
    for (many, depth) in MANY_AND_DEPTH {
        let (began, steps) = (Instant::now(), Steps::default());
        let noted = steps.clone();
        let saving = shield(async move {
            sleep(3 * SECOND).await;
            noted.mark("saved");
        });
        cancelled_behind_busy_branches(many, depth, Box::pin(saving)).await;
        assert_eq!(steps.seen(), ["saved"], "{many} branches in {depth} timeouts");
        assert_eq!(began.elapsed(), 3 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn the_cleanup_of_work_behind_many_busy_branches_runs() {
    for (many, depth) in MANY_AND_DEPTH {
        let (began, steps) = (Instant::now(), Steps::default());
        let noted = steps.clone();
        let work = async move {
            let cleanup = async |_| {
                sleep(SECOND).await;
                noted.mark("cleaned up");
            };
            let _ = finally(pending::<Outcome>(), cleanup).await;
            noted.mark("never");
        };
        cancelled_behind_busy_branches(many, depth, Box::pin(work)).await;
        assert_eq!(steps.seen(), ["cleaned up"], "{many} branches in {depth} timeouts");
        assert_eq!(began.elapsed(), SECOND);
    }
}

/// Ends in its first poll, in the middle of which one of its branches wakes the other.
async fn a_shield_that_wakes_itself() {
    let (send, receive) = oneshot::channel();
    let receiving: Branch = Box::pin(async { receive.await.unwrap() });
    let sending: Branch = Box::pin(async { send.send(()).unwrap() });
    shield(unordered([receiving, sending])).await;
}

/// R12: what the code waits for becomes ready, the cancel comes, and only then the next poll would.
#[tokio::test(start_paused = true)]
async fn frozen_code_does_not_run_for_a_shield_that_is_gone() {
    for before in ["no shield", "a shield that ended", "a shield that was dropped"] {
        let steps = Steps::default();
        let noted = steps.clone();
        let (send, receive) = oneshot::channel();
        let group = Group::new();
        group.spawn(async move {
            match before {
                "a shield that ended" => a_shield_that_wakes_itself().await,
                "a shield that was dropped" => {
                    tokio::select! { biased; () = shield(busy()) => {}, () = ready(()) => {} }
                }
                _ => {}
            }
            noted.mark("waits");
            let _ = receive.await;
            noted.mark("never");
            Ok(())
        });
        // Its turn comes after the task's first poll, and before a second one that the shield has asked for.
        let (noted, spawner) = (steps.clone(), group.spawner());
        let cancelling = tokio::spawn(async move {
            noted.mark("cancelled");
            send.send(()).unwrap();
            spawner.cancel();
        });
        within_an_hour(group.join()).await.unwrap();
        cancelling.await.unwrap();
        assert_eq!(steps.seen(), ["waits", "cancelled"], "{before}");
    }
}

/// Polls `step` once in a task, moves it to another task at once, which polls it at ten seconds; the first task
/// is cancelled at one second, the other one at 15. Gives the times at which the two have ended.
async fn moved_out_of_a_cancelled_task(mut step: Branch) -> (u64, u64) {
    let began = Instant::now();
    let group = Group::new();
    let (send, receive) = oneshot::channel();
    let first = group.spawn::<()>(async move {
        assert!(futures::poll!(&mut step).is_pending());
        send.send(step).map_err(|_| "nobody takes it")?;
        pending().await
    });
    let other = group.spawn::<()>(async move {
        let step = receive.await.unwrap();
        sleep(10 * SECOND).await;
        step.await;
        pending().await
    });
    sleep(SECOND).await;
    first.cancel();
    let first_ended = async {
        first.wait_finished().await;
        began.elapsed().as_secs()
    };
    let other_ended = async {
        sleep(14 * SECOND).await;
        other.cancel();
        other.wait_finished().await;
        began.elapsed().as_secs()
    };
    let ended = within_an_hour(async { tokio::join!(first_ended, other_ended) }).await;
    within_an_hour(group.join()).await.unwrap();
    assert!(first.into_result().unwrap_err().is_cancelled());
    assert!(other.into_result().unwrap_err().is_cancelled());
    ended
}

#[tokio::test(start_paused = true)]
async fn a_task_does_not_wait_for_a_shield_or_scope_that_has_moved_away() {
    for in_a_timeout in [false, true] {
        let steps = Steps::default();
        let noted = steps.clone();
        let saving = shield(async move {
            sleep(100 * SECOND).await;
            noted.mark("saved");
        });
        let step: Branch = match in_a_timeout {
            true => Box::pin(async { drop(timeout(HOUR, saving).await) }),
            false => Box::pin(saving),
        };
        assert_eq!(moved_out_of_a_cancelled_task(step).await, (10, 100), "in a timeout: {in_a_timeout}");
        assert_eq!(steps.seen(), ["saved"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_does_not_wait_for_a_start_that_has_moved_away() {
    let steps = Steps::default();
    let noted = steps.clone();
    let home = Arc::new(Group::new());
    let starts_in = Arc::clone(&home);
    let step = async move {
        let start = starts_in.start::<(), (), _>(|ready| async move {
            let _ready = ready;
            shield(sleep(100 * SECOND)).await;
            noted.mark("saved");
            pending().await
        });
        drop(start.await);
    };
    assert_eq!(moved_out_of_a_cancelled_task(Box::pin(step)).await, (10, 100));
    assert_eq!(steps.seen(), ["saved"]);
    assert!(home.is_empty() && !home.is_cancelled());
}

/// A waker that shows, by its guard, whether anybody keeps it.
struct Host(#[allow(dead_code, reason = "held")] Guard);

impl Wake for Host {
    fn wake(self: Arc<Self>) {}
}

/// Waits once, and keeps no waker.
async fn wait_once() {
    let mut waited = false;
    poll_fn(|_| match std::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await
}

/// Polls a thousand shields, each with wakers of its own: up to their end, or only up to their wait.
fn wait_in_a_thousand_shields(hosts: &Alive) {
    for n in 0..1_000 {
        let mut step = pin!(shield(wait_once()));
        for poll in 0..1 + n % 2 {
            let waker = Waker::from(Arc::new(Host(hosts.guard())));
            let is_ready = step.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            assert_eq!(is_ready, poll == 1);
        }
        assert!(hosts.now() <= 1, "one is kept, where the shield still waits");
    }
}

/// A task's waker keeps the memory of the task.
#[tokio::test(start_paused = true)]
async fn a_thousand_shields_that_waited_leave_no_waker_behind() {
    let hosts = Alive::new();
    wait_in_a_thousand_shields(&hosts);
    assert_eq!((hosts.now(), hosts.ever()), (0, 1_500), "outside of any group");

    let group = Group::new();
    let polled_with = hosts.clone();
    let task = group.spawn(async move {
        wait_in_a_thousand_shields(&polled_with);
        Ok(polled_with.now())
    });
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(task.into_result().unwrap(), 0, "while the group lives");
    assert_eq!(hosts.ever(), 3_000);
}

/// R12, on two threads: whichever failure is first, the body that awaits both is cut.
#[test]
fn an_await_of_two_children_that_fail_at_once_never_comes_back() {
    multi_thread(2).block_on(async {
        for round in 0..10_000 {
            let group = Group::new();
            let first = group.spawn::<()>(async { Err("first") });
            let second = group.spawn::<()>(async { Err("second") });
            let mut came_back = false;
            let ended = group.run(async {
                drop(select(first, second).await);
                came_back = true;
                Ok(())
            });
            let error = ended.await.unwrap_err();
            assert!((1..=2).contains(&error.len()), "round {round}: {error:#}");
            assert!(!came_back, "round {round}");
        }
    });
}
