//! The shared heart of a group: its node, its settings, its ledger of failures, and its two ends.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::builder::{OnFailure, OnPanic, Settings};
use super::clock::Deadline;
use super::limit::GroupLimit;
use crate::error::{self, Failure};
use crate::local::Hosted;
use crate::lost;
use crate::sync::{Arc, Mutex, lock};
use crate::task::{self, Problem, Reporter, catch};
use crate::trace::{self, Fields};
use crate::tree::{
    self, CancelCause, CancelReason, DriverKey, Hold, Member, Node, NodeInfo, NodeKind, NodeRef, Threads,
    WaitKey,
};

pub(crate) struct GroupCore<E> {
    node: Node,
    settings: Settings<E>,
    runtime: OnceLock<Handle>,
    deadline: OnceLock<Deadline>,
    limit: Option<Arc<GroupLimit>>,
    ledger: Mutex<Ledger<E>>,
    /// Of a group that polls its children itself.
    hosted: Option<Hosted>,
    lacks_clock: AtomicBool,
}

struct Ledger<E> {
    stage: Stage,
    failures: Vec<Failure<E>>,
    more: usize,
    panicked: bool,
    /// Set by the first failure that cancels. Of several at once, whichever comes to mark the group, this
    /// is the cause it marks it with (R16).
    cause: Option<CancelCause>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// May be run.
    Open,
    /// `run` or `join` has been polled.
    Running,
    /// Exited or dropped; the failures have been taken.
    Ended,
}

/// What a group's exit finds.
pub(crate) struct Account<E> {
    pub(crate) failures: Vec<Failure<E>>,
    pub(crate) more: usize,
    pub(crate) cause: Option<CancelCause>,
}

impl<E> Ledger<E> {
    /// Stores or counts a failure. Gives back what came too late to be heard, and what is only counted.
    fn enter(&mut self, failure: Failure<E>, max_failures: usize) -> (Option<Failure<E>>, Option<Failure<E>>)
    where
        E: 'static,
    {
        let panicked = failure.panic().is_some();
        if self.stage == Stage::Ended {
            return (Some(failure), None);
        }
        if self.failures.len() < max_failures || (panicked && !self.panicked) {
            self.panicked |= panicked;
            self.failures.push(failure);
            return (None, None);
        }
        self.more += 1;
        (None, Some(failure))
    }
}

fn reason_of(who: &NodeInfo, panicked: bool) -> CancelReason {
    match panicked {
        true => CancelReason::SiblingPanicked(who.clone()),
        false => CancelReason::SiblingFailed(who.clone()),
    }
}

