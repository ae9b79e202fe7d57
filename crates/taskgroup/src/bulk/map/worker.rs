//! A worker: a child of the map's group that runs one item after the other.
//!
//! # Invariants
//!
//! 1. A worker has at most one item in hand. What it has before it lies in the pool, where others find it.
//! 2. Whoever has woken or spawned somebody returns to its runtime before it runs code of a user's: what a task
//!    wakes runs after it on the same thread, and would stand behind an item that blocks.
//! 3. A worker whose group is cancelled starts no item: it waits, and is cut there.
//! 4. A panic of the source, of the closure, of a future or of its destructor ends that item alone; what it
//!    means for the others is the group's business.

use std::collections::VecDeque;
use std::panic::Location;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::task::coop;

use super::pool::{Look, Pool, Pulled, Seat, Summons};
use crate::group::Spawner;
use crate::sync::{Arc, Mutex, lock};
use crate::task::{Panic, Problem, catch};
use crate::trace::Span;
use crate::tree;

/// What the workers of a map share.
pub(super) struct Shared<S: Stream, F, T, E: Send + 'static> {
    pub(super) pool: Pool<Pin<Box<S>>, S::Item>,
    pub(super) results: Results<T>,
    pub(super) spawner: Spawner<E>,
    make: F,
    /// Of the group.
    span: OnceLock<Span>,
    /// How many to begin with.
    workers: usize,
    location: &'static Location<'static>,
}

/// Where results go, with the index of their item.
pub(super) enum Results<T> {
    /// From each worker what it has, when it ends.
    AtTheEnd(Mutex<Vec<Vec<(usize, T)>>>),
    /// At once.
    AsCompleted(Mutex<Outbox<T>>),
}

pub(super) struct Outbox<T> {
    pub(super) ready: VecDeque<(usize, T)>,
    pub(super) waker: Option<Waker>,
}

impl<S, F, Fut, T, E> Shared<S, F, T, E>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    pub(super) fn new(
        source: Pin<Box<S>>,
        limit: usize,
        make: F,
        results: Results<T>,
        spawner: Spawner<E>,
        location: &'static Location<'static>,
    ) -> Arc<Self> {
        let threads = spawner.threads();
        // A hint that is wrong costs workers that come later, no items.
        let items_max = source.size_hint().1.unwrap_or(usize::MAX).max(1);
        let workers = threads.min(limit).min(items_max);
        let pool = Pool::new(source, limit, threads, workers);
        Arc::new(Self { pool, results, make, spawner, span: OnceLock::new(), workers, location })
    }

    /// Spawns the first workers. To be called in the body of the group, whose span is that of all workers.
    pub(super) fn begin(self: &Arc<Self>) {
        self.span.get_or_init(Span::current);
        (0..self.workers).for_each(|id| self.spawn(id));
    }

    /// Brings who was summoned. True: there was somebody.
    pub(super) fn bring(self: &Arc<Self>, summons: Summons) -> bool {
        match summons {
            Summons::Nobody => return false,
            Summons::Wake(waker) => tree::wake(waker),
            Summons::WakeAll(wakers) => {
                let any = !wakers.is_empty();
                wakers.into_iter().for_each(tree::wake);
                return any;
            }
            Summons::Spawn(id) => self.spawn(id),
        }
        true
    }

    fn spawn(self: &Arc<Self>, id: usize) {
        let _inside = self.span.get().map(Span::enter);
        let post = Post {
            shared: Arc::clone(self),
            seat: Seat::new(id),
            taken: None,
            index: 0,
            results: Vec::new(),
            pace: Pace::default(),
        };
        self.spawner.spawn_at(Worker { item: None, post }, self.location);
    }
}

pin_project! {
    struct Worker<S, F, Fut, T, E>
    where
        S: Stream,
        E: Send,
        E: 'static,
    {
        #[pin]
        item: Option<Fut>,
        post: Post<S, F, T, E>,
    }
}

