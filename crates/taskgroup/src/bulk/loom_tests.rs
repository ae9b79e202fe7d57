//! Every order of tasks that end on other threads, and the stream that is made, read or pushed to meanwhile.

use std::future::{Pending, pending};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use loom::future::block_on;
use loom::thread;

use super::AsCompleted;
use super::as_completed::Arrivals;
use crate::sync::Arc;
use crate::task::{Problem, Reporter, Task, TaskCell};
use crate::trace::Span;
use crate::tree::loom_support::plain;
use crate::tree::{DropMode, Hold, Member, Node, NodeKind, NodeRef, Owed, Placing};

struct ToNobody;

impl Reporter for ToNobody {
    type Error = ();

    fn report(_parent: Option<&NodeRef>, _child: &Node, _problem: Problem<()>) {
        unreachable!("nobody fails");
    }

    fn without_cancelled(_parent: Option<&NodeRef>, error: ()) -> Option<()> {
        Some(error)
    }
}

type Cell = TaskCell<Pending<Result<u8, ()>>, u8, ToNobody>;

/// A task, and what ends it.
fn task(books: &NodeRef) -> (Task<u8>, Arc<Cell>) {
    let node = Node::new(NodeKind::Task, None, Location::caller());
    let cell = Cell::new(node, pending(), Span::default(), None);
    let owed = Node::admit(books.clone(), cell.clone(), Hold::Ordinary, Placing::Elsewhere);
    assert!(matches!(owed, Ok(Owed::Nothing)));
    (Task::new(cell.clone()), cell)
}

fn end_elsewhere(cell: Arc<Cell>) -> thread::JoinHandle<()> {
    thread::spawn(move || cell.drop_now(DropMode::Wait))
}

#[test]
fn loom_tasks_that_end_while_the_stream_is_read_all_come_out_once() {
    static IN_ORDER: AtomicBool = AtomicBool::new(false);
    static TURNED: AtomicBool = AtomicBool::new(false);
    let mut model = loom::model::Builder::new();
    // All orders with up to three preemptions; without the bound it takes minutes, and finds no more outcomes.
    model.preemption_bound = Some(3);
    model.check(|| {
        let books = plain(NodeKind::Group);
        let ((one, cell_one), (two, cell_two)) = (task(&books), task(&books));
        let mut completed: AsCompleted<u8> = [one, two].into_iter().collect();
        let threads = [end_elsewhere(cell_one), end_elsewhere(cell_two)];
        let order = block_on(async {
            let mut order = Vec::new();
            while let Some(task) = completed.next().await {
                assert!(task.result().unwrap_err().is_cancelled());
                order.push(task.index());
            }
            order
        });
        match order[..] {
            [0, 1] => IN_ORDER.store(true, Ordering::SeqCst),
            [1, 0] => TURNED.store(true, Ordering::SeqCst),
            _ => panic!("each once: {order:?}"),
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    assert!(IN_ORDER.load(Ordering::SeqCst) && TURNED.load(Ordering::SeqCst));
}

#[test]
fn loom_a_task_that_ends_while_it_is_put_into_the_stream_comes_out_of_its_own_key() {
    loom::model(|| {
        let books = plain(NodeKind::Group);
        let ((one, cell_one), (two, cell_two)) = (task(&books), task(&books));
        let first = end_elsewhere(cell_one);
        let second = block_on(async {
            let mut completed: AsCompleted<u8> = [one].into_iter().collect();
            assert_eq!(completed.next().await.expect("one").index(), 0);
            completed.push(two);
            let second = end_elsewhere(cell_two);
            assert_eq!(completed.next().await.expect("two").index(), 1);
            assert!(completed.next().await.is_none());
            second
        });
        [first, second].into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

#[test]
fn loom_a_key_that_comes_while_the_stream_goes_to_sleep_wakes_it() {
    static SLEPT: AtomicBool = AtomicBool::new(false);
    static FOUND: AtomicBool = AtomicBool::new(false);
    loom::model(|| {
        let arrivals = Arc::new(Arrivals::default());
        let other = Arc::clone(&arrivals);
        let thread = thread::spawn(move || other.arrive(7));
        let mut slept = false;
        let key = block_on(std::future::poll_fn(|cx| match arrivals.next(cx.waker()) {
            Some(key) => Poll::Ready(key),
            None => {
                slept = true;
                Poll::Pending
            }
        }));
        assert_eq!(key, 7);
        if slept { &SLEPT } else { &FOUND }.store(true, Ordering::SeqCst);
        thread.join().expect("no panic");
    });
    assert!(SLEPT.load(Ordering::SeqCst) && FOUND.load(Ordering::SeqCst));
}
