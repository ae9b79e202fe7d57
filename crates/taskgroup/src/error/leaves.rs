//! Walking the leaves of an error group.

use super::{ErrorGroup, Failure};

/// The leaves of an [`ErrorGroup`], depth first, in the order in which they happened.
pub struct Leaves<'a, E> {
    levels: Vec<std::slice::Iter<'a, Failure<E>>>,
}

impl<'a, E: 'static> Leaves<'a, E> {
    pub(super) fn new(group: &'a ErrorGroup<E>) -> Self {
        Self { levels: vec![group.failures().iter()] }
    }
}

impl<'a, E: 'static> Iterator for Leaves<'a, E> {
    type Item = &'a Failure<E>;

    fn next(&mut self) -> Option<&'a Failure<E>> {
        loop {
            let Some(failure) = self.levels.last_mut()?.next() else {
                self.levels.pop();
                continue;
            };
            match failure.nested() {
                Some(group) if !group.is_empty() => self.levels.push(group.failures().iter()),
                _ => return Some(failure),
            }
        }
    }
}

impl<E> std::fmt::Debug for Leaves<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").field("depth", &self.levels.len()).finish_non_exhaustive()
    }
}
