//! Where a failure goes when nobody is left to be told of it (R2, R4, R10).
//!
//! One line each: a `tracing` event where somebody listens, else a line on standard error, so that
//! no failure vanishes because logging was never set up.

use std::fmt;

/// Reports a failure that has no owner any more.
pub(crate) fn report(what: fmt::Arguments<'_>) {
    // A subscriber that panics, or a closed standard error, must not keep the rest from being ended.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| write(what)));
}

fn write(what: fmt::Arguments<'_>) {
    #[cfg(feature = "tracing")]
    if tracing::enabled!(target: "taskgroup", tracing::Level::ERROR) {
        tracing::error!(target: "taskgroup", "{what}");
        return;
    }
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("taskgroup: {what}\n"));
}
