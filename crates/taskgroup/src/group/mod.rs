//! The task group: the owner of its tasks.
//!
//! # The life of a group
//!
//! ```text
//!   open ──(body ended, no ordinary child left)──▶ closing ──(background children gone)──▶ ended
//!    │                                                ▲
//!    └── first failure, cancel, host cancelled ───────┘   the same way, with everybody cancelled
//!
//!   dropped, at any point ──▶ ended, with every child's future dropped before `drop` returns (R2)
//! ```
//!
//! # Invariants
//!
//! 1. A failure is entered in the ledger and the group is cancelled before the child leaves the books; so
//!    whoever finds the books empty finds every failure in the ledger (R1, R8).
//! 2. Admission and closing happen under the node's lock: a child is either counted, and waited for, or
//!    born cancelled (R5, R6).
//! 3. The ledger is taken once, by exit or by drop. A failure that comes later is logged.

mod blocking;
mod builder;
mod clock;
mod cooperative;
mod core;
mod limit;
mod parts;
mod placed;
mod region;
mod report;
#[cfg(feature = "signal")]
mod root;
mod run;
mod scope;
mod spawn;
mod spawner;
mod start;
mod task_builder;
mod token;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;

pub use builder::{Builder, OnDrop, OnFailure, OnPanic};
pub use limit::{Limiter, Permit, Place};
pub use report::GroupReport;
#[cfg(feature = "signal")]
pub(crate) use root::RootSettings;
pub use run::Run;
pub use scope::{ScopeBody, scope};
pub use spawn::TrySpawnError;
pub use spawner::Spawner;
pub use start::Ready;
pub use task_builder::TaskBuilder;
pub use token::CancelToken;

pub(crate) use self::core::{GroupCore, ToGroup};
pub(crate) use builder::Settings;
pub(crate) use clock::{Clock, DEFERRED, Deadline, Limit, Look};
pub(crate) use cooperative::Cooperative;
pub(crate) use placed::log_late;
pub(crate) use region::{Body, BodyEnd, Step};
pub(crate) use run::{end_body, exit};
pub(crate) use spawn::into_error;
pub(crate) use start::{Handle, start};

use self::spawn::Options;
use crate::error::{ErrorGroup, StartError};
use crate::sync::Arc;
use crate::task::Task;
use crate::tree::{self, Id, Straggler};

/// A group of tasks that ends only when every one of them has ended, and that nothing outlives.
///
/// Reach for [`scope`] first; take a `TaskGroup` where a closure does not fit: a group kept in a struct, a
/// body that is a plain future, or `E = Box<dyn Error + Send + Sync>` (with which some compilers cannot prove
/// `async |tg|` closures `Send`). Open it with [`new`](Self::new), spawn into it, and end it with
/// [`run`](Self::run) or [`join`](Self::join).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use taskgroup::TaskGroup;
/// let group = TaskGroup::new();
/// let task = group.spawn(async { Ok("hello") });
/// let text = group.run(async { Ok(task.await?) }).await?;
/// assert_eq!(text, "hello");
/// # Ok(()) }
/// ```
///
/// # Dropping
///
/// Dropping a group, or the future of its `run` or `join`, cancels every task in it and everything below
/// them, and drops their futures *before `drop` returns*. A task that is being polled on another thread at
/// that moment is waited for until that one poll returns; a task that drops its own group from inside its
/// own poll is dropped when that poll returns. A blocking closure that has started cannot be dropped: its
/// token is cancelled and the enclosing group waits for it. No async cleanup runs on this path. Failures
/// that nobody has been told of are logged. [`OnDrop::Abandon`] gives up the waiting.
///
/// `mem::forget` of a group is sound; its tasks run on.
#[must_use = "dropping a group cancels its tasks: end it with `run` or `join`"]
pub struct TaskGroup<E: Send + 'static = crate::Error> {
    core: Arc<GroupCore<E>>,
}

