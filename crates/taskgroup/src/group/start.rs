//! `start`: a child that belongs to its starter until it says that it is ready (R20).
//!
//! The child stands in its group's books from the beginning, so the group's cancel cuts it and the group
//! waits for it. A *link* stands under the starter's region meanwhile: it carries the region's cancel to the
//! child, and keeps the region from being dropped before the child has ended (R12). Whoever resolves the
//! start takes the child out of the link, detaches the link, and wakes who waits for that.
//!
//! What the child's future comes to before `ready` is kept in [`Shared`] for the starter and diverted from
//! the group. The starter reads it when the child has ended, so what it is told happens after the drop.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::core::{GroupCore, ToGroup};
use super::spawn::Options;
use crate::error::StartError;
use crate::sync::{Arc, Mutex, lock};
use crate::task::{Ended, Panic, Reporter, Task, catch};
use crate::trace::Fields;
use crate::tree::{self, CancelCause, CancelReason, DropMode, Member, Node, NodeKind, NodeRef};
use crate::{error, lost};

/// By this a started child says that it is ready, with a value for its starter.
///
/// Dropping it says nothing: the starter then waits until the child ends.
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
    sink: Arc<dyn ReadySink<R>>,
}

impl<R> Ready<R> {
    /// Tells the starter. From now on the child is its group's, like any other.
    pub fn ready(self, value: R) {
        self.sink.ready(value);
    }
}

impl<R> fmt::Debug for Ready<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

trait ReadySink<R>: Send + Sync {
    fn ready(&self, value: R);
}

struct Shared<R, E> {
    state: Mutex<State<R, E>>,
}

struct State<R, E> {
    progress: Progress<R, E>,
    /// The starter, to be woken by `ready`.
    waker: Option<Waker>,
    link: Option<Arc<Link>>,
    /// The child's future has been dropped.
    ended: bool,
}

enum Progress<R, E> {
    Waiting,
    Ready(R),
    Failed(E),
    Panicked(Panic),
    /// Nothing more to tell: taken by the starter, or the child is its group's.
    Told,
}

impl<R, E> Shared<R, E> {
    /// Keeps what came before `ready` for the starter; gives it back if it came after.
    fn divert<W>(&self, what: W, keep: impl FnOnce(W) -> Progress<R, E>) -> Option<W> {
        let mut state = lock(&self.state);
        match state.progress {
            Progress::Waiting => {
                state.progress = keep(what);
                None
            }
            _ => Some(what),
        }
    }
}

impl<R: Send, E: Send> ReadySink<R> for Shared<R, E> {
    fn ready(&self, value: R) {
        let mut state = lock(&self.state);
        if !matches!(state.progress, Progress::Waiting) {
            drop(state);
            return drop(value);
        }
        state.progress = Progress::Ready(value);
        let (waker, link) = (state.waker.take(), state.link.take());
        drop(state);
        if let Some(link) = link {
            link.resolve();
        }
        if let Some(waker) = waker {
            tree::wake(waker);
        }
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
    struct Starting<F, R, E> {
        #[pin]
        future: F,
        shared: Arc<Shared<R, E>>,
        // Behind the future, so that it is dropped after it.
        on_end: OnEnd<R, E>,
    }
}

/// Resolves the link when the child's future is gone: the starter's region may be frozen then, and nobody
/// else would.
struct OnEnd<R, E>(Arc<Shared<R, E>>);

impl<R, E> Drop for OnEnd<R, E> {
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

impl<F, R, T, E> Future for Starting<F, R, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Ended<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match catch(|| this.future.poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(value))) => Poll::Ready(Ended::Value(value)),
            Ok(Poll::Ready(Err(error))) => Poll::Ready(match this.shared.divert(error, Progress::Failed) {
                Some(error) => Ended::Error(error),
                None => Ended::Diverted { panicked: false },
            }),
            Err(panic) => Poll::Ready(match this.shared.divert(panic, Progress::Panicked) {
                Some(panic) => Ended::Panicked(panic),
                None => Ended::Diverted { panicked: true },
            }),
        }
    }
}

/// What `start` gives.
pub(super) type Started<R, T, E> = Result<(R, Task<T>), StartError<E>>;

pub(super) async fn start<R, T, F, Fut, E>(
    core: &Arc<GroupCore<E>>,
    make: F,
    options: Options,
) -> Started<R, T, E>
where
    F: FnOnce(Ready<R>) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    R: Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let location = options.location;
    let state = State { progress: Progress::Waiting, waker: None, link: None, ended: false };
    let shared = Arc::new(Shared::<R, E> { state: Mutex::new(state) });
    let future = make(Ready { sink: Arc::clone(&shared) as Arc<dyn ReadySink<R>> });
    let on_end = OnEnd(Arc::clone(&shared));
    let task = core.spawn(Starting { future, shared: Arc::clone(&shared), on_end }, options);
    let mut pending = Pending { core, task: Some(task), shared };
    pending.link(location);
    std::future::poll_fn(|cx| pending.poll(cx)).await
}

