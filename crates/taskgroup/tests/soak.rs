//! A seeded mix of spawning, nesting, failing, panicking, cancelling and dropping, of timeouts that fire and are
//! moved, shields, cleanup and grace periods; drop counters are checked at every exit (R1), after every drop
//! (R2), and after every scope that was cut (R19).
//!
//! On one thread the clock is paused; on several, which tokio cannot pause, the times are of a few milliseconds.
//!
//! `TASKGROUP_SOAK_SEEDS=5000 cargo test --release -p taskgroup --test soak` runs more seeds,
//! `TASKGROUP_SOAK_FIRST=1234` begins at another one. A failure names its seed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use std::time::Duration;

use taskgroup::{
    CancelScope, CancelToken, ErrorGroup, OnFailure, OnPanic, Spawner, Task, TaskGroup, checkpoint,
    finally_for, shield, shield_for, timeout,
};
use tokio::task::yield_now;
use tokio::time::Instant;

/// SplitMix64: small, seeded, the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn fork(&mut self) -> Rng {
        Rng(self.next())
    }
}

/// The futures and closures alive under one group, and under each group around it.
#[derive(Clone)]
struct Counts {
    futures: Arc<AtomicUsize>,
    closures: Arc<AtomicUsize>,
    outer: Option<Arc<Counts>>,
}

struct Alive {
    counts: Counts,
    closure: bool,
}

impl Counts {
    fn root() -> Self {
        Self { futures: Arc::default(), closures: Arc::default(), outer: None }
    }

    fn inside(&self) -> Self {
        Self { outer: Some(Arc::new(self.clone())), ..Self::root() }
    }

    fn guard(&self, closure: bool) -> Alive {
        self.add(closure);
        Alive { counts: self.clone(), closure }
    }

    fn each(&self, mut visit: impl FnMut(&Counts)) {
        let mut next = Some(self);
        while let Some(counts) = next {
            visit(counts);
            next = counts.outer.as_deref();
        }
    }

    fn add(&self, closure: bool) {
        self.each(|counts| {
            counts.counter(closure).fetch_add(1, Ordering::SeqCst);
        });
    }

    fn counter(&self, closure: bool) -> &AtomicUsize {
        if closure { &self.closures } else { &self.futures }
    }

    #[track_caller]
    fn assert_no_future(&self, when: &str) {
        assert_eq!(self.futures.load(Ordering::SeqCst), 0, "futures alive {when}");
    }

    #[track_caller]
    fn assert_nothing(&self, when: &str) {
        self.assert_no_future(when);
        assert_eq!(self.closures.load(Ordering::SeqCst), 0, "closures alive {when}");
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let closure = self.closure;
        self.counts.each(|counts| {
            counts.counter(closure).fetch_sub(1, Ordering::SeqCst);
        });
    }
}

type Done = Result<u64, Trouble>;

