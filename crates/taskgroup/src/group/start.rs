//! `start`: a child that belongs to its starter until it says that it is ready (R20).
//!
//! The child stands in its group's books from the beginning, so the group's cancel cuts it and the group
//! waits for it. A *link* stands under the starter's region meanwhile: it carries the region's cancel to the
//! child, and keeps the region from being dropped before the child has ended (R12). Whoever resolves the
//! start takes the child out of the link, detaches the link, and wakes who waits for that.
//!
//! What the child's future comes to before `ready` is kept in [`Shared`] for the starter and diverted from
//! the group. The starter reads it when the child has ended, so what it is told happens after the drop. The value of
//! `ready` lies in a [`Slot`], which alone has its type.
//!
//! Groups of every kind start their children here; they differ in the [`Handle`].

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::core::{GroupCore, ToGroup};
use crate::error::StartError;
use crate::sync::{Arc, Mutex, lock};
use crate::task::{Ended, Problem, Reporter, Task, catch};
use crate::trace::Fields;
use crate::tree::{self, CancelCause, CancelReason, DropMode, Member, Node, NodeInfo, NodeKind, NodeRef};
use crate::{error, lost};

/// By this a started child says that it is ready, with a value for its starter.
///
/// It may go wherever the value may. Dropping it says nothing: the starter then waits until the child ends.
///
/// ```
/// # use taskgroup::Ready;
/// async fn serve(ready: Ready<u16>) -> anyhow::Result<()> {
///     ready.ready(8080);
///     Ok(())
/// }
/// ```
#[must_use = "the starter waits until `ready` is called"]
pub struct Ready<R> {
    slot: Arc<Slot<R>>,
    sink: Arc<dyn ReadySink>,
}

/// What the child is ready with: put in by it before it says so, taken out by whoever may have it then.
struct Slot<R>(Mutex<Option<R>>);

impl<R> Slot<R> {
    fn take(&self) -> Option<R> {
        lock(&self.0).take()
    }
}

impl<R> Ready<R> {
    /// Tells the starter. From now on the child is its group's, like any other.
    pub fn ready(self, value: R) {
        *lock(&self.slot.0) = Some(value);
        if !self.sink.ready() {
            let unwanted = self.slot.take();
            drop(unwanted);
        }
    }
}

impl<R> fmt::Debug for Ready<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

trait ReadySink: Send + Sync {
    /// Whether the starter takes what is in the slot.
    fn ready(&self) -> bool;
}

struct Shared<E> {
    state: Mutex<State<E>>,
}

struct State<E> {
    progress: Progress<E>,
    /// The starter, to be woken by `ready`.
    waker: Option<Waker>,
    link: Option<Arc<Link>>,
    /// The child's future has been dropped.
    ended: bool,
}

impl<E> State<E> {
    fn new() -> Self {
        Self { progress: Progress::Waiting, waker: None, link: None, ended: false }
    }
}

enum Progress<E> {
    Waiting,
    Ready,
    Failed(Problem<E>),
    /// The start was dropped: who is told by the log if the child still fails.
    GivenUp(Starter),
    /// Nothing more to tell: taken by the starter, or the child is its group's.
    Told,
}

impl<E: 'static> Shared<E> {
    /// Keeps what came before `ready` for the starter; gives it back if it came after.
    fn divert(&self, problem: Problem<E>) -> Option<Problem<E>> {
        let mut state = lock(&self.state);
        match &state.progress {
            Progress::Waiting => state.progress = Progress::Failed(problem),
            Progress::GivenUp(starter) => {
                let starter = starter.clone();
                drop(state);
                starter.report(&problem);
            }
            _ => return Some(problem),
        }
        None
    }
}

impl<E: Send + 'static> ReadySink for Shared<E> {
    fn ready(&self) -> bool {
        let mut state = lock(&self.state);
        if !matches!(state.progress, Progress::Waiting) {
            return false;
        }
        state.progress = Progress::Ready;
        let (waker, link) = (state.waker.take(), state.link.take());
        drop(state);
        if let Some(link) = link {
            link.resolve();
        }
        if let Some(waker) = waker {
            tree::wake(waker);
        }
        true
    }
}

