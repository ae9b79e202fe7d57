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
use super::place::Driver;
use super::*;
use crate::sync::Arc;
use crate::trace::Span;
use crate::tree::{
    self, CancelCause, CancelReason, DriverKey, DropMode, Hold, Member, Node, NodeKind, NodeRef, Owed,
    Placing, Threads,
};

/// A group without a runtime: books, and a count of reported failures.
struct Books {
    node: Node,
    failures: AtomicUsize,
    /// Drivers that were called for after the first.
    spawned: AtomicUsize,
    threads: Threads,
    /// Where they run, on a runtime of several workers.
    workers: std::sync::Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Member for Books {
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn threads(&self) -> Threads {
        self.threads
    }

    fn spawn_driver(self: Arc<Self>, key: DriverKey) {
        self.spawned.fetch_add(1, Ordering::SeqCst);
        if self.threads == Threads::Workers {
            let driver = Driver::new(self.clone(), key);
            let worker = thread::spawn(move || block_on(driver));
            return self.workers.lock().unwrap().push(worker);
        }
        // A thread more would be one too many for the model: it is run here and now, as far as it goes.
        let mut driver = Driver::new(self, key);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while Pin::new(&mut driver).poll(&mut cx).is_pending() {
            thread::yield_now();
        }
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
    books_of(Threads::One)
}

fn books_of(threads: Threads) -> Arc<Books> {
    let node = Node::new(NodeKind::Group, None, std::panic::Location::caller());
    let (failures, spawned) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Arc::new(Books { node, failures, spawned, threads, workers: std::sync::Mutex::default() })
}

/// A child in the books and in the queue, and the driver that this calls for.
fn cell(books: &Arc<Books>, steps: Steps) -> (Arc<Cell>, Driver) {
    let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
    let cell = Cell::new(node, steps, Span::default(), None);
    let driver = admit(books, cell.clone()).expect("open").expect("the first child calls for a driver");
    (cell, driver)
}

fn admit<F, T>(books: &Arc<Books>, cell: Arc<TaskCell<F, T, ToBooks>>) -> Result<Option<Driver>, CancelCause>
where
    F: Future<Output = Result<T, ()>> + Send + 'static,
    T: Send + 'static,
{
    cell.set_queued();
    let group: NodeRef = books.clone();
    Ok(match Node::admit(group.clone(), cell, Hold::Ordinary, Placing::Queued)? {
        Owed::Spawn(key) => Some(Driver::new(group, key)),
        Owed::Wake(waker) => {
            waker.wake();
            None
        }
        Owed::Nothing => None,
    })
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
        let (cell, driver) = cell(&books, Steps::new(1, Ok(7), &alive));
        let canceller = thread::spawn({
            let member: NodeRef = cell.clone();
            move || cancel(member)
        });
        block_on(driver);
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
        let (cell, driver) = cell(&books, Steps::new(usize::MAX, Ok(0), &alive));
        let canceller = thread::spawn({
            let member: NodeRef = books.clone();
            move || cancel(member)
        });
        block_on(driver);
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
        let (cell, driver) = cell(&books, Steps::new(1, Ok(7), &alive));
        let poller = thread::spawn(move || block_on(driver));
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
        let (cell, driver) = cell(&books, Steps::new(1, Ok(7), &alive));
        let poller = thread::spawn(move || block_on(driver));
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
        let (failing, driver) = cell(&books, Steps::new(0, Err(()), &alive));
        let poller = thread::spawn(move || block_on(driver));
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
        let (cell, driver) = cell(&books, Steps::new(0, Ok(7), &alive));
        let poller = thread::spawn(move || block_on(driver));
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
        let (cell, driver) = cell(&books, Steps::new(0, Ok(7), &alive));
        let poller = thread::spawn(move || block_on(driver));
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
        let (_last, driver) = cell(&books, Steps::new(0, Ok(7), &alive));
        let poller = thread::spawn(move || block_on(driver));
        let spawner = thread::spawn({
            let books = books.clone();
            move || {
                let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
                let steps = Steps::new(0, Ok(8), &Arc::new(AtomicUsize::new(0)));
                let admitted = admit(&books, Cell::new(node, steps, Span::default(), None));
                match admitted {
                    Ok(driver) => driver.into_iter().for_each(block_on),
                    Err(_) => return false,
                }
                true
            }
        });
        // The exit: closes when nobody is left, whoever comes and goes meanwhile.
        let closed = books.node.try_close(|| true);
        if closed {
            assert_eq!(books.node.live(), 0);
        }
        poller.join().unwrap();
        let admitted = spawner.join().unwrap();
        // R6: refused only by a closed group. Whoever was admitted was polled, by one driver or the other.
        assert!(closed || admitted);
        assert_eq!((books.node.live(), alive.load(Ordering::SeqCst)), (0, 0));
        SEEN.saw(usize::from(closed));
    });
    SEEN.assert_all();
}

