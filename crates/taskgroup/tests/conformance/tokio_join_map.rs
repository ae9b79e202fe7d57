//! tokio-util's `JoinMap` and `JoinQueue`: names take the part of keys, handles that of the queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::stream::{FuturesOrdered, StreamExt};
use futures::{FutureExt, poll};
use taskgroup::{CancelReason, OnFailure, OnPanic, Task, TaskGroup};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use super::support::Alive;

/// Counts how often it is woken.
#[derive(Default)]
pub(super) struct Wakes(AtomicUsize);

impl Wakes {
    pub(super) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A child named after its number that gives it after so many milliseconds.
fn numbered(group: &TaskGroup, number: u64) -> Task<u64> {
    group.task().name(number.to_string()).spawn(async move {
        sleep(Duration::from_millis(number)).await;
        Ok(number)
    })
}

/// A child that ends when the sender is used, with what is sent.
fn gated(group: &TaskGroup) -> (oneshot::Sender<u64>, Task<u64>) {
    let (open, gate) = oneshot::channel();
    (open, group.spawn(async move { Ok(gate.await?) }))
}

fn endless(group: &TaskGroup, name: u64) -> Task<u64> {
    group.task().name(name.to_string()).spawn(pending())
}

/// Each of ten results comes with the name its task was given; a second round is the same.
#[tokio::test(start_paused = true)]
async fn line_01_test_with_sleep() {
    let group: TaskGroup = TaskGroup::new();
    for _ in 0..2 {
        let tasks: Vec<_> = (0..10).map(|number| numbered(&group, number)).collect();
        assert_eq!(group.len(), 10);
        group.wait_idle().await;
        assert!(group.is_empty());
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.name(), Some(number.to_string().as_str()));
            assert_eq!(task.into_result().unwrap(), number as u64);
        }
    }
    group.join().await.unwrap();
}

/// With one joined by its name and one spawned in turn, the length stays exact.
#[tokio::test(start_paused = true)]
async fn line_03_alternating() {
    let group: TaskGroup = TaskGroup::new();
    let mut living = BTreeMap::from([(0, numbered(&group, 0)), (1, numbered(&group, 1))]);
    for next in 2..18 {
        assert_eq!(group.len(), 2);
        let (oldest, task) = living.pop_first().unwrap();
        assert_eq!(task.name(), Some(oldest.to_string().as_str()));
        assert_eq!(task.await.unwrap(), oldest);
        assert_eq!(group.len(), 1);
        // Its time counts from now, so it ends after the other.
        living.insert(next, numbered(&group, next));
    }
    group.join().await.unwrap();
    assert!(living.into_values().all(|task| task.into_result().is_ok()));
}

/// The names of the living can be listed; after the join there are none.
#[tokio::test(start_paused = true)]
async fn line_04_keys() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let names = || {
        let living = spawner.stragglers();
        living.iter().map(|task| task.name().expect("named").to_owned()).collect::<BTreeSet<_>>()
    };
    let quick = numbered(&group, 1);
    let _slow = [10, 20].map(|number| numbered(&group, number));
    assert_eq!(names(), ["1", "10", "20"].map(str::to_owned).into());
    quick.await.unwrap();
    assert_eq!(names(), ["10", "20"].map(str::to_owned).into());
    group.join().await.unwrap();
    assert!(names().is_empty());
}

/// Cancelling the children with odd numbers cancels these, by their names, and nobody else.
#[tokio::test(start_paused = true)]
async fn line_05_abort_by_key() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: BTreeMap<_, _> = (0..10).map(|number| (number, numbered(&group, number))).collect();
    for number in [1, 3, 5, 7, 9] {
        tasks[&number].cancel();
    }
    group.join().await.unwrap();
    for (number, task) in tasks {
        match task.into_result() {
            Ok(value) => assert_eq!((value, number % 2), (number, 0)),
            Err(error) => {
                assert!(error.is_cancelled() && number % 2 == 1);
                assert_eq!(error.name(), Some(number.to_string().as_str()));
            }
        }
    }
}

