//! How a child ended: for its group, and for its handle.

use std::fmt;
use std::panic::Location;

use super::Panic;
use crate::tree::{CancelCause, CancelEnd, ChildEnd, Id, NodeInfo};

/// What became of a child's future, told by whoever polled it last.
pub(crate) enum Ended<T, E> {
    Value(T),
    Error(E),
    Panicked(Panic),
    /// Its error or panic went to its starter: it failed, but not for the group (R20).
    Diverted {
        panicked: bool,
    },
}

impl<T, E> From<Result<T, E>> for Ended<T, E> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Ended::Value(value),
            Err(error) => Ended::Error(error),
        }
    }
}

/// A failure on its way to the group.
pub(crate) enum Problem<E> {
    Error(E),
    Panic(Panic),
}

/// What the cell keeps for the handle.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Value(T),
    Failed,
    Panicked,
    /// `answered`: it ended by itself, with an error that means "cancelled".
    Cancelled {
        cause: CancelCause,
        started: bool,
        answered: bool,
    },
    Taken,
}

impl<T> Outcome<T> {
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Outcome::Failed | Outcome::Panicked)
    }

    /// The outcome as the handle tells it. The error names the task.
    pub(crate) fn into_result(self, who: impl FnOnce() -> NodeInfo) -> Result<T, TaskError> {
        let kind = match self {
            Outcome::Value(value) => return Ok(value),
            other => other.kind(),
        };
        Err(TaskError { kind, who: who() })
    }

    pub(crate) fn as_result(&self, who: impl FnOnce() -> NodeInfo) -> Result<&T, TaskError> {
        match self {
            Outcome::Value(value) => Ok(value),
            other => Err(TaskError { kind: other.kind(), who: who() }),
        }
    }

    /// The outcome as the group counts it.
    pub(crate) fn end(&self, forced: bool) -> ChildEnd {
        ChildEnd::Cancelled(match self {
            Outcome::Value(_) | Outcome::Taken => return ChildEnd::Completed,
            Outcome::Failed => return ChildEnd::Failed,
            Outcome::Panicked => return ChildEnd::Panicked,
            Outcome::Cancelled { started: false, .. } => CancelEnd::NeverStarted,
            Outcome::Cancelled { answered: true, .. } => CancelEnd::Asked,
            Outcome::Cancelled { .. } if forced => CancelEnd::Dropped,
            Outcome::Cancelled { .. } => CancelEnd::Cut,
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Outcome::Value(_) => unreachable!("a value is not an error"),
            Outcome::Failed => Kind::Failed,
            Outcome::Panicked => Kind::Panicked,
            Outcome::Cancelled { cause, started, .. } => {
                Kind::Cancelled { cause: cause.clone(), started: *started }
            }
            Outcome::Taken => panic!("the result of this task has been taken already"),
        }
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Failed,
    Panicked,
    Cancelled { cause: CancelCause, started: bool },
    Unfinished,
    RuntimeThread,
}

/// Why a [`Task`](crate::Task) has no value.
///
/// A failed task's own error is not in here: it went to the group, once (R11). What is in here is which
/// task, and for a cancelled one who cancelled it and why.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let group: taskgroup::TaskGroup = taskgroup::TaskGroup::new();
/// let task = group.task().name("ticker").spawn(std::future::pending::<Result<(), _>>());
/// task.cancel_because("not needed");
/// let error = task.await.unwrap_err();
/// assert!(error.is_cancelled());
/// assert!(error.to_string().contains("ticker"));
/// assert_eq!(error.reason().unwrap().to_string(), "not needed");
/// # }
/// ```
#[derive(Clone)]
pub struct TaskError {
    kind: Kind,
    who: NodeInfo,
}

impl TaskError {
    pub(crate) fn unfinished(who: NodeInfo) -> Self {
        Self { kind: Kind::Unfinished, who }
    }

    pub(crate) fn runtime_thread(who: NodeInfo) -> Self {
        Self { kind: Kind::RuntimeThread, who }
    }

    /// The task returned an error, which its group has.
    pub fn is_failed(&self) -> bool {
        matches!(self.kind, Kind::Failed)
    }

    /// The task panicked; the payload went to its group.
    pub fn is_panicked(&self) -> bool {
        matches!(self.kind, Kind::Panicked)
    }

    /// The task was cancelled, alone or with its group.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, Kind::Cancelled { .. })
    }

    /// The task was cancelled before its first poll: none of its code has run.
    pub fn never_started(&self) -> bool {
        matches!(self.kind, Kind::Cancelled { started: false, .. })
    }

    /// The task has not ended: `into_result` came too early.
    pub fn is_unfinished(&self) -> bool {
        matches!(self.kind, Kind::Unfinished)
    }

    /// `wait` was called on a thread of a runtime, where blocking could wait for itself.
    pub fn is_runtime_thread(&self) -> bool {
        matches!(self.kind, Kind::RuntimeThread)
    }

    /// Who cancelled it, and why.
    pub fn reason(&self) -> Option<&CancelCause> {
        match &self.kind {
            Kind::Cancelled { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// The identity of the task.
    pub fn id(&self) -> Id {
        self.who.id()
    }

    /// The name of the task, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.who.name()
    }

    /// Where the task was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.who.location()
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (spawned at {}) ", self.who, self.who.location())?;
        match &self.kind {
            Kind::Failed => f.write_str("failed: its group has the error"),
            Kind::Panicked => f.write_str("panicked: its group has the payload"),
            Kind::Cancelled { cause, started: true } => write!(f, "was cancelled: {cause}"),
            Kind::Cancelled { cause, started: false } => {
                write!(f, "was cancelled before it started: {cause}")
            }
            Kind::Unfinished => f.write_str("has not ended: await it, or ask after its group's exit"),
            Kind::RuntimeThread => f.write_str(
                "cannot be waited for on a thread of a runtime, which would block it: use `.await` here",
            ),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskError({self})")
    }
}

impl std::error::Error for TaskError {}
