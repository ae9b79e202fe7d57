//! Tokens with a node of their own, and those who wait for a cancel.
//!
//! A token stands under another token, under a region, or under nobody. It hangs in a slab of its own beside
//! the members of the node above, and is marked with it; for everything else it does not exist.
//!
//! # The life of a token's node
//!
//! ```text
//!   held ──(last handle dropped)──▶ abandoned ──(no token below)──▶ out of the tree
//! ```
//!
//! # Invariants
//!
//! 1. **A token holds nobody up.** It is no member: it does not count for the life of a group, is not waited
//!    for, not told that a group has ended, not looked at in a frozen region.
//! 2. **A token never moves.** It is put under its parent when it is made, and taken out once: when nobody
//!    needs it any more, or when the region above has ended and can no longer be cancelled.
//! 3. **Handles are counted apart from references**, for the tree holds references too. The count falls to
//!    zero once, and never rises again: a handle is made from a handle. `ABANDONED` is set then, under the
//!    node's lock. Tokens come and go below under the same lock, so of the two events "abandoned" and "the
//!    last token below has left" the second sees the first, and takes the node out. So an abandoned node
//!    stays only while a cancel has to pass through it.
//! 4. **Taking out goes from child to parent in a loop**: a chain of 10,000 costs no stack (R18).
//! 5. **A waiter is stored under the lock that the mark is set under**, unless the mark is there. The mark
//!    takes all waiters out. A waiter that gives up takes its own out, unless there is a mark: its place is
//!    its own until one of the two happens.
//! 6. **Waiters are woken when everything below is marked**, outside every lock: who is woken by the cancel of
//!    a token finds its children cancelled. Only who looks by himself meanwhile may come between.
//! 7. With the feature `tokio-util` a node may have a *mirror*, a token of that crate, among its waiters; the
//!    mirror of a token is a child of the mirror of the node above. What is handed to users are children of
//!    mirrors. So that crate keeps the account of them: nothing here has to notice when one is dropped.

use std::any::Any;
use std::panic::Location;
use std::task::Waker;

use slab::Slab;

use super::flags::{ABANDONED, TOKENS};
use super::member::{Member, NodeRef, wake};
#[cfg(feature = "tokio-util")]
use super::mirror;
use super::node::Place;
use super::tally::Mark;
use super::{CancelCause, Node, NodeKind};
use crate::sync::{Arc, AtomicU64, Ordering};

/// The node of a token, and how many handles it has.
pub(super) struct TokenNode {
    pub(super) node: Node,
    handles: AtomicU64,
    #[cfg(feature = "tokio-util")]
    pub(super) follows: std::sync::OnceLock<mirror::Following>,
}

impl Member for TokenNode {
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// One handle of a token's node.
pub(crate) struct Lease(pub(super) Arc<TokenNode>);

impl Lease {
    /// A token under nobody.
    pub(crate) fn root(location: &'static Location<'static>) -> Self {
        Self(Arc::new(TokenNode {
            node: Node::new(NodeKind::Token, None, location),
            handles: AtomicU64::new(1),
            #[cfg(feature = "tokio-util")]
            follows: std::sync::OnceLock::new(),
        }))
    }

    /// A token under `parent`, and under its cancel if it has been cancelled.
    pub(crate) fn under(parent: NodeRef, location: &'static Location<'static>) -> Self {
        let lease = Self::root(location);
        let member = lease.member();
        if let Err(cause) = put_under(parent, &member) {
            super::cancel(&member, cause);
        }
        lease
    }

    #[inline]
    pub(crate) fn node(&self) -> &Node {
        &self.0.node
    }

    pub(crate) fn member(&self) -> NodeRef {
        Arc::clone(&self.0) as NodeRef
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        // Relaxed, as for every count of references: a handle is made from a handle, which keeps the count
        // above zero meanwhile.
        self.0.handles.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Acquire and Release: who takes the count to zero must find the tokens that others have put below
        // through their handles before they dropped those.
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            abandon(self.member());
        }
    }
}

