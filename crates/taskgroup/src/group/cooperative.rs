//! A cooperative task's future: made at the first poll, when its token can be had.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::token::CancelToken;

pin_project! {
    pub(crate) struct Cooperative<F, Fut> {
        make: Option<F>,
        #[pin]
        future: Option<Fut>,
    }
}

impl<F, Fut> Cooperative<F, Fut> {
    pub(crate) fn new(make: F) -> Self {
        Self { make: Some(make), future: None }
    }
}

impl<F, Fut> Future for Cooperative<F, Fut>
where
    F: FnOnce(CancelToken) -> Fut,
    Fut: Future,
{
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(make) = this.make.take() {
            let token = CancelToken::of_current().expect("its cell has made itself current");
            this.future.set(Some(make(token)));
        }
        match this.future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => unreachable!("a future whose making panicked is not polled again"),
        }
    }
}
