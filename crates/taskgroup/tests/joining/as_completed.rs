//! Tasks in the order in which they end.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use futures::StreamExt;
use taskgroup::{AsCompleted, OnFailure, as_completed, timeout};
use tokio::time::Instant;

use super::common::{counting_polls, multi_thread, within_an_hour};
use super::*;

#[tokio::test(start_paused = true)]
async fn tasks_come_as_they_end_each_with_who_it_is() {
    let group = Group::new();
    let tasks = [(3, "three"), (1, "one"), (2, "two")]
        .map(|(seconds, name)| group.task().name(name).spawn(after(seconds, Ok(seconds))));
    let ids: Vec<_> = tasks.iter().map(taskgroup::Task::id).collect();
    let mut completed = as_completed(tasks);
    let mut seen = Vec::new();
    while let Some(task) = completed.next().await {
        assert_eq!(task.id(), ids[task.index()]);
        assert_eq!(task.location().file(), file!());
        seen.push((task.index(), task.name().unwrap().to_owned(), *task.result().unwrap()));
        assert_eq!(completed.len(), 3 - seen.len());
    }
    assert_eq!(seen, [(1, "one".to_owned(), 1), (2, "two".to_owned(), 2), (0, "three".to_owned(), 3)]);
    assert!(completed.is_empty());
    group.join().await.unwrap();
}

#[tokio::test]
async fn tasks_that_had_ended_come_first_in_the_order_of_their_handles() {
    let group = Group::new();
    let mut tasks: Vec<_> = (0..3).map(|number| group.spawn(async move { Ok(number) })).collect();
    group.wait_idle().await;
    tasks.insert(1, group.spawn(pending()));
    let mut completed = as_completed(tasks);
    for expected in [0, 2, 3] {
        assert_eq!(completed.next().await.unwrap().index(), expected);
    }
    assert!(completed.next().now_or_never().is_none());
    let left = completed.into_tasks();
    assert_eq!(left.len(), 1);
    left[0].cancel();
    assert!(left.into_iter().next().unwrap().await.unwrap_err().is_cancelled());
    group.join().await.unwrap();
}

