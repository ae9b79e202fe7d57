//! The group itself.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::task::Poll;

use tokio::time::Instant;

use super::builder::LocalBuilder;
use super::cell::{At, Options};
use super::child::Child;
use super::drive;
use super::handle::LocalTask;
use super::hosted::Hosted;
use super::kind::{AnyThread, Fits, Host, SameThread};
use super::run::LocalRun;
use super::spawner::LocalSpawner;
use super::task_builder::LocalTaskBuilder;
use crate::error::ErrorGroup;
use crate::group::{CancelToken, GroupCore, GroupReport, Settings, TrySpawnError, into_error};
use crate::sync::Arc;
use crate::task::Ended;
use crate::tree::{self, CancelCause, CancelReason, Hold, Id, Member, Node, Straggler, WaitKey};

/// A group whose children borrow from what is around it, need not be `Send`, and are polled by its own
/// [`run`](HostedGroup::run) or [`join`](HostedGroup::join): a [`HostedGroup`] that stays on its thread.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use std::cell::Cell;
/// use taskgroup::LocalGroup;
/// let (text, words) = (String::from("to be or not to be"), Cell::new(0));
/// let group: LocalGroup = LocalGroup::new();
/// for _word in text.split(' ') {
///     group.spawn(async {
///         words.set(words.get() + 1);
///         Ok(())
///     });
/// }
/// group.join().await?;
/// assert_eq!(words.get(), 6);
/// # Ok(()) }
/// ```
pub type LocalGroup<'env, E = crate::Error> = HostedGroup<'env, E, SameThread>;

/// A [`LocalGroup`] whose children are all `Send`: its own future is too, and may be spawned. Its children may borrow,
/// and move from thread to thread with their group, but never run at the same time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use taskgroup::SendLocalGroup;
/// let host = tokio::spawn(async {
///     let text = String::from("lent");
///     let group: SendLocalGroup = SendLocalGroup::new();
///     let length = group.spawn(async { Ok(text.len()) });
///     group.run(async { Ok(length.await?) }).await
/// });
/// assert_eq!(host.await.unwrap().unwrap(), 4);
/// # }
/// ```
pub type SendLocalGroup<'env, E = crate::Error> = HostedGroup<'env, E, AnyThread>;

/// A group whose children are polled by its own [`run`](Self::run) or [`join`](Self::join), inside the one task that
/// awaits it: they may borrow from `'env`. Its two kinds are [`LocalGroup`] and [`SendLocalGroup`].
///
/// Take it where children should borrow, where they are not `Send`, or where there are so many short ones that a task of
/// the runtime for each costs too much. Take a [`TaskGroup`](crate::TaskGroup) where they should use more than one
/// core: children of a local group wait while one of them computes. Everything else is as there: the first failure
/// cancels the others, all failures come out together, nothing outlives the group.
///
/// Children start when the group is first polled: open it with [`new`](Self::new), spawn, and await `run` or `join`.
/// They are polled in the order in which they were woken, none twice before another once, and only those that were woken.
///
/// What differs from a `TaskGroup`:
///
/// * What is borrowed must outlive the group: declare it first.
/// * There are no blocking children: run a closure in a `TaskGroup` of its own, inside or around.
/// * A child that has not been polled yet is not in [`stragglers`](Self::stragglers), nor, while it runs, in
///   [`report`](Self::report).
/// * In a cancelled task that awaits the group, code beside that await (the other branches of a `join!` or `select!`) may
///   run each time a child that still has cleanup to do is polled: as with a [`shield()`](crate::shield()).
/// * Local groups inside one another are polled and dropped on top of one another: each level takes some stack.
///
/// # Dropping
///
/// Dropping the group, or the future of its `run` or `join`, drops the futures of its children before the drop returns.
/// Whoever leaks the group (`mem::forget`) leaks them: they are neither polled nor dropped any more.
#[must_use = "dropping a group drops its children: end it with `run` or `join`"]
pub struct HostedGroup<'env, E: Send + 'static, H: Host> {
    pub(super) core: Arc<GroupCore<E>>,
    // Neither longer nor shorter: a child spawned through a shorter one would outlive what it borrows.
    env: PhantomData<fn(&'env ()) -> &'env ()>,
    host: PhantomData<H>,
}

impl<'env, E: Send + 'static, H: Host> HostedGroup<'env, E, H> {
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
    /// use taskgroup::{LocalGroup, OnFailure};
    /// let group: LocalGroup = LocalGroup::builder().name("pages").on_failure(OnFailure::Continue).build();
    /// assert_eq!(group.name(), Some("pages"));
    /// ```
    pub fn builder() -> LocalBuilder<E, H> {
        LocalBuilder::new()
    }

