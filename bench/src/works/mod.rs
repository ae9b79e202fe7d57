//! What is measured.

mod allocs;
mod cancel_all;
mod first_failure;
mod memory;
mod nested_cancel;
mod sleepers;
mod spawn_join;
mod timeout;
mod token_check;

use crate::measure::{Figures, Plan};

/// How many children sleep while the works about stopping them are measured.
const SLEEPERS: usize = 10_000;

/// One of the works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    SpawnJoin,
    FirstFailure,
    CancelAll,
    Memory,
    Allocs,
    Timeout,
    TokenCheck,
    NestedCancel,
}

impl Work {
    pub(crate) const ALL: [Self; 8] = [
        Self::SpawnJoin,
        Self::FirstFailure,
        Self::CancelAll,
        Self::Memory,
        Self::Allocs,
        Self::Timeout,
        Self::TokenCheck,
        Self::NestedCancel,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SpawnJoin => "spawn_join",
            Self::FirstFailure => "first_failure",
            Self::CancelAll => "cancel_all",
            Self::Memory => "memory",
            Self::Allocs => "allocs",
            Self::Timeout => "timeout",
            Self::TokenCheck => "token_check",
            Self::NestedCancel => "nested_cancel",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }

    pub(crate) fn comparisons(self) -> Vec<Comparison> {
        let one = |n, peer, unit, limit, measure| Comparison { work: self, n, peer, unit, limit, measure };
        let time = Unit::Nanoseconds;
        match self {
            Self::SpawnJoin => [10, 100, 10_000]
                .into_iter()
                .flat_map(|n| {
                    [
                        one(n, "joinset", time, Limit::Ratio(0.75), spawn_join::joinset as Measure),
                        one(n, "handles", time, Limit::Ratio(1.35), spawn_join::handles),
                    ]
                })
                .collect(),
            Self::FirstFailure => {
                vec![one(SLEEPERS, "joinset", time, Limit::Ratio(1.0), first_failure::joinset)]
            }
            Self::CancelAll => vec![one(SLEEPERS, "joinset", time, Limit::Ratio(1.0), cancel_all::joinset)],
            Self::Memory => {
                vec![one(100_000, "joinset", Unit::Bytes, Limit::Ratio(1.0), memory::joinset)]
            }
            Self::Allocs => {
                vec![one(10_000, "joinset", Unit::Allocations, Limit::Ours(2.0), allocs::joinset)]
            }
            Self::Timeout => vec![one(1_000, "tokio", time, Limit::Ratio(1.5), timeout::tokio_timeout)],
            Self::TokenCheck => {
                vec![one(1_000, "tokio-util", time, Limit::Ratio(0.5), token_check::tokio_util)]
            }
            // For each node. A quadratic walk would show as a ratio of about ten.
            Self::NestedCancel => {
                vec![one(100, "a tenth", time, Limit::Ratio(1.5), nested_cancel::a_tenth)]
            }
        }
    }
}

/// Measures `n` children on so many worker threads.
type Measure = fn(&Plan, usize, usize) -> Figures;

/// A work with one number of children, against one peer.
pub(crate) struct Comparison {
    work: Work,
    n: usize,
    peer: &'static str,
    unit: Unit,
    limit: Limit,
    measure: Measure,
}

impl Comparison {
    pub(crate) fn run(&self, plan: &Plan, threads: usize) -> Row {
        let &Self { work, n, peer, unit, limit, measure } = self;
        Row { work: work.name(), n, threads, peer, unit, limit, figures: measure(plan, threads, n) }
    }
}

/// A comparison that has been measured.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) n: usize,
    pub(crate) threads: usize,
    pub(crate) peer: &'static str,
    pub(crate) unit: Unit,
    pub(crate) limit: Limit,
    pub(crate) figures: Figures,
}

impl Row {
    /// Whether the target was met, to the digits that are printed: a group's own few allocations, spread
    /// over its children, are no third allocation for each.
    pub(crate) fn met(&self) -> bool {
        match self.limit {
            Limit::Ratio(target) => self.figures.ratio <= target,
            Limit::Ours(target) => (self.figures.ours * 100.0).round() <= target * 100.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// For one repetition of the work.
    Nanoseconds,
    /// For each child.
    Bytes,
    /// For each child.
    Allocations,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Bytes => "bytes",
            Self::Allocations => "allocations",
        }
    }
}

/// The target: at most this.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Ratio(f64),
    Ours(f64),
}
