//! tokio-util's `CancellationToken`, and its adapter for futures. The lines that are model-checked stand with the
//! code, in `src/group/token/loom_tests.rs`.

use std::cell::Cell;
use std::future::{Future, pending, ready};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use taskgroup::{CancelCause, CancelToken};

use super::support::Alive;
use super::tokio_join_map::Wakes;

type Wait<'a> = Pin<Box<dyn Future<Output = CancelCause> + 'a>>;
type Run<'a, T> = Pin<Box<dyn Future<Output = Option<T>> + 'a>>;

/// A future with a waker of its own that counts.
struct Watched<F> {
    future: F,
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl<F: Future + Unpin> Watched<F> {
    fn new(future: F) -> Self {
        let (wakes, waker) = Wakes::new();
        Self { future, wakes, waker }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&self.waker))
    }

    fn woken(&self) -> usize {
        self.wakes.count()
    }
}

/// `run_until_cancelled` in its two forms.
fn both<'a, F: Future + 'a>(
    token: &'a CancelToken,
    make: impl Fn() -> F + 'a,
) -> [Watched<Run<'a, F::Output>>; 2] {
    let owned: Run<'a, F::Output> = Box::pin(token.clone().run_until_cancelled_owned(make()));
    [Watched::new(Box::pin(token.run_until_cancelled(make()))), Watched::new(owned)]
}

/// A wait that was polled before the cancel is woken once; one that was not is ready without a wake-up.
fn polled_before_and_after<'a>(token: &'a CancelToken, wait: impl Fn(&'a CancelToken) -> Wait<'a>) {
    let (mut before, mut after) = (Watched::new(wait(token)), Watched::new(wait(token)));
    assert!(before.poll().is_pending());
    assert_eq!((before.woken(), after.woken(), token.is_cancelled()), (0, 0, false));
    token.cancel();
    assert_eq!((before.woken(), after.woken(), token.is_cancelled()), (1, 0, true));
    assert!(before.poll().is_ready() && after.poll().is_ready());
    assert_eq!((before.woken(), after.woken()), (1, 0));
}

#[test]
fn line_01_cancel_token() {
    polled_before_and_after(&CancelToken::new(), |token| Box::pin(token.cancelled()));
}

#[test]
fn line_02_cancel_token_owned() {
    polled_before_and_after(&CancelToken::new(), |token| Box::pin(token.clone().cancelled_owned()));
}

/// A pending owned wait lets its waker go when it is dropped: nothing is woken, nothing is kept.
#[test]
fn line_03_cancel_token_owned_drop_test() {
    let token = CancelToken::new();
    let mut wait = Watched::new(token.clone().cancelled_owned());
    assert!(wait.poll().is_pending());
    let Watched { future, wakes, waker } = wait;
    drop((future, waker));
    assert_eq!(Arc::strong_count(&wakes), 1);
    token.cancel();
    assert_eq!(wakes.count(), 0);
}

#[test]
fn line_04_cancel_child_token_through_parent() {
    let token = CancelToken::new();
    let child = token.child_token();
    let (mut above, mut below) = (Watched::new(token.cancelled()), Watched::new(child.cancelled()));
    assert!(above.poll().is_pending() && below.poll().is_pending());
    assert!(!child.is_cancelled());
    token.cancel();
    assert_eq!((above.woken(), below.woken()), (1, 1));
    assert!(token.is_cancelled() && child.is_cancelled());
    assert!(above.poll().is_ready() && below.poll().is_ready());
    assert_eq!((above.woken(), below.woken()), (1, 1));
}

#[test]
fn line_05_cancel_grandchild_token_through_parent_if_child_was_dropped() {
    let token = CancelToken::new();
    let grandchild = token.child_token().child_token();
    let (mut above, mut below) = (Watched::new(token.cancelled()), Watched::new(grandchild.cancelled()));
    assert!(above.poll().is_pending() && below.poll().is_pending());
    token.cancel();
    assert_eq!((above.woken(), below.woken()), (1, 1));
    assert!(grandchild.is_cancelled());
    assert!(above.poll().is_ready() && below.poll().is_ready());
}

#[test]
fn line_06_cancel_child_token_without_parent() {
    let token = CancelToken::new();
    let first = token.child_token();
    let (mut above, mut below) = (Watched::new(token.cancelled()), Watched::new(first.cancelled()));
    assert!(above.poll().is_pending() && below.poll().is_pending());
    first.cancel();
    assert_eq!((above.woken(), below.woken()), (0, 1));
    assert!(first.is_cancelled() && !token.is_cancelled());
    assert!(above.poll().is_pending() && below.poll().is_ready());

    let second = token.child_token();
    let mut late = Watched::new(second.cancelled());
    assert!(late.poll().is_pending());
    token.cancel();
    assert_eq!((above.woken(), late.woken()), (1, 1));
    assert!(second.is_cancelled());
    assert!(above.poll().is_ready() && late.poll().is_ready());
}

#[test]
fn line_08_drop_multiple_child_tokens() {
    for first_to_last in [true, false] {
        let token = CancelToken::new();
        let mut children: Vec<_> = (0..3).map(|_| token.child_token()).collect();
        while !children.is_empty() {
            drop(children.remove(if first_to_last { 0 } else { children.len() - 1 }));
            assert!(!token.is_cancelled() && !children.iter().any(CancelToken::is_cancelled));
        }
        token.cancel();
        assert!(token.is_cancelled());
    }
}