    pub(super) fn open(settings: Settings<E>, location: &'static Location<'static>) -> Self {
        let hosted = Hosted::new(settings.report_records);
        let core = GroupCore::open_with(settings, location, Some(hosted));
        Self { core, env: PhantomData, host: PhantomData }
    }

    /// Spawns a child into the group. It is polled first when the group is polled next.
    ///
    /// The future gives exactly `Result<T, E>`, so that `async { …?; Ok(x) }` needs no annotation. An `Err` fails the group
    /// (R7). Spawning never fails: into a group that is cancelled or has ended the child is *born cancelled*, its
    /// future dropped unpolled, and its handle says so (R5).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::LocalGroup;
    /// let name = String::from("Ada");
    /// let group: LocalGroup = LocalGroup::new();
    /// let greeting = group.spawn(async { Ok(format!("Hello, {name}")) });
    /// assert_eq!(group.run(async { Ok(greeting.await?) }).await?, "Hello, Ada");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn spawn<T>(
        &self,
        future: impl Future<Output = Result<T, E>> + Fits<H> + 'env,
    ) -> LocalTask<'env, T, H>
    where
        T: Fits<H> + 'env,
    {
        // SAFETY: on the group's thread, where there is but one; the bounds are those of `spawn`.
        unsafe { spawn(&self.core, future, Options::new(Location::caller())) }
    }

    /// [`spawn`](Self::spawn) for a future whose error converts into `E`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::LocalGroup;
    /// let group: LocalGroup = LocalGroup::new();
    /// group.spawn_into(async { "7".parse::<i32>() });
    /// group.join().await
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_into<T, X>(
        &self,
        future: impl Future<Output = Result<T, X>> + Fits<H> + 'env,
    ) -> LocalTask<'env, T, H>
    where
        T: Fits<H> + 'env,
        X: Into<E> + 'env,
    {
        // SAFETY: as in `spawn`; what is around the future has nothing of its own that could not go where it goes.
        unsafe { spawn(&self.core, into_error(future), Options::new(Location::caller())) }
    }

    /// [`spawn`](Self::spawn), or the future back if the group is cancelled or has ended.
    ///
    /// # Errors
    ///
    /// [`TrySpawnError`], with the future and the cause.
    #[track_caller]
    pub fn try_spawn<T, F>(&self, future: F) -> Result<LocalTask<'env, T, H>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>> + Fits<H> + 'env,
        T: Fits<H> + 'env,
    {
        // SAFETY: as in `spawn`.
        unsafe { try_spawn(&self.core, future, Options::new(Location::caller())) }
    }

    /// Spawns with options: a name, in the background, eagerly, cooperative.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::LocalGroup;
    /// let group: LocalGroup = LocalGroup::new();
    /// group.task().name("heartbeat").background().spawn(std::future::pending::<Result<(), _>>());
    /// group.join().await // a background child does not keep the group open
    /// # }
    /// ```
    pub fn task(&self) -> LocalTaskBuilder<'_, 'env, E, H> {
        LocalTaskBuilder::new(&self.core)
    }

    /// A handle to spawn with, for the children themselves: what they spawn are their siblings.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// # use taskgroup::LocalGroup;
    /// let seen = std::cell::Cell::new(0);
    /// let group: LocalGroup = LocalGroup::new();
    /// let (spawner, seen_inside) = (group.spawner(), &seen);
    /// group.spawn(async move {
    ///     spawner.spawn(async { Ok(seen_inside.set(1)) });
    ///     Ok(())
    /// });
    /// group.join().await?;
    /// assert_eq!(seen.get(), 1);
    /// # Ok(()) }
    /// ```
    pub fn spawner(&self) -> LocalSpawner<'env, E, H> {
        LocalSpawner::new(Arc::clone(&self.core))
    }

    /// Runs the body of the group, then waits until every child has ended; polls the children meanwhile. Once.
    ///
    /// The body is a plain future: it may use the group by reference. It is cut at its next wait when a child fails, as any
    /// child is (R7).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the children of the group, as dropping the group does.
    ///
    /// # Errors
    ///
    /// Every failure of the body and the children, as one [`ErrorGroup`]. If the group's own `cancel` cut the body there is
    /// no value: then an `ErrorGroup` without failures comes out, for which [`is_cancelled`](ErrorGroup::is_cancelled)
    /// holds (R17).
    ///
    /// # Panics
    ///
    /// If the body or a child panicked, with the payload of the first such panic, after all have ended (R10). If called a
    /// second time.
    #[track_caller]
    pub fn run<T, F>(&self, body: F) -> LocalRun<'_, 'env, F, T, E, H>
    where
        F: Future<Output = Result<T, E>>,
    {
        LocalRun::new(self, body, Location::caller())
    }

    /// Polls the children until every one of them has ended, and ends the group. After `run`, it is `Ok` at once.
    ///
    /// A group that was cancelled by its own [`cancel`](Self::cancel) ends in order: `Ok(())` (R17).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the group.
    ///
    /// # Errors
    ///
    /// Every failure, as one [`ErrorGroup`].
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn join(self) -> impl Future<Output = Result<(), ErrorGroup<E>>> + use<'env, E, H> {
        let location = Location::caller();
        async move {
            if self.core.has_ended() {
                return Ok(());
            }
            LocalRun::without_body(&self, location).await
        }
    }

    /// Waits until no child but background ones is left; the group stays open (R6). For the body: somebody must poll the
    /// group meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it can be dropped and called again.
    pub async fn wait_idle(&self) {
        /// Takes its wakers out again when it is given up.
        struct Wait<'a>(&'a Hosted, &'a Node, WaitKey);
        impl Drop for Wait<'_> {
            fn drop(&mut self) {
                self.0.unwatch(self.2);
                self.1.unwatch(self.2);
            }
        }
        let wait = Wait(self.core.hosted(), self.core.node(), WaitKey::new());
        std::future::poll_fn(|cx| {
            let Wait(hosted, node, key) = &wait;
            // Looked at last: the child that failed, and cancelled this region, may have been the last one.
            if hosted.watch_unentered(*key, cx.waker())
                || node.watch_ordinary(*key, cx.waker()) > 0
                || tree::is_cut()
            {
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Cancels the group: body and children are cut at their next wait, and the group ends in order (R17).
    ///
    /// Idempotent. Reaches nobody outside the group (R13); after the group's exit it does nothing.
    pub fn cancel(&self) {
        self.core.cancel(None);
    }

    /// [`cancel`](Self::cancel) with a message, which everything that is cut by it carries as its cause.
    pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
        self.core.cancel(Some(message.into()));
    }

    /// The group's token: cancelled exactly when the group is; it may go to other threads.
    pub fn token(&self) -> CancelToken {
        CancelToken::of_region(self.core.member())
    }

    /// What has become of the children so far: after the exit, of all. See [`GroupReport`].
    pub fn report(&self) -> GroupReport {
        report::<E, H>(&self.core)
    }

    /// Whom the exit waits for, as [`TaskGroup::stragglers`](crate::TaskGroup::stragglers): of the children those that have
    /// been polled.
    pub fn stragglers(&self) -> Vec<Straggler> {
        self.core.stragglers()
    }

    /// Whether the group has been cancelled: by a failure, by `cancel`, or from outside.
    pub fn is_cancelled(&self) -> bool {
        self.core.node().is_cancelled()
    }

    /// How many children are in the group now, background ones included.
    pub fn len(&self) -> usize {
        live(&self.core)
    }

    /// Whether no child is in the group now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identity of the group.
    pub fn id(&self) -> Id {
        self.core.node().id()
    }

    /// The name of the group.
    pub fn name(&self) -> Option<&str> {
        self.core.node().name()
    }

    /// The end by drop (R2): no future of the group is alive when this returns.
    ///
    /// # Safety
    ///
    /// H1; the body, if there is one, has lost its seat.
    pub(super) unsafe fn end_by_drop(&self) {
        self.core.end_by_drop_of(|| {
            let hosted = self.core.hosted();
            // SAFETY: H1. Closed when all who might be woken have ended; what was pushed meanwhile was refused by nobody,
            // and is ended too.
            unsafe {
                self.drop_children();
                hosted.close();
                self.drop_row();
                hosted.finish(self.core.node(), H::SHARED);
            }
        });
    }

    /// Drops the futures of all children that have not ended.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn drop_children(&self) {
        // SAFETY: H1.
        unsafe {
            while {
                self.drop_row();
                self.core.hosted().take()
            } {}
        }
        for member in self.core.node().members_snapshot() {
            let Some(child) = member.as_any().downcast_ref::<Child>() else { continue };
            if !child.node.stands_under(self.core.node()) {
                continue;
            }
            // SAFETY: H1; only children of this group are such members of it. Not null: it has not ended, so it is alive.
            unsafe {
                let link = child.cell();
                if !link.is_null() {
                    ((*link).vtable.end)(link);
                }
            }
        }
    }

    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn drop_row(&self) {
        // SAFETY: H1; what is popped is alive. Whoever had ended left a reference to the queue.
        unsafe {
            while let Some(link) = self.core.hosted().pop() {
                // It stands in the queue no more.
                match (*link).begin_poll() {
                    true => ((*link).vtable.end)(link),
                    false => ((*link).vtable.release)(link),
                }
            }
        }
    }
}

