//! Who is left below a node, and why: a walk down the tree.
//!
//! The walk goes through everything: groups, bodies, scopes, shields, tasks and what those own. What it comes
//! upon of tasks, and of bodies that stand in a shield, it lists. A task under whom it lists another waits for
//! that one; those under whom there is nobody are the *leaves*, who really hold up the exit.

use std::collections::HashSet;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use super::member::{Activity, NodeRef};
use super::{CancelCause, Id, NodeInfo, NodeKind, path_of};
use crate::sync::Arc;

/// A task that has not ended: whom a group waits for, and why it takes so long.
///
/// From [`TaskGroup::stragglers`](crate::TaskGroup::stragglers), and in the log of an exit that is
/// [slow](crate::Builder::slow_exit). Its `Display` is one line: `task "flush" (#12) at src/main.rs:40:9, in app >
/// flush, 12.0s old: shielded, cancelled 10.0s ago`.
///
/// ```
/// # use taskgroup::TaskGroup;
/// fn explain(group: &TaskGroup) {
///     for straggler in group.stragglers() {
///         eprintln!("still here: {straggler}");
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Straggler {
    who: NodeInfo,
    path: Box<str>,
    age: Option<Duration>,
    state: StragglerState,
    cause: Option<CancelCause>,
    at: Instant,
}

/// What a task that has not ended is doing.
///
/// ```
/// # use taskgroup::{Straggler, StragglerState};
/// fn hogs_a_thread(straggler: &Straggler) -> bool {
///     matches!(straggler.state(), StragglerState::Polled { .. } | StragglerState::Blocking)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StragglerState {
    /// It has not been cancelled: its group goes on, or a shield or a cooperative task around it keeps the cancel
    /// from it.
    Running,
    /// It is cancelled and stands in a [`shield`](crate::shield()), or runs cleanup.
    Shielded,
    /// It is [cooperative](crate::TaskBuilder::cooperative): it has been told, and ends by itself.
    Cooperative,
    /// It is being polled at this moment: it computes, or blocks its thread.
    Polled {
        /// When the poll began; `None` if it did before the task was cancelled.
        since: Option<Instant>,
    },
    /// A blocking closure on a thread of its own: its token is cancelled, it ends by itself.
    Blocking,
    /// A blocking closure for which no thread was free yet.
    Queued,
    /// Its group, or the [`Limiter`](crate::Limiter) of its group, has no room for it yet: it has not started.
    Limited,
    /// It is cut, and has only to wait for tasks of groups that it owns, which are listed too.
    Waiting,
    /// It is cancelled, and has not been polled since: the runtime's threads are busy.
    Woken,
}

impl Straggler {
    /// The identity of the task; of its group for a body.
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

    /// A task or a blocking closure; a group's body only where a shield inside holds up the exit.
    pub fn kind(&self) -> NodeKind {
        self.who.kind()
    }

    /// How long ago it was spawned, to the tenth of a second (exactly for the first tasks of a group). `None` for
    /// a body.
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// What it is doing.
    pub fn state(&self) -> StragglerState {
        self.state
    }

    /// How long ago it was cancelled; `None` if it was not.
    pub fn since_cancel(&self) -> Option<Duration> {
        Some(self.at.saturating_duration_since(self.cause.as_ref()?.at()))
    }

    /// Who cancelled it, and why.
    pub fn cause(&self) -> Option<&CancelCause> {
        self.cause.as_ref()
    }

    /// The names on the way from the root of the tree: `app > crawler > page 7`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn info(&self) -> &NodeInfo {
        &self.who
    }

    /// The state in words.
    pub(crate) fn doing(&self) -> impl fmt::Display {
        Doing { state: self.state, at: self.at }
    }

    fn new(found: &Found) -> Self {
        let node = found.member.node();
        let at = Instant::now();
        let age = node.spawned_at().map(|spawned| at.saturating_duration_since(spawned));
        Self { who: node.info(), path: path_of(node), age, state: found.state(), cause: node.cause(), at }
    }
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, in {}", self.who, self.who.location(), self.path)?;
        if let Some(age) = self.age {
            write!(f, ", {age:.1?} old")?;
        }
        write!(f, ": {}", self.doing())?;
        match self.since_cancel() {
            Some(since) => write!(f, ", cancelled {since:.1?} ago"),
            None => Ok(()),
        }
    }
}

struct Doing {
    state: StragglerState,
    at: Instant,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            StragglerState::Running => "running",
            StragglerState::Shielded => "shielded",
            StragglerState::Cooperative => "cooperative",
            StragglerState::Polled { since: Some(since) } => {
                let polled = self.at.saturating_duration_since(since);
                return write!(f, "being polled for {polled:.1?}");
            }
            StragglerState::Polled { since: None } => "being polled since before its cancel",
            StragglerState::Blocking => "blocking a thread",
            StragglerState::Queued => "queued for a thread",
            StragglerState::Limited => "queued for a place in its group",
            StragglerState::Waiting => "waiting for its own tasks",
            StragglerState::Woken => "woken, not polled yet",
        })
    }
}

