//! How a shield in a frozen region gets the polls that it needs, and nothing else does (R12, R14).
//!
//! A frozen region is not polled when some timer of its own fires: only when a shield inside it was woken. So
//! a shield is polled with a waker of its own, which notes the wake-up on the way up to the task and then
//! wakes the host.
//!
//! # Invariants
//!
//! 1. `WOKEN` of a shield is set by its waker and cleared when it is polled, before its future is.
//! 2. Every region above lists the shields below it that are `WOKEN` (`WOKEN_BELOW`: the list is not empty): the
//!    wake-up that sets the flag enters the shield on the way up, a poll of the region takes the list and puts
//!    back who was not polled in it. So a wake-up that comes during a poll is seen after it.
//! 3. The host is woken last: who polls because of that wake-up finds the entry.
//! 4. Who polls a frozen region above is woken directly too: the host may be a combinator that has passed an
//!    earlier wake-up on, was not polled, for the region was frozen, and says nothing again.
//! 5. A group that polls its children itself is noted and polled in the same way once it is cancelled, and where it
//!    says *shield* here such a group is meant too.
//! 6. A shield that stays `WOKEN` although its frozen region was polled may stand in no await of it any more: a
//!    `select!` has gone on without it. After many more polls (a combinator with a budget may need them) it is
//!    waited for no longer.
//! 6. A child that has ended lists nobody: a shield keeps the waker of its host, which keeps the child.

use std::sync::Weak;
use std::task::{Wake, Waker};

use super::NodeKind;
use super::flags::{SHIELD_TRIES, WOKEN, WOKEN_BELOW};
use super::member::{Member, NodeRef, wake};
use super::node::Node;
use super::propagate::wake_host;
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
        let frozen = self.shield.upgrade().map_or_else(Vec::new, |shield| note(&shield));
        self.host.wake_by_ref();
        wake_hosts(frozen);
    }
}

fn wake_hosts(frozen: Vec<NodeRef>) {
    for region in frozen {
        wake_host(&region);
    }
}

/// Something that a cancelled group polls itself was woken: it gets its poll as a shield does. `host`: whoever polled
/// the group last.
pub(crate) fn wake_through(group: &NodeRef, host: Option<Waker>) {
    let frozen = note(group);
    if let Some(host) = host {
        wake(host);
    }
    wake_hosts(frozen);
}

/// Notes that a shield was woken, as far up as the task that polls it. Returns the frozen regions on the way.
fn note(shield: &NodeRef) -> Vec<NodeRef> {
    let listed = shield.node().flags().set_all(WOKEN);
    let mut frozen = Vec::new();
    for_each_above(shield, |above| {
        if !listed {
            enter(above.node(), NodeRef::clone(shield));
        }
        if above.node().is_cancelled() {
            frozen.push(NodeRef::clone(above));
        }
    });
    frozen
}

/// A scope or shield stands elsewhere now: the regions above list its woken shields too.
pub(super) fn hand_on(member: &NodeRef) {
    if member.node().flags().which(WOKEN | WOKEN_BELOW) == 0 {
        return;
    }
    let mut woken =
        member.node().lock().members.as_ref().map_or_else(Vec::new, |members| members.woken.clone());
    if member.node().flags().has(WOKEN) {
        woken.push(NodeRef::clone(member));
    }
    for_each_above(member, |above| {
        woken.iter().for_each(|shield| enter(above.node(), NodeRef::clone(shield)))
    });
}

/// Walks from a region to the task, the closure or the shield that polls it: a shield's own waker goes on from there.
fn for_each_above(member: &NodeRef, mut visit: impl FnMut(&NodeRef)) {
    let mut next = member.node().parent();
    while let Some(above) = next {
        visit(&above);
        next = match above.node().kind() {
            NodeKind::Task | NodeKind::Blocking | NodeKind::Shield => None,
            _ => above.node().parent(),
        };
    }
}

fn enter(region: &Node, shield: NodeRef) {
    let mut inner = region.lock();
    let ended = matches!(region.kind(), NodeKind::Task | NodeKind::Blocking) && inner.place.is_none();
    if !ended {
        inner.members().woken.push(shield);
        region.flags().set(WOKEN_BELOW);
    }
}

/// The child has ended, and has left its group.
pub(crate) fn forget_woken(child: &Node) {
    drop(take_woken(child));
}

/// The shield is being polled.
pub(crate) fn begin_poll(shield: &Node) {
    if shield.flags().take(WOKEN) {
        shield.flags().forget_tries();
    }
}

/// Takes the list of a region, without those who have been polled or have ended since.
#[inline]
pub(super) fn take_woken(region: &Node) -> Vec<NodeRef> {
    if region.flags().has(WOKEN_BELOW) { take_list(region) } else { Vec::new() }
}

fn take_list(region: &Node) -> Vec<NodeRef> {
    let mut inner = region.lock();
    region.flags().clear(WOKEN_BELOW);
    let woken = inner.members.as_mut().map_or_else(Vec::new, |members| std::mem::take(&mut members.woken));
    drop(inner);
    still_woken(woken)
}

fn still_woken(mut woken: Vec<NodeRef>) -> Vec<NodeRef> {
    woken.retain(|shield| shield.node().flags().has(WOKEN) && shield.node().parent().is_some());
    woken
}

/// Puts those back who were not polled in the poll that the list was taken for. `tries`: the poll was given for
/// them, and counts. True: there are some.
#[inline]
pub(super) fn put_back(region: &Node, woken: Vec<NodeRef>, tries: bool) -> bool {
    !woken.is_empty() && put_list_back(region, woken, tries)
}

fn put_list_back(region: &Node, woken: Vec<NodeRef>, tries: bool) -> bool {
    let mut left = still_woken(woken);
    if tries {
        left.retain(|shield| shield.node().flags().try_again(SHIELD_TRIES) || give_up(shield.node()));
    }
    let some = !left.is_empty();
    // Who was polled and has been woken again stands in the new list already.
    let mut listed: Vec<*const ()> = match &region.lock().members {
        Some(members) => members.woken.iter().map(address).collect(),
        None => Vec::new(),
    };
    listed.sort_unstable();
    left.retain(|shield| listed.binary_search(&address(shield)).is_err());
    left.into_iter().for_each(|shield| enter(region, shield));
    some
}

fn address(shield: &NodeRef) -> *const () {
    Arc::as_ptr(shield).cast()
}

/// Says that a shield is waited for no longer, and whose it was.
fn give_up(shield: &Node) -> bool {
    crate::lost::report_with(
        &shield.fields(),
        format_args!(
            "the {} opened at {} is waited for no longer: the cancelled code around it was polled {SHIELD_TRIES} times \
             and did not poll it",
            shield.info(),
            shield.location()
        ),
    );
    false
}

/// Whether somebody may still poll the children of a group: false of one that polls them itself and is not polled.
pub(super) fn is_served(group: &Node) -> bool {
    !group.is_hosted() || group.flags().tries_left(SHIELD_TRIES)
}

/// Whether a shield still has to be waited for.
pub(super) fn is_awaited(shield: &Node) -> bool {
    !shield.is_forced() && shield.flags().tries_left(SHIELD_TRIES)
}
