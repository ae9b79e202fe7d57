//! Who polls a cell: the drivers of its group's crew, or, for a closure, a thread of the runtime's pool. The only
//! module that gives work to the runtime.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::coop;

use super::cell::{Reporter, TaskCell};
use super::outcome::Ended;
use crate::sync::Arc;
use crate::tree::{self, DriverKey, Look, Member, Next, NodeKind, NodeRef, Threads};

/// At most so many children are polled by one poll of a driver; then others of the runtime have their turn.
const POLLS_MAX: usize = 32;
/// At least so many: it takes two to measure.
const POLLS_MIN: usize = 2;
/// About so long should one poll of a driver take: for tokio, which looks at timers and sockets between every so many
/// polls, it is one poll of one task.
const POLL_SHORT: Duration = Duration::from_micros(50);
const POLL_LONG: Duration = Duration::from_micros(200);

/// With how many threads a runtime polls.
pub(crate) fn threads(runtime: &Handle) -> Threads {
    match runtime.runtime_flavor() {
        RuntimeFlavor::CurrentThread => Threads::One,
        RuntimeFlavor::MultiThread if runtime.metrics().num_workers() == 1 => Threads::OneWorker,
        _ => Threads::Workers,
    }
}

/// A task of the runtime that polls the children of one group: see `tree/crew.rs`.
pub(crate) struct Driver {
    group: NodeRef,
    key: DriverKey,
    stage: Stage,
    /// How many children one poll polls, by the time that the last ones took.
    polls_max: usize,
}

/// What the runtime finds when it drops a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Scheduled or parked.
    Waiting,
    Polling,
    Over,
}

impl Driver {
    pub(crate) fn new(group: NodeRef, key: DriverKey) -> Self {
        Self { group, key, stage: Stage::Waiting, polls_max: POLLS_MAX }
    }
}

impl Driver {
    /// The children of one poll, but for the first, took so long.
    fn adapt(&mut self, took: Duration) {
        if took < POLL_SHORT {
            self.polls_max = (2 * self.polls_max).min(POLLS_MAX);
        } else if took > POLL_LONG {
            self.polls_max = (self.polls_max / 2).max(POLLS_MIN);
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (mut look, mut again, mut polls, mut polls_max) = (Look::First, None, 0, this.polls_max);
        let (mut round, mut began) = (None, None);
        this.stage = Stage::Polling;
        loop {
            match this.group.node().next_ready(this.key, look, again.take(), cx.waker()) {
                Next::Poll(member, owed, waiting) => {
                    let first = *round.get_or_insert(1 + waiting);
                    owed.into_iter().for_each(|owed| tree::pay(&this.group, owed));
                    if polls == 1 {
                        began = Some(Instant::now());
                    }
                    tree::take_has_woken();
                    again = member.poll_once();
                    polls += 1;
                    if again.is_some() {
                        // It yields, and not only to its siblings: each has its turn, then the others of the runtime.
                        polls_max = polls_max.min(first);
                    }
                    if polls >= this.polls_max
                        && let Some(began) = began
                    {
                        this.adapt(began.elapsed());
                    }
                    // Whom the child has woken outside the group must not wait for the next one.
                    let enough =
                        polls >= polls_max || tree::take_has_woken() || !coop::has_budget_remaining();
                    look = if enough { Look::Last } else { Look::Again };
                }
                Next::Park => {
                    this.stage = Stage::Waiting;
                    return Poll::Pending;
                }
                Next::Yield => {
                    this.stage = Stage::Waiting;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::Over(left) => {
                    this.stage = Stage::Over;
                    drop::<[VecDeque<NodeRef>; 2]>(left);
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl Drop for Driver {
    /// Dropped before it was over: the runtime is shut down. Nobody will poll the children again, they end here.
    fn drop(&mut self) {
        if self.stage == Stage::Over {
            return;
        }
        tree::forget_driver(self.group.node(), self.key, self.stage == Stage::Polling);
        for member in self.group.node().members_snapshot() {
            if member.node().kind() == NodeKind::Task {
                member.shut_down();
            }
        }
    }
}

/// Spawns a driver for the crew of `group`.
pub(crate) fn spawn_driver(runtime: &Handle, group: NodeRef, key: DriverKey) {
    drop(runtime.spawn(Driver::new(group, key)));
}

/// What the runtime's pool holds of a closure: enough to call it, nothing that lives on when it is dropped.
struct Call<C: Member>(Arc<C>);

impl<C: Member> Drop for Call<C> {
    /// After the call there is nothing left to do; before it, the pool has been shut down.
    fn drop(&mut self) {
        Arc::clone(&self.0).shut_down();
    }
}

/// Gives a blocking child to the runtime's pool of threads. Its future is ready at its first poll.
pub(crate) fn place_blocking<F, T, R>(runtime: &Handle, cell: Arc<TaskCell<F, T, R>>)
where
    F: Future + Send + 'static,
    F::Output: Into<Ended<T, R::Error>>,
    T: Send + 'static,
    R: Reporter,
{
    let call = Call(cell);
    drop(runtime.spawn_blocking(move || {
        let _not_woken = Arc::clone(&call.0).poll_once();
    }));
}
