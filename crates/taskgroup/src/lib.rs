//! Structured concurrency for tokio: a task group that owns its tasks, and nothing outlives its group.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
//! # async fn fetch(page: &str) -> anyhow::Result<String> { Ok(page.to_owned()) }
//! let (news, weather) = taskgroup::scope(async |tg| {
//!     let news = tg.spawn(fetch("news"));
//!     let weather = tg.spawn(fetch("weather"));
//!     Ok((news.await?, weather.await?))
//! })
//! .await?;
//! # assert_eq!((news.as_str(), weather.as_str()), ("news", "weather"));
//! # Ok(()) }
//! ```
//!
//! [`scope()`] returns when the body and every task spawned in it have ended. If one fails, the others are
//! cancelled; all failures come out together, as one [`ErrorGroup`], to be handled by type with
//! [`except`](ErrorGroup::except). If the future of the scope is dropped (by a `select!`, an abort, tokio's
//! `timeout`), the futures of all its tasks are dropped before that drop returns.
//!
//! # Where to look
//!
//! | you want to | see |
//! |---|---|
//! | open a group around a closure | [`scope()`], with settings [`Builder::scope`] |
//! | keep a group in a struct, or give it a plain future | [`TaskGroup`], [`TaskGroup::run`], [`TaskGroup::join`] |
//! | spawn from children, other tasks, plain threads | [`Spawner`] |
//! | run futures that borrow, or are not `Send` | [`local_scope()`], [`LocalGroup`] |
//! | have them borrow inside a future that is itself spawned | [`SendLocalGroup`] |
//! | name a task, keep it in the background, poll it at once | [`TaskGroup::task`] |
//! | have few of many tasks run at a time | [`Builder::limit`], over several groups [`Limiter`] |
//! | spawn no faster than tasks end | [`TaskGroup::spawn_when_ready`], [`TaskGroup::ready`] |
//! | wait until a server listens | [`TaskGroup::start`] |
//! | run blocking code that can be told to stop | [`TaskGroup::spawn_blocking`], [`CancelToken`] |
//! | run one piece of work over many items, so many at a time | [`map()`], [`map_stream`]; as they complete: [`Map::as_completed`], in order: [`Map::ordered`] |
//! | the same with items that borrow, or are not `Send` | [`map_local`], [`map_local_stream`] |
//! | await or cancel one task | [`Task`] |
//! | run many futures and have all their values, in order | [`gather()`] |
//! | have the first answer, or the first success | [`race()`], [`first_ok()`] |
//! | take results as they come | [`as_completed()`] |
//! | await futures of different types together | [`scope()`], under *Values of different types* |
//! | handle failures by their type | [`ErrorGroup::except`] |
//! | limit the time of some work, of a group | [`timeout`], [`timeout_at`]; [`Builder::timeout`], [`Builder::deadline`] |
//! | know how much time there is | [`deadline()`] |
//! | cancel a part of a task, or move its deadline | [`CancelScope`], [`ScopeHandle`] |
//! | finish a step in spite of a cancel | [`shield_for`], [`shield()`] |
//! | clean up with awaits, however the work ended | [`finally()`], [`finally_for`] |
//! | ask a task to end instead of cutting it | [`TaskBuilder::cooperative`], [`cancelled()`] |
//! | bound how long an end may take | [`Builder::grace`], [`TaskBuilder::grace`] |
//! | stop a long computation | [`checkpoint()`], [`is_cancelled()`] |
//! | stop code that is not a task, or hand a cancel on | [`CancelToken`], [`TaskGroup::token`] |
//! | know why something was cancelled | [`CancelCause`] |
//! | run a whole program, Ctrl-C and exit code included | [`run()`], [`Runner`] |
//! | know what became of the tasks | [`TaskGroup::report`] |
//! | know who holds up the exit | [`TaskGroup::stragglers`]; after ten seconds the log, [`Builder::slow_exit`] |
//!
//! # What cancelling means
//!
//! A cancel marks a task, a group or a scope, and everything below it. Code that stands at an await is cut there:
//! none of it runs any more. First the groups it owns come to their end, innermost first; then its future is
//! dropped. Code that is running goes on to its next wait (an await that is not ready at once); if it ends before
//! one, its value or its error counts. So a task that never waits cannot be cut: let it await a
//! [`checkpoint()`], or look at [`is_cancelled()`]. It is a state, not a signal: once cancelled, no later wait
//! comes back.
//!
//! Not everything is cut:
//!
//! * A [`shield()`] runs to its end, and so does the cleanup of a [`finally()`]; then the code around is cut.
//! * A [cooperative](TaskBuilder::cooperative) task and a [blocking closure](TaskGroup::spawn_blocking) are told by
//!   their [`CancelToken`], and end by themselves.
//! * When the [grace period](Builder::grace) is over, all that is left is dropped, but for closures: nobody can
//!   end a thread. Without one the group waits as long as it takes.
//!
//! A time limit that has passed is a cancel of what it is around: [`timeout`] waits until that has ended, and then
//! gives [`Elapsed`]; a signal under [`run()`] is a cancel of everything. *Dropping* a future (`select!`, tokio's
//! `timeout`) is no cancel: all below is dropped at once, and no async code runs any more.
//!
//! Cancellation is not a failure: it is never a leaf of an [`ErrorGroup`], and cancelling one task fails
//! nobody. Real errors beat it: if a cancelled group produces an error while it drains, that error comes out.
//!
//! One trap: where a cancelled task polls several futures together (`join!`, `select!`), and one of them is a
//! shield, or a group that ended with failures, the task is polled for it, and the other branches run in those
//! polls too. The page `docs/cancellation.md` in the repository has the others, and tells step by step what happens.
//!
//! # Features
//!
//! * `signal` (default): [`run()`] and [`Runner`], with tokio's `signal` and `rt-multi-thread`.
//! * `tracing` (default): groups and tasks open spans, and what happens to them becomes events, all with the
//!   target `taskgroup`. Nothing is made where no subscriber listens.
//! * `tokio-util`: `CancelToken::to_tokio_util` and `CancelToken::from_tokio_util`, to and from the
//!   `CancellationToken` of tokio-util.
//!
//! The *spans* are `group{name id}`, from the first poll of `run`, `join` or `scope` to the exit, and
//! `task{name id group}`, from the spawn to the task's end. The parent of either is the span current there, so
//! a task spawned in the body of a group is under the group, and one spawned inside a span of your own is under
//! that. What a task logs is inside its span, also what its destructors log when it is cut. Spans of what has a
//! name are at `INFO`, of what has none at `DEBUG`; where a task's span is filtered out, the span current at
//! the spawn is the parent of what it logs.
//!
//! ```text
//! INFO group{name="crawl" id=1}:task{name="page 7" id=3 group=1}: app: fetched bytes=5120
//! ```
//!
//! The *events*:
//!
//! | level | event | fields beside `name` and `id` |
//! |---|---|---|
//! | `ERROR` | a failure that nobody can be told of; without a subscriber a line on standard error | where known `location`, `group`, `path`, `error` |
//! | `WARN` | a grace period was over: the group, and each task in it that had not ended, was dropped | `location`, `waited`; of a task `group` |
//! | `WARN` | an exit takes long: who holds it up ([`Builder::slow_exit`]); without a subscriber a line on standard error | `location`, `path`, `age`, `state`, `since_cancel`, `group` |
//! | `DEBUG` | a task or body failed or panicked; its group has the error or the payload | `location`, `group`, `path`, `error` |
//! | `DEBUG` | a group was cancelled | `location`, `cause` |