#[tokio::test]
async fn an_empty_one_ends_at_once() {
    let mut completed: AsCompleted<()> = as_completed([]);
    assert!(completed.next().await.is_none());
    assert!(completed.next().await.is_none());
    assert_eq!(futures::Stream::size_hint(&completed), (0, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn each_way_to_end_is_told() {
    let group: Group =
        TaskGroup::builder().on_failure(OnFailure::Continue).on_panic(taskgroup::OnPanic::Collect).build();
    let tasks = [
        group.spawn(after(4, Ok(()))),
        group.spawn(after(1, Err("reset"))),
        group.spawn(async {
            sleep(2 * SECOND).await;
            panic!("lost my way")
        }),
        group.spawn(pending()),
    ];
    tasks[3].cancel_because("not needed");
    let completed = as_completed(tasks);
    let seen: Vec<_> = completed.map(|task| (task.index(), task.into_result())).collect().await;
    let order: Vec<_> = seen.iter().map(|(index, _)| *index).collect();
    assert_eq!(order, [3, 1, 2, 0]);
    assert_eq!(seen[0].1.as_ref().unwrap_err().reason().unwrap().to_string(), "not needed");
    assert!(seen[1].1.as_ref().unwrap_err().is_failed());
    assert!(seen[2].1.as_ref().unwrap_err().is_panicked());
    assert!(seen[3].1.is_ok());
    assert_eq!(group.join().await.unwrap_err().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_changes_nothing_for_the_tasks() {
    let group = Group::new();
    let alive = Alive::new();
    let mut completed =
        as_completed([1, 2].map(|seconds| group.spawn(guarded(alive.guard(), seconds, Ok(())))));
    completed.next().await.unwrap().into_result().unwrap();
    drop(completed);
    tokio::task::yield_now().await;
    assert_eq!(alive.now(), 1);
    group.join().await.unwrap();
    assert_eq!(group_ended_well(&alive), 2);
}

fn group_ended_well(alive: &Alive) -> usize {
    assert_eq!(alive.now(), 0);
    alive.ever()
}

#[tokio::test(start_paused = true)]
async fn reading_can_be_given_up_and_taken_up_again() {
    let group = Group::new();
    let mut completed = as_completed([group.spawn(after(2, Ok("late")))]);
    let limit = Instant::now() + SECOND;
    assert!(tokio::time::timeout_at(limit, completed.next()).await.is_err());
    assert!(timeout(SECOND / 2, completed.next()).await.is_err());
    assert_eq!(completed.next().await.unwrap().into_result().unwrap(), "late");
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_in_another_task_and_wakes_that_one() {
    let group = Group::new();
    let mut completed = as_completed([1, 2].map(|seconds| group.spawn(after(seconds, Ok(seconds)))));
    // Polled here first, whose waker is left with it.
    assert!(completed.next().now_or_never().is_none());
    let reader = group.spawn(async move {
        let mut sum = 0;
        while let Some(task) = completed.next().await {
            sum += task.into_result().map_err(|_| "no value")?;
        }
        Ok(sum)
    });
    group.join().await.unwrap();
    assert_eq!(reader.into_result().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn in_a_cancelled_region_it_is_a_wait_whatever_has_ended() {
    let outer = Group::new();
    let ended = outer.spawn(async { Ok(()) });
    outer.wait_idle().await;
    let region = Group::new();
    let spawner = region.spawner();
    region.spawn::<()>(async move {
        let mut completed = as_completed([ended]);
        spawner.cancel();
        completed.next().await;
        unreachable!("cut here")
    });
    within_an_hour(region.join()).await.unwrap();
    outer.join().await.unwrap();
}

#[tokio::test]
async fn a_body_does_not_see_the_failure_that_cuts_it() {
    let failed = taskgroup::scope(async |tg: &Group| {
        let mut completed = as_completed([tg.spawn(async { Err::<(), _>("reset") })]);
        completed.next().await;
        unreachable!("cut here")
    });
    let errors: Result<(), _> = failed.await;
    assert_eq!(errors.unwrap_err().first().unwrap().error(), Some(&"reset"));
}

#[tokio::test(start_paused = true)]
async fn more_can_be_pushed_and_places_count_on() {
    let group = Group::new();
    let mut completed = as_completed([group.spawn(after(1, Ok(0)))]);
    let mut seen = Vec::new();
    while let Some(task) = completed.next().await {
        let (index, value) = (task.index(), task.into_result().unwrap());
        seen.push((index, value));
        if value < 2 {
            completed.extend([value + 1].map(|next| group.spawn(after(1, Ok(next)))));
        }
    }
    assert_eq!(seen, [(0, 0), (1, 1), (2, 2)]);
    completed.push(group.spawn(async { Ok(3) }));
    assert_eq!(completed.next().await.unwrap().index(), 3, "it goes on after its end");
    group.join().await.unwrap();
}

#[tokio::test]
async fn a_push_while_somebody_waits_wakes_the_waiter() {
    let group = Group::new();
    let ended = group.spawn(async { Ok("ended") });
    group.wait_idle().await;
    let mut completed = as_completed([group.spawn(pending())]);
    let (waker, woken) = futures_test_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(matches!(completed.poll_next_unpin(&mut cx), Poll::Pending));
    completed.push(ended);
    assert_eq!(woken.load(SeqCst), 1);
    assert_eq!(completed.next().await.unwrap().into_result().unwrap(), "ended");
    group.cancel();
    group.join().await.unwrap();
}

/// A waker that counts how often it was woken.
fn futures_test_waker() -> (std::task::Waker, std::sync::Arc<AtomicUsize>) {
    struct Count(std::sync::Arc<AtomicUsize>);
    impl std::task::Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let woken = std::sync::Arc::new(AtomicUsize::new(0));
    (std::sync::Arc::new(Count(woken.clone())).into(), woken)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_wake_the_reader_once_each_at_most() {
    const MANY: usize = 10_000;
    let group = Group::new();
    // Ends in the opposite order, all by one alarm after the other.
    let tasks = (0..MANY).map(|number| {
        group.spawn(async move {
            sleep(Duration::from_millis((MANY - number) as u64)).await;
            Ok(number)
        })
    });
    let polls = AtomicUsize::new(0);
    let mut completed = as_completed(tasks);
    let read = async {
        let mut expected = (0..MANY).rev();
        while let Some(task) = completed.next().await {
            assert_eq!(Some(task.into_result().unwrap()), expected.next());
        }
        assert_eq!(expected.next(), None);
    };
    counting_polls(&polls, read).await;
    assert!(polls.load(SeqCst) <= 2 * MANY + 1, "{polls:?}");
    group.join().await.unwrap();
}

#[test]
fn on_several_threads_each_comes_once() {
    multi_thread(4).block_on(async {
        for _ in 0..20 {
            let group = Group::new();
            let tasks = (0..500).map(|number| {
                group.spawn(async move {
                    for _ in 0..number % 7 {
                        tokio::task::yield_now().await;
                    }
                    Ok(number)
                })
            });
            let mut seen: Vec<_> =
                as_completed(tasks).map(|task| task.into_result().unwrap()).collect().await;
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..500));
            group.join().await.unwrap();
        }
    });
}

#[tokio::test]
async fn others_run_while_ten_thousand_ended_tasks_are_read() {
    let group = Group::new();
    let tasks: Vec<_> = (0..10_000).map(|_| group.spawn(async { Ok(()) })).collect();
    group.wait_idle().await;
    let turns = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let reader = tokio::spawn(async move { as_completed(tasks).count().await });
    assert_eq!(reader.await.unwrap(), 10_000);
    assert!(turns.load(SeqCst) > 10, "the runtime's budget is kept");
    other.abort();
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tasks_of_several_groups_may_be_in_one() {
    let (one, two) = (Group::new(), TaskGroup::<std::io::Error>::new());
    let slow = one.spawn(after(2, Ok("slow")));
    let quick = two.spawn(async { Ok("quick") });
    let order: Vec<_> = as_completed([slow, quick]).map(|task| task.into_result().unwrap()).collect().await;
    assert_eq!(order, ["quick", "slow"]);
    one.join().await.unwrap();
    two.join().await.unwrap();
}
