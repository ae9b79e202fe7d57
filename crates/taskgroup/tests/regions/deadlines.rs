//! Deadlines of groups and of scopes (R19).

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taskgroup::{CancelReason, CancelScope, OnFailure, TaskGroup, shield, timeout};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::common::{Alive, Steps, counting_polls, within_an_hour};
use crate::{Group, HOUR, Outcome, SECOND, cut_by_deadline};

/// A body that has been cut at its first wait does not go on in the same turn.
#[tokio::test(start_paused = true)]
async fn the_body_of_a_group_without_time_is_polled_once() {
    let polls = AtomicUsize::new(0);
    let group: Group = TaskGroup::builder().timeout(Duration::ZERO).build();
    let error = group.run(counting_polls(&polls, pending::<Outcome>())).await.unwrap_err();
    assert!(cut_by_deadline(&error));
    assert_eq!(polls.load(Ordering::SeqCst), 1);

    let steps = Steps::default();
    let group: Group = TaskGroup::builder().timeout(Duration::ZERO).build();
    let body = async {
        steps.mark("up to the first wait");
        yield_now().await;
        steps.mark("never");
        Ok(7)
    };
    assert!(cut_by_deadline(&group.run(body).await.unwrap_err()));
    assert_eq!(steps.seen(), ["up to the first wait"]);

    let group: Group = TaskGroup::builder().timeout(Duration::ZERO).build();
    assert_eq!(group.run(async { Ok(7) }).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_cut_nothing_leaves_the_value() {
    let began = Instant::now();
    let group: Group = TaskGroup::builder().timeout(5 * SECOND).build();
    let body = async {
        group.task().cooperative(|token| async move {
            token.cancelled().await;
            Ok(())
        });
        // Cut, but by somebody else, and before.
        let unrelated = group.spawn::<()>(pending());
        yield_now().await;
        unrelated.cancel();
        Ok(unrelated)
    };
    let unrelated = group.run(body).await.unwrap();
    assert!(unrelated.into_result().unwrap_err().is_cancelled());
    assert_eq!(began.elapsed(), 5 * SECOND, "the deadline has asked the cooperative child to end");
    assert!(group.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_cut_in_an_adopted_group_takes_the_value() {
    let (began, alive) = (Instant::now(), Alive::new());
    let guard = alive.guard();
    let left_behind = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&left_behind);
    let group: Group = TaskGroup::builder().timeout(5 * SECOND).build();
    let body = async {
        group.spawn(async move {
            let made = Group::new();
            made.spawn::<()>(async move {
                let _guard = guard;
                pending().await
            });
            *slot.lock().unwrap() = Some(made);
            Ok(())
        });
        Ok(5)
    };
    assert!(cut_by_deadline(&group.run(body).await.unwrap_err()));
    assert_eq!((began.elapsed(), alive.now()), (5 * SECOND, 0));
    assert!(left_behind.lock().unwrap().as_ref().unwrap().is_cancelled());
}

/// R8: what fails before the deadline comes out, and the deadline is not reported in its place.
#[tokio::test(start_paused = true)]
async fn a_failure_before_the_deadline_is_not_covered_by_it() {
    let group: Group = TaskGroup::builder().on_failure(OnFailure::Continue).timeout(2 * SECOND).build();
    group.spawn::<()>(async {
        sleep(SECOND).await;
        Err("early")
    });
    let cut = group.spawn::<()>(pending());
    let error = within_an_hour(group.run(async { Ok(3) })).await.unwrap_err();
    assert!(!error.is_cancelled());
    assert_eq!((error.len(), error.first().unwrap().error()), (1, Some(&"early")));
    assert!(cut.into_result().unwrap_err().is_cancelled());
}

/// Only background tasks are left, and they are being ended: the deadline has nothing to say any more.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_background_tasks_end_leaves_the_value() {
    let began = Instant::now();
    let group: Group = TaskGroup::builder().timeout(2 * SECOND).build();
    let body = async {
        group.task().background().spawn(async {
            shield(sleep(10 * SECOND)).await;
            Ok(())
        });
        sleep(SECOND).await;
        Ok(3)
    };
    assert_eq!(within_an_hour(group.run(body)).await.unwrap(), 3);
    assert_eq!(began.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_came_later_counts_from_the_entry_all_the_same() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    sleep(SECOND).await;
    let began = Instant::now();
    let work = async {
        sleep(5 * SECOND).await;
        handle.reschedule(Instant::now() + 3 * SECOND).unwrap();
        pending::<()>().await;
    };
    let error = scope.run(work).await.unwrap_err();
    assert_eq!(began.elapsed(), 8 * SECOND);
    let reason = error.cause().reason();
    assert!(matches!(reason, CancelReason::Deadline(_, after) if *after == 8 * SECOND), "{reason:?}");
}

/// The outermost of several reports, but nobody waits for a report that does not come: the outer `run` is not
/// polled while its host does something else.
#[tokio::test(start_paused = true)]
async fn a_deadline_does_not_wait_for_an_outer_one_that_nobody_polls() {
    let began = Instant::now();
    let group: Group = TaskGroup::builder().timeout(SECOND).build();
    let (elapsed, has_elapsed) = oneshot::channel();
    let (turn_away, turned_away) = oneshot::channel();
    let body = async {
        group.spawn(async move {
            let result = timeout(2 * SECOND, pending::<()>()).await;
            elapsed.send(result.unwrap_err().after()).map_err(|_| "nobody listens")
        });
        sleep(SECOND / 2).await;
        turn_away.send(()).unwrap();
        pending::<Outcome>().await
    };
    let mut run = pin!(group.run(body));
    tokio::select! {
        result = &mut run => panic!("not polled to its end: {result:?}"),
        _ = turned_away => {}
    }
    assert_eq!(within_an_hour(has_elapsed).await, Ok(2 * SECOND));
    assert!(began.elapsed() < 3 * SECOND);
    assert!(cut_by_deadline(&run.await.unwrap_err()));
}

/// R18: a deadline that is put off wakes nobody, and its timer goes straight to the last one.
#[tokio::test(start_paused = true)]
async fn any_number_of_reschedules_leaves_one_timer() {
    const RESCHEDULES: u32 = 100_000;
    for forward in [false, true] {
        let began = Instant::now();
        let polls = Arc::new(AtomicUsize::new(0));
        let scope = CancelScope::timeout(10 * HOUR);
        let handle = scope.handle();
        let counted = Arc::clone(&polls);
        let host = tokio::spawn(async move { counting_polls(&counted, scope.run(pending::<()>())).await });
        yield_now().await;
        for n in 1..=RESCHEDULES {
            let change = Duration::from_millis(1) * n;
            let deadline = began + if forward { 10 * HOUR - change } else { 10 * HOUR + change };
            handle.reschedule(deadline).unwrap();
            if !forward && n % 1000 == 0 {
                yield_now().await;
            }
        }
        let last = handle.deadline().unwrap() - began;
        assert_eq!(last.abs_diff(10 * HOUR), Duration::from_millis(1) * RESCHEDULES);
        let error = host.await.unwrap().unwrap_err();
        assert!(matches!(error.cause().reason(), CancelReason::Deadline(_, after) if *after == last));
        assert_eq!(began.elapsed(), last);
        assert!(polls.load(Ordering::SeqCst) < 10, "{polls:?}, brought forward: {forward}");
    }
}
