//! The future of what is given many futures.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::ErrorGroup;

/// The future of [`gather`](crate::gather()), [`race`](crate::race()) and [`first_ok`](crate::first_ok()).
///
/// It is `Send` and borrows nothing, whatever the iterator was that the futures came from; so it can be awaited inside
/// a task, kept, or given to [`spawn_into`](crate::TaskGroup::spawn_into). Nothing runs before it is polled.
#[must_use = "futures do nothing unless polled"]
pub struct Joined<V, E: 'static = crate::Error> {
    // Boxed to have a name: an `impl Future` would carry the type of the iterator, and with it closures of whose
    // lifetimes today's compiler cannot prove that a task around them is `Send`.
    inner: Pin<Box<dyn Future<Output = Result<V, ErrorGroup<E>>> + Send>>,
}

impl<V, E: 'static> Joined<V, E> {
    pub(super) fn new(inner: impl Future<Output = Result<V, ErrorGroup<E>>> + Send + 'static) -> Self {
        Self { inner: Box::pin(inner) }
    }
}

// `E: 'static` is not said again: said here, it keeps the compiler from proving that what contains a
// `Joined<_, &'static str>` is `Send`.
impl<V, E> Future for Joined<V, E> {
    type Output = Result<V, ErrorGroup<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

impl<V, E: 'static> fmt::Debug for Joined<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").finish_non_exhaustive()
    }
}
