//! Trees of shields, `finally`, timeouts, groups and combinators, made at random from a seed and cancelled at some
//! moment: every shield that began completes, every cleanup runs, and the join ends (R12, R14).
//!
//! `TASKGROUP_SOAK_SEEDS` and `TASKGROUP_SOAK_FIRST` are as in the soak test.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use taskgroup::{OnFailure, TaskGroup, finally, shield, shield_for, timeout};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::common::within_an_hour;
use crate::{Group, Outcome};

type Branch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many protected pieces of work began, and how many came to their end.
#[derive(Default)]
struct Books {
    began: AtomicUsize,
    ended: AtomicUsize,
}

struct Maker {
    state: u64,
    books: Arc<Books>,
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
            0..3 => {
                let turns = self.below(4);
                Box::pin(async move {
                    for _ in 0..turns {
                        yield_now().await;
                    }
                })
            }
            _ => Box::pin(sleep(self.time())),
        }
    }

    /// `ends`: it is inside of a shield or a cleanup, and comes to its end.
    fn branch(&mut self, depth: u32, ends: bool) -> Branch {
        let Some(depth) = depth.checked_sub(1) else { return self.leaf(ends) };
        match self.below(9) {
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
            7 => self.group(depth, ends),
            _ => {
                let (first, second) = (self.branch(depth, ends), self.branch(depth, ends));
                Box::pin(async {
                    first.await;
                    second.await;
                })
            }
        }
    }

    fn shielded(&mut self, depth: u32) -> Branch {
        let (inner, books) = (self.branch(depth, true), Arc::clone(&self.books));
        Box::pin(shield(async move {
            books.began.fetch_add(1, Ordering::SeqCst);
            inner.await;
            books.ended.fetch_add(1, Ordering::SeqCst);
        }))
    }

    fn cleaned_up(&mut self, depth: u32, ends: bool) -> Branch {
        let (work, cleanup) = (self.branch(depth, ends), self.branch(depth.min(1), true));
        let (began, ended) = (Arc::clone(&self.books), Arc::clone(&self.books));
        let work = async move {
            began.began.fetch_add(1, Ordering::SeqCst);
            work.await;
            Outcome::Ok(())
        };
        let cleanup = async move |_| {
            cleanup.await;
            ended.ended.fetch_add(1, Ordering::SeqCst);
        };
        Box::pin(async { drop(finally(work, cleanup).await) })
    }

    fn group(&mut self, depth: u32, ends: bool) -> Branch {
        let body = self.branch(depth, ends);
        let children: Vec<_> = (0..self.below(3)).map(|_| self.branch(depth, ends)).collect();
        let fails = self.below(4) == 0;
        Box::pin(async move {
            let group = Group::new();
            for child in children {
                group.spawn::<()>(async move {
                    child.await;
                    if fails { Err("no") } else { Ok(()) }
                });
            }
            let ended = group.run(async {
                body.await;
                Ok(())
            });
            drop(ended.await);
        })
    }
}

async fn cancel_random_trees(seed: u64) -> usize {
    let mut maker = Maker { state: seed, books: Arc::default() };
    let group: Group = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    for _ in 0..6 {
        let tree = maker.branch(5, false);
        group.spawn(async {
            tree.await;
            Ok(())
        });
    }
    sleep(maker.time()).await;
    group.cancel();
    within_an_hour(group.join()).await.unwrap();
    let began = maker.books.began.load(Ordering::SeqCst);
    assert_eq!(maker.books.ended.load(Ordering::SeqCst), began, "what began has come to its end");
    began
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_is_protected_in_random_trees_comes_to_its_end() {
    let first = from_environment("TASKGROUP_SOAK_FIRST", 0);
    let mut began = 0;
    for seed in first..first + from_environment("TASKGROUP_SOAK_SEEDS", 100) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let run = std::panic::AssertUnwindSafe(|| runtime.unwrap().block_on(cancel_random_trees(seed)));
        began += std::panic::catch_unwind(run).unwrap_or_else(|_| {
            panic!(
                "failed with seed {seed}: repeat it with TASKGROUP_SOAK_FIRST={seed} TASKGROUP_SOAK_SEEDS=1"
            )
        });
    }
    assert!(began > 0, "nothing was protected");
}
