//! What a `tracing` subscriber sees of groups and tasks: spans and events. Nobody else asks for the feature.
//!
//! ```text
//! group{name="crawl" id=1}              open from the first poll of `run`, `join` or `scope` to the exit
//!   task{name="page 7" id=2 group=1}    open from the spawn to the task's end; its parent: the span current there
//! ```
//!
//! # Invariants
//!
//! 1. Where no subscriber listens, nothing is made, and one load finds that out. Without the feature a span
//!    has no size and every call is empty.
//! 2. A task has a span of its own, or where that is filtered out, the one current at the spawn site. Either is
//!    entered around each poll of its future, around the drop of that, and around the report of its failure;
//!    it is let go before the end can be seen by anybody.
//! 3. A subscriber may panic: that ends nobody and keeps nobody from ending.
//! 4. No subscriber is called under a lock of ours.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

#[cfg(feature = "tracing")]
mod event;
#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(feature = "tracing")]
mod span;

#[cfg(feature = "tracing")]
pub(crate) use self::{
    event::{cancelled, failed, grace_ended, held_up, lost, slow_exit, wants_failed},
    span::{Entered, Span, is_on},
};
#[cfg(not(feature = "tracing"))]
pub(crate) use off::{
    Entered, Span, cancelled, failed, grace_ended, held_up, is_on, lost, slow_exit, wants_failed,
};

/// What events say in fields. What is `None` is left out.
#[derive(Clone, Copy, Default)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "there is nobody to read them"))]
pub(crate) struct Fields<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) id: Option<u64>,
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) group: Option<u64>,
    pub(crate) path: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
}

/// What the event of an exit that is held up says in fields, beside who does it.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "there is nobody to read them"))]
pub(crate) struct HeldUp<'a> {
    /// Its `group` is not said: `exit_of` is.
    pub(crate) by: Fields<'a>,
    pub(crate) age: Option<Duration>,
    pub(crate) state: &'a dyn fmt::Display,
    pub(crate) since_cancel: Option<Duration>,
    pub(crate) exit_of: &'a dyn fmt::Display,
}

/// Calls a subscriber. `None`: it panicked, and the panic hook has told of that.
#[cfg(feature = "tracing")]
fn guarded<R>(call: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).ok()
}
