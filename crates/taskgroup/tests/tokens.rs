//! Tokens among groups and tasks: what they tell, whom they cancel, and that they hold nobody up.

mod common;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::Alive;
use futures::{FutureExt, poll};
use taskgroup::{CancelReason, CancelToken, ErrorGroup, NodeKind, TaskGroup, scope};
use tokio::sync::oneshot;
use tokio::task::yield_now;

async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

/// Calls back when it is woken.
struct Call<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Call<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn on_wake(call: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Call(call)))
}

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// The group's token says what the group says, and says it with the same cause.
#[tokio::test(start_paused = true)]
async fn the_token_of_a_group_is_cancelled_exactly_when_the_group_is() {
    let group: TaskGroup = TaskGroup::new();
    let (token, same) = (group.token(), group.spawner().token());
    assert_eq!(token, same);
    assert_ne!(token, token.child_token());
    let mut wait = token.cancelled();
    assert!(poll!(&mut wait).is_pending());
    assert!(!token.is_cancelled() && token.cause().is_none());

    let failing = group.spawn::<()>(async { Err(anyhow::anyhow!("out of paper")) });
    settle().await;
    assert!(group.is_cancelled() && token.is_cancelled());
    let cause = wait.await;
    assert!(matches!(cause.reason(), CancelReason::SiblingFailed(who) if who.id() == failing.id()));
    assert_eq!(group.join().await.unwrap_err().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_token_of_a_group_cancels_the_group() {
    let group: TaskGroup = TaskGroup::new();
    let alive = Alive::new();
    let guard = alive.guard();
    let task = group.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    let (token, child) = (group.token(), group.token().child_token());
    settle().await;
    token.cancel_because("closing time");
    assert!(group.is_cancelled() && child.is_cancelled());
    group.join().await.unwrap();
    assert_eq!(alive.now(), 0);
    let error = task.into_result().unwrap_err();
    assert_eq!(error.reason().unwrap().to_string(), "closing time");
    assert_eq!(child.cause().unwrap().target().kind(), NodeKind::Group);
}

/// R17: after the group's exit its token cancels nothing, and its children follow nobody.
#[tokio::test(start_paused = true)]
async fn after_the_exit_the_token_of_a_group_does_nothing() {
    let group: TaskGroup = TaskGroup::new();
    let token = group.token();
    let before = token.child_token();
    group.join().await.unwrap();
    let after = token.child_token();
    token.cancel();
    assert!(!token.is_cancelled() && !before.is_cancelled() && !after.is_cancelled());
    before.cancel();
    assert!(before.is_cancelled());
}

/// A child of the group's token keeps the group neither open nor from its exit, and is not told of the exit.
#[tokio::test(start_paused = true)]
async fn tokens_do_not_hold_a_group_open() {
    let group: TaskGroup = TaskGroup::new();
    let tokens: Vec<_> = (0..3).map(|_| group.token().child_token()).collect();
    let below = tokens[0].child_token();
    assert_eq!((group.len(), group.is_empty()), (0, true));
    group.wait_idle().now_or_never().expect("idle");
    // With a background child the exit goes the long way.
    group.task().background().spawn(pending::<Result<(), _>>());
    let mut waits: Vec<_> = tokens.iter().chain([&below]).map(CancelToken::cancelled).collect();
    for wait in &mut waits {
        assert!(poll!(wait).is_pending());
    }
    group.join().await.unwrap();
    for wait in &mut waits {
        assert!(poll!(wait).is_pending());
    }
    assert!(tokens.iter().all(|token| token.cause().is_none()));

    let group: TaskGroup = TaskGroup::new();
    let _token = group.token().child_token();
    group.join().now_or_never().expect("an empty group ends at its first poll").unwrap();
}

/// R12: tokens below a group inside a frozen region do not keep the region from being cut.
#[tokio::test(start_paused = true)]
async fn tokens_do_not_keep_a_frozen_region_from_being_cut() {
    let (alive, kept) = (Alive::new(), Arc::new(Mutex::new(Vec::new())));
    let outer: TaskGroup = TaskGroup::new();
    let task = outer.spawn::<()>({
        let (guards, kept) = ((alive.guard(), alive.guard()), Arc::clone(&kept));
        async move {
            let (_own, childs) = guards;
            let inner: TaskGroup = TaskGroup::new();
            let child = inner.token().child_token();
            kept.lock().unwrap().extend([child.child_token(), child]);
            inner.spawn::<()>(async move {
                let _guard = childs;
                pending().await
            });
            inner.run(pending()).await?;
            Ok(())
        }
    });
    settle().await;
    outer.cancel();
    outer.join().await.unwrap();
    assert_eq!(alive.now(), 0);
    assert!(task.into_result().unwrap_err().is_cancelled());
    let kept = kept.lock().unwrap();
    // R16: the inner group's cause, as it is; a token adds no link.
    for token in kept.iter() {
        let cause = token.cause().unwrap();
        assert!(matches!(cause.reason(), CancelReason::HostCancelled(_)));
        assert_eq!(cause.root().reason(), &CancelReason::Requested(None));
        assert_eq!(cause.target().kind(), NodeKind::Group);
        assert_eq!(cause.chain().count(), kept[0].cause().unwrap().chain().count());
    }
}

/// R2: the children of a dropped group's token are cancelled when the drop returns.
#[tokio::test(start_paused = true)]
async fn dropping_a_group_cancels_its_tokens() {
    let group: TaskGroup = TaskGroup::new();
    let child = group.token().child_token();
    let below = child.child_token();
    let mut wait = below.cancelled();
    assert!(poll!(&mut wait).is_pending());
    drop(group);
    assert_eq!(wait.await.reason(), &CancelReason::GroupDropped);
    assert!(child.is_cancelled());
}

/// A task's token is the task: cancelling it cancels that task alone, and its child tokens follow it.
#[tokio::test(start_paused = true)]
async fn the_token_of_a_blocking_closure_cancels_its_task_alone() {
    let group: TaskGroup = TaskGroup::new();
    let (send, token) = oneshot::channel();
    let task = group.spawn_blocking::<()>(move |token| {
        let part = token.child_token();
        part.cancel();
        assert!(part.is_cancelled() && !token.is_cancelled());
        let _ = send.send(token.clone());
        let part = token.child_token();
        while !part.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(part.check()?)
    });
    let token: CancelToken = token.await.unwrap();
    token.cancel_because("enough");
    assert!(!group.is_cancelled());
    group.join().await.unwrap();
    let error = task.into_result().unwrap_err();
    assert_eq!(error.reason().unwrap().to_string(), "enough");
}

/// R12: in a cancelled region the wait for a token does not complete, also not for the one that cut it.
#[tokio::test(start_paused = true)]
async fn in_a_cancelled_region_the_wait_for_a_token_is_a_wait() {
    let group: TaskGroup = TaskGroup::new();
    let went_on = Alive::new();
    let tasks: Vec<_> = (0..4)
        .map(|way| {
            let (token, went_on) = (group.token(), went_on.clone());
            group.spawn(async move {
                match way {
                    0 => drop(token.cancelled().await),
                    1 => drop(token.run_until_cancelled(pending::<()>()).await),
                    // Cancelled by its own hand: it runs as far as its next wait.
                    2 => {
                        token.cancel();
                        token.cancelled().await;
                    }
                    _ => {
                        token.cancel();
                        token.run_until_cancelled(async {}).await;
                    }
                }
                drop(went_on.guard());
                Ok(())
            })
        })
        .collect();
    group.join().await.unwrap();
    assert_eq!(went_on.ever(), 0);
    assert!(tasks.into_iter().all(|task| task.into_result().unwrap_err().is_cancelled()));
}

/// A value that is there beats the cancel, also in a region that was cancelled while it ran.
#[tokio::test(start_paused = true)]
async fn a_ready_future_beside_a_live_token_gives_its_value_in_a_cancelled_region() {
    let group: TaskGroup = TaskGroup::new();
    let spawner = group.spawner();
    let task = group.spawn(async move {
        spawner.cancel();
        Ok(CancelToken::new().run_until_cancelled(async { 7 }).await)
    });
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), Some(7));
}

