//! What the tree needs of whoever stands in it, and how a node stores its members.

use std::any::Any;
use std::cell::Cell;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::crew::{Crew, DriverKey, Threads};
use super::node::Inner;
use super::tally::{Mark, Tally};
use super::token::Waiters;
use super::{ChildEnd, Node, NodeKind};
use crate::sync::{Arc, thread_local};

/// Whoever embeds a [`Node`].
pub(crate) trait Member: Send + Sync {
    fn node(&self) -> &Node;

    /// For the layer above, to find its own type again (a failure looks for its group).
    fn as_any(&self) -> &dyn Any;

    /// The node, which is `this`, has been marked cancelled, or forced: does what waking alone would not.
    fn on_cancel(&self, _this: &NodeRef) {}

    /// A task may get on, or has to look at a mark: sees to it that it is polled.
    fn wake(self: Arc<Self>) {}

    /// Polls a task that its crew has taken out of the queue. Gives it back if it was woken meanwhile.
    fn poll_once(self: Arc<Self>) -> Option<NodeRef> {
        unreachable!("only tasks stand in a queue")
    }

    /// Nobody will poll a task any more: it ends here.
    fn shut_down(self: Arc<Self>) {}

    /// With how many threads the runtime of a group polls its children.
    fn threads(&self) -> Threads {
        Threads::One
    }

    /// Spawns a driver for the crew of a group.
    fn spawn_driver(self: Arc<Self>, _key: DriverKey) {}

    /// A node that stands elsewhere and shares this one's cancel: the child of a pending start.
    fn forward(&self) -> Option<NodeRef> {
        None
    }

    /// Whether it has ended, so that cancelling it does nothing.
    fn is_over(&self) -> bool {
        false
    }

    /// Drops what the member owns, at once (R2). Returns when it is gone, or when `mode` says not to wait.
    fn drop_now(&self, _mode: DropMode) {}

    /// Until when the region may go on by its own rules: a scope's or a group's deadline (R19).
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// How long what is left may take after the cancel, for a group (R15).
    fn grace(&self) -> Option<Duration> {
        None
    }

    /// How long its exit may take before it is logged who holds it up, for a group. The longest there is: never.
    fn slow_exit(&self) -> Option<Duration> {
        None
    }

    /// Whether a timer for a log has been found impossible, for a group: so that it is tried once, not for each child.
    fn lacks_clock(&self) -> Option<&std::sync::atomic::AtomicBool> {
        None
    }

    /// How many of its children may run, for a group: known to the layer above.
    fn limit(&self) -> Option<&dyn Any> {
        None
    }

    /// What is being done with it now, for a child.
    fn activity(&self) -> Activity {
        Activity::Idle
    }
}

pub(crate) type NodeRef = Arc<dyn Member>;

/// Whether dropping waits for polls that are under way on other threads, and why it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropMode {
    Wait,
    Abandon,
    /// Waits; the grace period is over (R15).
    Forced,
}

/// What a member does to the life of the group it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Keeps the group open.
    Ordinary,
    /// Is cancelled when nothing ordinary is left, and waited for.
    Background,
    /// A group under a region, or adopted by a group; a pending start under its starter.
    Nested,
    /// A scope under the region whose code opened it.
    Scope,
    /// A shield under the region whose code opened it.
    Shield,
    /// The body.
    Body,
}

impl Hold {
    /// What a node does to the life of whatever it stands under: its kind tells, and its flags.
    #[inline]
    pub(super) fn of(node: &Node) -> Self {
        match node.kind() {
            NodeKind::Task | NodeKind::Blocking if node.is_background() => Hold::Background,
            NodeKind::Task | NodeKind::Blocking => Hold::Ordinary,
            _ if node.is_counted() => Hold::Ordinary,
            NodeKind::Group | NodeKind::Start => Hold::Nested,
            NodeKind::Scope => Hold::Scope,
            NodeKind::Shield => Hold::Shield,
            NodeKind::Body => Hold::Body,
            NodeKind::Token => unreachable!("tokens are kept apart"),
        }
    }
}

/// What is being done with a child at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Nobody polls it.
    Idle,
    /// It is being polled, or is on its way to its end after a poll.
    Polled,
    /// It has ended, or is being dropped.
    Ended,
}

/// The slot of a body, which does not live in the slab.
pub(crate) const BODY_SLOT: u32 = u32::MAX;

