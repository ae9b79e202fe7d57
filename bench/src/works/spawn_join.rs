//! Spawn `n` short children and wait for all of them.

use std::hint::black_box;
use std::time::Instant;

use taskgroup::TaskGroup;
use tokio::task::JoinSet;

use crate::measure::{Figures, Plan, Repeat, compare, nanoseconds_since};

/// The child of this work and of [`allocs`](super::allocs): it has its answer at its first poll.
pub(super) async fn child(number: usize) -> Result<usize, taskgroup::Error> {
    Ok(black_box(number))
}

pub(super) fn joinset(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |repetitions| repeated(repetitions, move || by_group(n));
    let peer = move |repetitions| repeated(repetitions, move || by_joinset(n));
    compare(plan, threads, Repeat::Fill, ours, peer)
}

pub(super) fn handles(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |repetitions| repeated(repetitions, move || by_group(n));
    let peer = move |repetitions| repeated(repetitions, move || by_handles(n));
    compare(plan, threads, Repeat::Fill, ours, peer)
}

pub(super) async fn repeated<F: Future<Output = ()>>(repetitions: usize, work: impl Fn() -> F) -> f64 {
    let begin = Instant::now();
    for _ in 0..repetitions {
        work().await;
    }
    nanoseconds_since(begin)
}

pub(super) async fn by_group(n: usize) {
    let group = TaskGroup::new();
    for number in 0..n {
        group.spawn(child(number));
    }
    group.join().await.expect("no child fails");
}

pub(super) async fn by_joinset(n: usize) {
    let mut set = JoinSet::new();
    for number in 0..n {
        set.spawn(child(number));
    }
    while let Some(answer) = set.join_next().await {
        black_box(answer.expect("no child panics").expect("no child fails"));
    }
}

async fn by_handles(n: usize) {
    let handles: Vec<_> = (0..n).map(|number| tokio::spawn(child(number))).collect();
    for handle in handles {
        black_box(handle.await.expect("no child panics").expect("no child fails"));
    }
}
