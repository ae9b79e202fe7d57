//! A seeded mix of everything that takes places and gives them back. At the end of each round no place is taken,
//! nobody stands in a line, and no future is alive; meanwhile no limit is exceeded.

use std::future::Future;
use std::pin::pin;

use futures::poll;
use taskgroup::{Limiter, NodeKind, OnFailure, OnPanic, Spawner, Task, TaskGroup};
use tokio::task::yield_now;

use super::common::{Alive, multi_thread};
use super::{Group, Running};

/// SplitMix64.
#[derive(Clone)]
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

const MOST: u64 = 4;

/// What a child does, and what it is counted by.
#[derive(Clone)]
struct Child {
    rng: Rng,
    alive: Alive,
    own: Running,
    all: Option<Running>,
}

impl Child {
    fn future(
        mut self,
        siblings: Spawner<&'static str>,
    ) -> impl Future<Output = Result<(), &'static str>> + Send {
        let guard = self.alive.guard();
        async move {
            let _guard = guard;
            let _runs = (self.own.enter(), self.all.as_ref().map(Running::enter));
            for _ in 0..self.rng.below(4) {
                yield_now().await;
            }
            match self.rng.below(30) {
                0 => Err("drawn by lot"),
                1 => std::panic::resume_unwind(Box::new("drawn by lot")),
                2..=5 => {
                    let child = Child { rng: Rng(self.rng.0 ^ 1), ..self.clone() };
                    siblings.spawn(child.future_without_children());
                    Ok(())
                }
                6..=8 => {
                    drop(siblings.try_ready());
                    Ok(())
                }
                9 => std::future::pending().await,
                _ => Ok(()),
            }
        }
    }

    async fn future_without_children(self) -> Result<(), &'static str> {
        let _guard = self.alive.guard();
        let _runs = (self.own.enter(), self.all.as_ref().map(Running::enter));
        yield_now().await;
        Ok(())
    }
}

async fn body(group: &Group, mut rng: Rng, child: &Child, limiter: &Limiter) -> Result<(), &'static str> {
    let mut handles: Vec<Task<()>> = Vec::new();
    for _ in 0..rng.below(60) {
        let child = Child { rng: Rng(rng.below(u64::MAX)), ..child.clone() };
        let future = child.clone().future(group.spawner());
        match rng.below(16) {
            0..=5 => handles.push(group.spawn(future)),
            6 => handles.push(group.task().eager().background().spawn(future)),
            7 => {
                let (own, all) = (child.own, child.all);
                group.spawn_blocking(move |_token| {
                    let _runs = (own.enter(), all.as_ref().map(Running::enter));
                    Ok(())
                });
            }
            8 => group.set_limit(rng.below(MOST + 1) as usize),
            9 => limiter.set_limit(rng.below(MOST + 1) as usize),
            10 => handles.iter().rev().step_by(2).for_each(Task::cancel),
            11 => {
                // Given up, perhaps when room has been reserved.
                let mut ready = pin!(group.ready());
                let _ = poll!(ready.as_mut());
                yield_now().await;
            }
            12 => {
                let mut permit = pin!(limiter.acquire());
                if poll!(permit.as_mut()).is_pending() {
                    yield_now().await;
                    let _ = poll!(permit.as_mut());
                }
            }
            13 => {
                let mut spawned = pin!(group.spawn_when_ready(future));
                if let std::task::Poll::Ready(task) = poll!(spawned.as_mut()) {
                    handles.push(task);
                }
            }
            14 => yield_now().await,
            _ if rng.below(20) == 0 => group.cancel(),
            _ => {}
        }
    }
    // Those that stand for ever, and those that wait for them.
    limiter.set_limit(MOST as usize);
    group.set_limit(MOST as usize);
    if rng.below(2) == 0 {
        group.cancel();
    }
    Ok(())
}

async fn round(seed: u64) {
    let mut rng = Rng(seed);
    let (limiter, alive, all) = (Limiter::new(MOST as usize), Alive::new(), Running::default());
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let (own, shared) = (Running::default(), rng.below(3) > 0);
        let builder = TaskGroup::builder().limit(rng.below(MOST + 1) as usize).on_panic(OnPanic::Collect);
        let builder = if rng.below(2) == 0 { builder.on_failure(OnFailure::Continue) } else { builder };
        let group: Group = if shared { builder.limiter(&limiter).build() } else { builder.build() };
        let child = Child { rng: rng.clone(), alive: alive.clone(), own, all: shared.then(|| all.clone()) };
        let (own_rng, limiter, polls) = (Rng(rng.below(u64::MAX)), limiter.clone(), rng.below(200));
        rounds.push(tokio::spawn(async move {
            {
                let mut run = pin!(group.run(async {
                    body(&group, own_rng, &child, &limiter).await?;
                    // The group that is not cancelled has children that never end.
                    for _ in 0..50 {
                        yield_now().await;
                    }
                    group.cancel();
                    Ok(())
                }));
                // Some are dropped in the middle.
                for _ in 0..polls {
                    if poll!(run.as_mut()).is_ready() {
                        break;
                    }
                    yield_now().await;
                }
            }
            let spawner = group.spawner();
            drop(group);
            // Closures cannot be dropped: those that run are on their way to their end.
            let left = spawner.stragglers();
            assert!(left.iter().all(|left| left.kind() == NodeKind::Blocking), "{left:?}");
            assert_eq!(spawner.report().queued(), 0);
            assert!(child.own.most() <= MOST as usize);
        }));
    }
    for round in rounds {
        round.await.unwrap();
    }
    // Those closures have permits so long.
    while limiter.running() > 0 {
        yield_now().await;
    }
    assert_eq!((limiter.queued(), alive.now()), (0, 0), "seed {seed}");
    assert!(all.most() <= MOST as usize, "seed {seed}");
}

#[test]
fn on_several_threads() {
    let seeds = std::env::var("TASKGROUP_SOAK_SEEDS").map_or(300, |seeds| seeds.parse().unwrap());
    let runtime = multi_thread(2);
    for seed in 0..seeds {
        runtime.block_on(round(seed));
    }
}

#[tokio::test(start_paused = true)]
async fn on_one_thread() {
    for seed in 0..300 {
        round(seed).await;
    }
}