/// The members of one node. Invariants, under the node's lock:
/// `ordinary + background` is the number of live children; every watcher is woken when either `ordinary`
/// or that sum falls to zero, and when a nested node, a scope or a shield leaves; `nested` is the number of nested ones.
/// Tokens and waiters count for nothing.
#[derive(Default)]
pub(crate) struct Members {
    pub(super) slab: Slab<NodeRef>,
    pub(super) body: Option<NodeRef>,
    pub(super) ordinary: usize,
    pub(super) background: usize,
    pub(super) nested: usize,
    pub(super) watchers: WakerSet,
    /// The tokens directly below, apart from all that the node waits for.
    pub(super) tokens: Slab<NodeRef>,
    /// Who waits for the cancel.
    pub(super) waiters: Waiters,
    /// Shields below that were woken and have not been polled since.
    pub(super) woken: Vec<NodeRef>,
    /// Who waits for the end of a child, beside its handle.
    pub(super) waits: WakerSet,
    /// Of a group that has, or has had, children.
    children: Option<Box<Children>>,
}

/// What only a group has, apart: many regions have members, and no children.
#[derive(Default)]
struct Children {
    /// Polls them.
    crew: Option<Crew>,
    tally: Tally,
}

impl Members {
    pub(super) fn live(&self) -> usize {
        self.ordinary + self.background
    }

    /// The crew; it is there since the first child was admitted that it polls.
    pub(super) fn crew(&mut self) -> &mut Crew {
        self.crew_mut().expect("made when the first task was admitted")
    }

    pub(super) fn crew_mut(&mut self) -> Option<&mut Crew> {
        self.children.as_mut()?.crew.as_mut()
    }

    pub(super) fn crew_of(&mut self, group: &NodeRef) -> &mut Crew {
        self.children.get_or_insert_default().crew.get_or_insert_with(|| Crew::new(group.threads()))
    }

    /// A group's account of its children.
    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.children.get_or_insert_default().tally
    }

    /// The same, if there is one.
    pub(super) fn tally_if(&self) -> Option<&Tally> {
        self.children.as_ref().map(|children| &children.tally)
    }

    /// A child is about to be removed, for it has ended. `own`: what its own lock guards.
    #[inline]
    pub(super) fn count_end(&mut self, child: &Node, own: &Inner, mark: Mark, end: ChildEnd) {
        if let Some(children) = &mut self.children {
            children.tally.ended(child, own, mark, end);
        }
    }

    pub(super) fn insert(&mut self, member: NodeRef, hold: Hold) -> u32 {
        match hold {
            Hold::Ordinary => self.ordinary += 1,
            Hold::Background => self.background += 1,
            Hold::Nested => self.nested += 1,
            Hold::Shield | Hold::Scope => {}
            Hold::Body => {
                self.body = Some(member);
                return BODY_SLOT;
            }
        }
        if self.slab.capacity() == 0 {
            // Room for a handful at once: most groups are small, and growing step by step costs them most.
            self.slab.reserve(16);
        }
        let slot = self.slab.insert(member);
        u32::try_from(slot).expect("fewer than 2^32 live members")
    }

    /// Takes a member out. The returned reference must be dropped outside the lock.
    #[must_use]
    pub(super) fn remove(&mut self, slot: u32) -> (Option<NodeRef>, WakerSet) {
        if slot == BODY_SLOT {
            return (self.body.take(), WakerSet::default());
        }
        let Some(member) = self.slab.try_remove(slot as usize) else {
            return (None, WakerSet::default());
        };
        let emptied = match Hold::of(member.node()) {
            Hold::Ordinary => {
                self.ordinary -= 1;
                self.ordinary == 0
            }
            Hold::Background => {
                self.background -= 1;
                self.live() == 0
            }
            Hold::Nested => {
                self.nested -= 1;
                true
            }
            // A scope may take a shield along.
            Hold::Shield | Hold::Scope => true,
            Hold::Body => false,
        };
        let mut wakers = if emptied { std::mem::take(&mut self.watchers) } else { WakerSet::default() };
        if emptied
            && self.live() == 0
            && let Some(crew) = self.crew_mut()
        {
            crew.dismiss().into_iter().for_each(|waker| wakers.push(waker));
        }
        (Some(member), wakers)
    }

    /// All members, the body first: it is marked and woken before its siblings (R12).
    pub(super) fn snapshot(&self) -> Vec<NodeRef> {
        let mut all = Vec::with_capacity(self.slab.len() + usize::from(self.body.is_some()));
        all.extend(self.body.iter().cloned());
        all.extend(self.slab.iter().map(|(_, member)| Arc::clone(member)));
        all
    }

    /// What a mark reaches: the members, then the tokens.
    pub(super) fn everything(&self) -> Vec<NodeRef> {
        let mut all = self.snapshot();
        all.extend(self.tokens.iter().map(|(_, token)| Arc::clone(token)));
        all
    }

    pub(super) fn of(&self, wanted: Hold) -> Vec<NodeRef> {
        let members = self.slab.iter().map(|(_, member)| member);
        members.filter(|member| Hold::of(member.node()) == wanted).cloned().collect()
    }
}

