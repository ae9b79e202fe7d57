//! A limit that several groups share.

use std::fmt;

use super::gate::Gate;
use super::ticket::Ticket;
use super::wait::{Reserved, Wait};
use crate::sync::Arc;

/// A limit on how many tasks run at a time, in several groups together.
///
/// Give it to each of them with [`Builder::limiter`](crate::Builder::limiter); clones are the same limiter. Tasks
/// that find no room are queued, first come first served whichever group they are in. Code that is no task of
/// such a group takes part with [`acquire`](Self::acquire).
///
/// A group may have a [limit](crate::Builder::limit) of its own besides. Then a task needs a place in its group
/// first, and gets in the limiter's line when it has one. So a group never stands there with more tasks than may
/// run in it, and a task that waits for its own group keeps no place from others.
///
/// A permit is free again when its task's future has been dropped, however the task ended.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use taskgroup::{Limiter, TaskGroup};
/// let connections = Limiter::new(10);
/// let crawl: TaskGroup = TaskGroup::builder().name("crawl").limiter(&connections).build();
/// let refresh: TaskGroup = TaskGroup::builder().name("refresh").limit(2).limiter(&connections).build();
/// for page in 0..100 {
///     crawl.spawn(async move { Ok(page) });
///     refresh.spawn(async move { Ok(page) });
/// }
/// assert_eq!(connections.running(), 10); // of the two groups together
/// refresh.join().await?;
/// crawl.join().await?;
/// assert_eq!((connections.running(), connections.queued()), (0, 0));
/// # Ok(()) }
/// ```
///
/// # Deadlocks
///
/// A task that has a permit and waits for tasks that need one of the *same* limiter, in a group that it runs for
/// example, keeps from them what they wait for: if all who have permits do so, nobody gets on. Give inner groups
/// a limiter of their own.
#[derive(Clone)]
pub struct Limiter {
    gate: Arc<Gate>,
}

impl Limiter {
    /// A limiter with this many permits. With 0 nothing starts until [`set_limit`](Self::set_limit) says more.
    pub fn new(limit: usize) -> Self {
        Self { gate: Gate::new(limit, None, None) }
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// How many tasks may run at a time.
    pub fn limit(&self) -> usize {
        self.gate.limit()
    }

    /// Changes the limit. Raised, it starts as many of the queued; lowered, it stops nobody, and starts nobody
    /// until so many have ended. With 0 nothing starts any more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::{Limiter, TaskGroup};
    /// let limiter = Limiter::new(0);
    /// let group: TaskGroup = TaskGroup::builder().limiter(&limiter).build();
    /// group.spawn(async { Ok(()) });
    /// assert_eq!((limiter.running(), limiter.queued()), (0, 1));
    /// limiter.set_limit(4);
    /// group.join().await
    /// # }
    /// ```
    pub fn set_limit(&self, limit: usize) {
        self.gate.set_limit(limit);
    }

    /// How many permits are taken: by tasks, by [`Permit`]s and [`Place`](crate::Place)s, and for those who are
    /// just being told that it is their turn.
    pub fn running(&self) -> usize {
        self.gate.used()
    }

    /// How many wait for a permit: tasks and others.
    pub fn queued(&self) -> usize {
        self.gate.waiting()
    }

    /// Waits for a permit, for code that is no task of a group with this limiter.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let limiter = taskgroup::Limiter::new(1);
    /// let permit = limiter.acquire().await;
    /// assert!(limiter.try_acquire().is_none());
    /// drop(permit);
    /// assert!(limiter.try_acquire().is_some());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the line; a permit that had been reserved for it goes to the
    /// next. In a cancelled region it does not resolve (R12).
    ///
    /// # Panics
    ///
    /// As [`TaskGroup::ready`](crate::TaskGroup::ready): where every permit is held by a task that waits here for
    /// another one.
    pub async fn acquire(&self) -> Permit {
        let mut wait = Wait::new(&self.gate, None);
        let reserved = std::future::poll_fn(|cx| wait.poll(cx)).await;
        Permit { limiter: self.clone(), _reserved: reserved.expect("a limiter does not end") }
    }

    /// A permit, if one is free and nobody waits for it.
    pub fn try_acquire(&self) -> Option<Permit> {
        let reserved = self.gate.try_enter().then(|| Reserved::of(Ticket::through(&self.gate)))?;
        Some(Permit { limiter: self.clone(), _reserved: reserved })
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("limit", &self.limit())
            .field("running", &self.running())
            .field("queued", &self.queued())
            .finish()
    }
}

/// A permit of a [`Limiter`], from [`Limiter::acquire`]: free again when it is dropped.
#[must_use = "the permit is free again when it is dropped"]
pub struct Permit {
    limiter: Limiter,
    _reserved: Reserved,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("of", &self.limiter).finish()
    }
}
