//! The pool, model-checked: workers that run items, wait, idle, steal and end, in every order of two threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::pool::{Look, Pool, Pulled, Seat, Summons};
use crate::sync::Arc;

/// What a test has seen over all interleavings, outside the model.
struct Seen<const N: usize>([AtomicBool; N]);

impl<const N: usize> Seen<N> {
    const fn new() -> Self {
        Self([const { AtomicBool::new(false) }; N])
    }

    fn saw(&self, which: usize) {
        self.0[which].store(true, Ordering::SeqCst);
    }

    fn assert_all(&self) {
        for (which, seen) in self.0.iter().enumerate() {
            assert!(seen.load(Ordering::SeqCst), "the model never reached outcome {which}");
        }
    }
}

/// A worker without a runtime: its thread sleeps until it is woken.
#[derive(Default)]
struct Alarm(Mutex<bool>, Condvar);

impl Alarm {
    fn wait(&self) {
        let mut rung = self.0.lock().unwrap();
        while !*rung {
            rung = self.1.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

type Items = Pool<std::ops::Range<u64>, u64>;

const ITEMS_MAX: usize = 4;

/// What the threads of a model share: the pool, how often each item was run, how many are in flight.
struct Model {
    pool: Items,
    limit: usize,
    /// How many items a worker takes at a time.
    run: usize,
    /// Each item waits once.
    waits: bool,
    /// An item has ended when its result has been taken from here.
    results: Option<Mutex<VecDeque<u64>>>,
    runs: [AtomicUsize; ITEMS_MAX],
    in_flight: AtomicUsize,
    idled: AtomicBool,
}

impl Model {
    fn new(items: u64, limit: usize, threads: usize, workers: usize) -> Self {
        Self {
            pool: Pool::new(0..items, limit, threads, workers),
            limit,
            run: 1,
            waits: false,
            results: None,
            runs: Default::default(),
            in_flight: AtomicUsize::new(0),
            idled: AtomicBool::new(false),
        }
    }

    fn assert_each_once(&self, items: usize) {
        let runs: Vec<usize> = self.runs.iter().map(|run| run.load(Ordering::SeqCst)).collect();
        assert!(runs.iter().enumerate().all(|(item, runs)| *runs == usize::from(item < items)), "{runs:?}");
        assert_eq!(self.in_flight.load(Ordering::SeqCst), 0);
    }

    fn ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Brings who is summoned; a new worker is a thread of the model.
fn bring(model: &Arc<Model>, summons: Summons, spawned: &mut Vec<thread::JoinHandle<()>>) {
    match summons {
        Summons::Nobody => {}
        Summons::Wake(waker) => waker.wake(),
        Summons::WakeAll(wakers) => wakers.into_iter().for_each(Waker::wake),
        Summons::Spawn(id) => {
            let model = Arc::clone(model);
            spawned.push(thread::spawn(move || work(&model, id)));
        }
    }
}

/// Runs items as a worker does, until there are no more.
fn work(model: &Arc<Model>, id: usize) {
    let (mut seat, alarm, mut spawned) = (Seat::new(id), Arc::new(Alarm::default()), Vec::new());
    let waker = Waker::from(Arc::clone(&alarm));
    while let Some(item) = next(model, &mut seat, &alarm, &waker, &mut spawned) {
        model.runs[item as usize].fetch_add(1, Ordering::SeqCst);
        if model.waits {
            bring(model, model.pool.wait(&mut seat), &mut spawned);
        }
        match &model.results {
            Some(results) => results.lock().unwrap().push_back(item),
            None => {
                model.ended();
                model.pool.finish(&mut seat);
            }
        }
    }
    spawned.into_iter().for_each(|thread| thread.join().unwrap());
}

fn next(
    model: &Arc<Model>,
    seat: &mut Seat<u64>,
    alarm: &Alarm,
    waker: &Waker,
    spawned: &mut Vec<thread::JoinHandle<()>>,
) -> Option<u64> {
    if let Some((index, item)) = model.pool.take_own(seat) {
        assert_eq!(index, item);
        return Some(item);
    }
    let (mut look, mut summons) = model.pool.look(seat, waker, model.run);
    loop {
        bring(model, summons, spawned);
        (look, summons) = match look {
            Look::Item(index, item) => {
                assert_eq!(index, item);
                return Some(item);
            }
            Look::End => return None,
            Look::Wait => {
                model.idled.store(true, Ordering::SeqCst);
                alarm.wait();
                model.pool.look(seat, waker, model.run)
            }
            Look::Pull(mut source, pulls) => {
                seat.pulled.extend(source.by_ref().take(pulls));
                let pulled = seat.pulled.len();
                let now = model.in_flight.fetch_add(pulled, Ordering::SeqCst) + pulled;
                assert!(now <= model.limit, "{now} in flight");
                let back = if pulled == pulls { Pulled::More(source) } else { Pulled::Ended };
                model.pool.put_back(seat, waker, back, model.run)
            }
        };
    }
}

/// Two workers and runs of two: one takes what the other has before it, or finds the source lent, and idles.
#[test]
fn loom_two_workers_run_each_item_once() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let model = Arc::new(Model { run: 2, ..Model::new(3, 4, 2, 2) });
        let other = Arc::clone(&model);
        let thread = thread::spawn(move || work(&other, 1));
        work(&model, 0);
        thread.join().unwrap();
        model.assert_each_once(3);
        SEEN.saw(usize::from(model.idled.load(Ordering::SeqCst)));
    });
    SEEN.assert_all();
}

/// Items that wait: the one worker is joined by another, and no more than the limit are in flight.
#[test]
fn loom_a_worker_that_waits_is_replaced() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let model = Arc::new(Model { waits: true, run: 2, ..Model::new(3, 2, 1, 1) });
        work(&model, 0);
        model.assert_each_once(3);
        SEEN.saw(usize::from(model.idled.load(Ordering::SeqCst)));
    });
    SEEN.assert_all();
}

/// A worker without room idles until a result has been taken; a wake-up that is lost would hang the model.
#[test]
fn loom_a_result_that_is_taken_makes_room() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let results = Some(Mutex::new(VecDeque::new()));
        let model = Arc::new(Model { results, ..Model::new(2, 1, 1, 1) });
        let other = Arc::clone(&model);
        let thread = thread::spawn(move || work(&other, 0));
        let (mut taken, mut spawned) = (0, Vec::new());
        while taken < 2 {
            let result = model.results.as_ref().unwrap().lock().unwrap().pop_front();
            match result {
                Some(_) => {
                    taken += 1;
                    model.ended();
                    bring(&model, model.pool.release(), &mut spawned);
                }
                None => thread::yield_now(),
            }
        }
        thread.join().unwrap();
        assert!(spawned.is_empty(), "one worker is all that the limit allows");
        model.assert_each_once(2);
        SEEN.saw(usize::from(model.idled.load(Ordering::SeqCst)));
    });
    SEEN.assert_all();
}