/// So does cancelling those whose name satisfies a predicate.
#[tokio::test(start_paused = true)]
async fn line_06_abort_by_predicate() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> = (0..20).map(|number| numbered(&group, number)).collect();
    let chosen = |task: &&Task<u64>| task.name().is_some_and(|name| name.starts_with('1'));
    tasks.iter().filter(chosen).for_each(|task| task.cancel_because("starts with 1"));
    group.join().await.unwrap();
    let mut cancelled = Vec::new();
    for (number, task) in (0..).zip(tasks) {
        match task.into_result() {
            Ok(value) => assert_eq!(value, number),
            Err(error) => {
                assert_eq!(error.reason().unwrap().to_string(), "starts with 1");
                cancelled.push(number);
            }
        }
    }
    assert_eq!(cancelled, [1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
}

/// A child whose runtime is gone says which it was, and that it was cancelled.
#[test]
fn line_07_runtime_gone() {
    let (gone, runtime) =
        (Builder::new_current_thread().build().unwrap(), Builder::new_current_thread().build().unwrap());
    let (group, task) = gone.block_on(async {
        let group = TaskGroup::new();
        let task = endless(&group, 7);
        (group, task)
    });
    assert!(!task.is_finished());
    drop(gone);
    runtime.block_on(async {
        let error = task.await.unwrap_err();
        assert_eq!(error.name(), Some("7"));
        assert_eq!(error.reason().unwrap().reason(), &CancelReason::RuntimeShutdown);
        group.join().await.unwrap();
    });
}

/// A host that awaits a thousand finished children by name lets others run in between.
#[tokio::test(start_paused = true)]
async fn line_08_join_map_coop() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: BTreeMap<_, _> =
        (0..1000).map(|number| (number, group.spawn(async move { Ok(number) }))).collect();
    group.wait_idle().await;
    let mut joining = pin!(async {
        for (number, task) in tasks {
            assert_eq!(task.await.unwrap(), number);
        }
    });
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        joining.as_mut().poll(cx)
    })
    .await;
    assert!(polls > 1, "a thousand joins in one poll");
    group.join().await.unwrap();
}

/// After the cancel of a group each of its ten children is seen to have ended, finished or not, by its name.
#[tokio::test(start_paused = true)]
async fn line_09_abort_all() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> = (0..10)
        .map(|number| if number < 5 { endless(&group, number) } else { numbered(&group, 0) })
        .collect();
    for task in &tasks[5..] {
        task.wait_finished().await;
    }
    group.cancel();
    group.join().await.unwrap();
    let (mut values, mut cancelled) = (0, BTreeSet::new());
    for task in tasks {
        match task.into_result() {
            Ok(value) => values += 1 + value,
            Err(error) => assert!(error.is_cancelled() && cancelled.insert(error.name().unwrap().to_owned())),
        }
    }
    assert_eq!(values, 5);
    assert_eq!(cancelled, (0..5).map(|number| number.to_string()).collect());
}

/// An empty group is idle and can be joined without a wait.
#[tokio::test(start_paused = true)]
async fn line_10_try_join_next_empty() {
    let group: TaskGroup = TaskGroup::new();
    assert!(group.is_empty());
    assert!(group.wait_idle().now_or_never().is_some());
    group.join().now_or_never().unwrap().unwrap();
}

/// While the child waits there is no result, and asking does not change the length.
#[tokio::test(start_paused = true)]
async fn line_11_try_join_next_no_ready_task() {
    let group: TaskGroup = TaskGroup::new();
    let (open, task) = gated(&group);
    for _ in 0..3 {
        tokio::task::yield_now().await;
        assert!(task.result().is_none());
        assert!(group.wait_idle().now_or_never().is_none());
        assert_eq!(group.len(), 1);
    }
    let error = task.into_result().unwrap_err();
    assert!(error.is_unfinished() && !error.is_cancelled());
    open.send(1).unwrap();
    group.join().await.unwrap();
}

/// Once the child has ended its name and value are there, and the group is empty.
#[tokio::test(start_paused = true)]
async fn line_12_try_join_next_completed_task() {
    let group: TaskGroup = TaskGroup::new();
    let task = numbered(&group, 5);
    assert!(task.result().is_none());
    group.wait_idle().await;
    assert_eq!((task.name(), group.len()), (Some("5"), 0));
    assert_eq!(*task.result().unwrap().unwrap(), 5);
    assert_eq!(task.into_result().unwrap(), 5);
    group.join().await.unwrap();
}

