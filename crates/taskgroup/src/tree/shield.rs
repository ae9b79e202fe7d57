//! How a shield in a frozen region gets the polls that it needs, and nothing else does (R12, R14).
//!
//! A frozen region is not polled when some timer of its own fires: only when a shield inside it was woken. So
//! a shield is polled with a waker of its own, which notes the wake-up on the way up to the task and then
//! wakes the host.
//!
//! # Invariants
//!
//! 1. `WOKEN` of a shield is set by its waker and cleared when it is polled, before its future is.
//!    `WOKEN_BELOW` of a region above is set by the same wake-up, and cleared when the region is polled, before
//!    its code is. So a wake-up that comes during a poll is seen after it.
//! 2. The flags are set before the host is woken: who polls because of that wake-up finds them.
//! 3. Who polls the outermost frozen region is woken directly too: the host may be a combinator that has
//!    passed an earlier wake-up on, was not polled, for the region was frozen, and says nothing again.
//! 4. A shield that stays `WOKEN` although its region was polled stands in no await of the region: a `select!`
//!    has gone on without it. After some more polls (a combinator may need them) it is waited for no longer.

use std::sync::Weak;
use std::task::{Wake, Waker};

use super::NodeKind;
use super::member::{Member, NodeRef};
use super::node::{Node, WOKEN, WOKEN_BELOW};
use crate::sync::Arc;

/// The waker that a shield is polled with. It does not keep the shield alive, whose node stores it.
pub(crate) struct ShieldWaker {
    shield: Weak<dyn Member>,
    host: Waker,
}

impl ShieldWaker {
    pub(crate) fn new(shield: &NodeRef, host: Waker) -> Arc<Self> {
        Arc::new(Self { shield: Arc::downgrade(shield), host })
    }
}

impl Wake for ShieldWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let outermost = self.shield.upgrade().and_then(|shield| note(shield.node()));
        self.host.wake_by_ref();
        if let Some(outermost) = outermost {
            outermost.node().wake_host();
        }
    }
}

/// Notes that a shield was woken, as far up as the task that polls it. Returns the outermost frozen region.
fn note(shield: &Node) -> Option<NodeRef> {
    shield.set(WOKEN);
    let (mut next, mut frozen) = (shield.parent(), None);
    while let Some(above) = next {
        above.node().set(WOKEN_BELOW);
        next = match above.node().kind() {
            NodeKind::Task | NodeKind::Blocking => None,
            _ => above.node().parent(),
        };
        if above.node().is_cancelled() {
            frozen = Some(above);
        }
    }
    frozen
}

/// The shield is being polled.
pub(crate) fn begin_poll(shield: &Node) {
    if shield.take(WOKEN) {
        shield.forget_tries();
    }
}

/// Whether a shield still has to be waited for. `polled`: its region has been polled in this turn, and
/// this shield, if it is still woken, was left out.
pub(super) fn is_awaited(shield: &Node, waker: &Waker, polled: bool) -> bool {
    if shield.is_forced() {
        return false;
    }
    if !polled || shield.which(WOKEN) == 0 {
        return shield.tries_left();
    }
    let again = shield.tries_left() && shield.try_again();
    if again {
        waker.wake_by_ref();
    }
    again
}