/// Whom a walk has found: the leaves first, then those who wait for them, each from the oldest on.
pub(crate) struct Stragglers {
    pub(crate) listed: Vec<Straggler>,
    /// Those beyond the number that was asked for.
    pub(crate) more: usize,
}

/// Who is left below `root`, of a group; `root` itself too, if it is a task. Lists `max` of them.
pub(crate) fn stragglers(root: &NodeRef, max: usize) -> Stragglers {
    let mut walk = Walk::default();
    let host = (root.node().kind() == NodeKind::Scope).then(|| walk.add(root, None));
    walk.pending.push((NodeRef::clone(root), host));
    while let Some((member, host)) = walk.pending.pop() {
        walk.visit(member, host);
    }
    if let Some(found) = walk.found.first_mut().filter(|found| Arc::ptr_eq(&found.member, root)) {
        found.looks_itself = true;
    }
    walk.found.retain(Found::is_listed);
    walk.found.sort_by_key(|found| (found.has_inner, found.member.node().id()));
    let more = walk.found.len().saturating_sub(max);
    let listed = walk.found.iter().take(max).map(Straggler::new).collect();
    Stragglers { listed, more }
}

/// A region that was come upon.
struct Found {
    member: NodeRef,
    /// In which one it stands.
    host: Option<usize>,
    shielded: bool,
    has_inner: bool,
    /// It is its own poller that looks, between two polls of its future.
    looks_itself: bool,
}

impl Found {
    /// Bodies are no tasks: they come in only where they hold up the exit themselves.
    fn is_listed(&self) -> bool {
        match self.member.node().kind() {
            NodeKind::Task | NodeKind::Blocking => self.member.activity() != Activity::Ended,
            _ => self.shielded,
        }
    }

    fn state(&self) -> StragglerState {
        let node = self.member.node();
        match (node.kind(), self.member.activity()) {
            (_, Activity::Idle) if node.is_queued() => StragglerState::Limited,
            (NodeKind::Blocking, Activity::Idle) => StragglerState::Queued,
            (NodeKind::Blocking, _) => StragglerState::Blocking,
            (_, Activity::Polled) if !self.looks_itself => {
                StragglerState::Polled { since: node.polled_since() }
            }
            _ if !node.is_cancelled() => StragglerState::Running,
            _ if node.is_cooperative() => StragglerState::Cooperative,
            _ if self.shielded => StragglerState::Shielded,
            _ if self.has_inner => StragglerState::Waiting,
            _ => StragglerState::Woken,
        }
    }
}

#[derive(Default)]
struct Walk {
    /// What is still to be visited, and the region in which it stands.
    pending: Vec<(NodeRef, Option<usize>)>,
    found: Vec<Found>,
    /// A starting child is come upon twice: in its group, and under its starter.
    tasks: HashSet<Id>,
}

impl Walk {
    fn visit(&mut self, member: NodeRef, host: Option<usize>) {
        let node = member.node();
        let inside = match node.kind() {
            NodeKind::Task | NodeKind::Blocking => {
                if !self.tasks.insert(node.id()) {
                    return;
                }
                self.note_inner(host);
                Some(self.add(&member, host))
            }
            NodeKind::Body => Some(self.add(&member, host)),
            NodeKind::Shield => {
                self.note_shield(host);
                host
            }
            NodeKind::Start => {
                self.note_inner(host);
                self.pending.extend(member.forward().map(|child| (child, host)));
                return;
            }
            NodeKind::Group | NodeKind::Scope => host,
            NodeKind::Token => return,
        };
        self.pending.extend(node.members_snapshot().into_iter().map(|member| (member, inside)));
    }

    fn add(&mut self, member: &NodeRef, host: Option<usize>) -> usize {
        let member = NodeRef::clone(member);
        self.found.push(Found { member, host, shielded: false, has_inner: false, looks_itself: false });
        self.found.len() - 1
    }

    /// A shield stands in this region. A body is listed by that, so those around it are no leaves.
    fn note_shield(&mut self, host: Option<usize>) {
        let Some(host) = host else { return };
        self.found[host].shielded = true;
        self.note_inner(self.found[host].host);
    }

    /// Somebody is listed inside this region, so it and all around it are no leaves. Who knows that of itself
    /// has handed it on.
    fn note_inner(&mut self, mut next: Option<usize>) {
        while let Some(host) = next {
            let found = &mut self.found[host];
            if std::mem::replace(&mut found.has_inner, true) {
                return;
            }
            next = found.host;
        }
    }
}
