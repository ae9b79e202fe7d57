//! The queue under loom: wakes against polls, sleep, the end of a child, and the close. And the references of a cell.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::thread;

use super::inbox::{Inbox, Link, Pushed, Row, VTable};
use super::kind::AnyThread;
use super::state::State;
use crate::sync::Arc;

static NOBODY: VTable = VTable {
    poll: |_| unreachable!("the tests poll themselves"),
    end: |_| unreachable!("the tests end links themselves"),
    enter: |_| {},
    member: |_| unreachable!("nobody asks"),
    release: |_| {},
    unentered: |_| None,
};

/// A link, what a waker leaves for its poll, and how often its host's reference was released.
struct Child {
    link: Link,
    data: UnsafeCell<u8>,
    released: AtomicUsize,
}

impl Child {
    fn new(queued: bool) -> Arc<Self> {
        let link = Link::new(&NOBODY, queued);
        // A waker of it goes to another thread.
        assert!(link.note_clone());
        Arc::new(Self { link, data: UnsafeCell::new(0), released: AtomicUsize::new(0) })
    }

    fn wake(&self, inbox: &Inbox) -> Option<Pushed> {
        if !self.link.announce() {
            return None;
        }
        // SAFETY: announced by us; the link outlives the model.
        let pushed = unsafe { inbox.push(&self.link) };
        match pushed {
            Pushed::Seen => {}
            Pushed::Asleep => inbox.host().into_iter().for_each(|host| host.wake()),
            Pushed::Closed => self.release(),
        }
        Some(pushed)
    }

    fn release(&self) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two wakers against a host that polls, sleeps, and is woken: none is lost, and what each left is seen.
#[test]
fn loom_a_wake_is_seen_by_a_poll() {
    static SLEPT: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
    let mut model = loom::model::Builder::new();
    // Three threads, a lock and a waker: without a bound it takes hours.
    model.preemption_bound = Some(2);
    model.check(|| {
        let inbox = Arc::new(Inbox::new());
        let children = [Child::new(false), Child::new(false)];
        let wakers: Vec<_> = children
            .iter()
            .map(|child| {
                let (child, inbox) = (Arc::clone(child), Arc::clone(&inbox));
                thread::spawn(move || {
                    // SAFETY: before the wake nobody else looks.
                    child.data.with_mut(|data| unsafe { *data = 1 });
                    child.wake(&inbox)
                })
            })
            .collect();
        let (mut row, mut polled) = (Row::new(), [false; 2]);
        block_on(poll_fn(|cx| {
            inbox.set_host(cx.waker());
            loop {
                row.append(inbox.take(), |_| {});
                while let Some(link) = row.pop() {
                    let at = children.iter().position(|child| std::ptr::eq(&child.link, link)).unwrap();
                    assert!(children[at].link.begin_poll());
                    // SAFETY: after the wake, which the model checks.
                    assert_eq!(children[at].data.with(|data| unsafe { *data }), 1);
                    assert!(!std::mem::replace(&mut polled[at], true), "woken once, polled once");
                }
                if polled == [true; 2] {
                    return Poll::Ready(());
                }
                if inbox.sleep() {
                    return Poll::Pending;
                }
            }
        }));
        for waker in wakers {
            let slept = waker.join().unwrap() == Some(Pushed::Asleep);
            SLEPT[usize::from(slept)].store(true, Ordering::SeqCst);
        }
    });
    for outcome in &SLEPT {
        assert!(outcome.load(Ordering::SeqCst), "the model never reached one of the outcomes");
    }
}

/// A child ends, and the queue is closed, while a waker wakes it: the host's reference is released once, by whoever comes
/// to it last.
#[test]
fn loom_a_wake_against_the_end_and_the_close() {
    static SEEN: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let child = Child::new(true);
        // SAFETY: made queued.
        let _asleep = unsafe { inbox.push(&child.link) };
        let mut row = Row::new();
        row.append(inbox.take(), |_| {});
        let waker = {
            let (child, inbox) = (Arc::clone(&child), Arc::clone(&inbox));
            thread::spawn(move || child.wake(&inbox))
        };
        let link = row.pop().unwrap();
        assert!(std::ptr::eq(&child.link, link) && child.link.begin_poll());
        if !child.link.end() {
            child.release();
        }
        while !inbox.try_close() {
            row.append(inbox.take(), |_| {});
            while let Some(link) = row.pop() {
                assert!(std::ptr::eq(&child.link, link) && !child.link.begin_poll(), "it has ended");
                child.release();
            }
        }
        let pushed = waker.join().unwrap();
        let outcome = match pushed {
            None => 0,
            Some(Pushed::Closed) => 1,
            Some(_) => 2,
        };
        SEEN[outcome].store(true, Ordering::SeqCst);
        assert_eq!(child.released.load(Ordering::Relaxed), 1);
    });
    for outcome in &SEEN {
        assert!(outcome.load(Ordering::SeqCst), "the model never reached one of the outcomes");
    }
}

