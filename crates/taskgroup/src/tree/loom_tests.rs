//! A frozen region against what leaves it on other threads.

use std::task::Poll;

use loom::future::block_on;
use loom::thread;

use super::loom_support::{cancel, plain};
use super::{NodeKind, NodeRef, Turn, attach_member, detach, turn};

/// A shield that is dropped on another thread, alone or in a scope, while the region that it stands in is looked
/// at: the region is cut.
fn shield_dropped_elsewhere(in_a_scope: bool) {
    loom::model(move || {
        let (region, shield) = (plain(NodeKind::Body), plain(NodeKind::Shield));
        let scope = in_a_scope.then(|| plain(NodeKind::Scope));
        if let Some(scope) = &scope {
            assert!(attach_member(&region, scope).is_none());
        }
        assert!(attach_member(scope.as_ref().unwrap_or(&region), &shield).is_none());
        cancel(&region);
        let owner = thread::spawn({
            let (shield, scope) = (NodeRef::clone(&shield), scope.clone());
            move || {
                drop(detach(shield.node()));
                if let Some(scope) = scope {
                    drop(detach(scope.node()));
                }
            }
        });
        block_on(std::future::poll_fn(|cx| match turn(region.node(), cx, false, |_| Poll::<()>::Pending) {
            Turn::Cut => Poll::Ready(()),
            _ => Poll::Pending,
        }));
        owner.join().unwrap();
        assert!(region.node().members_snapshot().is_empty());
    });
}

#[test]
fn loom_a_frozen_region_against_the_drop_of_its_shield() {
    shield_dropped_elsewhere(false);
}

#[test]
fn loom_a_frozen_region_against_the_drop_of_a_scope_with_a_shield() {
    shield_dropped_elsewhere(true);
}
