//! What tokens leave behind: nothing; and how deep they may stand.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Waker};

use super::*;
use crate::sync::Arc;
use crate::tree::Member;
use crate::{CancelReason, TaskGroup};

fn weak(token: &CancelToken) -> Weak<dyn Member> {
    Arc::downgrade(&token.member())
}

fn is_gone(node: &Weak<dyn Member>) -> bool {
    node.strong_count() == 0
}

fn tokens(token: &CancelToken) -> usize {
    token.node().tokens_and_waiters().0
}

fn waiters(token: &CancelToken) -> usize {
    token.node().tokens_and_waiters().1
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Runs where a recursion over thousands of levels would overflow.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(128 * 1024).spawn(run).unwrap().join().unwrap();
}

/// A chain of tokens, the root first.
fn chain(depth: usize) -> Vec<CancelToken> {
    let mut chain = vec![CancelToken::new()];
    while chain.len() < depth {
        chain.push(chain.last().unwrap().child_token());
    }
    chain
}

#[test]
fn a_token_is_two_words() {
    assert_eq!(size_of::<CancelToken>(), 2 * size_of::<usize>());
}

#[test]
fn a_child_leaves_its_parent_with_its_last_handle() {
    let parent = CancelToken::new();
    let children: Vec<_> = (0..3).map(|_| parent.child_token()).collect();
    let clone = children[1].clone();
    assert_eq!(tokens(&parent), 3);
    let nodes: Vec<_> = children.iter().map(weak).collect();
    drop(children);
    assert_eq!(tokens(&parent), 1);
    drop(clone);
    assert_eq!(tokens(&parent), 0);
    assert!(nodes.iter().all(is_gone));
}

#[test]
fn a_middle_token_without_handles_stays_as_long_as_it_has_children() {
    let root = CancelToken::new();
    let middle = root.child_token();
    let (first, second) = (middle.child_token(), middle.child_token());
    let node = weak(&middle);
    drop(middle);
    assert_eq!(tokens(&root), 1);
    drop(first);
    assert_eq!(tokens(&root), 1);
    assert!(!is_gone(&node));
    drop(second);
    assert_eq!(tokens(&root), 0);
    assert!(is_gone(&node));
}

#[test]
fn nothing_is_left_of_a_tree_in_whatever_order_it_is_dropped_and_whether_it_is_cancelled() {
    for cancel_at in [None, Some(0), Some(1), Some(2)] {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let chain = chain(3);
            let nodes: Vec<_> = chain.iter().map(weak).collect();
            if let Some(at) = cancel_at {
                chain[at].cancel();
            }
            let mut chain: Vec<_> = chain.into_iter().map(Some).collect();
            for index in order {
                chain[index] = None;
            }
            assert!(nodes.iter().all(is_gone), "cancelled at {cancel_at:?}, dropped in order {order:?}");
        }
    }
}

#[test]
fn a_chain_of_ten_thousand_costs_no_stack() {
    on_a_small_stack(|| {
        for root_first in [true, false] {
            let mut chain = chain(10_000);
            let nodes: Vec<_> = chain.iter().map(weak).collect();
            if !root_first {
                chain.reverse();
            }
            chain.into_iter().for_each(drop);
            assert!(nodes.iter().all(is_gone));
        }
        // Held at its two ends alone, then at its root alone.
        let mut chain = chain(10_000);
        let (leaf, nodes) = (chain.pop().unwrap(), chain.iter().map(weak).collect::<Vec<_>>());
        chain.truncate(1);
        assert!(!nodes.iter().any(is_gone));
        drop(leaf);
        assert!(nodes[1..].iter().all(is_gone));
        assert_eq!(tokens(&chain[0]), 0);
    });
}

#[test]
fn a_cancel_goes_down_ten_thousand_levels_with_one_cause() {
    on_a_small_stack(|| {
        let mut chain = chain(10_000);
        let leaf = chain.pop().unwrap();
        let middle = chain.swap_remove(5_000);
        chain.truncate(1);
        middle.cancel_because("half way");
        assert!(!chain[0].is_cancelled());
        let cause = leaf.cause().unwrap();
        assert_eq!((cause.to_string(), cause.chain().count()), ("half way".to_owned(), 1));
        assert_eq!(cause.target().id(), middle.node().id());
        drop((chain, middle));
        drop(leaf);
    });
}

#[test]
fn a_wait_that_is_given_up_takes_its_waker_out() {
    let token = CancelToken::new();
    let mut waits: Vec<_> = (0..3).map(|_| token.cancelled()).collect();
    for wait in &mut waits {
        assert!(!poll_once(Pin::new(wait)));
        assert!(!poll_once(Pin::new(wait)));
    }
    assert_eq!(waiters(&token), 3);
    drop(waits.swap_remove(1));
    assert_eq!(waiters(&token), 2);
    let mut late = token.cancelled();
    assert!(!poll_once(Pin::new(&mut late)));
    drop(waits);
    assert_eq!(waiters(&token), 1);
    token.cancel();
    assert_eq!(waiters(&token), 0);
    assert!(poll_once(Pin::new(&mut late)));

    let token = CancelToken::new();
    let mut run = Box::pin(token.run_until_cancelled(pending::<()>()));
    assert!(!poll_once(run.as_mut()));
    assert_eq!(waiters(&token), 1);
    drop(run);
    assert_eq!(waiters(&token), 0);
}

