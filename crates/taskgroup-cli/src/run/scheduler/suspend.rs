//! Ctrl-Z: the run stands still, with everything in it.

use std::time::Duration;

use tokio::time::timeout;

use super::Scheduler;
use crate::run::job::Report;
use crate::run::terminal;

/// How long a suspension waits for jobs to stand still, and for the console to leave the terminal.
const LIMIT: Duration = Duration::from_millis(500);

impl Scheduler {
    /// Stands still until SIGCONT: the jobs, the timers, then `tg` itself.
    pub(super) async fn suspend(&mut self) {
        self.keyboard.leave();
        let console = self.console().clone();
        let begun = tokio::time::Instant::now();
        self.orders.send_modify(|orders| orders.is_suspended = true);
        let expected = self.running;
        let _ = timeout(LIMIT, self.all_stand_still(expected)).await;
        // A console that cannot write has nothing to clean up.
        let _ = timeout(LIMIT, console.suspend()).await;
        terminal::take_back();
        // SIGSTOP, since SIGTSTP has a handler here. This call returns when somebody has sent SIGCONT.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        tokio::task::yield_now().await;
        let _ = timeout(LIMIT, console.resume()).await;
        let paused = begun.elapsed();
        self.orders.send_modify(|orders| {
            orders.is_suspended = false;
            orders.paused += paused;
        });
        self.keyboard.take();
    }

    /// Until so many jobs stand still or are over.
    async fn all_stand_still(&mut self, expected: usize) {
        let mut still = 0;
        while still < expected {
            match self.reports.recv().await {
                Some(Report::Over(over)) => {
                    self.job_is_over(*over).await;
                    still += 1;
                }
                Some(Report::StandsStill) => still += 1,
                Some(Report::StoppedAtTerminal) => {}
                None => return,
            }
        }
    }
}
