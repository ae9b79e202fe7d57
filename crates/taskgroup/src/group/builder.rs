//! The settings of a group.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use super::clock::Limit;
use super::limit::Limiter;
use super::{ScopeBody, TaskGroup, scope};
use crate::error::ErrorGroup;
use crate::slow_exit;
use crate::tree::DropMode;

/// What the first failure does to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// It cancels the body and every sibling (R7).
    #[default]
    Cancel,
    /// When a task fails the others go on, and the body too; every failure is reported at exit. A body that
    /// fails cancels the tasks all the same: nobody is left to end them. So does a panic, unless it is
    /// collected ([`OnPanic::Collect`]).
    Continue,
}

/// What a panic in a task or in the body does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnPanic {
    /// It cancels everybody; when all have ended, the first payload is resumed in the host (R10).
    #[default]
    Resume,
    /// It is a failure like an error: see [`Failure::panic`](crate::Failure::panic).
    Collect,
}

/// What dropping the group waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDrop {
    /// Until no future of the group is alive (R2).
    #[default]
    Wait,
    /// For nothing: a task that is being polled elsewhere is cancelled, and dropped when that poll returns.
    Abandon,
}

pub(crate) type TreatAsCancelled<E> = Box<dyn Fn(&E) -> bool + Send + Sync>;

pub(crate) struct Settings<E> {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) on_failure: OnFailure,
    pub(crate) on_panic: OnPanic,
    pub(crate) on_drop: DropMode,
    pub(crate) max_failures: usize,
    pub(crate) limit: Option<Limit>,
    pub(crate) running_max: Option<usize>,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) grace: Option<Duration>,
    /// The longest there is: never.
    pub(crate) slow_exit: Duration,
    pub(crate) report_records: Option<usize>,
    pub(crate) treat_as_cancelled: Option<TreatAsCancelled<E>>,
}

impl<E> Default for Settings<E> {
    fn default() -> Self {
        Self {
            name: None,
            on_failure: OnFailure::default(),
            on_panic: OnPanic::default(),
            on_drop: DropMode::Wait,
            max_failures: 64,
            limit: None,
            running_max: None,
            limiter: None,
            grace: None,
            slow_exit: slow_exit::DEFAULT,
            report_records: None,
            treat_as_cancelled: None,
        }
    }
}

/// The settings of a group to be: from [`TaskGroup::builder`], ended by [`build`](Self::build) or [`scope`](Self::scope).
#[must_use = "settings do nothing until `build` or `scope` is called"]
pub struct Builder<E = crate::Error> {
    pub(super) settings: Settings<E>,
}