impl<E: Send + 'static, H: Host> Default for HostedGroup<'_, E, H> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Send + 'static, H: Host> Drop for HostedGroup<'_, E, H> {
    fn drop(&mut self) {
        // SAFETY: H1: nobody borrows the group, so no `run` of it can be polled any more.
        unsafe {
            self.end_by_drop();
            self.core.hosted().close_memory();
        }
    }
}

impl<E: Send + 'static, H: Host> fmt::Debug for HostedGroup<'_, E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.debug("LocalGroup", f)
    }
}

/// Spawns a child.
///
/// # Safety
///
/// For [`SameThread`] the caller is on the thread of the group. The caller proves `F: Fits<H> + 'env` and `T: Fits<H> +
/// 'env`, and has a group or spawner of that `'env`.
#[inline]
pub(super) unsafe fn spawn<'env, F, T, E, H>(
    core: &Arc<GroupCore<E>>,
    future: F,
    options: Options,
) -> LocalTask<'env, T, H>
where
    F: Future + 'env,
    F::Output: Into<Ended<T, E>>,
    T: 'env,
    E: Send + 'static,
    H: Host,
{
    let hold = options.hold();
    if let Some(cause) = core.node().refuses(hold) {
        // SAFETY: as the caller says.
        let cell = unsafe { At::<F, T, E, H>::new(core, options, None, future) };
        return bear_cancelled(core, cell, cause);
    }
    let eager = options.eager;
    // SAFETY: as the caller says. Eager are only children of a group that stays on its thread; the caller is the host there.
    unsafe {
        let recorded = count_spawn::<E, H>(core);
        let cell = At::<F, T, E, H>::new(core, options, recorded, future);
        if let Err(cause) = place(core, cell, hold) {
            return bear_cancelled(core, cell, cause);
        }
        if eager {
            core.hosted().poll_inside(cell.link(), || drive::poll_eagerly(cell));
        }
        LocalTask::new(cell)
    }
}