#[derive(Debug)]
enum Trouble {
    Own,
    Nested(#[allow(dead_code, reason = "kept to be dropped with the tree")] ErrorGroup<Trouble>),
}

/// The payload of a wanted panic; any other payload is a failed assertion.
struct Wanted;

/// Listens to everything and says nothing.
struct Silence;

impl tracing::Subscriber for Silence {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// What a child does: a few steps, each drawn by lot.
fn child(
    mut rng: Rng,
    depth: u32,
    counts: Counts,
    siblings: Spawner<Trouble>,
) -> Pin<Box<dyn Future<Output = Done> + Send>> {
    let alive = counts.guard(false);
    Box::pin(async move {
        let _alive = alive;
        let mut handles: Vec<Task<u64>> = Vec::new();
        for _ in 0..rng.below(10) {
            match rng.below(19) {
                0..=4 => yield_now().await,
                16 | 17 if depth > 0 => timed(rng.fork(), depth - 1, &counts).await?,
                18 => shielded(&mut rng, &counts).await,
                5 | 6 if depth > 0 => {
                    handles.push(siblings.spawn(child(
                        rng.fork(),
                        depth - 1,
                        counts.clone(),
                        siblings.clone(),
                    )));
                }
                7 | 8 if depth > 0 => {
                    nested(rng.fork(), depth - 1, counts.clone()).await.map_err(Trouble::Nested)?;
                }
                9 if depth > 0 => dropped(rng.fork(), depth - 1, &counts).await,
                10 => handles.iter().for_each(Task::cancel),
                11 => {
                    if let Some(task) = handles.pop() {
                        let _ = task.await;
                    }
                }
                12 if rng.below(8) == 0 => siblings.cancel_because("drawn by lot"),
                13 if rng.below(4) == 0 => return Err(Trouble::Own),
                14 if rng.below(8) == 0 => std::panic::panic_any(Wanted),
                15 if rng.below(4) == 0 => std::future::pending().await,
                _ => {}
            }
        }
        Ok(rng.next())
    })
}

/// Up to two milliseconds.
fn instant_or_so(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.below(3) * 700)
}

/// Work in a scope that is cut by its deadline, its handle or what is around it: nothing of it is left then.
async fn timed(mut rng: Rng, depth: u32, outer: &Counts) -> Result<(), Trouble> {
    let counts = outer.inside();
    let limit = instant_or_so(&mut rng);
    let work = work(rng.fork(), depth, counts.clone());
    let ended = match rng.below(4) {
        0 => timeout(limit, work).await.map_err(drop),
        1 => {
            let scope = CancelScope::timeout(limit);
            let (handle, moved) = (scope.handle(), rng.below(5));
            let mover = tokio::spawn(async move {
                for turn in 0..moved {
                    yield_now().await;
                    // It may be too late, which is an answer too.
                    let _ = handle.reschedule(Instant::now() + Duration::from_micros(turn * 300));
                }
                if moved == 3 {
                    handle.cancel();
                }
            });
            let ended = scope.run(work).await.map_err(drop);
            mover.abort();
            ended
        }
        2 => shield_for(limit, work).await.map_err(drop),
        _ => {
            let cleaned = Arc::new(AtomicUsize::new(0));
            let clean = {
                let cleaned = Arc::clone(&cleaned);
                async move |_| {
                    yield_now().await;
                    cleaned.fetch_add(1, Ordering::SeqCst);
                }
            };
            // With time enough for its cleanup, whatever the machine does.
            let guarded = finally_for(Duration::from_secs(60), work, clean);
            let ended = timeout(limit, guarded).await;
            assert_eq!(cleaned.load(Ordering::SeqCst), 1, "cleanup runs once, on every way but a drop");
            ended.map_err(drop)
        }
    };
    counts.assert_nothing("after a scope that was waited for (R19)");
    ended.unwrap_or(Ok(0)).map(drop)
}

/// Work for a scope: it may take for ever.
async fn work(mut rng: Rng, depth: u32, counts: Counts) -> Done {
    let _alive = counts.guard(false);
    for _ in 0..rng.below(5) {
        match rng.below(8) {
            0 | 1 => checkpoint().await,
            2 => tokio::time::sleep(instant_or_so(&mut rng)).await,
            3 | 4 => drop(nested(rng.fork(), depth, counts.clone()).await),
            5 => shielded(&mut rng, &counts).await,
            6 => std::future::pending().await,
            _ => return Err(Trouble::Own),
        }
    }
    Ok(0)
}

async fn shielded(rng: &mut Rng, counts: &Counts) {
    let (alive, turns) = (counts.guard(false), rng.below(5));
    shield(async move {
        let _alive = alive;
        for _ in 0..turns {
            yield_now().await;
            assert!(!taskgroup::is_cancelled(), "nobody cancels a shield from outside (R14)");
        }
    })
    .await;
}

/// A cooperative child; one that does not listen needs a grace period.
async fn cooperative(token: CancelToken, mut rng: Rng, alive: Alive, listens: bool) -> Done {
    let _alive = alive;
    while !(listens && token.is_cancelled()) {
        match rng.below(8) {
            0 => return Ok(1),
            1 => return Err(Trouble::Own),
            2 if !listens => std::future::pending().await,
            _ => yield_now().await,
        }
    }
    Ok(0)
}

/// A group with children of every kind, run to its exit.
async fn nested(mut rng: Rng, depth: u32, outer: Counts) -> Result<u64, ErrorGroup<Trouble>> {
    let counts = outer.inside();
    let mut builder = TaskGroup::builder();
    let grace = (rng.below(3) == 0).then(|| instant_or_so(&mut rng));
    if let Some(grace) = grace {
        builder = builder.grace(grace);
    }
    if rng.below(4) == 0 {
        builder = builder.timeout(instant_or_so(&mut rng));
    }
    let group = builder
        .on_failure(if rng.below(3) == 0 { OnFailure::Continue } else { OnFailure::Cancel })
        .on_panic(if rng.below(2) == 0 { OnPanic::Collect } else { OnPanic::Resume })
        .max_failures(rng.below(4) as usize)
        .build();
    let body = body(&group, rng.fork(), depth, counts.clone());
    let ended = match rng.below(4) {
        0 => {
            drop(body);
            populate(&group, &mut rng, depth, &counts);
            if rng.below(2) == 0 {
                group.cancel();
            }
            hasten(&group, &mut rng);
            group.join().await.map(|()| 0)
        }
        _ => group.run(body).await,
    };
    counts.assert_nothing("at exit (R1)");
    ended
}

/// Pending children would keep an uncancelled group open: somebody ends it after a while.
fn hasten(group: &TaskGroup<Trouble>, rng: &mut Rng) {
    let (spawner, rounds) = (group.spawner(), rng.below(20));
    group.task().background().spawn(async move {
        for _ in 0..rounds {
            yield_now().await;
        }
        spawner.cancel();
        Ok(0)
    });
    let (spawner, rounds) = (group.spawner(), 20 + rng.below(20));
    group.spawn(async move {
        for _ in 0..rounds {
            yield_now().await;
        }
        spawner.cancel();
        Ok(0)
    });
}

fn populate(group: &TaskGroup<Trouble>, rng: &mut Rng, depth: u32, counts: &Counts) {
    for _ in 0..rng.below(6) {
        let future = child(rng.fork(), depth, counts.clone(), group.spawner());
        let task = group.task().name("soaked");
        match rng.below(8) {
            6 | 7 => {
                drop(future);
                let (alive, listens) = (counts.guard(false), rng.below(3) > 0);
                let rng = rng.fork();
                let task = if listens { task } else { task.grace(Duration::from_micros(700)) };
                drop(task.cooperative(move |token| cooperative(token, rng, alive, listens)));
            }
            0 => drop(task.background().spawn(future)),
            1 => drop(task.eager().spawn(future)),
            2 => {
                drop(future);
                let (alive, turns) = (counts.guard(true), rng.below(50));
                task.spawn_blocking(move |token| {
                    let _alive = alive;
                    let mut turn = 0;
                    while turn < turns && !token.is_cancelled() {
                        turn += 1;
                        std::thread::yield_now();
                    }
                    if turns % 5 == 0 { Err(Trouble::Own) } else { Ok(turn) }
                });
            }
            3 => drop(group.try_spawn(future)),
            _ => drop(task.spawn(future)),
        }
    }
}

async fn body(group: &TaskGroup<Trouble>, mut rng: Rng, depth: u32, counts: Counts) -> Done {
    let _alive = counts.guard(false);
    populate(group, &mut rng, depth, &counts);
    hasten(group, &mut rng);
    for _ in 0..rng.below(4) {
        match rng.below(10) {
            0..=3 => yield_now().await,
            4 => populate(group, &mut rng, depth, &counts),
            5 => group.wait_idle().await,
            6 => {
                let alive = counts.guard(false);
                let wait = rng.below(3);
                let started = group.start(|ready| async move {
                    let _alive = alive;
                    yield_now().await;
                    match wait {
                        0 => return Err(Trouble::Own),
                        1 => std::future::pending().await,
                        _ => ready.ready(()),
                    }
                    Ok(1)
                });
                if wait == 1 {
                    tokio::select! {
                        biased;
                        _ = started => {}
                        () = yield_now() => {}
                    }
                } else {
                    let _ = started.await;
                }
            }
            7 if rng.below(4) == 0 => group.cancel(),
            8 if rng.below(4) == 0 => return Err(Trouble::Own),
            9 if rng.below(6) == 0 => std::panic::panic_any(Wanted),
            _ => {}
        }
    }
    Ok(1)
}

/// A group whose future, or which itself, is dropped at some point: nothing of it may be alive after.
async fn dropped(mut rng: Rng, depth: u32, outer: &Counts) {
    let counts = outer.inside();
    let turns = rng.below(6);
    if rng.below(2) == 0 {
        let group = TaskGroup::new();
        populate(&group, &mut rng, depth, &counts);
        for _ in 0..turns {
            yield_now().await;
        }
        drop(group);
    } else {
        let whole = nested(rng.fork(), depth, counts.clone());
        let impatience = async {
            for _ in 0..turns {
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = impatience => {}
            _ = whole => {}
        }
    }
    counts.assert_no_future("after the drop (R2)");
}

fn soak(seed: u64) {
    let mut rng = Rng(seed);
    let runtime = match rng.below(3) {
        0 => tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build(),
        workers => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1 + workers as usize)
            .enable_time()
            .build(),
    };
    let runtime = runtime.expect("a runtime");
    let counts = Counts::root();
    let outcome = runtime.block_on({
        let counts = counts.clone();
        async move {
            tokio::spawn(async move {
                dropped(rng.fork(), 3, &counts).await;
                let _ = nested(rng.fork(), 4, counts).await;
            })
            .await
        }
    });
    if let Err(error) = outcome {
        let payload = error.into_panic();
        if !payload.is::<Wanted>() {
            std::panic::resume_unwind(payload);
        }
    }
    drop(runtime);
    counts.assert_nothing("when the runtime is gone");
}

fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
        Err(_) => default,
    }
}

#[test]
fn soak_from_seeds() {
    // Thousands of failures without an owner are wanted here: not on standard error.
    tracing::subscriber::set_global_default(Silence).expect("the only one");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Wanted>() {
            hook(info);
        }
    }));
    let first = from_environment("TASKGROUP_SOAK_FIRST", 0);
    for seed in first..first + from_environment("TASKGROUP_SOAK_SEEDS", 200) {
        let run = std::panic::catch_unwind(|| soak(seed));
        if run.is_err() {
            panic!(
                "soak failed with seed {seed}: repeat it with TASKGROUP_SOAK_FIRST={seed} TASKGROUP_SOAK_SEEDS=1"
            );
        }
    }
}
