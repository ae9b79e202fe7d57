//! What became of a group's tasks.

use std::fmt;
use std::panic::Location;

use super::core::GroupCore;
use crate::sync::Arc;
use crate::tree::{self, Account, CancelCause, ChildRecord, Counts, Id, Member, NodeInfo, Straggler};

/// What became of the tasks of a group: how many came to what end, and a record of some of them.
///
/// From [`TaskGroup::report`](crate::TaskGroup::report), at any time, also after the group's exit. Log it when a
/// job is done, or look in it for the task that had to be dropped.
///
/// However many tasks a group has had, the report is small: it counts all of them, and has a [`ChildRecord`] of
/// the first 32 (or as many as [`Builder::report_records`](crate::Builder::report_records) says), and of up to
/// 1024 others that outlived their grace period.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// use taskgroup::{CancelEnd, ChildEnd, TaskGroup};
/// let group: TaskGroup = TaskGroup::builder().name("night job").build();
/// group.spawn(async { Ok("done") });
/// group.task().name("poller").spawn(std::future::pending::<Result<(), _>>());
/// let body = async {
///     tokio::time::sleep(Duration::from_secs(2)).await;
///     group.cancel_because("enough");
///     Ok(())
/// };
/// group.run(body).await.unwrap();
///
/// let report = group.report();
/// assert_eq!((report.spawned(), report.completed(), report.cancelled()), (2, 1, 1));
/// let poller = report.records().iter().find(|record| record.name() == Some("poller")).unwrap();
/// assert_eq!(poller.end(), Some(ChildEnd::Cancelled(CancelEnd::Cut)));
/// assert_eq!(poller.lifetime(), Some(Duration::from_secs(2)));
/// assert_eq!(poller.cause().unwrap().to_string(), "enough");
/// # }
/// ```
///
/// Its `Display` is the counts on one line, and a line for each record:
///
/// ```text
/// group "night job" (#1): 2 spawned, 1 completed, 1 cancelled (1 cut)
///   task #2 at src/main.rs:6:7: completed at its first poll
///   task "poller" (#3) at src/main.rs:7:29: cut at an await after 2.000s: enough
/// ```
///
/// Where a group is dropped, blocking closures that cannot be are [handed over](Self::handed_over) to the group
/// around it, which counts them as [adopted](Self::adopted). So `spawned + adopted` is always the sum of
/// `running`, `handed_over`, `completed`, `failed`, `panicked` and `cancelled`.
#[derive(Clone, Debug)]
pub struct GroupReport {
    group: NodeInfo,
    counts: Counts,
    running: usize,
    queued: usize,
    records: Vec<ChildRecord>,
    cause: Option<CancelCause>,
}

impl GroupReport {
    /// The identity of the group.
    pub fn id(&self) -> Id {
        self.group.id()
    }

    /// The name of the group.
    pub fn name(&self) -> Option<&str> {
        self.group.name()
    }

    /// Where the group was opened.
    pub fn location(&self) -> &'static Location<'static> {
        self.group.location()
    }

    /// Who cancelled the group, and why; `None` if nobody did.
    pub fn cause(&self) -> Option<&CancelCause> {
        self.cause.as_ref()
    }

    /// How many tasks were spawned, blocking closures and tasks that were born cancelled included.
    pub fn spawned(&self) -> usize {
        self.counts.spawned
    }

    /// How many closures were taken over from groups inside that had been dropped.
    pub fn adopted(&self) -> usize {
        self.counts.adopted
    }

    /// How many closures were left to a group around, because this one was dropped.
    pub fn handed_over(&self) -> usize {
        self.counts.handed_over
    }

    /// How many have not ended, those included that are [queued](Self::queued).
    pub fn running(&self) -> usize {
        self.running
    }

    /// Of those that have not ended: how many wait for their turn under a [limit](crate::Builder::limit).
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// How many returned `Ok`.
    pub fn completed(&self) -> usize {
        self.counts.completed
    }

    /// How many of the completed had been cancelled, and came to their value all the same.
    pub fn completed_after_cancel(&self) -> usize {
        self.counts.completed_late
    }

    /// How many returned an error that counts as a failure. One that belonged to its starter counts too (R20).
    pub fn failed(&self) -> usize {
        self.counts.failed
    }

    /// How many panicked.
    pub fn panicked(&self) -> usize {
        self.counts.panicked
    }

    /// How many ended because they were cancelled: the sum of the next four.
    pub fn cancelled(&self) -> usize {
        self.asked() + self.cut() + self.dropped() + self.never_started()
    }

    /// How many cancelled ones ended by themselves, with an error that means "cancelled" (R9).
    pub fn asked(&self) -> usize {
        self.counts.asked
    }

    /// How many were cut at an await, or dropped with the group.
    pub fn cut(&self) -> usize {
        self.counts.cut
    }

    /// How many were dropped because their grace period was over (R15).
    pub fn dropped(&self) -> usize {
        self.counts.dropped
    }

    /// How many were cancelled before any of their code had run.
    pub fn never_started(&self) -> usize {
        self.counts.never_started
    }

    /// How many had not ended when their grace period was over, whatever they came to then: a blocking closure
    /// cannot be dropped, and a task that is being polled may just come to its end.
    pub fn needed_force(&self) -> usize {
        self.counts.forced
    }

    /// The records, in the order in which the tasks were spawned: of the first ones, running or ended, and of
    /// those that needed force.
    pub fn records(&self) -> &[ChildRecord] {
        &self.records
    }

    /// Of how many tasks there is no record.
    pub fn unrecorded(&self) -> usize {
        (self.spawned() + self.adopted()).saturating_sub(self.records.len())
    }
}

impl fmt::Display for GroupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} spawned", self.group, self.spawned())?;
        counted(
            f,
            ", ",
            &[
                (self.adopted(), "adopted"),
                (self.running - self.queued, "running"),
                (self.queued, "queued"),
                (self.handed_over(), "handed over"),
                (self.completed(), "completed"),
                (self.failed(), "failed"),
                (self.panicked(), "panicked"),
                (self.cancelled(), "cancelled"),
            ],
        )?;
        if self.cancelled() > 0 {
            f.write_str(" (")?;
            counted(
                f,
                "",
                &[
                    (self.asked(), "as asked"),
                    (self.cut(), "cut"),
                    (self.dropped(), "dropped after grace"),
                    (self.never_started(), "never started"),
                ],
            )?;
            f.write_str(")")?;
        }
        for record in &self.records {
            write!(f, "\n  {record}")?;
        }
        match self.unrecorded() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// The counts that are not zero, each with its word.
fn counted(f: &mut fmt::Formatter<'_>, first: &str, counts: &[(usize, &str)]) -> fmt::Result {
    let mut before = first;
    for (count, word) in counts.iter().filter(|(count, _)| *count > 0) {
        write!(f, "{before}{count} {word}")?;
        before = ", ";
    }
    Ok(())
}

impl<E: Send + 'static> GroupCore<E> {
    pub(crate) fn stragglers(self: &Arc<Self>) -> Vec<Straggler> {
        tree::stragglers(&self.member(), usize::MAX).listed
    }

    pub(crate) fn report(&self) -> GroupReport {
        let Account { mut counts, mut running, records } = self.node().account();
        let unentered = self.unentered();
        counts.spawned += unentered;
        running += unentered;
        let queued = self.group_limit().map_or(0, |limit| limit.queued()).min(running);
        GroupReport {
            group: self.node().info(),
            counts,
            running,
            queued,
            records,
            cause: self.node().cause(),
        }
    }
}
