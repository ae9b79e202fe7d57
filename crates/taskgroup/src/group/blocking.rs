//! A blocking closure as a future that is ready at its first poll.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::token::CancelToken;

pub(super) struct BlockingCall<F>(Option<F>);

impl<F> BlockingCall<F> {
    pub(super) fn new(closure: F) -> Self {
        Self(Some(closure))
    }
}

// The closure is moved out and called, never pinned.
impl<F> Unpin for BlockingCall<F> {}

impl<F, T, E> Future for BlockingCall<F>
where
    F: FnOnce(&CancelToken) -> Result<T, E>,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        let closure = self.0.take().expect("a blocking call is polled once");
        let token = CancelToken::of_current().expect("its cell has made itself current");
        Poll::Ready(closure(&token))
    }
}
