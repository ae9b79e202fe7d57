//! How often a short child goes to the allocator. The group's own allocations are counted in.

use super::spawn_join::{by_group, by_joinset};
use crate::alloc::Count;
use crate::measure::{Figures, Plan, Repeat, compare};

pub(super) fn joinset(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |_| async move {
        let count = Count::begin();
        by_group(n).await;
        count.calls() as f64 / n as f64
    };
    let peer = move |_| async move {
        let count = Count::begin();
        by_joinset(n).await;
        count.calls() as f64 / n as f64
    };
    compare(plan, threads, Repeat::Once, ours, peer)
}
