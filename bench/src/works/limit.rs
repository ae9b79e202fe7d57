//! Spawn `n` children of which few run at once, and wait for all of them. Each waits once, so that some have
//! to wait for others.

use std::hint::black_box;
use std::sync::Arc;

use taskgroup::{Error, TaskGroup};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};

use super::LIMIT;
use super::spawn_join::repeated;
use crate::measure::{Figures, Plan, Repeat, compare};

pub(super) fn semaphore_in_task(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |repetitions| repeated(repetitions, move || by_group(n));
    let peer = move |repetitions| repeated(repetitions, move || by_semaphore_in_task(n));
    compare(plan, threads, Repeat::Fill, ours, peer)
}

async fn child(number: usize) -> Result<usize, Error> {
    yield_now().await;
    Ok(black_box(number))
}

async fn by_group(n: usize) {
    let group = TaskGroup::builder().limit(LIMIT).build();
    for number in 0..n {
        group.spawn(child(number));
    }
    group.join().await.expect("no child fails");
}

async fn by_semaphore_in_task(n: usize) {
    let semaphore = Arc::new(Semaphore::new(LIMIT));
    let mut set = JoinSet::new();
    for number in 0..n {
        let semaphore = semaphore.clone();
        set.spawn(async move {
            let _permit = semaphore.acquire().await.expect("nobody closes it");
            child(number).await
        });
    }
    while let Some(answer) = set.join_next().await {
        black_box(answer.expect("no child panics").expect("no child fails"));
    }
}
