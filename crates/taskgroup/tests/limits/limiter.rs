//! A limiter that several groups share.

use std::sync::{Arc, Mutex};

use futures::{FutureExt, poll};

use super::common::{multi_thread, within_an_hour};
use super::{Exit, Group, Running, settle};
use taskgroup::{Limiter, TaskGroup};

fn under(limiter: &Limiter) -> Group {
    TaskGroup::builder().limiter(limiter).build()
}

#[tokio::test(start_paused = true)]
async fn two_groups_share_its_permits_first_come_first_served() {
    let limiter = Limiter::new(2);
    let groups = [under(&limiter), under(&limiter)];
    let (running, order) = (Running::default(), Arc::new(Mutex::new(Vec::new())));
    for number in 0..20 {
        let (running, order) = (running.clone(), Arc::clone(&order));
        groups[number % 2].spawn(async move {
            let _run = running.enter();
            order.lock().unwrap().push(number);
            settle().await;
            Ok(())
        });
    }
    assert_eq!((limiter.limit(), limiter.running(), limiter.queued()), (2, 2, 18));
    assert_eq!(groups.each_ref().map(|group| group.report().queued()), [9, 9]);
    for group in groups {
        within_an_hour(group.join()).await.unwrap();
    }
    assert_eq!((limiter.running(), limiter.queued(), running.most()), (0, 0, 2));
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_group_with_a_limit_of_its_own_needs_a_place_there_first() {
    let limiter = Limiter::new(3);
    let narrow: Group = TaskGroup::builder().limit(1).limiter(&limiter).build();
    let wide = under(&limiter);
    let (here, there, exit) = (Running::default(), Running::default(), Exit::closed());
    for _ in 0..5 {
        narrow.spawn(exit.task(&here));
    }
    for _ in 0..5 {
        wide.spawn(exit.task(&there));
    }
    settle().await;
    // The four others of the narrow one wait for their own group, and keep nothing from the wide one.
    assert_eq!((here.now(), there.now(), limiter.queued()), (1, 2, 3));
    assert_eq!((narrow.report().queued(), wide.report().queued()), (4, 3));
    exit.open(10);
    within_an_hour(narrow.join()).await.unwrap();
    within_an_hour(wide.join()).await.unwrap();
    assert_eq!((here.most(), limiter.running()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn both_limits_hold_on_threads_too() {
    let limiter = Limiter::new(3);
    let all = Running::default();
    let groups: Vec<Group> =
        [1, 2, 5].map(|limit| TaskGroup::builder().limit(limit).limiter(&limiter).build()).into();
    let threads = std::thread::spawn(move || {
        multi_thread(2).block_on(async {
            let own: Vec<Running> = groups.iter().map(|_| Running::default()).collect();
            for number in 0..6_000 {
                let (all, own) = (all.clone(), own[number % 3].clone());
                groups[number % 3].spawn(async move {
                    let _runs = (all.enter(), own.enter());
                    if number % 2 == 0 {
                        tokio::task::yield_now().await;
                    }
                    Ok(())
                });
                if number % 100 == 0 {
                    limiter.set_limit(number % 4);
                    groups[2].set_limit(number % 7);
                }
            }
            limiter.set_limit(3);
            groups[2].set_limit(5);
            for group in groups {
                group.join().await.unwrap();
            }
            assert_eq!((limiter.running(), limiter.queued(), all.now()), (0, 0, 0));
            assert!(all.most() <= 3 && own[0].most() == 1 && own[1].most() <= 2);
        });
    });
    tokio::task::spawn_blocking(|| threads.join().unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_group_does_not_start_by_a_permit_that_comes_later() {
    let limiter = Limiter::new(1);
    let (paused, other): (Group, _) =
        (TaskGroup::builder().limit(1).limiter(&limiter).build(), under(&limiter));
    let (here, there, exit) = (Running::default(), Running::default(), Exit::closed());
    let permit = limiter.acquire().await;
    paused.spawn(exit.task(&here));
    other.spawn(exit.task(&there));
    paused.set_limit(0);
    drop(permit);
    settle().await;
    assert_eq!((here.now(), there.now(), limiter.running(), limiter.queued()), (0, 1, 1, 0));
    paused.set_limit(1);
    assert_eq!(limiter.queued(), 1);
    exit.open(2);
    within_an_hour(paused.join()).await.unwrap();
    within_an_hour(other.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn its_limit_moves_up_and_down() {
    let limiter = Limiter::new(0);
    let (group, running, exit) = (under(&limiter), Running::default(), Exit::closed());
    for _ in 0..10 {
        group.spawn(exit.task(&running));
    }
    for (limit, ran) in [(0, 0), (3, 3), (1, 3), (4, 4)] {
        limiter.set_limit(limit);
        settle().await;
        assert_eq!((running.now(), limiter.limit(), limiter.running()), (ran, limit, ran));
    }
    exit.open(10);
    within_an_hour(group.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn code_that_is_no_task_takes_part() {
    let limiter = Limiter::new(1);
    let group = under(&limiter);
    let permit = limiter.acquire().now_or_never().unwrap();
    let task = group.spawn(async { Ok(1) });
    let mut waits = [Box::pin(limiter.acquire()), Box::pin(limiter.acquire())];
    for wait in &mut waits {
        assert!(poll!(wait).is_pending());
    }
    assert!(limiter.try_acquire().is_none() && group.try_ready().is_none());
    assert_eq!((limiter.running(), limiter.queued()), (1, 3));
    drop(permit);
    assert_eq!(task.await.unwrap(), 1);
    let [first, mut second] = waits;
    // Reserved for the first; given up it is the second's.
    assert!(poll!(&mut second).is_pending());
    drop(first);
    let permit = second.await;
    assert_eq!((limiter.running(), limiter.queued()), (1, 0));
    drop(permit);
    assert!(limiter.try_acquire().is_some());
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_group_leaves_its_line_to_the_others() {
    let limiter = Limiter::new(1);
    let (first, second) = (under(&limiter), under(&limiter));
    let (running, exit) = (Running::default(), Exit::closed());
    for _ in 0..3 {
        first.spawn(exit.task(&running));
    }
    let task = second.spawn(async { Ok(1) });
    settle().await;
    first.cancel();
    assert_eq!((limiter.running(), limiter.queued()), (1, 1));
    within_an_hour(first.join()).await.unwrap();
    assert_eq!(task.await.unwrap(), 1);
    assert_eq!(running.most(), 1);
    second.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ready_waits_for_both() {
    let limiter = Limiter::new(1);
    let group: Group = TaskGroup::builder().limit(1).limiter(&limiter).build();
    let permit = limiter.acquire().await;
    let mut ready = Box::pin(group.ready());
    assert!(poll!(&mut ready).is_pending());
    assert!(group.try_ready().is_none());
    // It has its place in the group, which another one gets when it goes.
    drop(ready);
    let mut ready = Box::pin(group.ready());
    assert!(poll!(&mut ready).is_pending());
    drop(permit);
    let place = ready.now_or_never().unwrap();
    assert_eq!(limiter.running(), 1);
    drop(place);
    assert_eq!(limiter.running(), 0);
    group.join().await.unwrap();
}
