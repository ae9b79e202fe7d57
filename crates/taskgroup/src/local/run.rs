//! The future of `run` and `join`: the host of a group's children.
//!
//! ```text
//!   poll:  those who were woken, in the order in which they were, the body among them ─▶ exit? ─▶ clock ─▶ asleep
//!             ▲                                                                                     │
//!             └─────────────────── somebody was woken meanwhile, and there is budget left ──────────┘
//! ```
//!
//! 1. The body has a place in the queue as a child has. At the first poll it comes first.
//! 2. A poll goes on round after round while there is budget, [`POLLS_MAX`] polls or one round, whichever is more: then
//!    the host wakes itself, and whatever else there is on its thread has its turn. Whoever was woken keeps his place.
//! 3. Where tokio's budget is used up the round stops at once: the others would only find it used up too.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::coop::has_budget_remaining;

use super::HostedGroup;
use super::hosted::wake_again;
use super::kind::Host;
use super::seat::Seat;
use crate::error::ErrorGroup;
use crate::group::{Body, BodyEnd, Clock, GroupCore, Look, Step, end_body, exit};
use crate::sync::Arc;
use crate::trace::Span;
use crate::tree::{self, Member};

/// So many polls are made before the host lets others on its thread have their turn, if a round is not longer.
const POLLS_MAX: usize = 128;

pin_project! {
    /// The future of [`LocalGroup::run`](HostedGroup::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops every child of the group before the drop returns.
    #[must_use = "futures do nothing unless polled"]
    pub struct LocalRun<'g, 'env, F, T, E, H>
    where
        E: Send,
        E: 'static,
        H: Host,
    {
        group: &'g HostedGroup<'env, E, H>,
        #[pin]
        future: Option<F>,
        phase: Phase<T, E>,
        clock: Clock,
        span: Span,
        location: &'static Location<'static>,
    }

    impl<F, T, E: Send, H: Host> PinnedDrop for LocalRun<'_, '_, F, T, E, H> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            match std::mem::replace(this.phase, Phase::Done) {
                Phase::New(_) | Phase::Done => {}
                // The seat goes before the queue is closed.
                Phase::Body(..) | Phase::Exit(_) => {
                    let _inside = this.span.enter();
                    // SAFETY: H1: this is the one run that has begun, and it is being dropped.
                    unsafe { this.group.end_by_drop() };
                    // Here, so that its destructors are inside the span too.
                    this.future.set(None);
                }
            }
        }
    }
}

enum Phase<T, E: Send + 'static> {
    /// Without a body there is a value from the beginning.
    New(Option<T>),
    Body(Arc<Body>, Seat<E>),
    /// The body has ended, with a value if it returned one.
    Exit(Option<T>),
    Done,
}

impl<'g, 'env, F, T, E, H> LocalRun<'g, 'env, F, T, E, H>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
    H: Host,
{
    pub(super) fn new(
        group: &'g HostedGroup<'env, E, H>,
        body: F,
        location: &'static Location<'static>,
    ) -> Self {
        Self::with(group, Some(body), None, location)
    }

    fn with(
        group: &'g HostedGroup<'env, E, H>,
        future: Option<F>,
        value: Option<T>,
        location: &'static Location<'static>,
    ) -> Self {
        let phase = Phase::New(value);
        Self { group, future, phase, clock: Clock::default(), span: Span::default(), location }
    }
}

impl<'g, 'env, E, H> LocalRun<'g, 'env, std::future::Ready<Result<(), E>>, (), E, H>
where
    E: Send + 'static,
    H: Host,
{
    /// As with a body that has nothing to do.
    pub(super) fn without_body(
        group: &'g HostedGroup<'env, E, H>,
        location: &'static Location<'static>,
    ) -> Self {
        Self::with(group, None, Some(()), location)
    }
}

