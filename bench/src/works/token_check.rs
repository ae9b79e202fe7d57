//! Asking a token that has not been cancelled: what an inner loop does.

use std::hint::black_box;
use std::time::Instant;

use taskgroup::TaskGroup;
use tokio_util::sync::CancellationToken;

use crate::measure::{Figures, Plan, Repeat, compare, nanoseconds_since};

/// The token of a group, as its blocking closures and cooperative tasks have: one way longer than a token of its
/// own.
pub(super) fn tokio_util(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |repetitions| async move {
        let group: TaskGroup = TaskGroup::new();
        let token = group.token();
        let begin = Instant::now();
        for _ in 0..repetitions * n {
            assert!(!black_box(&token).is_cancelled());
        }
        nanoseconds_since(begin)
    };
    let peer = move |repetitions| async move {
        let token = CancellationToken::new();
        let begin = Instant::now();
        for _ in 0..repetitions * n {
            assert!(!black_box(&token).is_cancelled());
        }
        nanoseconds_since(begin)
    };
    compare(plan, threads, Repeat::Fill, ours, peer)
}
