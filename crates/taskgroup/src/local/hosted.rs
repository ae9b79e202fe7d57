//! What a group has that polls its children itself: their queue, and the account of those who stand in no books yet.
//!
//! # Access
//!
//! H1: `desk` belongs to the *host*: the `run` or `join` that is under way while it is polled or dropped, or the group's
//! own drop. There is one `run` (the ledger's stage sees to that), and the group cannot be dropped while it is borrowed
//! by one that can still be polled. Where spawners cannot leave the thread ([`SameThread`](super::SameThread)) they are
//! the host too. No reference to it is held while code of a user runs.

use std::alloc::Layout;
use std::cell::Cell;
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::chunk::{self, Memory};
use super::inbox::{Inbox, Link, Pushed, Row};
use crate::sync::{AtomicU64, Mutex, Ordering, UnsafeCell, lock};
use crate::tree::{self, Brief, Late, Node, NodeRef, RECORDS_DEFAULT, WaitKey, WakerSet};

/// For how many spawns one reading of the clock serves.
const READING_SHARED: u32 = 16;

pub(crate) struct Hosted {
    pub(super) inbox: Inbox,
    /// How many children were spawned, those that were born cancelled aside.
    spawned: AtomicU64,
    /// How many of them were entered in the books, or have ended without. Written by the host.
    left: AtomicU64,
    records_max: u64,
    waiters: Mutex<WakerSet>,
    /// The child that is being polled, as long as nothing in it has asked for its node; else null. H1.
    polled: Cell<*const Link>,
    desk: UnsafeCell<Desk>,
}

// SAFETY: `desk` and `polled` are the only fields that are not `Sync` by themselves; H1.
unsafe impl Sync for Hosted {}
// SAFETY: it holds pointers to cells, which may go to other threads where the group may.
unsafe impl Send for Hosted {}

struct Desk {
    memory: Memory,
    row: Row,
    /// Those in the row that stand in no books.
    unentered: usize,
    /// Of these, the background ones.
    background: usize,
    /// Returned `Ok` without having stood in the books; not counted there yet.
    completed: usize,
    briefs: Vec<Brief>,
    reading: Option<Instant>,
    reading_left: u32,
}

impl Hosted {
    #[inline]
    pub(crate) fn new(report_records: Option<usize>) -> Self {
        let desk = Desk {
            memory: Memory::new(),
            row: Row::new(),
            unentered: 0,
            background: 0,
            completed: 0,
            briefs: Vec::new(),
            reading: None,
            reading_left: 0,
        };
        Self {
            inbox: Inbox::new(),
            spawned: AtomicU64::new(0),
            left: AtomicU64::new(0),
            records_max: report_records.unwrap_or(RECORDS_DEFAULT) as u64,
            waiters: Mutex::new(WakerSet::default()),
            polled: Cell::new(std::ptr::null()),
            desk: UnsafeCell::new(desk),
        }
    }

    /// # Safety
    ///
    /// H1.
    unsafe fn desk<R>(&self, at: impl FnOnce(&mut Desk) -> R) -> R {
        // SAFETY: H1, and `at` calls nobody.
        self.desk.with_mut(|desk| at(unsafe { &mut *desk }))
    }

    /// A place for the cell of a child.
    ///
    /// # Safety
    ///
    /// H1.
    #[inline]
    pub(super) unsafe fn place(&self, layout: Layout) -> chunk::Place {
        // SAFETY: H1.
        unsafe { self.desk(|desk| desk.memory.place(layout)) }
    }

