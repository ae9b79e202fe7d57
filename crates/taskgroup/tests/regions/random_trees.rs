//! Trees of shields, `finally`, timeouts, groups and combinators, made at random from a seed and cancelled at some
//! moment: every shield that began completes, every cleanup runs, and the join ends (R12, R14).
//!
//! `TASKGROUP_SOAK_SEEDS` and `TASKGROUP_SOAK_FIRST` are as in the soak test.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{FutureExt, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use taskgroup::{OnFailure, TaskGroup, finally, shield, shield_for, timeout};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::common::within_an_hour;
use crate::{Group, Outcome};

type Branch = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Maker {
    state: u64,
    /// What is protected, has begun, and has not come to its end.
    open: Arc<AtomicUsize>,
}

impl Maker {
    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn time(&mut self) -> Duration {
        Duration::from_millis(self.below(3_000))
    }

    fn leaf(&mut self, ends: bool) -> Branch {
        match self.below(8) {
            0 | 1 if !ends => Box::pin(pending()),
            0..3 => Box::pin(yield_now()),
            _ => Box::pin(sleep(self.time())),
        }
    }

    /// `ends`: it is inside of a shield or a cleanup, and comes to its end.
    fn branch(&mut self, depth: u32, ends: bool) -> Branch {
        let Some(depth) = depth.checked_sub(1) else { return self.leaf(ends) };
        match self.below(8) {
            0 | 1 => self.shielded(depth),
            2 | 3 => self.cleaned_up(depth, ends),
            4 => {
                let (limit, inner) = (self.time(), self.branch(depth, false));
                match self.below(4) {
                    0 => Box::pin(async move { drop(shield_for(limit, inner).await) }),
                    _ => Box::pin(async move { drop(timeout(limit, inner).await) }),
                }
            }
            5 | 6 => {
                let branches: Vec<_> = (0..2 + self.below(2)).map(|_| self.branch(depth, ends)).collect();
                match self.below(2) {
                    0 => Box::pin(branches.into_iter().collect::<FuturesUnordered<_>>().collect()),
                    _ => Box::pin(async { drop(join_all(branches).await) }),
                }
            }
            _ => self.group(depth, ends),
        }
    }

    fn shielded(&mut self, depth: u32) -> Branch {
        let (inner, open) = (self.branch(depth, true), Arc::clone(&self.open));
        Box::pin(shield(async move {
            open.fetch_add(1, Ordering::SeqCst);
            inner.await;
            open.fetch_sub(1, Ordering::SeqCst);
        }))
    }

    fn cleaned_up(&mut self, depth: u32, ends: bool) -> Branch {
        let (work, cleanup) = (self.branch(depth, ends), self.branch(depth.min(1), true));
        let (begins, ends) = (Arc::clone(&self.open), Arc::clone(&self.open));
        let work = async move {
            begins.fetch_add(1, Ordering::SeqCst);
            work.await;
            Outcome::Ok(())
        };
        let cleanup = async move |_| {
            cleanup.await;
            ends.fetch_sub(1, Ordering::SeqCst);
        };
        Box::pin(finally(work, cleanup).map(|_| ()))
    }

    fn group(&mut self, depth: u32, ends: bool) -> Branch {
        let body = self.branch(depth, ends);
        let children: Vec<_> = (0..self.below(3)).map(|_| self.branch(depth, ends)).collect();
        let fails = self.below(4) == 0;
        Box::pin(async move {
            let group = Group::new();
            for child in children {
                group.spawn::<()>(child.map(move |()| if fails { Err("no") } else { Ok(()) }));
            }
            drop(group.run(body.map(Ok)).await);
        })
    }
}

async fn cancel_random_trees(seed: u64) {
    let mut maker = Maker { state: seed, open: Arc::default() };
    let group: Group = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    for _ in 0..6 {
        group.spawn(maker.branch(5, false).map(Ok));
    }
    sleep(maker.time()).await;
    group.cancel();
    within_an_hour(group.join()).await.unwrap();
    assert_eq!(maker.open.load(Ordering::SeqCst), 0, "torn shields and cleanups that did not run");
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_is_protected_in_random_trees_comes_to_its_end() {
    let first = from_environment("TASKGROUP_SOAK_FIRST", 0);
    for seed in first..first + from_environment("TASKGROUP_SOAK_SEEDS", 100) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let run = std::panic::AssertUnwindSafe(|| runtime.unwrap().block_on(cancel_random_trees(seed)));
        if std::panic::catch_unwind(run).is_err() {
            panic!(
                "failed with seed {seed}: repeat it with TASKGROUP_SOAK_FIRST={seed} TASKGROUP_SOAK_SEEDS=1"
            );
        }
    }
}
