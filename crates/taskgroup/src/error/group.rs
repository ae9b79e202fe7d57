//! The one error type of a group.

use super::display;
use super::{Except, Failure, Leaves, carrier, split};
use crate::task::Problem;
use crate::tree::{CancelCause, Id, NodeInfo, NodeKind};

/// Everything that went wrong in a group: every error and panic, in the order in which they happened.
///
/// One failure or twenty, the type and the shape are the same (R8). Print it with `{}` on one line, with
/// `{:#}` as a tree with names, spawn locations and causes; `{:?}` shows the same tree, for `unwrap` and
/// for `main`. Handle it by type with [`except`](Self::except), by predicate with [`split`](Self::split),
/// or read it with [`failures`](Self::failures) and [`leaves`](Self::leaves).
///
/// A group that was cancelled without any failure comes out as an `ErrorGroup` without failures, for
/// which [`is_cancelled`](Self::is_cancelled) holds.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use std::io;
/// let crawled = taskgroup::scope(async |tg| {
///     tg.spawn(async { Err::<(), _>(io::Error::other("reset"))? ; Ok(()) });
///     Ok(())
/// })
/// .await;
/// if let Err(errors) = crawled {
///     errors
///         .except::<io::Error>(|error| eprintln!("network: {error}"))
///         .rest()?;
/// }
/// # Ok(()) }
/// ```
#[must_use = "these are the failures of a whole group: handle them, return them, or log them"]
pub struct ErrorGroup<E: 'static = super::Error>(pub(super) Box<Inner<E>>);

pub(super) struct Inner<E> {
    pub(super) group: NodeInfo,
    pub(super) failures: Vec<Failure<E>>,
    pub(super) more: usize,
    pub(super) cause: Option<CancelCause>,
}

