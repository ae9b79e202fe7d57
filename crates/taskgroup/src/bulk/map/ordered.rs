//! `map`: the results in the order of the items.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::Instant;

use super::completed::MapStream;
use super::crew::{AllThreads, Crew, MapKind};
use super::items::Items;
use super::setup::{Joined, Running, Setup, drop_guarded};
use super::worker::Results;
use crate::error::ErrorGroup;
use crate::group::{OnFailure, OnPanic};
use crate::sync::{Mutex, lock};
use crate::tree;

/// Runs `f` over the items of an iterator, at most `limit` at a time, on all of the runtime's threads. Awaited, it
/// gives the results in the order of the items.
///
/// This is what to reach for when there are many pieces of one kind of work: pages to fetch, files to read, rows to
/// compute. An item is no task of its own, so a short one costs little more than its work.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// # async fn fetch(page: u32) -> anyhow::Result<String> { Ok(format!("page {page}")) }
/// let pages = taskgroup::map(1..=100, 8, |page| async move { fetch(page).await }).await?;
/// assert_eq!(pages[41], "page 42");
/// # Ok(()) }
/// ```
///
/// * The next item is pulled only when there is room: items that were pulled and have not ended are at most `limit`.
///   So the iterator may be endless, or do work of its own. It is asked by one thread at a time, with no lock held.
/// * The first failure cancels the rest: no further item is pulled, and those in flight are cut at their next wait and
///   waited for. With [`on_failure`](Map::on_failure) all items are run, and all failures come out together.
/// * A failure is named after its item, counted from 0: its [`path`](crate::Failure::path) is `map > item 17`, with
///   a [`name`](Map::name) that name in place of `map`.
/// * An item that computes for long or blocks its thread holds up nobody but itself, as long as the runtime has
///   another thread.
/// * Settings come before the first poll; so do [`as_completed`](Map::as_completed) and [`ordered`](Map::ordered), for
///   the results as a stream. Nothing is pulled before that poll.
/// * Where items should borrow, or are not `Send`, take [`map_local`](crate::map_local).
///
/// Items are run by tasks of a group that the map opens for itself: what holds for any group holds here. One task runs
/// many items, so [`current`](crate::current()) tells of the task, not of the item.
///
/// # Cancel safety
///
/// Dropping the future drops all that is in flight before the drop returns: see [`TaskGroup`](crate::TaskGroup).
/// Results that were there are lost; to keep them take them [as they complete](Map::as_completed). A cancel of the
/// region around reaches the items.
///
/// # Errors
///
/// Every failure, as one [`ErrorGroup`]; without failures, when a [timeout](Map::timeout) cut the map.
///
/// # Panics
///
/// If `limit` is 0. Awaited: if the iterator, `f` or an item panicked, with the payload of the first such panic, after
/// all have ended, unless [`on_panic`](Map::on_panic) says otherwise; and outside a tokio runtime.
#[track_caller]
pub fn map<I, F, Fut, T, E>(items: I, limit: usize, f: F) -> Map<Items<I::IntoIter>, F, T, E>
where
    I: IntoIterator<IntoIter: Send + 'static, Item: Send>,
    F: Fn(I::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    Map::new(Setup::on_all_threads(Items::new(items.into_iter()), limit, f))
}

/// [`map`] over the items of a stream.
///
/// The stream is asked for its next item only when there is room for it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// let numbers = futures::stream::iter(0..5);
/// let squares = taskgroup::map_stream(numbers, 2, |n| async move { anyhow::Ok(n * n) }).await?;
/// assert_eq!(squares, [0, 1, 4, 9, 16]);
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// As [`map`].
#[track_caller]
pub fn map_stream<S, F, Fut, T, E>(items: S, limit: usize, f: F) -> Map<S, F, T, E>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    Map::new(Setup::on_all_threads(items, limit, f))
}

/// The future of [`map`], [`map_stream`], [`map_local`](crate::map_local) and
/// [`map_local_stream`](crate::map_local_stream), which takes settings before its first poll.
#[must_use = "futures do nothing unless polled"]
pub struct Map<S: Stream, F, T, E: Send + 'static = crate::Error, K: MapKind<E> = AllThreads> {
    state: State<S, F, T, E, K>,
}

