//! A program's own end: a root group that stops on a signal, and the exit code.
//!
//! ```text
//!   running ──first signal──▶ stopping ──another signal, or the grace is over──▶ forced ──▶ ended
//!      │      (root cancelled,    │         (root dropped, R2, in FORCED_MAX)      │
//!      │       draining, R12)     │                                                └─ else: exit(128 + n)
//!      └── body and tasks ended ──┴──▶ ended
//! ```
//!
//! # Invariants
//!
//! 1. Signals are listened for before any code of the body runs, and as long as anything of the root group
//!    is alive.
//! 2. The root's `run` and the signals are polled by one future in one task, the signals first: a region that
//!    stands at a wait when a signal is seen is cut there (R12). No helper task and no thread runs before a
//!    signal comes.
//! 3. Whatever blocks, the process ends: after a signal a thread of its own watches whether this future is
//!    still polled, and later whether the drop comes to its end (`alarm.rs`). Its reach is that of the
//!    runtime: where its only thread is blocked, nobody learns of the first signal.

mod alarm;
mod outcome;
mod signals;
mod supervise;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::process::{ExitCode, Termination};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

pub use outcome::Outcome;

use self::signals::StopOn;
use crate::group::{OnFailure, OnPanic, RootSettings, ScopeBody};
use crate::tree::Signal;

/// How long an orderly end may take. With what comes after it, it is over before the 10 s are that
/// container runtimes give a program between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(8);
/// How long a forced end may take.
const FORCED_MAX: Duration = Duration::from_secs(1);
/// How long the runtime's own end may take: what is left then are threads that nobody can end.
const SHUTDOWN_MAX: Duration = Duration::from_millis(100);

/// Runs a whole program as one task group, and gives its exit code: for `main`.
///
/// It builds a tokio runtime on several threads and runs the body in the *root group*. The first SIGINT
/// (Ctrl-C) or SIGTERM cancels that group, with the signal as the reason: body and tasks are cut at their
/// next wait, what they own is drained, and the program ends in order. A second signal, or the end of the
/// grace period (8 s), forces the end: the root group is dropped, with every task in it. Failures are
/// printed as a tree on standard error. The codes are those of [`Outcome`]: 128 + the signal's number when
/// a signal stopped the program, else the value's own, else 1. Settings: [`Runner`].
///
/// ```no_run
/// use std::process::ExitCode;
/// use taskgroup::TaskGroup;
///
/// fn main() -> ExitCode {
///     taskgroup::run(async |root: &TaskGroup| {
///         let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
///         loop {
///             let (stream, _) = listener.accept().await?; // Ctrl-C cuts it here
///             root.spawn(async move {
///                 drop(stream); // answer it
///                 Ok(())
///             });
///         }
/// #       #[allow(unreachable_code)]
///         Ok(())
///     })
/// }
/// ```
///
/// The body may return any [`Termination`]: `()`, or an [`ExitCode`] of its own. Where only `?` says what
/// the errors are, write `|root: &TaskGroup|`, as for [`scope`](crate::scope()). The body need not be `Send`:
/// the thread that calls polls it.
///
/// # Panics
///
/// If the body or a task panicked, with the first payload, after everything has ended: the process's code
/// is then 101, as for any panic in `main`, also after a signal. Inside a tokio runtime: use
/// [`Runner::supervise`] there.
#[track_caller]
pub fn run<T, E, F>(body: F) -> ExitCode
where
    F: for<'a> ScopeBody<'a, T, E>,
    T: Termination,
    E: fmt::Display + Send + 'static,
{
    Runner::new().run(body)
}