impl<E: Send + 'static> GroupCore<E> {
    pub(super) fn open(settings: Settings<E>, location: &'static Location<'static>) -> Arc<Self> {
        Self::open_with(settings, location, None)
    }

    pub(crate) fn open_with(
        mut settings: Settings<E>,
        location: &'static Location<'static>,
        hosted: Option<Hosted>,
    ) -> Arc<Self> {
        let name = settings.name.take();
        let runtime = OnceLock::new();
        if let Ok(handle) = Handle::try_current() {
            let _ = runtime.set(handle);
        }
        let ledger =
            Ledger { stage: Stage::Open, failures: Vec::new(), more: 0, panicked: false, cause: None };
        let node = Node::new(NodeKind::Group, name, location);
        if let Some(records_max) = settings.report_records {
            node.plan_records(records_max);
        }
        let limit = GroupLimit::new(settings.running_max, settings.limiter.take(), &node);
        if hosted.is_some() {
            node.set_hosted();
        }
        let (deadline, ledger) = (OnceLock::new(), Mutex::new(ledger));
        let lacks_clock = AtomicBool::new(false);
        let core = Arc::new(Self { node, settings, runtime, deadline, limit, ledger, hosted, lacks_clock });
        if let Some(region) = tree::with_current(|node| node.cloned()) {
            tree::attach_group(&region, &core.member());
        }
        core
    }

    pub(crate) fn member(self: &Arc<Self>) -> NodeRef {
        Arc::clone(self) as NodeRef
    }

    #[inline]
    pub(super) fn group_limit(&self) -> Option<&Arc<GroupLimit>> {
        self.limit.as_ref()
    }

    /// How many children stand in no books yet.
    pub(crate) fn unentered(&self) -> usize {
        self.hosted.as_ref().map_or(0, Hosted::unentered)
    }

    #[inline]
    pub(crate) fn hosted(&self) -> &Hosted {
        self.hosted.as_ref().expect("a group that polls its children itself")
    }

    /// The runtime that polls the children: that in which the group was made, or else first used.
    #[track_caller]
    pub(crate) fn runtime(&self) -> &Handle {
        if let Some(runtime) = self.runtime.get() {
            return runtime;
        }
        match Handle::try_current() {
            Ok(handle) => self.runtime.get_or_init(|| handle),
            Err(_) => panic!(
                "a task was spawned into {} outside a tokio runtime, and the group was made outside one \
                 too: make the group inside `#[tokio::main]`, `Runtime::block_on` or `Handle::enter`; \
                 then its spawners work from every thread",
                self.node.info()
            ),
        }
    }

    pub(crate) fn cancel(self: &Arc<Self>, message: Option<Cow<'static, str>>) {
        self.cancel_for(CancelReason::Requested(message));
    }

    pub(crate) fn cancel_for(self: &Arc<Self>, reason: CancelReason) {
        if !self.is_over() {
            let cause = CancelCause::new(reason, self.node.info());
            tree::cancel(&self.member(), cause);
        }
    }

    pub(crate) async fn wait_idle(&self) {
        /// Takes its waker out again when it is given up.
        struct Wait<'a>(&'a Node, WaitKey);
        impl Drop for Wait<'_> {
            fn drop(&mut self) {
                self.0.unwatch(self.1);
            }
        }
        let wait = Wait(&self.node, WaitKey::new());
        std::future::poll_fn(|cx| {
            // Looked at last: the child that failed, and cancelled this region, may have been the last one.
            if wait.0.watch_ordinary(wait.1, cx.waker()) > 0 || tree::is_cut() {
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.ledger).stage == Stage::Ended
    }

    /// Enters a failure, and cancels the group for it where the settings say so.
    pub(super) fn record(this: &NodeRef, core: &Self, child: &Node, problem: Problem<E>) {
        Self::record_as(this, core, Failure::new(problem, child.info(), tree::path_of(child)));
    }

    /// [`record`](Self::record), for whoever the failure names.
    pub(super) fn record_as(this: &NodeRef, core: &Self, failure: Failure<E>) {
        let panicked = failure.panic().is_some();
        let reason = core.cancels(failure.who().kind(), panicked).then(|| reason_of(failure.who(), panicked));
        let told = Told::of(&failure);
        let mut ledger = lock(&core.ledger);
        let cause = reason.map(|reason| {
            let cause = || CancelCause::new(reason, core.node.info());
            ledger.cause.get_or_insert_with(cause).clone()
        });
        let (unheard, unstored) = ledger.enter(failure, core.settings.max_failures);
        drop(ledger);
        drop_guarded(unstored);
        match unheard {
            Some(failure) => log_lost(failure),
            None => told.into_iter().for_each(|told| told.tell(&core.node)),
        }
        core.node.set_undelivered();
        if let Some(cause) = cause {
            tree::cancel(this, cause);
        }
    }

    /// Whether a failure of this child cancels the group.
    fn cancels(&self, child: NodeKind, panicked: bool) -> bool {
        let resumes = panicked && self.settings.on_panic == OnPanic::Resume;
        // Also under `Continue` a failing body takes the others along: nobody is left to end them.
        let by_body = child == NodeKind::Body;
        resumes || by_body || self.settings.on_failure == OnFailure::Cancel
    }

    fn means_cancelled(&self, error: &E) -> bool {
        error::means_cancelled(error)
            || self.settings.treat_as_cancelled.as_ref().is_some_and(|means| means(error))
    }

    /// The group is being run: moves it under the node that polls it (R4).
    #[track_caller]
    pub(crate) fn begin_run(self: &Arc<Self>) {
        let current = tree::with_current(|node| node.cloned());
        let moves = self.moves_under(current.as_ref());
        // Who moves a group that has members goes up the tree first, to be refused without a cost to the owner.
        let looks_up = moves && self.node.has_had_members();
        if !self.may_run(!looks_up) {
            panic!(
                "{} (made at {}) was run a second time: a group is run or joined once",
                self.node.info(),
                self.node.location()
            );
        }
        if looks_up && self.is_above(current.clone()) {
            panic!(
                "{} (made at {}) was run or joined inside one of its own tasks, which would wait for itself",
                self.node.info(),
                self.node.location()
            );
        }
        // Two that race are told apart here.
        if looks_up && !self.may_run(true) {
            panic!("{} was run by two threads at once: a group is run or joined once", self.node.info());
        }
        if self.runtime.get().is_none()
            && let Ok(handle) = Handle::try_current()
        {
            let _ = self.runtime.set(handle);
        }
        if let Some(deadline) = self.settings.limit.and_then(|limit| limit.begin(Instant::now())) {
            let _ = self.deadline.set(deadline);
        }
        self.node.set_running();
        if moves {
            drop(tree::detach(&self.node));
            if let Some(region) = current {
                tree::attach_group(&region, &self.member());
            }
        }
    }

    /// Whether nobody has run it. `begin`: then it is being run from now on.
    fn may_run(&self, begin: bool) -> bool {
        let mut ledger = lock(&self.ledger);
        let is_open = ledger.stage == Stage::Open;
        if is_open && begin {
            ledger.stage = Stage::Running;
        }
        is_open
    }

    fn moves_under(&self, current: Option<&NodeRef>) -> bool {
        match current {
            Some(current) => !self.node.stands_under(current.node()),
            None => self.node.parent().is_some(),
        }
    }

    fn is_above(self: &Arc<Self>, mut next: Option<NodeRef>) -> bool {
        while let Some(node) = next {
            if std::ptr::eq(node.node(), &self.node) {
                return true;
            }
            next = node.node().parent();
        }
        false
    }

    /// One step towards exit, the body having ended. True: closed, with nobody left.
    pub(crate) fn poll_exit(self: &Arc<Self>, waker: &Waker) -> bool {
        let may_close = || self.hosted.as_ref().is_none_or(Hosted::try_close);
        if self.node.try_close_bare(may_close) {
            return true;
        }
        loop {
            if self.node.watch_ordinary(WaitKey::HOST, waker) > 0 {
                return false;
            }
            let adopted = self.node.members_of(Hold::Nested);
            // One that polls its children itself is its owner's: nobody else can bring it to its end.
            let waited_for = adopted.iter().filter(|group| !group.node().is_hosted());
            if waited_for.into_iter().any(|group| tree::is_busy(group, waker)) {
                // It may also be taken away, by being run elsewhere.
                self.node.watch_nested(waker);
                return false;
            }
            // Who may not keep the group open is told that it is over: background children, and adopted
            // groups, which would otherwise take new tasks after this exit.
            let mut told = false;
            let ending = self.node.begin_ending().into_iter().chain(adopted);
            for member in ending.filter(|member| !member.node().is_cancelled()) {
                let cause = CancelCause::new(CancelReason::GroupEnded, self.node.info());
                tree::cancel(&member, cause);
                told = true;
            }
            if told {
                continue;
            }
            if self.node.watch_live(waker) > 0 {
                return false;
            }
            if self.node.try_close(may_close) {
                return true;
            }
            if self.hosted.as_ref().is_some_and(Hosted::has_new) {
                return false;
            }
        }
    }

    /// Whether exit has something to tell although nobody has a value: a failure.
    pub(crate) fn has_failures(&self) -> bool {
        let ledger = lock(&self.ledger);
        !ledger.failures.is_empty() || ledger.more > 0
    }

    /// The deadline of the `run` that is under way.
    pub(crate) fn run_deadline(&self) -> Option<Deadline> {
        self.deadline.get().copied()
    }

    /// Whether the group's own deadline cut a child: then the body's value is not handed out (R19).
    pub(crate) fn cut_by_deadline(&self) -> bool {
        let own = |cause: CancelCause| {
            matches!(cause.reason(), CancelReason::Deadline(..)) && cause.target().id() == self.node.id()
        };
        self.node.has_cut() && self.node.cause().is_some_and(own)
    }

    /// Takes the ledger and leaves the tree. Resumes a panic where the settings say so (R10).
    pub(crate) fn settle(self: &Arc<Self>) -> Account<E> {
        let account = self.take_ledger();
        for adopted in self.node.members_snapshot() {
            drop(tree::detach_from(adopted.node(), &self.node));
        }
        drop(tree::detach(&self.node));
        tree::release_tokens(&self.node);
        match self.settings.on_panic {
            OnPanic::Collect => account,
            OnPanic::Resume => resume_first_panic(account, &self.node),
        }
    }

    /// Nobody has to wait for a place any more.
    fn close_limit(&self) {
        self.limit.iter().for_each(|limit| limit.close());
    }

    fn take_ledger(&self) -> Account<E> {
        let mut ledger = lock(&self.ledger);
        ledger.stage = Stage::Ended;
        let (failures, more) = (std::mem::take(&mut ledger.failures), ledger.more);
        drop(ledger);
        drop(self.node.take_waker());
        self.node.clear_running();
        self.close_limit();
        Account { failures, more, cause: self.node.cause() }
    }

    /// The end by drop (R2): nothing of the group is alive when this returns, but for what R2 excepts.
    pub(super) fn end_by_drop(self: &Arc<Self>) {
        self.end_by_drop_of(|| {});
    }

    /// [`end_by_drop`](Self::end_by_drop), for an owner that drops its children itself, with `drop_children`.
    pub(crate) fn end_by_drop_of(self: &Arc<Self>, drop_children: impl FnOnce()) {
        if let Some(account) = self.end_at_once(drop_children) {
            log_account(account, &self.node);
        }
    }

    /// [`end_by_drop`](Self::end_by_drop), with the failures for whoever can still be told of them. `None`:
    /// it had ended.
    pub(super) fn end_at_once(self: &Arc<Self>, drop_children: impl FnOnce()) -> Option<Account<E>> {
        if self.has_ended() {
            return None;
        }
        // A plain thread may drop the group; destructors of its tasks may count on their runtime.
        let _runtime = self.runtime.get().map(Handle::enter);
        let cause = CancelCause::new(CancelReason::GroupDropped, self.node.info());
        tree::drop_subtree(&self.member(), cause, self.settings.on_drop);
        drop_children();
        self.node.close();
        let home = tree::enclosing_group(self.node.parent());
        let body = self.node.body();
        for from in body.iter().map(|body| body.node()).chain([&self.node]) {
            from.members_snapshot().into_iter().for_each(|left| leave_to(left, from, home.as_ref()));
        }
        drop(body.map(|body| tree::detach(body.node())));
        let account = self.take_ledger();
        drop(tree::detach(&self.node));
        tree::release_tokens(&self.node);
        Some(account)
    }

    pub(crate) fn debug(&self, title: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(title)
            .field("group", &self.node.info())
            .field("len", &(self.node.live() + self.unentered()))
            .field("cancelled", &self.node.is_cancelled())
            .finish()
    }
}