/// Who registered a waker. A wait that may be given up has a key of its own, to take its waker out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitKey(u64);

impl WaitKey {
    /// Whoever polls the region: one waker for all that it waits for.
    pub(crate) const HOST: Self = Self(0);
    /// The one handle of a task.
    pub(crate) const HANDLE: Self = Self(1);
    /// What a child gives up at its end: its place under a limit.
    pub(crate) const PLACE: Self = Self(2);

    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(3);
        // Relaxed: only uniqueness matters.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Some wakers; none and one cost no allocation.
#[derive(Debug, Default)]
pub(crate) enum WakerSet {
    #[default]
    Empty,
    One(WaitKey, Waker),
    Many(Vec<(WaitKey, Waker)>),
}

impl WakerSet {
    /// Registers a waker in the place of the one that had its key; hosts have a place for each task. The
    /// waker that was replaced must be dropped outside the lock.
    #[must_use]
    pub(crate) fn add(&mut self, key: WaitKey, waker: &Waker) -> Option<Waker> {
        let same = |at: WaitKey, other: &Waker| at == key && (key != WaitKey::HOST || other.will_wake(waker));
        let place = match self {
            WakerSet::Empty => {
                *self = WakerSet::One(key, waker.clone());
                return None;
            }
            WakerSet::One(at, other) if same(*at, other) => other,
            WakerSet::One(..) => {
                let WakerSet::One(at, other) = std::mem::take(self) else { unreachable!() };
                *self = WakerSet::Many(vec![(at, other), (key, waker.clone())]);
                return None;
            }
            WakerSet::Many(many) => match many.iter().position(|(at, other)| same(*at, other)) {
                Some(place) => &mut many[place].1,
                None => {
                    many.push((key, waker.clone()));
                    return None;
                }
            },
        };
        (!place.will_wake(waker)).then(|| std::mem::replace(place, waker.clone()))
    }

    /// One more, whatever is there.
    pub(super) fn push(&mut self, waker: Waker) {
        *self = match std::mem::take(self) {
            WakerSet::Empty => WakerSet::One(WaitKey::HOST, waker),
            WakerSet::One(key, other) => WakerSet::Many(vec![(key, other), (WaitKey::HOST, waker)]),
            WakerSet::Many(mut many) => {
                many.push((WaitKey::HOST, waker));
                WakerSet::Many(many)
            }
        };
    }

    /// Takes out the waker of a wait that was given up.
    #[must_use]
    pub(crate) fn remove(&mut self, key: WaitKey) -> Option<Waker> {
        match self {
            WakerSet::One(at, _) if *at == key => match std::mem::take(self) {
                WakerSet::One(_, waker) => Some(waker),
                _ => unreachable!(),
            },
            WakerSet::Many(many) => {
                let place = many.iter().position(|(at, _)| *at == key)?;
                Some(many.swap_remove(place).1)
            }
            _ => None,
        }
    }
}

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro knows no const")]
    static HAS_WOKEN: Cell<bool> = Cell::new(false);
}

/// Whether somebody was woken on this thread since the last time. The thread keeps whom it woke last (tokio's LIFO
/// slot) until it is given back to the runtime.
pub(crate) fn take_has_woken() -> bool {
    HAS_WOKEN.try_with(|woken| woken.replace(false)).unwrap_or(false)
}

/// Wakes outside every lock. A waker that panics is reported and costs nobody else their wake-up.
pub(crate) fn wake(waker: Waker) {
    // Torn down with the thread: nobody will ask.
    let _ = HAS_WOKEN.try_with(|woken| woken.set(true));
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake())).is_err() {
        crate::lost::report(format_args!("a waker panicked while it was woken"));
    }
}

pub(crate) fn wake_all(wakers: WakerSet) {
    match wakers {
        WakerSet::Empty => {}
        WakerSet::One(_, one) => wake(one),
        WakerSet::Many(many) => many.into_iter().for_each(|(_, waker)| wake(waker)),
    }
}
