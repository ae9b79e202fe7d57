//! Running both sides of a comparison in turn.
//!
//! Both sides get the same runtime, the same child futures and the same number of repetitions. Both are
//! driven from a task on a worker thread, as a server would, not from `block_on`, whose thread is not one
//! of the workers. Each round runs one after the other, and the next round the other way round, so that
//! neither always finds the caches or the clock of the processor as the other left them. Before a side's
//! turn the runtime has got rid of every task of the turn before.
//!
//! A round is long enough (about 10 ms) for the clock; the ratio is taken within a round and the median
//! over the rounds, so that a disturbance of the machine spoils a round, not the result. Whole processes are
//! compared in the same way, one run a round.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::LocalSet;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    rounds: usize,
    round_time: Duration,
    /// A process takes longer than a round, and starts afresh each time: fewer of them do.
    process_rounds: usize,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rounds: 15, round_time: Duration::from_millis(10), process_rounds: 7 };
    pub(crate) const QUICK: Self =
        Self { rounds: 3, round_time: Duration::from_millis(1), process_rounds: 1 };

    /// At most so many rounds for processes.
    pub(crate) fn with_process_rounds(self, most: usize) -> Self {
        Self { process_rounds: self.process_rounds.min(most), ..self }
    }
}

/// How often the work is repeated in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repeat {
    /// The works that count instead of taking time.
    Once,
    /// Until the quicker side takes as long as a round should.
    Fill,
}

/// The medians of the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) ours: f64,
    pub(crate) peer: f64,
    pub(crate) ratio: f64,
}

/// Runs both sides in turn. A side is given a number of repetitions, and answers with the figure of all of
/// them together: nanoseconds, if `repeat` is `Fill`.
pub(crate) fn compare<A, FA, B, FB>(plan: &Plan, threads: usize, repeat: Repeat, ours: A, peer: B) -> Figures
where
    A: Fn(usize) -> FA,
    FA: Future<Output = f64> + Send + 'static,
    B: Fn(usize) -> FB,
    FB: Future<Output = f64> + Send + 'static,
{
    let runtime = runtime(threads);
    repeated(plan, repeat, |n| turn(&runtime, ours(n)), |n| turn(&runtime, peer(n)))
}

/// As [`compare`], for sides that stay on one thread: each is driven from a task of a `LocalSet`. The workers
/// have nothing to do; what they cost shows.
pub(crate) fn compare_local<A, FA, B, FB>(plan: &Plan, threads: usize, ours: A, peer: B) -> Figures
where
    A: Fn(usize) -> FA,
    FA: Future<Output = f64> + 'static,
    B: Fn(usize) -> FB,
    FB: Future<Output = f64> + 'static,
{
    let runtime = runtime(threads);
    let repeat = Repeat::Fill;
    repeated(plan, repeat, |n| local_turn(&runtime, ours(n)), |n| local_turn(&runtime, peer(n)))
}

fn runtime(threads: usize) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_time().build();
    runtime.expect("the operating system gives us threads")
}

fn repeated(
    plan: &Plan,
    repeat: Repeat,
    ours: impl Fn(usize) -> f64,
    peer: impl Fn(usize) -> f64,
) -> Figures {
    let repetitions = match repeat {
        Repeat::Once => {
            // The warm-up.
            ours(1);
            peer(1);
            1
        }
        Repeat::Fill => enough(plan, |n| ours(n).min(peer(n))),
    };
    let each = |figure: f64| figure / repetitions as f64;
    in_turn(plan.rounds, || each(ours(repetitions)), || each(peer(repetitions)))
}

/// As [`compare`], for whole processes: each side gives the nanoseconds of one run.
pub(crate) fn compare_processes(
    plan: &Plan,
    mut ours: impl FnMut() -> f64,
    mut peer: impl FnMut() -> f64,
) -> Figures {
    if plan.process_rounds > 1 {
        // Both programs are read from the disk once before they are measured.
        ours();
        peer();
    }
    in_turn(plan.process_rounds, ours, peer)
}

/// How many repetitions fill a round, if so many take as long as `quicker` says. Also the warm-up.
fn enough(plan: &Plan, mut quicker: impl FnMut(usize) -> f64) -> usize {
    let mut repetitions = 1;
    while quicker(repetitions) < nanoseconds(plan.round_time) {
        repetitions *= 2;
    }
    repetitions
}

/// The rounds, each the other way round than the one before.
fn in_turn(rounds: usize, mut ours: impl FnMut() -> f64, mut peer: impl FnMut() -> f64) -> Figures {
    let rounds: Vec<(f64, f64)> = (0..rounds)
        .map(|round| {
            if round % 2 == 0 {
                let ours = ours();
                (ours, peer())
            } else {
                let peer = peer();
                (ours(), peer)
            }
        })
        .collect();
    Figures {
        ours: median(rounds.iter().map(|round| round.0)),
        peer: median(rounds.iter().map(|round| round.1)),
        ratio: median(rounds.iter().map(|round| round.0 / round.1)),
    }
}

/// One side's part of a round, driven from a worker.
fn turn(runtime: &Runtime, side: impl Future<Output = f64> + Send + 'static) -> f64 {
    let driver = runtime.spawn(async {
        let figure = side.await;
        let metrics = Handle::current().metrics();
        while metrics.num_alive_tasks() > 1 {
            tokio::task::yield_now().await;
        }
        figure
    });
    runtime.block_on(driver).expect("no side panics")
}

fn local_turn(runtime: &Runtime, side: impl Future<Output = f64> + 'static) -> f64 {
    let local = LocalSet::new();
    let driver = local.spawn_local(side);
    local.block_on(runtime, driver).expect("no side panics")
}

pub(crate) fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

pub(crate) fn nanoseconds_since(begin: Instant) -> f64 {
    nanoseconds(begin.elapsed())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }

    #[test]
    fn both_sides_run_the_same_number_of_repetitions() {
        let side = |cost: f64| move |repetitions: usize| async move { repetitions as f64 * cost };
        let figures = compare(&Plan::QUICK, 1, Repeat::Fill, side(10.0), side(40.0));
        assert_eq!((figures.ours, figures.peer, figures.ratio), (10.0, 40.0, 0.25));
    }
}
