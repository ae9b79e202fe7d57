//! One node: who it is, under whom it stands, whether it is cancelled, and who wakes it.

use std::borrow::Cow;
use std::panic::Location;
use std::task::Waker;

use super::member::{Hold, Members, NodeRef, WaitKey, WakerSet, wake, wake_all};
use super::propagate::{cause_for, passes_to};
use super::stamp::stamp;
use super::tally::Mark;
use super::token::Waiters;
use super::{CancelCause, CancelReason, ChildEnd, Id, NodeInfo, NodeKind};
use crate::sync::{Arc, AtomicU32, Mutex, MutexGuard, Ordering, lock};
use crate::trace::Fields;

/// Marked cancelled. Set once under the lock, after the cause; never cleared.
const CANCELLED: u32 = 1;
/// Admits no member any more. Set under the lock.
const CLOSED: u32 = 1 << 1;
/// Admits no background member any more: nothing but those, or nothing, is left. Set under the lock.
const ENDING: u32 = 1 << 5;
/// A group whose `run` or `join` has been polled and has not resolved.
const RUNNING: u32 = 1 << 2;
/// A cooperative task: cancelled, it is not cut, and neither is anything inside (R15). Set before it is shared.
const COOPERATIVE: u32 = 1 << 6;
/// A shield has stood below, with no task between. Never cleared.
pub(super) const SHIELDED: u32 = 1 << 7;
/// A group with a grace period has stood below, with no task between. Never cleared.
pub(super) const GRACED: u32 = 1 << 13;
/// A shield whose waker has been woken and that has not been polled since.
pub(super) const WOKEN: u32 = 1 << 14;
/// A region with such a shield somewhere below, that has not been polled since.
pub(super) const WOKEN_BELOW: u32 = 1 << 15;
/// A scope inside a cooperative task or a blocking closure, which asks its host whether it is cancelled.
const IN_UNCUT: u32 = 1 << 8;
/// Its grace period was over, and what it owned was dropped. Never cleared.
const FORCED: u32 = 1 << 9;
/// A child of this group ended cancelled. Never cleared.
const CUT: u32 = 1 << 10;
/// The polls that were given for undelivered failures, or to a shield, are counted above the flags. A combinator with a
/// budget of its own may use a poll for something else; one that does not poll the `run` at all gets no
/// more than this many.
const TRY: u32 = 1 << 16;
const TRIES_MAX: u32 = 16;
/// Has, or has had, members. Set under the lock.
const PARENT: u32 = 1 << 4;
/// A group with a failure that its `run` or `join` has not returned yet (R12).
const UNDELIVERED: u32 = 1 << 3;
/// A token without handles. Set under the lock.
pub(super) const ABANDONED: u32 = 1 << 11;
/// Has, or has had, tokens below. Set under the lock.
pub(super) const TOKENS: u32 = 1 << 12;

pub(crate) struct Node {
    id: Id,
    kind: NodeKind,
    flags: AtomicU32,
    location: &'static Location<'static>,
    name: Option<Cow<'static, str>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    /// Where this node stands: its parent, and its slot among the parent's members.
    pub(super) parent: Option<(NodeRef, u32)>,
    pub(super) cause: Option<CancelCause>,
    /// Wakes whoever polls this region, so that it can be cut.
    waker: Option<Waker>,
    pub(super) members: Option<Box<Members>>,
}

impl Inner {
    /// Whether the region has ever come to a wait that was not over at once, as far as can be told.
    pub(super) fn has_waited(&self) -> bool {
        self.waker.is_some() || self.cause.is_some()
    }

    pub(super) fn members(&mut self) -> &mut Members {
        self.members.get_or_insert_default()
    }
}

/// What marking a node left to be done, outside its lock.
pub(super) struct Marked {
    pub(super) waker: Option<Waker>,
    /// False if somebody else had marked it before, who then takes care of the members too.
    pub(super) first: bool,
    pub(super) cause: CancelCause,
    /// Everything below, the tokens last.
    pub(super) members: Vec<NodeRef>,
    /// To be told when everything below is marked.
    pub(super) waiters: Waiters,
}

impl Node {
    pub(crate) fn new(
        kind: NodeKind,
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
    ) -> Self {
        Self::with_id(Id::next(), kind, name, location)
    }

