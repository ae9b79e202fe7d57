//! The protocols of gates and tickets, model-checked. Each test records, outside the model, which outcomes it has
//! seen, and fails unless it has seen all of them.

use std::future::{Ready, poll_fn};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use loom::future::block_on;
use loom::thread;

use super::*;
use crate::task::Task;
use crate::trace::Span;
use crate::tree::loom_support::{self, plain};
use crate::tree::{DropMode, Hold, Node, NodeKind, NodeRef, Owed, Placing};

/// What a test has seen over all interleavings, outside the model.
struct Seen<const N: usize>([AtomicBool; N]);

impl<const N: usize> Seen<N> {
    const fn new() -> Self {
        Self([const { AtomicBool::new(false) }; N])
    }

    fn saw(&self, which: usize) {
        self.0[which].store(true, Ordering::SeqCst);
    }

    fn assert_all(&self) {
        for (which, seen) in self.0.iter().enumerate() {
            assert!(seen.load(Ordering::SeqCst), "the model never reached outcome {which}");
        }
    }
}

/// How often something was launched.
#[derive(Clone, Default)]
struct Launches(Arc<AtomicUsize>);

impl Launches {
    /// A ticket in the line of `gate`.
    fn queued(&self, gate: &Arc<Gate>) -> Arc<Ticket> {
        let launches = Arc::clone(&self.0);
        let launch = move || {
            launches.fetch_add(1, Ordering::SeqCst);
        };
        let ticket = Ticket::new(gate, Then::Launch(Box::new(launch)));
        ticket.enter();
        ticket
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn full(gate: &Arc<Gate>) {
    assert!(gate.try_enter());
}

#[test]
fn loom_a_place_becomes_free_and_the_first_who_waits_goes() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let gate = Gate::new(1, None, None);
        full(&gate);
        let launches = Launches::default();
        let first = Ticket::new(&gate, Then::Nothing);
        first.enter();
        let second = launches.queued(&gate);
        let releaser = thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.leave()
        });
        SEEN.saw(usize::from(first.poll_through(Waker::noop()).is_ready()));
        first.give_up();
        releaser.join().unwrap();
        assert_eq!((launches.count(), gate.used(), gate.waiting()), (1, 1, 0));
        second.give_up();
        assert_eq!(gate.used(), 0);
    });
    SEEN.assert_all();
}

#[test]
fn loom_a_place_becomes_free_while_the_limit_is_lowered_and_raised() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let gate = Gate::new(1, None, None);
        full(&gate);
        let launches = Launches::default();
        let tickets = [launches.queued(&gate), launches.queued(&gate)];
        let releaser = thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.leave()
        });
        gate.set_limit(0);
        let paused_with = gate.used();
        releaser.join().unwrap();
        // Launched before the pause, or not at all.
        assert_eq!(launches.count(), gate.used());
        assert!(gate.used() <= paused_with);
        SEEN.saw(launches.count());
        gate.set_limit(2);
        assert_eq!((launches.count(), gate.used(), gate.waiting()), (2, 2, 0));
        tickets.iter().for_each(|ticket| ticket.give_up());
        assert_eq!(gate.used(), 0);
    });
    SEEN.assert_all();
}

/// A permit of the limiter becomes free for a ticket that has a place in its group, while `meanwhile` happens to it.
fn permit_against(
    seen: &'static Seen<2>,
    meanwhile: fn(&Arc<Gate>, &Arc<Ticket>),
    check: fn(&Arc<Gate>, &Arc<Ticket>, usize),
) {
    loom::model(move || {
        let beyond = Gate::new(1, None, None);
        full(&beyond);
        let gate = Gate::new(1, Some(Arc::clone(&beyond)), None);
        let launches = Launches::default();
        let ticket = launches.queued(&gate);
        assert_eq!((gate.used(), beyond.waiting()), (1, 1));
        let releaser = thread::spawn({
            let beyond = Arc::clone(&beyond);
            move || beyond.leave()
        });
        meanwhile(&gate, &ticket);
        releaser.join().unwrap();
        seen.saw(launches.count());
        check(&gate, &ticket, launches.count());
        ticket.give_up();
        assert_eq!((gate.used(), beyond.used(), gate.waiting(), beyond.waiting()), (0, 0, 0, 0));
    });
    seen.assert_all();
}

