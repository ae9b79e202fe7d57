//! Ends the run, and tells the console, which may stand still for as long as nobody reads what it writes.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use taskgroup_process::signal;
use tokio::time::{Instant, sleep_until};

use super::{Due, Scheduler};
use crate::console::ConsoleThread;
use crate::event::{Cause, Event};
use crate::run::signals::Asked;

/// How long a run waits for its readers when its jobs must have ended, after a signal.
const READING: Duration = Duration::from_secs(1);

impl Scheduler {
    pub(super) async fn tell(&mut self, event: Event) {
        self.untold.push_back(event);
        self.tell_all().await;
    }

    pub(super) async fn tell_all(&mut self) {
        while let Some(event) = self.untold.pop_front() {
            let console = self.console().clone();
            self.stay_awake(async move { console.event(event).await }).await;
        }
    }

    pub(super) async fn show_running(&mut self) {
        let console = self.console().clone();
        self.stay_awake(async move { console.show_running().await }).await;
    }

    /// Until all is written.
    pub(super) async fn see_written(&mut self, thread: ConsoleThread) {
        // An error of standard output has been told to the run, which has made it its exit code.
        self.stay_awake(async move { drop(thread.join().await) }).await;
    }

    /// Waits for the console, and heeds signals and time limits meanwhile. Gives it up soon after everything was to end at once.
    async fn stay_awake(&mut self, waits: impl Future<Output = ()>) {
        let mut waits = pin!(waits);
        loop {
            let orders = self.orders.borrow().clone();
            let due = self.due.filter(|_| !self.state.is_ending());
            tokio::select! {
                biased;
                () = &mut waits => return,
                () = until(orders.gives_up_at) => return,
                asked = self.signals.next() => match asked {
                    Asked::End(signal) => self.heed(signal),
                    later => self.unanswered.push_back(later),
                },
                () = Due::reached(due, &orders) => self.out_of_time(),
                () = Due::reached(self.patience, &orders), if !orders.is_hurried => self.hurry(),
            }
        }
    }

    /// Ends the run: nothing is started any more, and what runs is ended.
    pub(super) async fn end(&mut self, cause: Cause, signal: Option<i32>) {
        self.begin_to_end(cause, signal);
        self.tell_all().await;
    }

    fn begin_to_end(&mut self, cause: Cause, signal: Option<i32>) {
        let text: Arc<str> = cause.to_string().into();
        if self.state.end(cause.clone(), signal) {
            self.orders.send_modify(|orders| orders.ending = Some(text));
            self.untold.push_back(Event::Cancelling { cause });
        }
    }

    pub(super) fn out_of_time(&mut self) {
        self.due = None;
        let limit = self.time_limit.unwrap_or_default();
        self.begin_to_end(Cause::Deadline { limit }, None);
    }

    /// Does what a signal asks for; what there is to say about it is still to be told.
    pub(super) fn heed(&mut self, signal: i32) {
        let grace_max = self.around.grace_max.filter(|_| signal == libc::SIGTERM);
        if self.state.is_ending() {
            // One that comes while the run ends for another cause is the first one.
            if self.state.asked_again(signal) && !self.orders.borrow().is_hurried {
                self.untold.push_back(Event::Hurried { signal: signal::name(signal) });
                self.hurry();
            }
        } else {
            let cause = match grace_max {
                Some(_) => Cause::Outer,
                None => Cause::Signal { signal: signal::name(signal) },
            };
            self.begin_to_end(cause, Some(signal));
        }
        if self.patience.is_none() {
            let all = match grace_max {
                Some(most) => most.mul_f64(7.0 / 6.0),
                None => self.grace.saturating_add(READING),
            };
            self.patience = Due::after(all, &self.orders.borrow());
            self.orders.send_modify(|orders| orders.grace_max = grace_max);
        }
    }

    /// Everything ends at once: the jobs, and what waits for readers.
    pub(super) fn hurry(&mut self) {
        self.orders.send_modify(|orders| {
            orders.is_hurried = true;
            orders.gives_up_at.get_or_insert_with(|| Instant::now() + READING);
        });
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
