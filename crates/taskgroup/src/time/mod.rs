//! Timeouts, cancel scopes and shields: regions of a task that are cancelled, or spared, as a unit.
//!
//! All of them are one future, [`Region`](region::Region), over one node of the tree, [`Core`](core::Core).
//! What differs is the node's kind: a *scope* takes its surroundings' cancel on, a *shield* does not.

mod checkpoint;
mod core;
mod elapsed;
mod finally;
mod region;
mod scope;
mod shield;

pub use checkpoint::{cancelled, checkpoint};
pub use elapsed::{Elapsed, timeout, timeout_at};
pub use finally::{Ending, finally, finally_for};
pub use scope::{CancelScope, RescheduleError, ScopeHandle};
pub use shield::{shield, shield_for};

#[cfg(all(test, taskgroup_loom))]
mod loom_tests;
