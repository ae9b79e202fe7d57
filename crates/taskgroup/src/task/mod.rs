//! Cells: one child each. Its future, its state machine, its outcome, and who may touch which when.
//!
//! The group owns the future: it lies in a [`TaskCell`](cell::TaskCell) that the group can reach. The
//! runtime gets a few [drivers](place::Driver), which poll the cells that are ready. That one decision buys R1 and R2:
//! a group can drop a child's future at any time, whatever the runtime is doing.
//!
//! # The life of a cell
//!
//! ```text
//!            start_poll                 end_poll
//!   Idle ───────────────▶ Polling ───────────────────▶ Idle
//!    │                       │ │
//!    │ claim_drop            │ └─ doomed, or the future is ready ─┐
//!    ▼                       │                                    │
//!   Dropping ────────────────┴──────── finish ─────────────────▶ Done
//! ```
//!
//! # Invariants
//!
//! 1. Whoever moved the state to *Polling* or *Dropping* owns the stage (future and outcome) until it
//!    moves the state on; nobody else touches it.
//! 2. Once the outcome is stored (`SETTLED`) it is the one `Task` handle's; where that was dropped before, the
//!    owner drops the value before the child leaves the books, so that no value outlives the exit unasked for.
//! 3. A child ends once, by the owner under 1, in [`drive`]. The order is R1's: drop the future, tell the
//!    group of a failure, store the outcome, *Done* and out of the books in one step under the group's lock,
//!    wake. The failure comes before *Done*, so that who awaits the handle of a failed child finds itself
//!    cancelled and never runs on (R11, R12). *Done* and leaving are one step, so that no count disagrees
//!    with a handle, and an exit that finds the books empty finds every handle readable.
//! 4. A drop that meets *Polling* or *Dropping* on another thread dooms the cell and waits for *Done*; on
//!    its own thread, or where waiting would close a circle, it dooms only (R2).
//! 5. Whatever of the child's code runs, its destructors too, runs inside its span, which is closed before *Done*.
//! 6. A waiter registers, sets the `WAITED` bit, and looks at the stage again; `finish` swaps in *Done* and
//!    looks at the bit. One of the two sees the other.

mod cell;
mod drive;
mod handle;
mod outcome;
mod panic;
mod place;
mod rare;
mod state;
mod waiting;
mod waker;

pub use handle::Task;
pub use outcome::TaskError;
pub use panic::Panic;

pub(crate) use cell::{Reporter, TaskCell};
pub(crate) use drive::hand_over_groups;
pub(crate) use outcome::{Ended, Outcome, Problem};
pub(crate) use panic::catch;
pub(crate) use place::{place_blocking, spawn_driver, threads};
pub(crate) use rare::Rare;

#[cfg(all(test, taskgroup_loom))]
mod loom_tests;
