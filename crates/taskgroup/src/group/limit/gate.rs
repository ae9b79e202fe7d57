//! One gate: how many may be past it, how many are, and the line of who waits before it.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Wake;

use super::line::{Key, Line};
use super::ticket::Ticket;
use crate::lost;
use crate::sync::{Arc, Mutex, lock, thread_local};
use crate::tree::{Id, NodeInfo};

/// The gate of a group's own limit, or of a [`Limiter`](super::Limiter).
pub(crate) struct Gate {
    /// The group it belongs to; a limiter's belongs to none.
    group: Option<NodeInfo>,
    /// The gate that comes after this one: the limiter's, after a group's own.
    beyond: Option<Arc<Gate>>,
    state: Mutex<State>,
    /// Children of the group that have not had their turn, at this gate or the one beyond.
    queued: AtomicU64,
}

struct State {
    limit: usize,
    used: usize,
    line: Line<Arc<Ticket>>,
    /// Who is past the gate and waits for another place, and how often.
    stuck: HashMap<Id, (NodeInfo, usize)>,
}

/// Somebody's turn: it was taken from the line of its first gate, or of the one beyond, and has a place there.
pub(super) struct Turn {
    ticket: Arc<Ticket>,
    beyond: bool,
}

impl Gate {
    pub(super) fn new(limit: usize, beyond: Option<Arc<Gate>>, group: Option<NodeInfo>) -> Arc<Self> {
        let state = State { limit, used: 0, line: Line::new(), stuck: HashMap::new() };
        Arc::new(Self { group, beyond, state: Mutex::new(state), queued: AtomicU64::new(0) })
    }

    pub(super) fn beyond(&self) -> Option<&Arc<Gate>> {
        self.beyond.as_ref()
    }

    pub(super) fn limit(&self) -> usize {
        lock(&self.state).limit
    }