impl<E: Send + 'static> Builder<E> {
    pub(crate) fn new() -> Self {
        Self { settings: Settings::default() }
    }

    pub(crate) fn into_settings(self) -> Settings<E> {
        self.settings
    }

    /// The group's name in errors, causes and paths.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// What the first failure does to the others. Default: it cancels them.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.settings.on_failure = on_failure;
        self
    }

    /// What a panic does. Default: it is resumed in the host when all have ended.
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.settings.on_panic = on_panic;
        self
    }

    /// What dropping the group waits for. Default: until no future of the group is alive.
    pub fn on_drop(mut self, on_drop: OnDrop) -> Self {
        self.settings.on_drop = match on_drop {
            OnDrop::Wait => DropMode::Wait,
            OnDrop::Abandon => DropMode::Abandon,
        };
        self
    }

    /// How many failures are stored; the rest is counted in [`ErrorGroup::more`]. Default 64. A panic that
    /// is to be resumed is stored in any case.
    pub fn max_failures(mut self, max_failures: usize) -> Self {
        self.settings.max_failures = max_failures;
        self
    }

    /// At most so many tasks of the group run at a time; those spawned beyond are queued.
    ///
    /// First come, first served. A queued task is in the group: it counts for [`len`](TaskGroup::len), and the group
    /// stays open for it (R6); but none of its code runs before its turn. Cancelled, by its handle or with its
    /// group, it leaves the queue at once, and never starts.
    ///
    /// Every task counts, background, cooperative and [started](TaskGroup::start) ones and blocking closures too; the
    /// body does not. So a background task that never ends keeps its place: count it in. A place is free again when
    /// its task's future has been dropped, however the task ended; where a task fails, those queued are cancelled
    /// first. An [eager](crate::TaskBuilder::eager) task is polled in `spawn` only if there is room at once.
    ///
    /// Spawning does not wait. To keep the queue short, wait for room with
    /// [`spawn_when_ready`](TaskGroup::spawn_when_ready) or [`ready`](TaskGroup::ready). With 0 nothing starts until
    /// [`set_limit`](TaskGroup::set_limit) says more. To limit several groups together there is
    /// [`limiter`](Self::limiter).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::builder().limit(8).build();
    /// for number in 0..100 {
    ///     group.spawn(async move { Ok(number * number) }); // at most eight of them at a time
    /// }
    /// assert_eq!((group.len(), group.report().queued()), (100, 92));
    /// group.join().await
    /// # }
    /// ```
    ///
    /// # Deadlocks
    ///
    /// A running task that waits for a queued one of its own group, by its handle or in
    /// [`start`](TaskGroup::start), waits for a place to become free: if all that run do so, none does.
    /// [`stragglers`](TaskGroup::stragglers) shows it: tasks that are [`Limited`](crate::StragglerState::Limited), and
    /// none that gets on. Wait in the body, or for tasks of an inner group. (For tasks that all wait for *room*, see
    /// [`ready`](TaskGroup::ready).)
    pub fn limit(mut self, running_max: usize) -> Self {
        self.settings.running_max = Some(running_max);
        self
    }

    /// A limit that several groups share: see [`Limiter`].
    ///
    /// ```
    /// # use taskgroup::{Limiter, TaskGroup};
    /// let cpus = Limiter::new(4);
    /// let thumbnails: TaskGroup = TaskGroup::builder().limiter(&cpus).build();
    /// let previews: TaskGroup = TaskGroup::builder().limiter(&cpus).build();
    /// # drop((thumbnails, previews));
    /// ```
    pub fn limiter(mut self, limiter: &Limiter) -> Self {
        self.settings.limiter = Some(limiter.clone());
        self
    }

    /// How long the whole group may take, counted from the first poll of `run`, `join` or `scope` (R19).
    ///
    /// When the time is over, everybody is cancelled and waited for. If that cut anything, an
    /// [`ErrorGroup`] without failures comes out, whose [`cause`](ErrorGroup::cause) is the deadline; real
    /// errors are reported as ever.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// use std::time::Duration;
    /// use taskgroup::{CancelReason, TaskGroup};
    /// let group: TaskGroup = TaskGroup::builder().timeout(Duration::from_secs(30)).build();
    /// group.spawn(std::future::pending::<Result<(), _>>());
    /// let error = group.run(async { Ok(()) }).await.unwrap_err();
    /// assert!(error.is_cancelled());
    /// assert!(matches!(error.cause().unwrap().reason(), CancelReason::Deadline(..)));
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.limit = Some(Limit::After(timeout));
        self
    }

    /// Until when the whole group may take; otherwise as [`timeout`](Self::timeout). The later call of the two
    /// counts.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.settings.limit = Some(Limit::At(deadline));
        self
    }

    /// How long body and tasks may take to end once the group has been cancelled; then all that is left is
    /// dropped (R15). Default: as long as they need.
    ///
    /// It bounds what a cancel does not cut: [cooperative](crate::TaskBuilder::cooperative) tasks, shields,
    /// cleanup. A blocking closure cannot be dropped, it is waited for. A task that is cancelled alone has the
    /// same time; [`TaskBuilder::grace`](crate::TaskBuilder::grace) can make it shorter.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = Some(grace);
        self
    }

    /// How long the exit may take after a cancel before it is logged who holds it up. Default: ten seconds.
    ///
    /// Then each task that is left becomes a `tracing` event of level `WARN` with target `taskgroup`, those
    /// first who really hold up the exit; where nobody listens, a line on standard error. It says what
    /// [`stragglers`](TaskGroup::stragglers) says, and again when twice that time more has passed, then four times.
    /// Twenty are told at a time, the rest counted. Of groups inside one another only the outermost logs.
    ///
    /// The same goes for a single task of the group that was cancelled through its [`Task`](crate::Task), and for
    /// a timeout in one whose time was over. A group that is not cancelled has no timer for it. It needs a runtime
    /// with its clock enabled; on one without, the first attempt panics, which is caught and explained on standard
    /// error, and nothing is logged. In programs built with `panic = "abort"`, where nothing can be caught, there is
    /// no default: it is logged where this is called.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// # use taskgroup::TaskGroup;
    /// use std::time::Duration;
    /// let group: TaskGroup = TaskGroup::builder().slow_exit(Duration::from_secs(2)).build();
    /// group.task().name("stubborn").cooperative(|_token| async {
    ///     tokio::time::sleep(Duration::from_secs(5)).await; // logged after two seconds
    ///     Ok(())
    /// });
    /// tokio::task::yield_now().await;
    /// group.cancel();
    /// group.join().await.unwrap();
    /// # }
    /// ```
    pub fn slow_exit(mut self, after: Duration) -> Self {
        self.settings.slow_exit = after;
        self
    }

    /// Does not log who holds up the exit.
    ///
    /// ```
    /// # use taskgroup::TaskGroup;
    /// let patient: TaskGroup = TaskGroup::builder().name("uploads").no_slow_exit().build();
    /// # drop(patient);
    /// ```
    pub fn no_slow_exit(mut self) -> Self {
        self.settings.slow_exit = Duration::MAX;
        self
    }

    /// Of how many tasks, the first that are spawned, the [report](TaskGroup::report) has a record. Default 32.
    ///
    /// A record is about a hundred bytes. With 0 there are only those of tasks that needed force.
    ///
    /// ```
    /// # use taskgroup::TaskGroup;
    /// let group: TaskGroup = TaskGroup::builder().report_records(500).build();
    /// # drop(group);
    /// ```
    pub fn report_records(mut self, records_max: usize) -> Self {
        self.settings.report_records = Some(records_max);
        self
    }

    /// Which errors of a *cancelled* task mean "I was cancelled" and are no failures (R9), beside those that
    /// are or carry [`Cancelled`](crate::Cancelled).
    ///
    /// ```
    /// # use taskgroup::TaskGroup;
    /// # use std::io;
    /// let group: TaskGroup<io::Error> = TaskGroup::builder()
    ///     .treat_as_cancelled(|error: &io::Error| error.kind() == io::ErrorKind::Interrupted)
    ///     .build();
    /// # drop(group);
    /// ```
    pub fn treat_as_cancelled(mut self, predicate: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.settings.treat_as_cancelled = Some(Box::new(predicate));
        self
    }

    /// Opens the group.
    #[track_caller]
    pub fn build(self) -> TaskGroup<E> {
        TaskGroup::open(self.settings, Location::caller())
    }

    /// Opens the group around a closure: [`scope`](crate::scope()) with these settings.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
    /// use taskgroup::TaskGroup;
    /// let answer = TaskGroup::builder().name("answers").scope(async |tg| {
    ///     Ok(tg.spawn(async { Ok(42) }).await?)
    /// });
    /// assert_eq!(answer.await?, 42);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`scope`](crate::scope()).
    ///
    /// # Panics
    ///
    /// As [`scope`](crate::scope()).
    #[track_caller]
    pub fn scope<T, F>(self, body: F) -> impl Future<Output = Result<T, ErrorGroup<E>>> + Send + use<T, F, E>
    where
        F: for<'a> ScopeBody<'a, T, E, Fut: Send> + Send,
        T: Send,
    {
        scope::scope_with(self.settings, body, Location::caller())
    }
}

impl<E> fmt::Debug for Builder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.settings.name)
            .field("on_failure", &self.settings.on_failure)
            .field("on_panic", &self.settings.on_panic)
            .field("on_drop", &self.settings.on_drop)
            .field("max_failures", &self.settings.max_failures)
            .field("time_limit", &self.settings.limit)
            .field("running_max", &self.settings.running_max)
            .field("limiter", &self.settings.limiter)
            .field("grace", &self.settings.grace)
            .field("slow_exit", &self.settings.slow_exit)
            .finish_non_exhaustive()
    }
}