    /// A body shares the identity of its group.
    pub(crate) fn with_id(
        id: Id,
        kind: NodeKind,
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
    ) -> Self {
        let (flags, inner) = (AtomicU32::new(0), Mutex::new(Inner::default()));
        Self { id, kind, flags, location, name, inner }
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn kind(&self) -> NodeKind {
        self.kind
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.location
    }

    pub(crate) fn info(&self) -> NodeInfo {
        NodeInfo { kind: self.kind, id: self.id, name: self.name.clone(), location: self.location }
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        let (name, id) = (self.name(), Some(self.id.as_u64()));
        Fields { name, id, location: Some(self.location), ..Fields::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    #[inline]
    pub(super) fn has(&self, flag: u32) -> bool {
        // Acquire, paired with the Release that sets a flag: who sees CANCELLED may act on what the
        // canceller did before (`data = 1; cancel()` against `if is_cancelled() { read data }`).
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    pub(super) fn set(&self, flag: u32) {
        self.flags.fetch_or(flag, Ordering::Release);
    }

    fn clear(&self, flag: u32) {
        self.flags.fetch_and(!flag, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(CANCELLED)
    }

    pub(crate) fn set_cooperative(&self) {
        self.set(COOPERATIVE);
    }

    pub(crate) fn is_cooperative(&self) -> bool {
        self.has(COOPERATIVE)
    }

    /// Whether a cancel cuts this region at its next wait. A blocking closure cannot be cut, a cooperative
    /// task ends by itself.
    pub(crate) fn is_cuttable(&self) -> bool {
        self.kind != NodeKind::Blocking && !self.is_cooperative()
    }

    /// Cancelled, and of a kind that is cut by it.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cancelled() && self.is_cuttable()
    }

    pub(crate) fn set_forced(&self) {
        self.set(FORCED);
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.has(FORCED)
    }

    pub(crate) fn set_cut(&self) {
        self.set(CUT);
    }

    pub(crate) fn has_cut(&self) -> bool {
        self.has(CUT)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.has(ENDING)
    }

    /// Sets flags. True: all of them were set before.
    pub(super) fn set_all(&self, flags: u32) -> bool {
        self.flags.fetch_or(flags, Ordering::Release) & flags == flags
    }

    /// Clears a flag. True: it was set.
    pub(super) fn take(&self, flag: u32) -> bool {
        // Acquire: what was done before it was set is seen by the poll that follows.
        self.flags.fetch_and(!flag, Ordering::AcqRel) & flag != 0
    }

    /// Which of these flags are set.
    pub(super) fn which(&self, flags: u32) -> u32 {
        self.flags.load(Ordering::Acquire) & flags
    }

    /// Counts a poll that was given and not used. False: that was the last one.
    pub(super) fn try_again(&self) -> bool {
        self.flags.fetch_add(TRY, Ordering::AcqRel) / TRY + 1 < TRIES_MAX
    }

    pub(super) fn tries_left(&self) -> bool {
        self.flags.load(Ordering::Acquire) / TRY < TRIES_MAX
    }

    pub(super) fn forget_tries(&self) {
        self.flags.fetch_and(TRY - 1, Ordering::AcqRel);
    }

    pub(super) fn set_in_uncut(&self) {
        self.set(IN_UNCUT);
    }

    pub(super) fn is_in_uncut(&self) -> bool {
        self.has(IN_UNCUT)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.has(CLOSED)
    }

    /// Whether anything but tokens ever stood under this node. Exact for whoever polls the region: only code that runs
    /// in it puts something there.
    pub(crate) fn has_had_members(&self) -> bool {
        self.has(PARENT)
    }

    fn insert(&self, inner: &mut Inner, member: NodeRef, hold: Hold, mark: Mark) -> u32 {
        if !self.has(PARENT) {
            self.set(PARENT);
        }
        inner.members().insert(member, hold, mark)
    }

    pub(crate) fn set_running(&self) {
        self.set(RUNNING);
    }

    /// The group's `run` or `join` has taken the failures, or never will.
    pub(crate) fn clear_running(&self) {
        self.clear(RUNNING | UNDELIVERED);
    }

    pub(crate) fn set_undelivered(&self) {
        self.set(UNDELIVERED);
    }

    /// A poll was given for the failures; true: it was not used, and another one may be.
    pub(super) fn deliver_again(&self) -> bool {
        if !self.is_deliverable() {
            return false;
        }
        let again = self.try_again();
        if !again {
            self.clear(UNDELIVERED);
        }
        again
    }

    /// Whether a frozen region above should be polled to let this group's `run` return its failures.
    pub(super) fn is_deliverable(&self) -> bool {
        let both = RUNNING | UNDELIVERED;
        self.flags.load(Ordering::Acquire) & both == both
    }

    pub(crate) fn cause(&self) -> Option<CancelCause> {
        if !self.is_cancelled() {
            return None;
        }
        self.lock().cause.clone()
    }

    /// The cause a child spawned now would be born with.
    fn refusal(&self, inner: &Inner, hold: Hold) -> Option<CancelCause> {
        if let Some(cause) = &inner.cause {
            return Some(cause.clone());
        }
        let ending = hold == Hold::Background && self.has(ENDING);
        (ending || self.is_closed()).then(|| CancelCause::new(CancelReason::GroupEnded, self.info()))
    }

    /// Stores the waker of the region's host. False: the region is cancelled, nothing was stored.
    #[must_use]
    pub(crate) fn register_waker(&self, waker: &Waker) -> bool {
        let mut inner = self.lock();
        if inner.cause.is_some() {
            return false;
        }
        let replaced = match &inner.waker {
            Some(stored) if stored.will_wake(waker) => None,
            _ => inner.waker.replace(waker.clone()),
        };
        drop(inner);
        drop(replaced);
        true
    }

    /// Stores a waker also in a cancelled node: for whoever waits for it to be resolved or dropped.
    pub(crate) fn store_waker(&self, waker: &Waker) {
        let replaced = self.lock().waker.replace(waker.clone());
        drop(replaced);
    }

    /// Wakes whoever polls the region, for it to look at something that has changed.
    pub(crate) fn wake_host(&self) {
        let waker = self.lock().waker.clone();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    #[must_use]
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.lock().waker.take()
    }

    /// Sets the mark and its cause, first one wins (invariant 3).
    pub(super) fn mark(&self, cause: CancelCause) -> Marked {
        match self.mark_first(cause) {
            Some(marked) => marked,
            None => {
                let inner = self.lock();
                let members = inner.members.as_ref().map_or_else(Vec::new, |members| members.everything());
                let cause = inner.cause.clone().expect("marked before");
                Marked { waker: None, first: false, cause, members, waiters: Waiters::default() }
            }
        }
    }

    /// [`mark`](Self::mark); `None` if somebody was first, who then takes care of what is below.
    pub(super) fn mark_first(&self, cause: CancelCause) -> Option<Marked> {
        let mut inner = self.lock();
        if inner.cause.is_some() {
            return None;
        }
        let (members, waiters) = match &mut inner.members {
            Some(members) => (members.everything(), std::mem::take(&mut members.waiters)),
            None => (Vec::new(), Waiters::default()),
        };
        inner.cause = Some(cause.clone());
        self.set(CANCELLED);
        Some(Marked { waker: inner.waker.take(), first: true, cause, members, waiters })
    }

    /// What stands under this node, without the tokens.
    pub(crate) fn members_snapshot(&self) -> Vec<NodeRef> {
        self.lock().members.as_ref().map_or_else(Vec::new, |members| members.snapshot())
    }

    pub(crate) fn members_of(&self, hold: Hold) -> Vec<NodeRef> {
        self.lock().members.as_ref().map_or_else(Vec::new, |members| members.of(hold))
    }

    /// The first member from `cursor` on that a walk inside a region visits, and where to go on: all that
    /// stands in a region; of a group its body and what is nested in it.
    pub(super) fn next_inside(&self, cursor: usize) -> Option<(NodeRef, usize)> {
        let inner = self.lock();
        let members = inner.members.as_ref()?;
        let group = self.kind == NodeKind::Group;
        let mut at = cursor;
        if group {
            if at == 0
                && let Some(body) = &members.body
            {
                return Some((Arc::clone(body), 1));
            }
            if members.nested == 0 {
                return None;
            }
            at = at.max(1) - 1;
        }
        while at < members.slab.capacity() {
            if let Some(entry) = members.slab.get(at)
                && (!group || entry.hold == Hold::Nested)
            {
                return Some((Arc::clone(&entry.member), at + 1 + usize::from(group)));
            }
            at += 1;
        }
        None
    }

    pub(crate) fn body(&self) -> Option<NodeRef> {
        self.lock().members.as_ref().and_then(|members| members.body.clone())
    }

    /// Live children: ordinary and background.
    pub(crate) fn live(&self) -> usize {
        self.lock().members.as_ref().map_or(0, |members| members.live())
    }

    /// Ordinary children; registers the waker if there are any.
    #[must_use]
    pub(crate) fn watch_ordinary(&self, key: WaitKey, waker: &Waker) -> usize {
        self.watch(key, waker, |members| members.ordinary)
    }

    /// Live children; registers the waker if there are any.
    #[must_use]
    pub(crate) fn watch_live(&self, waker: &Waker) -> usize {
        self.watch(WaitKey::HOST, waker, Members::live)
    }

    /// Registers the waker, to be woken when a nested node leaves.
    pub(crate) fn watch_nested(&self, waker: &Waker) {
        let _ = self.watch(WaitKey::HOST, waker, |members| members.slab.len());
    }

    fn watch(&self, key: WaitKey, waker: &Waker, count: impl FnOnce(&Members) -> usize) -> usize {
        let mut inner = self.lock();
        let Some(members) = &mut inner.members else { return 0 };
        let count = count(members);
        let replaced = if count > 0 { members.watchers.add(key, waker) } else { None };
        drop(inner);
        drop(replaced);
        count
    }

    /// A wait was given up: its waker goes.
    pub(crate) fn unwatch(&self, key: WaitKey) {
        let given_up = self.lock().members.as_mut().and_then(|members| members.watchers.remove(key));
        drop(given_up);
    }

    /// Nothing ordinary is left: background members that come from now on are born cancelled. Those that
    /// are there.
    pub(crate) fn begin_ending(&self) -> Vec<NodeRef> {
        let inner = self.lock();
        self.set(ENDING);
        inner.members.as_ref().map_or_else(Vec::new, |members| members.of(Hold::Background))
    }

    /// Closes the group if nothing at all stands in it, the usual end. True: closed.
    #[must_use]
    pub(crate) fn try_close_bare(&self) -> bool {
        let inner = self.lock();
        let bare = inner.members.as_ref().is_none_or(|members| members.slab.is_empty());
        if bare {
            self.set(CLOSED);
        }
        bare
    }

    /// Closes the group if no child is left (R6). True: closed; whoever comes now is born cancelled.
    #[must_use]
    pub(crate) fn try_close(&self) -> bool {
        let inner = self.lock();
        let empty = inner.members.as_ref().is_none_or(|members| members.live() == 0);
        if empty {
            self.set(CLOSED);
        }
        empty
    }

    /// Closes the group whoever is left: it has been dropped.
    pub(crate) fn close(&self) {
        let _inner = self.lock();
        self.set(CLOSED);
    }

    pub(crate) fn parent(&self) -> Option<NodeRef> {
        self.lock().parent.as_ref().map(|(parent, _)| Arc::clone(parent))
    }

    pub(super) fn stands_under(&self, region: &Node) -> bool {
        self.lock().parent.as_ref().is_some_and(|(parent, _)| std::ptr::eq(parent.node(), region))
    }

    /// Puts `child` under this node unless it is cancelled or closed (R5).
    pub(crate) fn admit(this: NodeRef, child: NodeRef, hold: Hold) -> Result<(), CancelCause> {
        let entry = Arc::clone(&child);
        let now = stamp();
        let mut link = child.node().lock();
        let mut inner = this.node().lock();
        if let Some(cause) = this.node().refusal(&inner, hold) {
            return Err(cause);
        }
        let mark = inner.members().tally().spawned(now);
        let slot = this.node().insert(&mut inner, entry, hold, mark);
        drop(inner);
        link.parent = Some((this, slot));
        Ok(())
    }

    /// Puts `child` under this node whatever its state; says the cause if it is cancelled.
    pub(crate) fn adopt(this: &NodeRef, child: &NodeRef, hold: Hold) -> Option<CancelCause> {
        let mut link = child.node().lock();
        let mut inner = this.node().lock();
        let slot = this.node().insert(&mut inner, Arc::clone(child), hold, Mark::NONE);
        let cause = inner.cause.clone();
        drop(inner);
        link.parent = Some((Arc::clone(this), slot));
        cause
    }
}

/// Takes a node from under its parent and wakes who waited for that. Returns the parent.
pub(crate) fn detach(node: &Node) -> Option<NodeRef> {
    detach_if(node, |_| true, None, || {})
}

/// [`detach`] for a child that has ended, which is counted in the same step; with something else to be done
/// in it for whoever counts the members. That is done in any case.
pub(crate) fn detach_ended(node: &Node, end: ChildEnd, step: impl FnOnce()) {
    let mut step = Some(step);
    let mut run = || step.take().into_iter().for_each(|step| step());
    drop(detach_if(node, |_| true, Some(end), &mut run));
    run();
}

/// [`detach`], unless the node has moved away from under `parent` meanwhile.
pub(crate) fn detach_from(node: &Node, parent: &Node) -> Option<NodeRef> {
    detach_if(node, |found| std::ptr::eq(found, parent), None, || {})
}

fn detach_if(
    node: &Node,
    wanted: impl FnOnce(&Node) -> bool,
    end: Option<ChildEnd>,
    step: impl FnOnce(),
) -> Option<NodeRef> {
    let mut link = node.lock();
    let (parent, slot) = link.parent.take_if(|(parent, _)| wanted(parent.node()))?;
    let mut inner = parent.node().lock();
    let (member, wakers) = match &mut inner.members {
        Some(members) => {
            if let Some(end) = end {
                members.count_end(node, &link, slot, end);
            }
            members.remove(slot)
        }
        None => (None, WakerSet::Empty),
    };
    step();
    drop(inner);
    drop(link);
    wake_all(wakers);
    drop(member);
    Some(parent)
}

/// Moves a node from one parent under another, for adoption (R2, R4). Does nothing if it has left the
/// first meanwhile: the check and the move are one step under the node's lock, or a child that ends on
/// another thread in between would be entered dead, and waited for without end; and a group that somebody
/// runs meanwhile would be taken away from its host.
pub(crate) fn rehome(node: &NodeRef, from: &Node, home: &NodeRef, hold: Hold) {
    let mut link = node.node().lock();
    let Some((former, slot)) = link.parent.take_if(|(parent, _)| std::ptr::eq(parent.node(), from)) else {
        return;
    };
    let child = matches!(node.node().kind(), NodeKind::Task | NodeKind::Blocking);
    let mut spawned_at = None;
    let (member, wakers) = match &mut former.node().lock().members {
        Some(members) => {
            if child && let Some(mark) = members.mark(slot) {
                spawned_at = members.tally().handed_over(mark);
            }
            members.remove(slot)
        }
        None => (None, WakerSet::Empty),
    };
    let mut inner = home.node().lock();
    let mark = spawned_at.map_or(Mark::NONE, |at| inner.members().tally().adopted(at));
    let slot = home.node().insert(&mut inner, Arc::clone(node), hold, mark);
    let cause = inner.cause.clone();
    drop(inner);
    link.parent = Some((Arc::clone(home), slot));
    drop(link);
    wake_all(wakers);
    drop((former, member));
    if let Some(cause) = cause
        && passes_to(home.node(), node.node())
    {
        super::cancel(node, cause_for(home, node, &cause));
    }
}

/// The nearest group above a region.
pub(crate) fn enclosing_group(start: Option<NodeRef>) -> Option<NodeRef> {
    let mut next = start;
    while let Some(node) = next {
        if node.node().kind() == NodeKind::Group {
            return Some(node);
        }
        next = node.node().parent();
    }
    None
}

/// The names on the way from the root to a node, at most 16 of them: `app > crawler > page 7`. Bodies have
/// the name of their group, and are left out; so are timeouts and shields without a name. The bound keeps a failure that passes through thousands of
/// nested groups from costing the square of their number.
pub(crate) fn path_of(node: &Node) -> Box<str> {
    const STEPS_MAX: usize = 16;
    let step = |node: &Node| match node.name() {
        Some(name) => name.to_owned(),
        None => node.id().to_string(),
    };
    let mut steps = vec![step(node)];
    let mut next = node.parent();
    while let Some(above) = next {
        if steps.len() == STEPS_MAX {
            steps.push("…".to_owned());
            break;
        }
        let inside_body = node.kind() == NodeKind::Body && above.node().id() == node.id();
        let told = match above.node().kind() {
            NodeKind::Body => false,
            NodeKind::Scope | NodeKind::Shield => above.node().name().is_some(),
            _ => !inside_body,
        };
        if told {
            steps.push(step(above.node()));
        }
        next = above.node().parent();
    }
    steps.reverse();
    steps.join(" > ").into_boxed_str()
}

impl Drop for Inner {
    /// A chain of parents that nobody else holds is let go link by link (R18).
    fn drop(&mut self) {
        let mut next = self.parent.take().map(|(parent, _)| parent);
        while let Some(mut parent) = next {
            let Some(last) = Arc::get_mut(&mut parent) else { return };
            next = last.node().lock().parent.take().map(|(parent, _)| parent);
        }
    }
}
