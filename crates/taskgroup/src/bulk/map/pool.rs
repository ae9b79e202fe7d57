//! The pool: where the workers of a map get their items from, and who of them is to be awake.
//!
//! It knows nothing of futures, tasks or groups. A worker looks here for its next item; the source of items is lent
//! to one worker at a time, which asks it for items while no lock is held.
//!
//! # The life of a worker
//!
//! ```text
//!             look: an item, or the source            wait: its item is not ready at once
//!   awake ◀──────────────────────────────▶ awake ───────────────────────────────▶ at its item
//!    ▲ │                                      ▲                                        │
//!    │ └─ look: nothing to be had ──▶ idle    └──────────── look: the item has ended ──┘
//!    │                                 │
//!    └──────────── summoned ───────────┘      awake ── look: there will be nothing ──▶ ended
//! ```
//!
//! One that was lent the source and found it pending waits *at the source*, and takes it up again when woken.
//!
//! # Invariants
//!
//! 1. Items that were pulled and are not finished are at most `limit`: who is lent the source may pull as many as
//!    there is room for, only he pulls, and room only grows meanwhile.
//! 2. An item that was pulled and not started lies in a slot or among the returned: any worker that looks finds it.
//!    A worker that waits, idles or ends has no slot. A slot is filled under the lock of the books, and emptied by anybody.
//! 3. Where an item can be had (one not started, or the source is here and there is room), at least as many workers
//!    are awake as there are threads, or nobody is idle and there are as many workers as the limit allows. So whoever makes an item
//!    available, or ceases to be awake, looks whom to summon, under the same lock; and an item that blocks its thread
//!    holds up nobody. A worker that is summoned counts as awake from then on.
//! 4. Lock order: the books, then one slot.
//! 5. No item, source or waker is dropped or called under a lock.

use std::collections::VecDeque;
use std::task::Waker;

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// `H` holds the source, `I` is an item.
pub(super) struct Pool<H, I> {
    limit: u64,
    threads: usize,
    books: Mutex<Books<H, I>>,
    slots: Box<[Slot<I>]>,
    /// Finished without a worker: results that their consumer has taken.
    released: AtomicU64,
}

struct Books<H, I> {
    source: Source<H>,
    pulled: u64,
    /// Finished by workers without a slot.
    finished: u64,
    /// What workers had before them when their item was not ready at once.
    returned: VecDeque<Run<I>>,
    slots_free: Vec<usize>,
    workers: usize,
    awake: usize,
    idle: Vec<usize>,
    /// The wakers of those, by worker.
    wakers: Vec<Option<Waker>>,
}

enum Source<H> {
    Here(H),
    /// Lent to a worker.
    Lent,
    /// It is pending; the worker that asked it last will be woken.
    Pending(H),
    /// It has given its last item.
    Ended,
}

/// Items that follow one another, not started.
struct Run<I> {
    first: u64,
    items: VecDeque<I>,
}

/// What one worker has before it. Far enough from the next one that two threads do not meet in a cache line.
#[repr(align(128))]
struct Slot<I> {
    run: Mutex<Run<I>>,
    /// How many items its owners have finished. Written by the owner alone.
    finished: AtomicU64,
}

/// A worker's own part of the books.
pub(super) struct Seat<I> {
    id: usize,
    standing: Standing,
    slot: Option<usize>,
    /// Items finished without a slot that the books do not know of.
    unreported: u64,
    /// Items on their way from the source into the slot.
    pub(super) pulled: VecDeque<I>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Awake,
    AtItem,
    AtSource,
    Idle,
}

impl<I> Seat<I> {
    pub(super) fn new(id: usize) -> Self {
        Self { id, standing: Standing::Awake, slot: None, unreported: 0, pulled: VecDeque::new() }
    }

    pub(super) fn waits_at_item(&self) -> bool {
        self.standing == Standing::AtItem
    }
}

/// What a look came to.
#[must_use]
pub(super) enum Look<H, I> {
    /// Start this one.
    Item(u64, I),
    /// Ask the source for items, at most so many, and put it back.
    Pull(H, usize),
    /// Wait to be woken.
    Wait,
    /// There will be no more items.
    End,
}

/// How far a worker came with the source.
pub(super) enum Pulled<H> {
    More(H),
    Pending(H),
    Ended,
}

/// Who is to come and look, after every lock has been released.
#[must_use]
pub(super) enum Summons {
    Nobody,
    Wake(Waker),
    WakeAll(Vec<Waker>),
    /// A new worker, with this seat.
    Spawn(usize),
}

impl<H, I> Pool<H, I> {
    /// A pool with `workers` workers, seats 0 on, all of them awake.
    pub(super) fn new(source: H, limit: usize, threads: usize, workers: usize) -> Self {
        let slot = || Slot {
            run: Mutex::new(Run { first: 0, items: VecDeque::new() }),
            finished: AtomicU64::new(0),
        };
        let books = Books {
            source: Source::Here(source),
            pulled: 0,
            finished: 0,
            returned: VecDeque::new(),
            slots_free: (0..threads).collect(),
            workers,
            awake: workers,
            idle: Vec::new(),
            wakers: Vec::new(),
        };
        Self {
            limit: limit as u64,
            threads,
            books: Mutex::new(books),
            slots: (0..threads).map(|_| slot()).collect(),
            released: AtomicU64::new(0),
        }
    }

