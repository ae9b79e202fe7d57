//! Operating-system processes as children of a task group: done means empty.
//!
//! A [`Command`] is run as a child of a [`taskgroup`] group. Its future ends when the program that was started **and every
//! descendant of it** are gone; a cancel is SIGTERM to all of them, a grace period, and SIGKILL to what is left.
//!
//! ```
//! # #[tokio::main] async fn main() -> Result<(), taskgroup::ErrorGroup> {
//! use std::time::Duration;
//! use taskgroup_process::Command;
//!
//! taskgroup::scope(async |tg| {
//!     tg.spawn_into(Command::shell("sleep 1000 & sleep 1000").run()); // a server, with a child of its own
//!     tg.spawn_into(Command::new("true").timeout(Duration::from_secs(10)).run()).await?;
//!     tg.cancel(); // the server and its child are ended
//!     Ok(())
//! })
//! .await // here both are gone
//! # }
//! ```
//!
//! # What holds them
//!
//! On Linux a *keeper* stands between the program and each command: a small process, forked from the program, that is a
//! [child subreaper](https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html). Whoever below it loses its
//! parent becomes its child, whatever sessions and process groups it has made for itself; so the keeper knows when
//! nobody is left. It is in a process group of its own and blocks all signals. When the program ends, by SIGKILL too, the keeper
//! notices and ends what it keeps. `docs/processes.md` in the repository tells it in full, with what cannot be held.
//!
//! Elsewhere a process group is all there is: what leaves it is lost sight of.
//!
//! Call [`install`] first in `main` if somebody might kill a keeper: orphans then come to the program, which ends them.

mod command;
mod contain;
#[cfg(doctest)]
mod doc_tests;
mod error;
mod exit;
pub mod foreground;
mod log;
mod run;
mod running;
mod search;
pub mod signal;
mod stdio;

pub use command::Command;
pub use error::Error;
pub use exit::{Ended, Exit, Leak, LeakPolicy, Usage};
pub use run::Output;
pub use running::{Event, Running};
pub use stdio::{Stdio, Stream};

/// Makes this program the parent of what is orphaned when a keeper is killed; says whether the system can do that.
///
/// Call it first in `main`, in a program that starts processes through this crate alone: it takes *every* child that is not a
/// keeper for an orphan of a keeper, once one was killed, and kills it. Without it such orphans are found by a mark in their
/// environment, `TASKGROUP_JOB`, as far as they have kept it.
///
/// ```
/// let holds = taskgroup_process::install();
/// println!("what a killed keeper leaves behind comes to this program: {holds}");
/// ```
pub fn install() -> bool {
    contain::install()
}
