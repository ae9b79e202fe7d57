//! Children as a runtime polls them: who waits for whom, on runtimes of every kind. Nothing here depends on time;
//! a test that hangs fails after a limit.

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{Alive, multi_thread};
use taskgroup::{TaskGroup, scope};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

/// Real time, only to fail.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs `program` on a thread of its own; one that hangs fails the test.
fn within_limit<T: Send + 'static>(what: &str, program: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let value = program();
        let _ = done.send(());
        value
    });
    match is_done.recv_timeout(LIMIT) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }
        Err(RecvTimeoutError::Timeout) => panic!("{what} hangs"),
    }
}

#[test]
fn children_that_block_their_threads_meet() {
    for workers in 2..=4 {
        for _ in 0..50 {
            within_limit("a barrier of children", move || {
                let runtime = multi_thread(workers);
                let barrier = Arc::new(Barrier::new(workers));
                runtime.block_on(async {
                    scope(async |tg: &TaskGroup| {
                        for _ in 0..workers {
                            let barrier = Arc::clone(&barrier);
                            tg.spawn(async move {
                                barrier.wait();
                                Ok(())
                            });
                        }
                        Ok(())
                    })
                    .await
                    .unwrap();
                });
            });
        }
    }
}

#[test]
fn a_blocked_child_that_has_woken_others_keeps_only_the_last() {
    for _ in 0..50 {
        within_limit("a child that waits for those it has spawned", || {
            let runtime = multi_thread(4);
            runtime.block_on(async {
                scope(async |tg: &TaskGroup| {
                    let spawner = tg.spawner();
                    tg.spawn(async move {
                        let barrier = Arc::new(Barrier::new(3));
                        for _ in 0..2 {
                            let barrier = Arc::clone(&barrier);
                            spawner.spawn(async move {
                                barrier.wait();
                                Ok(())
                            });
                        }
                        spawner.spawn(async { Ok(()) });
                        barrier.wait();
                        Ok(())
                    });
                    Ok(())
                })
                .await
                .unwrap();
            });
        });
    }
}