impl<E: Send + 'static> TaskGroup<E> {
    /// A group with the default settings.
    ///
    /// Made inside a task or a body, it is that one's child: cancel reaches it (R4).
    #[track_caller]
    pub fn new() -> Self {
        Self::open(Settings::default(), Location::caller())
    }

    /// A group with settings of your own.
    ///
    /// ```
    /// use taskgroup::{OnFailure, TaskGroup};
    /// let group: TaskGroup = TaskGroup::builder().name("crawler").on_failure(OnFailure::Continue).build();
    /// assert_eq!(group.name(), Some("crawler"));
    /// ```
    pub fn builder() -> Builder<E> {
        Builder::new()
    }

    pub(crate) fn open(settings: Settings<E>, location: &'static Location<'static>) -> Self {
        Self { core: GroupCore::open(settings, location) }
    }

    /// Spawns a task into the group; it starts at once, on the runtime. (In a group with a
    /// [limit](Builder::limit) when there is room.)
    ///
    /// The future gives exactly `Result<T, E>`, so that `async { …?; Ok(x) }` needs no annotation. An `Err`
    /// fails the group (R7); to have errors as values instead, spawn `async { Ok(fallible().await) }`. For a
    /// future with another error type there is [`spawn_into`](Self::spawn_into).
    ///
    /// Spawning never fails: into a group that is cancelled or has ended the task is *born cancelled*, its
    /// future dropped unpolled, and its handle says so (R5). [`try_spawn`](Self::try_spawn) answers instead.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::new();
    /// let task = group.spawn(async { Ok(6 * 7) });
    /// group.join().await?;
    /// assert_eq!(task.into_result().unwrap(), 42);
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, if the group was also made outside one.
    #[track_caller]
    pub fn spawn<T>(&self, future: impl Future<Output = Result<T, E>> + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
    {
        self.core.spawn(future, Options::new(Location::caller()))
    }

    /// [`spawn`](Self::spawn) for a future whose error converts into `E`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::new();
    /// group.spawn_into(async { "7".parse::<i32>() });
    /// group.join().await
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_into<T, X>(&self, future: impl Future<Output = Result<T, X>> + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
        X: Into<E> + 'static,
    {
        self.core.spawn(spawn::into_error(future), Options::new(Location::caller()))
    }

    /// [`spawn`](Self::spawn), or the future back if the group is cancelled or has ended.
    ///
    /// Where a [limit](Builder::limit) leaves no room it queues the task, as `spawn` does; to be refused there, ask
    /// [`try_ready`](Self::try_ready) first.
    ///
    /// # Errors
    ///
    /// [`TrySpawnError`], with the future and the cause.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn try_spawn<T, F>(&self, future: F) -> Result<Task<T>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        self.core.try_spawn(future, Options::new(Location::caller()))
    }

    /// Runs a blocking closure as a task of the group, on the runtime's pool of threads.
    ///
    /// A thread cannot be cut: a cancel reaches the closure's [`CancelToken`], and the group waits for it to
    /// end. A closure that no thread has picked up when the cancel comes never runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::new();
    /// let sum = group.spawn_blocking(|token| {
    ///     let mut sum = 0_u64;
    ///     for number in 0..1_000 {
    ///         token.check()?;
    ///         sum += number;
    ///     }
    ///     Ok(sum)
    /// });
    /// group.join().await?;
    /// assert_eq!(sum.into_result().unwrap(), 499_500);
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_blocking<T>(
        &self,
        closure: impl FnOnce(&CancelToken) -> Result<T, E> + Send + 'static,
    ) -> Task<T>
    where
        T: Send + 'static,
    {
        self.core.spawn_blocking(closure, Options::new(Location::caller()))
    }

    /// Spawns with options: a name, in the background, eagerly.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::new();
    /// group.task().name("heartbeat").background().spawn(std::future::pending::<Result<(), _>>());
    /// group.join().await // a background task does not keep the group open
    /// # }
    /// ```
    pub fn task(&self) -> TaskBuilder<'_, E> {
        TaskBuilder::new(&self.core)
    }

    /// Spawns a task and waits until it says that it is ready: for a server that must be listening before
    /// the next step.
    ///
    /// `make` gets a [`Ready`] and gives the future. Until `ready` is called the child belongs to the
    /// starter: its error, panic or early return comes out here alone, and cancelling or dropping this
    /// future ends only that child. After it, it is a child of the group like any other (R20).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// taskgroup::scope(async |tg| {
    ///     let (port, server) = tg
    ///         .start(|ready| async move {
    ///             let port = 8080; // bind a listener here
    ///             ready.ready(port);
    ///             Ok(())
    ///         })
    ///         .await?;
    ///     assert_eq!(port, 8080);
    ///     Ok(server.await?)
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before `ready` drops the child before the drop returns; after `ready` the child
    /// stays with the group, and the value and the handle are lost.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn start<R, T, Fut>(
        &self,
        make: impl FnOnce(Ready<R>) -> Fut,
    ) -> impl Future<Output = Result<(R, Task<T>), StartError<E>>>
    where
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        R: Send + 'static,
        T: Send + 'static,
    {
        let options = Options::new(Location::caller());
        start(&self.core, make, options.location, |future| self.core.spawn(future, options))
    }

    /// A handle to spawn with from anywhere: from the tasks themselves, from other tasks, from plain threads.
    pub fn spawner(&self) -> Spawner<E> {
        Spawner::new(Arc::clone(&self.core))
    }

    /// Runs the body of the group, then waits until every task has ended. Once.
    ///
    /// The body is a plain future: it may use the group by reference. It is cut at its next wait when a task
    /// fails, as any task is (R7).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the group's tasks, as dropping the group does: see [`TaskGroup`].
    ///
    /// # Errors
    ///
    /// Every failure of the body and the tasks, as one [`ErrorGroup`]. If the group's own `cancel` cut the
    /// body there is no value: then an `ErrorGroup` without failures comes out, for which
    /// [`is_cancelled`](ErrorGroup::is_cancelled) holds (R17).
    ///
    /// # Panics
    ///
    /// If the body or a task panicked, with the payload of the first such panic, after all have ended (R10).
    /// If called a second time. If called inside one of the group's own tasks, which would wait for itself.
    #[track_caller]
    pub fn run<T, F>(&self, body: F) -> Run<'_, F, T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        Run::new(&self.core, body, Location::caller())
    }

    /// Waits until every task has ended, and ends the group. After `run`, it is `Ok` at once.
    ///
    /// A group that was cancelled by its own [`cancel`](Self::cancel) ends in order: `Ok(())` (R17).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the group: see [`TaskGroup`].
    ///
    /// # Errors
    ///
    /// Every failure, as one [`ErrorGroup`].
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn join(self) -> impl Future<Output = Result<(), ErrorGroup<E>>> + Send {
        let location = Location::caller();
        async move {
            if self.core.has_ended() {
                return Ok(());
            }
            Run::without_body(&self.core, location).await
        }
    }

    /// Waits until no task but background ones is left; the group stays open (R6).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it can be dropped and called again.
    pub async fn wait_idle(&self) {
        self.core.wait_idle().await;
    }

    /// Cancels the group: body and tasks are cut at their next wait, and the group ends in order (R17).
    ///
    /// Idempotent. Reaches nobody outside the group (R13); after the group's exit it does nothing.
    pub fn cancel(&self) {
        self.core.cancel(None);
    }

    /// [`cancel`](Self::cancel) with a message, which everything that is cut by it carries as its cause.
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        self.core.cancel(Some(message.into()));
    }

    /// The group's token: cancelled exactly when the group is.
    ///
    /// Hand it to code that is to know of the cancel but is not a task of the group, or that ends by itself. It
    /// does not hold the group open.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::new();
    /// let token = group.token();
    /// group.cancel_because("closing time");
    /// assert_eq!(token.cancelled().await.to_string(), "closing time");
    /// # }
    /// ```
    pub fn token(&self) -> CancelToken {
        CancelToken::of_region(self.core.member())
    }

    /// What has become of the tasks so far: after the exit, of all. See [`GroupReport`].
    ///
    /// Where the group is consumed by [`join`](Self::join) or lives inside [`scope`](crate::scope()), ask a
    /// [`Spawner`] of it afterwards.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::new();
    /// let spawner = group.spawner();
    /// group.spawn(async { Ok(1) });
    /// assert_eq!(group.report().running(), 1);
    /// group.join().await?;
    /// assert_eq!(spawner.report().completed(), 1);
    /// # Ok(()) }
    /// ```
    pub fn report(&self) -> GroupReport {
        self.core.report()
    }

    /// Whom the exit waits for: every task that has not ended, of this group and of those inside, and what it is
    /// doing.
    ///
    /// First those who really hold up the exit, from the oldest on; then those who only wait for tasks of their
    /// own. After a [cancel](Self::cancel) it tells who does not end, and why; of a group that goes on, who is
    /// in it. It walks the tree, so it costs as much as there are tasks; the tasks pay nothing for it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// # use taskgroup::TaskGroup;
    /// use std::time::Duration;
    /// use taskgroup::StragglerState;
    /// let group: TaskGroup = TaskGroup::builder().name("app").build();
    /// group.task().name("flush").spawn(async {
    ///     taskgroup::shield(tokio::time::sleep(Duration::from_secs(3))).await;
    ///     Ok(())
    /// });
    /// tokio::time::sleep(Duration::from_secs(1)).await;
    /// group.cancel();
    /// tokio::time::sleep(Duration::from_secs(1)).await;
    /// let stragglers = group.stragglers();
    /// assert_eq!(stragglers[0].path(), "app > flush");
    /// assert_eq!(stragglers[0].state(), StragglerState::Shielded);
    /// assert_eq!(stragglers[0].age(), Some(Duration::from_secs(2)));
    /// assert_eq!(stragglers[0].since_cancel(), Some(Duration::from_secs(1)));
    /// # group.join().await.unwrap();
    /// # }
    /// ```
    pub fn stragglers(&self) -> Vec<Straggler> {
        self.core.stragglers()
    }

    /// Whether the group has been cancelled: by a failure, by `cancel`, or from outside.
    pub fn is_cancelled(&self) -> bool {
        tree::Member::node(&*self.core).is_cancelled()
    }

    /// How many tasks are in the group now, background and queued ones included.
    pub fn len(&self) -> usize {
        tree::Member::node(&*self.core).live()
    }

    /// Whether no task is in the group now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identity of the group.
    pub fn id(&self) -> Id {
        tree::Member::node(&*self.core).id()
    }

    /// The name of the group.
    pub fn name(&self) -> Option<&str> {
        tree::Member::node(&*self.core).name()
    }
}

impl<E: Send + 'static> Default for TaskGroup<E> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Send + 'static> Drop for TaskGroup<E> {
    fn drop(&mut self) {
        self.core.end_by_drop();
    }
}

impl<E: Send + 'static> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.debug("TaskGroup", f)
    }
}