/// Puts a new token under a node, unless that is cancelled.
fn put_under(parent: NodeRef, child: &NodeRef) -> Result<(), CancelCause> {
    let mut link = child.node().lock();
    let mut inner = parent.node().lock();
    if let Some(cause) = &inner.cause {
        return Err(cause.clone());
    }
    parent.node().flags().set(TOKENS);
    let slot = inner.members().tokens.insert(Arc::clone(child));
    drop(inner);
    let slot = u32::try_from(slot).expect("fewer than 2^32 live tokens");
    link.place = Some(Place { parent, slot, mark: Mark::NONE });
    Ok(())
}

/// The last handle is gone (invariant 3).
fn abandon(token: NodeRef) {
    let inner = token.node().lock();
    token.node().flags().set(ABANDONED);
    let bare = inner.members.as_ref().is_none_or(|members| members.tokens.is_empty());
    drop(inner);
    let mut next = bare.then_some(token);
    while let Some(token) = next {
        next = take_out(token.node(), |_| true);
    }
}

/// Takes a token from under its parent, if that is the `wanted` one. Returns the parent if it is to be taken
/// out next.
fn take_out(token: &Node, wanted: impl FnOnce(&Node) -> bool) -> Option<NodeRef> {
    let mut link = token.lock();
    let Place { parent, slot, .. } = link.place.take_if(|place| wanted(place.parent.node()))?;
    let mut inner = parent.node().lock();
    let tokens = &mut inner.members().tokens;
    let member = tokens.try_remove(slot as usize);
    let last = tokens.is_empty() && parent.node().flags().has(ABANDONED);
    drop(inner);
    drop(link);
    drop(member);
    last.then_some(parent)
}

/// The region is at its end, and is cancelled no more: its tokens stand under nobody from now on, and do not keep
/// it in memory.
pub(crate) fn release_tokens(region: &Node) {
    if !region.flags().has(TOKENS) {
        return;
    }
    let mut tokens = Vec::new();
    if let Some(members) = &region.lock().members {
        tokens.extend(members.tokens.iter().map(|(_, token)| Arc::clone(token)));
    }
    for token in tokens {
        let _ = take_out(token.node(), |parent| std::ptr::eq(parent, region));
    }
}

/// Those who wait for the cancel of a node.
#[derive(Default)]
pub(crate) struct Waiters {
    wakers: Slab<Waker>,
    #[cfg(feature = "tokio-util")]
    pub(super) mirror: Option<tokio_util::sync::CancellationToken>,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        #[cfg(feature = "tokio-util")]
        if self.mirror.is_some() {
            return false;
        }
        self.wakers.is_empty()
    }

    /// Tells them all. Outside every lock.
    pub(super) fn tell(self) {
        #[cfg(feature = "tokio-util")]
        if let Some(mirror) = self.mirror {
            mirror::cancel(&mirror);
        }
        self.wakers.into_iter().for_each(|(_, waker)| wake(waker));
    }
}

impl Node {
    /// Stores a waker for the cancel: in the place it had, or in a new one. False: the node is cancelled,
    /// nothing was stored.
    #[must_use]
    pub(crate) fn watch_cancel(&self, place: &mut Option<usize>, waker: Waker) -> bool {
        let mut inner = self.lock();
        if inner.cause.is_some() {
            return false;
        }
        let wakers = &mut inner.members().waiters.wakers;
        let replaced = match *place {
            Some(place) => Some(std::mem::replace(&mut wakers[place], waker)),
            None => {
                *place = Some(wakers.insert(waker));
                None
            }
        };
        drop(inner);
        drop(replaced);
        true
    }

    /// How many tokens stand directly below, and how many wakers wait for the cancel.
    #[cfg(test)]
    pub(crate) fn tokens_and_waiters(&self) -> (usize, usize) {
        match &self.lock().members {
            Some(members) => (members.tokens.len(), members.waiters.wakers.len()),
            None => (0, 0),
        }
    }

    /// A wait for the cancel was given up: its waker goes.
    pub(crate) fn unwatch_cancel(&self, place: usize) {
        let mut inner = self.lock();
        if inner.cause.is_some() {
            return;
        }
        let given_up = inner.members().waiters.wakers.try_remove(place);
        drop(inner);
        drop(given_up);
    }
}
