//! Who cancelled, and why: the reason every cancel carries (R16).
//!
//! A cause is one link of a chain that ends at the root reason. Nodes under one parent share the
//! parent's link; a new link is made where a cancelled task reaches down into a group it owns. So a
//! cancel of 10,000 siblings makes one cause, and a chain is as long as the groups are nested.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use super::Node;
use crate::sync::Arc;
use crate::trace::Fields;

/// The identity of a group or a task, unique in the process.
///
/// Use it to tell tasks without a name apart; it is what `#12` means in every text of this crate.
///
/// ```
/// let group: taskgroup::TaskGroup = taskgroup::TaskGroup::new();
/// println!("started {}", group.id()); // started #1
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u64);

impl Id {
    /// Each thread takes a block of numbers at a time, so that threads that spawn do not meet here.
    pub(crate) fn next() -> Self {
        use std::cell::Cell;
        use std::sync::atomic::{AtomicU64, Ordering};
        const BLOCK: u64 = 64;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local! {
            static LEFT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
        }
        LEFT.with(|left| {
            let (mut next, mut end) = left.get();
            if next == end {
                // Relaxed: only uniqueness matters, and a read-modify-write always sees the newest value.
                next = NEXT.fetch_add(BLOCK, Ordering::Relaxed);
                end = next + BLOCK;
            }
            left.set((next + 1, end));
            Self(next)
        })
    }

    /// The number behind the `#`.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What sort of node of the task tree something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeKind {
    /// A group.
    Group,
    /// The body of a group: the future given to `run` or `scope`.
    Body,
    /// A task of a group.
    Task,
    /// A blocking closure of a group.
    Blocking,
    /// A child that has not said `ready` yet, seen from its starter.
    Start,
    /// A part of a task or body that is cancelled as a unit: a timeout or a [`CancelScope`](crate::CancelScope).
    Scope,
    /// A part that a cancel from outside does not reach (R14).
    Shield,
    /// A [`CancelToken`](crate::CancelToken) of its own.
    Token,
}

impl NodeKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            NodeKind::Group => "group",
            NodeKind::Body => "body of group",
            NodeKind::Task => "task",
            NodeKind::Blocking => "blocking task",
            NodeKind::Start => "starting task",
            NodeKind::Scope => "scope",
            NodeKind::Shield => "shield",
            NodeKind::Token => "token",
        }
    }
}

/// A node of the task tree as it is named in errors and causes: kind, id, name, and the place in the
/// source where it was made.
///
/// Its `Display` is `task "fetch 7" (#12)`.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeInfo {
    pub(crate) kind: NodeKind,
    pub(crate) id: Id,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) location: &'static Location<'static>,
}

impl NodeInfo {
    /// What sort of node it is.
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// Its identity. A body has the identity of its group.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was spawned or opened.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        let (name, id) = (self.name(), Some(self.id.as_u64()));
        Fields { name, id, location: Some(self.location), ..Fields::default() }
    }
}

impl fmt::Display for NodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.kind.word();
        match &self.name {
            Some(name) => write!(f, "{word} {name:?} ({})", self.id),
            None => write!(f, "{word} {}", self.id),
        }
    }
}

impl fmt::Debug for NodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} at {}", self.location)
    }
}

/// Why something was cancelled, without the chain that led there; see [`CancelCause`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// A task of the same group, or its body, failed: this one.
    SiblingFailed(NodeInfo),
    /// A task of the same group, or its body, panicked: this one.
    SiblingPanicked(NodeInfo),
    /// Somebody called `cancel` or `cancel_because`, with this message if any.
    Requested(Option<Cow<'static, str>>),
    /// The task (or body) that owns the group was cancelled: this one.
    HostCancelled(NodeInfo),
    /// The deadline of this scope or group passed; it had been given this long, counted from its entry.
    Deadline(NodeInfo, Duration),
    /// The process was sent this signal.
    Signal(Signal),
    /// This group or task had been cancelled, and the time it was given to end was over.
    GraceEnded(NodeInfo),
    /// The group, or the future of its `run`, `join` or `start`, was dropped.
    GroupDropped,
    /// The group had ended, or had nothing left but background tasks.
    GroupEnded,
    /// The runtime that polled the task was shut down.
    RuntimeShutdown,
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// A person pressed Ctrl-C.
    Interrupt,
    /// A supervisor asked the process to end.
    Terminate,
}

impl Signal {
    /// The signal's number: 2 or 15.
    pub fn number(self) -> u8 {
        match self {
            Signal::Interrupt => 2,
            Signal::Terminate => 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
        })
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CancelReason::SiblingFailed(who) => write!(f, "{who} failed (at {})", who.location),
            CancelReason::SiblingPanicked(who) => write!(f, "{who} panicked (at {})", who.location),
            CancelReason::Requested(Some(message)) => write!(f, "{message}"),
            CancelReason::Requested(None) => f.write_str("cancel was called"),
            CancelReason::HostCancelled(who) => write!(f, "{who} was cancelled"),
            CancelReason::Deadline(scope, after) => {
                write!(f, "{scope} (opened at {}) ran out of time after {after:?}", scope.location)
            }
            CancelReason::GraceEnded(who) => write!(f, "the grace period of {who} was over"),
            CancelReason::Signal(signal) => write!(f, "{signal} was received"),
            CancelReason::GroupDropped => f.write_str("the group was dropped"),
            CancelReason::GroupEnded => f.write_str("the group had ended"),
            CancelReason::RuntimeShutdown => f.write_str("the runtime was shut down"),
        }
    }
}

