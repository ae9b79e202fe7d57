//! How many bytes a sleeping child holds: its future, its handle's half, its place in the books.

use taskgroup::TaskGroup;
use tokio::task::JoinSet;

use super::sleepers::Sleepers;
use crate::alloc::Count;
use crate::measure::{Figures, Plan, Repeat, compare};

pub(super) fn joinset(plan: &Plan, threads: usize, n: usize) -> Figures {
    compare(plan, threads, Repeat::Once, move |_| by_group(n), move |_| by_joinset(n))
}

async fn by_group(n: usize) -> f64 {
    let sleepers = Sleepers::default();
    let count = Count::begin();
    let group = TaskGroup::new();
    for _ in 0..n {
        group.spawn(sleepers.clone().sleep());
    }
    sleepers.all_asleep(n).await;
    let each = count.bytes() as f64 / n as f64;
    drop(count);
    group.cancel();
    group.join().await.expect("a group's own cancel is an orderly end");
    each
}

async fn by_joinset(n: usize) -> f64 {
    let sleepers = Sleepers::default();
    let count = Count::begin();
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(sleepers.clone().sleep());
    }
    sleepers.all_asleep(n).await;
    let each = count.bytes() as f64 / n as f64;
    drop(count);
    set.abort_all();
    while set.join_next().await.is_some() {}
    each
}