#[test]
fn loom_exit_is_woken_by_the_last_child() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books();
        let (_last, driver) = cell(&books, Steps::new(0, Ok(7), &alive));
        let poller = thread::spawn(move || block_on(driver));
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
        let cell = Cell::new(node, Steps::new(usize::MAX, Ok(0), &alive), Span::default(), None);
        match admit(&books, cell.clone()) {
            Ok(driver) => {
                // R5: in time, so the cancel reaches it and its driver ends.
                block_on(driver.expect("the first child calls for a driver"));
                assert!(outcome(cell).unwrap_err().is_cancelled());
                SEEN.saw(0);
            }
            Err(_) => {
                drop(cell);
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
        let (cell, driver) = cell(&old, Steps::new(0, Ok(7), &alive));
        let poller = thread::spawn(move || block_on(driver));
        let (member, target): (NodeRef, NodeRef) = (cell.clone(), home.clone());
        // Only who is being polled while its group is dropped goes elsewhere.
        member.drop_now(DropMode::Abandon);
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
            let (future, span) = (DropsOther(target.clone()), Span::default());
            (target, TaskCell::<_, u32, ToBooks>::new(node, future, span, None))
        };
        let ((a_other, a), (b_other, b)) = (make(), make());
        *a_other.lock().unwrap() = Some(b.clone());
        *b_other.lock().unwrap() = Some(a.clone());
        let drivers = [(books(), a.clone()), (books(), b.clone())].map(|(books, cell)| {
            admit(&books, cell).expect("open").expect("the first child calls for a driver")
        });
        let [driver_a, driver_b] = drivers;
        let poller = thread::spawn(move || block_on(driver_a));
        block_on(driver_b);
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
        let future = std::future::ready(Ok(value));
        let cell = TaskCell::<_, Value, ToBooks>::new(node, future, Span::default(), None);
        let driver = admit(&books, cell.clone()).expect("open").expect("the first child calls for a driver");
        let task = Task::new(cell.clone() as Arc<dyn Join<Value>>);
        let poller = thread::spawn(move || block_on(driver));
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

/// A future that waits until a thread has set a value and woken it.
struct Signalled(Arc<loom::sync::Mutex<(usize, Option<std::task::Waker>)>>, usize);

impl Future for Signalled {
    type Output = Result<u32, ()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut signal = self.0.lock().unwrap();
        if signal.0 >= self.1 {
            return Poll::Ready(Ok(9));
        }
        signal.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn signal(to: &loom::sync::Mutex<(usize, Option<std::task::Waker>)>) {
    let waker = {
        let mut signal = to.lock().unwrap();
        signal.0 += 1;
        signal.1.clone()
    };
    waker.into_iter().for_each(std::task::Waker::wake);
}

#[test]
fn loom_wake_ups_from_two_threads_are_not_lost() {
    static SEEN: Seen<2> = Seen::new();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let books = books();
        let shared = Arc::new(loom::sync::Mutex::new((0, None)));
        let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
        let future = Signalled(shared.clone(), 2);
        let cell = TaskCell::<_, u32, ToBooks>::new(node, future, Span::default(), None);
        let driver = admit(&books, cell.clone()).expect("open").expect("the first child calls for a driver");
        let threads = [shared.clone(), shared.clone()].map(|shared| thread::spawn(move || signal(&shared)));
        // Left behind, it would block here for ever.
        block_on(driver);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        SEEN.saw(usize::from(shared.lock().unwrap().1.is_some()));
        shared.lock().unwrap().1 = None;
        assert_eq!(Task::new(cell as Arc<dyn Join<u32>>).into_result().unwrap(), 9);
    });
    SEEN.assert_all();
}

