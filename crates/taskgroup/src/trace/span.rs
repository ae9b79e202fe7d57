//! Spans of groups and tasks.

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::guarded;

/// A span, or where nobody listens none. Boxed: a span is five words, and most programs pay for none.
#[derive(Default)]
pub(crate) struct Span(Option<Box<tracing::Span>>);

/// Inside the span until it is dropped.
#[must_use]
pub(crate) struct Entered<'a>(Option<tracing::span::Entered<'a>>);

/// What was named is worth a line in a production log, what was not is for looking closer.
macro_rules! span {
    ($kind:literal, $name:expr, $($fields:tt)*) => {
        match $name {
            Some(name) => tracing::span!(target: "taskgroup", Level::INFO, $kind, name, $($fields)*),
            None => tracing::span!(target: "taskgroup", Level::DEBUG, $kind, $($fields)*),
        }
    };
}

/// Whether anybody listens: if not there are no spans.
#[inline]
pub(crate) fn is_on() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

impl Span {
    /// The span of a group. Its parent is the current one.
    #[inline]
    pub(crate) fn of_group(name: Option<&str>, id: u64) -> Self {
        Self::make(|| span!("group", name, id))
    }

    /// The span of a task, its parent the current one; where it is filtered out, the current one itself.
    #[inline]
    pub(crate) fn of_task(name: Option<&str>, id: u64, group: u64) -> Self {
        Self::make(|| {
            let own = span!("task", name, id, group);
            if own.is_disabled() { tracing::Span::current() } else { own }
        })
    }

    /// The span that is current here, for who is to enter it again.
    #[inline]
    pub(crate) fn current() -> Self {
        Self::make(tracing::Span::current)
    }

    #[inline]
    fn make(span: impl FnOnce() -> tracing::Span) -> Self {
        if is_on() { Self::listened_to(span) } else { Self(None) }
    }

    #[cold]
    fn listened_to(span: impl FnOnce() -> tracing::Span) -> Self {
        Self(guarded(span).filter(|span| !span.is_disabled()).map(Box::new))
    }

    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Makes it the current span.
    #[inline]
    pub(crate) fn enter(&self) -> Entered<'_> {
        match &self.0 {
            None => Entered(None),
            Some(span) => Entered(enter(span)),
        }
    }
}

impl Entered<'_> {
    /// Inside no span.
    #[inline]
    pub(crate) fn nothing() -> Self {
        Self(None)
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(entered) = self.0.take() {
            exit(entered);
        }
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            close(span);
        }
    }
}

// Out of line: what no subscriber listens to has none of this in its way.

#[cold]
fn enter(span: &tracing::Span) -> Option<tracing::span::Entered<'_>> {
    guarded(|| span.enter())
}

#[cold]
fn exit(entered: tracing::span::Entered<'_>) {
    let _ = guarded(|| drop(entered));
}

#[cold]
#[allow(clippy::boxed_local, reason = "it is freed in here")]
fn close(span: Box<tracing::Span>) {
    let _ = guarded(|| drop(span));
}

#[cfg(all(test, not(taskgroup_loom)))]
mod tests {
    use super::*;

    #[test]
    fn without_a_subscriber_nothing_is_made() {
        assert!(Span::of_group(Some("crawl"), 1).0.is_none());
        assert!(Span::of_task(Some("page 7"), 2, 1).0.is_none());
        assert_eq!(size_of::<Span>(), size_of::<usize>());
    }
}
