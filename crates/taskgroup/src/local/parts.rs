//! Groups that calls further out open for themselves, whose children each do many pieces of work: as in
//! [`group`](crate::group).

use std::future::Future;
use std::panic::Location;

use super::cell::Options;
use super::group;
use super::kind::SameThread;
use super::run::LocalRun;
use super::spawner::LocalSpawner;
use super::{HostedGroup, LocalGroup};
use crate::error::ErrorGroup;
use crate::group::Builder;
use crate::task::Problem;

impl<'env, E: Send + 'static> LocalGroup<'env, E> {
    /// A group with these settings, and the name `name` if it has none, opened at `location`.
    pub(crate) fn build_at(
        builder: Builder<E>,
        name: &'static str,
        location: &'static Location<'static>,
    ) -> Self {
        HostedGroup::open(builder.into_settings_of(name), location)
    }

    /// Runs `start` as the body of the group, which spawns the first children, and waits until all have ended.
    pub(crate) async fn run_at(
        self,
        start: impl FnOnce(),
        location: &'static Location<'static>,
    ) -> Result<(), ErrorGroup<E>> {
        let body = async {
            start();
            Ok(())
        };
        LocalRun::new(&self, body, location).await
    }
}

impl<'env, E: Send + 'static> LocalSpawner<'env, E> {
    /// Spawns a child that nobody has a handle of, from `location`.
    pub(crate) fn spawn_at(
        &self,
        future: impl Future<Output = Result<(), E>> + 'env,
        location: &'static Location<'static>,
    ) {
        // SAFETY: on the group's thread; the bounds are those of `spawn`.
        let task =
            unsafe { group::spawn::<_, (), E, SameThread>(&self.core, future, Options::new(location)) };
        drop(task);
    }

    /// As of a [`Spawner`](crate::Spawner).
    pub(crate) fn report_part(&self, name: String, problem: Problem<E>) {
        self.core.report_part(name, problem);
    }

    /// As of a [`Spawner`](crate::Spawner).
    pub(crate) fn cut_error(&self) -> ErrorGroup<E> {
        self.core.cut_error()
    }
}
