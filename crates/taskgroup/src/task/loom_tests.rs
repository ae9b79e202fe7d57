//! The protocols of a cell and of its group's books, model-checked: every order in which threads can run.
//!
//! Each test records, outside the model, which outcomes it has seen, and fails unless it has seen all of
//! them: a model that never reaches a race proves nothing about it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use loom::future::block_on;
use loom::thread;

use super::cell::Join;
use super::place::Shell;
use super::*;
use crate::sync::Arc;
use crate::trace::Span;
use crate::tree::{self, CancelCause, CancelReason, DropMode, Hold, Member, Node, NodeKind, NodeRef};

/// A group without a runtime: books, and a count of reported failures.
struct Books {
    node: Node,
    failures: AtomicUsize,
}

impl Member for Books {
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct ToBooks;

impl Reporter for ToBooks {
    type Error = ();

    fn report(parent: Option<&NodeRef>, child: &Node, _problem: Problem<()>) {
        let parent = parent.expect("in the books until its end");
        let books: &Books = parent.as_any().downcast_ref().expect("the only parent here");
        books.failures.fetch_add(1, Ordering::SeqCst);
        let reason = CancelReason::SiblingFailed(child.info());
        tree::cancel(parent, CancelCause::new(reason, books.node.info()));
    }

    fn without_cancelled(_parent: Option<&NodeRef>, _error: ()) -> Option<()> {
        Some(())
    }
}

/// Pending once, then ready; counts itself alive while it is not dropped.
struct Steps {
    pending: usize,
    end: Result<u32, ()>,
    alive: Arc<AtomicUsize>,
}

impl Steps {
    fn new(pending: usize, end: Result<u32, ()>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { pending, end, alive: Arc::clone(alive) }
    }
}

impl Future for Steps {
    type Output = Result<u32, ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.pending == 0 {
            return Poll::Ready(self.end);
        }
        self.pending -= 1;
        // A long sleeper is woken by its cancel only.
        if self.pending < FOREVER {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

const FOREVER: usize = usize::MAX / 2;

type Cell = TaskCell<Steps, u32, ToBooks>;

fn books() -> Arc<Books> {
    let node = Node::new(NodeKind::Group, None, std::panic::Location::caller());
    Arc::new(Books { node, failures: AtomicUsize::new(0) })
}

fn cell(books: &Arc<Books>, steps: Steps) -> Arc<Cell> {
    let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
    let cell = Cell::new(node, steps, Span::default());
    let (parent, child): (NodeRef, NodeRef) = (books.clone(), cell.clone());
    Node::admit(parent.clone(), child.clone(), Hold::Ordinary).expect("open");
    cell
}

fn cancel(member: NodeRef) {
    let cause = CancelCause::new(CancelReason::Requested(None), member.node().info());
    tree::cancel(&member, cause);
}

fn outcome(cell: Arc<Cell>) -> Result<u32, TaskError> {
    Task::new(cell).into_result()
}

/// Looks twice, with a yield between: loom reorders a lone load with no later store.
fn done_after_a_while(cell: &Arc<Cell>) -> bool {
    cell.is_done() || {
        thread::yield_now();
        cell.is_done()
    }
}

/// What a test has seen over all interleavings.
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

#[test]
fn loom_completion_against_cancel() {
    static SEEN: Seen<3> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let cell = cell(&books, Steps::new(1, Ok(7), &alive));
        let shell = Shell::new(cell.clone(), None);
        let canceller = thread::spawn({
            let member: NodeRef = cell.clone();
            move || cancel(member)
        });
        block_on(shell);
        canceller.join().unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(books.node.live(), 0);
        match outcome(cell) {
            Ok(value) => {
                assert_eq!(value, 7);
                SEEN.saw(0);
            }
            Err(error) => {
                assert!(error.is_cancelled());
                SEEN.saw(if error.never_started() { 1 } else { 2 });
            }
        }
    });
    SEEN.assert_all();
}

#[test]
fn loom_a_sleeper_is_woken_by_its_cancel() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let cell = cell(&books, Steps::new(usize::MAX, Ok(0), &alive));
        let shell = Shell::new(cell.clone(), None);
        let canceller = thread::spawn({
            let member: NodeRef = books.clone();
            move || cancel(member)
        });
        block_on(shell);
        canceller.join().unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        let error = outcome(cell).unwrap_err();
        assert!(error.is_cancelled());
        SEEN.saw(usize::from(error.never_started()));
    });
    SEEN.assert_all();
}

#[test]
fn loom_drop_against_poll() {
    static SEEN: Seen<3> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let cell = cell(&books, Steps::new(1, Ok(7), &alive));
        let shell = Shell::new(cell.clone(), None);
        let poller = thread::spawn(move || block_on(shell));
        cell.drop_now(DropMode::Wait);
        // R2: dropped when the drop returns, whatever the poller was doing.
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert!(cell.state.is_done());
        poller.join().unwrap();
        assert_eq!(books.node.live(), 0);
        match outcome(cell) {
            Ok(_) => SEEN.saw(0),
            Err(error) => SEEN.saw(if error.never_started() { 1 } else { 2 }),
        }
    });
    SEEN.assert_all();
}

