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

use super::standing::Standing;
use super::{launch, sys};

struct Pool {
    alive: Vec<i32>,
    idle: Vec<Idle>,
    /// Those that nobody waits for any more, although they are alive.
    left: Vec<i32>,
    users: usize,
    is_held: bool,
}

/// A keeper with nobody to keep.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) pid: i32,
    pub(super) stream: UnixStream,
    /// The program's when it was forked.
    pub(super) standing: Standing,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { alive: Vec::new(), idle: Vec::new(), left: Vec::new(), users: 0, is_held: false });

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

    /// A keeper that has waited, or `None`. Those that are not of the program's standing any more end.
    #[allow(clippy::unused_self, reason = "who calls has the right")]
    pub(super) fn take(&self, standing: &Standing) -> Option<Idle> {
        let mut pool = pool();
        let taken = pool.idle.pop()?;
        if taken.standing == *standing {
            return Some(taken);
        }
        let mut over = std::mem::take(&mut pool.idle);
        drop(pool);
        over.push(taken);
        end(over);
        None
    }

    /// A new keeper. `standing` is this thread's.
    #[allow(clippy::unused_self, reason = "who calls has the right")]
    pub(super) fn make(&self, standing: Standing) -> io::Result<Idle> {
        let mut pool = pool();
        let (pid, stream) = launch::launch()?;
        pool.alive.push(pid);
        Ok(Idle { pid, stream, standing })
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
        let Pool { alive, left, .. } = &mut *pool;
        left.retain(|pid| {
            let has_ended = sys::reap(*pid).is_some();
            alive.retain(|keeper| !has_ended || keeper != pid);
            !has_ended
        });
        pool.users -= 1;
        if pool.users == 0 && !pool.is_held {
            let over = std::mem::take(&mut pool.idle);
            drop(pool);
            end(over);
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
    end(over);
}

/// Ends idle keepers: each notices that its stream has ended. All do at once, and are waited for afterwards.
fn end(keepers: Vec<Idle>) {
    let pids: Vec<i32> = keepers.into_iter().map(|Idle { pid, .. }| pid).collect();
    pids.iter().copied().for_each(wake);
    pids.into_iter().for_each(reap);
}

/// Lets a keeper go on that somebody may have stopped. Only before it has been reaped.
pub(super) fn wake(pid: i32) {
    let _ = sys::kill(pid, libc::SIGCONT);
}

/// Reaps a keeper that has ended, or is about to.
pub(super) fn reap(pid: i32) {
    wake(pid);
    sys::reap_blocking(pid);
    pool().alive.retain(|keeper| *keeper != pid);
}

/// Leaves a keeper to itself that has somebody left whom the system does not end; some later command reaps it.
pub(super) fn leave(pid: i32) {
    pool().left.push(pid);
}

pub(super) fn is_keeper(pid: i32) -> bool {
    pool().alive.contains(&pid)
}
