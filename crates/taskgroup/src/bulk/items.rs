//! The futures given to one call, as tasks of a group of their own.

use std::collections::HashMap;
use std::future::pending;
use std::panic::Location;

use crate::error::{self, ErrorGroup, Failure};
use crate::group::TaskGroup;
use crate::task::{Problem, Task};
use crate::trace::{self, Fields};
use crate::tree::{self, Id};

/// Spawns the futures; `each` makes a task's future of one and its place. False: the group was cancelled before all
/// had been spawned; the others have been dropped.
pub(super) fn spawn_each<I, F, T, E>(
    group: &TaskGroup<E>,
    futures: Vec<I>,
    location: &'static Location<'static>,
    mut each: impl FnMut(usize, I) -> F,
    mut spawned: impl FnMut(Task<T>),
) -> bool
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let mut futures = futures.into_iter().enumerate();
    while !group.is_cancelled() {
        let Some((index, future)) = futures.next() else { return true };
        spawned(group.spawn_at(each(index, future), location));
    }
    futures.len() == 0
}

/// The failure of the task whose code this is: for one that does not go to the group.
pub(super) fn failure_here<E: 'static>(error: E) -> Failure<E> {
    tree::with_current(|node| {
        let node = node.expect("inside a task of the group").node();
        Failure::new(Problem::Error(error), node.info(), tree::path_of(node))
    })
}

/// The event that a group would have made of it.
pub(super) fn tell_failed<E: 'static>(failure: &Failure<E>) {
    if trace::wants_failed() {
        let group = tree::with_current(|node| Some(node?.node().parent()?.node().id().as_u64()));
        let (path, error) = (Some(failure.path()), error::problem_text(failure));
        let fields = Fields { group, path, error: Some(&error), ..failure.who().fields() };
        trace::failed(failure.who().kind().word(), false, &fields);
    }
}

/// Names a failure after the place of its task. Not before it fails: names cost, and most tasks do not fail.
pub(super) fn name_item<E: 'static>(failure: &mut Failure<E>, index: usize) {
    failure.set_name(format!("item {index}"));
}

/// The answer of a call whose tasks were cancelled with the region around it, without a failure: in a region that is
/// cut none at all (R12).
pub(super) async fn cut<E: Send + 'static>(group: TaskGroup<E>) -> ErrorGroup<E> {
    if tree::is_cut() {
        pending::<()>().await;
    }
    ErrorGroup::new(group.info(), Vec::new(), 0, group.cause())
}

/// Names the failures after the places of their tasks.
pub(super) fn name_failed<E: 'static>(
    mut errors: ErrorGroup<E>,
    places: impl IntoIterator<Item = (Id, usize)>,
) -> ErrorGroup<E> {
    let places: HashMap<Id, usize> = places.into_iter().collect();
    for failure in errors.failures_mut() {
        if let Some(index) = places.get(&failure.id()) {
            name_item(failure, *index);
        }
    }
    errors
}
