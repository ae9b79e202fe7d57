//! Run many items, at most [`LIMIT`] of them at once, and keep every answer in its item's place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use taskgroup::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::LIMIT;
use super::spawn_join::repeated;
use super::spin::Spin;
use crate::measure::{Figures, Plan, Repeat, compare};

/// How many nanoseconds an item computes.
pub(super) const SHORT: u64 = 100;
pub(super) const LONG: u64 = 10_000;

async fn item(spin: Spin, number: usize) -> Result<usize, Error> {
    Ok(spin.spin(number))
}

pub(super) fn joinset_semaphore<const NANOSECONDS: u64>(plan: &Plan, threads: usize, n: usize) -> Figures {
    let spin = Spin::of(Duration::from_nanos(NANOSECONDS));
    against(plan, threads, n, spin, move || by_joinset_semaphore(n, spin))
}

pub(super) fn buffer_unordered<const NANOSECONDS: u64>(plan: &Plan, threads: usize, n: usize) -> Figures {
    let spin = Spin::of(Duration::from_nanos(NANOSECONDS));
    against(plan, threads, n, spin, move || by_buffer_unordered(n, spin))
}

pub(super) fn for_each_concurrent<const NANOSECONDS: u64>(plan: &Plan, threads: usize, n: usize) -> Figures {
    let spin = Spin::of(Duration::from_nanos(NANOSECONDS));
    against(plan, threads, n, spin, move || by_for_each_concurrent(n, spin))
}

fn against<P, F>(plan: &Plan, threads: usize, n: usize, spin: Spin, peer: P) -> Figures
where
    P: Fn() -> F + Copy + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let ours = move |repetitions| repeated(repetitions, move || by_map(n, spin));
    let peer = move |repetitions| repeated(repetitions, peer);
    compare(plan, threads, Repeat::Fill, ours, peer)
}

async fn by_map(n: usize, spin: Spin) {
    let answers = taskgroup::map(0..n, LIMIT, move |number| item(spin, number)).await;
    assert_eq!(answers.expect("no item fails").len(), n);
}

async fn by_joinset_semaphore(n: usize, spin: Spin) {
    let semaphore = Arc::new(Semaphore::new(LIMIT));
    let mut set = JoinSet::new();
    for number in 0..n {
        let permit = semaphore.clone().acquire_owned().await.expect("nobody closes it");
        set.spawn(async move {
            let answer = item(spin, number).await;
            drop(permit);
            (number, answer)
        });
    }
    let mut answers = vec![0; n];
    while let Some(ended) = set.join_next().await {
        let (number, answer) = ended.expect("no item panics");
        answers[number] = answer.expect("no item fails");
    }
}

async fn by_buffer_unordered(n: usize, spin: Spin) {
    let items = stream::iter(0..n).map(|number| async move { (number, item(spin, number).await) });
    let mut answers = vec![0; n];
    let mut ended = items.buffer_unordered(LIMIT);
    while let Some((number, answer)) = ended.next().await {
        answers[number] = answer.expect("no item fails");
    }
}

async fn by_for_each_concurrent(n: usize, spin: Spin) {
    let answers: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
    let answers = &answers;
    let each = |number: usize| async move {
        let answer = item(spin, number).await.expect("no item fails");
        answers[number].store(answer, Ordering::Relaxed);
    };
    stream::iter(0..n).for_each_concurrent(LIMIT, each).await;
}
