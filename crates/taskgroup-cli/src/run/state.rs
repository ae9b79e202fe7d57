//! What a run has come to: its counts, why it ends, its exit code.
//!
//! # Invariants
//!
//! 1. The first cause to end the run stands; so does the first failure.
//! 2. After a signal the exit code is 128 and its number, whatever else happened; then trouble of `tg` itself counts, then what
//!    has ended the run, then the first failure.

use crate::event::{Cause, Counts, Outcome};
use crate::exit;
use crate::plan::Policy;

/// What a run has come to.
#[derive(Debug)]
pub(super) struct State {
    policy: Policy,
    pub(super) counts: Counts,
    ending: Option<Cause>,
    /// The signal that the run ends for.
    signal: Option<i32>,
    first_failure: Option<i32>,
    trouble: bool,
}

impl State {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            counts: Counts::default(),
            ending: None,
            signal: None,
            first_failure: None,
            trouble: false,
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The run ends, for this cause; says whether it is the first.
    pub(super) fn end(&mut self, cause: Cause, signal: Option<i32>) -> bool {
        self.signal = self.signal.or(signal);
        let is_first = self.ending.is_none();
        self.ending.get_or_insert(cause);
        is_first
    }

    /// A signal has come while the run ends; says whether there was one before.
    pub(super) fn asked_again(&mut self, signal: i32) -> bool {
        let was_asked = self.signal.is_some();
        self.signal.get_or_insert(signal);
        was_asked
    }

    /// `tg` itself has failed.
    pub(super) fn trouble(&mut self) {
        self.trouble = true;
    }

    /// Counts a job that has ended after so many attempts; says whether the policy now ends the run.
    pub(super) fn count(&mut self, outcome: &Outcome, attempts: u32, leaks: usize) -> bool {
        self.counts.retries += attempts.saturating_sub(1) as usize;
        self.counts.leaks += leaks;
        if outcome.is_success() {
            self.counts.succeeded += 1;
            return self.policy == Policy::FirstSuccess;
        }
        if outcome.is_cancelled() {
            self.counts.cancelled += 1;
            return false;
        }
        self.counts.failed += 1;
        self.first_failure.get_or_insert(exit::of(outcome));
        self.policy == Policy::FailFast
    }

    /// The exit code of the run.
    pub(super) fn exit_code(&self) -> i32 {
        if let Some(signal) = self.signal {
            return exit::SIGNAL + signal;
        }
        if self.trouble {
            return exit::TROUBLE;
        }
        match &self.ending {
            Some(Cause::OutputClosed) => exit::SIGNAL + libc::SIGPIPE,
            Some(Cause::Deadline { .. }) => exit::DEADLINE,
            Some(Cause::FirstSuccess { .. }) => exit::SUCCESS,
            _ if self.policy == Policy::FirstSuccess && self.counts.succeeded > 0 => exit::SUCCESS,
            _ => self.first_failure.unwrap_or(exit::SUCCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Cause = Cause::Deadline { limit: std::time::Duration::from_secs(1) };

    fn state(policy: Policy, ends: &[Outcome]) -> State {
        let mut state = State::new(policy);
        for outcome in ends {
            state.count(outcome, 1, 0);
        }
        state
    }

    #[test]
    fn the_first_failure_counts_unless_the_run_has_ended_for_another_cause() {
        let failures = [Outcome::Succeeded, Outcome::Failed { code: 3 }, Outcome::Failed { code: 4 }];
        let mut state = state(Policy::KeepGoing, &failures);
        assert_eq!(state.exit_code(), 3);
        assert!(state.end(LIMIT, None));
        assert_eq!(state.exit_code(), exit::DEADLINE);
        state.trouble();
        assert_eq!(state.exit_code(), exit::TROUBLE);
        assert!(!state.asked_again(libc::SIGTERM));
        assert_eq!(state.exit_code(), exit::SIGNAL + libc::SIGTERM);
        assert!(state.asked_again(libc::SIGINT));
        assert_eq!(state.exit_code(), exit::SIGNAL + libc::SIGTERM, "the first signal stands");
    }

    #[test]
    fn one_success_is_enough_where_the_first_one_counts() {
        let ends = [Outcome::Failed { code: 3 }, Outcome::Succeeded];
        assert_eq!(state(Policy::FirstSuccess, &ends).exit_code(), exit::SUCCESS);
        assert_eq!(state(Policy::FirstSuccess, &ends[..1]).exit_code(), 3);
        assert_eq!(state(Policy::FirstSuccess, &[]).exit_code(), exit::SUCCESS);
    }

    #[test]
    fn a_signal_is_never_a_success() {
        let mut state = state(Policy::KeepGoing, &[Outcome::Succeeded]);
        assert!(state.end(Cause::Outer, Some(libc::SIGTERM)));
        assert_eq!(state.exit_code(), exit::SIGNAL + libc::SIGTERM);
        assert!(!state.end(LIMIT, None), "the first cause stands");
    }
}
