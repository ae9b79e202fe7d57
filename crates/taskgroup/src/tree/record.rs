//! What is kept of a child that has ended.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use super::{CancelCause, Id, NodeInfo, NodeKind};

/// How a task ended: in a [`ChildRecord`].
///
/// ```
/// # use taskgroup::{CancelEnd, ChildEnd, GroupReport};
/// fn was_torn(report: &GroupReport) -> bool {
///     let torn = |end| matches!(end, ChildEnd::Panicked | ChildEnd::Cancelled(CancelEnd::Dropped));
///     report.records().iter().filter_map(|record| record.end()).any(torn)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChildEnd {
    /// It returned `Ok`; also if it had been cancelled before.
    Completed,
    /// It returned an error that counts as a failure.
    Failed,
    /// It panicked.
    Panicked,
    /// It was cancelled.
    Cancelled(CancelEnd),
}

/// How a cancelled task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelEnd {
    /// It was asked to end, and answered by itself with an error that means "cancelled" (R9).
    Asked,
    /// It was cut at an await; also by the drop of its group, which its cause tells.
    Cut,
    /// It was dropped because its grace period was over (R15).
    Dropped,
    /// None of its code has run.
    NeverStarted,
}

/// What became of one task: an entry of a [`GroupReport`](crate::GroupReport).
///
/// Its `Display` is one line: `task "page 7" (#12) at src/main.rs:40:9: cut at an await after 1.200s: …`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// # use taskgroup::TaskGroup;
/// use std::time::Duration;
/// let group: TaskGroup = TaskGroup::new();
/// let spawner = group.spawner();
/// group.task().name("nap").spawn(async { Ok(tokio::time::sleep(Duration::from_secs(3)).await) });
/// group.join().await.unwrap();
/// let report = spawner.report();
/// let nap = &report.records()[0];
/// assert_eq!((nap.name(), nap.lifetime()), (Some("nap"), Some(Duration::from_secs(3))));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChildRecord {
    pub(super) who: NodeInfo,
    pub(super) spawned_at: Instant,
    pub(super) ended_at: Option<Instant>,
    pub(super) end: Option<ChildEnd>,
    pub(super) waited: bool,
    pub(super) forced: bool,
    pub(super) cause: Option<CancelCause>,
}

impl ChildRecord {
    /// The identity of the task.
    pub fn id(&self) -> Id {
        self.who.id()
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        self.who.name()
    }

    /// Where it was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.who.location()
    }

    /// Whether it is a task or a blocking closure.
    pub fn kind(&self) -> NodeKind {
        self.who.kind()
    }

    /// When it was spawned. Exact for the first tasks of a group; to the tenth of a second for the others, which
    /// have a record because they needed force.
    pub fn spawned_at(&self) -> Instant {
        self.spawned_at
    }

    /// When it had ended; `None` while it has not. For a task that never [waited](Self::waited) it is the time
    /// that the group knew anyhow, of its latest spawn or other end: the clock is not read for it.
    pub fn ended_at(&self) -> Option<Instant> {
        self.ended_at
    }

    /// How long it lived, from its spawn to its end; `None` while it has not ended.
    pub fn lifetime(&self) -> Option<Duration> {
        Some(self.ended_at?.saturating_duration_since(self.spawned_at))
    }

    /// How it ended; `None` while it has not.
    pub fn end(&self) -> Option<ChildEnd> {
        self.end
    }

    /// Whether it ever had to wait for something. A task that did not came to its end in its first poll. Of one
    /// that was cancelled after it had started it is not known, and true is told.
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// Whether its grace period was over before it had ended (R15).
    pub fn needed_force(&self) -> bool {
        self.forced
    }

    /// Who cancelled it, and why. A task can complete or fail although it has been cancelled.
    pub fn cause(&self) -> Option<&CancelCause> {
        self.cause.as_ref()
    }
}

impl fmt::Display for ChildRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: ", self.who, self.who.location())?;
        let Some(end) = self.end else { return f.write_str("running") };
        write!(f, "{end}")?;
        match self.lifetime() {
            _ if end == ChildEnd::Cancelled(CancelEnd::NeverStarted) => {}
            Some(lifetime) if self.waited => write!(f, " after {lifetime:.3?}")?,
            _ => f.write_str(" at its first poll")?,
        }
        match &self.cause {
            Some(cause) if end == ChildEnd::Completed => write!(f, ", though cancelled: {cause}"),
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChildEnd::Completed => "completed",
            ChildEnd::Failed => "failed",
            ChildEnd::Panicked => "panicked",
            ChildEnd::Cancelled(CancelEnd::Asked) => "ended as asked",
            ChildEnd::Cancelled(CancelEnd::Cut) => "cut at an await",
            ChildEnd::Cancelled(CancelEnd::Dropped) => "dropped after its grace period",
            ChildEnd::Cancelled(CancelEnd::NeverStarted) => "never started",
        })
    }
}