/// What a drop could not end goes to the enclosing group, whose exit waits for it (R2).
fn leave_to(left: NodeRef, from: &Node, home: Option<&NodeRef>) {
    let hold = match left.node().kind() {
        NodeKind::Body => return,
        NodeKind::Group => Hold::Nested,
        _ => Hold::Ordinary,
    };
    match home {
        Some(home) => tree::rehome(&left, from, home, hold),
        None => {
            if left.node().kind() == NodeKind::Blocking && !left.node().is_closed() {
                let what = format_args!(
                    "{} (spawned at {}) is still running: its group was dropped, its token is cancelled, \
                     and no enclosing group waits for it",
                    left.node().info(),
                    left.node().location()
                );
                lost::report_with(&Fields { group: Some(from.id().as_u64()), ..left.node().fields() }, what);
            }
        }
    }
}

/// Resumes the first panic, if there is one; what else went wrong then has nobody to be told (R10).
fn resume_first_panic<E: 'static>(mut account: Account<E>, group: &Node) -> Account<E> {
    let Some(first) = account.failures.iter().position(|failure| failure.panic().is_some()) else {
        return account;
    };
    let panic = account.failures.remove(first).into_panic();
    log_account(account, group);
    match panic {
        Ok(panic) => panic.resume(),
        Err(_) => unreachable!("found by being a panic"),
    }
}