/// Once a cancelled child has ended its name and the cancel are there, and the group is empty.
#[tokio::test(start_paused = true)]
async fn line_13_try_join_next_aborted_task() {
    let group: TaskGroup = TaskGroup::new();
    let task = endless(&group, 5);
    tokio::task::yield_now().await;
    task.cancel();
    assert!(task.result().is_none());
    group.wait_idle().await;
    assert!(group.is_empty());
    let error = task.result().unwrap().unwrap_err();
    assert_eq!((error.name(), error.is_cancelled()), (Some("5"), true));
    group.join().await.unwrap();
}

/// The results of eight ended children are taken one after the other without a wait.
#[tokio::test(start_paused = true)]
async fn line_14_try_join_next_advances_through_multiple() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> = (0..8).map(|number| numbered(&group, number)).collect();
    group.wait_idle().await;
    for (number, task) in (0..).zip(tasks) {
        assert_eq!(task.now_or_never().unwrap().unwrap(), number);
    }
    group.join().await.unwrap();
}

/// A name is no key: using it again leaves the result of the one that has ended where it was.
#[tokio::test(start_paused = true)]
async fn line_15_try_join_next_skips_replaced_task() {
    let group: TaskGroup = TaskGroup::new();
    let first = group.task().name("same").spawn(async { Ok("first") });
    first.wait_finished().await;
    let second = group.task().name("same").spawn(async { Ok("second") });
    second.wait_finished().await;
    assert_ne!(first.id(), second.id());
    assert_eq!(first.name(), second.name());
    assert_eq!((first.into_result().unwrap(), second.into_result().unwrap()), ("first", "second"));
    group.join().await.unwrap();
}

/// Using a name again cancels nobody: both children run to their end.
#[tokio::test(start_paused = true)]
async fn line_16_duplicate_keys() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> = (0..2)
        .map(|number| {
            group.task().name("same").spawn(async move {
                sleep(Duration::from_secs(1)).await;
                Ok(number)
            })
        })
        .collect();
    assert_eq!(group.len(), 2);
    group.join().await.unwrap();
    let values: Vec<_> = tasks.into_iter().map(|task| task.into_result().unwrap()).collect();
    assert_eq!(values, [0, 1]);
}

/// Of two children with one name the end of the first is told while the second runs, and as the first's.
#[tokio::test(start_paused = true)]
async fn line_17_duplicate_keys2() {
    let group: TaskGroup = TaskGroup::new();
    let (open, gate) = oneshot::channel();
    let first = group.task().name("same").spawn(async move { Ok(gate.await?) });
    let second = endless(&group, 0);
    tokio::task::yield_now().await;
    open.send(1).unwrap();
    first.wait_finished().await;
    assert_eq!((first.is_finished(), second.is_finished(), group.len()), (true, false, 1));
    assert_eq!(first.into_result().unwrap(), 1);
    second.cancel();
    group.join().await.unwrap();
    assert!(second.into_result().unwrap_err().is_cancelled());
}

/// A destructor that panics when its child is cut leaves the books exact and the other child joinable.
#[tokio::test(start_paused = true)]
async fn line_18_duplicate_keys_drop() {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let group: TaskGroup =
        TaskGroup::builder().on_panic(OnPanic::Collect).on_failure(OnFailure::Continue).build();
    let old = group.spawn(async {
        let _captured = PanicsInDrop;
        pending::<()>().await;
        Ok(())
    });
    let (open, new) = gated(&group);
    tokio::task::yield_now().await;
    old.cancel();
    old.wait_finished().await;
    assert_eq!(group.len(), 1);
    assert!(old.into_result().unwrap_err().is_panicked());
    open.send(2).unwrap();
    let error = group.join().await.unwrap_err();
    assert_eq!(error.len(), 1);
    assert_eq!(error.first().unwrap().panic().unwrap().message(), Some("in drop"));
    assert_eq!(new.into_result().unwrap(), 2);
}

/// Who awaits one handle is woken when that child ends, and not by the end of the others.
#[tokio::test(start_paused = true)]
async fn line_31_test_join_queue_no_spurious_wakeups() {
    let group: TaskGroup = TaskGroup::new();
    let (open_head, mut head) = gated(&group);
    let (open_second, second) = gated(&group);
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut head).poll(&mut cx).is_pending());
    open_second.send(2).unwrap();
    second.wait_finished().await;
    assert_eq!(wakes.count(), 0);
    open_head.send(1).unwrap();
    group.wait_idle().await;
    assert_eq!(wakes.count(), 1);
    assert!(matches!(Pin::new(&mut head).poll(&mut cx), Poll::Ready(Ok(1))));
    group.join().await.unwrap();
}

