//! The account of a group's children: how many came to what end, and records of some of them.
//!
//! # Invariants, under the group's lock
//!
//! 1. A child is counted where it enters the books and where it leaves them, in the same step: so
//!    `spawned + adopted` is what has ended, what was handed over, and what stands in the books.
//! 2. Only counts grow with children that have ended: there are `records_max` records of the first that were
//!    spawned, and [`FORCED_MAX`] of others that needed force.
//! 3. The clock is read at an end only where a record is made, and there only for a child that has waited.

use std::borrow::Cow;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use super::member::NodeRef;
use super::node::Inner;
use super::stamp::stamp;
use super::{CancelCause, CancelEnd, ChildEnd, ChildRecord, Id, Node, NodeInfo, NodeKind};

/// Of how many children a group keeps a record if it is not told otherwise.
pub(crate) const RECORDS_DEFAULT: usize = 32;
/// Room for so many records is made at the first spawn.
const FIRST_ROOM: usize = 10;
/// Of how many more there may be a record because they needed force.
const FORCED_MAX: usize = 1024;

/// When a child was spawned, in the space that its entry in the books has left: the number of its record,
/// which has the exact time, or the tenths of a second since the group's first spawn.
#[derive(Clone, Copy)]
pub(super) struct Mark(u32);

impl Mark {
    const RECORDED: u32 = 1 << 31;

    /// For members that are no children.
    pub(super) const NONE: Self = Self(0);

    fn record(self) -> Option<usize> {
        (self.0 & Self::RECORDED != 0).then_some((self.0 & !Self::RECORDED) as usize)
    }
}

/// How many children came to what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) spawned: usize,
    /// Taken over from a group that was dropped (R2).
    pub(crate) adopted: usize,
    /// Left to an enclosing group, for the same reason.
    pub(crate) handed_over: usize,
    pub(crate) completed: usize,
    /// Of the completed: those that had been cancelled.
    pub(crate) completed_late: usize,
    pub(crate) failed: usize,
    pub(crate) panicked: usize,
    pub(crate) asked: usize,
    pub(crate) cut: usize,
    pub(crate) dropped: usize,
    pub(crate) never_started: usize,
    /// Of all: those whose grace period was over.
    pub(crate) forced: usize,
}

impl Counts {
    fn add(&mut self, end: ChildEnd, cancelled: bool) {
        let count = match end {
            ChildEnd::Completed => {
                self.completed_late += usize::from(cancelled);
                &mut self.completed
            }
            ChildEnd::Failed => &mut self.failed,
            ChildEnd::Panicked => &mut self.panicked,
            ChildEnd::Cancelled(CancelEnd::Asked) => &mut self.asked,
            ChildEnd::Cancelled(CancelEnd::Cut) => &mut self.cut,
            ChildEnd::Cancelled(CancelEnd::Dropped) => &mut self.dropped,
            ChildEnd::Cancelled(CancelEnd::NeverStarted) => &mut self.never_started,
        };
        *count += 1;
    }
}

/// The slot of a recorded child that was left to an enclosing group.
const GONE: usize = usize::MAX;

enum Slot {
    /// Since when, and its slot among the members.
    Running(Instant, usize),
    Ended(ChildRecord),
}

impl Slot {
    fn spawned_at(&self) -> Instant {
        match self {
            Slot::Running(at, _) => *at,
            Slot::Ended(record) => record.spawned_at,
        }
    }
}

/// The group's first spawn, its latest reading of the clock, and the tenths of a second in between.
#[derive(Clone, Copy)]
struct Times {
    began: Instant,
    latest: Instant,
    tenths: u32,
}

impl Times {
    fn begin(at: Instant) -> Self {
        Self { began: at, latest: at, tenths: 0 }
    }

    /// Room for six years.
    fn tenths_at(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.began);
        let tenths = since.as_secs() * 10 + u64::from(since.subsec_millis() / 100);
        tenths.min(u64::from(Mark::RECORDED - 1)) as u32
    }

    fn advance(&mut self, at: Instant) {
        if at > self.latest {
            (self.latest, self.tenths) = (at, self.tenths_at(at));
        }
    }
}

pub(super) struct Tally {
    records_max: usize,
    times: Option<Times>,
    counts: Counts,
    first: Vec<Slot>,
    forced: Vec<ChildRecord>,
    /// Cancelled children that are being polled, and since when.
    polls: Vec<(Id, Instant)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            records_max: RECORDS_DEFAULT,
            times: None,
            counts: Counts::default(),
            first: Vec::new(),
            forced: Vec::new(),
            polls: Vec::new(),
        }
    }
}

