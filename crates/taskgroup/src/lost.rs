//! Where a failure goes when nobody is left to be told of it (R2, R4, R10).
//!
//! One line each: a `tracing` event where a subscriber is set, else a line on standard error, so that
//! no failure vanishes because logging was never set up.

use std::fmt;

/// Reports a failure that has no owner any more.
pub(crate) fn report(what: fmt::Arguments<'_>) {
    #[cfg(feature = "tracing")]
    if tracing::dispatcher::has_been_set() {
        tracing::error!(target: "taskgroup", "{what}");
        return;
    }
    // A closed standard error must not turn a report into a panic.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("taskgroup: {what}\n"));
}