#[test]
fn line_10_drop_parent_before_child_tokens() {
    let token = CancelToken::new();
    let (first, second) = (token.child_token(), token.child_token());
    drop(token);
    assert!(!first.is_cancelled());
    drop(first);
    assert!(!second.is_cancelled());
    second.cancel();
    assert!(second.is_cancelled());
}

#[test]
fn line_11_derives_send_sync() {
    fn both<T: Send + Sync>(_: &T) {}
    let token = CancelToken::new();
    both(&token);
    both(&token.cancelled());
    both(&token.clone().cancelled_owned());
    both(&token.run_until_cancelled(pending::<()>()));
    both(&token.clone().run_until_cancelled_owned(pending::<()>()));
}

/// None when cancelled, the value when there is one, and no poll at all when it was cancelled before.
fn until_cancelled(
    run: impl for<'a> Fn(&'a CancelToken, Pin<Box<dyn Future<Output = u8> + 'a>>) -> Run<'a, u8>,
) {
    let token = CancelToken::new();
    let mut cut = Watched::new(run(&token, Box::pin(pending())));
    assert!(cut.poll().is_pending());
    let mut valued = Watched::new(run(&token, Box::pin(ready(7))));
    assert_eq!(valued.poll(), Poll::Ready(Some(7)));
    token.cancel();
    assert_eq!((cut.woken(), cut.poll()), (1, Poll::Ready(None)));

    let (polled, alive) = (Cell::new(false), Alive::new());
    let guard = alive.guard();
    let polled_ref = &polled;
    let mut late = Watched::new(run(
        &token,
        Box::pin(async move {
            let _guard = guard;
            polled_ref.set(true);
            7
        }),
    ));
    assert_eq!(late.poll(), Poll::Ready(None));
    drop(late);
    assert_eq!((polled.get(), alive.now()), (false, 0));
}

#[test]
fn line_12_run_until_cancelled_test() {
    until_cancelled(|token, future| Box::pin(token.run_until_cancelled(future)));
}

#[test]
fn line_13_run_until_cancelled_owned_test() {
    until_cancelled(|token, future| Box::pin(token.clone().run_until_cancelled_owned(future)));
}

#[test]
fn line_14_cloned_cancellation_tokens_are_considered_equal() {
    let token = CancelToken::new();
    assert_eq!(token, token.clone());
    assert_eq!(token.clone(), token.clone().clone());
}

#[test]
fn line_15_child_cancellation_tokens_are_not_considered_equal() {
    let token = CancelToken::new();
    let child = token.child_token();
    assert_ne!(token, child);
    assert_ne!(child, token.child_token());
}

#[test]
fn line_16_independent_cancellation_tokens_are_not_considered_equal() {
    assert_ne!(CancelToken::new(), CancelToken::new());
    assert_ne!(CancelToken::default(), CancelToken::default());
}

fn hash_of(token: &CancelToken) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn line_17_cloned_cancellation_tokens_have_same_hash() {
    let token = CancelToken::new();
    assert_eq!(hash_of(&token), hash_of(&token.clone()));
}

#[test]
fn line_18_different_cancellation_tokens_have_different_hash() {
    let (token, other) = (CancelToken::new(), CancelToken::new());
    assert_ne!(hash_of(&token), hash_of(&other));
    assert_ne!(hash_of(&token), hash_of(&token.child_token()));
}

#[test]
fn line_26_ready_fut_with_cancellation_token_test() {
    let token = CancelToken::new();
    for mut run in both(&token, || ready(())) {
        assert_eq!((run.poll(), run.woken()), (Poll::Ready(Some(())), 0));
    }
}

#[test]
fn line_27_pending_fut_with_cancellation_token_test() {
    let token = CancelToken::new();
    for mut run in both(&token, pending::<()>) {
        assert_eq!((run.poll(), run.woken()), (Poll::Pending, 0));
    }
}

#[test]
fn line_28_ready_fut_with_already_cancelled_token_test() {
    let token = CancelToken::new();
    let runs = both(&token, || ready(()));
    token.cancel();
    for mut run in runs {
        assert_eq!((run.poll(), run.woken()), (Poll::Ready(None), 0));
    }
}

#[test]
fn line_29_pending_fut_with_already_cancelled_token_test() {
    let token = CancelToken::new();
    token.cancel();
    for mut run in both(&token, pending::<()>) {
        assert_eq!((run.poll(), run.woken()), (Poll::Ready(None), 0));
    }
}

#[test]
fn line_30_pending_fut_with_token_cancelled_test() {
    let token = CancelToken::new();
    let mut runs = both(&token, pending::<()>);
    for run in &mut runs {
        assert_eq!((run.poll(), run.woken()), (Poll::Pending, 0));
    }
    token.cancel();
    for run in &mut runs {
        assert_eq!((run.woken(), run.poll()), (1, Poll::Ready(None)));
    }
}

/// From the second poll on the future is asked first.
#[test]
fn line_31_pending_only_on_first_poll_with_cancellation_token_test() {
    let token = CancelToken::new();
    let mut runs = both(&token, || {
        let mut polled = false;
        std::future::poll_fn(move |_| match std::mem::replace(&mut polled, true) {
            false => Poll::Pending,
            true => Poll::Ready(7),
        })
    });
    for run in &mut runs {
        assert_eq!((run.poll(), run.woken()), (Poll::Pending, 0));
    }
    token.cancel();
    for run in &mut runs {
        assert_eq!((run.woken(), run.poll()), (1, Poll::Ready(Some(7))));
    }
}