/// # Safety
///
/// As for [`spawn`].
pub(super) unsafe fn try_spawn<'env, F, T, E, H>(
    core: &Arc<GroupCore<E>>,
    future: F,
    options: Options,
) -> Result<LocalTask<'env, T, H>, TrySpawnError<F>>
where
    F: Future + 'env,
    F::Output: Into<Ended<T, E>>,
    T: 'env,
    E: Send + 'static,
    H: Host,
{
    let hold = options.hold();
    if let Some(cause) = core.node().refuses(hold) {
        return Err(TrySpawnError::new(future, cause));
    }
    let eager = options.eager;
    // SAFETY: as in `spawn`.
    unsafe {
        let recorded = count_spawn::<E, H>(core);
        let cell = At::<F, T, E, H>::new(core, options, recorded, future);
        if let Err(cause) = place(core, cell, hold) {
            return Err(TrySpawnError::new(cell.into_future(), cause));
        }
        if eager {
            core.hosted().poll_inside(cell.link(), || drive::poll_eagerly(cell));
        }
        Ok(LocalTask::new(cell))
    }
}

/// When a child was spawned, if there is to be a record of it.
///
/// # Safety
///
/// As for [`spawn`].
#[inline]
unsafe fn count_spawn<E: Send + 'static, H: Host>(core: &GroupCore<E>) -> Option<Instant> {
    let hosted = core.hosted();
    hosted.count_spawn(H::SHARED).then(|| match H::SHARED {
        true => tree::stamp(),
        // SAFETY: H1: on the thread of the group.
        false => unsafe { hosted.reading() },
    })
}