/// Of whom the log speaks: the child, and the group in which it was started.
#[derive(Clone)]
struct Starter {
    child: NodeInfo,
    group: u64,
}

impl Starter {
    /// Tells of a failure that nobody else will hear of.
    fn report<E: 'static>(&self, problem: &Problem<E>) {
        let error = match problem {
            Problem::Panic(panic) => panic.to_string(),
            Problem::Error(error) => format!("failed: {}", error::error_text(error)),
        };
        let fields = Fields { group: Some(self.group), error: Some(&error), ..self.child.fields() };
        lost::report_with(&fields, format_args!("{} {error}; its start had been dropped", self.child));
    }
}

/// The pending start under the starter's region.
struct Link {
    node: Node,
    child: Mutex<Option<NodeRef>>,
}

impl Link {
    fn resolve(&self) {
        drop(lock(&self.child).take());
        drop(tree::detach(&self.node));
        if let Some(waker) = self.node.take_waker() {
            tree::wake(waker);
        }
    }
}

impl Member for Link {
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn forward(&self) -> Option<NodeRef> {
        lock(&self.child).clone()
    }
}

pin_project! {
    /// The future of the child: diverts its failure to the starter while it is not ready.
    pub(crate) struct Starting<F, E> {
        #[pin]
        future: F,
        shared: Arc<Shared<E>>,
        // Behind the future, so that it is dropped after it.
        on_end: OnEnd<E>,
    }
}

/// Resolves the link when the child's future is gone: the starter's region may be frozen then, and nobody
/// else would.
struct OnEnd<E>(Arc<Shared<E>>);

impl<E> Drop for OnEnd<E> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.ended = true;
        let link = state.link.take();
        drop(state);
        if let Some(link) = link {
            link.resolve();
        }
    }
}

impl<F, T, E> Future for Starting<F, E>
where
    F: Future<Output = Result<T, E>>,
    E: 'static,
{
    type Output = Ended<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let problem = match catch(|| this.future.poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(value))) => return Poll::Ready(Ended::Value(value)),
            Ok(Poll::Ready(Err(error))) => Problem::Error(error),
            Err(panic) => Problem::Panic(panic),
        };
        let panicked = matches!(problem, Problem::Panic(_));
        Poll::Ready(match this.shared.divert(problem) {
            None => Ended::Diverted { panicked },
            Some(Problem::Error(error)) => Ended::Error(error),
            Some(Problem::Panic(panic)) => Ended::Panicked(panic),
        })
    }
}

/// The handle of a child that is being started.
pub(crate) trait Handle<E: Send + 'static> {
    fn member(&self) -> NodeRef;

    /// Whether the child has ended, also for a region that is cancelled.
    fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Why the child, which has ended, was cancelled, if it was.
    fn into_cause(self) -> Option<CancelCause>;

    /// Nobody waits for the child to be ready any more: ends it.
    fn end_child(&self, core: &Arc<GroupCore<E>>, cause: CancelCause);
}

impl<T: Send + 'static, E: Send + 'static> Handle<E> for Task<T> {
    fn member(&self) -> NodeRef {
        Task::member(self)
    }

    fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        Task::poll_ended(self, cx)
    }

    fn into_cause(self) -> Option<CancelCause> {
        self.into_result().err().and_then(|error| error.reason().cloned())
    }

    fn end_child(&self, _core: &Arc<GroupCore<E>>, cause: CancelCause) {
        tree::drop_subtree(&self.member(), cause, DropMode::Wait);
    }
}

/// What `start` gives.
type Started<R, H, E> = Result<(R, H), StartError<E>>;