/// Dropping the group drops every child before the drop returns.
#[tokio::test(start_paused = true)]
async fn line_32_test_join_queue_abort_on_drop() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let guard = alive.guard();
            group.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
                Ok(())
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!((group.len(), alive.now()), (5, 5));
    drop(group);
    assert_eq!(alive.now(), 0);
    assert!(tasks.into_iter().all(|task| task.into_result().is_err_and(|error| error.is_cancelled())));
}

/// In a queue of handles, one taken at the front and one put at the back, the length stays exact.
#[tokio::test(start_paused = true)]
async fn line_33_test_join_queue_alternating() {
    let group: TaskGroup = TaskGroup::new();
    let mut queue = VecDeque::from([gated(&group), gated(&group)]);
    for number in 0..16 {
        let (open, task) = queue.pop_front().unwrap();
        assert_eq!((group.len(), queue.len()), (2, 1));
        open.send(number).unwrap();
        assert_eq!(task.await.unwrap(), number);
        assert_eq!(group.len(), 1);
        queue.push_back(gated(&group));
        assert_eq!(group.len(), 2);
    }
    for (open, _) in queue {
        open.send(0).unwrap();
    }
    group.join().await.unwrap();
}

/// After the cancel of a group its handles, in their order, give five cancelled, then five values.
#[tokio::test(start_paused = true)]
async fn line_34_test_join_queue_abort_all() {
    let group: TaskGroup = TaskGroup::new();
    let mut queue: FuturesOrdered<_> = (0..5).map(|number| endless(&group, number)).collect();
    (5..10).for_each(|number| queue.push_back(numbered(&group, number)));
    sleep(Duration::from_millis(20)).await;
    assert_eq!(group.len(), 5);
    group.cancel();
    let results: Vec<_> = queue.collect().await;
    assert!(results[..5].iter().all(|result| result.as_ref().is_err_and(|error| error.is_cancelled())));
    let values: Vec<_> = results.into_iter().skip(5).map(Result::unwrap).collect();
    assert_eq!(values, [5, 6, 7, 8, 9]);
    group.join().await.unwrap();
}

/// The values come in the order of the handles although the children end in the reverse order.
#[tokio::test(start_paused = true)]
async fn line_35_test_join_queue_join_all() {
    let group: TaskGroup = TaskGroup::new();
    let ended = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..5)
        .map(|number| {
            let ended = Arc::clone(&ended);
            group.spawn(async move {
                sleep(Duration::from_secs(5 - number)).await;
                ended.lock().unwrap().push(number);
                Ok(number)
            })
        })
        .collect();
    let values = group.run(async { Ok(futures::future::try_join_all(tasks).await?) }).await.unwrap();
    assert_eq!(values, [0, 1, 2, 3, 4]);
    assert_eq!(*ended.lock().unwrap(), [4, 3, 2, 1, 0]);
}

/// The end of a cancelled group comes when every captured value has been dropped, not before.
#[tokio::test(start_paused = true)]
async fn line_36_test_join_queue_shutdown() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    for polled in [true, false] {
        for _ in 0..5 {
            let guard = alive.guard();
            group.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
                Ok(())
            });
        }
        if polled {
            tokio::task::yield_now().await;
        }
    }
    group.cancel();
    assert_eq!(alive.now(), 10);
    let mut join = pin!(group.join());
    assert!(poll!(join.as_mut()).is_pending());
    assert_eq!(alive.now(), 10);
    join.await.unwrap();
    assert_eq!((alive.now(), alive.ever()), (0, 10));
}

/// With every second child cancelled the results keep their places.
#[tokio::test(start_paused = true)]
async fn line_37_test_join_queue_with_manual_abort() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> = (0..16).map(|number| numbered(&group, 1 + number)).collect();
    tasks.iter().step_by(2).for_each(Task::cancel);
    let mut queue: FuturesOrdered<_> = tasks.into_iter().collect();
    for number in 0..16 {
        let result = queue.next().await.unwrap();
        match number % 2 {
            0 => assert!(result.unwrap_err().is_cancelled()),
            _ => assert_eq!(result.unwrap(), 1 + number),
        }
    }
    assert!(queue.next().await.is_none());
    group.join().await.unwrap();
}

