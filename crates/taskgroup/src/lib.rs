//! Structured concurrency for tokio.
mod error;
mod group;
mod lost;
mod sync;
mod task;
mod tree;

pub use error::{Error, ErrorGroup, Except, Failure, Leaves, StartError};
pub use group::{
    Builder, CancelToken, OnDrop, OnFailure, OnPanic, Ready, Run, ScopeBody, Spawner, TaskBuilder, TaskGroup,
    TrySpawnError, scope,
};
pub use task::{Panic, Task, TaskError};
pub use tree::{CancelCause, CancelReason, Cancelled, Chain, Id, NodeInfo, NodeKind, current, is_cancelled};