/// Starts a child, which `spawn` puts into the group.
pub(crate) async fn start<R, T, F, Fut, H, E>(
    core: &Arc<GroupCore<E>>,
    make: F,
    location: &'static Location<'static>,
    spawn: impl FnOnce(Starting<Fut, E>) -> H,
) -> Started<R, H, E>
where
    F: FnOnce(Ready<R>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    H: Handle<E>,
    E: Send + 'static,
{
    let shared = Arc::new(Shared::<E> { state: Mutex::new(State::new()) });
    let slot = Arc::new(Slot(Mutex::new(None)));
    let future = make(Ready { slot: Arc::clone(&slot), sink: Arc::clone(&shared) as Arc<dyn ReadySink> });
    let on_end = OnEnd(Arc::clone(&shared));
    let task = spawn(Starting { future, shared: Arc::clone(&shared), on_end });
    let mut pending = Pending { core, task: Some(task), slot, shared };
    pending.link(location);
    std::future::poll_fn(|cx| pending.poll(cx)).await
}

/// Puts a starting child under the cancel of the region that starts it, unless it has been resolved already.
fn link<E>(region: &NodeRef, shared: &Shared<E>, node: Node, child: NodeRef) {
    let link = Arc::new(Link { node, child: Mutex::new(Some(child)) });
    let member = Arc::clone(&link) as NodeRef;
    let cancelled = tree::attach_member(region, &member);
    let mut state = lock(&shared.state);
    let resolved = state.ended || matches!(state.progress, Progress::Ready);
    if !resolved {
        state.link = Some(Arc::clone(&link));
    }
    drop(state);
    match cancelled {
        _ if resolved => link.resolve(),
        Some(cause) => tree::cancel(&member, cause),
        None => {}
    }
}

/// A start that has not been resolved. Dropping it ends the child.
struct Pending<'g, R, H: Handle<E>, E: Send + 'static> {
    core: &'g Arc<GroupCore<E>>,
    task: Option<H>,
    slot: Arc<Slot<R>>,
    shared: Arc<Shared<E>>,
}

impl<R, H: Handle<E>, E: Send + 'static> Pending<'_, R, H, E> {
    fn task(&self) -> &H {
        self.task.as_ref().expect("taken when the start resolves")
    }

    /// Puts the child under the cancel of the region that starts it.
    fn link(&self, location: &'static Location<'static>) {
        let Some(region) = tree::with_current(|node| node.cloned()) else { return };
        let child = self.task().member();
        let name = child.node().name().map(|name| name.to_owned().into());
        let node = Node::with_id(child.node().id(), NodeKind::Start, name, location);
        link(&region, &self.shared, node, child);
    }

    /// The link goes where the start is polled.
    fn follow(&self) {
        let Some(link) = lock(&self.shared.state).link.clone() else { return };
        tree::follow_current(&(Arc::clone(&link) as NodeRef));
        if lock(&self.shared.state).link.is_none() {
            // Resolved meanwhile: it must not stand anywhere.
            link.resolve();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Started<R, H, E>> {
        if tree::is_cut() {
            return Poll::Pending;
        }
        self.follow();
        if let Some(started) = self.take_ready() {
            return Poll::Ready(Ok(started));
        }
        let replaced = lock(&self.shared.state).waker.replace(cx.waker().clone());
        drop(replaced);
        let ended = self.task().poll_ended(cx).is_ready();
        // Looked at after both: the child may have become ready meanwhile, and have ended too.
        match self.take_ready() {
            Some(started) => Poll::Ready(Ok(started)),
            None if ended => Poll::Ready(Err(self.why_not())),
            None => Poll::Pending,
        }
    }

    fn take_ready(&mut self) -> Option<(R, H)> {
        let mut state = lock(&self.shared.state);
        if !matches!(state.progress, Progress::Ready) {
            return None;
        }
        state.progress = Progress::Told;
        drop(state);
        let value = self.slot.take().expect("put in before the child was ready");
        Some((value, self.task.take().expect("taken once")))
    }

    /// The child has ended without having become ready.
    fn why_not(&mut self) -> StartError<E> {
        let progress = std::mem::replace(&mut lock(&self.shared.state).progress, Progress::Told);
        self.unlink();
        let task = self.task.take().expect("taken once");
        let group: NodeRef = self.core.member();
        let cause = task.member().node().cause();
        match (progress, cause) {
            (Progress::Failed(Problem::Error(error)), None) => StartError::Failed(error),
            (Progress::Failed(Problem::Error(error)), Some(cause)) => {
                match catch(|| ToGroup::without_cancelled(Some(&group), error)) {
                    Ok(Some(error)) => StartError::Failed(error),
                    Ok(None) => StartError::Cancelled(cause),
                    Err(panic) => StartError::Panicked(panic),
                }
            }
            (Progress::Failed(Problem::Panic(panic)), _) => StartError::Panicked(panic),
            (_, cause) => match task.into_cause() {
                Some(own) => StartError::Cancelled(cause.unwrap_or(own)),
                None => StartError::NotReady,
            },
        }
    }

    fn unlink(&self) {
        let link = lock(&self.shared.state).link.take();
        if let Some(link) = link {
            link.resolve();
        }
    }
}

impl<R, H: Handle<E>, E: Send + 'static> Drop for Pending<'_, R, H, E> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let starter = Starter { child: task.member().node().info(), group: self.core.node().id().as_u64() };
        let mut state = lock(&self.shared.state);
        let after = match state.progress {
            Progress::Waiting => Progress::GivenUp(starter.clone()),
            _ => Progress::Told,
        };
        let before = std::mem::replace(&mut state.progress, after);
        drop(state);
        if let Progress::Waiting = before {
            let cause = CancelCause::new(CancelReason::GroupDropped, starter.child.clone());
            task.end_child(self.core, cause);
        }
        self.unlink();
        if let Progress::Failed(problem) = before {
            starter.report(&problem);
        }
        let unwanted = self.slot.take();
        drop(unwanted);
    }
}

#[cfg(all(test, taskgroup_loom))]
mod loom_tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use loom::future::block_on;
    use loom::thread;

    use super::*;
    use crate::tree::Turn;
    use crate::tree::loom_support::{cancel, plain};

    /// `ready`, or the child's end, on one thread; the starter's cancel, and the wait for the start to be
    /// resolved, on another. Whatever comes first, the frozen region is let go.
    fn resolve_against_cancel(seen: &'static [AtomicBool; 2], resolve: fn(Arc<Shared<()>>)) {
        loom::model(move || {
            let region = plain(NodeKind::Body);
            let child = plain(NodeKind::Task);
            let shared = Arc::new(Shared::<()> { state: Mutex::new(State::new()) });
            let resolver = thread::spawn({
                let shared = Arc::clone(&shared);
                move || resolve(shared)
            });
            let start = Node::new(NodeKind::Start, None, Location::caller());
            link(&region, &shared, start, Arc::clone(&child));
            cancel(&region);
            block_on(std::future::poll_fn(|cx| {
                match tree::turn(region.node(), cx, false, |_| Poll::<()>::Pending) {
                    Turn::Cut => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            }));
            resolver.join().unwrap();
            assert!(region.node().members_snapshot().is_empty(), "the link is gone");
            seen[usize::from(child.node().is_cancelled())].store(true, Ordering::SeqCst);
        });
        // Resolved before the cancel the child is its group's; else the cancel has reached it.
        for outcome in seen {
            assert!(outcome.load(Ordering::SeqCst), "the model never reached one of the outcomes");
        }
    }

    #[test]
    fn loom_ready_against_the_starters_cancel() {
        static SEEN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
        resolve_against_cancel(&SEEN, |shared| assert!(shared.ready()));
    }

    #[test]
    fn loom_the_childs_end_against_the_starters_cancel() {
        static SEEN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
        resolve_against_cancel(&SEEN, |shared| drop(OnEnd(shared)));
    }
}
