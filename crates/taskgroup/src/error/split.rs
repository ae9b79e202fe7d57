//! Taking a tree of failures apart, leaf by leaf, without recursion.

use super::{ErrorGroup, Failure, carrier};

/// What was chosen, and the rest.
type Sides<E> = (Option<ErrorGroup<E>>, Option<ErrorGroup<E>>);

/// One level of the tree that is being split.
struct Level<E: 'static> {
    /// The group of this level, emptied; `rest` gets its `more`.
    frame: ErrorGroup<E>,
    /// The failure of the level above that holds this group, emptied; `None` at the root.
    holder: Option<Failure<E>>,
    todo: std::vec::IntoIter<Failure<E>>,
    chosen: Vec<Failure<E>>,
    rest: Vec<Failure<E>>,
}

impl<E: 'static> Level<E> {
    fn new(mut group: ErrorGroup<E>, holder: Option<Failure<E>>) -> Self {
        let todo = std::mem::take(&mut group.0.failures).into_iter();
        Self { frame: group, holder, todo, chosen: Vec::new(), rest: Vec::new() }
    }

    fn close(self) -> (Sides<E>, Option<Failure<E>>) {
        let more = self.frame.more();
        let side = |failures: Vec<Failure<E>>, more| {
            (!failures.is_empty() || more > 0).then(|| self.frame.with_failures(failures, more))
        };
        ((side(self.chosen, 0), side(self.rest, more)), self.holder)
    }
}

pub(super) fn split<E: 'static>(
    group: ErrorGroup<E>,
    mut predicate: impl FnMut(&Failure<E>) -> bool,
) -> Sides<E> {
    if group.is_cancelled() {
        return (None, Some(group));
    }
    let mut levels = vec![Level::new(group, None)];
    loop {
        let level = levels.last_mut().expect("the root returns");
        let Some(mut failure) = level.todo.next() else {
            let (sides, holder) = levels.pop().expect("looked at above").close();
            let (Some(holder), Some(above)) = (holder, levels.last_mut()) else {
                return sides;
            };
            put_back(above, holder, sides);
            continue;
        };
        match take_nested(&mut failure) {
            Some(nested) => levels.push(Level::new(nested, Some(failure))),
            None if predicate(&failure) => level.chosen.push(failure),
            None => level.rest.push(failure),
        }
    }
}

/// Puts the two sides of a nested group back into the level above. The holder, with whatever context is
/// around the group in it, goes with the rest, or with the chosen where there is no rest.
fn put_back<E: 'static>(above: &mut Level<E>, mut holder: Failure<E>, sides: Sides<E>) {
    match sides {
        (Some(chosen), Some(rest)) => {
            let error = carrier::wrap(chosen).unwrap_or_else(|_| unreachable!("nesting needs a carrier"));
            above.chosen.push(holder.with_error(error));
            refill(&mut holder, rest);
            above.rest.push(holder);
        }
        (Some(chosen), None) => {
            refill(&mut holder, chosen);
            above.chosen.push(holder);
        }
        (None, Some(rest)) => {
            refill(&mut holder, rest);
            above.rest.push(holder);
        }
        (None, None) => {}
    }
}

/// Takes the failures out of the group nested in this one; an empty (cancelled) group is a leaf.
fn take_nested<E: 'static>(failure: &mut Failure<E>) -> Option<ErrorGroup<E>> {
    let nested = failure.error_mut().and_then(carrier::nested_mut)?;
    if nested.is_empty() {
        return None;
    }
    Some(empty(nested))
}

fn refill<E: 'static>(holder: &mut Failure<E>, group: ErrorGroup<E>) {
    fill(holder.error_mut().and_then(carrier::nested_mut).expect("taken from here"), group);
}

/// Takes what is in a group out of where it lies; [`fill`] puts something back.
fn empty<E: 'static>(nested: &mut ErrorGroup<E>) -> ErrorGroup<E> {
    let failures = std::mem::take(&mut nested.0.failures);
    nested.with_failures(failures, nested.more())
}

fn fill<E: 'static>(nested: &mut ErrorGroup<E>, mut group: ErrorGroup<E>) {
    nested.0.failures = std::mem::take(&mut group.0.failures);
    nested.0.more = group.0.more;
}

/// What is left of an error with which a cancelled task answered, when all that says "I was cancelled" is
/// taken out of it, in nested groups too (R9). `None`: nothing, it was no failure.
pub(crate) fn without_cancelled<E: 'static>(mut error: E, means: &dyn Fn(&E) -> bool) -> Option<E> {
    if means(&error) {
        return None;
    }
    let Some(nested) = carrier::nested_mut(&mut error).filter(|nested| !nested.is_empty()) else {
        return Some(error);
    };
    let group = empty(nested);
    let (_cancelled, rest) = split(group, |leaf| leaf.error().is_some_and(means));
    fill(nested, rest?);
    Some(error)
}

pub(super) fn into_leaves<E: 'static>(group: ErrorGroup<E>) -> Vec<Failure<E>> {
    let mut leaves = Vec::new();
    let mut levels = vec![group.into_failures().into_iter()];
    while let Some(level) = levels.last_mut() {
        let Some(mut failure) = level.next() else {
            levels.pop();
            continue;
        };
        match take_nested(&mut failure) {
            Some(nested) => levels.push(nested.into_failures().into_iter()),
            None => leaves.push(failure),
        }
    }
    leaves
}