/// Children from another thread against the close: each is seen by the host, or refused.
#[test]
fn loom_a_spawn_against_the_close() {
    static REFUSED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let mut row = Row::new();
        row.append(inbox.take(), |_| {});
        let children = [Child::new(true), Child::new(true)];
        let spawner = {
            let (children, inbox) = (children.clone(), Arc::clone(&inbox));
            thread::spawn(move || {
                children.map(|child| {
                    // SAFETY: made queued; it outlives the model.
                    match unsafe { inbox.push(&child.link) } {
                        Pushed::Closed => child.release(),
                        Pushed::Seen | Pushed::Asleep => {}
                    }
                })
            })
        };
        let mut taken = 0;
        while !inbox.try_close() {
            let list = inbox.take();
            row.append(list, |_| taken += 1);
            while let Some(link) = row.pop() {
                // SAFETY: alive, in the array above.
                assert!(unsafe { (*link).begin_poll() });
            }
        }
        spawner.join().unwrap();
        let refused: usize = children.iter().map(|child| child.released.load(Ordering::Relaxed)).sum();
        assert_eq!(taken + refused, 2);
        REFUSED[usize::from(refused > 0)].store(true, Ordering::SeqCst);
    });
    for outcome in &REFUSED {
        assert!(outcome.load(Ordering::SeqCst), "the model never reached one of the outcomes");
    }
}

/// A cell: what everybody looks at, the outcome, and who has freed it.
struct Shared {
    state: State<AnyThread>,
    body: UnsafeCell<u8>,
    outcome: UnsafeCell<Option<u8>>,
    freed: AtomicUsize,
    dropped: AtomicUsize,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: State::new(),
            body: UnsafeCell::new(0),
            outcome: UnsafeCell::new(None),
            freed: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
        })
    }

    fn look(&self) {
        // SAFETY: read by those who have a reference.
        assert_eq!(self.body.with(|body| unsafe { *body }), 0);
    }

    fn drop_outcome(&self) {
        // SAFETY: C2: one of host and handle comes here, which the model checks.
        assert_eq!(self.outcome.with_mut(|outcome| unsafe { (*outcome).take() }), Some(7));
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn release(&self) {
        if self.state.release() {
            // SAFETY: after all that others have done with it, which the model checks.
            self.body.with_mut(|body| unsafe { *body = 1 });
            self.freed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn drop_waker(&self) {
        self.look();
        self.release();
    }

    fn assert_over(&self) {
        assert_eq!(self.freed.load(Ordering::Relaxed), 1);
        assert_eq!(self.dropped.load(Ordering::Relaxed), 1);
    }

    /// The host's last steps. True: it found that nobody else was left.
    fn end(&self) -> bool {
        // SAFETY: C1.
        self.outcome.with_mut(|outcome| unsafe { *outcome = Some(7) });
        if self.state.settle() {
            self.drop_outcome();
        }
        let _waited = self.state.finish();
        self.look();
        let at_once = self.state.is_host_alone();
        if !at_once {
            self.state.keep_for_handle();
        }
        self.release();
        at_once
    }

    /// The handle goes.
    fn leave(&self) {
        if self.state.renounce() {
            self.drop_outcome();
        }
        self.look();
        if self.state.leave() {
            self.release();
        }
    }
}

/// The handle goes while the child ends: the value is dropped once, the cell freed once, after both have done with it.
#[test]
fn loom_a_cell_is_freed_once() {
    static AT_ONCE: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
    loom::model(|| {
        let cell = Shared::new();
        let handle = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || cell.leave())
        };
        let at_once = cell.end();
        handle.join().unwrap();
        cell.assert_over();
        AT_ONCE[usize::from(at_once)].store(true, Ordering::SeqCst);
    });
    for outcome in &AT_ONCE {
        assert!(outcome.load(Ordering::SeqCst), "the model never reached one of the outcomes");
    }
}

/// The same, and a waker is dropped meanwhile.
#[test]
fn loom_a_cell_is_freed_once_with_a_waker() {
    loom::model(|| {
        let cell = Shared::new();
        cell.state.retain();
        let others = [Shared::leave, Shared::drop_waker].map(|part| {
            let cell = Arc::clone(&cell);
            thread::spawn(move || part(&cell))
        });
        let _at_once = cell.end();
        others.into_iter().for_each(|other| other.join().unwrap());
        cell.assert_over();
    });
}
