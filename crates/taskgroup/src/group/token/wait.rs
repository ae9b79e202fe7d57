//! Waiting for a token, alone or beside a future.
//!
//! A wait stores its waker with the node once, and keeps a copy: as long as it is polled with the same waker
//! it takes no lock. That loses no wake-up: the mark is set before the stored waker is woken, so a poll that
//! does not see the mark is followed by that wake-up.

use std::borrow::Borrow;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::CancelToken;
use crate::tree::{self, CancelCause};

/// One wait for the cancel of a token, owned or borrowed. Takes its waker out again when it is given up.
pub(super) struct CancelWait<T: Borrow<CancelToken>> {
    token: T,
    /// The waker that is stored with the node.
    stored: Option<Waker>,
    /// Where it is stored.
    place: Option<usize>,
}

impl<T: Borrow<CancelToken>> CancelWait<T> {
    pub(super) fn new(token: T) -> Self {
        Self { token, stored: None, place: None }
    }

    fn poll_cancelled(&mut self, cx: &Context<'_>) -> Poll<()> {
        if tree::is_cut() {
            return Poll::Pending;
        }
        let node = self.token.borrow().node();
        if node.is_cancelled() {
            return Poll::Ready(());
        }
        if self.stored.as_ref().is_some_and(|stored| stored.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        if !node.watch_cancel(&mut self.place, cx.waker().clone()) {
            return Poll::Ready(());
        }
        self.stored = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T: Borrow<CancelToken>> Drop for CancelWait<T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.token.borrow().node().unwatch_cancel(place);
        }
    }
}

impl<T: Borrow<CancelToken> + Unpin> Future for CancelWait<T> {
    type Output = CancelCause;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CancelCause> {
        let cancelled = self.poll_cancelled(cx);
        cancelled.map(|()| self.token.borrow().cause().expect("a cancel has a cause"))
    }
}

pin_project! {
    /// A future beside the wait for a token.
    pub(super) struct RunUntil<F, T: Borrow<CancelToken>> {
        #[pin]
        future: F,
        wait: CancelWait<T>,
        polled: bool,
    }
}

impl<F: Future, T: Borrow<CancelToken>> RunUntil<F, T> {
    pub(super) fn new(token: T, future: F) -> Self {
        Self { future, wait: CancelWait::new(token), polled: false }
    }
}

impl<F: Future, T: Borrow<CancelToken>> Future for RunUntil<F, T> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if !*this.polled && this.wait.token.borrow().is_cancelled() {
            // A wait in a cancelled region does not complete (R12), and the future is not polled all the same.
            return if tree::is_cut() { Poll::Pending } else { Poll::Ready(None) };
        }
        *this.polled = true;
        match this.future.poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => this.wait.poll_cancelled(cx).map(|()| None),
        }
    }
}
