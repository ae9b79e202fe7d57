//! Groups that poll their children themselves.
mod builder;
mod cell;
mod drive;
mod group;
mod handle;
mod hosted;
mod inbox;
mod kind;
mod run;
mod scope;
mod seat;
mod spawner;
mod state;
mod task_builder;
mod waker;

pub use builder::LocalBuilder;
pub use group::{HostedGroup, LocalGroup, SendLocalGroup};
pub use handle::LocalTask;
pub use kind::{AnyThread, Fits, Host, SameThread};
pub use run::LocalRun;
pub use scope::local_scope;
pub use spawner::LocalSpawner;
pub use task_builder::LocalTaskBuilder;

pub(crate) use hosted::Hosted;
