//! A ticket: somebody on the way through the gates, and what it does when it is through.

use std::task::{Poll, Wake, Waker};

use super::gate::{Gate, carry_out};
use super::line::Key;
use crate::sync::{Arc, Mutex, lock};
use crate::tree;

pub(super) struct Ticket {
    /// The first one; it knows the one beyond.
    gate: Arc<Gate>,
    inner: Mutex<Inner>,
}

struct Inner {
    stage: Stage,
    then: Then,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Has not come to the first gate.
    Outside,
    /// Has a place at the first gate, and has not come to the one beyond.
    Between,
    /// In the line of the first gate.
    AtFirst(Key),
    /// Has a place at the first gate, and stands in the line of the one beyond.
    AtBeyond(Key),
    /// Has a place at each gate.
    Through,
    /// Has none, and will never have one. Final.
    Over,
}

/// What is done when the ticket is through.
pub(super) enum Then {
    Nothing,
    Launch(Box<dyn FnOnce() + Send>),
    Wake(Waker),
}

impl Then {
    fn run(self) {
        match self {
            Then::Nothing => {}
            Then::Launch(launch) => launch(),
            Then::Wake(waker) => tree::wake(waker),
        }
    }
}

impl Ticket {
    pub(super) fn new(gate: &Arc<Gate>, then: Then) -> Arc<Self> {
        Self::at(Stage::Outside, gate, then)
    }

    /// For somebody who has a place at the first gate.
    pub(super) fn between(gate: &Arc<Gate>, then: Then) -> Arc<Self> {
        Self::at(Stage::Between, gate, then)
    }

    /// For somebody who has a place at each gate.
    pub(super) fn through(gate: &Arc<Gate>) -> Arc<Self> {
        Self::at(Stage::Through, gate, Then::Nothing)
    }

    fn at(stage: Stage, gate: &Arc<Gate>, then: Then) -> Arc<Self> {
        Arc::new(Self { gate: Arc::clone(gate), inner: Mutex::new(Inner { stage, then }) })
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Goes through the gates as far as there is room. Once.
    pub(super) fn enter(self: &Arc<Self>) {
        let mut inner = lock(&self.inner);
        inner.stage = match inner.stage {
            Stage::Outside => match self.gate.enter(self) {
                Some(key) => Stage::AtFirst(key),
                None => self.go_beyond(),
            },
            Stage::Between => self.go_beyond(),
            _ => return,
        };
        let then = inner.take_then();
        drop(inner);
        then.run();
    }

    fn go_beyond(self: &Arc<Self>) -> Stage {
        match self.gate.beyond().and_then(|beyond| beyond.enter(self)) {
            Some(key) => Stage::AtBeyond(key),
            None => Stage::Through,
        }
    }

    /// It was taken from a line, and has a place there.
    pub(super) fn granted(self: &Arc<Self>, beyond: bool) {
        let mut inner = lock(&self.inner);
        let mut surplus = None;
        inner.stage = match inner.stage {
            Stage::AtFirst(_) => self.go_beyond(),
            Stage::AtBeyond(_) => match self.gate.take_back(self) {
                Some(key) => {
                    surplus = self.gate.beyond();
                    Stage::AtFirst(key)
                }
                None => Stage::Through,
            },
            stage => {
                // It gave up when it had been taken from the line.
                surplus = if beyond { self.gate.beyond() } else { Some(&self.gate) };
                stage
            }
        };
        let then = inner.take_then();
        drop(inner);
        if let Some(gate) = surplus {
            carry_out(gate.release());
        }
        then.run();
    }

    /// It goes, wherever it is: leaves the line, gives up its places.
    fn end(&self) -> Then {
        let mut inner = lock(&self.inner);
        let stage = std::mem::replace(&mut inner.stage, Stage::Over);
        let then = std::mem::replace(&mut inner.then, Then::Nothing);
        drop(inner);
        match stage {
            Stage::Outside | Stage::Over => {}
            Stage::AtFirst(key) => self.gate.remove(key),
            Stage::Between => carry_out(self.gate.release()),
            Stage::AtBeyond(key) => {
                self.gate.beyond().into_iter().for_each(|beyond| beyond.remove(key));
                carry_out(self.gate.release());
            }
            Stage::Through => self.gate.leave(),
        }
        then
    }

    /// What it was for has ended, or is not wanted any more.
    pub(super) fn give_up(&self) {
        drop(self.end());
    }

    /// There is nothing left to wait for, and no place is needed.
    pub(super) fn let_off(&self) {
        self.end().run();
    }

    /// Whether the wait is over; true if there is a place. If not, the waker is stored.
    pub(super) fn poll_through(&self, waker: &Waker) -> Poll<bool> {
        let mut inner = lock(&self.inner);
        let through = match inner.stage {
            Stage::Through => true,
            Stage::Over => false,
            _ => {
                let stored = matches!(&inner.then, Then::Wake(stored) if stored.will_wake(waker));
                let replaced =
                    (!stored).then(|| std::mem::replace(&mut inner.then, Then::Wake(waker.clone())));
                drop(inner);
                drop(replaced);
                return Poll::Pending;
            }
        };
        Poll::Ready(through)
    }
}

impl Inner {
    /// What is to be done, if the ticket is through.
    fn take_then(&mut self) -> Then {
        match self.stage {
            Stage::Through => std::mem::replace(&mut self.then, Then::Nothing),
            _ => Then::Nothing,
        }
    }
}

/// How a child that has, or waits for, a place by this ticket gives it up.
impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.give_up();
    }
}
