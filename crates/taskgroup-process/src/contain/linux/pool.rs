//! The keepers of this program.
//!
//! To fork a keeper costs more the larger the program is. So one that has nobody left to keep waits for the next command, as long
//! as some command runs; when none does, all of them end. After [`hold`], they wait until the program ends,
//! which waits for them.
//!
//! # Invariants
//!
//! 1. A keeper is in `alive` from its `fork` on, before anybody could take it for an orphan, until it has been reaped.
//! 2. A keeper is in use by one command, or idle. Who takes one out of `idle` may find that it was killed meanwhile.
//! 3. `users` counts the commands that have, or are about to have, a keeper. When it falls to 0 nobody is idle.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{launch, sys};

struct Pool {
    alive: Vec<i32>,
    idle: Vec<Idle>,
    users: usize,
    is_held: bool,
}

/// A keeper with nobody to keep.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) pid: i32,
    pub(super) stream: UnixStream,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { alive: Vec::new(), idle: Vec::new(), users: 0, is_held: false });

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to have a keeper, for one command.
#[derive(Debug)]
pub(super) struct User(());

impl User {
    pub(super) fn new() -> Self {
        pool().users += 1;
        Self(())
    }

    /// A keeper that has waited, or `None`.
    #[allow(clippy::unused_self, reason = "who calls has the right")]
    pub(super) fn take(&self) -> Option<Idle> {
        pool().idle.pop()
    }

    /// A new keeper.
    #[allow(clippy::unused_self, reason = "who calls has the right")]
    pub(super) fn make(&self) -> io::Result<Idle> {
        let mut pool = pool();
        let (pid, stream) = launch::launch()?;
        pool.alive.push(pid);
        Ok(Idle { pid, stream })
    }

    /// Gives back a keeper that has nobody left to keep.
    #[allow(clippy::unused_self, reason = "who calls has the right")]
    pub(super) fn give_back(&self, keeper: Idle) {
        pool().idle.push(keeper);
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut pool = pool();
        pool.users -= 1;
        if pool.users == 0 && !pool.is_held {
            let over = std::mem::take(&mut pool.idle);
            drop(pool);
            over.into_iter().for_each(end);
        }
    }
}

/// Lets keepers wait until the program ends. It waits for them then, so that none is left to whoever inherits orphans.
pub(super) fn hold() {
    let was_held = std::mem::replace(&mut pool().is_held, true);
    if !was_held {
        // SAFETY: the function is there as long as the program, and does not unwind. Where it is not taken, keepers end a moment
        // after the program.
        unsafe { libc::atexit(end_idle) };
    }
}

/// Ends those that are idle when the program ends.
extern "C" fn end_idle() {
    // Not for a lock that the thread which ends the program may itself have.
    let Ok(mut pool) = POOL.try_lock() else { return };
    let over = std::mem::take(&mut pool.idle);
    drop(pool);
    // All of them notice at once, and are waited for afterwards.
    let pids: Vec<i32> = over.into_iter().map(|keeper| keeper.pid).collect();
    pids.into_iter().for_each(|pid| _ = reap(pid));
}

/// Ends an idle keeper: it notices that its stream has ended.
fn end(keeper: Idle) {
    drop(keeper.stream);
    reap(keeper.pid);
}

/// Reaps a keeper that has ended, or is about to; says whether it has ended by itself, and so nobody is left.
pub(super) fn reap(pid: i32) -> bool {
    let status = sys::reap_blocking(pid);
    pool().alive.retain(|keeper| *keeper != pid);
    status.is_none_or(|status| libc::WIFEXITED(status))
}

pub(super) fn is_keeper(pid: i32) -> bool {
    pool().alive.contains(&pid)
}
