//! A timeout that does not fire, around a future that waits once.

use std::time::{Duration, Instant};

use taskgroup::TaskGroup;
use tokio::task::yield_now;

use crate::measure::{Figures, Plan, Repeat, compare, nanoseconds_since};

const LONG: Duration = Duration::from_secs(3600);

pub(super) fn tokio_timeout(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |repetitions| async move {
        // In a child of a group, as it will be used: the scope takes its place in the tree.
        let group: TaskGroup = TaskGroup::new();
        let child = group.spawn(async move {
            let begin = Instant::now();
            for _ in 0..repetitions * n {
                taskgroup::timeout(LONG, yield_now()).await?;
            }
            Ok(nanoseconds_since(begin))
        });
        group.join().await.expect("no timeout fires");
        child.into_result().expect("it has ended")
    };
    let peer = move |repetitions| async move {
        let child = tokio::spawn(async move {
            let begin = Instant::now();
            for _ in 0..repetitions * n {
                tokio::time::timeout(LONG, yield_now()).await.expect("no timeout fires");
            }
            nanoseconds_since(begin)
        });
        child.await.expect("it does not panic")
    };
    compare(plan, threads, Repeat::Fill, ours, peer)
}
