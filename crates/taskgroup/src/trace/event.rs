//! Events with fields. Each says for itself at which level, and why.

use std::fmt;
use std::time::Duration;

use tracing::Level;
use tracing::field::{debug, display};

use super::{Fields, HeldUp, guarded};

macro_rules! event {
    ($level:ident, $fields:expr, $($message:tt)+) => {{
        let Fields { name, id, location, group, path, error } = *$fields;
        let location = location.map(display);
        let _ = guarded(|| {
            tracing::event!(
                target: "taskgroup", Level::$level, name, id, location, group, path, error, $($message)+
            );
        });
    }};
}

macro_rules! enabled {
    ($level:ident) => {
        guarded(|| tracing::enabled!(target: "taskgroup", Level::$level)).unwrap_or(false)
    };
}

pub(crate) fn wants_failed() -> bool {
    enabled!(DEBUG)
}

/// A task or body failed or panicked. Quiet: its group has the error or the payload, and its owner is given it.
pub(crate) fn failed(kind: &str, panicked: bool, fields: &Fields<'_>) {
    let how = if panicked { "panicked" } else { "failed" };
    event!(DEBUG, fields, "{kind} {how}");
}

/// A group was cancelled.
pub(crate) fn cancelled(fields: &Fields<'_>, cause: &dyn fmt::Display) {
    let cause = display(cause);
    event!(DEBUG, fields, cause, "group cancelled");
}

/// The grace period was over, and the group or task was dropped where it stood, `waited` after its cancel. Nobody
/// is told otherwise that work was torn.
pub(crate) fn grace_ended(kind: &str, fields: &Fields<'_>, waited: Option<Duration>) {
    let waited = waited.map(debug);
    event!(WARN, fields, waited, "{kind} dropped: its grace period was over");
}

/// Something went wrong and has no owner any more. False: nobody listens.
#[must_use]
pub(crate) fn lost(fields: &Fields<'_>, what: fmt::Arguments<'_>) -> bool {
    let wanted = enabled!(ERROR);
    if wanted {
        event!(ERROR, fields, "{what}");
    }
    wanted
}

/// Somebody holds up an exit, of which nobody is told otherwise. False: nobody listens.
#[must_use]
pub(crate) fn held_up(held_up: &HeldUp<'_>, what: fmt::Arguments<'_>) -> bool {
    let wanted = enabled!(WARN);
    if wanted {
        let HeldUp { by, age, state, since_cancel, exit_of } = *held_up;
        let Fields { name, id, location, path, .. } = by;
        let (location, state, group) = (location.map(display), display(state), display(exit_of));
        let (age, since_cancel) = (age.map(debug), since_cancel.map(debug));
        let _ = guarded(|| {
            tracing::event!(
                target: "taskgroup", Level::WARN, name, id, location, path, age, state, since_cancel, group, "{what}"
            );
        });
    }
    wanted
}

/// What there is to say of a slow exit beside who holds it up. False: nobody listens.
#[must_use]
pub(crate) fn slow_exit(what: fmt::Arguments<'_>) -> bool {
    let wanted = enabled!(WARN);
    if wanted {
        event!(WARN, &Fields::default(), "{what}");
    }
    wanted
}
