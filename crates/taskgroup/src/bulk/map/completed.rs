//! `map`, with the results as a stream: as they complete, or in the order of the items.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::crew::{AllThreads, Crew, MapKind};
use super::setup::{Joined, Running, Setup, drop_guarded};
use super::window::Window;
use super::worker::{Outbox, Results};
use crate::error::ErrorGroup;
use crate::sync::{Mutex, lock};
use crate::tree;

/// The results of a [`map`](crate::map()) as they complete: from [`Map::as_completed`](crate::Map::as_completed); or in
/// the order of the items: from [`Map::ordered`](crate::Map::ordered).
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
pub struct MapStream<S: Stream, F, T, E: Send + 'static = crate::Error, K: MapKind<E> = AllThreads> {
    state: State<S, F, T, E, K>,
    /// Where they are given in the order of the items.
    window: Option<Window<T>>,
    /// How many values it has given since it was pending.
    at_once: u32,
}

const AT_ONCE_MAX: u32 = 128;

type Next<T, E> = Poll<Option<Result<(usize, T), ErrorGroup<E>>>>;

enum State<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> {
    New(Setup<S, F, T, E, K>),
    Running(Running<S, F, T, E, K>),
    /// All workers have ended; there may be values left.
    Ended(VecDeque<(usize, T)>, Option<ErrorGroup<E>>),
}

// Nothing is pinned in it: what has to stay in its place is boxed.
impl<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> Unpin for MapStream<S, F, T, E, K> {}

impl<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> MapStream<S, F, T, E, K> {
    pub(super) fn new(setup: Setup<S, F, T, E, K>, ordered: bool) -> Self {
        Self { state: State::New(setup), window: ordered.then(Window::new), at_once: 0 }
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
    pub fn indexed(self) -> IndexedMapStream<S, F, T, E, K> {
        IndexedMapStream(self)
    }
}

impl<S, F, T, E, K> MapStream<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
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
                    let outbox =
                        Outbox { ready: VecDeque::new(), waker: None, ordered: self.window.is_some() };
                    self.state = State::Running(setup.begin(Results::AsCompleted(Mutex::new(outbox))));
                }
                State::Running(running) => {
                    // Who is cut gets no value (R12); it is polled to be told of failures.
                    if !tree::is_cut()
                        && let Some(value) = running.take_ready(&mut self.window, cx)
                    {
                        return Poll::Ready(Some(Ok(value)));
                    }
                    let Poll::Ready(joined) = running.poll_join(cx) else {
                        // What this very task has brought wakes nobody.
                        if K::Crew::IN_TASK
                            && !tree::is_cut()
                            && let Some(value) = running.take_ready(&mut self.window, cx)
                        {
                            return Poll::Ready(Some(Ok(value)));
                        }
                        return Poll::Pending;
                    };
                    let ended = State::Ended(VecDeque::new(), None);
                    let State::Running(running) = std::mem::replace(&mut self.state, ended) else {
                        unreachable!("seen above")
                    };
                    self.state = running.into_rest(self.window.take(), joined);
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

impl<S, F, T, E, K> Running<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
{
    /// The next value, if there is one; its place goes to another item. Else whoever brings one wakes `cx`.
    fn take_ready(&self, window: &mut Option<Window<T>>, cx: &mut Context<'_>) -> Option<(usize, T)> {
        loop {
            let next = match window.as_mut().and_then(Window::take_next) {
                Some(next) => next,
                None => {
                    let (index, result) = self.take_any(cx)?;
                    match window {
                        None => (index, result),
                        Some(window) => {
                            window.put(index, result);
                            continue;
                        }
                    }
                }
            };
            self.shared.bring(self.shared.pool.release());
            if let (index, Some(value)) = next {
                return Some((index, value));
            }
        }
    }

    fn take_any(&self, cx: &mut Context<'_>) -> Option<(usize, Option<T>)> {
        let mut outbox = lock(self.outbox());
        let ready = outbox.ready.pop_front();
        if ready.is_none() && !K::Crew::IN_TASK {
            let former = outbox.waker.replace(cx.waker().clone());
            drop(outbox);
            drop(former);
        }
        ready
    }

    fn into_rest(self, mut window: Option<Window<T>>, joined: Joined<E>) -> State<S, F, T, E, K> {
        if joined.is_err() {
            // Who resumes a panic leaves nothing behind.
            drop_guarded(window.take());
        }
        let (this, joined) = self.unless_panicked(joined);
        let mut outbox = lock(this.outbox());
        let (left, waker) = (std::mem::take(&mut outbox.ready), outbox.waker.take());
        drop(outbox);
        drop(waker);
        let errors = match joined {
            Ok(()) if this.shared.pool.pulled_in_all().is_some() => None,
            Ok(()) => Some(this.shared.crew.cut_error()),
            Err(errors) => Some(errors),
        };
        this.clear();
        let left = match window {
            None => left.into_iter().filter_map(with_value).collect(),
            Some(mut window) => {
                left.into_iter().for_each(|(index, result)| window.put(index, result));
                let given = std::iter::from_fn(|| window.take_next()).filter_map(with_value).collect();
                // What stands behind an item that was cut.
                drop_guarded(window);
                given
            }
        };
        State::Ended(left, errors)
    }

    fn outbox(&self) -> &Mutex<Outbox<T>> {
        match &self.shared.results {
            Results::AsCompleted(outbox) => outbox,
            Results::AtTheEnd(_) => unreachable!("made so"),
        }
    }
}

/// Without those that are passed over.
fn with_value<T>((index, result): (usize, Option<T>)) -> Option<(usize, T)> {
    result.map(|value| (index, value))
}

impl<S, F, T, E, K> Stream for MapStream<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
{
    type Item = Result<T, ErrorGroup<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_indexed(cx).map(|next| next.map(|result| result.map(|(_, value)| value)))
    }
}

impl<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> fmt::Debug for MapStream<S, F, T, E, K> {
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
pub struct IndexedMapStream<S: Stream, F, T, E: Send + 'static = crate::Error, K: MapKind<E> = AllThreads>(
    MapStream<S, F, T, E, K>,
);

impl<S, F, T, E, K> Stream for IndexedMapStream<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
{
    type Item = Result<(usize, T), ErrorGroup<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_indexed(cx)
    }
}

impl<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> fmt::Debug for IndexedMapStream<S, F, T, E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IndexedMapStream").field(&self.0).finish()
    }
}
