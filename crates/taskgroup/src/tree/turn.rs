//! One turn of polling a region: to its end, to a wait, or to its cut (R12). Tasks, bodies, scopes and
//! shields are all polled by it.
//!
//! ```text
//!             a wait               cancelled              nothing inside is left
//!   running ──────────▶ standing ────────────▶ frozen ─────────────────────────▶ cut
//!      ▲                   │                    │  ▲
//!      └────── woken ──────┘                    └──┘ polled once for a shield or a failure inside
//! ```
//!
//! # Invariants
//!
//! 1. The mark and the waker share a lock: a region that stored its waker uncancelled is woken by the mark;
//!    one that could not store it is frozen in this very turn. A task stores none: the mark wakes it through its
//!    own state, in which a wake-up that comes during a poll is kept.
//! 2. A frozen region is polled only if [`frozen_step`] says so, and at most once in a turn for a shield, which
//!    holds a waker of its own then: waiting for it costs no polls (R18).
//! 3. Code that the host is running when it comes here (`running`) goes as far as its first wait.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::drain::{Deliverable, Frozen, frozen_step};
use super::flags::SHIELDED;
use super::propagate::force;
use super::{Node, NodeKind, shield};

/// What a turn came to.
#[must_use]
pub(crate) enum Turn<T> {
    Ready(T),
    /// It waits. If it is frozen, a group's grace period inside may end then: come back.
    Pending(Option<Instant>),
    /// It was frozen, and nothing inside is left: its future is to be dropped.
    Cut,
}

/// Polls a region with `poll`.
pub(crate) fn turn<T>(
    node: &Node,
    cx: &mut Context<'_>,
    mut running: bool,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Turn<T> {
    let mut polled = false;
    loop {
        let mut deliverable = None;
        if !running && node.is_cut() {
            if node.flags().which(SHIELDED) != 0 && !node.is_crewed() {
                // Before the look: who wakes a shield sets the flags first, and looks for this second.
                node.store_waker(cx.waker());
            }
            match frozen_step(node, cx.waker(), polled) {
                Frozen::Wait(until) => return Turn::Pending(until),
                Frozen::Drop => return Turn::Cut,
                Frozen::Poll(groups) => deliverable = Some(groups),
                Frozen::Force(groups) => {
                    groups.iter().for_each(force);
                    continue;
                }
            }
            polled = true;
        }
        running = false;
        let woken = shield::take_woken(node);
        if let Poll::Ready(output) = poll(cx) {
            return Turn::Ready(output);
        }
        // Some were left out of this poll: the next one is to reach them.
        if shield::put_back(node, woken, deliverable.is_some()) && deliverable.is_some() {
            cx.waker().wake_by_ref();
            return Turn::Pending(None);
        }
        if deliverable.is_some_and(Deliverable::again) {
            cx.waker().wake_by_ref();
            return Turn::Pending(None);
        }
        if node.kind() == NodeKind::Task {
            node.set_waited();
        }
        if node.is_crewed() {
            if !node.is_cut() {
                return Turn::Pending(None);
            }
            continue;
        }
        if node.register_waker(cx.waker()) {
            return Turn::Pending(None);
        }
        if !node.is_cuttable() {
            node.store_waker(cx.waker());
            return Turn::Pending(None);
        }
    }
}