impl<E: 'static> ErrorGroup<E> {
    pub(crate) fn new(
        group: NodeInfo,
        failures: Vec<Failure<E>>,
        more: usize,
        cause: Option<CancelCause>,
    ) -> Self {
        Self(Box::new(Inner { group, failures, more, cause }))
    }

    /// A group made by hand, for tests and for code that collects errors itself. `None` if there are none:
    /// a group that says "failed" has a failure.
    ///
    /// ```
    /// # use taskgroup::ErrorGroup;
    /// let group = ErrorGroup::from_errors(["one", "two"]).unwrap();
    /// assert_eq!(group.len(), 2);
    /// assert!(ErrorGroup::<&str>::from_errors([]).is_none());
    /// ```
    #[track_caller]
    pub fn from_errors(errors: impl IntoIterator<Item = E>) -> Option<Self> {
        let location = std::panic::Location::caller();
        let info = |kind| NodeInfo { kind, id: Id::next(), name: None, location };
        let failures: Vec<_> = errors
            .into_iter()
            .map(|error| {
                let who = info(NodeKind::Task);
                let path = who.id().to_string().into_boxed_str();
                Failure::new(Problem::Error(error), who, path)
            })
            .collect();
        if failures.is_empty() {
            return None;
        }
        Some(Self::new(info(NodeKind::Group), failures, 0, None))
    }

    /// The direct failures, in the order in which they happened. A nested group is one of them.
    pub fn failures(&self) -> &[Failure<E>] {
        &self.0.failures
    }

    pub(crate) fn who(&self) -> &NodeInfo {
        &self.0.group
    }

    pub(crate) fn failures_mut(&mut self) -> &mut [Failure<E>] {
        &mut self.0.failures
    }

    /// All failures walked flat: those of nested groups in place of the groups.
    pub fn leaves(&self) -> Leaves<'_, E> {
        Leaves::new(self)
    }

    /// How many direct failures are stored.
    pub fn len(&self) -> usize {
        self.0.failures.len()
    }

    /// Whether no failure is stored: see [`is_cancelled`](Self::is_cancelled) and [`more`](Self::more).
    pub fn is_empty(&self) -> bool {
        self.0.failures.is_empty()
    }

    /// How many failures there were beyond those stored (`Builder::max_failures`).
    pub fn more(&self) -> usize {
        self.0.more
    }

    /// Whether this is the outcome of a cancel, without any failure (R17).
    pub fn is_cancelled(&self) -> bool {
        self.0.failures.is_empty() && self.0.more == 0
    }

    /// Why the group was cancelled; after a failure, that failure. `None` if it never was
    /// (`OnFailure::Continue`).
    pub fn cause(&self) -> Option<&CancelCause> {
        self.0.cause.as_ref()
    }

    /// The identity of the group.
    pub fn id(&self) -> Id {
        self.0.group.id()
    }

    /// The name of the group.
    pub fn name(&self) -> Option<&str> {
        self.0.group.name()
    }

    /// The failure that happened first.
    pub fn first(&self) -> Option<&Failure<E>> {
        self.0.failures.first()
    }

    /// The failure that happened first, owned; the others are dropped. `None` after a mere cancel.
    pub fn into_first(mut self) -> Option<Failure<E>> {
        let failures = std::mem::take(&mut self.0.failures);
        failures.into_iter().next()
    }

    /// The direct failures, owned.
    pub fn into_failures(mut self) -> Vec<Failure<E>> {
        std::mem::take(&mut self.0.failures)
    }

    /// All failures, flat and owned.
    pub fn into_leaves(self) -> Vec<Failure<E>> {
        split::into_leaves(self)
    }

    /// Two groups: the leaves for which `predicate` holds, and the others. Both keep the nesting; a side
    /// without leaves is `None`. The count of failures not stored stays with the others, and so does an
    /// `anyhow` context around a nested group that is divided.
    ///
    /// ```
    /// # use taskgroup::ErrorGroup;
    /// let group = ErrorGroup::from_errors([1, 2, 3, 4]).unwrap();
    /// let (even, odd) = group.split(|failure| failure.error().unwrap() % 2 == 0);
    /// assert_eq!((even.unwrap().len(), odd.unwrap().len()), (2, 2));
    /// ```
    pub fn split(self, predicate: impl FnMut(&Failure<E>) -> bool) -> (Option<Self>, Option<Self>) {
        split::split(self, predicate)
    }

    /// The leaves for which `predicate` holds, nesting kept; the others are dropped.
    pub fn subgroup(self, predicate: impl FnMut(&Failure<E>) -> bool) -> Option<Self> {
        self.split(predicate).0
    }

    /// Gives each leaf whose error is or carries an `X` to `handler`; what no handler took comes out of
    /// [`rest`](Except::rest) again, with its nesting.
    ///
    /// This is Python's `except*`. Chain as many as there are types to be handled.
    ///
    /// ```
    /// # use taskgroup::ErrorGroup;
    /// # use std::{io, num::ParseIntError};
    /// let bad_number = "x".parse::<i32>().unwrap_err();
    /// let errors = ErrorGroup::from_errors([
    ///     anyhow::Error::new(io::Error::other("reset")),
    ///     anyhow::Error::new(bad_number),
    ///     anyhow::anyhow!("something else"),
    /// ])
    /// .unwrap();
    /// let mut seen = Vec::new();
    /// let rest = errors
    ///     .except::<io::Error>(|error| seen.push(error.to_string()))
    ///     .except::<ParseIntError>(|error| seen.push(error.to_string()))
    ///     .rest();
    /// assert_eq!(seen, ["reset", "invalid digit found in string"]);
    /// assert_eq!(rest.unwrap_err().len(), 1);
    /// ```
    pub fn except<X>(self, handler: impl FnMut(X)) -> Except<E>
    where
        X: std::error::Error + Send + Sync + 'static,
    {
        Except::new(self).except(handler)
    }

    /// The same group with every direct error converted; names, locations and panics stay.
    ///
    /// A nested group is one error of its parent, and is given to `map` as such.
    pub fn map<E2: 'static>(mut self, mut map: impl FnMut(E) -> E2) -> ErrorGroup<E2> {
        let failures = std::mem::take(&mut self.0.failures);
        let failures = failures.into_iter().map(|failure| failure.map(&mut map)).collect();
        ErrorGroup::new(self.0.group.clone(), failures, self.0.more, self.0.cause.clone())
    }

    /// The frame of this group around other failures.
    pub(super) fn with_failures(&self, failures: Vec<Failure<E>>, more: usize) -> Self {
        Self::new(self.0.group.clone(), failures, more, self.0.cause.clone())
    }
}

impl<E: 'static> Drop for ErrorGroup<E> {
    /// Nested groups are emptied level by level: a recursive drop would overflow the stack (R18).
    fn drop(&mut self) {
        let mut pending = vec![std::mem::take(&mut self.0.failures)];
        while let Some(failures) = pending.pop() {
            for mut failure in failures {
                if let Some(inner) = failure.error_mut().and_then(carrier::nested_mut) {
                    pending.push(std::mem::take(&mut inner.0.failures));
                }
            }
        }
    }
}

impl<'a, E: 'static> IntoIterator for &'a ErrorGroup<E> {
    type Item = &'a Failure<E>;
    type IntoIter = std::slice::Iter<'a, Failure<E>>;

    fn into_iter(self) -> Self::IntoIter {
        self.failures().iter()
    }
}

/// One line; with `{:#}` a tree.
impl<E: std::fmt::Display + 'static> std::fmt::Display for ErrorGroup<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if f.alternate() {
            display::write_tree(f, self, &display::show)
        } else {
            display::write_line(f, self, &display::show)
        }
    }
}

/// The tree that `{:#}` shows, so that `unwrap` and a `main` that returns it say all.
impl<E: std::fmt::Debug + 'static> std::fmt::Debug for ErrorGroup<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        display::write_tree(f, self, &display::show_debug)
    }
}

/// Its text names every leaf, so it has no `source`: a chain would say the same twice.
impl<E: std::fmt::Debug + std::fmt::Display + 'static> std::error::Error for ErrorGroup<E> {}
