//! The feature is off: nothing, at no cost.

use std::fmt;
use std::time::Duration;

use super::{Fields, HeldUp};

#[derive(Default)]
pub(crate) struct Span(());

#[must_use]
pub(crate) struct Entered<'a>(std::marker::PhantomData<&'a Span>);

pub(crate) fn is_on() -> bool {
    false
}

impl Span {
    pub(crate) fn of_group(_name: Option<&str>, _id: u64) -> Self {
        Self(())
    }

    pub(crate) fn of_task(_name: Option<&str>, _id: u64, _group: u64) -> Self {
        Self(())
    }

    pub(crate) fn is_none(&self) -> bool {
        true
    }

    pub(crate) fn current() -> Self {
        Self(())
    }

    pub(crate) fn enter(&self) -> Entered<'_> {
        Entered(std::marker::PhantomData)
    }
}

impl Entered<'_> {
    pub(crate) fn nothing() -> Self {
        Self(std::marker::PhantomData)
    }
}

pub(crate) fn wants_failed() -> bool {
    false
}

pub(crate) fn failed(_kind: &str, _panicked: bool, _fields: &Fields<'_>) {}

pub(crate) fn cancelled(_fields: &Fields<'_>, _cause: &dyn fmt::Display) {}

pub(crate) fn grace_ended(_kind: &str, _fields: &Fields<'_>, _waited: Option<Duration>) {}

#[must_use]
pub(crate) fn lost(_fields: &Fields<'_>, _what: fmt::Arguments<'_>) -> bool {
    false
}

#[must_use]
pub(crate) fn held_up(_held_up: &HeldUp<'_>, _what: fmt::Arguments<'_>) -> bool {
    false
}

#[must_use]
pub(crate) fn slow_exit(_what: fmt::Arguments<'_>) -> bool {
    false
}
