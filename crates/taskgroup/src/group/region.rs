//! A body: the region of a group's owner, polled inside the host and cut like a task.

use std::any::Any;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::sync::Arc;
use crate::task::{Panic, catch};
use crate::tree::{self, Hold, Member, Node, NodeKind, NodeRef, Turn};

/// The node of a body. Its future lies in the `Run` that polls it.
pub(crate) struct Body {
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
pub(crate) enum BodyEnd<O> {
    Returned(O),
    Panicked(Panic),
    /// Cancelled at a wait: its groups have drained, its future has been dropped.
    Cut,
}

/// What a poll of a body came to.
pub(crate) enum Step<O> {
    Ended(O),
    /// It waits; a grace period inside may end then.
    Waits(Option<Instant>),
}

impl Body {
    /// A body under its group, and under the group's cancel if it has been cancelled.
    pub(crate) fn open(group: &NodeRef, location: &'static Location<'static>) -> Arc<Self> {
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
    pub(crate) fn poll<F: Future>(
        self: &Arc<Self>,
        mut future: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
        first: bool,
    ) -> Step<BodyEnd<F::Output>> {
        let _entered = tree::enter(Arc::clone(self) as NodeRef);
        let turn = tree::turn(&self.node, cx, first, |cx| match future.as_mut().as_pin_mut() {
            Some(future) => match catch(|| future.poll(cx)) {
                Ok(polled) => polled.map(BodyEnd::Returned),
                Err(panic) => Poll::Ready(BodyEnd::Panicked(panic)),
            },
            None => unreachable!("a body is polled until it ends"),
        });
        match turn {
            Turn::Ready(end) => Step::Ended(clear(future, end)),
            Turn::Cut => Step::Ended(clear(future, BodyEnd::Cut)),
            Turn::Pending(until) => Step::Waits(until),
        }
    }

    /// Drops the body where it stands: the group's grace period is over, and all inside has been dropped (R15).
    pub(crate) fn give_up<F: Future>(self: &Arc<Self>, future: Pin<&mut Option<F>>) -> BodyEnd<F::Output> {
        let _entered = tree::enter(Arc::clone(self) as NodeRef);
        clear(future, BodyEnd::Cut)
    }
}

/// Drops the future of a body that has ended. A panic in a destructor is the body's panic.
fn clear<F: Future>(mut future: Pin<&mut Option<F>>, end: BodyEnd<F::Output>) -> BodyEnd<F::Output> {
    match catch(|| future.set(None)) {
        Ok(()) => end,
        Err(panic) => BodyEnd::Panicked(panic),
    }
}
