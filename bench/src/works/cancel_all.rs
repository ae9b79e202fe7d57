//! Cancel many sleeping children and wait until all have ended.

use std::time::Instant;

use taskgroup::TaskGroup;
use tokio::task::JoinSet;

use super::sleepers::Sleepers;
use crate::measure::{Figures, Plan, Repeat, compare, nanoseconds_since};

pub(super) fn joinset(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |repetitions| async move {
        let mut sum = 0.0;
        for _ in 0..repetitions {
            sum += by_group(n).await;
        }
        sum
    };
    let peer = move |repetitions| async move {
        let mut sum = 0.0;
        for _ in 0..repetitions {
            sum += by_joinset(n).await;
        }
        sum
    };
    compare(plan, threads, Repeat::Fill, ours, peer)
}

async fn by_group(n: usize) -> f64 {
    let sleepers = Sleepers::default();
    let group = TaskGroup::new();
    for _ in 0..n {
        group.spawn(sleepers.clone().sleep());
    }
    sleepers.all_asleep(n).await;
    let begin = Instant::now();
    group.cancel();
    group.join().await.expect("a group's own cancel is an orderly end");
    nanoseconds_since(begin)
}

async fn by_joinset(n: usize) -> f64 {
    let sleepers = Sleepers::default();
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(sleepers.clone().sleep());
    }
    sleepers.all_asleep(n).await;
    let begin = Instant::now();
    set.abort_all();
    while set.join_next().await.is_some() {}
    nanoseconds_since(begin)
}