impl Tally {
    /// A child enters the books.
    pub(super) fn spawned(&mut self, at: Instant, slot: usize) -> Mark {
        self.counts.spawned += 1;
        let times = self.times.get_or_insert_with(|| Times::begin(at));
        // Most spawns of a burst share a reading.
        if at != times.latest {
            times.advance(at);
        }
        if self.first.len() < self.records_max {
            return self.reserve_record(at, slot);
        }
        Mark(times.tenths)
    }

    /// A child enters the books some time after it was spawned; whether there is to be a record of it was decided
    /// then.
    pub(super) fn spawned_before(&mut self, at: Instant, slot: usize, recorded: bool) -> Mark {
        self.counts.spawned += 1;
        let times = self.times.get_or_insert_with(|| Times::begin(at));
        times.advance(at);
        match recorded && self.first.len() < self.records_max {
            true => self.reserve_record(at, slot),
            false => Mark(times.tenths_at(at)),
        }
    }

    fn reserve_record(&mut self, at: Instant, slot: usize) -> Mark {
        let number = self.first.len();
        if number == self.first.capacity() {
            // Most groups are small.
            let room = if number == 0 { FIRST_ROOM } else { self.records_max - number };
            self.first.reserve_exact(room.min(4 * FIRST_ROOM).min(self.records_max - number));
        }
        self.first.push(Slot::Running(at, slot));
        Mark(number as u32 | Mark::RECORDED)
    }

    /// A child of a group that was dropped is taken over.
    pub(super) fn adopted(&mut self, spawned_at: Instant) -> Mark {
        self.counts.adopted += 1;
        Mark(self.times.get_or_insert_with(|| Times::begin(spawned_at)).tenths_at(spawned_at))
    }

    /// A child is left to an enclosing group. Returns when it was spawned.
    pub(super) fn handed_over(&mut self, mark: Mark) -> Option<Instant> {
        self.counts.handed_over += 1;
        let spawned_at = self.spawned_at(mark)?;
        if let Some(number) = mark.record() {
            self.first[number] = Slot::Running(spawned_at, GONE);
        }
        Some(spawned_at)
    }

    fn spawned_at(&self, mark: Mark) -> Option<Instant> {
        match mark.record() {
            Some(number) => Some(self.first.get(number)?.spawned_at()),
            None => self.times?.began.checked_add(Duration::from_millis(u64::from(mark.0) * 100)),
        }
    }

    /// A child leaves the books. `own`: what its own lock guards.
    #[inline]
    pub(super) fn ended(&mut self, child: &Node, own: &Inner, mark: Mark, end: ChildEnd) {
        self.counts.add(end, own.cause.is_some());
        let forced = child.is_forced();
        self.counts.forced += usize::from(forced);
        if mark.record().is_some() || (forced && self.forced.len() < FORCED_MAX) {
            self.record(child, own, mark, end);
        }
    }

    #[cold]
    fn record(&mut self, child: &Node, own: &Inner, mark: Mark, end: ChildEnd) {
        let (number, forced) = (mark.record(), child.is_forced());
        let Some(spawned_at) = self.spawned_at(mark) else { return };
        let waited = child.has_waited() || own.cause.is_some() || child.kind() == NodeKind::Blocking;
        let ended_at = self.end_time(waited);
        let waited = waited && end != ChildEnd::Cancelled(CancelEnd::NeverStarted);
        let cause = own.cause.clone();
        let (ended_at, end) = (Some(ended_at), Some(end));
        let record = ChildRecord { who: child.info(), spawned_at, ended_at, end, waited, forced, cause };
        match number {
            Some(number) => self.first[number] = Slot::Ended(record),
            None => self.forced.push(record),
        }
    }

    /// For a child that has never waited, the latest time that is known anyhow.
    fn end_time(&mut self, waited: bool) -> Instant {
        match &self.times {
            Some(times) if !waited => times.latest,
            _ => {
                let now = Instant::now();
                self.times.get_or_insert_with(|| Times::begin(now)).advance(now);
                now
            }
        }
    }

    fn born_cancelled(&mut self, child: &Node, at: Instant, cause: &CancelCause) {
        let mark = self.spawned(at, GONE);
        let end = ChildEnd::Cancelled(CancelEnd::NeverStarted);
        self.counts.add(end, true);
        if let Some(number) = mark.record() {
            self.first[number] = Slot::Ended(ChildRecord {
                who: child.info(),
                spawned_at: at,
                ended_at: Some(at),
                end: Some(end),
                waited: false,
                forced: false,
                cause: Some(cause.clone()),
            });
        }
    }
}

/// What is kept of a child that returned `Ok` in its first poll, without ever having stood in the books.
pub(crate) struct Brief {
    pub(crate) id: Id,
    pub(crate) location: &'static Location<'static>,
    /// Boxed: most have none.
    pub(crate) name: Option<Box<Cow<'static, str>>>,
    pub(crate) at: Instant,
}

