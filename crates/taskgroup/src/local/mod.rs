//! Groups that poll their children themselves: `LocalGroup` and `SendLocalGroup`.
//!
//! The future of `run` or `join` is the *host*: it polls the children inside the task that awaits it. So they may borrow,
//! and need not be `Send`. A child is a [cell](cell::LocalCell): its place in the queue, its future, later its outcome; many lie
//! side by side in one [chunk]. Its node in the tree, the [`Child`](child::Child), is made when it is needed. Everything else is as in other groups, and done by the same code: the ledger of
//! failures, cancel and its causes, grace periods, deadlines, shields ([`GroupCore`](crate::group::GroupCore), [`tree`](crate::tree)).
//!
//! # The life of a child
//!
//! ```text
//!                             poll: ready                        settle
//!   queued ─────▶ polled ──────────────────▶ future dropped ─────────────▶ done
//!     ▲             │ pending                      ▲
//!     │             ▼                              │ cut: cancelled, or the group dropped
//!     └── woken ── entered in the books, idle ─────┘
//! ```
//!
//! Its *link* (in which queue it is, who may wake it) and its *state* (has it started, who has the outcome) are words of
//! their own: any thread wakes, the host alone polls, host and handle share the outcome.
//!
//! # Invariants
//!
//! 1. Only the host polls a child, drops its future, and ends it. It does so while it is polled, or while it or its group
//!    is dropped, so within `'env`, and on its own thread (R2). Who leaks the group leaks the children (R3). The tree never
//!    drops a child: it marks it, and wakes the host.
//! 2. A child that is spawned stands in the queue, and in no books. It is entered in its group's books, and so in the tree,
//!    when it first waits, or when something in it asks for the current node, or when it fails, or is cut: a child that
//!    returns `Ok` in its first poll never is. Nobody can tell: what looks for a child in the tree is the child's own
//!    code, which enters it, or a cancel, which then finds the mark of its group at its first wait.
//! 3. Of each child that has not ended the host has one reference, on which the handle lives too. It goes when the child
//!    ends; where the child is in the queue then, it is the queue's ([`inbox`]). So nothing is counted for a wake-up.
//! 4. A round polls each of those who were woken once, in the order in which they were woken. Who is woken meanwhile is in
//!    the next one. The body has its place among them.
//! 5. The group closes when nobody is in the queue and nobody in the books, both in one step under the node's lock.
//! 6. While the host polls its children the tree knows that it does, not which: a child that asks for the current node
//!    is looked up then ([`hosted`]).
//! 7. A host whose region is frozen (R12) is polled when one of its children was woken, as for a shield: from the cancel of
//!    the group on, each wake-up of the host is noted in the regions above.

mod builder;
mod cell;
mod child;
mod chunk;
mod drive;
mod group;
mod handle;
mod hosted;
mod inbox;
mod kind;
#[cfg(all(test, taskgroup_loom))]
mod loom_tests;
mod parts;
mod run;
mod scope;
mod seat;
mod spawner;
mod start;
mod state;
mod task_builder;
mod waker;

pub use builder::LocalBuilder;
pub use group::{HostedGroup, LocalGroup, SendLocalGroup};
pub use handle::LocalTask;
pub use kind::{AnyThread, Fits, Host, SameThread};
pub use run::LocalRun;
pub use scope::local_scope;
pub use spawner::LocalSpawner;
pub use task_builder::LocalTaskBuilder;

pub(crate) use hosted::Hosted;
