//! A body: the region of a group's owner, polled inside the host and cut like a task.

use std::any::Any;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::Arc;
use crate::task::{Panic, catch};
use crate::tree::{self, Deliverable, Frozen, Hold, Member, Node, NodeKind, NodeRef};

/// The node of a body. Its future lies in the `Run` that polls it.
pub(super) struct Body {
    node: Node,
}

impl Member for Body {
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// How a body ended.
pub(super) enum BodyEnd<O> {
    Returned(O),
    Panicked(Panic),
    /// Cancelled at a wait: its groups have drained, its future has been dropped.
    Cut,
}

impl Body {
    /// A body under its group, and under the group's cancel if it has been cancelled.
    pub(super) fn open(group: &NodeRef, location: &'static Location<'static>) -> Arc<Self> {
        let (id, name) = (group.node().id(), group.node().info().name);
        let body = Arc::new(Self { node: Node::with_id(id, NodeKind::Body, name, location) });
        let member = Arc::clone(&body) as NodeRef;
        if let Some(cause) = Node::adopt(group, &member, Hold::Body) {
            tree::cancel(&member, cause);
        }
        body
    }

    /// Polls the body to its end, to a wait, or to its cut (R12).
    ///
    /// `first`: code that the host is running now; it goes as far as its first wait even when cancelled.
    pub(super) fn poll<F: Future>(
        self: &Arc<Self>,
        mut future: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
        mut first: bool,
    ) -> Poll<BodyEnd<F::Output>> {
        let _entered = tree::enter(Arc::clone(self) as NodeRef);
        loop {
            let mut deliverable = None;
            if self.node.is_cancelled() && !first {
                match tree::frozen_step(&self.node, cx.waker()) {
                    Frozen::Wait => {
                        return Poll::Pending;
                    }
                    Frozen::Poll(groups) => deliverable = Some(groups),
                    Frozen::Drop => return Poll::Ready(clear(future, BodyEnd::Cut)),
                }
            }
            first = false;
            let polled = match future.as_mut().as_pin_mut() {
                Some(future) => catch(|| future.poll(cx)),
                None => unreachable!("a body is polled until it ends"),
            };
            let again = deliverable.is_some_and(Deliverable::again);
            match polled {
                Ok(Poll::Ready(output)) => return Poll::Ready(clear(future, BodyEnd::Returned(output))),
                Err(panic) => return Poll::Ready(clear(future, BodyEnd::Panicked(panic))),
                Ok(Poll::Pending) if again => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Poll::Pending) if self.node.register_waker(cx.waker()) => return Poll::Pending,
                Ok(Poll::Pending) => {}
            }
        }
    }
}

/// Drops the future of a body that has ended. A panic in a destructor is the body's panic.
fn clear<F: Future>(mut future: Pin<&mut Option<F>>, end: BodyEnd<F::Output>) -> BodyEnd<F::Output> {
    match catch(|| future.set(None)) {
        Ok(()) => end,
        Err(panic) => BodyEnd::Panicked(panic),
    }
}