/// Tasks beside each other stop at a token of their own, without the group being cancelled.
#[tokio::test(start_paused = true)]
async fn a_free_token_stops_a_part_of_a_group() -> Result<(), ErrorGroup> {
    let token = CancelToken::new();
    scope(async |tg: &TaskGroup| {
        let parts: Vec<_> = (0..100)
            .map(|_| {
                tg.spawn({
                    let part = token.child_token();
                    async move { Ok(part.run_until_cancelled(pending::<()>()).await) }
                })
            })
            .collect();
        let rest = tg.spawn(async { Ok("rest") });
        settle().await;
        token.cancel();
        for part in parts {
            assert_eq!(part.await?, None);
        }
        assert_eq!(rest.await?, "rest");
        assert!(!tg.is_cancelled());
        Ok(())
    })
    .await
}

/// Who is woken by the cancel of a token finds everything below cancelled.
#[test]
fn waiters_are_woken_when_everything_below_is_marked() {
    let token = CancelToken::new();
    let (child, seen) = (token.child_token().child_token(), Arc::new(AtomicUsize::new(0)));
    let waker = {
        let (child, seen) = (child.clone(), Arc::clone(&seen));
        on_wake(move || {
            assert!(child.is_cancelled());
            seen.fetch_add(1, Ordering::SeqCst);
        })
    };
    let mut wait = token.cancelled();
    assert!(poll_with(&mut wait, &waker).is_pending());
    token.cancel();
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

/// Wakers may use and drop the tokens that wake them; one that panics costs nobody else their wake-up.
#[test]
fn wakers_may_call_back_and_may_panic() {
    let token = CancelToken::new();
    let kept = Arc::new(Mutex::new(vec![token.child_token(), token.clone()]));
    let woken = Arc::new(AtomicUsize::new(0));
    let busy = {
        let (token, kept, woken) = (token.clone(), Arc::clone(&kept), Arc::clone(&woken));
        on_wake(move || {
            kept.lock().unwrap().clear();
            assert!(token.child_token().is_cancelled());
            token.cancel();
            woken.fetch_add(1, Ordering::SeqCst);
        })
    };
    let bad = on_wake(|| panic!("bad waker"));
    let mut waits: Vec<_> = (0..3).map(|_| token.cancelled()).collect();
    assert!(poll_with(&mut waits[0], &busy).is_pending());
    assert!(poll_with(&mut waits[1], &bad).is_pending());
    assert!(poll_with(&mut waits[2], &busy).is_pending());
    token.cancel();
    assert_eq!(woken.load(Ordering::SeqCst), 2);
    assert!(waits.iter_mut().all(|wait| poll_with(wait, Waker::noop()).is_ready()));
}

/// A wait that moves to another task wakes the new one, and the new one alone.
#[test]
fn the_last_waker_of_a_wait_is_the_one_that_is_woken() {
    let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counting = |count: &Arc<AtomicUsize>| {
        let count = Arc::clone(count);
        on_wake(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    };
    let token = CancelToken::new();
    let mut wait = token.clone().cancelled_owned();
    assert!(poll_with(&mut wait, &counting(&first)).is_pending());
    assert!(poll_with(&mut wait, &counting(&second)).is_pending());
    token.cancel_because("first");
    token.cancel_because("second");
    assert_eq!((first.load(Ordering::SeqCst), second.load(Ordering::SeqCst)), (0, 1));
    let Poll::Ready(cause) = poll_with(&mut wait, Waker::noop()) else { panic!("ready") };
    assert_eq!(cause.to_string(), "first");
}

/// Ten thousand waits on one token, each polled often and given up or woken once.
#[test]
fn many_waits_on_one_token() {
    let (token, woken) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
    let waker = {
        let woken = Arc::clone(&woken);
        on_wake(move || {
            woken.fetch_add(1, Ordering::SeqCst);
        })
    };
    let mut waits: Vec<_> = (0..10_000).map(|_| token.cancelled()).collect();
    for _ in 0..100 {
        assert!(waits.iter_mut().all(|wait| poll_with(wait, &waker).is_pending()));
    }
    let mut index = 0;
    waits.retain(|_| {
        index += 1;
        index % 2 == 0
    });
    token.cancel();
    assert_eq!(woken.load(Ordering::SeqCst), 5_000);
    assert!(waits.iter_mut().all(|wait| poll_with(wait, &waker).is_ready()));
}

/// A token below a group that moves is cancelled with the host that the group has come to.
#[tokio::test(start_paused = true)]
async fn tokens_move_with_their_group() {
    let group: TaskGroup = TaskGroup::new();
    let token = group.token().child_token();
    let mut wait = token.cancelled();
    assert!(poll!(&mut wait).is_pending());
    let host: TaskGroup = TaskGroup::new();
    let child = host.token().child_token();
    host.spawn(async move { Ok(group.run(pending::<Result<(), _>>()).await?) });
    settle().await;
    child.cancel();
    assert!(poll!(&mut wait).is_pending() && !host.is_cancelled(), "a token reaches nobody beside it");
    host.cancel_because("host");
    assert_eq!(wait.await.root().to_string(), "host");
    host.join().await.unwrap();
}

/// R15: a cooperative task waits for its token, and the tokens below follow it; what it opened does not.
#[tokio::test(start_paused = true)]
async fn a_cooperative_task_waits_for_its_token() {
    let group: TaskGroup = TaskGroup::new();
    let other = CancelToken::new();
    let task = group.task().cooperative({
        let other = other.clone();
        move |token| async move {
            let part = token.child_token();
            let inner: TaskGroup = TaskGroup::new();
            let of_inner = inner.token().child_token();
            assert_eq!(part.run_until_cancelled(pending::<()>()).await, None);
            assert!(token.is_cancelled() && !of_inner.is_cancelled() && !inner.is_cancelled());
            // Waits for other things go on to complete, also inside a scope.
            let also = taskgroup::timeout(Duration::from_secs(1), token.cancelled()).await.unwrap();
            let last = other.cancelled().await;
            inner.join().await?;
            Ok((also.to_string(), last.to_string()))
        }
    });
    settle().await;
    group.cancel_because("closing time");
    settle().await;
    assert!(!task.is_finished());
    other.cancel_because("now");
    group.join().await.unwrap();
    assert_eq!(task.into_result().unwrap(), ("closing time".to_owned(), "now".to_owned()));
}

/// R14: inside a shield the wait for a token completes, also for the one that cancelled the region around it.
#[tokio::test(start_paused = true)]
async fn inside_a_shield_the_wait_for_a_token_completes() {
    let group: TaskGroup = TaskGroup::new();
    let seen = Alive::new();
    let task = group.spawn::<()>({
        let (token, seen) = (group.token(), seen.clone());
        async move {
            taskgroup::shield(async {
                token.cancelled().await;
                assert_eq!(token.run_until_cancelled(async { 7 }).await, None);
                drop(seen.guard());
            })
            .await;
            token.cancelled().await;
            drop(seen.guard());
            Ok(())
        }
    });
    settle().await;
    group.cancel();
    group.join().await.unwrap();
    assert_eq!(seen.ever(), 1, "in the shield, and not behind it");
    assert!(task.into_result().unwrap_err().is_cancelled());
}

/// R15: when the grace period is over the tokens of what is dropped are cancelled too.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_grace_period_reaches_the_tokens_inside() {
    let group: TaskGroup = TaskGroup::new();
    let (send, inner_token) = oneshot::channel();
    group.task().grace(Duration::from_secs(5)).cooperative::<(), _, _>(move |_token| async move {
        let inner: TaskGroup = TaskGroup::new();
        let _ = send.send(inner.token().child_token());
        pending().await
    });
    settle().await;
    group.cancel();
    let inner_token: CancelToken = inner_token.await.unwrap();
    assert!(!inner_token.is_cancelled());
    group.join().await.unwrap();
    assert!(inner_token.is_cancelled());
}
