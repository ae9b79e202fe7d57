//! Every order of a cancel, or a reschedule, and the polls of a region that it meets.

use std::future::{Future, pending, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use tokio::time::Instant;

use super::core::Core;
use super::shield;
use crate::sync::Arc;
use crate::tree::loom_support::{cancel, plain};
use crate::tree::{self, Member, NodeKind, NodeRef, Turn};
use crate::{CancelScope, ScopeHandle};

/// Pending once, and woken at once.
async fn wait_once() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls `code` as the task `node` does, until it is cut.
fn run_until_cut(node: &NodeRef, mut code: Pin<Box<dyn Future<Output = ()>>>) {
    block_on(poll_fn(|cx: &mut Context<'_>| {
        let _entered = tree::enter(NodeRef::clone(node));
        match tree::turn(node.node(), cx, false, |cx| code.as_mut().poll(cx)) {
            Turn::Cut => Poll::Ready(()),
            Turn::Pending(_) => Poll::Pending,
            Turn::Ready(()) => panic!("cancelled code came to its end"),
        }
    }));
}

fn assert_all(seen: &[AtomicBool]) {
    for (index, outcome) in seen.iter().enumerate() {
        assert!(outcome.load(Ordering::SeqCst), "the model never reached outcome {index}");
    }
}

/// A cancel before, while and after a shield is entered: once entered it completes, and then the code is cut.
#[test]
fn loom_shield_against_cancel() {
    static SEEN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
    loom::model(|| {
        let node = plain(NodeKind::Body);
        let canceller = thread::spawn({
            let node = NodeRef::clone(&node);
            move || cancel(&node)
        });
        let (entered, left) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let code = {
            let (entered, left) = (Arc::clone(&entered), Arc::clone(&left));
            async move {
                entered.store(true, Ordering::SeqCst);
                shield(wait_once()).await;
                left.store(true, Ordering::SeqCst);
                pending().await
            }
        };
        run_until_cut(&node, Box::pin(code));
        canceller.join().unwrap();
        let entered = entered.load(Ordering::SeqCst);
        assert_eq!(left.load(Ordering::SeqCst), entered, "a shield that was entered completes");
        assert!(node.node().members_snapshot().is_empty());
        SEEN[usize::from(entered)].store(true, Ordering::SeqCst);
    });
    assert_all(&SEEN);
}

/// The cancel of a scope by its handle against the cancel of the task around it: either way the scope is
/// cut; the code after it runs only where the scope alone was cancelled first, and never past its next wait.
#[test]
fn loom_scope_cancel_against_host_cancel() {
    static SEEN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
    // All orders with up to three preemptions; without the bound it takes minutes, and finds no more outcomes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let node = plain(NodeKind::Body);
        let scope = CancelScope::new();
        let handle: ScopeHandle = scope.handle();
        let canceller = thread::spawn({
            let node = NodeRef::clone(&node);
            move || {
                handle.cancel();
                cancel(&node);
            }
        });
        let went_on = Arc::new(AtomicBool::new(false));
        let code = {
            let went_on = Arc::clone(&went_on);
            async move {
                let result = scope.run(pending::<()>()).await;
                assert!(result.is_err());
                went_on.store(true, Ordering::SeqCst);
                pending().await
            }
        };
        run_until_cut(&node, Box::pin(code));
        canceller.join().unwrap();
        SEEN[usize::from(went_on.load(Ordering::SeqCst))].store(true, Ordering::SeqCst);
    });
    assert_all(&SEEN);
}

/// A deadline that is brought forward while its host goes to wait is not slept through.
#[test]
fn loom_reschedule_against_going_to_wait() {
    loom::model(|| {
        let core = Arc::new(Core::with_handles(NodeKind::Scope, None, Location::caller(), None));
        core.enter();
        let mover = thread::spawn({
            let core = Arc::clone(&core);
            move || core.reschedule(Some(Instant::now() + Duration::from_secs(3600))).unwrap()
        });
        block_on(poll_fn(|cx| {
            assert!(core.node().register_waker(cx.waker()));
            match core.pending_deadline() {
                Some(_) => Poll::Ready(()),
                None => Poll::Pending,
            }
        }));
        mover.join().unwrap();
    });
}
