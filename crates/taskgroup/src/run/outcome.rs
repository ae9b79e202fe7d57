//! What came of a program.

use std::fmt;
use std::process::{ExitCode, Termination};

use super::{Voice, code_of};
use crate::error::ErrorGroup;
use crate::tree::Signal;

/// How a program ended: its value or its failures, and the signal that stopped it, if one did.
///
/// [`Runner::supervise`](super::Runner::supervise) and [`Runner::block_on`](super::Runner::block_on) give it.
/// Return it from `main`: then it prints the failures as a tree on standard error, and the exit code of the
/// process is
///
/// | the program | code |
/// |---|---|
/// | was stopped by a signal, whatever came out | 128 + its number: 130 for SIGINT, 143 for SIGTERM |
/// | ended with a value | that of the value: 0 for `()`, any other for a `std::process::ExitCode` |
/// | failed, or cancelled its own root group before it had a value | 1 |
///
/// A panic is no outcome: it goes on through `main`, and the code is 101.
///
/// ```
/// use taskgroup::{Outcome, Runner, TaskGroup};
///
/// #[tokio::main]
/// async fn main() -> Outcome {
///     Runner::new().supervise(async |root: &TaskGroup| {
///         root.spawn(async { Ok(println!("serving")) });
///         Ok(())
///     })
///     .await
/// }
/// ```
#[must_use = "it says whether the program failed: return it from `main`, or read it"]
pub struct Outcome<T = (), E: 'static = crate::Error> {
    result: Result<T, ErrorGroup<E>>,
    stop: Option<Stop>,
}

/// A signal has stopped the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) signal: Signal,
    pub(super) forced: bool,
}

impl<T, E: 'static> Outcome<T, E> {
    pub(super) fn new(result: Result<T, ErrorGroup<E>>, stop: Option<Stop>) -> Self {
        Self { result, stop }
    }

    /// What the root group came to, as [`scope`](crate::scope()) would have returned it: a program that was
    /// stopped before it had a value gives an `ErrorGroup` that says so
    /// ([`is_cancelled`](ErrorGroup::is_cancelled)), or the failures of its draining.
    ///
    /// # Errors
    ///
    /// The failures.
    pub fn result(&self) -> Result<&T, &ErrorGroup<E>> {
        self.result.as_ref()
    }

    /// [`result`](Self::result), owned.
    ///
    /// # Errors
    ///
    /// The failures.
    pub fn into_result(self) -> Result<T, ErrorGroup<E>> {
        self.result
    }

    /// The signal that stopped the program: the one that cancelled the root group, or forced its end. `None`
    /// also where a signal came when the group was cancelled already, and changed nothing.
    pub fn signal(&self) -> Option<Signal> {
        self.stop.map(|stop| stop.signal)
    }

    /// Whether the root group was dropped, by a second signal or the end of the grace period, instead of
    /// coming to its end: then no cleanup was awaited.
    pub fn is_forced(&self) -> bool {
        self.stop.is_some_and(|stop| stop.forced)
    }
}

impl<E: fmt::Display + 'static> Outcome<(), E> {
    /// Prints the failures and ends the process with its code, at once.
    ///
    /// For `#[tokio::main]` programs with blocking code that may be stuck: returning from such a `main` waits
    /// for every thread of the runtime's blocking pool. Here no destructors run any more, as with
    /// `std::process::exit`. [`run`](super::run()) has no need of it.
    pub fn exit(self) -> ! {
        let code = match (&self.result, self.stop) {
            (_, Some(stop)) => code_of(stop.signal),
            (Ok(()), None) => 0,
            (Err(_), None) => 1,
        };
        self.tell();
        std::process::exit(i32::from(code))
    }
}

impl<T, E: fmt::Display + 'static> Outcome<T, E> {
    /// Prints what is news. That a signal ended the program was said when it came.
    fn tell(&self) {
        if let Err(errors) = &self.result
            && (self.stop.is_none() || !errors.is_cancelled())
        {
            Voice::plain(format_args!("{errors:#}"));
        }
    }
}

impl<T: Termination, E: fmt::Display + 'static> Termination for Outcome<T, E> {
    fn report(self) -> ExitCode {
        self.tell();
        let code = match self.result {
            Ok(value) => value.report(),
            Err(_) => ExitCode::FAILURE,
        };
        match self.stop {
            Some(stop) => ExitCode::from(code_of(stop.signal)),
            None => code,
        }
    }
}

impl<T: fmt::Debug, E: fmt::Debug + 'static> fmt::Debug for Outcome<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("result", &self.result)
            .field("signal", &self.signal())
            .field("forced", &self.is_forced())
            .finish()
    }
}