/// Puts a child into the queue. An error: the group has ended meanwhile, nobody else has seen the child.
///
/// # Safety
///
/// As for [`spawn`]; the cell is new.
#[inline]
unsafe fn place<F, T, E, H>(
    core: &Arc<GroupCore<E>>,
    cell: At<F, T, E, H>,
    hold: Hold,
) -> Result<(), CancelCause>
where
    E: Send + 'static,
    H: Host,
{
    if !H::SHARED {
        // SAFETY: H1: on the thread of the group. It is queued from its beginning, with the host's reference.
        unsafe { core.hosted().push_here(cell.link(), hold == Hold::Background, || core.member()) };
        return Ok(());
    }
    // SAFETY: as above.
    if unsafe { core.hosted().push_from_anywhere(cell.link(), || core.member()) } {
        return Ok(());
    }
    core.hosted().uncount_spawn();
    let ended = || CancelCause::new(CancelReason::GroupEnded, core.node().info());
    Err(core.node().refuses(hold).unwrap_or_else(ended))
}

/// A child that was refused: never polled, its future dropped before `spawn` returns (R5).
#[cold]
fn bear_cancelled<'env, F, T, E, H>(
    core: &Arc<GroupCore<E>>,
    cell: At<F, T, E, H>,
    cause: CancelCause,
) -> LocalTask<'env, T, H>
where
    F: Future + 'env,
    F::Output: Into<Ended<T, E>>,
    T: 'env,
    E: Send + 'static,
    H: Host,
{
    core.node().count_born_cancelled(&cell.child().node, &cause);
    // SAFETY: C1: nobody else has the cell; what reference there is goes to the handle.
    unsafe {
        drive::end_unborn(cell, cause);
        LocalTask::new(cell)
    }
}

pub(super) fn live<E: Send + 'static>(core: &GroupCore<E>) -> usize {
    core.node().live() + core.hosted().unentered()
}

/// What has become of the children. Those that stand in no books are counted as running.
pub(super) fn report<E: Send + 'static, H: Host>(core: &GroupCore<E>) -> GroupReport {
    if !H::SHARED {
        // SAFETY: H1: on the thread of the group.
        unsafe { core.hosted().flush(core.node()) };
    }
    core.report()
}