/// The settings of a program's run: for `main`, by [`run`](Self::run), or inside `#[tokio::main]`, by
/// [`supervise`](Self::supervise). [`taskgroup::run`](run()) is this with the defaults.
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::time::Duration;
/// use taskgroup::{Runner, TaskGroup};
///
/// fn main() -> ExitCode {
///     Runner::new().name("crawler").grace(Duration::from_secs(25)).run(async |root: &TaskGroup| {
///         root.task().name("front page").spawn(async { Ok(()) });
///         Ok(())
///     })
/// }
/// ```
///
/// # The end, step by step
///
/// 1. The first signal cancels the root group. One line on standard error says so. Cleanup is awaited: the
///    groups inside cancelled tasks drain, innermost first, blocking closures that read their token end.
/// 2. Another signal, or the end of the grace period, drops the root group: when that is done no future of
///    the program's tasks is alive. No cleanup is awaited. A line names the tasks that had not ended.
/// 3. The drop has one second. If a task never returns from its poll, or a destructor blocks, the process
///    exits without it, with the same code. One more signal does it at once.
///
/// A body that blocks its own thread notices no signal. Then a second one, or the end of the grace period, is
/// step 3 at once: a second later the process exits. Only where the runtime has no other thread
/// ([`current_thread`](Self::current_thread)) can such a body not be ended.
///
/// A blocking closure that has started cannot be dropped. [`run`](Self::run) does not wait for it: the
/// process ends when `main` returns. With `#[tokio::main]` the runtime's end would wait for it: use
/// [`Outcome::exit`] there.
///
/// Once a program has listened for a signal, that signal does not end the process by itself any more, also
/// after the run: so tokio does it.
#[must_use = "settings do nothing until `run`, `supervise` or `block_on` is called"]
pub struct Runner {
    root: RootSettings,
    grace: Duration,
    runtime: Builder,
    system_signals: bool,
    stop_on: Vec<StopOn>,
    voice: Voice,
}

impl Runner {
    /// The defaults: a group named `main`, 8 s of grace, a runtime on as many threads as there are cores.
    pub fn new() -> Self {
        Self {
            root: RootSettings::named("main"),
            grace: GRACE,
            runtime: enabled(Builder::new_multi_thread()),
            system_signals: true,
            stop_on: Vec::new(),
            voice: Voice { quiet: false },
        }
    }

