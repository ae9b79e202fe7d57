//! One node: who it is, under whom it stands, whether it is cancelled, and who wakes it.

use std::borrow::Cow;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

use tokio::time::Instant;

use super::crew::{Owed, Placing};
use super::flags::{
    BACKGROUND, CANCELLED, CLOSED, COOPERATIVE, COUNTED, CUT, DELIVERY_TRIES, ENDING, FORCED, Flags, HOSTED,
    IN_UNCUT, LIMITED, PARENT, QUEUED, RUNNING, SHIELDED, UNDELIVERED, WAITED,
};
use super::member::{Hold, Members, NodeRef, WaitKey, WakerSet, wake};
use super::stamp::stamp;
use super::tally::Mark;
use super::token::Waiters;
use super::{CancelCause, CancelReason, Id, NodeInfo, NodeKind};
use crate::sync::{Arc, Mutex, MutexGuard, lock};
use crate::trace::Fields;

pub(crate) struct Node {
    id: Id,
    kind: NodeKind,
    /// A task that its group's crew polls: it is woken through its own state.
    crewed: bool,
    /// In which round of its group's crew it was last polled: see [`rounds`](super::rounds).
    round: AtomicU8,
    flags: Flags,
    location: &'static Location<'static>,
    /// Boxed: most have none.
    name: Option<Box<Cow<'static, str>>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    /// Where this node stands.
    pub(super) place: Option<Place>,
    pub(super) cause: Option<CancelCause>,
    /// Wakes whoever polls this region, so that it can be cut. A child is woken through its own state: here it has
    /// the waker of whoever awaits its handle.
    waker: Option<Waker>,
    pub(super) members: Option<Box<Members>>,
}

/// Where a node stands: under whom, in which slot of its members, and when it came there.
pub(super) struct Place {
    pub(super) parent: NodeRef,
    pub(super) slot: u32,
    pub(super) mark: Mark,
}

impl Inner {
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
    #[inline]
    pub(crate) fn new(
        kind: NodeKind,
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
    ) -> Self {
        Self::with_id(Id::next(), kind, name, location)
    }

    /// A body shares the identity of its group.
    #[inline]
    pub(crate) fn with_id(
        id: Id,
        kind: NodeKind,
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
    ) -> Self {
        let (flags, inner) = (Flags::default(), Mutex::new(Inner::default()));
        let (name, crewed) = (name.map(Box::new), kind == NodeKind::Task);
        Self { id, kind, crewed, round: AtomicU8::new(0), flags, location, name, inner }
    }

    /// A child that is polled by its group's own `run` or `join`. It has a node, and stands in the books, from its first
    /// wait on, or when it asks for the node that it runs in, if that comes earlier: most children end before either.
    pub(crate) fn hosted_child(
        id: Id,
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
        cooperative: bool,
    ) -> Self {
        let flags = if cooperative { Flags::of(COOPERATIVE) } else { Flags::default() };
        let inner = Mutex::new(Inner::default());
        let (kind, crewed, name) = (NodeKind::Task, false, name.map(Box::new));
        Self { id, kind, crewed, round: AtomicU8::new(0), flags, location, name, inner }
    }

    /// The children of this group are polled by its own `run` or `join`. Before it is attached: it notes that upwards
    /// as a shield does, for whoever looks at a frozen region must look for it.
    pub(crate) fn set_hosted(&self) {
        self.flags.set(HOSTED | SHIELDED);
    }

    #[inline]
    pub(crate) fn is_hosted(&self) -> bool {
        self.has(HOSTED)
    }