    /// The group is gone.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn close_memory(&self) {
        // SAFETY: H1.
        unsafe { self.desk(|desk| desk.memory.close()) }
    }

    /// For the tree, while children are polled: the one that is polled now is entered when something in it asks for the
    /// current node.
    ///
    /// # Safety
    ///
    /// H1, as long as this is used.
    pub(super) unsafe fn late(&self) -> Late {
        let enter = |this: *const ()| {
            // SAFETY: H1: asked for by who runs in a child, so by the host.
            unsafe {
                let link = (*this.cast::<Self>()).polled.replace(std::ptr::null());
                if link.is_null() { None } else { Some(((*link).vtable.member)(link)) }
            }
        };
        // SAFETY: as the caller says.
        unsafe { Late::new(std::ptr::from_ref(self).cast(), enter) }
    }

    /// Polls a child whose turn it is. True: something in it has asked for its node.
    ///
    /// # Safety
    ///
    /// H1; the link was in the queue.
    #[inline]
    pub(super) unsafe fn poll(&self, link: *const Link) -> bool {
        tree::forget_time();
        self.polled.set(link);
        // SAFETY: as the caller says.
        unsafe { ((*link).vtable.poll)(link) };
        self.polled.replace(std::ptr::null()).is_null()
    }

    /// Polls a child inside its spawn, with `poll`, perhaps while another one is being polled.
    ///
    /// # Safety
    ///
    /// H1; the child is new.
    pub(super) unsafe fn poll_inside(&self, link: *const Link, poll: impl FnOnce()) {
        let outer = self.polled.replace(link);
        {
            // SAFETY: H1.
            let _entered = tree::enter_late(unsafe { self.late() });
            poll();
        }
        self.polled.set(outer);
    }

    /// Wakes the host, also through a frozen region.
    #[cold]
    pub(crate) fn wake_host(&self, group: &NodeRef) {
        let host = self.inbox.host();
        if group.node().is_cancelled() {
            tree::wake_through(group, host);
        } else if let Some(host) = host {
            tree::wake(host);
        }
    }

    /// Whether no child can come any more.
    pub(crate) fn try_close(&self) -> bool {
        self.inbox.try_close()
    }

    /// Whether somebody has come whom the host has not seen yet.
    pub(crate) fn has_new(&self) -> bool {
        self.inbox.has_any()
    }

    /// Counts a spawn. Whether there is to be a record of it.
    #[inline]
    pub(super) fn count_spawn(&self, shared: bool) -> bool {
        // Relaxed: it is a count; what else there is to be seen of a child comes with its push.
        let number = match shared {
            true => self.spawned.fetch_add(1, Ordering::Relaxed),
            false => {
                let number = self.spawned.load(Ordering::Relaxed);
                self.spawned.store(number + 1, Ordering::Relaxed);
                number
            }
        };
        number < self.records_max
    }

    /// A spawn that was counted was refused after all.
    pub(super) fn uncount_spawn(&self) {
        self.spawned.fetch_sub(1, Ordering::Relaxed);
    }

    fn count_left(&self) {
        // One writer.
        self.left.store(self.left.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How many children have not ended and do not stand in the books.
    pub(crate) fn unentered(&self) -> usize {
        let left = self.left.load(Ordering::Relaxed);
        usize::try_from(self.spawned.load(Ordering::Relaxed).saturating_sub(left)).unwrap_or(usize::MAX)
    }

    /// About now, for a spawn.
    ///
    /// # Safety
    ///
    /// H1.
    #[inline]
    pub(super) unsafe fn reading(&self) -> Instant {
        // SAFETY: H1.
        let shared = unsafe {
            self.desk(|desk| match desk.reading {
                Some(at) if desk.reading_left > 0 => {
                    desk.reading_left -= 1;
                    Some(at)
                }
                _ => None,
            })
        };
        shared.unwrap_or_else(|| {
            let at = Instant::now();
            // SAFETY: H1.
            unsafe { self.desk(|desk| (desk.reading, desk.reading_left) = (Some(at), READING_SHARED - 1)) };
            at
        })
    }

    /// A child of the host's own thread takes its place in the row.
    ///
    /// # Safety
    ///
    /// H1; the link is queued, and carries a reference.
    #[inline]
    pub(super) unsafe fn push_here(
        &self,
        link: *const Link,
        background: bool,
        group: impl FnOnce() -> NodeRef,
    ) {
        // SAFETY: H1.
        unsafe {
            self.desk(|desk| {
                desk.row.push(link);
                desk.unentered += 1;
                desk.background += usize::from(background);
            });
        }
        if self.inbox.wake_if_asleep() {
            self.wake_host(&group());
        }
    }

    /// A child comes from any thread. False: the group has ended, the link is still the caller's.
    ///
    /// # Safety
    ///
    /// The link is queued, and carries a reference.
    #[must_use]
    pub(super) unsafe fn push_from_anywhere(
        &self,
        link: *const Link,
        group: impl FnOnce() -> NodeRef,
    ) -> bool {
        // SAFETY: as the caller says.
        match unsafe { self.inbox.push(link) } {
            Pushed::Closed => return false,
            Pushed::Asleep => self.wake_host(&group()),
            Pushed::Seen => {}
        }
        true
    }

    /// The host is being polled.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn begin(&self, node: &Node, cx: &Context<'_>) {
        tree::begin_poll(node);
        tree::forget_time();
        self.inbox.set_host(cx.waker());
        // SAFETY: H1.
        unsafe {
            self.desk(|desk| desk.reading_left = 0);
            self.take();
        }
    }

    /// The host's turn is over: whoever waits for children to be entered is woken. Where reports are asked for from other
    /// threads, what was counted goes into the books.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn finish(&self, node: &Node, shared: bool) {
        tree::forget_time();
        // SAFETY: H1.
        unsafe {
            self.desk(|desk| desk.reading_left = 0);
            if shared {
                self.flush(node);
            }
        }
        if self.unentered() == 0 {
            let waiters = std::mem::take(&mut *lock(&self.waiters));
            tree::wake_all(waiters);
        }
    }

    /// What was counted goes into the books.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn flush(&self, node: &Node) {
        // SAFETY: H1.
        unsafe {
            self.desk(|desk| {
                if desk.completed > 0 {
                    node.count_brief(std::mem::take(&mut desk.completed), &mut desk.briefs);
                }
            });
        }
    }

    /// Registers the waker for the time when every child has ended or stands in the books. False: that is now.
    pub(super) fn watch_unentered(&self, key: WaitKey, waker: &Waker) -> bool {
        let mut waiters = lock(&self.waiters);
        // Under the lock: the host counts first, and takes the waiters second.
        let waits = self.unentered() > 0;
        let replaced = if waits { waiters.add(key, waker) } else { None };
        drop(waiters);
        drop(replaced);
        waits
    }

    /// A wait was given up: its waker goes.
    pub(super) fn unwatch(&self, key: WaitKey) {
        let given_up = lock(&self.waiters).remove(key);
        drop(given_up);
    }

    /// Takes what was pushed into the row. False: there was nothing.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn take(&self) -> bool {
        let list = self.inbox.take();
        // SAFETY: H1.
        unsafe { self.append(list) }
    }

    /// Nobody can push any more: what was pushed is in the row.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn close(&self) {
        let list = self.inbox.close();
        // SAFETY: H1.
        unsafe { self.append(list) };
    }

    unsafe fn append(&self, list: super::inbox::List) -> bool {
        // SAFETY: H1, as the callers say.
        unsafe {
            self.desk(|desk| {
                let (unentered, background) = (&mut desk.unentered, &mut desk.background);
                let before = desk.row.is_empty();
                desk.row.append(list, |link| {
                    // Who stands in no books is pushed for the first time: it is entered, or ends, in its first poll.
                    if let Some(in_background) = ((*link).vtable.unentered)(link) {
                        *unentered += 1;
                        *background += usize::from(in_background);
                    }
                });
                before && !desk.row.is_empty()
            })
        }
    }

    /// The next one whose turn it is.
    ///
    /// # Safety
    ///
    /// H1.
    #[inline]
    pub(super) unsafe fn pop(&self) -> Option<*const Link> {
        // SAFETY: H1.
        unsafe { self.desk(|desk| desk.row.pop()) }
    }

    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn is_row_empty(&self) -> bool {
        // SAFETY: H1.
        unsafe { self.desk(|desk| desk.row.is_empty()) }
    }

    /// Whether every child has ended or stands in the books, those in the background included, as far as the host has
    /// seen them. Enters the background ones where there are no others: they do not keep the group open.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn may_end(&self) -> bool {
        // SAFETY: H1.
        let (unentered, background) = unsafe { self.desk(|desk| (desk.unentered, desk.background)) };
        if unentered > background {
            return false;
        }
        if background > 0 {
            let mut links = Vec::with_capacity(background);
            // SAFETY: H1. Entered one by one outside of the desk, for that calls back.
            unsafe {
                self.desk(|desk| desk.row.for_each(|link| links.push(link)));
                for link in links {
                    ((*link).vtable.enter)(link);
                }
            }
        }
        true
    }

    /// A child is entered in the books.
    ///
    /// # Safety
    ///
    /// H1.
    pub(super) unsafe fn entered(&self, background: bool) {
        self.count_left();
        // SAFETY: H1.
        unsafe {
            self.desk(|desk| {
                desk.unentered -= 1;
                desk.background -= usize::from(background);
            });
        }
    }

    /// A child that stands in no books has returned `Ok`.
    ///
    /// # Safety
    ///
    /// H1.
    #[inline]
    pub(super) unsafe fn completed(&self, background: bool) {
        self.count_left();
        // SAFETY: H1.
        unsafe {
            self.desk(|desk| {
                desk.unentered -= 1;
                desk.background -= usize::from(background);
                desk.completed += 1;
            });
        }
    }

    /// There is to be a record of such a child.
    ///
    /// # Safety
    ///
    /// H1.
    #[inline]
    pub(super) unsafe fn keep(&self, brief: Brief) {
        // SAFETY: H1.
        unsafe {
            self.desk(|desk| {
                if desk.briefs.len() == desk.briefs.capacity() {
                    // Growing step by step costs small groups most.
                    desk.briefs.reserve(16);
                }
                desk.briefs.push(brief);
            });
        }
    }
}

/// Wakes a host that is awake, for another poll later.
pub(super) fn wake_again(hosted: &Hosted, group: &NodeRef, waker: &Waker) {
    if group.node().is_cancelled() {
        hosted.wake_host(group);
    } else {
        waker.wake_by_ref();
    }
}
