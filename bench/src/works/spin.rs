//! Computing for so long, without a clock.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::measure::nanoseconds_since;

/// Some arithmetic that takes about as long, on this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spin {
    steps: u64,
}

impl Spin {
    pub(super) fn of(time: Duration) -> Self {
        let steps = time.as_nanos() as f64 / step_nanoseconds();
        Self { steps: steps.round() as u64 }
    }

    /// The answer depends on every step, and on the number. Shift and multiplication together: of either alone
    /// the compiler makes one step of many.
    #[inline(never)]
    pub(super) fn spin(self, number: usize) -> usize {
        let mut state = black_box(number as u64);
        for _ in 0..self.steps {
            state = (state ^ (state >> 29)).wrapping_mul(6_364_136_223_846_793_005);
        }
        black_box(state) as usize
    }
}

/// The quickest of several runs, measured once for the whole program: so all rows compute as much.
fn step_nanoseconds() -> f64 {
    static STEP: OnceLock<f64> = OnceLock::new();
    *STEP.get_or_init(|| {
        let spin = Spin { steps: 1_000_000 };
        let runs = (0..20).map(|number| {
            let begin = Instant::now();
            spin.spin(number);
            nanoseconds_since(begin) / spin.steps as f64
        });
        runs.fold(f64::INFINITY, f64::min)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_times_have_more_steps() {
        let steps = |nanoseconds| Spin::of(Duration::from_nanos(nanoseconds)).steps;
        let (short, long) = (steps(100), steps(10_000));
        // Both are rounded.
        assert!(short > 0 && (100 * short).abs_diff(long) <= 51, "{short}, {long}");
    }
}
