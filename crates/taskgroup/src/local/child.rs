//! What the tree has of a child: its node, and what few children need. Made when the child first waits, or when somebody
//! asks for the node; at once for a child that has a name, a span, a grace period, or is cooperative.
//!
//! | field | who may touch it |
//! |---|---|
//! | `node`, `activity`, `waits` | anybody (they synchronise themselves) |
//! | `cell`, `span`, `grace` | the host, as long as the child has not ended |

use std::any::Any;
use std::cell::Cell;
use std::time::Duration;

use super::inbox::Link;
use crate::sync::{AtomicU32, Mutex, Ordering, UnsafeCell};
use crate::task::Rare;
use crate::trace::Span;
use crate::tree::{Activity, Member, Node, WakerSet};

const IDLE: u32 = 0;
const POLLED: u32 = 1;
const ENDED: u32 = 2;

pub(super) struct Child {
    pub(super) node: Node,
    activity: AtomicU32,
    /// Where the child stands in the books.
    cell: Cell<*const Link>,
    pub(super) span: UnsafeCell<Span>,
    pub(super) grace: UnsafeCell<Rare>,
    pub(super) waits: Mutex<WakerSet>,
}

// SAFETY: the fields that are not `Sync` by themselves are touched by the host alone, and what `cell` points to too.
unsafe impl Send for Child {}
// SAFETY: as above.
unsafe impl Sync for Child {}

impl Child {
    pub(super) fn new(node: Node, span: Span, grace: Option<Duration>) -> Self {
        let grace = grace.map_or_else(Rare::default, |grace| Rare::new(Span::default(), Some(grace)));
        Self {
            node,
            activity: AtomicU32::new(IDLE),
            cell: Cell::new(std::ptr::null()),
            span: UnsafeCell::new(span),
            grace: UnsafeCell::new(grace),
            waits: Mutex::new(WakerSet::default()),
        }
    }

    pub(super) fn set_polled(&self, polled: bool) {
        // Relaxed: for whoever looks on.
        self.activity.store(if polled { POLLED } else { IDLE }, Ordering::Relaxed);
    }

    /// The child is entered in the books.
    ///
    /// # Safety
    ///
    /// The caller is the host.
    pub(super) unsafe fn set_cell(&self, cell: *const Link) {
        self.cell.set(cell);
    }

    /// The child has ended.
    ///
    /// # Safety
    ///
    /// The caller is the host.
    pub(super) unsafe fn set_ended(&self) {
        self.cell.set(std::ptr::null());
        self.activity.store(ENDED, Ordering::Release);
    }

    /// The cell of a child that stands in the books, else null.
    ///
    /// # Safety
    ///
    /// The caller is the host.
    pub(super) unsafe fn cell(&self) -> *const Link {
        self.cell.get()
    }
}

impl Member for Child {
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_over(&self) -> bool {
        self.activity.load(Ordering::Acquire) == ENDED
    }

    fn activity(&self) -> Activity {
        match self.activity.load(Ordering::Acquire) {
            IDLE => Activity::Idle,
            POLLED => Activity::Polled,
            _ => Activity::Ended,
        }
    }
}
