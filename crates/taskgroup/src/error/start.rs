//! What comes out of `start` when the child does not become ready.

use std::fmt;

use crate::task::Panic;
use crate::tree::CancelCause;

/// Why a started child did not become ready (R20). Its group knows nothing of it.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the failure of a starting child is told here and nowhere else"]
pub enum StartError<E> {
    /// The child returned this error before it was ready.
    Failed(E),
    /// The child panicked before it was ready.
    Panicked(Panic),
    /// The child returned `Ok` without saying `ready`.
    NotReady,
    /// The child was cancelled before it was ready, or born cancelled.
    Cancelled(CancelCause),
}

impl<E> StartError<E> {
    /// Whether the child was cancelled before it was ready, or born cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, StartError::Cancelled(_))
    }
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Failed(error) => write!(f, "the task failed before it was ready: {error}"),
            StartError::Panicked(panic) => write!(f, "the task {panic}, before it was ready"),
            StartError::NotReady => f.write_str("the task ended without saying that it is ready"),
            StartError::Cancelled(cause) => {
                write!(f, "the task was cancelled before it was ready: {cause}")
            }
        }
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for StartError<E> {}