#[test]
fn an_owned_wait_is_a_handle_and_takes_its_token_along() {
    let parent = CancelToken::new();
    let mut wait = parent.child_token().cancelled_owned();
    assert!(!poll_once(Pin::new(&mut wait)));
    assert_eq!(tokens(&parent), 1);
    drop(wait);
    assert_eq!(tokens(&parent), 0);
}

#[test]
fn a_waker_is_let_go_with_its_wait_and_by_the_cancel() {
    struct Idle;
    impl std::task::Wake for Idle {
        fn wake(self: Arc<Self>) {}
    }
    let (token, idle) = (CancelToken::new(), Arc::new(Idle));
    let waker = Waker::from(Arc::clone(&idle));
    let mut wait = token.cancelled();
    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(Arc::strong_count(&idle) > 2);
    // Another waker takes the place of the first.
    assert!(!poll_once(Pin::new(&mut wait)));
    assert_eq!((Arc::strong_count(&idle), waiters(&token)), (2, 1));
    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
    token.cancel();
    drop(wait);
    assert_eq!(Arc::strong_count(&idle), 2);
}

/// R6, R13: tokens below a group count for nothing, and let go of it when it has ended.
#[tokio::test(start_paused = true)]
async fn tokens_of_a_group_leave_it_when_it_has_ended() {
    let group: TaskGroup = TaskGroup::new();
    let token = group.token();
    let (child, dropped) = (token.child_token(), token.child_token());
    assert_eq!(tokens(&token), 2);
    drop(dropped);
    assert_eq!((tokens(&token), group.len()), (1, 0));
    let node = weak(&token);
    group.join().await.unwrap();
    assert_eq!(tokens(&token), 0);
    drop(token);
    assert!(is_gone(&node), "a child does not keep an ended group in memory");
    assert!(child.cause().is_none());
}

#[tokio::test(start_paused = true)]
async fn tokens_of_a_dropped_group_are_cancelled_and_let_go_of_it() {
    let group: TaskGroup = TaskGroup::new();
    let child = group.token().child_token();
    let node = weak(&group.token());
    drop(group);
    assert_eq!(child.cause().unwrap().reason(), &CancelReason::GroupDropped);
    assert!(is_gone(&node));
}

#[tokio::test(start_paused = true)]
async fn tokens_of_a_task_leave_it_when_it_has_ended() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn_blocking(|token| Ok((token.clone(), token.child_token())));
    group.join().await.unwrap();
    let (token, child) = task.into_result().unwrap();
    assert_eq!(tokens(&token), 0);
    token.cancel();
    assert!(!token.is_cancelled() && !child.is_cancelled());
    assert!(child.node().parent().is_none(), "a child does not keep an ended task in memory");
}

/// A waiter stored before the first child leaves the books of the group as they are.
#[tokio::test(start_paused = true)]
async fn a_wait_on_an_empty_group_changes_nothing_for_its_children() {
    let group: TaskGroup = TaskGroup::new();
    let token = group.token();
    let mut wait = token.cancelled();
    assert!(!poll_once(Pin::new(&mut wait)));
    let task = group.spawn(async {
        let inner: TaskGroup = TaskGroup::new();
        inner.spawn(async { Ok(()) });
        drop(inner.token().child_token());
        Ok(inner.join().await?)
    });
    group.join().await.unwrap();
    task.into_result().unwrap();
    assert!(!poll_once(Pin::new(&mut wait)));
    drop(wait);
    assert_eq!(token.node().tokens_and_waiters(), (0, 0));
}

/// Neither direction keeps a token of ours, nor piles anything up with it.
#[cfg(feature = "tokio-util")]
#[test]
fn nothing_is_left_of_a_bridge_to_tokio_util() {
    use tokio_util::sync::CancellationToken;
    for cancel in [false, true] {
        let parent = CancelToken::new();
        let token = parent.child_token();
        let nodes = [weak(&parent), weak(&token)];
        let theirs: Vec<_> = (0..3).map(|_| token.to_tokio_util()).collect();
        assert_eq!(parent.node().tokens_and_waiters(), (1, 0));
        if cancel {
            token.cancel();
        }
        drop(token);
        assert!(is_gone(&nodes[1]));
        assert_eq!(tokens(&parent), 0);
        drop(parent);
        assert!(is_gone(&nodes[0]));
        drop(theirs);

        let theirs = CancellationToken::new();
        let token = CancelToken::from_tokio_util(theirs.clone());
        let (child, below) = (token.child_token(), token.to_tokio_util());
        let node = weak(&token);
        drop(token);
        assert!(!is_gone(&node), "a child goes on to follow");
        if cancel {
            theirs.cancel();
            assert!(child.is_cancelled() && below.is_cancelled());
        }
        drop(child);
        assert!(is_gone(&node), "theirs does not keep ours");
        theirs.cancel();
    }
}