fn log_account<E: 'static>(account: Account<E>, group: &Node) {
    account.failures.into_iter().for_each(log_lost);
    if account.more > 0 {
        let (more, info) = (account.more, group.info());
        let what = format_args!("{more} more failures of {info} that nobody can be told of");
        lost::report_with(&group.fields(), what);
    }
}

/// Logs a failure that nobody can be told of. `E` need not be printable; where it carries a text, it is shown.
pub(super) fn log_lost<E: 'static>(failure: Failure<E>) {
    let (who, path, error) = (failure.who(), failure.path(), error::problem_text(&failure));
    let fields = Fields { path: Some(path), error: Some(&error), ..who.fields() };
    let what = format_args!("a failure that nobody can be told of: {who}: {error} (in {path})");
    lost::report_with(&fields, what);
    drop_guarded(failure);
}

/// What a subscriber is told of a failure that a group has taken: read before the failure is given away, told
/// when the group's lock has been released.
struct Told {
    who: NodeInfo,
    panicked: bool,
    path: String,
    error: String,
}

impl Told {
    /// `None` where no subscriber wants to know.
    fn of<E: 'static>(failure: &Failure<E>) -> Option<Self> {
        trace::wants_failed().then(|| Self {
            who: failure.who().clone(),
            panicked: failure.panic().is_some(),
            path: failure.path().to_owned(),
            error: error::problem_text(failure),
        })
    }

    fn tell(self, group: &Node) {
        let (group, path, error) = (Some(group.id().as_u64()), Some(&*self.path), Some(&*self.error));
        let fields = Fields { group, path, error, ..self.who.fields() };
        trace::failed(self.who.kind().word(), self.panicked, &fields);
    }
}

