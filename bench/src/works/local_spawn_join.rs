//! Poll `n` short children inside one task until all have ended: the children of [`spawn_join`](super::spawn_join).

use std::hint::black_box;
use std::pin::pin;

use futures_concurrency::future::FutureGroup;
use futures_util::StreamExt;
use taskgroup::{Error, LocalGroup};

use super::spawn_join::{child, repeated};
use crate::measure::{Figures, Plan, compare_local};

pub(super) fn futures_unordered(plan: &Plan, threads: usize, n: usize) -> Figures {
    against(plan, threads, n, move || by_futures_unordered(n))
}

pub(super) fn futures_buffered(plan: &Plan, threads: usize, n: usize) -> Figures {
    against(plan, threads, n, move || by_futures_buffered(n))
}

pub(super) fn future_group(plan: &Plan, threads: usize, n: usize) -> Figures {
    against(plan, threads, n, move || by_future_group(n))
}

pub(super) fn moro_local(plan: &Plan, threads: usize, n: usize) -> Figures {
    against(plan, threads, n, move || by_moro_local(n))
}

fn against<P, F>(plan: &Plan, threads: usize, n: usize, peer: P) -> Figures
where
    P: Fn() -> F + Copy + 'static,
    F: Future<Output = ()> + 'static,
{
    let ours = move |repetitions| repeated(repetitions, move || by_group(n));
    let peer = move |repetitions| repeated(repetitions, peer);
    compare_local(plan, threads, ours, peer)
}

async fn by_group(n: usize) {
    let group = LocalGroup::new();
    for number in 0..n {
        group.spawn(child(number));
    }
    group.join().await.expect("no child fails");
}

fn finished(answer: Result<usize, Error>) {
    black_box(answer.expect("no child fails"));
}

async fn by_futures_unordered(n: usize) {
    let mut set = futures_util::stream::FuturesUnordered::new();
    for number in 0..n {
        set.push(child(number));
    }
    while let Some(answer) = set.next().await {
        finished(answer);
    }
}

async fn by_futures_buffered(n: usize) {
    let mut set = futures_buffered::FuturesUnordered::new();
    for number in 0..n {
        set.push(child(number));
    }
    while let Some(answer) = set.next().await {
        finished(answer);
    }
}

async fn by_future_group(n: usize) {
    let mut group = pin!(FutureGroup::new());
    for number in 0..n {
        group.insert(child(number));
    }
    while let Some(answer) = group.next().await {
        finished(answer);
    }
}

async fn by_moro_local(n: usize) {
    let scope = moro_local::async_scope!(|scope| {
        for number in 0..n {
            scope.spawn(async move { finished(child(number).await) });
        }
    });
    scope.await;
}
