//! Leaving a parent, moving to another one, and looking upwards.

use super::member::{Hold, NodeRef, WakerSet, wake_all};
use super::node::{Node, Place};
use super::propagate::{cause_for, passes_to};
use super::tally::Mark;
use super::{ChildEnd, NodeKind};
use crate::sync::Arc;

/// Takes a node from under its parent and wakes who waited for that. Returns the parent.
pub(crate) fn detach(node: &Node) -> Option<NodeRef> {
    detach_if(node, |_| true, None, || {})
}

/// [`detach`] for a child that has ended, which is counted in the same step; with something else to be done
/// in it for whoever counts the members. That is done in any case.
pub(crate) fn detach_ended(node: &Node, end: ChildEnd, step: impl FnOnce()) {
    let mut step = Some(step);
    let mut run = || step.take().into_iter().for_each(|step| step());
    drop(detach_if(node, |_| true, Some(end), &mut run));
    run();
}

/// [`detach`], unless the node has moved away from under `parent` meanwhile.
pub(crate) fn detach_from(node: &Node, parent: &Node) -> Option<NodeRef> {
    detach_if(node, |found| std::ptr::eq(found, parent), None, || {})
}

fn detach_if(
    node: &Node,
    wanted: impl FnOnce(&Node) -> bool,
    end: Option<ChildEnd>,
    step: impl FnOnce(),
) -> Option<NodeRef> {
    let mut link = node.lock();
    let Place { parent, slot, mark } = link.place.take_if(|place| wanted(place.parent.node()))?;
    let mut inner = parent.node().lock();
    let (member, wakers) = match &mut inner.members {
        Some(members) => {
            if let Some(end) = end {
                members.count_end(node, &link, mark, end);
            }
            members.remove(slot)
        }
        None => (None, WakerSet::Empty),
    };
    step();
    drop(inner);
    drop(link);
    wake_all(wakers);
    drop(member);
    Some(parent)
}

/// Moves a node from one parent under another, for adoption (R2, R4). Does nothing if it has left the
/// first meanwhile: the check and the move are one step under the node's lock, or a child that ends on
/// another thread in between would be entered dead, and waited for without end; and a group that somebody
/// runs meanwhile would be taken away from its host.
pub(crate) fn rehome(node: &NodeRef, from: &Node, home: &NodeRef, hold: Hold) {
    let mut link = node.node().lock();
    let from_there = link.place.take_if(|place| std::ptr::eq(place.parent.node(), from));
    let Some(Place { parent: former, slot, mark }) = from_there else { return };
    let child = matches!(node.node().kind(), NodeKind::Task | NodeKind::Blocking);
    let mut spawned_at = None;
    let (member, wakers) = match &mut former.node().lock().members {
        Some(members) => {
            if child {
                spawned_at = members.tally().handed_over(mark);
            }
            members.remove(slot)
        }
        None => (None, WakerSet::Empty),
    };
    let mut inner = home.node().lock();
    let mark = spawned_at.map_or(Mark::NONE, |at| inner.members().tally().adopted(at));
    let slot = home.node().insert(&mut inner, Arc::clone(node), hold);
    let cause = inner.cause.clone();
    drop(inner);
    link.place = Some(Place { parent: Arc::clone(home), slot, mark });
    drop(link);
    wake_all(wakers);
    drop((former, member));
    if let Some(cause) = cause
        && passes_to(home.node(), node.node())
    {
        super::cancel(node, cause_for(home, node, &cause));
    }
}

/// The nearest group above a region.
pub(crate) fn enclosing_group(start: Option<NodeRef>) -> Option<NodeRef> {
    let mut next = start;
    while let Some(node) = next {
        if node.node().kind() == NodeKind::Group {
            return Some(node);
        }
        next = node.node().parent();
    }
    None
}

/// The names on the way from the root to a node, at most 16 of them: `app > crawler > page 7`. Bodies have
/// the name of their group, and are left out; so are timeouts and shields without a name. The bound keeps a
/// failure that passes through thousands of nested groups from costing the square of their number.
pub(crate) fn path_of(node: &Node) -> Box<str> {
    const STEPS_MAX: usize = 16;
    let step = |node: &Node| match node.name() {
        Some(name) => name.to_owned(),
        None => node.id().to_string(),
    };
    let mut steps = vec![step(node)];
    let mut next = node.parent();
    while let Some(above) = next {
        if steps.len() == STEPS_MAX {
            steps.push("…".to_owned());
            break;
        }
        let inside_body = node.kind() == NodeKind::Body && above.node().id() == node.id();
        let told = match above.node().kind() {
            NodeKind::Body => false,
            NodeKind::Scope | NodeKind::Shield => above.node().name().is_some(),
            _ => !inside_body,
        };
        if told {
            steps.push(step(above.node()));
        }
        next = above.node().parent();
    }
    steps.reverse();
    steps.join(" > ").into_boxed_str()
}
