//! Tokens of tokio-util's, in both directions (invariant 7 of [`token`](super::token)).
//!
//! That crate tells its waiters of a cancel when it has released its locks (since 0.7.20). So what is done in
//! [`Follow::wake`], cancels and drops of its tokens included, meets none of them.

use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Wake, Waker};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::member::NodeRef;
use super::token::{Lease, TokenNode};
use super::{CancelCause, CancelReason, Node, NodeKind};
use crate::sync::Arc;

/// The wait for the cancel of the token that ours follows: it lives as long as ours.
pub(super) type Following = Pin<Box<WaitForCancellationFutureOwned>>;

/// Cancels a token of ours when it is woken.
struct Follow(Weak<TokenNode>);

impl Wake for Follow {
    fn wake(self: Arc<Self>) {
        if let Some(token) = self.0.upgrade() {
            cancel_because_of_theirs(token);
        }
    }
}

fn cancel_because_of_theirs(token: Arc<TokenNode>) {
    let reason = CancelReason::Requested(Some("its tokio_util token was cancelled".into()));
    let cause = CancelCause::new(reason, token.node.info());
    super::cancel(&(token as NodeRef), cause);
}

/// A token of ours that is cancelled when `theirs` is.
pub(crate) fn follow(theirs: CancellationToken, location: &'static Location<'static>) -> Lease {
    let lease = Lease::root(location);
    // So that what ours is turned into follows theirs also when ours has been dropped.
    drop(lease.node().mirror_under(Some(&theirs)));
    let waker = Waker::from(Arc::new(Follow(Arc::downgrade(&lease.0))));
    let mut wait = Box::pin(theirs.cancelled_owned());
    if wait.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
        cancel_because_of_theirs(Arc::clone(&lease.0));
    } else {
        let _ = lease.0.follows.set(wait);
    }
    lease
}

/// The mirror of a node; it, and those of the tokens above, are made where they are missing.
pub(crate) fn mirror(node: NodeRef) -> CancellationToken {
    let (mut without, mut next, mut above) = (Vec::new(), Some(node), None);
    while let Some(node) = next {
        above = node.node().mirror();
        if above.is_some() {
            break;
        }
        let inherits = node.node().kind() == NodeKind::Token && !node.node().is_cancelled();
        next = if inherits { node.node().parent() } else { None };
        without.push(node);
    }
    while let Some(node) = without.pop() {
        above = Some(node.node().mirror_under(above.as_ref()));
    }
    above.expect("there is one node at least")
}

/// Tells tokio-util's waiters. A waker that panics is reported.
pub(super) fn cancel(mirror: &CancellationToken) {
    if catch_unwind(AssertUnwindSafe(|| mirror.cancel())).is_err() {
        crate::lost::report(format_args!("a waker panicked while it was woken"));
    }
}

impl Node {
    fn mirror(&self) -> Option<CancellationToken> {
        self.lock().members.as_ref().and_then(|members| members.waiters.mirror.clone())
    }

    /// This node's mirror, or else a new one under that of the node above. A cancelled node's is cancelled.
    fn mirror_under(&self, above: Option<&CancellationToken>) -> CancellationToken {
        let fresh = above.map_or_else(CancellationToken::new, CancellationToken::child_token);
        let mut inner = self.lock();
        if inner.cause.is_some() {
            drop(inner);
            fresh.cancel();
            return fresh;
        }
        let found = inner.members().waiters.mirror.get_or_insert_with(|| fresh.clone()).clone();
        drop(inner);
        drop(fresh);
        found
    }
}
