//! What a runner needs of its root group, beside what everybody may do with a group.

use std::borrow::Cow;
use std::future::Future;
use std::panic::Location;

use super::TaskGroup;
use super::builder::{OnFailure, OnPanic, Settings};
use super::run::Run;
use crate::error::ErrorGroup;
use crate::tree::{CancelReason, Member, NodeInfo, NodeKind};

/// The settings of a root group, whatever its error type.
pub(crate) struct RootSettings {
    pub(crate) name: Cow<'static, str>,
    pub(crate) on_failure: OnFailure,
    pub(crate) on_panic: OnPanic,
    pub(crate) max_failures: usize,
}

impl RootSettings {
    pub(crate) fn named(name: &'static str) -> Self {
        let Settings { on_failure, on_panic, max_failures, .. } = Settings::<()>::default();
        Self { name: Cow::Borrowed(name), on_failure, on_panic, max_failures }
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    pub(crate) fn open_root(settings: RootSettings, location: &'static Location<'static>) -> Self {
        let RootSettings { name, on_failure, on_panic, max_failures } = settings;
        let settings =
            Settings { name: Some(name), on_failure, on_panic, max_failures, ..Settings::default() };
        Self::open(settings, location)
    }

    /// [`run`](Self::run), for a body that was given to somebody else.
    pub(crate) fn run_root<T, F>(&self, body: F, location: &'static Location<'static>) -> Run<'_, F, T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        Run::new(&self.core, body, location)
    }

    pub(crate) fn cancel_for(&self, reason: CancelReason) {
        self.core.cancel_for(reason);
    }

    /// The tasks that have not ended.
    pub(crate) fn left(&self) -> Vec<NodeInfo> {
        let members = self.core.node().members_snapshot();
        let infos = members.iter().map(|member| member.node().info());
        infos.filter(|info| matches!(info.kind(), NodeKind::Task | NodeKind::Blocking)).collect()
    }

    /// The end by drop (R2) of a group whose failures can still be told.
    pub(crate) fn end_at_once(&self) -> Option<ErrorGroup<E>> {
        let account = self.core.end_at_once(|| {})?;
        Some(ErrorGroup::new(self.core.node().info(), account.failures, account.more, account.cause))
    }
}
