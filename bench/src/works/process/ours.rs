//! Our side of the small programs. `asyncio_works.py` is the other, function by function.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use taskgroup::{Error, TaskGroup};
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::Program;

/// Nobody sleeps so long.
const LONG: Duration = Duration::from_secs(3600);
/// The groups of the upper two levels hold so many each.
const BRANCHES: usize = 100;

pub(super) fn run(program: Program, n: usize, threads: usize) {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.expect("the operating system gives us threads");
    // On a worker, as a server would, and as the works in this process.
    let driver = runtime.spawn(async move {
        match program {
            Program::Empty => process_empty().await,
            Program::SpawnJoin => process_spawn_join(n).await,
            Program::FirstFailure => process_first_failure(n).await,
            Program::CancelAll => process_cancel_all(n).await,
            Program::Nested => process_nested(n).await,
            Program::Timeout => process_timeout(n).await,
        }
    });
    runtime.block_on(driver).expect("no program panics");
}

async fn child(number: usize) -> Result<usize, Error> {
    Ok(black_box(number))
}

/// How many have been polled.
type Asleep = Arc<AtomicUsize>;

async fn sleeper(asleep: Asleep) -> Result<(), Error> {
    asleep.fetch_add(1, Ordering::Relaxed);
    sleep(LONG).await;
    Ok(())
}

async fn all_asleep(asleep: &Asleep, n: usize) {
    while asleep.load(Ordering::Relaxed) < n {
        yield_now().await;
    }
}

async fn process_empty() {
    let group: TaskGroup = TaskGroup::new();
    group.join().await.expect("nothing fails");
}

async fn process_spawn_join(n: usize) {
    let group = TaskGroup::new();
    for number in 0..n {
        group.spawn(child(number));
    }
    group.join().await.expect("no child fails");
}

async fn process_first_failure(n: usize) {
    let asleep = Asleep::default();
    let group = TaskGroup::new();
    for _ in 0..n {
        group.spawn(sleeper(asleep.clone()));
    }
    group.spawn::<()>(async move {
        all_asleep(&asleep, n).await;
        Err(Error::msg("failed, as it should"))
    });
    let errors = group.join().await.expect_err("one child fails");
    assert_eq!(errors.len(), 1);
}

async fn process_cancel_all(n: usize) {
    let asleep = Asleep::default();
    let group = TaskGroup::new();
    for _ in 0..n {
        group.spawn(sleeper(asleep.clone()));
    }
    all_asleep(&asleep, n).await;
    group.cancel();
    group.join().await.expect("a group's own cancel is an orderly end");
}

async fn process_nested(n: usize) {
    let root = TaskGroup::new();
    for _ in 0..BRANCHES {
        root.spawn(async move {
            let branch = TaskGroup::new();
            for _ in 0..BRANCHES {
                branch.spawn(async move {
                    let twig = TaskGroup::new();
                    for number in 0..n / (BRANCHES * BRANCHES) {
                        twig.spawn(child(number));
                    }
                    twig.join().await.map_err(Error::from)
                });
            }
            branch.join().await.map_err(Error::from)
        });
    }
    root.join().await.expect("no child fails");
}

async fn process_timeout(n: usize) {
    let group: TaskGroup = TaskGroup::new();
    group.spawn(async move {
        for _ in 0..n {
            taskgroup::timeout(LONG, yield_now()).await?;
        }
        Ok(())
    });
    group.join().await.expect("no timeout fires");
}