/// Why something was cancelled: a reason, whom it was addressed to, and what led to it.
///
/// Read it from [`TaskError::reason`](crate::TaskError::reason), [`ErrorGroup::cause`](crate::ErrorGroup::cause)
/// or a [`CancelToken`](crate::CancelToken). The first cause of a node stays (R16). Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use taskgroup::{CancelReason, TaskGroup};
/// let group: TaskGroup = TaskGroup::new();
/// let task = group.spawn(std::future::pending::<Result<(), _>>());
/// group.cancel_because("closing time");
/// let error = task.await.unwrap_err();
/// let cause = error.reason().unwrap();
/// assert_eq!(cause.to_string(), "closing time");
/// assert!(matches!(cause.root().reason(), CancelReason::Requested(Some(text)) if text == "closing time"));
/// # }
/// ```
#[derive(Clone)]
pub struct CancelCause(Arc<Link>);

struct Link {
    reason: CancelReason,
    target: NodeInfo,
    at: Instant,
    because: Option<CancelCause>,
}

impl CancelCause {
    pub(crate) fn new(reason: CancelReason, target: NodeInfo) -> Self {
        Self(Arc::new(Link { reason, target, at: Instant::now(), because: None }))
    }

    /// The link from a cancelled region to the groups it owns.
    pub(crate) fn host_cancelled(host: NodeInfo, target: NodeInfo, because: CancelCause) -> Self {
        let reason = CancelReason::HostCancelled(host);
        Self(Arc::new(Link { reason, target, at: because.at(), because: Some(because) }))
    }

    /// What is still left below a node whose grace period is over is dropped by this.
    pub(crate) fn grace_ended(node: &Node) -> Self {
        let reason = CancelReason::GraceEnded(node.info());
        Self(Arc::new(Link { reason, target: node.info(), at: Instant::now(), because: node.cause() }))
    }

    /// The reason at this link of the chain.
    pub fn reason(&self) -> &CancelReason {
        &self.0.reason
    }

    /// The node whose cancel this was: a task that was cancelled alone, or the group through which it came.
    pub fn target(&self) -> &NodeInfo {
        &self.0.target
    }

    /// When the cancel came.
    pub fn at(&self) -> Instant {
        self.0.at
    }

    /// The cause of this cause, one step nearer to the root.
    pub fn because(&self) -> Option<&CancelCause> {
        self.0.because.as_ref()
    }

    /// This link, the one it came from, and so on up to the root.
    pub fn chain(&self) -> Chain<'_> {
        Chain { next: Some(self) }
    }

    /// The last link of the chain: what happened first.
    pub fn root(&self) -> &CancelCause {
        let mut link = self;
        while let Some(because) = link.because() {
            link = because;
        }
        link
    }
}

/// One line: the reason. With `{:#}`, the whole chain, one link a line, the root last.
impl fmt::Display for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason())?;
        if f.alternate() {
            for link in self.chain().skip(1) {
                write!(f, "\n  because {}", link.reason())?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chain().map(CancelCause::reason)).finish()
    }
}

impl Drop for Link {
    /// Lets go of a long chain link by link: a recursive drop of 10,000 would overflow the stack (R18).
    fn drop(&mut self) {
        let mut next = self.because.take();
        while let Some(cause) = next {
            next = match Arc::try_unwrap(cause.0) {
                Ok(mut link) => link.because.take(),
                Err(_shared) => None,
            };
        }
    }
}

/// The links of a [`CancelCause`], nearest first.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    next: Option<&'a CancelCause>,
}

impl<'a> Iterator for Chain<'a> {
    type Item = &'a CancelCause;

    fn next(&mut self) -> Option<&'a CancelCause> {
        let link = self.next?;
        self.next = link.because();
        Some(link)
    }
}

/// The error that says "I stopped because I was cancelled".
///
/// A cooperative piece of code returns it, usually by `token.check()?`. A cancelled task that answers with
/// it did not fail: it is filtered, and never a leaf of an [`ErrorGroup`](crate::ErrorGroup) (R9).
#[derive(Clone, Debug)]
pub struct Cancelled {
    cause: CancelCause,
}

impl Cancelled {
    pub(crate) fn new(cause: CancelCause) -> Self {
        Self { cause }
    }

    /// Who cancelled, and why.
    pub fn cause(&self) -> &CancelCause {
        &self.cause
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cancelled: {}", self.cause)
    }
}

impl std::error::Error for Cancelled {}
