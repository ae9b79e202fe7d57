//! Cancel a tree of groups from its root, and wait until all have ended. Whether that is linear shows in the
//! time for each node of two trees of different sizes.

use std::time::Instant;

use taskgroup::TaskGroup;

use super::sleepers::Sleepers;
use crate::measure::{Figures, Plan, Repeat, compare, nanoseconds_since};

/// Groups of the first and of the second level: each is a task that runs a group of its own.
const BRANCHES: usize = 10;

/// `n` sleepers in each of 10 × 10 groups, against a tenth of them.
pub(super) fn a_tenth(plan: &Plan, threads: usize, n: usize) -> Figures {
    // A tree takes long enough for the clock.
    compare(plan, threads, Repeat::Once, move |_| each_node(n), move |_| each_node(n / 10))
}

async fn each_node(leaves: usize) -> f64 {
    let sleepers = BRANCHES * BRANCHES * leaves;
    let nodes = sleepers + BRANCHES * BRANCHES + BRANCHES;
    cancel_tree(leaves, sleepers).await / nodes as f64
}

async fn cancel_tree(leaves: usize, sleepers: usize) -> f64 {
    let asleep = Sleepers::default();
    let root: TaskGroup = TaskGroup::new();
    for _ in 0..BRANCHES {
        let asleep = asleep.clone();
        root.spawn(async move {
            let branch: TaskGroup = TaskGroup::new();
            for _ in 0..BRANCHES {
                let asleep = asleep.clone();
                branch.spawn(async move {
                    let twig: TaskGroup = TaskGroup::new();
                    for _ in 0..leaves {
                        twig.spawn(asleep.clone().sleep());
                    }
                    twig.join().await.map_err(Into::into)
                });
            }
            branch.join().await.map_err(Into::into)
        });
    }
    asleep.all_asleep(sleepers).await;
    let begin = Instant::now();
    root.cancel();
    root.join().await.expect("a group's own cancel is an orderly end");
    nanoseconds_since(begin)
}
