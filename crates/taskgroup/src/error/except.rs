//! `except*`: handlers by type, in a chain.

use std::error::Error as StdError;

use super::{ErrorGroup, carrier};

/// A chain of handlers over an [`ErrorGroup`]; begun by [`ErrorGroup::except`], ended by [`rest`](Self::rest).
#[must_use = "end the chain with `rest()`, or what no handler took is lost"]
#[derive(Debug)]
pub struct Except<E: 'static> {
    rest: Option<ErrorGroup<E>>,
}

impl<E: 'static> Except<E> {
    pub(super) fn new(group: ErrorGroup<E>) -> Self {
        Self { rest: Some(group) }
    }

    /// Gives each remaining leaf whose error is or carries an `X` to `handler`, in order.
    ///
    /// # Panics
    ///
    /// If the handler does; leaves that were for it are lost then.
    pub fn except<X>(self, mut handler: impl FnMut(X)) -> Self
    where
        X: StdError + Send + Sync + 'static,
    {
        let Some(group) = self.rest else { return self };
        let (matching, rest) = group.split(|failure| failure.is::<X>());
        let leaves = matching.map_or_else(Vec::new, ErrorGroup::into_leaves);
        for leaf in leaves {
            let found = leaf.into_error().ok().and_then(|error| carrier::take::<E, X>(error).ok());
            handler(found.expect("split by type"));
        }
        Self { rest }
    }

    /// What no handler took, nesting kept; `Ok` if that is nothing.
    ///
    /// # Errors
    ///
    /// The remaining failures. A group that was cancelled without a failure comes out as it is.
    pub fn rest(self) -> Result<(), ErrorGroup<E>> {
        self.rest.map_or(Ok(()), Err)
    }
}