#[test]
fn loom_two_drops_against_poll() {
    static SEEN: Seen<2> = Seen::new();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let cell = cell(&books, Steps::new(1, Ok(7), &alive));
        let shell = Shell::new(cell.clone(), None);
        let poller = thread::spawn(move || block_on(shell));
        let other = thread::spawn({
            let (cell, alive) = (cell.clone(), alive.clone());
            move || {
                cell.drop_now(DropMode::Wait);
                assert_eq!(alive.load(Ordering::SeqCst), 0);
            }
        });
        cell.drop_now(DropMode::Wait);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        poller.join().unwrap();
        other.join().unwrap();
        SEEN.saw(usize::from(outcome(cell).is_err()));
    });
    SEEN.assert_all();
}

#[test]
fn loom_a_failure_is_told_before_the_end_is_seen() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let failing = cell(&books, Steps::new(0, Err(()), &alive));
        let shell = Shell::new(failing.clone(), None);
        let poller = thread::spawn(move || block_on(shell));
        if done_after_a_while(&failing) {
            // R11, R12: who sees the end of a failed child finds its group cancelled.
            assert!(books.node.is_cancelled());
            assert_eq!(books.failures.load(Ordering::SeqCst), 1);
            SEEN.saw(0);
        } else {
            SEEN.saw(1);
        }
        poller.join().unwrap();
        assert!(outcome(failing).unwrap_err().is_failed());
    });
    SEEN.assert_all();
}

#[test]
fn loom_wait_against_wake() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let cell = cell(&books, Steps::new(0, Ok(7), &alive));
        let shell = Shell::new(cell.clone(), None);
        let poller = thread::spawn(move || block_on(shell));
        SEEN.saw(usize::from(done_after_a_while(&cell)));
        let mut task = Task::new(cell as Arc<dyn Join<u32>>);
        assert_eq!(block_on(&mut task).unwrap(), 7);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        poller.join().unwrap();
    });
    SEEN.assert_all();
}

#[test]
fn loom_blocking_wait_against_wake() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let cell = cell(&books, Steps::new(0, Ok(7), &alive));
        let shell = Shell::new(cell.clone(), None);
        let poller = thread::spawn(move || block_on(shell));
        SEEN.saw(usize::from(done_after_a_while(&cell)));
        cell.wait_done();
        assert!(cell.is_done());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        poller.join().unwrap();
        assert_eq!(outcome(cell).unwrap(), 7);
    });
    SEEN.assert_all();
}

#[test]
fn loom_last_child_against_spawn() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let last = cell(&books, Steps::new(0, Ok(7), &alive));
        let shell = Shell::new(last, None);
        let poller = thread::spawn(move || block_on(shell));
        let spawner = thread::spawn({
            let parent: NodeRef = books.clone();
            move || {
                let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
                let steps = Steps::new(0, Ok(8), &Arc::new(AtomicUsize::new(0)));
                let child: NodeRef = Cell::new(node, steps, Span::default());
                Node::admit(parent.clone(), child.clone(), Hold::Ordinary).is_ok()
            }
        });
        // The exit: closes when nobody is left, whoever comes and goes meanwhile.
        let closed = books.node.try_close(|| true);
        poller.join().unwrap();
        let admitted = spawner.join().unwrap();
        // R6: closed only over nobody; admitted only into an open group, which then waits.
        if closed {
            assert!(!admitted || books.node.live() == 0);
            SEEN.saw(0);
        }
        if admitted {
            assert!(!closed);
            assert_eq!(books.node.live(), 1);
            assert!(!books.node.try_close(|| true));
            SEEN.saw(1);
            // The test's own child is never polled; break its circle with the books.
            for child in books.node.members_snapshot() {
                drop(tree::detach(child.node()));
            }
        }
    });
    SEEN.assert_all();
}

#[test]
fn loom_exit_is_woken_by_the_last_child() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let last = cell(&books, Steps::new(0, Ok(7), &alive));
        let shell = Shell::new(last, None);
        let poller = thread::spawn(move || block_on(shell));
        let mut waited = false;
        block_on(std::future::poll_fn(|cx| {
            if books.node.watch_live(cx.waker()) > 0 {
                waited = true;
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        // R1: the books are left after the drop.
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert!(books.node.try_close(|| true));
        SEEN.saw(usize::from(waited));
        poller.join().unwrap();
    });
    SEEN.assert_all();
}

#[test]
fn loom_cancel_against_spawn() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let canceller = thread::spawn({
            let member: NodeRef = books.clone();
            move || cancel(member)
        });
        let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
        let cell = Cell::new(node, Steps::new(usize::MAX, Ok(0), &alive), Span::default());
        let (parent, child): (NodeRef, NodeRef) = (books.clone(), cell.clone());
        match Node::admit(parent.clone(), child.clone(), Hold::Ordinary) {
            Ok(()) => {
                // R5: in time, so the cancel reaches it and its shell ends.
                block_on(Shell::new(cell.clone(), None));
                assert!(outcome(cell).unwrap_err().is_cancelled());
                SEEN.saw(0);
            }
            Err(_) => {
                drop((cell, child));
                SEEN.saw(1);
            }
        }
        canceller.join().unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(books.node.live(), 0);
    });
    SEEN.assert_all();
}

