//! The future of `run`: the body, then the exit.

use std::fmt;
use std::future::{Future, Ready};
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::clock::{Clock, Look};
use super::core::{GroupCore, ToGroup};
use super::region::{Body, BodyEnd, Step};
use crate::error::ErrorGroup;
use crate::sync::Arc;
use crate::task::{Problem, Reporter, catch, hand_over_groups};
use crate::trace::Span;
use crate::tree::{self, Member, NodeRef};

pin_project! {
    /// The future of [`TaskGroup::run`](super::TaskGroup::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops every task of the group before the drop returns.
    #[must_use = "futures do nothing unless polled"]
    pub struct Run<'g, F, T, E>
    where
        E: Send,
        E: 'static,
    {
        core: &'g Arc<GroupCore<E>>,
        #[pin]
        future: Option<F>,
        phase: Phase<T>,
        clock: Clock,
        span: Span,
        location: &'static Location<'static>,
        value: PhantomData<fn() -> T>,
    }

    impl<F, T, E: Send> PinnedDrop for Run<'_, F, T, E> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            match this.phase {
                Phase::New(_) | Phase::Done => {}
                Phase::Body(_) | Phase::Exit(_) => {
                    let _inside = this.span.enter();
                    this.core.end_by_drop();
                    // Here, so that its destructors are inside the span too.
                    this.future.set(None);
                }
            }
        }
    }
}

enum Phase<T> {
    /// Without a body there is a value from the beginning.
    New(Option<T>),
    Body(Arc<Body>),
    /// The body has ended, with a value if it returned one.
    Exit(Option<T>),
    Done,
}

impl<'g, F, T, E> Run<'g, F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    pub(super) fn new(core: &'g Arc<GroupCore<E>>, body: F, location: &'static Location<'static>) -> Self {
        Self::with(core, Some(body), None, location)
    }

    fn with(
        core: &'g Arc<GroupCore<E>>,
        future: Option<F>,
        value: Option<T>,
        location: &'static Location<'static>,
    ) -> Self {
        let (phase, clock, span) = (Phase::New(value), Clock::default(), Span::default());
        Self { core, future, phase, clock, span, location, value: PhantomData }
    }
}

impl<'g, E: Send + 'static> Run<'g, Ready<Result<(), E>>, (), E> {
    /// As with a body that has nothing to do.
    pub(super) fn without_body(core: &'g Arc<GroupCore<E>>, location: &'static Location<'static>) -> Self {
        Self::with(core, None, Some(()), location)
    }
}

impl<F, T, E> Future for Run<'_, F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    type Output = Result<T, ErrorGroup<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let first = matches!(this.phase, Phase::New(_));
        let mut running = first;
        loop {
            match this.phase {
                Phase::New(value) => {
                    this.core.begin_run();
                    let node = this.core.node();
                    *this.span = Span::of_group(node.name(), node.id().as_u64());
                    *this.phase = match this.future.is_some() {
                        true => Phase::Body(Body::open(&this.core.member(), this.location)),
                        false => Phase::Exit(value.take()),
                    };
                }
                Phase::Body(body) => {
                    let _inside = this.span.enter();
                    let running = std::mem::take(&mut running);
                    let end = match body.poll(this.future.as_mut(), cx, running) {
                        Step::Ended(end) => end,
                        Step::Waits(until) => match this.clock.look(this.core, until, cx) {
                            Look::Wait => return Poll::Pending,
                            Look::Again => continue,
                            Look::Forced => body.give_up(this.future.as_mut()),
                        },
                    };
                    let value = end_body(this.core, body, end);
                    *this.phase = Phase::Exit(value);
                }
                Phase::Exit(value) => {
                    let inside = this.span.enter();
                    if !this.core.poll_exit(cx.waker()) {
                        // A cancel from now on wakes this host: the clock has something to look at then. One that
                        // was there before, it sees.
                        let _uncancelled = this.core.node().register_waker(cx.waker());
                        match this.clock.look(this.core, None, cx) {
                            Look::Wait => return Poll::Pending,
                            Look::Again | Look::Forced => continue,
                        }
                    }
                    // A wait in a cancelled host does not complete; only failures are delivered to it (R9, R12).
                    let completes = !tree::is_cut() || (first && value.is_some());
                    if !completes && !this.core.has_failures() {
                        return Poll::Pending;
                    }
                    let value = value.take().filter(|_| !this.core.cut_by_deadline());
                    *this.phase = Phase::Done;
                    let result = exit(this.core, value);
                    drop(inside);
                    *this.span = Span::default();
                    return Poll::Ready(result);
                }
                Phase::Done => panic!("the future of `run` was polled after it had completed"),
            }
        }
    }
}

/// Enters the body's end in the books. Returns its value.
pub(crate) fn end_body<T, E: Send + 'static>(
    core: &Arc<GroupCore<E>>,
    body: &Arc<Body>,
    end: BodyEnd<Result<T, E>>,
) -> Option<T> {
    let group: NodeRef = core.member();
    let node = body.node();
    let value = match end {
        BodyEnd::Returned(Ok(value)) => Some(value),
        BodyEnd::Returned(Err(error)) => {
            let failure = match node.is_cancelled() {
                true => catch(|| ToGroup::without_cancelled(Some(&group), error)),
                false => Ok(Some(error)),
            };
            match failure {
                Ok(Some(error)) => ToGroup::report(Some(&group), node, Problem::Error(error)),
                Ok(None) => {}
                Err(panic) => ToGroup::<E>::report(Some(&group), node, Problem::Panic(panic)),
            }
            None
        }
        BodyEnd::Panicked(panic) => {
            ToGroup::<E>::report(Some(&group), node, Problem::Panic(panic));
            None
        }
        BodyEnd::Cut => None,
    };
    hand_over_groups(node, Some(&group));
    tree::hand_up(node, group.node().parent().as_ref());
    drop(tree::detach(node));
    value
}

pub(crate) fn exit<T, E: Send + 'static>(
    core: &Arc<GroupCore<E>>,
    value: Option<T>,
) -> Result<T, ErrorGroup<E>> {
    let account = core.settle();
    match value {
        Some(value) if account.failures.is_empty() && account.more == 0 => Ok(value),
        _ => Err(ErrorGroup::new(core.node().info(), account.failures, account.more, account.cause)),
    }
}

impl<F, T, E: Send + 'static> fmt::Debug for Run<'_, F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.debug("Run", f)
    }
}