/// What a worker has beside the future of its item.
struct Post<S: Stream, F, T, E: Send + 'static> {
    shared: Arc<Shared<S, F, T, E>>,
    seat: Seat<S::Item>,
    /// An item that was found, and is not started yet.
    taken: Option<S::Item>,
    /// The index of the item that was found last.
    index: u64,
    results: Vec<(usize, T)>,
    pace: Pace,
}

/// What a look for an item came to.
enum Found<I> {
    Item(I),
    /// An item, but somebody was woken, who comes first.
    Later(I),
    Nothing,
    End,
}

impl<S, F, Fut, T, E> Future for Worker<S, F, Fut, T, E>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.post.pace.begin();
        loop {
            match catch(|| run(this.item.as_mut(), this.post, cx)) {
                Ok(polled) => return polled.map(Ok),
                Err(panic) => {
                    this.post.failed(Problem::Panic(panic));
                    if let Err(panic) = catch(|| this.item.set(None)) {
                        this.post.failed(Problem::Panic(panic));
                    }
                    this.post.shared.pool.finish(&mut this.post.seat);
                }
            }
        }
    }
}

/// Runs one item after the other, until there is a reason to return: a wait, others that are to run, or the end.
fn run<S, F, Fut, T, E>(
    mut item: Pin<&mut Option<Fut>>,
    post: &mut Post<S, F, T, E>,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    loop {
        if let Some(future) = item.as_mut().as_pin_mut() {
            let Poll::Ready(result) = future.poll(cx) else {
                post.waits(cx);
                return Poll::Pending;
            };
            item.set(None);
            if post.settle(result) {
                return yield_now(cx);
            }
        }
        if post.shared.spawner.is_cancelled() {
            return Poll::Pending;
        }
        let found = match post.next() {
            Some(found) => found,
            // Here it has nothing before it that would have to wait.
            None if post.pace.is_long() => return yield_now(cx),
            None => match post.find(cx) {
                Found::Item(found) => found,
                Found::Later(found) => {
                    post.taken = Some(found);
                    return yield_now(cx);
                }
                Found::Nothing => return Poll::Pending,
                Found::End => {
                    post.end();
                    return Poll::Ready(());
                }
            },
        };
        item.set(Some((post.shared.make)(found)));
    }
}