/// Drops a value of a user's, outside every lock; a destructor that panics must not stop what comes next.
fn drop_guarded<V>(value: V) {
    if let Err(panic) = catch(|| drop(value)) {
        lost::report(format_args!("a destructor {panic}"));
    }
}

impl<E: Send + 'static> Member for GroupCore<E> {
    fn node(&self) -> &Node {
        &self.node
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn limit(&self) -> Option<&dyn Any> {
        Some(&**self.limit.as_ref()?)
    }

    fn is_over(&self) -> bool {
        self.node.is_closed()
    }

    /// Its host has something to do: for children that the mark did not reach, and for those that are to be dropped.
    fn on_cancel(&self, this: &NodeRef) {
        self.close_limit();
        if let Some(hosted) = &self.hosted {
            hosted.wake_host(this);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.run_deadline().map(|deadline| deadline.at)
    }

    fn grace(&self) -> Option<Duration> {
        self.settings.grace
    }

    fn slow_exit(&self) -> Option<Duration> {
        Some(self.settings.slow_exit)
    }

    fn lacks_clock(&self) -> Option<&AtomicBool> {
        Some(&self.lacks_clock)
    }

    fn threads(&self) -> Threads {
        task::threads(self.runtime())
    }

    fn spawn_driver(self: Arc<Self>, key: DriverKey) {
        let runtime = self.runtime().clone();
        task::spawn_driver(&runtime, self, key);
    }
}

/// How the cells of a `TaskGroup<E>` reach their group.
pub(crate) struct ToGroup<E>(PhantomData<fn(E)>);

impl<E: Send + 'static> Reporter for ToGroup<E> {
    type Error = E;

    fn report(parent: Option<&NodeRef>, child: &Node, problem: Problem<E>) {
        match parent.and_then(|parent| Some((parent, core_of::<E>(parent)?))) {
            Some((parent, core)) => GroupCore::record(parent, core, child, problem),
            None => log_lost(Failure::new(problem, child.info(), tree::path_of(child))),
        }
    }

    fn without_cancelled(parent: Option<&NodeRef>, error: E) -> Option<E> {
        match parent.and_then(core_of::<E>) {
            Some(core) => error::without_cancelled(error, &|error| core.means_cancelled(error)),
            None => error::without_cancelled(error, &error::means_cancelled),
        }
    }
}

fn core_of<E: Send + 'static>(parent: &NodeRef) -> Option<&GroupCore<E>> {
    parent.as_any().downcast_ref()
}