enum State<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> {
    New(Setup<S, F, T, E, K>),
    Running(Running<S, F, T, E, K>),
    /// All have ended; a region that is cut is not told.
    Ended(Result<Vec<T>, ErrorGroup<E>>),
    Done,
}

// Nothing is pinned in it: what has to stay in its place is boxed.
impl<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> Unpin for Map<S, F, T, E, K> {}

impl<S, F, T, E, K> Map<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
{
    pub(super) fn new(setup: Setup<S, F, T, E, K>) -> Self {
        Self { state: State::New(setup) }
    }

    /// The name of the map's group, in errors, causes and paths. Default: `map`.
    ///
    /// # Panics
    ///
    /// As every setting: after the first poll.
    #[track_caller]
    pub fn name(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.set(|builder| builder.name(name))
    }

    /// What the first failure does to the others. Default: it cancels them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use taskgroup::OnFailure;
    /// let parsed = taskgroup::map(["1", "x", "3", "y"], 2, |text| async move { text.parse::<i32>() })
    ///     .on_failure(OnFailure::Continue)
    ///     .await;
    /// let errors = parsed.unwrap_err();
    /// assert_eq!(errors.len(), 2);
    /// assert_eq!(errors.first().unwrap().path(), "map > item 1");
    /// # }
    /// ```
    #[track_caller]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        self.set(|builder| builder.on_failure(on_failure))
    }

    /// What a panic does, be it of an item or of the iterator. Default: it cancels the others, and is resumed when all
    /// have ended.
    #[track_caller]
    pub fn on_panic(self, on_panic: OnPanic) -> Self {
        self.set(|builder| builder.on_panic(on_panic))
    }

    /// How many failures are stored; the rest is counted in [`ErrorGroup::more`]. Default 64.
    #[track_caller]
    pub fn max_failures(self, max_failures: usize) -> Self {
        self.set(|builder| builder.max_failures(max_failures))
    }

    /// How long the whole map may take, counted from the first poll: see [`Builder::timeout`](crate::Builder::timeout).
    #[track_caller]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|builder| builder.timeout(timeout))
    }

    /// Until when the whole map may take; otherwise as [`timeout`](Self::timeout).
    #[track_caller]
    pub fn deadline(self, deadline: Instant) -> Self {
        self.set(|builder| builder.deadline(deadline))
    }

    /// How long items may take to end once the map has been cancelled: see [`Builder::grace`](crate::Builder::grace).
    #[track_caller]
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|builder| builder.grace(grace))
    }

    /// Which errors of a cancelled item are no failures: see
    /// [`Builder::treat_as_cancelled`](crate::Builder::treat_as_cancelled).
    #[track_caller]
    pub fn treat_as_cancelled(self, predicate: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.set(|builder| builder.treat_as_cancelled(predicate))
    }

    /// The results as they complete, as a stream.
    ///
    /// It gives each value as soon as it is there, and at the end, if there were failures, one `Err` with all of
    /// them, also where failures do not cancel the rest. What has been given is kept by whoever took it. Results
    /// that are waiting to be taken count as in flight: a consumer that is slow has never more than `limit` before
    /// it. Dropping the stream drops all that is in flight before the drop returns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// use std::time::Duration;
    /// use futures::TryStreamExt;
    /// let mut naps = taskgroup::map([300, 100, 200], 8, |ms| async move {
    ///     tokio::time::sleep(Duration::from_millis(ms)).await;
    ///     anyhow::Ok(ms)
    /// })
    /// .as_completed();
    /// let mut woke = Vec::new();
    /// while let Some(ms) = naps.try_next().await? {
    ///     woke.push(ms);
    /// }
    /// assert_eq!(woke, [100, 200, 300]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn as_completed(self) -> MapStream<S, F, T, E, K> {
        match self.state {
            State::New(setup) => MapStream::new(setup, false),
            _ => begun(),
        }
    }

    /// The results in the order of the items, as a stream.
    ///
    /// As [`as_completed`](Self::as_completed), but each value waits for those before it: take it to write results out
    /// one after the other while later items are run. What waits counts as in flight, so one slow item holds up the
    /// others when `limit` of them are before the consumer. A failure that cancels the rest ends the stream: no value
    /// behind the failed item is given. Where it does not, the item is passed over.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// use std::time::Duration;
    /// use futures::TryStreamExt;
    /// let mut naps = taskgroup::map([300, 100, 200], 8, |ms| async move {
    ///     tokio::time::sleep(Duration::from_millis(ms)).await;
    ///     anyhow::Ok(ms)
    /// })
    /// .ordered();
    /// let mut woke = Vec::new();
    /// while let Some(ms) = naps.try_next().await? {
    ///     woke.push(ms);
    /// }
    /// assert_eq!(woke, [300, 100, 200]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn ordered(self) -> MapStream<S, F, T, E, K> {
        match self.state {
            State::New(setup) => MapStream::new(setup, true),
            _ => begun(),
        }
    }

    #[track_caller]
    fn set(self, set: impl FnOnce(crate::Builder<E>) -> crate::Builder<E>) -> Self {
        match self.state {
            State::New(setup) => Self::new(setup.set(set)),
            _ => begun(),
        }
    }
}