    pub(super) fn used(&self) -> usize {
        lock(&self.state).used
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).line.len()
    }

    pub(super) fn count_queued(&self) {
        // Relaxed: a figure for whoever looks on.
        self.queued.fetch_add(1, Relaxed);
    }

    pub(super) fn uncount_queued(&self) {
        self.queued.fetch_sub(1, Relaxed);
    }

    pub(super) fn queued_children(&self) -> usize {
        self.queued.load(Relaxed) as usize
    }

    /// A place, if there is one at once.
    #[must_use]
    pub(super) fn try_enter(&self) -> bool {
        let mut state = lock(&self.state);
        let room = state.used < state.limit;
        state.used += usize::from(room);
        room
    }

    /// A place, or one in the line.
    pub(super) fn enter(&self, ticket: &Arc<Ticket>) -> Option<Key> {
        let mut state = lock(&self.state);
        if state.used < state.limit {
            state.used += 1;
            return None;
        }
        Some(state.line.push_back(Arc::clone(ticket)))
    }

    /// The limit was lowered while the ticket, which has a place here, waited at the gate beyond: it goes back to
    /// the head of this line. `None`: it keeps its place.
    pub(super) fn take_back(&self, ticket: &Arc<Ticket>) -> Option<Key> {
        let mut state = lock(&self.state);
        if state.used <= state.limit {
            return None;
        }
        state.used -= 1;
        Some(state.line.push_front(Arc::clone(ticket)))
    }

    /// Takes a ticket out of the line. False: it has been given a place, and [`Ticket::granted`] is to come.
    pub(super) fn remove(&self, key: Key) {
        let removed = lock(&self.state).line.remove(key);
        drop(removed);
    }

    /// A place is free: whose turn it is.
    #[must_use]
    pub(super) fn release(&self) -> Option<Turn> {
        let mut state = lock(&self.state);
        state.used -= 1;
        let next = self.next(&mut state);
        let verdict = if next.is_none() { self.verdict_on(&state) } else { None };
        drop(state);
        log(verdict);
        next
    }

    pub(super) fn set_limit(&self, limit: usize) {
        let mut state = lock(&self.state);
        state.limit = limit;
        let turns: Vec<Turn> = std::iter::from_fn(|| self.next(&mut state)).collect();
        let verdict = if turns.is_empty() { self.verdict_on(&state) } else { None };
        drop(state);
        log(verdict);
        carry_out(turns);
    }

    /// Somebody who has a place here, and at the gate beyond, gives both up.
    pub(super) fn leave(&self) {
        if let Some(beyond) = &self.beyond {
            carry_out(beyond.release());
        }
        carry_out(self.release());
    }

    fn next(&self, state: &mut State) -> Option<Turn> {
        if state.used >= state.limit {
            return None;
        }
        let ticket = state.line.pop_front()?;
        state.used += 1;
        Some(Turn { beyond: !std::ptr::eq(ticket.gate(), self), ticket })
    }

    /// Somebody who has a place here begins to wait for another one.
    pub(super) fn note_stuck(&self, holder: &NodeInfo) {
        let mut state = lock(&self.state);
        state.stuck.entry(holder.id()).or_insert_with(|| (holder.clone(), 0)).1 += 1;
    }

    pub(super) fn forget_stuck(&self, holder: Id) {
        let mut state = lock(&self.state);
        let waits = state.stuck.get_mut(&holder).map_or(0, |(_, waits)| {
            *waits -= 1;
            *waits
        });
        let forgotten = if waits == 0 { state.stuck.remove(&holder) } else { None };
        drop(state);
        drop(forgotten);
    }

    /// Says it if nobody past the gate can come to an end, for all of them wait for somebody to do so.
    pub(super) fn verdict(&self) -> Option<String> {
        self.verdict_on(&lock(&self.state))
    }

    fn verdict_on(&self, state: &State) -> Option<String> {
        /// So many are named.
        const NAMES_MAX: usize = 8;
        // A limit of nought is a pause, which somebody means to end.
        let stuck = state.limit > 0
            && state.used >= state.limit
            && state.stuck.len() >= state.used
            && !state.stuck.is_empty();
        if !stuck {
            return None;
        }
        let limit = state.limit;
        let mut text = match &self.group {
            Some(group) => format!("deadlock in {group}, whose limit is {limit}"),
            None => format!("deadlock at a limiter, whose limit is {limit}"),
        };
        text.push_str(": every task that has a place there waits for another one: ");
        let mut holders: Vec<&NodeInfo> = state.stuck.values().map(|(holder, _)| holder).collect();
        holders.sort_by_key(|holder| holder.id());
        for (number, holder) in holders.iter().take(NAMES_MAX).enumerate() {
            let before = if number == 0 { "" } else { ", " };
            let _ = write!(text, "{before}{holder} at {}", holder.location());
        }
        if let Some(more @ 1..) = holders.len().checked_sub(NAMES_MAX) {
            let _ = write!(text, " and {more} more");
        }
        Some(text)
    }
}

/// How a child gives up its place, if it never stood in a line.
impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.leave();
    }
}

/// Only after a limit has been lowered: else the last one to wait finds it, and panics.
fn log(verdict: Option<String>) {
    if let Some(verdict) = verdict {
        lost::report(format_args!("{verdict}"));
    }
}

thread_local! {
    /// The turns that came up while this thread carried out others.
    static LATER: std::cell::RefCell<Option<VecDeque<Turn>>> = std::cell::RefCell::default();
}

/// Tells those whose turn it is, outside every lock. One that ends at once makes the next one's turn come up: that
/// one is told after it, not inside.
pub(super) fn carry_out(turns: impl IntoIterator<Item = Turn>) {
    let mut turns = turns.into_iter().peekable();
    if turns.peek().is_none() {
        return;
    }
    let nested = LATER.try_with(|later| match &mut *later.borrow_mut() {
        Some(later) => {
            later.extend(&mut turns);
            true
        }
        none => {
            *none = Some(VecDeque::new());
            false
        }
    });
    match nested {
        Ok(true) => return,
        Ok(false) => {}
        // The thread is being torn down.
        Err(_) => return turns.for_each(Turn::tell),
    }
    let last = Last;
    turns.for_each(Turn::tell);
    while let Ok(Some(turn)) = LATER.try_with(|later| later.borrow_mut().as_mut()?.pop_front()) {
        turn.tell();
    }
    drop(last);
}

/// Nobody is told by this thread any more.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        let left = LATER.try_with(|later| later.borrow_mut().take());
        // Only if telling one of them panicked.
        left.into_iter().flatten().flatten().for_each(Turn::tell);
    }
}

impl Turn {
    fn tell(self) {
        self.ticket.granted(self.beyond);
    }
}