#[test]
fn loom_a_permit_comes_for_a_group_that_is_being_paused() {
    static SEEN: Seen<2> = Seen::new();
    permit_against(
        &SEEN,
        |gate, _| gate.set_limit(0),
        |gate, _, launched| {
            // Back in the line of its group, and the permit is free.
            let beyond = gate.beyond().unwrap();
            let places = (gate.used(), gate.waiting(), beyond.used());
            assert_eq!(places, if launched == 1 { (1, 0, 1) } else { (0, 1, 0) });
            gate.set_limit(1);
            assert_eq!((gate.used(), beyond.used()), (1, 1));
        },
    );
}

#[test]
fn loom_a_permit_comes_for_a_child_that_is_being_cancelled() {
    static SEEN: Seen<2> = Seen::new();
    permit_against(&SEEN, |_, ticket| ticket.give_up(), |_, _, _| {});
}

#[test]
fn loom_a_group_ends_while_somebody_begins_to_wait_in_it() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let group = plain(NodeKind::Group);
        let limit = GroupLimit::new(Some(0), None, group.node()).unwrap();
        let closer = thread::spawn({
            let limit = Arc::clone(&limit);
            move || limit.close()
        });
        let mut wait = Wait::new(&limit.gate, Some(&limit));
        let mut polls = 0;
        let reserved = block_on(poll_fn(|cx| {
            polls += 1;
            wait.poll(cx)
        }));
        assert!(reserved.is_none());
        SEEN.saw(usize::from(polls > 1));
        closer.join().unwrap();
        drop(wait);
        assert_eq!((limit.gate.used(), limit.gate.waiting()), (0, 0));
    });
    SEEN.assert_all();
}

type Cell = TaskCell<Ready<Result<i32, ()>>, i32, ToGroup<()>>;

/// A child in the books, under a limit.
fn child() -> (NodeRef, Arc<Cell>) {
    let books = plain(NodeKind::Group);
    let node = Node::new(NodeKind::Task, None, Location::caller());
    node.set_limited();
    let cell = Cell::new(node, std::future::ready(Ok(7)), Span::default(), None);
    let placing = Placing::Later;
    let owed = Node::admit(NodeRef::clone(&books), Arc::clone(&cell) as NodeRef, Hold::Ordinary, placing);
    // The driver that is owed is left out: here the child is polled by whom the limit launches.
    assert!(matches!(owed, Ok(Owed::Spawn(_))));
    (books, cell)
}

/// It is queued on one thread as it is spawned, and launched when it is its turn; on another it is cancelled.
#[test]
fn loom_a_queued_child_is_cancelled_while_it_is_launched() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let (books, cell) = child();
        let task = Task::new(Arc::clone(&cell) as Arc<_>);
        let gate = Gate::new(1, None, None);
        full(&gate);
        let launch = {
            let cell = Arc::clone(&cell);
            move || {
                cell.poll_eagerly();
                cell.drop_now(DropMode::Wait);
            }
        };
        let ticket = Ticket::new(&gate, Then::Launch(Box::new(launch)));
        assert!(cell.keep_place(&Waker::from(Arc::clone(&ticket))));
        ticket.enter();
        let canceller = thread::spawn({
            let member = Arc::clone(&cell) as NodeRef;
            move || loom_support::cancel(&member)
        });
        gate.leave();
        canceller.join().unwrap();
        assert_eq!((books.node().live(), gate.used(), gate.waiting()), (0, 0, 0));
        match task.into_result() {
            Ok(value) => SEEN.saw(usize::from(value == 7)),
            Err(error) => {
                assert!(error.never_started());
                SEEN.saw(0);
            }
        }
    });
    SEEN.assert_all();
}

/// The cancel comes when the child is in the books, and has not come to the gate.
#[test]
fn loom_a_child_is_cancelled_while_it_is_queued() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let (books, cell) = child();
        let gate = Gate::new(0, None, None);
        let canceller = thread::spawn({
            let member = Arc::clone(&cell) as NodeRef;
            move || loom_support::cancel(&member)
        });
        let ticket = Ticket::new(&gate, Then::Launch(Box::new(|| unreachable!("there is no room"))));
        let kept = cell.keep_place(&Waker::from(Arc::clone(&ticket)));
        if kept {
            ticket.enter();
        }
        SEEN.saw(usize::from(kept));
        canceller.join().unwrap();
        assert_eq!((books.node().live(), gate.used(), gate.waiting()), (0, 0, 0));
    });
    SEEN.assert_all();
}