impl<F, T, E, H> Future for LocalRun<'_, '_, F, T, E, H>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
    H: Host,
{
    type Output = Result<T, ErrorGroup<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let core = &this.group.core;
        assert!(!matches!(this.phase, Phase::Done), "the future of `run` was polled after it had completed");
        let mut first = false;
        if let Phase::New(value) = this.phase {
            first = true;
            core.begin_run();
            let node = core.node();
            *this.span = Span::of_group(node.name(), node.id().as_u64());
            *this.phase = match this.future.is_some() {
                true => Phase::Body(Body::open(&core.member(), this.location), Seat::new(core)),
                false => Phase::Exit(value.take()),
            };
        }
        let inside = this.span.enter();
        // SAFETY: H1: this is the one run that has begun, and it is being polled.
        let mut host = unsafe { Turn::begin::<H>(core, cx) };
        let (mut bodys_turn, mut running, mut until) = (first, first, None);
        loop {
            if bodys_turn && let Phase::Body(body, seat) = &*this.phase {
                // SAFETY: as above.
                match unsafe { poll_body(body, seat, this.future.as_mut(), std::mem::take(&mut running)) } {
                    Step::Waits(at) => until = at,
                    Step::Ended(end) => {
                        let value = end_body(core, body, end);
                        (*this.phase, until) = (Phase::Exit(value), None);
                    }
                }
            }
            bodys_turn = false;
            if core.node().is_forced() {
                // SAFETY: as above.
                unsafe { this.group.drop_children() };
                if let Phase::Body(body, _) = &*this.phase {
                    let value = end_body(core, body, body.give_up(this.future.as_mut()));
                    (*this.phase, until) = (Phase::Exit(value), None);
                }
            }
            let turns =
                host.poll_children(if let Phase::Body(_, seat) = &*this.phase { Some(seat) } else { None });
            if turns == Turns::Body {
                bodys_turn = true;
                continue;
            }
            match this.phase {
                Phase::Exit(value) if host.may_end() => {
                    if core.poll_exit(cx.waker()) {
                        // All have ended; who was woken after that may still stand in the row.
                        // SAFETY: as above.
                        unsafe { this.group.drop_row() };
                        drop(host);
                        // A wait in a cancelled host does not complete; only failures are delivered to it (R9, R12).
                        let completes = !tree::is_cut() || (first && value.is_some());
                        if !completes && !core.has_failures() {
                            return Poll::Pending;
                        }
                        let value = value.take().filter(|_| !core.cut_by_deadline());
                        *this.phase = Phase::Done;
                        let result = exit(core, value);
                        drop(inside);
                        *this.span = Span::default();
                        return Poll::Ready(result);
                    }
                    // A cancel from now on wakes this host: the clock has something to look at then.
                    let _uncancelled = core.node().register_waker(cx.waker());
                }
                _ => {}
            }
            match this.clock.look(core, until, cx) {
                Look::Wait => {}
                look => {
                    bodys_turn = matches!(look, Look::Again);
                    continue;
                }
            }
            if turns == Turns::Enough {
                wake_again(core.hosted(), &core.member(), cx.waker());
                return Poll::Pending;
            }
            if core.hosted().inbox.sleep() {
                return Poll::Pending;
            }
        }
    }
}

/// Polls the body with a waker that puts it into the queue.
///
/// # Safety
///
/// The caller is the host.
unsafe fn poll_body<F: Future, E: Send + 'static>(
    body: &Arc<Body>,
    seat: &Seat<E>,
    future: Pin<&mut Option<F>>,
    running: bool,
) -> Step<BodyEnd<F::Output>> {
    seat.begin_poll();
    // SAFETY: as the caller says.
    let waker = unsafe { seat.waker() };
    body.poll(future, &mut Context::from_waker(&waker), running)
}

/// What the children's turns came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turns {
    /// Nobody is left whose turn it is.
    Over,
    /// It is the body's turn.
    Body,
    /// The host has done enough for now.
    Enough,
}

/// One poll of a host.
struct Turn<'a, E: Send + 'static> {
    core: &'a Arc<GroupCore<E>>,
    polls: usize,
    shared: bool,
}

impl<'a, E: Send + 'static> Turn<'a, E> {
    /// # Safety
    ///
    /// H1: the caller is the host, as long as this lives.
    unsafe fn begin<H: Host>(core: &'a Arc<GroupCore<E>>, cx: &Context<'_>) -> Self {
        // SAFETY: as the caller says.
        unsafe { core.hosted().begin(core.node(), cx) };
        Self { core, polls: 0, shared: H::SHARED }
    }

    /// Polls those whose turn it is, each in its turn, until it is the body's or nobody's.
    fn poll_children(&mut self, body: Option<&Seat<E>>) -> Turns {
        let hosted = self.core.hosted();
        // SAFETY: H1, by `begin`.
        let late = unsafe { hosted.late() };
        let entered = tree::enter_late(late);
        loop {
            if !has_budget_remaining() && self.polls > 0 {
                // SAFETY: H1, by `begin`.
                let idle = unsafe { hosted.is_row_empty() } && !hosted.has_new();
                return if idle { Turns::Over } else { Turns::Enough };
            }
            // SAFETY: H1, by `begin`.
            let Some(link) = (unsafe { hosted.pop() }) else {
                if self.polls >= POLLS_MAX && hosted.has_new() {
                    return Turns::Enough;
                }
                // SAFETY: H1, by `begin`.
                match unsafe { hosted.take() } {
                    true => continue,
                    false => return Turns::Over,
                }
            };
            self.polls += 1;
            if body.is_some_and(|seat| seat.is_at(link)) {
                return Turns::Body;
            }
            // SAFETY: the host, by `begin`; the link was in the queue.
            if unsafe { hosted.poll(link) } {
                entered.again(late);
            }
        }
    }

    fn may_end(&self) -> bool {
        // SAFETY: H1, by `begin`.
        unsafe { self.core.hosted().may_end() }
    }
}

impl<E: Send + 'static> Drop for Turn<'_, E> {
    fn drop(&mut self) {
        // SAFETY: H1, by `begin`.
        unsafe { self.core.hosted().finish(self.core.node(), self.shared) };
    }
}

impl<F, T, E: Send + 'static, H: Host> fmt::Debug for LocalRun<'_, '_, F, T, E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.group.core.debug("LocalRun", f)
    }
}