/// Puts a starting child under the cancel of the region that starts it, unless it has been resolved already.
fn link<R, E>(region: &NodeRef, shared: &Shared<R, E>, node: Node, child: NodeRef) {
    let link = Arc::new(Link { node, child: Mutex::new(Some(child)) });
    let member = Arc::clone(&link) as NodeRef;
    let cancelled = tree::attach_member(region, &member);
    let mut state = lock(&shared.state);
    let resolved = state.ended || matches!(state.progress, Progress::Ready(_));
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

/// A start that has not been resolved. Dropping it drops the child.
struct Pending<'g, R, T: Send + 'static, E: Send + 'static> {
    core: &'g Arc<GroupCore<E>>,
    task: Option<Task<T>>,
    shared: Arc<Shared<R, E>>,
}

impl<R, T: Send + 'static, E: Send + 'static> Pending<'_, R, T, E> {
    fn task(&self) -> &Task<T> {
        self.task.as_ref().expect("taken when the start resolves")
    }

    /// Puts the child under the cancel of the region that starts it.
    fn link(&self, location: &'static std::panic::Location<'static>) {
        let Some(region) = tree::with_current(|node| node.cloned()) else { return };
        let name = self.task().name().map(|name| name.to_owned().into());
        let node = Node::with_id(self.task().id(), NodeKind::Start, name, location);
        link(&region, &self.shared, node, self.task().member());
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Started<R, T, E>> {
        if tree::is_cut() {
            return Poll::Pending;
        }
        self.follow();
        let mut state = lock(&self.shared.state);
        if matches!(state.progress, Progress::Ready(_)) {
            let Progress::Ready(value) = std::mem::replace(&mut state.progress, Progress::Told) else {
                unreachable!("matched above")
            };
            drop(state);
            let task = self.task.take().expect("taken once");
            return Poll::Ready(Ok((value, task)));
        }
        let replaced = state.waker.replace(cx.waker().clone());
        drop(state);
        drop(replaced);
        if self.task().poll_ended(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Err(self.why_not()))
    }

    /// The child has ended without having become ready, or became so and ended.
    fn why_not(&mut self) -> StartError<E> {
        let progress = std::mem::replace(&mut lock(&self.shared.state).progress, Progress::Told);
        self.unlink();
        let task = self.task.take().expect("taken once");
        let group: NodeRef = self.core.member();
        let cause = task.member().node().cause();
        match (progress, cause) {
            (Progress::Failed(error), None) => StartError::Failed(error),
            (Progress::Failed(error), Some(cause)) => {
                match catch(|| ToGroup::without_cancelled(Some(&group), error)) {
                    Ok(Some(error)) => StartError::Failed(error),
                    Ok(None) => StartError::Cancelled(cause),
                    Err(panic) => StartError::Panicked(panic),
                }
            }
            (Progress::Panicked(panic), _) => StartError::Panicked(panic),
            (_, cause) => match task.into_result() {
                Err(error) if error.is_cancelled() => StartError::Cancelled(
                    cause.or_else(|| error.reason().cloned()).expect("a cancel has a cause"),
                ),
                _ => StartError::NotReady,
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

impl<R, T: Send + 'static, E: Send + 'static> Drop for Pending<'_, R, T, E> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let ready = matches!(lock(&self.shared.state).progress, Progress::Ready(_));
        if !ready {
            let cause = CancelCause::new(CancelReason::GroupDropped, task.member().node().info());
            tree::drop_subtree(&task.member(), cause, DropMode::Wait);
        }
        self.unlink();
        let progress = std::mem::replace(&mut lock(&self.shared.state).progress, Progress::Told);
        let error = match &progress {
            Progress::Panicked(panic) => panic.to_string(),
            Progress::Failed(error) => format!("failed: {}", error::error_text(error)),
            _ => return,
        };
        let info = task.info();
        let fields =
            Fields { group: Some(self.core.node().id().as_u64()), error: Some(&error), ..info.fields() };
        lost::report_with(&fields, format_args!("{info} {error}; its start had been dropped"));
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
    fn resolve_against_cancel(seen: &'static [AtomicBool; 2], resolve: fn(Arc<Shared<u8, ()>>)) {
        loom::model(move || {
            let region = plain(NodeKind::Body);
            let child = plain(NodeKind::Task);
            let state = State { progress: Progress::Waiting, waker: None, link: None, ended: false };
            let shared = Arc::new(Shared::<u8, ()> { state: Mutex::new(state) });
            let resolver = thread::spawn({
                let shared = Arc::clone(&shared);
                move || resolve(shared)
            });
            let start = Node::new(NodeKind::Start, None, std::panic::Location::caller());
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
        resolve_against_cancel(&SEEN, |shared| shared.ready(1));
    }

    #[test]
    fn loom_the_childs_end_against_the_starters_cancel() {
        static SEEN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
        resolve_against_cancel(&SEEN, |shared| drop(OnEnd(shared)));
    }
}