/// Back to the runtime, to be polled again when others have been.
fn yield_now(cx: &mut Context<'_>) -> Poll<()> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<S, F, Fut, T, E> Post<S, F, T, E>
where
    S: Stream<Item: Send> + Send + 'static,
    F: Fn(S::Item) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    /// The item is not ready.
    fn waits(&mut self, cx: &mut Context<'_>) {
        if !coop::has_budget_remaining() {
            // It may be, for all it could find out: it is asked again when others have run.
            cx.waker().wake_by_ref();
        } else if !self.seat.waits_at_item() {
            self.pace.forget();
            self.shared.bring(self.shared.pool.wait(&mut self.seat));
        }
    }

    /// The item has ended, and its future has been dropped. True: somebody was woken.
    fn settle(&mut self, result: Result<T, E>) -> bool {
        let index = self.index as usize;
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                self.failed(Problem::Error(error));
                self.shared.pool.finish(&mut self.seat);
                return false;
            }
        };
        match &self.shared.results {
            Results::AtTheEnd(_) => {
                self.results.push((index, value));
                self.shared.pool.finish(&mut self.seat);
                false
            }
            // Finished when the consumer has taken it.
            Results::AsCompleted(outbox) => {
                let mut outbox = lock(outbox);
                outbox.ready.push_back((index, value));
                let consumer = outbox.waker.take();
                drop(outbox);
                consumer.map(tree::wake).is_some()
            }
        }
    }

    fn failed(&self, problem: Problem<E>) {
        self.shared.spawner.report_part(format!("item {}", self.index), problem);
    }

    /// The next item of those before this worker.
    #[inline]
    fn next(&mut self) -> Option<S::Item> {
        if let Some(item) = self.taken.take() {
            return Some(item);
        }
        let (index, item) = self.shared.pool.take_own(&self.seat)?;
        self.index = index;
        Some(item)
    }

    /// Looks for items where others have them, and asks the source.
    fn find(&mut self, cx: &mut Context<'_>) -> Found<S::Item> {
        let run = self.pace.run(self.shared.pool.run_max());
        let (mut look, mut summons) = self.shared.pool.look(&mut self.seat, cx.waker(), run);
        loop {
            let woke = self.shared.bring(summons);
            match look {
                Look::Item(index, item) => {
                    self.index = index;
                    return if woke { Found::Later(item) } else { Found::Item(item) };
                }
                Look::Pull(source, pulls) => {
                    let source = self.pull(source, pulls, cx);
                    (look, summons) = self.shared.pool.put_back(&mut self.seat, cx.waker(), source, run);
                }
                Look::Wait => return Found::Nothing,
                Look::End => return Found::End,
            }
        }
    }

    /// Asks the source for items.
    fn pull(&mut self, source: Pin<Box<S>>, pulls: usize, cx: &mut Context<'_>) -> Pulled<Pin<Box<S>>> {
        let mut source = source;
        let pulled = &mut self.seat.pulled;
        let asked = catch(|| {
            // Several at a time only while it says that it has them: one that has to wait for its next item, as a
            // channel does, is not to hold back those it has given.
            let pulls = if pulls > 1 { source.size_hint().0.clamp(1, pulls) } else { 1 };
            for _ in 0..pulls {
                match source.as_mut().poll_next(cx) {
                    Poll::Ready(Some(item)) => pulled.push_back(item),
                    Poll::Ready(None) => return Some(Poll::Ready(())),
                    Poll::Pending => return Some(Poll::Pending),
                }
            }
            None
        });
        match asked {
            Ok(None) => return Pulled::More(source),
            Ok(Some(Poll::Pending)) => return Pulled::Pending(source),
            Ok(Some(Poll::Ready(()))) => {}
            Err(panic) => self.source_panicked(panic),
        }
        if let Err(panic) = catch(|| drop(source)) {
            self.source_panicked(panic);
        }
        Pulled::Ended
    }

    fn source_panicked(&self, panic: Panic) {
        self.shared.spawner.report_part("items".to_owned(), Problem::Panic(panic));
    }

    fn end(&mut self) {
        if let Results::AtTheEnd(results) = &self.shared.results {
            lock(results).push(std::mem::take(&mut self.results));
        }
    }
}

/// How many items a worker takes at a time, and how long it stays: short items in runs, so that the books are rarely
/// asked; long ones one by one.
#[derive(Default)]
struct Pace {
    run: usize,
    /// When it last asked for items in this poll.
    asked: Option<Instant>,
    /// When it first did.
    began: Option<Instant>,
}

impl Pace {
    const RUN_SHORT: Duration = Duration::from_micros(8);
    const RUN_LONG: Duration = Duration::from_micros(32);
    const POLL_LONG: Duration = Duration::from_micros(100);

    fn begin(&mut self) {
        (self.asked, self.began) = (None, None);
    }

    /// An item was not ready at once.
    fn forget(&mut self) {
        self.run = 1;
    }

    /// Whether others on this thread have waited long enough. Asked between two runs.
    fn is_long(&mut self) -> bool {
        let now = Instant::now();
        match self.asked.replace(now).map(|asked| now - asked) {
            Some(took) if took < Self::RUN_SHORT => self.run *= 2,
            Some(took) if took > Self::RUN_LONG => self.run /= 2,
            _ => {}
        }
        now - *self.began.get_or_insert(now) > Self::POLL_LONG
    }

    fn run(&mut self, run_max: usize) -> usize {
        self.run = self.run.clamp(1, run_max);
        self.run
    }
}
