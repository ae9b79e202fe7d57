//! What model-checked tests of the layers above stand on: nodes with nothing behind them.

use std::any::Any;
use std::panic::Location;

use super::{CancelCause, CancelReason, Member, Node, NodeKind, NodeRef};
use crate::sync::Arc;

struct Plain(Node);

impl Member for Plain {
    fn node(&self) -> &Node {
        &self.0
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A node of this kind under nothing.
#[track_caller]
pub(crate) fn plain(kind: NodeKind) -> NodeRef {
    Arc::new(Plain(Node::new(kind, None, Location::caller())))
}

/// Somebody asks for the node's cancel.
pub(crate) fn cancel(node: &NodeRef) {
    super::cancel(node, CancelCause::new(CancelReason::Requested(None), node.node().info()));
}
