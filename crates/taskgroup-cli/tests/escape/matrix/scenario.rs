//! The ways in which a run ends.

/// A way in which a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Another job fails.
    SiblingFails,
    /// The job itself exits with 0.
    ExitsZero,
    /// The job's time runs out.
    TimesOut,
    /// SIGTERM to the runner.
    Terminated,
    /// Ctrl-C typed at the terminal that the runner has.
    Interrupted,
    /// The terminal that the runner has is closed.
    TerminalCloses,
    /// SIGKILL to the runner.
    Killed,
    /// SIGKILL to the runner's process group.
    GroupKilled,
    /// SIGKILL to the keeper of the job.
    KeeperKilled,
    /// Jobs kill their keepers while their descendants still become what they are to be: nobody waits for them.
    KeepersKilledEarly,
    /// The runner runs in a job of another, and that one gets SIGKILL.
    OuterKilled,
    /// The same with SIGTERM.
    OuterTerminated,
    /// The same, and the keeper of the outer gets SIGKILL.
    OuterKeeperKilled,
    /// The runner in the job of another gets SIGKILL.
    InnerKilled,
}

impl Scenario {
    pub(crate) const ALL: [Self; 14] = [
        Self::SiblingFails,
        Self::ExitsZero,
        Self::TimesOut,
        Self::Terminated,
        Self::Interrupted,
        Self::TerminalCloses,
        Self::Killed,
        Self::GroupKilled,
        Self::KeeperKilled,
        Self::KeepersKilledEarly,
        Self::OuterKilled,
        Self::OuterTerminated,
        Self::OuterKeeperKilled,
        Self::InnerKilled,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SiblingFails => "sibling_fails",
            Self::ExitsZero => "exits_zero",
            Self::TimesOut => "times_out",
            Self::Terminated => "terminated",
            Self::Interrupted => "interrupted",
            Self::TerminalCloses => "terminal_closes",
            Self::Killed => "killed",
            Self::GroupKilled => "group_killed",
            Self::KeeperKilled => "keeper_killed",
            Self::KeepersKilledEarly => "keepers_killed_early",
            Self::OuterKilled => "outer_killed",
            Self::OuterTerminated => "outer_terminated",
            Self::OuterKeeperKilled => "outer_keeper_killed",
            Self::InnerKilled => "inner_killed",
        }
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::SiblingFails => "another job fails",
            Self::ExitsZero => "the job exits with 0",
            Self::TimesOut => "the job's time runs out",
            Self::Terminated => "SIGTERM to the runner",
            Self::Interrupted => "Ctrl-C at the terminal",
            Self::TerminalCloses => "the terminal is closed",
            Self::Killed => "SIGKILL to the runner",
            Self::GroupKilled => "SIGKILL to its process group",
            Self::KeeperKilled => "SIGKILL to the keeper alone",
            Self::KeepersKilledEarly => "SIGKILL to the keepers of jobs that just begin",
            Self::OuterKilled => "one in another: SIGKILL to the outer",
            Self::OuterTerminated => "one in another: SIGTERM to the outer",
            Self::OuterKeeperKilled => "one in another: SIGKILL to the outer's keeper",
            Self::InnerKilled => "one in another: SIGKILL to the inner",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    pub(crate) fn has_terminal(self) -> bool {
        matches!(self, Self::Interrupted | Self::TerminalCloses)
    }

    pub(crate) fn is_nested(self) -> bool {
        matches!(
            self,
            Self::OuterKilled | Self::OuterTerminated | Self::OuterKeeperKilled | Self::InnerKilled
        )
    }

    /// Only `tg` has keepers.
    pub(crate) fn needs_keeper(self) -> bool {
        matches!(self, Self::KeeperKilled | Self::KeepersKilledEarly | Self::OuterKeeperKilled)
    }

    /// Whether everybody is there before the run is made to end.
    pub(crate) fn is_awaited(self) -> bool {
        self != Self::KeepersKilledEarly
    }
}
