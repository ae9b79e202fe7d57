//! Limits: how many tasks run at a time, who waits, and who does not wait any more.

#[path = "../common/mod.rs"]
mod common;
mod deadlocks;
mod ends;
mod limiter;
mod queue;
mod soak;
mod waits;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::TaskGroup;
use tokio::sync::Semaphore;

type Group = TaskGroup<&'static str>;

fn limited(limit: usize) -> Group {
    TaskGroup::builder().limit(limit).build()
}

/// How many run now, and how many ever did at a time.
#[derive(Clone, Default)]
struct Running(Arc<[AtomicUsize; 2]>);

struct Run(Running);

impl Running {
    fn enter(&self) -> Run {
        let now = self.0[0].fetch_add(1, Ordering::SeqCst) + 1;
        self.0[1].fetch_max(now, Ordering::SeqCst);
        Run(self.clone())
    }

    fn now(&self) -> usize {
        self.0[0].load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.0[0].fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets tasks come to their end one by one.
#[derive(Clone)]
struct Exit(Arc<Semaphore>);

impl Exit {
    fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    fn open(&self, tasks: usize) {
        self.0.add_permits(tasks);
    }

    /// A task that runs until it is let out.
    fn task(&self, running: &Running) -> impl Future<Output = Result<(), &'static str>> + Send + use<> {
        let (exit, running) = (self.clone(), running.clone());
        async move {
            let _run = running.enter();
            exit.0.acquire().await.unwrap().forget();
            Ok(())
        }
    }
}

/// Lets everybody else go as far as they can: the clock is paused, and moves when nobody can run.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}
