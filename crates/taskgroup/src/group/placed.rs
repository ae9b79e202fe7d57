//! Groups that calls further out open for themselves: their places in the source are the callers'.

use std::future::{Ready, ready};
use std::panic::Location;

use super::builder::{OnPanic, Settings};
use super::core::log_lost;
use super::spawn::Options;
use super::{Run, TaskGroup};
use crate::error::ErrorGroup;
use crate::lost;
use crate::task::Task;
use crate::tree::{CancelCause, Member, NodeInfo};

impl<E: Send + 'static> TaskGroup<E> {
    pub(crate) fn open_at(
        name: &'static str,
        on_panic: OnPanic,
        location: &'static Location<'static>,
    ) -> Self {
        Self::open(Settings { name: Some(name.into()), on_panic, ..Settings::default() }, location)
    }

    /// [`spawn`](Self::spawn), from `location`.
    pub(crate) fn spawn_at<T>(
        &self,
        future: impl Future<Output = Result<T, E>> + Send + 'static,
        location: &'static Location<'static>,
    ) -> Task<T>
    where
        T: Send + 'static,
    {
        self.core.spawn(future, Options::new(location))
    }

    /// Waits until every task has ended, and ends the group; who it was can still be asked then.
    pub(crate) fn drain_at(
        &self,
        location: &'static Location<'static>,
    ) -> Run<'_, Ready<Result<(), E>>, (), E> {
        Run::new(&self.core, ready(Ok(())), location)
    }

    pub(crate) fn info(&self) -> NodeInfo {
        self.core.node().info()
    }

    pub(crate) fn cause(&self) -> Option<CancelCause> {
        self.core.node().cause()
    }
}

/// Logs failures that the caller is not told of, because it has been given its answer.
pub(crate) fn log_late<E: 'static>(errors: ErrorGroup<E>) {
    let (more, who) = (errors.more(), errors.who().clone());
    errors.into_failures().into_iter().for_each(log_lost);
    if more > 0 {
        let what = format_args!("{more} more failures of {who} that nobody can be told of");
        lost::report_with(&who.fields(), what);
    }
}