#[test]
fn loom_two_drivers_leave_nobody_behind_and_both_end() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let books = books_of(Threads::Workers);
        let node = || Node::new(NodeKind::Task, None, std::panic::Location::caller());
        let first = Cell::new(node(), Steps::new(0, Ok(7), &alive), Span::default(), None);
        let second = Cell::new(node(), Steps::new(1, Ok(8), &alive), Span::default(), None);
        let driver = admit(&books, first.clone()).expect("open").expect("the first child calls for a driver");
        assert!(
            admit(&books, second.clone()).expect("open").is_none(),
            "one is scheduled, and any worker takes it"
        );
        block_on(driver);
        let workers = std::mem::take(&mut *books.workers.lock().unwrap());
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!((books.node.live(), alive.load(Ordering::SeqCst)), (0, 0));
        let spawned = books.spawned.load(Ordering::SeqCst);
        assert_eq!(spawned, 1, "who goes to poll the first leaves a driver to the second");
        assert_eq!((outcome(first).unwrap(), outcome(second).unwrap()), (7, 8));
    });
}

/// Announces itself, then blocks its thread until the other one has too.
struct Meets(Arc<(loom::sync::Mutex<usize>, loom::sync::Condvar)>);

impl Future for Meets {
    type Output = Result<u32, ()>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (met, has_met) = &*self.0;
        let mut met = met.lock().unwrap();
        *met += 1;
        has_met.notify_all();
        while *met < 2 {
            met = has_met.wait(met).unwrap();
        }
        Poll::Ready(Ok(1))
    }
}

#[test]
fn loom_children_that_block_their_threads_meet() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let books = books_of(Threads::Workers);
        let meeting = Arc::new((loom::sync::Mutex::new(0), loom::sync::Condvar::new()));
        let [first, second] = [(); 2].map(|()| {
            let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
            TaskCell::<_, u32, ToBooks>::new(node, Meets(meeting.clone()), Span::default(), None)
        });
        let driver = admit(&books, first).expect("open").expect("the first child calls for a driver");
        let _scheduled = admit(&books, second).expect("open");
        block_on(driver);
        let workers = std::mem::take(&mut *books.workers.lock().unwrap());
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(books.node.live(), 0);
    });
}

#[test]
fn loom_a_wake_up_against_the_end_of_the_runtime() {
    static SEEN: Seen<2> = Seen::new();
    loom::model(|| {
        let books = books();
        let shared = Arc::new(loom::sync::Mutex::new((0, None)));
        let node = Node::new(NodeKind::Task, None, std::panic::Location::caller());
        let future = Signalled(shared.clone(), 1);
        let cell = TaskCell::<_, u32, ToBooks>::new(node, future, Span::default(), None);
        let mut driver =
            admit(&books, cell.clone()).expect("open").expect("the first child calls for a driver");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let over = Pin::new(&mut driver).poll(&mut cx).is_ready();
        assert!(!over, "nothing has been signalled");
        let signaller = thread::spawn({
            let shared = shared.clone();
            move || signal(&shared)
        });
        let ended = Pin::new(&mut driver).poll(&mut cx).is_ready();
        drop(driver);
        signaller.join().unwrap();
        assert_eq!(books.node.live(), 0, "whoever was not polled to its end was ended by the drop");
        shared.lock().unwrap().1 = None;
        let value = Task::new(cell as Arc<dyn Join<u32>>).into_result();
        // Or the wake-up called for another driver, which was in time.
        if ended || books.spawned.load(Ordering::SeqCst) == 0 {
            assert_eq!(value.is_ok(), ended);
        }
        SEEN.saw(usize::from(ended));
    });
    SEEN.assert_all();
}
