//! Where a failure goes when nobody is left to be told of it (R2, R4, R10).
//!
//! One line each: a `tracing` event where somebody listens, else a line on standard error, so that
//! no failure vanishes because logging was never set up. A slow exit, of which nobody is told either, is said in
//! such lines too.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::trace::{self, Fields};

/// Reports something that went wrong and has no owner any more.
pub(crate) fn report(what: fmt::Arguments<'_>) {
    report_with(&Fields::default(), what);
}

/// [`report`], with fields for who reads events by program; the text says it all.
pub(crate) fn report_with(fields: &Fields<'_>, what: fmt::Arguments<'_>) {
    if !trace::lost(fields, what) {
        write_line(what);
    }
}

/// A line on standard error.
pub(crate) fn write_line(what: fmt::Arguments<'_>) {
    // A closed standard error must not keep anybody from being ended, nor must a text that panics.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("taskgroup: {what}\n"))
    }));
}