impl Brief {
    fn into_record(self) -> ChildRecord {
        let Self { id, location, name, at } = self;
        let who = NodeInfo { kind: NodeKind::Task, id, name: name.map(|name| *name), location };
        let (ended_at, end) = (Some(at), Some(ChildEnd::Completed));
        ChildRecord { who, spawned_at: at, ended_at, end, waited: false, forced: false, cause: None }
    }
}

/// What a group knows of its children.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) counts: Counts,
    pub(crate) running: usize,
    /// In the order in which the children were spawned.
    pub(crate) records: Vec<ChildRecord>,
}

impl Node {
    /// Keeps records of so many children; before the first is spawned.
    pub(crate) fn plan_records(&self, records_max: usize) {
        let records_max = records_max.min(Mark::RECORDED as usize - 1);
        self.lock().members().tally().records_max = records_max;
    }

    /// A child of this group was refused, and never entered the books (R5).
    pub(crate) fn count_born_cancelled(&self, child: &Node, cause: &CancelCause) {
        let at = stamp();
        self.lock().members().tally().born_cancelled(child, at, cause);
    }

    /// Children of this group returned `Ok` in their first polls, without ever having stood in the books. Takes the
    /// records of those that have one.
    pub(crate) fn count_brief(&self, completed: usize, briefs: &mut Vec<Brief>) {
        let mut inner = self.lock();
        let tally = inner.members().tally();
        tally.counts.spawned += completed;
        tally.counts.completed += completed;
        tally.first.reserve(briefs.len());
        for brief in briefs.drain(..) {
            tally.times.get_or_insert_with(|| Times::begin(brief.at)).advance(brief.at);
            tally.first.push(Slot::Ended(brief.into_record()));
        }
    }

    pub(crate) fn account(&self) -> Account {
        let mut live = Vec::new();
        let mut account = Account::default();
        {
            let inner = self.lock();
            let Some(members) = &inner.members else { return account };
            account.running = members.live();
            let Some(tally) = members.tally_if() else { return account };
            account.counts = tally.counts;
            account.records.extend(tally.forced.iter().cloned());
            account.records.extend(tally.first.iter().filter_map(|slot| match slot {
                Slot::Ended(record) => Some(record.clone()),
                Slot::Running(..) => None,
            }));
            live.extend(tally.first.iter().filter_map(|slot| match slot {
                Slot::Running(at, slot) => Some((NodeRef::clone(members.slab.get(*slot)?), *at)),
                Slot::Ended(_) => None,
            }));
        }
        // A child's own lock comes before its group's.
        let records = live.into_iter().map(|(member, spawned_at)| ChildRecord {
            who: member.node().info(),
            spawned_at,
            ended_at: None,
            end: None,
            waited: true,
            forced: member.node().is_forced(),
            cause: member.node().cause(),
        });
        account.records.extend(records);
        account.records.sort_by_key(|record| record.who.id());
        account
    }

    /// When this child was spawned: exactly, or to the tenth of a second.
    pub(super) fn spawned_at(&self) -> Option<Instant> {
        let own = self.lock();
        let place = own.place.as_ref()?;
        let inner = place.parent.node().lock();
        inner.members.as_ref()?.tally_if()?.spawned_at(place.mark)
    }

    /// Since when this child has been polled, if it was cancelled already when that poll began.
    pub(super) fn polled_since(&self) -> Option<Instant> {
        let parent = self.parent()?;
        let inner = parent.node().lock();
        let polls = &inner.members.as_ref()?.tally_if()?.polls;
        polls.iter().find(|(id, _)| *id == self.id()).map(|(_, since)| *since)
    }
}

/// A cancelled child is polled: notes since when, until the note is dropped. Costs the others nothing.
#[inline]
pub(crate) fn note_poll(child: &Node) -> Option<PollNote> {
    if child.is_cancelled() { note_cancelled(child) } else { None }
}

#[cold]
fn note_cancelled(child: &Node) -> Option<PollNote> {
    let parent = child.parent()?;
    let now = Instant::now();
    parent.node().lock().members.as_mut()?.tally().polls.push((child.id(), now));
    Some(PollNote { parent, child: child.id() })
}

pub(crate) struct PollNote {
    parent: NodeRef,
    child: Id,
}

impl Drop for PollNote {
    fn drop(&mut self) {
        let mut inner = self.parent.node().lock();
        if let Some(members) = &mut inner.members {
            let polls = &mut members.tally().polls;
            if let Some(place) = polls.iter().position(|(id, _)| *id == self.child) {
                polls.swap_remove(place);
            }
        }
    }
}