    #[inline]
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    #[inline]
    pub(crate) fn kind(&self) -> NodeKind {
        self.kind
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref().map(|name| &**name)
    }

    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.location
    }

    pub(crate) fn info(&self) -> NodeInfo {
        NodeInfo {
            kind: self.kind,
            id: self.id,
            name: self.name.as_deref().cloned(),
            location: self.location,
        }
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        let (name, id) = (self.name(), Some(self.id.as_u64()));
        Fields { name, id, location: Some(self.location), ..Fields::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    #[inline]
    pub(super) fn flags(&self) -> &Flags {
        &self.flags
    }

    #[inline]
    fn has(&self, flag: u32) -> bool {
        self.flags.has(flag)
    }

    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(CANCELLED)
    }

    /// The task has come to a wait that was not over at once.
    #[inline]
    pub(super) fn set_waited(&self) {
        if !self.has(WAITED) {
            self.flags.set(WAITED);
        }
    }

    pub(super) fn has_waited(&self) -> bool {
        self.has(WAITED)
    }

    #[inline]
    pub(super) fn is_crewed(&self) -> bool {
        self.crewed
    }

    // Under the group's lock, both.
    #[inline]
    pub(super) fn round(&self) -> u8 {
        self.round.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn set_round(&self, round: u8) {
        self.round.store(round, Ordering::Relaxed);
    }

    pub(crate) fn set_cooperative(&self) {
        self.flags.set(COOPERATIVE);
    }

    #[inline]
    pub(crate) fn is_cooperative(&self) -> bool {
        self.has(COOPERATIVE)
    }

    /// Whether a cancel cuts this region at its next wait. A blocking closure cannot be cut, a cooperative
    /// task ends by itself.
    #[inline]
    pub(crate) fn is_cuttable(&self) -> bool {
        self.kind != NodeKind::Blocking && !self.is_cooperative()
    }

    /// Cancelled, and of a kind that is cut by it.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cancelled() && self.is_cuttable()
    }

    pub(crate) fn set_limited(&self) {
        self.flags.set(LIMITED);
    }

    /// Whether this is a child that stands under a limit of its group.
    #[inline]
    pub(crate) fn is_limited(&self) -> bool {
        self.has(LIMITED)
    }

    pub(crate) fn set_queued(&self) {
        self.flags.set(QUEUED);
    }

    pub(crate) fn clear_queued(&self) {
        self.flags.clear(QUEUED);
    }

    /// Whether this child waits for its turn under such a limit.
    pub(crate) fn is_queued(&self) -> bool {
        self.has(QUEUED)
    }

    pub(crate) fn set_forced(&self) {
        self.flags.set(FORCED);
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.has(FORCED)
    }

    pub(crate) fn set_cut(&self) {
        self.flags.set(CUT);
    }

    pub(crate) fn has_cut(&self) -> bool {
        self.has(CUT)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.has(ENDING)
    }

    pub(super) fn set_in_uncut(&self) {
        self.flags.set(IN_UNCUT);
    }

    #[inline]
    pub(super) fn is_in_uncut(&self) -> bool {
        self.has(IN_UNCUT)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.has(CLOSED)
    }

    /// Whether anything but tokens ever stood under this node. Exact for whoever polls the region: only code
    /// that runs in it puts something there.
    #[inline]
    pub(crate) fn has_had_members(&self) -> bool {
        self.has(PARENT)
    }

    pub(super) fn insert(&self, inner: &mut Inner, member: NodeRef, hold: Hold) -> u32 {
        if !self.has(PARENT) {
            self.flags.set(PARENT);
        }
        member.node().note_hold(hold);
        inner.members().insert(member, hold)
    }

    /// Keeps what the kind of the node does not tell: see [`Hold::of`].
    fn note_hold(&self, hold: Hold) {
        let noted = match hold {
            Hold::Background => BACKGROUND,
            Hold::Ordinary if !self.is_child() => COUNTED,
            _ => 0,
        };
        if self.flags.which(BACKGROUND | COUNTED) != noted {
            self.flags.clear(BACKGROUND | COUNTED);
            self.flags.set(noted);
        }
    }

    #[inline]
    pub(super) fn is_background(&self) -> bool {
        self.has(BACKGROUND)
    }

    #[inline]
    pub(super) fn is_counted(&self) -> bool {
        self.has(COUNTED)
    }

    pub(crate) fn set_running(&self) {
        self.flags.set(RUNNING);
    }

    /// The group's `run` or `join` has taken the failures, or never will.
    pub(crate) fn clear_running(&self) {
        self.flags.clear(RUNNING | UNDELIVERED);
    }

    pub(crate) fn set_undelivered(&self) {
        self.flags.set(UNDELIVERED);
    }

    /// A poll was given for the failures; true: it was not used, and another one may be.
    pub(super) fn deliver_again(&self) -> bool {
        if !self.is_deliverable() {
            return false;
        }
        let again = self.flags.try_again(DELIVERY_TRIES);
        if !again {
            self.flags.clear(UNDELIVERED);
        }
        again
    }

    /// Whether a frozen region above should be polled to let this group's `run` return its failures.
    pub(super) fn is_deliverable(&self) -> bool {
        self.flags.has_all(RUNNING | UNDELIVERED)
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

    /// Why a child that came now would be born cancelled, if it would (R5).
    #[inline]
    pub(crate) fn refuses(&self, hold: Hold) -> Option<CancelCause> {
        if !self.has(CANCELLED | CLOSED | ENDING) {
            return None;
        }
        self.refusal(&self.lock(), hold)
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
        self.flags.set(CANCELLED);
        let waker = if self.crewed || self.kind == NodeKind::Blocking { None } else { inner.waker.take() };
        Some(Marked { waker, first: true, cause, members, waiters })
    }

    fn is_child(&self) -> bool {
        matches!(self.kind, NodeKind::Task | NodeKind::Blocking)
    }

    /// Registers a waker, to be woken when this child has ended. The one that it replaces must be dropped outside
    /// every lock.
    #[must_use]
    pub(crate) fn add_waiter(&self, key: WaitKey, waker: &Waker) -> Option<Waker> {
        let mut inner = self.lock();
        if key != WaitKey::HANDLE {
            return inner.members().waits.add(key, waker);
        }
        match &inner.waker {
            Some(stored) if stored.will_wake(waker) => None,
            _ => inner.waker.replace(waker.clone()),
        }
    }

    /// A wait for the end of this child was given up: its waker goes.
    #[must_use]
    pub(crate) fn remove_waiter(&self, key: WaitKey) -> Option<Waker> {
        let mut inner = self.lock();
        match key {
            WaitKey::HANDLE => inner.waker.take(),
            _ => inner.members.as_mut()?.waits.remove(key),
        }
    }

    /// Takes out whoever waits for the end of this child.
    #[must_use]
    pub(crate) fn take_waiters(&self) -> WakerSet {
        let mut inner = self.lock();
        let members = inner.members.as_mut();
        let mut waits = members.map_or_else(WakerSet::default, |members| std::mem::take(&mut members.waits));
        inner.waker.take().into_iter().for_each(|waker| waits.push(waker));
        waits
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
            if let Some(member) = members.slab.get(at)
                && (!group || Hold::of(member.node()) == Hold::Nested)
            {
                return Some((Arc::clone(member), at + 1 + usize::from(group)));
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
        self.flags.set(ENDING);
        inner.members.as_ref().map_or_else(Vec::new, |members| members.of(Hold::Background))
    }

    /// Closes the group if nothing at all stands in it, the usual end. True: closed.
    #[must_use]
    pub(crate) fn try_close_bare(&self, may_close: impl FnOnce() -> bool) -> bool {
        let inner = self.lock();
        let bare = inner.members.as_ref().is_none_or(|members| members.slab.is_empty()) && may_close();
        if bare {
            self.flags.set(CLOSED);
        }
        bare
    }

    /// Closes the group if no child is left (R6). True: closed; whoever comes now is born cancelled.
    #[must_use]
    pub(crate) fn try_close(&self, may_close: impl FnOnce() -> bool) -> bool {
        let inner = self.lock();
        let empty = inner.members.as_ref().is_none_or(|members| members.live() == 0) && may_close();
        if empty {
            self.flags.set(CLOSED);
        }
        empty
    }

    /// Closes the group whoever is left: it has been dropped.
    pub(crate) fn close(&self) {
        let _inner = self.lock();
        self.flags.set(CLOSED);
    }

    pub(crate) fn parent(&self) -> Option<NodeRef> {
        self.lock().place.as_ref().map(|place| Arc::clone(&place.parent))
    }

    pub(crate) fn stands_under(&self, region: &Node) -> bool {
        self.lock().place.as_ref().is_some_and(|place| std::ptr::eq(place.parent.node(), region))
    }

    /// Puts `child` under this node unless it is cancelled or closed (R5). What its crew is then owed must be
    /// paid.
    pub(crate) fn admit(
        this: NodeRef,
        child: NodeRef,
        hold: Hold,
        placing: Placing,
    ) -> Result<Owed, CancelCause> {
        let entry = Arc::clone(&child);
        let now = stamp();
        let mut link = child.node().lock();
        let mut inner = this.node().lock();
        if let Some(cause) = this.node().refusal(&inner, hold) {
            return Err(cause);
        }
        let members = inner.members();
        let slot = members.slab.vacant_key();
        let mark = members.tally().spawned(now, slot);
        let owed = match placing {
            Placing::Queued => inner.members().crew_of(&this).push(Arc::clone(&child)),
            Placing::Later => inner.members().crew_of(&this).attend(),
            Placing::Elsewhere => Owed::Nothing,
        };
        let slot = this.node().insert(&mut inner, entry, hold);
        drop(inner);
        link.place = Some(Place { parent: this, slot, mark });
        Ok(owed)
    }

    /// Enters a child in the books that has been let in before ([`hosted_child`](Self::hosted_child)), whatever has
    /// become of the group since; says the cause if that is cancelled. `recorded`: there is to be a record of it.
    pub(crate) fn enter_late(
        this: &NodeRef,
        child: &NodeRef,
        hold: Hold,
        spawned_at: Instant,
        recorded: bool,
    ) -> Option<CancelCause> {
        let mut link = child.node().lock();
        let mut inner = this.node().lock();
        let members = inner.members();
        let slot = members.slab.vacant_key();
        let mark = members.tally().spawned_before(spawned_at, slot, recorded);
        let slot = this.node().insert(&mut inner, Arc::clone(child), hold);
        let cause = inner.cause.clone();
        drop(inner);
        link.place = Some(Place { parent: Arc::clone(this), slot, mark });
        cause
    }

    /// Puts `child` under this node whatever its state; says the cause if it is cancelled.
    pub(crate) fn adopt(this: &NodeRef, child: &NodeRef, hold: Hold) -> Option<CancelCause> {
        let mut link = child.node().lock();
        let mut inner = this.node().lock();
        let slot = this.node().insert(&mut inner, Arc::clone(child), hold);
        let cause = inner.cause.clone();
        drop(inner);
        link.place = Some(Place { parent: Arc::clone(this), slot, mark: Mark::NONE });
        cause
    }
}

impl Drop for Inner {
    /// A chain of parents that nobody else holds is let go link by link (R18).
    fn drop(&mut self) {
        let mut next = self.place.take().map(|place| place.parent);
        while let Some(mut parent) = next {
            let Some(last) = Arc::get_mut(&mut parent) else { return };
            next = last.node().lock().place.take().map(|place| place.parent);
        }
    }
}
