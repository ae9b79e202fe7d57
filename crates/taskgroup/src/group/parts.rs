//! Groups that calls further out open for themselves, whose children each do many pieces of work: the places in
//! the source are the callers', and a piece that fails is named for itself.

use std::panic::Location;

use super::core::{GroupCore, ToGroup};
use super::spawn::Options;
use super::{Builder, Run, Settings, Spawner, TaskGroup};
use crate::error::{ErrorGroup, Failure};
use crate::sync::Arc;
use crate::task::{Problem, Reporter, catch};
use crate::tree::{self, Id, Member, NodeInfo, NodeKind, NodeRef};

impl<E: Send + 'static> Builder<E> {
    /// [`build`](Self::build) at `location`, with the name `name` if it has none.
    pub(crate) fn build_at(self, name: &'static str, location: &'static Location<'static>) -> TaskGroup<E> {
        TaskGroup::open(self.into_settings_of(name), location)
    }

    /// The settings of a group with the name `name`, if it has none.
    pub(crate) fn into_settings_of(mut self, name: &'static str) -> Settings<E> {
        self.settings.name.get_or_insert(name.into());
        self.settings
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    /// Runs `start` as the body of the group, which spawns the first children, and waits until all have ended.
    pub(crate) async fn run_at(
        self,
        start: impl FnOnce() + Send,
        location: &'static Location<'static>,
    ) -> Result<(), ErrorGroup<E>> {
        let body = async {
            start();
            Ok(())
        };
        Run::new(&self.core, body, location).await
    }
}

impl<E: Send + 'static> Spawner<E> {
    /// Spawns a child that nobody has a handle of, from `location`.
    #[track_caller]
    pub(crate) fn spawn_at(
        &self,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
        location: &'static Location<'static>,
    ) {
        drop(self.core.spawn(future, Options::new(location)));
    }

    /// How many threads the group's runtime polls children on.
    #[track_caller]
    pub(crate) fn threads(&self) -> usize {
        self.core.runtime().metrics().num_workers()
    }

    /// As [`GroupCore::report_part`].
    pub(crate) fn report_part(&self, name: String, problem: Problem<E>) {
        self.core.report_part(name, problem);
    }

    /// As [`GroupCore::cut_error`].
    pub(crate) fn cut_error(&self) -> ErrorGroup<E> {
        self.core.cut_error()
    }
}

impl<E: Send + 'static> GroupCore<E> {
    /// A piece of the work of a child failed, and the child may go on: enters it as a failure of the group.
    pub(crate) fn report_part(self: &Arc<Self>, name: String, problem: Problem<E>) {
        let group: NodeRef = self.member();
        let problem = match problem {
            Problem::Error(error) if self.node().is_cancelled() => {
                match catch(|| ToGroup::without_cancelled(Some(&group), error)) {
                    Ok(Some(error)) => Problem::Error(error),
                    Ok(None) => return,
                    Err(panic) => Problem::Panic(panic),
                }
            }
            problem => problem,
        };
        let path = format!("{} > {name}", tree::path_of(group.node())).into_boxed_str();
        let location = group.node().location();
        let who = NodeInfo { kind: NodeKind::Task, id: Id::next(), name: Some(name.into()), location };
        GroupCore::record_as(&group, self, Failure::new(problem, who, path));
    }

    /// What comes out where children were cut and nobody failed.
    pub(crate) fn cut_error(&self) -> ErrorGroup<E> {
        let node = self.node();
        ErrorGroup::new(node.info(), Vec::new(), 0, node.cause())
    }
}