    /// The name of the root group in errors, causes and paths. Default: `main`.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.root.name = name.into();
        self
    }

    /// What the first failure does to the rest of the program. Default: it cancels it. A server whose guests
    /// may fail alone goes on with [`OnFailure::Continue`], and tells of all failures at its end.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.root.on_failure = on_failure;
        self
    }

    /// What a panic does. Default: it cancels everything, and goes on through `main`.
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.root.on_panic = on_panic;
        self
    }

    /// How many failures are stored; the rest is counted. Default: 64, as for every group.
    pub fn max_failures(mut self, max_failures: usize) -> Self {
        self.root.max_failures = max_failures;
        self
    }

    /// How long the orderly end may take after the first signal, before it is forced. Default: 8 s, so that
    /// all is over before the 10 s that container runtimes give. `Duration::MAX`: for ever.
    ///
    /// It is counted from a signal only. A program that fails drains as long as its tasks take.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many threads poll tasks. Default: as many as there are cores.
    ///
    /// # Panics
    ///
    /// For none at all.
    #[track_caller]
    pub fn worker_threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "a runtime has one worker thread at least; see also `current_thread`");
        self.runtime = enabled(Builder::new_multi_thread());
        self.runtime.worker_threads(threads);
        self
    }

    /// Everything on one thread, the one that calls. While code blocks it, signals are not noticed.
    pub fn current_thread(mut self) -> Self {
        self.runtime = enabled(Builder::new_current_thread());
        self
    }

    /// A runtime of your own making. It needs its clock and its I/O (`enable_all`).
    pub fn runtime(mut self, runtime: Builder) -> Self {
        self.runtime = runtime;
        self
    }

    /// Leaves SIGINT and SIGTERM alone: they end the process as if there were no runner.
    pub fn without_signals(mut self) -> Self {
        self.system_signals = false;
        self
    }

    /// A future that stands for a signal: when it completes, it is as if that signal had been sent. May be
    /// given several times; each counts once.
    ///
    /// For programs that are told to stop in another way too (a service manager's message, a `/shutdown`
    /// page), and for tests.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use taskgroup::{Runner, Signal, TaskGroup};
    /// let runner = Runner::new().without_signals().stop_on(async { Signal::Terminate });
    /// let outcome = runner.supervise(async |_root: &TaskGroup| Ok(std::future::pending::<()>().await)).await;
    /// assert_eq!(outcome.signal(), Some(Signal::Terminate));
    /// assert!(outcome.result().unwrap_err().is_cancelled());
    /// # }
    /// ```
    pub fn stop_on(mut self, stop: impl Future<Output = Signal> + Send + 'static) -> Self {
        self.stop_on.push(Box::pin(stop));
        self
    }

    /// No lines about signals on standard error. The failures are printed all the same, by
    /// [`run`](Self::run) and by an [`Outcome`] that `main` returns.
    pub fn quiet(mut self) -> Self {
        self.voice.quiet = true;
        self
    }

    /// Runs the program, prints its failures, and gives its exit code: see [`run`](run()) and [`Outcome`].
    ///
    /// What the program started outside the group (`tokio::spawn`) is dropped then, as far as it can be:
    /// nobody waits for it longer than a tenth of a second.
    ///
    /// # Panics
    ///
    /// As [`run`](run()).
    #[track_caller]
    pub fn run<T, E, F>(self, body: F) -> ExitCode
    where
        F: for<'a> ScopeBody<'a, T, E>,
        T: Termination,
        E: fmt::Display + Send + 'static,
    {
        match self.block_on(body) {
            Ok(outcome) => outcome.report(),
            Err(error) => {
                Voice::plain(format_args!("taskgroup: cannot start the runtime: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    /// [`run`](Self::run) for whoever wants the value or the failures, not the code. Nothing is printed but
    /// the lines about signals.
    ///
    /// ```
    /// use taskgroup::{Runner, TaskGroup};
    /// let outcome = Runner::new().current_thread().block_on(async |root: &TaskGroup| {
    ///     Ok(root.spawn(async { Ok(42) }).await?)
    /// })?;
    /// assert_eq!(outcome.into_result().unwrap(), 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the system has no runtime to give.
    ///
    /// # Panics
    ///
    /// As [`run`](run()).
    #[track_caller]
    pub fn block_on<T, E, F>(mut self, body: F) -> io::Result<Outcome<T, E>>
    where
        F: for<'a> ScopeBody<'a, T, E>,
        E: Send + 'static,
    {
        if Handle::try_current().is_ok() {
            panic!(
                "`run` and `block_on` build a tokio runtime of their own, and were called inside one: \
                 there, await `Runner::supervise`"
            );
        }
        let runtime = self.runtime.build()?;
        let supervised = supervise::supervise(self, body, Location::caller());
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(supervised)));
        shut_down(runtime);
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Runs the program on the current runtime: for `#[tokio::main]`. Its settings of the runtime have no
    /// meaning here.
    ///
    /// ```
    /// use taskgroup::{Outcome, Runner, TaskGroup};
    ///
    /// #[tokio::main]
    /// async fn main() -> Outcome {
    ///     Runner::new().name("mailer").supervise(async |root: &TaskGroup| {
    ///         root.task().name("queue").spawn(async { Ok(()) });
    ///         Ok(())
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops every task of the root group before the drop returns: see
    /// [`TaskGroup`](crate::TaskGroup).
    ///
    /// # Panics
    ///
    /// If the body or a task panicked, with the first payload, after everything has ended; but not if the
    /// end was forced: then the panic is among the failures. Outside a tokio runtime, and in one without a
    /// clock.
    #[track_caller]
    pub fn supervise<T, E, F>(self, body: F) -> impl Future<Output = Outcome<T, E>> + use<T, E, F>
    where
        F: for<'a> ScopeBody<'a, T, E>,
        E: Send + 'static,
    {
        supervise::supervise(self, body, Location::caller())
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("name", &self.root.name)
            .field("grace", &self.grace)
            .field("system_signals", &self.system_signals)
            .finish_non_exhaustive()
    }
}

fn enabled(mut runtime: Builder) -> Builder {
    runtime.enable_all();
    runtime
}

/// The group's own end has come before; this is for what was never in it. A destructor that panics there
/// costs nobody the outcome.
fn shut_down(runtime: Runtime) {
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.shutdown_timeout(SHUTDOWN_MAX)));
    if ended.is_err() {
        crate::lost::report(format_args!("a destructor panicked while the runtime was shut down"));
    }
}

/// What a shell sees of a process that a signal ended.
fn code_of(signal: Signal) -> u8 {
    128 + signal.number()
}

/// Speaks to the person or the log behind standard error.
#[derive(Clone, Copy)]
struct Voice {
    quiet: bool,
}

impl Voice {
    fn say(self, what: fmt::Arguments<'_>) {
        if !self.quiet {
            Self::plain(format_args!("taskgroup: {what}"));
        }
    }

    /// In one piece; nobody is left to be told that standard error is closed.
    fn plain(what: fmt::Arguments<'_>) {
        let text = format!("{what}\n");
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn is_at_a_terminal(self) -> bool {
        io::stderr().is_terminal()
    }
}