#[test]
fn loom_adoption_against_the_end() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let (old, home) = (books(), books());
        let cell = cell(&old, Steps::new(0, Ok(7), &alive));
        let shell = Shell::new(cell.clone(), None);
        let poller = thread::spawn(move || block_on(shell));
        let (member, target): (NodeRef, NodeRef) = (cell.clone(), home.clone());
        tree::rehome(&member, &old.node, &target, Hold::Ordinary);
        SEEN.saw(usize::from(home.node.live() == 0));
        poller.join().unwrap();
        // Whoever was first, the ended child stands in nobody's books.
        assert_eq!((old.node.live(), home.node.live()), (0, 0));
    });
    SEEN.assert_all();
}

#[test]
fn loom_adoption_against_a_run_elsewhere() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let (maker, home, host) = (books(), books(), books());
        let group = books();
        let member: NodeRef = group.clone();
        let maker_ref: NodeRef = maker.clone();
        assert!(Node::adopt(&maker_ref, &member, Hold::Nested).is_none());
        let runner = thread::spawn({
            let (member, host): (NodeRef, NodeRef) = (member.clone(), host.clone());
            move || {
                drop(tree::detach(member.node()));
                tree::attach_group(&host, &member);
            }
        });
        let home_ref: NodeRef = home.clone();
        tree::rehome(&member, &maker.node, &home_ref, Hold::Nested);
        let adopted = home.node.members_snapshot().len() == 1;
        SEEN.saw(usize::from(adopted));
        runner.join().unwrap();
        // Whoever was first, the group stands where it is run.
        assert_eq!(host.node.members_snapshot().len(), 1);
        assert_eq!(maker.node.members_snapshot().len() + home.node.members_snapshot().len(), 0);
        drop(tree::detach(member.node()));
    });
    SEEN.assert_all();
}

#[test]
fn loom_two_threads_that_drop_each_other_do_not_wait_for_ever() {
    type Target = Arc<loom::sync::Mutex<Option<NodeRef>>>;
    /// Drops the other cell from inside its own poll, as a task that drops its neighbour's group does.
    struct DropsOther(Target);
    impl Future for DropsOther {
        type Output = Result<u32, ()>;

        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
            let other = self.0.lock().unwrap().take();
            if let Some(other) = other {
                other.drop_now(DropMode::Wait);
            }
            Poll::Ready(Ok(1))
        }
    }
    static SEEN: Seen<2> = Seen::new();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let make = || {
            let target: Target = Arc::new(loom::sync::Mutex::new(None));
            let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
            (target.clone(), TaskCell::<_, u32, ToBooks>::new(node, DropsOther(target), Span::default()))
        };
        let ((a_other, a), (b_other, b)) = (make(), make());
        *a_other.lock().unwrap() = Some(b.clone());
        *b_other.lock().unwrap() = Some(a.clone());
        let (shell_a, shell_b) = (Shell::new(a.clone(), None), Shell::new(b.clone(), None));
        let poller = thread::spawn(move || block_on(shell_a));
        block_on(shell_b);
        poller.join().unwrap();
        let both = [Task::new(a as Arc<dyn Join<u32>>), Task::new(b as Arc<dyn Join<u32>>)];
        let values = both.into_iter().filter_map(|task| task.into_result().ok()).count();
        SEEN.saw(usize::from(values == 2));
    });
    SEEN.assert_all();
}

#[test]
fn loom_a_dropped_handle_against_the_end() {
    /// A value that counts itself alive.
    struct Value(Arc<AtomicUsize>);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(1));
        let books = books();
        let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
        let value = Value(alive.clone());
        let cell = TaskCell::<_, Value, ToBooks>::new(node, std::future::ready(Ok(value)), Span::default());
        Node::admit(books.clone(), cell.clone(), Hold::Ordinary).expect("open");
        let task = Task::new(cell.clone() as Arc<dyn Join<Value>>);
        let shell = Shell::new(cell, None);
        let poller = thread::spawn(move || block_on(shell));
        let finished = task.is_finished() || {
            thread::yield_now();
            task.is_finished()
        };
        SEEN.saw(usize::from(finished));
        drop(task);
        block_on(std::future::poll_fn(|cx| match books.node.watch_live(cx.waker()) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }));
        // R1: with the handle gone, the value is gone at exit.
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        poller.join().unwrap();
    });
    SEEN.assert_all();
}