    /// How many items may be pulled at a time, so that every thread finds some.
    pub(super) fn run_max(&self) -> usize {
        const RUN_MAX: u64 = 64;
        (self.limit / (2 * self.threads as u64)).clamp(1, RUN_MAX) as usize
    }

    /// The next item of what this worker has before it.
    #[inline]
    pub(super) fn take_own(&self, seat: &Seat<I>) -> Option<(u64, I)> {
        lock(&self.slots[seat.slot?].run).take_first()
    }

    /// The worker has finished an item, and its future has been dropped.
    #[inline]
    pub(super) fn finish(&self, seat: &mut Seat<I>) {
        match seat.slot {
            Some(slot) => {
                let finished = &self.slots[slot].finished;
                // Release, to the Acquire in `room`: who pulls the item that takes this one's place happens after
                // its end. Else an item could be seen to start while one more than the limit is still running.
                finished.store(finished.load(Ordering::Relaxed) + 1, Ordering::Release);
            }
            None => seat.unreported += 1,
        }
    }

    /// A finished item's result has been taken, and makes room.
    pub(super) fn release(&self) -> Summons {
        // Release: as in `finish`.
        self.released.fetch_add(1, Ordering::Release);
        self.summon(&mut lock(&self.books))
    }

    /// What this worker is to do next. It has no item; with a slot, that is empty. `run` is how many items it would
    /// have before it.
    pub(super) fn look(&self, seat: &mut Seat<I>, waker: &Waker, run: usize) -> (Look<H, I>, Summons) {
        let mut books = lock(&self.books);
        books.finished += std::mem::take(&mut seat.unreported);
        match seat.standing {
            Standing::Awake => {}
            Standing::AtItem => books.awake += 1,
            Standing::AtSource => {
                books.awake += 1;
                seat.standing = Standing::Awake;
                let Source::Pending(source) = std::mem::replace(&mut books.source, Source::Lent) else {
                    unreachable!("nobody else takes a source that is waited for")
                };
                return (Look::Pull(source, 1), Summons::Nobody);
            }
            Standing::Idle => {
                if let Some(own) = &mut books.wakers[seat.id] {
                    // Not summoned, only polled.
                    let former = std::mem::replace(own, waker.clone());
                    drop(books);
                    drop(former);
                    return (Look::Wait, Summons::Nobody);
                }
            }
        }
        seat.standing = Standing::Awake;
        self.find(&mut books, seat, waker, run)
    }

    /// Puts the source back, with what it gave in `seat.pulled`, and looks again.
    pub(super) fn put_back(
        &self,
        seat: &mut Seat<I>,
        waker: &Waker,
        source: Pulled<H>,
        run: usize,
    ) -> (Look<H, I>, Summons) {
        let mut books = lock(&self.books);
        let first = books.pulled;
        books.pulled += seat.pulled.len() as u64;
        let item = seat.pulled.pop_front();
        let mut ended = false;
        books.source = match source {
            Pulled::Pending(source) if item.is_none() => {
                books.source = Source::Pending(source);
                seat.standing = Standing::AtSource;
                return (Look::Wait, self.leave(&mut books, seat));
            }
            Pulled::More(source) | Pulled::Pending(source) => Source::Here(source),
            Pulled::Ended => {
                ended = true;
                Source::Ended
            }
        };
        if !seat.pulled.is_empty() {
            let slot = seat.slot.expect("more than one are pulled with a slot only");
            let mut run = lock(&self.slots[slot].run);
            run.first = first + 1;
            std::mem::swap(&mut run.items, &mut seat.pulled);
        }
        let (look, summons) = match item {
            Some(item) => (Look::Item(first, item), self.summon(&mut books)),
            None => self.find(&mut books, seat, waker, run),
        };
        // Whoever idles for want of items is to see that there will be none.
        (look, if ended { books.summon_all(summons) } else { summons })
    }

    /// The worker's item is not ready at once: others take what it has before it.
    pub(super) fn wait(&self, seat: &mut Seat<I>) -> Summons {
        let mut books = lock(&self.books);
        books.finished += std::mem::take(&mut seat.unreported);
        seat.standing = Standing::AtItem;
        self.leave(&mut books, seat)
    }

    /// How many items were pulled, if there will be no more; and whoever asks finds nobody pulling.
    pub(super) fn pulled_in_all(&self) -> Option<u64> {
        let books = lock(&self.books);
        matches!(books.source, Source::Ended).then_some(books.pulled)
    }

