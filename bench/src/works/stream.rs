//! Spawn `n` short children and take their answers as they complete.

use std::hint::black_box;

use taskgroup::{TaskGroup, as_completed};

use super::spawn_join::{by_joinset, child, repeated};
use crate::measure::{Figures, Plan, Repeat, compare};

pub(super) fn joinset(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |repetitions| repeated(repetitions, move || by_group(n));
    let peer = move |repetitions| repeated(repetitions, move || by_joinset(n));
    compare(plan, threads, Repeat::Fill, ours, peer)
}

async fn by_group(n: usize) {
    let group = TaskGroup::new();
    let mut completed = as_completed((0..n).map(|number| group.spawn(child(number))));
    while let Some(task) = completed.next().await {
        black_box(task.into_result().expect("no child fails"));
    }
    group.join().await.expect("no child fails");
}
