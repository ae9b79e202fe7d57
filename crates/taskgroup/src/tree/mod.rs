//! The tree: nodes, parents, cancel and its causes, the current node.
//!
//! Every group, task, body, pending start and free-standing token is a *node*. A node knows who it is, under whom it
//! stands and whether it is cancelled; what it runs is the business of the layers above, which the
//! tree reaches through [`Member`] alone.
//!
//! # Invariants
//!
//! 1. **Lock order.** A thread holds at most two node locks, and then first the child's, second its
//!    parent's. Walks down the tree hold one lock at a time and carry snapshots.
//! 2. **No code of a user runs under a node lock**: wakers are woken, futures and payloads dropped after
//!    it is released.
//! 3. **State, not signal.** `cancelled` is set under the node's lock, once, together with its cause, and
//!    never cleared. A member is admitted under the same lock. So whoever was admitted before the mark is
//!    in the snapshot the marking takes, and whoever comes after it is refused or born cancelled (R5).
//! 4. **A waker is stored under the lock that the mark is set under.** So a region that found itself not
//!    cancelled and stored its waker will be woken by the mark. So will who waits for a token ([`token`]). A task stores none: its own state
//!    keeps a wake-up ([`crew`]).
//! 5. Every walk is iterative: depth costs heap, never stack (R18).

mod attach;
mod cause;
mod crew;
mod current;
mod drain;
mod flags;
mod links;
#[cfg(all(test, taskgroup_loom))]
pub(crate) mod loom_support;
#[cfg(all(test, taskgroup_loom))]
mod loom_tests;
mod member;
#[cfg(feature = "tokio-util")]
mod mirror;
mod node;
mod propagate;
mod record;
mod rounds;
mod shield;
mod stamp;
mod straggler;
mod tally;
mod token;
mod turn;

pub use cause::{CancelCause, CancelReason, Cancelled, Chain, Id, NodeInfo, NodeKind, Signal};
pub use current::{current, deadline, is_cancelled};
pub use record::{CancelEnd, ChildEnd, ChildRecord};
pub use straggler::{Straggler, StragglerState};

pub(crate) use attach::{attach_group, attach_member, follow_current, hand_up};
pub(crate) use crew::{DriverKey, Look, Next, Owed, Placing, Threads, enqueue, forget_driver, pay};
pub(crate) use current::{
    Late, deadline_that_cuts, enter, enter_from, enter_late, is_being_cut, is_cut, told_region, with_current,
};
pub(crate) use drain::{grace_end, is_busy};
pub(crate) use links::{detach, detach_ended, detach_from, enclosing_group, path_of, rehome};
pub(crate) use member::{
    Activity, DropMode, Hold, Member, NodeRef, WaitKey, WakerSet, take_has_woken, wake, wake_all,
};
#[cfg(feature = "tokio-util")]
pub(crate) use mirror::{follow, mirror};
pub(crate) use node::Node;
pub(crate) use propagate::{cancel, drop_subtree, force, note_cut};
pub(crate) use shield::{ShieldWaker, begin_poll, forget_woken, wake_through};
pub(crate) use stamp::{forget as forget_time, stamp};
pub(crate) use straggler::{Stragglers, stragglers};
pub(crate) use tally::{Account, Brief, Counts, RECORDS_DEFAULT, note_poll};
pub(crate) use token::{Lease, release_tokens};
pub(crate) use turn::{Turn, turn};