    fn find(
        &self,
        books: &mut Books<H, I>,
        seat: &mut Seat<I>,
        waker: &Waker,
        run: usize,
    ) -> (Look<H, I>, Summons) {
        if let Some((index, item)) = self.find_item(books, seat) {
            return (Look::Item(index, item), self.summon(books));
        }
        let room = self.room(books);
        if room > 0 && matches!(books.source, Source::Here(_)) {
            let Source::Here(source) = std::mem::replace(&mut books.source, Source::Lent) else {
                unreachable!("seen above")
            };
            let several = run > 1 && room > 1 && books.has_slot(seat);
            let pulls = if several { run.min(usize::try_from(room).unwrap_or(run)) } else { 1 };
            return (Look::Pull(source, pulls), Summons::Nobody);
        }
        if let Some((index, item)) = self.steal(books, seat) {
            return (Look::Item(index, item), self.summon(books));
        }
        if matches!(books.source, Source::Ended) {
            return (Look::End, self.leave(books, seat));
        }
        seat.standing = Standing::Idle;
        if books.wakers.len() <= seat.id {
            books.wakers.resize(seat.id + 1, None);
        }
        books.wakers[seat.id] = Some(waker.clone());
        books.idle.push(seat.id);
        (Look::Wait, self.leave(books, seat))
    }

    /// An item that another worker gave back, and those behind it into the slot.
    fn find_item(&self, books: &mut Books<H, I>, seat: &mut Seat<I>) -> Option<(u64, I)> {
        let mut run = books.returned.pop_front()?;
        let found = run.take_first();
        if !run.items.is_empty() {
            if books.has_slot(seat) {
                self.fill(seat, run);
            } else {
                books.returned.push_front(run);
            }
        }
        found
    }

    /// Half of what another worker has before it.
    fn steal(&self, books: &mut Books<H, I>, seat: &mut Seat<I>) -> Option<(u64, I)> {
        for slot in &self.slots {
            let mut run = lock(&slot.run);
            if run.items.len() > 1 && books.has_slot(seat) {
                let mut stolen = run.split_half();
                drop(run);
                let found = stolen.take_first();
                self.fill(seat, stolen);
                return found;
            }
            let found = run.take_first();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn fill(&self, seat: &Seat<I>, run: Run<I>) {
        let slot = seat.slot.expect("asked for before");
        *lock(&self.slots[slot].run) = run;
    }

    /// The worker is not awake any more.
    fn leave(&self, books: &mut Books<H, I>, seat: &mut Seat<I>) -> Summons {
        books.awake -= 1;
        if let Some(slot) = seat.slot.take() {
            books.slots_free.push(slot);
            let mut run = lock(&self.slots[slot].run);
            if !run.items.is_empty() {
                let items = std::mem::take(&mut run.items);
                books.returned.push_back(Run { first: run.first, items });
            }
        }
        self.summon(books)
    }

    fn room(&self, books: &Books<H, I>) -> u64 {
        // Acquire: see `finish`.
        let by_owners = self.slots.iter().map(|slot| slot.finished.load(Ordering::Acquire));
        let finished = by_owners.sum::<u64>() + self.released.load(Ordering::Acquire) + books.finished;
        self.limit - (books.pulled - finished)
    }

    fn has_work(&self, books: &Books<H, I>) -> bool {
        !books.returned.is_empty()
            || (matches!(books.source, Source::Here(_)) && self.room(books) > 0)
            || self.slots.iter().any(|slot| !lock(&slot.run).items.is_empty())
    }

    /// Keeps invariant 3.
    fn summon(&self, books: &mut Books<H, I>) -> Summons {
        let spawns = (books.workers as u64) < self.limit;
        if books.awake >= self.threads || (books.idle.is_empty() && !spawns) || !self.has_work(books) {
            return Summons::Nobody;
        }
        books.awake += 1;
        match books.idle.pop() {
            Some(id) => Summons::Wake(books.wakers[id].take().expect("idle")),
            None => {
                books.workers += 1;
                Summons::Spawn(books.workers - 1)
            }
        }
    }
}

impl<H, I> Books<H, I> {
    /// Whether the worker has a slot, if need be one that is free.
    fn has_slot(&mut self, seat: &mut Seat<I>) -> bool {
        if seat.slot.is_none() {
            seat.slot = self.slots_free.pop();
        }
        seat.slot.is_some()
    }

    /// All that idle, beside those summoned.
    fn summon_all(&mut self, summons: Summons) -> Summons {
        let mut wakers: Vec<Waker> = match summons {
            Summons::Nobody => Vec::new(),
            Summons::Wake(waker) => vec![waker],
            other => return other,
        };
        self.awake += self.idle.len();
        for id in self.idle.drain(..) {
            wakers.extend(self.wakers[id].take());
        }
        Summons::WakeAll(wakers)
    }
}

impl<I> Run<I> {
    fn take_first(&mut self) -> Option<(u64, I)> {
        let item = self.items.pop_front()?;
        self.first += 1;
        Some((self.first - 1, item))
    }

    /// The later half, the larger one.
    fn split_half(&mut self) -> Self {
        let kept = self.items.len() / 2;
        Self { first: self.first + kept as u64, items: self.items.split_off(kept) }
    }
}
