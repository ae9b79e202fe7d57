//! `map`, with the results as they complete.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::setup::{Joined, Running, Setup};
use super::worker::{Outbox, Results};
use crate::error::ErrorGroup;
use crate::sync::{Mutex, lock};
use crate::tree;

/// The results of a [`map`](crate::map()) as they complete: from [`Map::as_completed`](crate::Map::as_completed).
///
/// A stream of `Result<T, ErrorGroup<E>>`: each value as it comes, and at the end, if there were failures, one
/// `Err` with all of them. A failure that cancels the rest ends the stream when the others have ended, behind the
/// values that were there before.
///
/// # Cancel safety
///
/// A value that is not taken by one `next` is given to the following one. Dropping the stream drops all that is in
/// flight before the drop returns.
///
/// # Panics
///
/// When polled: as awaiting [`map`](crate::map()).
#[must_use = "streams do nothing unless polled"]
pub struct MapStream<S: Stream, F, T, E: Send + 'static = crate::Error> {
    state: State<S, F, T, E>,
    /// How many values it has given since it was pending.
    at_once: u32,
}

const AT_ONCE_MAX: u32 = 128;

type Next<T, E> = Poll<Option<Result<(usize, T), ErrorGroup<E>>>>;

enum State<S: Stream, F, T, E: Send + 'static> {
    New(Setup<S, F, E>),
    Running(Running<S, F, T, E>),
    /// All workers have ended; there may be values left.
    Ended(VecDeque<(usize, T)>, Option<ErrorGroup<E>>),
}

// Nothing is pinned in it: what has to stay in its place is boxed.
impl<S: Stream, F, T, E: Send + 'static> Unpin for MapStream<S, F, T, E> {}

impl<S: Stream, F, T, E: Send + 'static> MapStream<S, F, T, E> {
    pub(super) fn new(setup: Setup<S, F, E>) -> Self {
        Self { state: State::New(setup), at_once: 0 }
    }

    /// The same stream with the index of its item beside each value, counted from 0.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// use futures::TryStreamExt;
    /// let lengths = taskgroup::map(["one", "three"], 2, |word| async move { anyhow::Ok(word.len()) });
    /// let mut lengths: Vec<(usize, usize)> = lengths.as_completed().indexed().try_collect().await?;
    /// lengths.sort();
    /// assert_eq!(lengths, [(0, 3), (1, 5)]);
    /// # Ok(()) }
    /// ```
    pub fn indexed(self) -> IndexedMapStream<S, F, T, E> {
        IndexedMapStream(self)
    }
}

impl<S, F, Fut, T, E> MapStream<S, F, T, E>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    fn poll_indexed(&mut self, cx: &mut Context<'_>) -> Next<T, E> {
        // A loop over a thousand values that are there lets others run in between. Not by tokio's budget: who has used
        // that up stays with its thread, and would stand behind an item that blocks.
        if self.at_once == AT_ONCE_MAX {
            self.at_once = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.poll_any(cx);
        self.at_once = if polled.is_ready() { self.at_once + 1 } else { 0 };
        polled
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Next<T, E> {
        loop {
            match &mut self.state {
                State::New(_) => {
                    let ended = State::Ended(VecDeque::new(), None);
                    let State::New(setup) = std::mem::replace(&mut self.state, ended) else {
                        unreachable!("seen above")
                    };
                    let outbox = Outbox { ready: VecDeque::new(), waker: None };
                    self.state = State::Running(setup.begin(Results::AsCompleted(Mutex::new(outbox))));
                }
                State::Running(running) => {
                    // Who is cut gets no value (R12); it is polled to be told of failures.
                    if !tree::is_cut()
                        && let Some(value) = running.take_ready(cx)
                    {
                        return Poll::Ready(Some(Ok(value)));
                    }
                    let joined = ready!(running.poll_join(cx));
                    let ended = State::Ended(VecDeque::new(), None);
                    let State::Running(running) = std::mem::replace(&mut self.state, ended) else {
                        unreachable!("seen above")
                    };
                    self.state = running.into_rest(joined);
                }
                State::Ended(left, errors) => {
                    let cut = tree::is_cut();
                    if cut && errors.as_ref().is_none_or(ErrorGroup::is_cancelled) {
                        return Poll::Pending;
                    }
                    if let Some(value) = left.pop_front().filter(|_| !cut) {
                        return Poll::Ready(Some(Ok(value)));
                    }
                    return Poll::Ready(errors.take().map(Err));
                }
            }
        }
    }
}

impl<S, F, Fut, T, E> Running<S, F, T, E>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    /// The next value, if there is one; its place goes to another item. Else whoever brings one wakes `cx`.
    fn take_ready(&self, cx: &mut Context<'_>) -> Option<(usize, T)> {
        let mut outbox = lock(self.outbox());
        let Some(value) = outbox.ready.pop_front() else {
            let former = outbox.waker.replace(cx.waker().clone());
            drop(outbox);
            drop(former);
            return None;
        };
        drop(outbox);
        self.shared.bring(self.shared.pool.release());
        Some(value)
    }

    fn into_rest(self, joined: Joined<E>) -> State<S, F, T, E> {
        let (this, joined) = self.unless_panicked(joined);
        let mut outbox = lock(this.outbox());
        let (left, waker) = (std::mem::take(&mut outbox.ready), outbox.waker.take());
        drop(outbox);
        drop(waker);
        let errors = match joined {
            Ok(()) if this.shared.pool.pulled_in_all().is_some() => None,
            Ok(()) => Some(this.shared.spawner.cut_error()),
            Err(errors) => Some(errors),
        };
        this.clear();
        State::Ended(left, errors)
    }

    fn outbox(&self) -> &Mutex<Outbox<T>> {
        match &self.shared.results {
            Results::AsCompleted(outbox) => outbox,
            Results::AtTheEnd(_) => unreachable!("made so"),
        }
    }
}

impl<S, F, Fut, T, E> Stream for MapStream<S, F, T, E>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    type Item = Result<T, ErrorGroup<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_indexed(cx).map(|next| next.map(|result| result.map(|(_, value)| value)))
    }
}

impl<S: Stream, F, T, E: Send + 'static> fmt::Debug for MapStream<S, F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::New(_) => "new",
            State::Running(_) => "running",
            State::Ended(..) => "ended",
        };
        f.debug_struct("MapStream").field("state", &state).finish_non_exhaustive()
    }
}

/// A [`MapStream`] whose values have the index of their item beside them: from [`MapStream::indexed`].
#[must_use = "streams do nothing unless polled"]
pub struct IndexedMapStream<S: Stream, F, T, E: Send + 'static = crate::Error>(MapStream<S, F, T, E>);

impl<S, F, Fut, T, E> Stream for IndexedMapStream<S, F, T, E>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    type Item = Result<(usize, T), ErrorGroup<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_indexed(cx)
    }
}

impl<S: Stream, F, T, E: Send + 'static> fmt::Debug for IndexedMapStream<S, F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IndexedMapStream").field(&self.0).finish()
    }
}
