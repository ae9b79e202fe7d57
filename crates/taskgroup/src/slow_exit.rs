//! Who holds up an exit: logged when something that has been cancelled takes long to end.
//!
//! # Invariants
//!
//! 1. Whoever waits for a cancelled region has the timer: the future of a group's `run` or `join`, the cell of
//!    a task that was cancelled alone, the future of a scope. So it needs no helper, is gone with its owner, and
//!    nothing is armed while nothing drains.
//! 2. Of regions inside one another that drain, only the outermost logs: its walk finds all that is inside.
//! 3. The first log comes when the group's [`slow_exit`](crate::Builder::slow_exit) has passed since the cancel,
//!    the next after twice that time more, then four times, and so on.

use std::fmt;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::lost;
use crate::timer::{Purpose, Timer};
use crate::trace::{self, Fields, HeldUp};
use crate::tree::{self, NodeInfo, NodeRef, Straggler, Stragglers};

/// How long an exit may take where nothing else is said. On a runtime without a clock a timer panics, which is
/// caught; where panics abort it cannot be, so there a timer that nobody asked for must not be made.
pub(crate) const DEFAULT: Duration =
    if cfg!(panic = "abort") { Duration::MAX } else { Duration::from_secs(10) };
/// The shortest pause between two logs.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How many stragglers are logged at a time.
const LINES_MAX: usize = 20;

/// The watch of one exit. Empty until it is needed.
#[derive(Default)]
pub(crate) struct SlowExit(Option<Box<Watch>>);

struct Watch {
    timer: Timer,
    next: Instant,
    pause: Duration,
}

impl SlowExit {
    /// Whether there is something to watch: whoever keeps a watch in a place of its own asks before.
    #[inline]
    pub(crate) fn concerns(region: &NodeRef) -> bool {
        region.node().is_cancelled() && watched(region).is_some()
    }

    /// The region waits. If it drains, sees to it that it is polled again when it is time to log, and logs.
    pub(crate) fn poll(&mut self, region: &NodeRef, cx: &mut Context<'_>) {
        let Some((cancelled_at, period)) = watched(region) else { return };
        let Some(first) = cancelled_at.checked_add(period) else { return };
        if Handle::try_current().is_err() || lacks_clock(region, false) {
            return;
        }
        let watch = self.0.get_or_insert_with(|| {
            Box::new(Watch { timer: Timer::new(Purpose::Log), next: first, pause: period.max(PAUSE_MIN) })
        });
        while watch.timer.poll_until(watch.next, cx).is_ready() {
            log(region);
            watch.pause = watch.pause.saturating_mul(2);
            match Instant::now().checked_add(watch.pause) {
                Some(next) => watch.next = next,
                None => return,
            }
        }
        if watch.timer.lacks_clock() {
            lacks_clock(region, true);
        }
    }
}

/// Whether the group around, or this one, has been found to be without a clock; `found`: it has been, now.
fn lacks_clock(region: &NodeRef, found: bool) -> bool {
    let mut next = Some(NodeRef::clone(region));
    while let Some(member) = next {
        if let Some(flag) = member.lacks_clock() {
            // Relaxed: who has not seen it finds out by itself.
            return if found { flag.swap(true, Ordering::Relaxed) } else { flag.load(Ordering::Relaxed) };
        }
        next = member.node().parent();
    }
    false
}

/// Since when the region drains and after how long that is to be logged; `None` if it does not, or not here.
fn watched(region: &NodeRef) -> Option<(Instant, Duration)> {
    let cause = region.node().cause()?;
    let mut period = region.slow_exit();
    let mut next = region.node().parent();
    while let Some(above) = next {
        if above.node().is_cancelled() {
            return None;
        }
        period = period.or_else(|| above.slow_exit());
        next = above.node().parent();
    }
    Some((cause.at(), period.unwrap_or(DEFAULT)))
}

fn log(region: &NodeRef) {
    let Stragglers { listed, more } = tree::stragglers(region, LINES_MAX);
    let what = region.node().info();
    for straggler in &listed {
        tell_of(straggler, &what);
    }
    if listed.is_empty() {
        let waited = region.node().cause().map_or(Duration::ZERO, |cause| cause.at().elapsed());
        tell(format_args!("{what} has not ended {waited:.1?} after its cancel, with no task left in it"));
    }
    if more > 0 {
        tell(format_args!("{more} more hold up the exit of {what}"));
    }
}

fn tell_of(straggler: &Straggler, region: &NodeInfo) {
    let held_up = HeldUp {
        by: Fields { path: Some(straggler.path()), ..straggler.info().fields() },
        age: straggler.age(),
        state: &straggler.doing(),
        since_cancel: straggler.since_cancel(),
        exit_of: region,
    };
    let (info, doing) = (straggler.info(), straggler.doing());
    if !trace::held_up(&held_up, format_args!("{info} holds up the exit of {region}: {doing}")) {
        lost::write_line(format_args!("the exit of {region} is held up by {straggler}"));
    }
}

fn tell(what: fmt::Arguments<'_>) {
    if !trace::slow_exit(what) {
        lost::write_line(what);
    }
}
