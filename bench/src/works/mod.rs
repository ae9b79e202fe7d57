//! What is measured.

mod allocs;
mod cancel_all;
mod first_failure;
mod limit;
mod local_spawn_join;
mod map;
mod memory;
mod nested_cancel;
pub(crate) mod process;
mod runner;
mod sleepers;
mod spawn_join;
mod spin;
mod stream;
mod timeout;
mod token_check;

use crate::measure::{Figures, Plan};
use crate::row::{Row, Target, Unit};
use map::{LONG, SHORT};

/// How many children sleep while the works about stopping them are measured.
const SLEEPERS: usize = 10_000;

/// How many run at once, at most, in the works that are about limits.
const LIMIT: usize = 256;

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
    LocalSpawnJoin,
    Map,
    MapLong,
    Limit,
    Stream,
    Process,
    RunnerXargs,
    RunnerParallel,
}

impl Work {
    pub(crate) const ALL: [Self; 16] = [
        Self::SpawnJoin,
        Self::FirstFailure,
        Self::CancelAll,
        Self::Memory,
        Self::Allocs,
        Self::Timeout,
        Self::TokenCheck,
        Self::NestedCancel,
        Self::LocalSpawnJoin,
        Self::Map,
        Self::MapLong,
        Self::Limit,
        Self::Stream,
        Self::Process,
        Self::RunnerXargs,
        Self::RunnerParallel,
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
            Self::LocalSpawnJoin => "local_spawn_join",
            Self::Map => "map",
            Self::MapLong => "map_10us",
            Self::Limit => "limit",
            Self::Stream => "stream",
            Self::Process => "process",
            Self::RunnerXargs => "runner_xargs",
            Self::RunnerParallel => "runner_parallel",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }

    pub(crate) fn section(self) -> Section {
        match self {
            Self::LocalSpawnJoin => Section::Local,
            Self::Map | Self::MapLong | Self::Limit | Self::Stream => Section::Bulk,
            Self::Process | Self::RunnerXargs | Self::RunnerParallel => Section::Processes,
            _ => Section::Tasks,
        }
    }

    /// # Errors
    ///
    /// Why it cannot be measured here.
    pub(crate) fn comparisons(self) -> Result<Vec<Comparison>, String> {
        let one =
            |n, peer, unit, target, measure| Comparison { work: self.name(), n, peer, unit, target, measure };
        let time = Unit::Nanoseconds;
        Ok(match self {
            Self::SpawnJoin => [10, 100, 10_000]
                .into_iter()
                .flat_map(|n| {
                    [
                        one(n, "joinset", time, Target::Ratio(0.75), spawn_join::joinset as Measure),
                        one(n, "handles", time, Target::Ratio(1.35), spawn_join::handles),
                    ]
                })
                .collect(),
            Self::FirstFailure => {
                vec![one(SLEEPERS, "joinset", time, Target::Ratio(1.0), first_failure::joinset)]
            }
            Self::CancelAll => vec![one(SLEEPERS, "joinset", time, Target::Ratio(1.0), cancel_all::joinset)],
            Self::Memory => {
                vec![one(100_000, "joinset", Unit::Bytes, Target::Ratio(1.0), memory::joinset)]
            }
            Self::Allocs => {
                vec![one(10_000, "joinset", Unit::Allocations, Target::Ours(2.0), allocs::joinset)]
            }
            Self::Timeout => vec![one(1_000, "tokio", time, Target::Ratio(1.5), timeout::tokio_timeout)],
            Self::TokenCheck => {
                vec![one(1_000, "tokio-util", time, Target::Ratio(0.5), token_check::tokio_util)]
            }
            // For each node. A quadratic walk would show as a ratio of about ten.
            Self::NestedCancel => {
                vec![one(100, "a tenth", time, Target::Ratio(1.5), nested_cancel::a_tenth)]
            }
            Self::LocalSpawnJoin => [10, 100, 10_000]
                .into_iter()
                .flat_map(|n| {
                    let target = Target::Ratio(0.75);
                    [
                        one(
                            n,
                            "futures_unordered",
                            time,
                            target,
                            local_spawn_join::futures_unordered as Measure,
                        ),
                        one(n, "futures_buffered", time, Target::None, local_spawn_join::futures_buffered),
                        one(n, "future_group", time, Target::None, local_spawn_join::future_group),
                        one(n, "moro_local", time, Target::None, local_spawn_join::moro_local),
                    ]
                })
                .collect(),
            Self::Map => {
                let n = 100_000;
                vec![
                    one(n, "joinset_semaphore", time, Target::Ratio(0.20), map::joinset_semaphore::<SHORT>),
                    one(n, "buffer_unordered", time, Target::None, map::buffer_unordered::<SHORT>),
                    one(n, "for_each_concurrent", time, Target::None, map::for_each_concurrent::<SHORT>),
                ]
            }
            Self::MapLong => {
                let n = 10_000;
                vec![
                    one(n, "joinset_semaphore", time, Target::None, map::joinset_semaphore::<LONG>),
                    one(n, "buffer_unordered", time, Target::None, map::buffer_unordered::<LONG>),
                    one(n, "for_each_concurrent", time, Target::None, map::for_each_concurrent::<LONG>),
                ]
            }
            Self::Limit => {
                vec![one(10_000, "semaphore_in_task", time, Target::None, limit::semaphore_in_task)]
            }
            Self::Stream => vec![one(10_000, "joinset", time, Target::None, stream::joinset)],
            Self::Process => process::comparisons()?,
            Self::RunnerXargs => runner::xargs()?,
            Self::RunnerParallel => runner::parallel()?,
        })
    }
}

/// Measures `n` children on so many worker threads.
type Measure = fn(&Plan, usize, usize) -> Figures;

/// A work with one number of children, against one peer.
pub(crate) struct Comparison {
    work: &'static str,
    n: usize,
    peer: &'static str,
    unit: Unit,
    target: Target,
    measure: Measure,
}

impl Comparison {
    pub(crate) fn run(&self, plan: &Plan, threads: usize) -> Row {
        let &Self { work, n, peer, unit, target, measure } = self;
        Row { work, n, threads, peer, unit, target, figures: measure(plan, threads, n) }
    }
}

/// The works of a section stand in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Tasks,
    Local,
    Bulk,
    Processes,
}

impl Section {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tasks => "Tasks",
            Self::Local => "Local children",
            Self::Bulk => "Many items",
            Self::Processes => "Whole processes",
        }
    }
}
