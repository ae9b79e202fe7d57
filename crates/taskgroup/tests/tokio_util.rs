//! Tokens to and from tokio-util's `CancellationToken` (feature `tokio-util`).
#![cfg(feature = "tokio-util")]

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use taskgroup::{CancelReason, CancelToken, TaskGroup};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A waiter of theirs, polled once.
fn waits_for(theirs: &CancellationToken) -> (Arc<Wakes>, impl Future + use<>) {
    let (wakes, waker) = Wakes::new();
    let mut wait = Box::pin(theirs.clone().cancelled_owned());
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    (wakes, wait)
}

#[test]
fn theirs_is_cancelled_with_ours_and_never_the_other_way() {
    let token = CancelToken::new();
    let (first, second) = (token.to_tokio_util(), token.to_tokio_util());
    first.cancel();
    assert!(!token.is_cancelled() && !second.is_cancelled(), "their cancel reaches nobody else");
    let (wakes, _wait) = waits_for(&second);
    token.cancel();
    assert!(second.is_cancelled());
    assert_eq!(wakes.count(), 1);
    assert!(token.to_tokio_util().is_cancelled(), "made of a cancelled one");
}

#[test]
fn theirs_follows_the_whole_way_up_also_when_ours_was_dropped() {
    let root = CancelToken::new();
    let middle = root.child_token();
    let leaf = middle.child_token();
    let (of_leaf, of_middle) = (leaf.to_tokio_util(), middle.to_tokio_util());
    drop((leaf, middle));
    assert!(!of_leaf.is_cancelled() && !of_middle.is_cancelled());
    root.cancel();
    assert!(of_leaf.is_cancelled() && of_middle.is_cancelled());

    let middle = CancelToken::new().child_token();
    let theirs = middle.child_token().to_tokio_util();
    middle.cancel();
    assert!(theirs.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn theirs_follows_a_group() {
    let group: TaskGroup = TaskGroup::new();
    let (theirs, below) = (group.token().to_tokio_util(), group.token().child_token().to_tokio_util());
    let helper = tokio::spawn(theirs.clone().cancelled_owned());
    group.spawn({
        let theirs = theirs.clone();
        async move {
            theirs.cancelled().await;
            Ok(())
        }
    });
    tokio::task::yield_now().await;
    group.cancel();
    helper.await.unwrap();
    assert!(below.is_cancelled());
    group.join().await.unwrap();

    let group: TaskGroup = TaskGroup::new();
    let theirs = group.token().to_tokio_util();
    group.join().await.unwrap();
    assert!(!theirs.is_cancelled(), "the end of a group cancels nothing");
    let group: TaskGroup = TaskGroup::new();
    let theirs = group.token().to_tokio_util();
    drop(group);
    assert!(theirs.is_cancelled());
}

/// R18: ten thousand tokens deep, and back.
#[test]
fn ten_thousand_levels_cost_no_stack() {
    let run = || {
        let mut chain = vec![CancelToken::new()];
        while chain.len() < 10_000 {
            chain.push(chain.last().unwrap().child_token());
        }
        let theirs = chain.last().unwrap().to_tokio_util();
        chain.truncate(1);
        chain[0].cancel();
        assert!(theirs.is_cancelled());
        drop(chain);
    };
    std::thread::Builder::new().stack_size(128 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn ours_is_cancelled_with_theirs_and_never_the_other_way() {
    let theirs = CancellationToken::new();
    let token = CancelToken::from_tokio_util(theirs.clone());
    let child = token.child_token();
    let (wakes, waker) = Wakes::new();
    let mut wait = child.cancelled();
    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(!token.is_cancelled());
    theirs.cancel();
    assert!(token.is_cancelled() && child.is_cancelled());
    assert_eq!(wakes.count(), 1);
    let cause = child.cause().unwrap();
    assert!(matches!(cause.reason(), CancelReason::Requested(Some(text)) if text.contains("tokio_util")));
    assert!(CancelToken::from_tokio_util(theirs).is_cancelled(), "made of a cancelled one");

    let theirs = CancellationToken::new();
    let token = CancelToken::from_tokio_util(theirs.clone());
    token.cancel_because("ours");
    assert!(!theirs.is_cancelled());
    theirs.cancel();
    assert_eq!(token.cause().unwrap().to_string(), "ours");
}

/// Their tree goes on below ours: parents of theirs, and children that outlive the token of ours between.
#[test]
fn a_way_through_ours_ends_at_theirs() {
    let root = CancellationToken::new();
    let token = CancelToken::from_tokio_util(root.child_token());
    let (child, theirs) = (token.child_token(), token.to_tokio_util());
    let of_child = child.to_tokio_util();
    drop((token, child));
    assert!(!theirs.is_cancelled() && !of_child.is_cancelled());
    let (wakes, _wait) = waits_for(&of_child);
    root.cancel();
    assert!(theirs.is_cancelled() && of_child.is_cancelled());
    assert_eq!(wakes.count(), 1);

    let token = CancelToken::from_tokio_util(CancellationToken::new());
    let theirs = token.to_tokio_util();
    token.cancel();
    assert!(theirs.is_cancelled());
}

/// A waker of theirs that panics or calls back harms nobody.
#[tokio::test(start_paused = true)]
async fn their_wakers_may_call_back_and_may_panic() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("bad waker");
        }
    }
    struct Busy(CancelToken, CancellationToken);
    impl Wake for Busy {
        fn wake(self: Arc<Self>) {
            self.0.cancel();
            self.1.cancel();
            assert!(self.0.child_token().to_tokio_util().is_cancelled());
            drop(CancelToken::from_tokio_util(self.1.child_token()));
        }
    }
    for waker in [
        |_: &_, _: &_| Waker::from(Arc::new(Bad)),
        |token: &CancelToken, theirs: &CancellationToken| {
            Waker::from(Arc::new(Busy(token.clone(), theirs.clone())))
        },
    ] {
        let theirs = CancellationToken::new();
        let token = CancelToken::from_tokio_util(theirs.child_token());
        let below = token.to_tokio_util();
        let waker = waker(&token, &theirs);
        let mut waits = (Box::pin(below.cancelled()), Box::pin(below.clone().cancelled_owned()));
        assert!(waits.0.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let (wakes, counting) = Wakes::new();
        let mut ours = token.cancelled();
        assert!(Pin::new(&mut ours).poll(&mut Context::from_waker(&counting)).is_pending());
        token.cancel();
        assert!(below.is_cancelled());
        assert_eq!(wakes.count(), 1);
        waits.1.as_mut().await;
        ours.await;
    }
}

/// Dropped inside the very wake-up: the last handle of ours goes while theirs tells of its cancel.
#[test]
fn ours_may_be_dropped_while_theirs_is_cancelled() {
    struct Last(std::sync::Mutex<Option<CancelToken>>);
    impl Wake for Last {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let root = CancellationToken::new();
    let token = CancelToken::from_tokio_util(root.child_token().child_token());
    let last = Arc::new(Last(std::sync::Mutex::new(None)));
    let mut wait = token.child_token().cancelled_owned();
    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&last)))).is_pending());
    *last.0.lock().unwrap() = Some(token);
    root.cancel();
    assert!(last.0.lock().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_cancelled_by_a_token_of_theirs() {
    let theirs = CancellationToken::new();
    let token = CancelToken::from_tokio_util(theirs.clone());
    let group: TaskGroup = TaskGroup::new();
    let parts: Vec<_> = (0..3)
        .map(|_| {
            let token = token.clone();
            group.spawn(async move { Ok(token.run_until_cancelled(pending::<()>()).await) })
        })
        .collect();
    tokio::task::yield_now().await;
    theirs.cancel();
    group.join().await.unwrap();
    assert!(parts.into_iter().all(|part| part.into_result().unwrap().is_none()));
}
