//! One failure: what went wrong, and with whom.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;

use super::{carrier, display};
use crate::task::{Panic, Problem};
use crate::tree::{Id, NodeInfo, NodeKind};

/// One entry of an [`ErrorGroup`](crate::ErrorGroup): the error or panic of a task or a body, with who it
/// was, where it was spawned, and where in the tree it stood.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let error = taskgroup::scope(async |tg: &taskgroup::TaskGroup| {
///     tg.task().name("loader").spawn(async { Err::<(), _>(anyhow::anyhow!("no such file")) });
///     Ok(())
/// })
/// .await
/// .unwrap_err();
/// let failure = error.first().unwrap();
/// assert_eq!(failure.name(), Some("loader"));
/// assert_eq!(failure.error().unwrap().to_string(), "no such file");
/// # }
/// ```
pub struct Failure<E> {
    problem: Problem<E>,
    who: NodeInfo,
    path: Box<str>,
}

impl<E: 'static> Failure<E> {
    pub(crate) fn new(problem: Problem<E>, who: NodeInfo, path: Box<str>) -> Self {
        Self { problem, who, path }
    }

    /// The error; `None` if it was a panic.
    pub fn error(&self) -> Option<&E> {
        match &self.problem {
            Problem::Error(error) => Some(error),
            Problem::Panic(_) => None,
        }
    }

    /// The panic; `None` if it was an error.
    pub fn panic(&self) -> Option<&Panic> {
        match &self.problem {
            Problem::Panic(panic) => Some(panic),
            Problem::Error(_) => None,
        }
    }

    /// The error, owned; a panic is given back.
    ///
    /// # Errors
    ///
    /// The failure itself, if it was a panic.
    pub fn into_error(self) -> Result<E, Self> {
        match self.problem {
            Problem::Error(error) => Ok(error),
            problem => Err(Self { problem, ..self }),
        }
    }

    /// The panic, owned; an error is given back.
    ///
    /// # Errors
    ///
    /// The failure itself, if it was an error.
    pub fn into_panic(self) -> Result<Panic, Self> {
        match self.problem {
            Problem::Panic(panic) => Ok(panic),
            problem => Err(Self { problem, ..self }),
        }
    }

    /// The `X` that the error is, or carries inside an `anyhow::Error` or a boxed error.
    pub fn downcast_ref<X: StdError + Send + Sync + 'static>(&self) -> Option<&X> {
        self.error().and_then(carrier::find)
    }

    /// Whether the error is, or carries, an `X`.
    pub fn is<X: StdError + Send + Sync + 'static>(&self) -> bool {
        self.downcast_ref::<X>().is_some()
    }

    /// The group inside the error, if it is a nested one.
    pub fn nested(&self) -> Option<&super::ErrorGroup<E>> {
        self.error().and_then(carrier::nested)
    }

    /// Whether the body of the group failed rather than one of its tasks.
    pub fn is_body(&self) -> bool {
        self.who.kind() == NodeKind::Body
    }

    /// The identity of the task. A body has that of its group.
    pub fn id(&self) -> Id {
        self.who.id()
    }

    /// The name of the task (or of the group, for a body).
    pub fn name(&self) -> Option<&str> {
        self.who.name()
    }

    /// Where the task was spawned, or the body given to `run`.
    pub fn location(&self) -> &'static Location<'static> {
        self.who.location()
    }

    /// Where in the tree it stood when it failed, the root first: `app > crawler > page 7`. Nodes without a
    /// name stand as their id; of a very deep path the last 16 steps are kept.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn who(&self) -> &NodeInfo {
        &self.who
    }

    /// Names a task that was spawned without a name: here, and as the last step of the path.
    pub(crate) fn set_name(&mut self, name: String) {
        let id = self.who.id().to_string();
        if let Some(above) = self.path.strip_suffix(&id) {
            self.path = format!("{above}{name}").into_boxed_str();
        }
        self.who.name = Some(name.into());
    }

    pub(super) fn error_mut(&mut self) -> Option<&mut E> {
        match &mut self.problem {
            Problem::Error(error) => Some(error),
            Problem::Panic(_) => None,
        }
    }

    /// The same failure with another error.
    pub(super) fn map<E2: 'static>(self, map: impl FnOnce(E) -> E2) -> Failure<E2> {
        let problem = match self.problem {
            Problem::Error(error) => Problem::Error(map(error)),
            Problem::Panic(panic) => Problem::Panic(panic),
        };
        Failure { problem, who: self.who, path: self.path }
    }

    pub(super) fn with_error(&self, error: E) -> Self {
        Self { problem: Problem::Error(error), who: self.who.clone(), path: self.path.clone() }
    }
}

/// One line: who, and what.
impl<E: fmt::Display + 'static> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display::failure_line(self, &display::show))
    }
}

impl<E: fmt::Debug + 'static> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display::failure_line(self, &display::show_debug))
    }
}
