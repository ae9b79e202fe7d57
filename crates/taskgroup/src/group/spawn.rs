//! Putting a child into a group: register, place, check again.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use super::blocking::BlockingCall;
use super::core::{GroupCore, ToGroup};
use super::limit::Reserved;
use super::token::CancelToken;
use crate::sync::Arc;
use crate::task::{Ended, Task, TaskCell, place_blocking};
use crate::trace::Span;
use crate::tree::{self, CancelCause, DropMode, Hold, Member, Node, NodeKind, NodeRef, Owed, Placing};

/// How a child is spawned.
pub(super) struct Options {
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) background: bool,
    pub(super) eager: bool,
    pub(super) cooperative: bool,
    pub(super) grace: Option<Duration>,
    /// Where the group has a limit, and somebody waited for room.
    pub(super) place: Option<Reserved>,
    pub(super) location: &'static Location<'static>,
}

impl Options {
    pub(super) fn new(location: &'static Location<'static>) -> Self {
        let (name, grace, place) = (None, None, None);
        Self { name, background: false, eager: false, cooperative: false, grace, place, location }
    }

    fn hold(&self) -> Hold {
        if self.background { Hold::Background } else { Hold::Ordinary }
    }

    fn into_node(self, kind: NodeKind) -> Node {
        let node = Node::new(kind, self.name, self.location);
        if self.cooperative {
            node.set_cooperative();
        }
        node
    }
}

impl<E: Send + 'static> GroupCore<E> {
    #[track_caller]
    pub(super) fn spawn<F, T>(self: &Arc<Self>, future: F, mut options: Options) -> Task<T>
    where
        F: Future + Send + 'static,
        F::Output: Into<Ended<T, E>>,
        T: Send + 'static,
    {
        self.runtime();
        let (hold, eager, grace) = (options.hold(), options.eager, self.grace_of(&options));
        let place = options.place.take();
        let node = options.into_node(NodeKind::Task);
        let span = self.span_of(&node);
        let cell = TaskCell::<F, T, ToGroup<E>>::new(node, future, span, grace);
        if let Err(cause) = self.place(&cell, hold, eager, place) {
            self.bear_cancelled(&cell, cause);
        }
        Task::new(cell)
    }

    #[track_caller]
    pub(super) fn try_spawn<F, T>(
        self: &Arc<Self>,
        future: F,
        mut options: Options,
    ) -> Result<Task<T>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        self.runtime();
        let (hold, eager, grace) = (options.hold(), options.eager, self.grace_of(&options));
        let place = options.place.take();
        let node = options.into_node(NodeKind::Task);
        let span = self.span_of(&node);
        let cell = TaskCell::<F, T, ToGroup<E>>::new(node, future, span, grace);
        match self.place(&cell, hold, eager, place) {
            Ok(()) => Ok(Task::new(cell)),
            Err(cause) => Err(TrySpawnError { future: cell.into_future(), cause }),
        }
    }

    #[track_caller]
    pub(super) fn spawn_blocking<F, T>(self: &Arc<Self>, closure: F, mut options: Options) -> Task<T>
    where
        F: FnOnce(&CancelToken) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
    {
        self.runtime();
        let (hold, place) = (options.hold(), options.place.take());
        let node = options.into_node(NodeKind::Blocking);
        let span = self.span_of(&node);
        let cell = TaskCell::<_, T, ToGroup<E>>::new(node, BlockingCall::new(closure), span, None);
        match self.admit(&cell, hold, Placing::Elsewhere) {
            Ok(()) => {
                self.begin(&cell, place, |core, cell, _| place_blocking(core.runtime(), Arc::clone(cell)))
            }
            Err(cause) => self.bear_cancelled(&cell, cause),
        }
        Task::new(cell)
    }

    /// The shorter of the group's grace period and the task's own.
    fn grace_of(&self, options: &Options) -> Option<Duration> {
        options.grace.into_iter().chain(self.grace()).min()
    }

    /// The span of a task that is being spawned here.
    fn span_of(&self, task: &Node) -> Span {
        Span::of_task(task.name(), task.id().as_u64(), self.node().id().as_u64())
    }

    fn admit<M: Member + 'static>(
        self: &Arc<Self>,
        cell: &Arc<M>,
        hold: Hold,
        placing: Placing,
    ) -> Result<(), CancelCause> {
        if self.group_limit().is_some() {
            cell.node().set_limited();
        }
        let owed = Node::admit(self.member(), Arc::clone(cell) as NodeRef, hold, placing)?;
        if !matches!(owed, Owed::Nothing) {
            tree::pay(&self.member(), owed);
        }
        Ok(())
    }

    /// A child that was refused: never polled, its future dropped before `spawn` returns (R5).
    fn bear_cancelled<M: Member + 'static>(&self, cell: &Arc<M>, cause: CancelCause) {
        let member = Arc::clone(cell) as NodeRef;
        self.node().count_born_cancelled(member.node(), &cause);
        tree::cancel(&member, cause);
        member.drop_now(DropMode::Wait);
    }

    /// Enters a child in the books and gives it to the crew, now or when it is its turn.
    fn place<F, T>(
        self: &Arc<Self>,
        cell: &Arc<TaskCell<F, T, ToGroup<E>>>,
        hold: Hold,
        eager: bool,
        place: Option<Reserved>,
    ) -> Result<(), CancelCause>
    where
        F: Future + Send + 'static,
        F::Output: Into<Ended<T, E>>,
        T: Send + 'static,
    {
        if !eager && self.group_limit().is_none() {
            cell.set_queued();
            return self.admit(cell, hold, Placing::Queued);
        }
        self.admit(cell, hold, Placing::Later)?;
        self.begin(cell, place, move |core, cell, now| match eager && now {
            true => core.poll_eagerly(cell),
            false => Member::wake(Arc::clone(cell)),
        });
        Ok(())
    }

    /// The child is registered already: a cancel that comes while it is polled finds it, and the poll ends with a
    /// look at the mark.
    fn poll_eagerly<F, T>(&self, cell: &Arc<TaskCell<F, T, ToGroup<E>>>)
    where
        F: Future + Send + 'static,
        F::Output: Into<Ended<T, E>>,
        T: Send + 'static,
    {
        let _runtime = self.runtime().enter();
        cell.poll_eagerly();
    }
}

pub(crate) async fn into_error<T, X, E>(future: impl Future<Output = Result<T, X>>) -> Result<T, E>
where
    X: Into<E>,
{
    future.await.map_err(Into::into)
}

/// The answer of `try_spawn` when the group is cancelled or has ended: the future, unpolled, and the cause.
pub struct TrySpawnError<F> {
    future: F,
    cause: CancelCause,
}

impl<F> TrySpawnError<F> {
    pub(crate) fn new(future: F, cause: CancelCause) -> Self {
        Self { future, cause }
    }

    /// The future that was not spawned.
    pub fn into_future(self) -> F {
        self.future
    }

    /// Why it was not.
    pub fn cause(&self) -> &CancelCause {
        &self.cause
    }
}

impl<F> fmt::Display for TrySpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.cause.target();
        write!(f, "the task was not spawned: {target} is not active any more: {}", self.cause)
    }
}

impl<F> fmt::Debug for TrySpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySpawnError").field("cause", &self.cause).finish_non_exhaustive()
    }
}

impl<F> std::error::Error for TrySpawnError<F> {}