#[track_caller]
fn begun() -> ! {
    panic!("a map takes its settings before its first poll")
}

impl<S, F, T, E, K> Future for Map<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
{
    type Output = Result<Vec<T>, ErrorGroup<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.state {
                State::New(_) => {
                    let State::New(setup) = std::mem::replace(&mut self.state, State::Done) else {
                        unreachable!("seen above")
                    };
                    self.state = State::Running(setup.begin(Results::AtTheEnd(Mutex::default())));
                }
                State::Running(running) => {
                    let joined = ready!(running.poll_join(cx));
                    let State::Running(running) = std::mem::replace(&mut self.state, State::Done) else {
                        unreachable!("seen above")
                    };
                    self.state = State::Ended(running.into_values(joined));
                }
                // Who is cut gets no value (R12); failures are told.
                State::Ended(result) if tree::is_cut() && !has_failures(result) => return Poll::Pending,
                State::Ended(_) => {
                    let State::Ended(result) = std::mem::replace(&mut self.state, State::Done) else {
                        unreachable!("seen above")
                    };
                    return Poll::Ready(result);
                }
                State::Done => panic!("the future of `map` was polled after it had completed"),
            }
        }
    }
}

fn has_failures<T, E>(result: &Result<T, ErrorGroup<E>>) -> bool {
    result.as_ref().is_err_and(|errors| !errors.is_cancelled())
}

impl<S, F, T, E, K> Running<S, F, T, E, K>
where
    S: Stream,
    E: Send + 'static,
    K: MapKind<E>,
{
    /// What comes out when all workers have ended.
    fn into_values(self, joined: Joined<E>) -> Result<Vec<T>, ErrorGroup<E>> {
        let (this, joined) = self.unless_panicked(joined);
        let shared = &this.shared;
        let Results::AtTheEnd(results) = &shared.results else { unreachable!("made so") };
        let parts = std::mem::take(&mut *lock(results));
        let count = parts.iter().map(Vec::len).sum();
        let result = match joined {
            Ok(()) if shared.pool.pulled_in_all() == Some(count as u64) => Ok(in_order(parts, count)),
            joined => {
                drop_guarded(parts);
                Err(joined.err().unwrap_or_else(|| shared.crew.cut_error()))
            }
        };
        this.clear();
        result
    }
}

/// Each value to its place: the indices are 0 to `count`, each once.
fn in_order<T>(mut parts: Vec<Vec<(usize, T)>>, count: usize) -> Vec<T> {
    if let [part] = parts.as_mut_slice()
        && part.iter().enumerate().all(|(place, (index, _))| place == *index)
    {
        return std::mem::take(part).into_iter().map(|(_, value)| value).collect();
    }
    let mut places: Vec<Option<T>> = Vec::with_capacity(count);
    places.resize_with(count, || None);
    for (index, value) in parts.into_iter().flatten() {
        places[index] = Some(value);
    }
    places.into_iter().map(|value| value.expect("every item has given one")).collect()
}

impl<S: Stream, F, T, E: Send + 'static, K: MapKind<E>> fmt::Debug for Map<S, F, T, E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::New(_) => "new",
            State::Running(_) => "running",
            State::Ended(_) | State::Done => "ended",
        };
        f.debug_struct("Map").field("state", &state).finish_non_exhaustive()
    }
}
