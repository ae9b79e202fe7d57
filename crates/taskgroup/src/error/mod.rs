//! Failures, groups of them, and their text.
//!
//! # Invariants
//!
//! 1. A group's failures stand in the order in which they happened (R8).
//! 2. Cancellation is never a leaf (R9): a group without failures is the outcome of a cancel.
//! 3. A nested group is a failure whose error *is* (or carries, in an `anyhow` context) an
//!    `ErrorGroup` of the same `E`. Where `E` is `anyhow::Error` or `Box<dyn Error + Send + Sync>` the
//!    nesting is seen and kept by everything here.
//! 4. Reading, printing, splitting and dropping are iterative: nesting costs no stack (R18).

mod carrier;
mod display;
mod except;
mod failure;
mod group;
mod leaves;
mod split;
mod start;

pub use except::Except;
pub use failure::Failure;
pub use group::ErrorGroup;
pub use leaves::Leaves;
pub use start::StartError;

pub(crate) use carrier::means_cancelled;
pub(crate) use display::{error_text, problem_text};
pub(crate) use split::without_cancelled;

/// The error type of a group that names none: `anyhow::Error`.
pub type Error = anyhow::Error;
