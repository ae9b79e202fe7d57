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

use super::crew::Crew;
use super::pool::{Look, Pool, Pulled, Seat, Summons};
use super::setup::Plan;
use crate::error::ErrorGroup;
use crate::sync::{Arc, Mutex, lock};
use crate::task::{Panic, catch};
use crate::trace::Span;
use crate::tree;

/// What the workers of a map share.
pub(super) struct Shared<S: Stream, F, T, E: Send + 'static, G> {
    pub(super) pool: Pool<Pin<Box<S>>, S::Item>,
    pub(super) results: Results<T>,
    pub(super) crew: G,
    make: F,
    /// Spawns a worker with this seat.
    spawn: fn(&Arc<Self>, usize),
    /// Of the group.
    span: OnceLock<Span>,
    /// How many to begin with.
    workers: usize,
    pub(super) location: &'static Location<'static>,
    /// What came of the group.
    exit: Mutex<Option<Result<(), ErrorGroup<E>>>>,
}

/// Where results go, with the index of their item.
pub(super) enum Results<T> {
    /// From each worker what it has, when it ends.
    AtTheEnd(Mutex<Vec<Vec<(usize, T)>>>),
    /// At once.
    AsCompleted(Mutex<Outbox<T>>),
}

pub(super) struct Outbox<T> {
    /// Without a value: the item has none, and is not waited for. Only where they are ordered.
    pub(super) ready: VecDeque<(usize, Option<T>)>,
    pub(super) waker: Option<Waker>,
    /// The consumer takes them in the order of the items.
    pub(super) ordered: bool,
}

impl<S, F, T, E, G> Shared<S, F, T, E, G>
where
    S: Stream,
    E: Send + 'static,
    G: Crew<E>,
{
    pub(super) fn new(
        plan: Plan<S, F>,
        threads: usize,
        results: Results<T>,
        crew: G,
        spawn: fn(&Arc<Self>, usize),
    ) -> Arc<Self> {
        let Plan { source, limit, make, location } = plan;
        // A hint that is wrong costs workers that come later, no items.
        let items_max = source.size_hint().1.unwrap_or(usize::MAX).max(1);
        let workers = threads.min(limit).min(items_max);
        let pool = Pool::new(source, limit, threads, workers);
        let (span, exit) = (OnceLock::new(), Mutex::new(None));
        Arc::new(Self { pool, results, crew, make, spawn, span, workers, location, exit })
    }

    /// Spawns the first workers. To be called in the body of the group, whose span is that of all workers.
    pub(super) fn begin(self: &Arc<Self>) {
        self.span.get_or_init(Span::current);
        (0..self.workers).for_each(|id| self.spawn(id));
    }

    pub(super) fn set_exit(&self, exit: Result<(), ErrorGroup<E>>) {
        *lock(&self.exit) = Some(exit);
    }

    pub(super) fn take_exit(&self) -> Result<(), ErrorGroup<E>> {
        lock(&self.exit).take().expect("the group has ended")
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
        (self.spawn)(self, id);
    }
}

pin_project! {
    pub(super) struct Worker<S, F, Fut, T, E, G>
    where
        S: Stream,
        E: Send,
        E: 'static,
    {
        #[pin]
        item: Option<Fut>,
        post: Post<S, F, T, E, G>,
    }
}

/// What a worker has beside the future of its item.
struct Post<S: Stream, F, T, E: Send + 'static, G> {
    shared: Arc<Shared<S, F, T, E, G>>,
    seat: Seat<S::Item>,
    /// An item that was found, and is not started yet.
    taken: Option<S::Item>,
    /// The index of the item that was found last.
    index: u64,
    results: Vec<(usize, T)>,
    pace: Pace,
}

impl<S: Stream, F, Fut, T, E: Send + 'static, G> Worker<S, F, Fut, T, E, G> {
    pub(super) fn new(shared: &Arc<Shared<S, F, T, E, G>>, id: usize) -> Self {
        let post = Post {
            shared: Arc::clone(shared),
            seat: Seat::new(id),
            taken: None,
            index: 0,
            results: Vec::new(),
            pace: Pace::default(),
        };
        Self { item: None, post }
    }
}

/// What a look for an item came to.
enum Found<I> {
    Item(I),
    /// An item, but somebody was woken, who comes first.
    Later(I),
    Nothing,
    End,
}

