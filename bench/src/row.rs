//! A comparison that has been measured.

use crate::measure::Figures;

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) n: usize,
    pub(crate) threads: usize,
    pub(crate) peer: &'static str,
    pub(crate) unit: Unit,
    pub(crate) target: Target,
    pub(crate) figures: Figures,
}

impl Row {
    /// Whether the target was met, to the digits that are printed: a group's own few allocations, spread
    /// over its children, are no third allocation for each. `None`: there is no target.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.target {
            Target::Ratio(target) => Some(self.figures.ratio <= target),
            Target::Ours(target) => Some((self.figures.ours * 100.0).round() <= target * 100.0),
            Target::None => None,
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

/// At most this.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Ratio(f64),
    Ours(f64),
    /// Measured to be known, not to be held to.
    None,
}
