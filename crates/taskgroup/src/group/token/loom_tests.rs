//! The protocols of tokens, model-checked: waits against cancels, drops against drops. Where a test is a line
//! of the conformance list of tokio's `CancellationToken`, its name carries the line's number.

use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use loom::future::block_on;
use loom::thread;

use super::*;
use crate::sync::Arc;
use crate::tree::loom_support::plain;
use crate::tree::{Member, NodeKind};

/// What a test has seen over all interleavings, outside the model.
struct Seen<const N: usize>([AtomicBool; N]);

impl<const N: usize> Seen<N> {
    const fn new() -> Self {
        Self([const { AtomicBool::new(false) }; N])
    }

    fn saw(&self, which: usize) {
        self.0[which].store(true, Ordering::SeqCst);
    }

    fn assert_all(&self) {
        for (which, seen) in self.0.iter().enumerate() {
            assert!(seen.load(Ordering::SeqCst), "the model never reached outcome {which}");
        }
    }
}

fn weak(token: &CancelToken) -> Weak<dyn Member> {
    Arc::downgrade(&token.member())
}

fn is_gone(node: &Weak<dyn Member>) -> bool {
    node.strong_count() == 0
}

/// Says whether the wait was ready when it was polled first: whether the cancel was before the wait.
struct First<F>(F, Option<bool>);

impl<F: Future + Unpin> Future for First<F> {
    type Output = (F::Output, bool);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.0).poll(cx);
        let first = *self.1.get_or_insert(polled.is_ready());
        polled.map(|output| (output, first))
    }
}

fn wait_against_cancel(seen: &'static Seen<2>, wait: fn(CancelToken) -> bool) {
    loom::model(move || {
        let token = CancelToken::new();
        let node = weak(&token);
        let waiter = thread::spawn({
            let token = token.clone();
            move || wait(token)
        });
        token.cancel();
        drop(token);
        seen.saw(usize::from(waiter.join().unwrap()));
        assert!(is_gone(&node));
    });
    seen.assert_all();
}

#[test]
fn loom_line_19_cancel_token() {
    static SEEN: Seen<2> = Seen::new();
    wait_against_cancel(&SEEN, |token| block_on(First(token.cancelled(), None)).1);
}

#[test]
fn loom_line_20_cancel_token_owned() {
    static SEEN: Seen<2> = Seen::new();
    wait_against_cancel(&SEEN, |token| block_on(First(token.cancelled_owned(), None)).1);
}

/// The waits on parent and child end, and both tell the same cause.
#[test]
fn loom_line_21_cancel_with_child() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let token = CancelToken::new();
        let child = token.child_token();
        let above = thread::spawn({
            let token = token.clone();
            move || block_on(token.cancelled())
        });
        let below = thread::spawn(move || block_on(First(child.cancelled(), None)));
        token.cancel();
        let (cause, first) = below.join().unwrap();
        assert_eq!(cause.target(), above.join().unwrap().target());
        SEEN.saw(usize::from(first));
    });
    SEEN.assert_all();
}

#[test]
fn loom_line_22_drop_token_no_child() {
    loom::model(|| {
        let token = CancelToken::new();
        let node = weak(&token);
        let clones = [token.clone(), token.clone()];
        let threads = clones.map(|clone| thread::spawn(move || drop(clone)));
        drop(token);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(is_gone(&node));
    });
}

#[test]
fn loom_line_23_drop_token_with_children() {
    loom::model(|| {
        let token = CancelToken::new();
        let children = [token.child_token(), token.child_token()];
        let nodes = [weak(&token), weak(&children[0]), weak(&children[1])];
        let threads = children.map(|child| thread::spawn(move || drop(child)));
        drop(token);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(nodes.iter().all(is_gone));
    });
}

/// The cancel reaches the child, or finds it gone.
#[test]
fn loom_line_24_drop_and_cancel_token() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let token = CancelToken::new();
        let (clone, child) = (token.clone(), token.child_token());
        let nodes = [weak(&token), weak(&child)];
        let canceller = thread::spawn(move || token.cancel());
        let below = thread::spawn(move || SEEN.saw(usize::from(child.is_cancelled())));
        drop(clone);
        canceller.join().unwrap();
        below.join().unwrap();
        assert!(nodes.iter().all(is_gone));
    });
    SEEN.assert_all();
}

/// Of two cancels the first stays: the child has its own cause or its parent's.
#[test]
fn loom_line_25_cancel_parent_and_child() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let token = CancelToken::new();
        let (clone, child) = (token.clone(), token.child_token());
        let nodes = [weak(&token), weak(&child)];
        let above = thread::spawn(move || {
            token.cancel();
            token.node().id()
        });
        let below = thread::spawn(move || {
            child.cancel();
            child.cause().expect("cancelled").target().id()
        });
        drop(clone);
        let parents = above.join().unwrap();
        SEEN.saw(usize::from(below.join().unwrap() == parents));
        assert!(nodes.iter().all(is_gone));
    });
    SEEN.assert_all();
}

/// A child made while its parent is cancelled is born cancelled or reached.
#[test]
fn loom_a_child_made_against_the_cancel_is_cancelled() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let token = CancelToken::new();
        let node = weak(&token);
        let maker = thread::spawn({
            let token = token.clone();
            move || {
                let child = token.child_token();
                SEEN.saw(usize::from(child.is_cancelled()));
                child
            }
        });
        token.cancel();
        let child = maker.join().unwrap();
        assert!(child.is_cancelled());
        drop((token, child));
        assert!(is_gone(&node));
    });
    SEEN.assert_all();
}

/// The last handle of a middle token and the last token below it go at the same time: one of the two takes
/// the middle out of the tree.
#[test]
fn loom_abandoned_against_the_last_child_leaves() {
    loom::model(|| {
        let root = CancelToken::new();
        let middle = root.child_token();
        let leaf = middle.child_token();
        let nodes = [weak(&middle), weak(&leaf)];
        let below = thread::spawn(move || drop(leaf));
        drop(middle);
        below.join().unwrap();
        assert_eq!(root.node().tokens_and_waiters().0, 0);
        assert!(nodes.iter().all(is_gone));
    });
}

/// A wait that is given up while the cancel comes leaves nothing behind, and takes nobody else's waker.
#[test]
fn loom_giving_up_against_cancel() {
    loom::model(|| {
        let token = CancelToken::new();
        let node = weak(&token);
        let waiter = thread::spawn({
            let token = token.clone();
            move || {
                let mut given_up = token.cancelled();
                let _ = block_on(std::future::poll_fn(|cx| {
                    Poll::Ready(Pin::new(&mut given_up).poll(cx).is_ready())
                }));
                drop(given_up);
                block_on(token.cancelled());
            }
        });
        token.cancel();
        waiter.join().unwrap();
        assert_eq!(token.node().tokens_and_waiters(), (0, 0));
        drop(token);
        assert!(is_gone(&node));
    });
}

/// The end of a region lets its tokens go while one of them is dropped: it is taken out once.
#[test]
fn loom_released_against_dropped() {
    loom::model(|| {
        let token = CancelToken::of_region(plain(NodeKind::Task));
        let child = token.child_token();
        let nodes = [weak(&token), weak(&child)];
        let below = thread::spawn(move || drop(child));
        tree::release_tokens(token.node());
        below.join().unwrap();
        assert_eq!(token.node().tokens_and_waiters().0, 0);
        drop(token);
        assert!(nodes.iter().all(is_gone));
    });
}