impl<S, F, Fut, T, E, G> Future for Worker<S, F, Fut, T, E, G>
where
    S: Stream,
    F: Fn(S::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Send + 'static,
    G: Crew<E>,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.post.pace.begin();
        loop {
            match catch(|| run(this.item.as_mut(), this.post, cx)) {
                Ok(polled) => return polled.map(Ok),
                Err(panic) => {
                    this.post.panicked(panic);
                    if let Err(panic) = catch(|| this.item.set(None)) {
                        this.post.panicked(panic);
                    }
                    if this.post.settle_failed() {
                        return this.post.yield_now(cx).map(Ok);
                    }
                }
            }
        }
    }
}

/// Runs one item after the other, until there is a reason to return: a wait, others that are to run, or the end.
fn run<S, F, Fut, T, E, G>(
    mut item: Pin<&mut Option<Fut>>,
    post: &mut Post<S, F, T, E, G>,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    S: Stream,
    F: Fn(S::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Send + 'static,
    G: Crew<E>,
{
    loop {
        if let Some(future) = item.as_mut().as_pin_mut() {
            let Poll::Ready(result) = future.poll(cx) else {
                post.waits(cx);
                return Poll::Pending;
            };
            item.set(None);
            if post.settle(result) {
                return post.yield_now(cx);
            }
        }
        if post.shared.crew.is_cancelled() {
            return Poll::Pending;
        }
        let found = match post.next() {
            Some(found) => found,
            // Here it has nothing before it that would have to wait.
            None if post.pace.is_long(&post.shared.crew) => return post.yield_now(cx),
            None => match post.find(cx) {
                Found::Item(found) => found,
                Found::Later(found) => {
                    post.taken = Some(found);
                    return post.yield_now(cx);
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

impl<S, F, T, E, G> Post<S, F, T, E, G>
where
    S: Stream,
    E: Send + 'static,
    G: Crew<E>,
{
    /// Back to the runtime, to be polled again when others have been.
    fn yield_now(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.crew.yield_now(cx);
        Poll::Pending
    }

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
        match result {
            Err(error) => {
                self.shared.crew.report_error(self.item(), error);
                self.settle_failed()
            }
            Ok(value) if matches!(self.shared.results, Results::AtTheEnd(_)) => {
                self.results.push((self.index as usize, value));
                self.shared.pool.finish(&mut self.seat);
                false
            }
            Ok(value) => self.bring_out(Some(value)),
        }
    }

    /// The item has failed, its future has been dropped, and the group knows. True: somebody was woken.
    fn settle_failed(&mut self) -> bool {
        // Where a failure ends the map, nothing that comes after it is given.
        let is_passed_over = match &self.shared.results {
            Results::AtTheEnd(_) => false,
            Results::AsCompleted(outbox) => lock(outbox).ordered && !self.shared.crew.is_cancelled(),
        };
        if is_passed_over {
            return self.bring_out(None);
        }
        self.shared.pool.finish(&mut self.seat);
        false
    }

    /// To the consumer; finished when he has taken it. True: he was woken.
    fn bring_out(&self, value: Option<T>) -> bool {
        let Results::AsCompleted(outbox) = &self.shared.results else { unreachable!("asked before") };
        let mut outbox = lock(outbox);
        outbox.ready.push_back((self.index as usize, value));
        let consumer = outbox.waker.take();
        drop(outbox);
        consumer.map(tree::wake).is_some()
    }

    fn panicked(&self, panic: Panic) {
        self.shared.crew.report_panic(self.item(), panic);
    }

    fn item(&self) -> String {
        format!("item {}", self.index)
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
            let woke = self.shared.bring(summons) && !G::IN_TASK;
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
        self.shared.crew.report_panic("items".to_owned(), panic);
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
    fn is_long<E: Send + 'static>(&mut self, crew: &impl Crew<E>) -> bool {
        let now = Instant::now();
        match self.asked.replace(now).map(|asked| now - asked) {
            Some(took) if took < Self::RUN_SHORT => self.run *= 2,
            Some(took) if took > Self::RUN_LONG => self.run /= 2,
            _ => {}
        }
        now - crew.poll_began(&mut self.began, now) > Self::POLL_LONG
    }

    fn run(&mut self, run_max: usize) -> usize {
        self.run = self.run.clamp(1, run_max);
        self.run
    }
}