// The pages show everything; the features are on for them.
mod bulk;
#[cfg(all(doctest, feature = "signal"))]
mod doc_tests;
mod error;
mod group;
mod local;
mod lost;
#[cfg(feature = "signal")]
mod run;
mod slow_exit;
mod sync;
mod task;
mod time;
mod timer;
mod trace;
mod tree;

pub use bulk::{
    AllThreads, AsCompleted, Completed, InTask, IndexedMapStream, Items, Joined, LocalMap, LocalMapStream,
    Map, MapKind, MapStream, as_completed, first_ok, gather, map, map_local, map_local_stream, map_stream,
    race,
};
pub use error::{Error, ErrorGroup, Except, Failure, Leaves, StartError};
pub use group::{
    Builder, CancelToken, GroupReport, Limiter, OnDrop, OnFailure, OnPanic, Permit, Place, Ready, Run,
    ScopeBody, Spawner, TaskBuilder, TaskGroup, TrySpawnError, scope,
};
pub use local::{
    AnyThread, Fits, Host, HostedGroup, LocalBuilder, LocalGroup, LocalRun, LocalSpawner, LocalTask,
    LocalTaskBuilder, SameThread, SendLocalGroup, local_scope,
};
#[cfg(feature = "signal")]
pub use run::{Outcome, Runner, run};
pub use task::{Panic, Task, TaskError};
pub use time::{
    CancelScope, Elapsed, Ending, RescheduleError, ScopeHandle, cancelled, checkpoint, finally, finally_for,
    shield, shield_for, timeout, timeout_at,
};
pub use tree::{
    CancelCause, CancelEnd, CancelReason, Cancelled, Chain, ChildEnd, ChildRecord, Id, NodeInfo, NodeKind,
    Signal, Straggler, StragglerState, current, deadline, is_cancelled,
};