/// Ids rise in the order of spawning, and each handle's is the one its child sees.
#[tokio::test(start_paused = true)]
async fn line_38_test_join_queue_join_next_with_id() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> =
        (0..10).map(|_| group.spawn(async { Ok(taskgroup::current().unwrap().id()) })).collect();
    assert!(tasks.is_sorted_by(|one, next| one.id() < next.id()));
    for task in tasks {
        let id = task.id();
        assert_eq!(task.await.unwrap(), id);
    }
    group.join().await.unwrap();
}

/// Awaiting in order holds a later child's value back until the head has ended, however often it is polled.
#[tokio::test(start_paused = true)]
async fn line_39_test_join_queue_try_join_next() {
    let group: TaskGroup = TaskGroup::new();
    let (open_head, head) = gated(&group);
    let (open_second, second) = gated(&group);
    let mut queue: FuturesOrdered<_> = [head, second].into_iter().collect();
    for _ in 0..3 {
        assert!(queue.next().now_or_never().is_none());
    }
    open_second.send(2).unwrap();
    while group.len() > 1 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        assert!(queue.next().now_or_never().is_none());
    }
    open_head.send(1).unwrap();
    group.wait_idle().await;
    assert_eq!(queue.next().now_or_never().unwrap().unwrap().unwrap(), 1);
    assert_eq!(queue.next().now_or_never().unwrap().unwrap().unwrap(), 2);
    assert!(queue.next().await.is_none());
    group.join().await.unwrap();
}

/// Looking at a handle without waiting does not displace the waker of whoever awaits it.
#[tokio::test(start_paused = true)]
async fn line_40_test_join_queue_try_join_next_does_not_replace_waker() {
    let group: TaskGroup = TaskGroup::new();
    let (open, mut task) = gated(&group);
    let (wakes, waker) = Wakes::new();
    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(task.result().is_none() && !task.is_finished());
    open.send(1).unwrap();
    assert_eq!(wakes.count(), 0);
    group.wait_idle().await;
    assert_eq!(wakes.count(), 1);
    assert_eq!(task.into_result().unwrap(), 1);
    group.join().await.unwrap();
}

/// Nor does a second waiter, with another waker: both are woken.
#[tokio::test(start_paused = true)]
async fn line_41_test_join_queue_try_join_next_with_id_does_not_replace_waker() {
    let group: TaskGroup = TaskGroup::new();
    let (open, mut task) = gated(&group);
    let (wakes, waker) = Wakes::new();
    let (others_wakes, others_waker) = Wakes::new();
    let id = task.id();
    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    let mut other = Box::pin(task.wait_finished());
    assert!(other.as_mut().poll(&mut Context::from_waker(&others_waker)).is_pending());
    assert!(task.wait_finished().now_or_never().is_none());
    open.send(1).unwrap();
    group.wait_idle().await;
    drop(other);
    assert_eq!((wakes.count(), others_wakes.count()), (1, 1));
    assert_eq!((task.id(), task.into_result().unwrap()), (id, 1));
    group.join().await.unwrap();
}

/// Uses up what the runtime lets a task do in one poll.
async fn exhaust_budget() {
    poll_fn(|cx| {
        while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
        Poll::Ready(())
    })
    .await;
}

/// A look at the results gives them all, also when the runtime's budget for this poll is used up.
#[tokio::test(start_paused = true)]
async fn line_42_test_join_queue_try_join_next_disabled_coop() {
    let group: TaskGroup = TaskGroup::new();
    let gate = Arc::new(Semaphore::new(0));
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let gate = Arc::clone(&gate);
            group.spawn(async move {
                gate.acquire().await?.forget();
                Ok(number)
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(tasks.iter().all(|task| task.result().is_none()));
    gate.add_permits(1000);
    group.wait_idle().await;
    exhaust_budget().await;
    for (number, task) in tasks.iter().enumerate() {
        assert_eq!(*task.result().unwrap().unwrap(), number);
    }
    group.join().await.unwrap();
}

/// So does taking the results, each from the handle with its id.
#[tokio::test(start_paused = true)]
async fn line_43_test_join_queue_try_join_next_with_id_disabled_coop() {
    let group: TaskGroup = TaskGroup::new();
    let tasks: Vec<_> =
        (0..1000).map(|_| group.spawn(async { Ok(taskgroup::current().unwrap().id()) })).collect();
    group.wait_idle().await;
    exhaust_budget().await;
    for task in tasks {
        let id = task.id();
        assert_eq!(task.into_result().unwrap(), id);
    }
    group.join().await.unwrap();
}
