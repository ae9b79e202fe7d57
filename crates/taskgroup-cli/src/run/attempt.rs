//! One attempt of a job: its command, what it writes, its time limit.
//!
//! # Invariants
//!
//! 1. The output is read and handed on beside everything else, so that a console that takes nothing holds up no order.
//! 2. When nothing of the command is alive, what is in its pipes is all there will be: a pipe is then read until it is empty, and
//!    nobody waits for its end, which a process elsewhere may hold back.
//! 3. The start of an attempt is told before its output, in the same place, for the same reason.
//! 4. An attempt is over when nothing of it is alive and its output has been handed on; after a second signal, when nothing of it
//!    is alive.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use taskgroup_process::{Command, Ended as How, Error, Event as Happened, Exit, LeakPolicy, Running, Stdio};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;

use super::job::{Report, Surroundings};
use super::orders::{Due, Orders};
use super::terminal;
use crate::console::Console;
use crate::event::{Ending, Event, JobInfo, Leak, Outcome, Signalled, Stream, Usage};
use crate::plan::Job;

/// The variable that tells a `tg` in a job how long it has when the job is ended, in seconds.
pub(super) const GRACE: &str = "TG_GRACE";

/// So much is read at once.
const CHUNK: usize = 64 * 1024;

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) elapsed: Duration,
    pub(super) usage: Usage,
    pub(super) signalled: Signalled,
    pub(super) leaks: Vec<Leak>,
}

/// An attempt that is to be made.
pub(super) struct Attempt<'j> {
    job: &'j Job,
    info: &'j Arc<JobInfo>,
    number: u32,
    around: &'j mut Surroundings,
}

/// What an attempt has gone through.
struct Watch {
    orders: Orders,
    due: Option<Due>,
    /// The cause, if it was cancelled before its leader had ended.
    cancelled: Option<Arc<str>>,
    leader_has_ended: bool,
}

impl<'j> Attempt<'j> {
    pub(super) fn new(
        job: &'j Job,
        info: &'j Arc<JobInfo>,
        number: u32,
        around: &'j mut Surroundings,
    ) -> Self {
        Self { job, info, number, around }
    }

    pub(super) async fn run(self) -> Ended {
        let begun = self.around.console.elapsed();
        let command = match self.command() {
            Ok(command) => command,
            Err(error) => {
                return Ended::without_process(Outcome::Trouble {
                    text: format!("the terminal cannot be had: {error}"),
                });
            }
        };
        match command.start().await {
            Ok(running) => {
                let console = self.around.console.clone();
                let mut ended = self.drive(running).await;
                ended.elapsed = console.elapsed().saturating_sub(begun);
                ended
            }
            Err(error) => Ended::without_process(refusal(&error)),
        }
    }

    fn command(&self) -> io::Result<Command> {
        let Self { job, around, .. } = self;
        let words = job.command.argv(&around.shell);
        let policy =
            if job.leaks == crate::args::Leaks::Ignore { LeakPolicy::Ignore } else { LeakPolicy::Report };
        let mut command =
            Command::new(&words[0]).args(&words[1..]).envs(&job.env).grace(job.grace).leaks(policy);
        command = if around.isolate { command.isolate() } else { command };
        if let Some(folder) = &around.cgroup {
            command = command.cgroup(folder);
        }
        let grace = around.grace_max.map_or(job.grace, |most| job.grace.min(most));
        command = command.env(GRACE, grace.as_secs_f64().to_string());
        if let Some(dir) = &job.dir {
            command = command.current_dir(dir);
        }
        if self.info.tty {
            let stdio = command.stdin(Stdio::inherit());
            Ok(match terminal::open()? {
                Some(terminal) => stdio.foreground(terminal),
                None => stdio,
            })
        } else {
            Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
        }
    }

    async fn drive(self, mut running: Running) -> Ended {
        let Self { job, info, number, around } = self;
        let console = around.console.clone();
        let started = Event::JobStarted { job: Arc::clone(info), attempt: number, pid: running.pid() };
        let orders = around.told.now();
        let mut watch = Watch {
            due: job.timeout.and_then(|timeout| Due::after(timeout, &orders)),
            orders: Orders::default(),
            cancelled: None,
            leader_has_ended: false,
        };
        watch.obey(orders, &mut running, job, around);
        let is_over = Over::default();
        let pumps = [(running.stdout.take(), Stream::Stdout), (running.stderr.take(), Stream::Stderr)];
        let [out, err] = pumps.map(|(pipe, stream)| pump(pipe, stream, info.number, &console, &is_over));
        let mut pumps = pin!(async {
            console.event(started).await;
            tokio::join!(out, err)
        });
        let (mut are_pumped, mut exit) = (false, None);
        while !(exit.is_some() && (are_pumped || watch.orders.is_hurried)) {
            let reached = Due::reached(watch.due, &watch.orders);
            tokio::select! {
                biased;
                _ = &mut pumps, if !are_pumped => are_pumped = true,
                () = around.told.changed() => {
                    let orders = around.told.now();
                    watch.obey(orders, &mut running, job, around);
                }
                () = reached, if !watch.leader_has_ended => {
                    running.time_out(job.timeout.unwrap_or_default(), job.grace);
                    watch.due = None;
                }
                event = running.next_event(), if exit.is_none() => match event {
                    Happened::Ended(ended) => {
                        is_over.set();
                        exit = Some(ended);
                    }
                    Happened::LeaderEnded { .. } => watch.leader_has_ended = true,
                    Happened::Stopped { signal } => stopped(signal, info, around).await,
                    _ => {}
                },
            }
        }
        let exit = exit.unwrap_or_else(|| unreachable!("the loop ends with one"));
        ended(&exit, watch.cancelled.as_deref(), job)
    }
}

impl Watch {
    /// Does what is new in the orders.
    fn obey(&mut self, orders: Orders, running: &mut Running, job: &Job, around: &Surroundings) {
        let before = std::mem::replace(&mut self.orders, orders);
        let orders = &self.orders;
        if let (None, Some(cause)) = (&before.ending, &orders.ending)
            && !self.leader_has_ended
        {
            self.cancelled = Some(Arc::clone(cause));
            self.due = None;
        }
        let is_new = before.ending.is_none() || before.grace_max != orders.grace_max;
        if orders.ending.is_some() && is_new {
            running.terminate(orders.grace(job.grace));
        }
        if orders.is_hurried && !before.is_hurried {
            running.kill();
        }
        if orders.is_suspended && !before.is_suspended {
            running.suspend();
            let _ = around.reports.send(Report::StandsStill);
        }
        if before.is_suspended && !orders.is_suspended {
            if job.tty {
                terminal::give_to(running.pid());
            }
            running.resume();
        }
    }
}

/// The leader was stopped: at the terminal that it has, or because it has none.
async fn stopped(signal: i32, info: &Arc<JobInfo>, around: &Surroundings) {
    match signal {
        libc::SIGTSTP | libc::SIGSTOP if info.tty => {
            let _ = around.reports.send(Report::StoppedAtTerminal);
        }
        libc::SIGTTIN | libc::SIGTTOU => around.tell(Event::JobStopped { job: Arc::clone(info) }).await,
        _ => {}
    }
}

/// Whether everything of the command has ended, for those who read what it has written.
#[derive(Default)]
struct Over {
    is_set: AtomicBool,
    told: Notify,
}

impl Over {
    fn set(&self) {
        // Relaxed: one task sets and reads it; only its type must be fit for threads.
        self.is_set.store(true, Ordering::Relaxed);
        self.told.notify_waiters();
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    async fn reached(&self) {
        let told = self.told.notified();
        if !self.is_set() {
            told.await;
        }
    }
}

/// Hands on what comes out of a pipe.
async fn pump(pipe: Option<Receiver>, stream: Stream, job: usize, console: &Console, over: &Over) {
    let Some(pipe) = pipe else { return };
    let mut buffer = vec![0; CHUNK];
    loop {
        match pipe.try_read(&mut buffer) {
            Ok(read) if read > 0 => console.output(job, stream, buffer[..read].to_vec()).await,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !over.is_set() => {
                either(pipe.readable(), over.reached()).await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            _ => return,
        }
    }
    // The runtime may not have heard yet of what came last: the pipe itself knows. Not more than that is read, since a process
    // elsewhere may write without an end.
    let mut left = rustix::io::ioctl_fionread(&pipe).unwrap_or(0);
    while left > 0 {
        match rustix::io::read(&pipe, &mut buffer[..]) {
            Ok(read) if read > 0 => {
                left = left.saturating_sub(read as u64);
                console.output(job, stream, buffer[..read].to_vec()).await;
            }
            Err(rustix::io::Errno::INTR) => {}
            _ => return,
        }
    }
}

async fn either<A>(one: impl Future<Output = A>, other: impl Future<Output = ()>) {
    tokio::select! { _ = one => {}, () = other => {} }
}

fn ended(exit: &Exit, cancelled: Option<&str>, job: &Job) -> Ended {
    let ending = match (exit.code(), exit.signal()) {
        (Some(code), _) => Ending::Exited { code },
        (None, signal) => Ending::Signalled { signal: signal.unwrap_or(libc::SIGKILL) },
    };
    let leaks: Vec<Leak> =
        exit.leaks().iter().map(|leak| Leak { pid: leak.pid, command: leak.command.clone() }).collect();
    // Who had ended by itself when it was to be ended has not been cancelled.
    let cancelled = cancelled.filter(|_| exit.terminated() + exit.killed() > 0);
    let outcome = match (exit.ended(), cancelled, ending) {
        (How::KeeperLost, ..) => {
            Outcome::Trouble { text: "its keeper was killed, and the job with it".into() }
        }
        (How::TimedOut(limit), ..) => Outcome::TimedOut { limit, ending },
        (_, Some(cause), ending) => Outcome::Cancelled { cause: cause.to_owned(), ending },
        (.., Ending::Exited { code: 0 }) if job.leaks == crate::args::Leaks::Fail && !leaks.is_empty() => {
            Outcome::Leaked
        }
        (.., Ending::Exited { code: 0 }) => Outcome::Succeeded,
        (.., Ending::Exited { code }) => Outcome::Failed { code },
        (.., Ending::Signalled { signal }) => Outcome::Killed { signal },
        (.., Ending::NotRunning) => unreachable!("it has run"),
    };
    let usage = exit.usage();
    Ended {
        outcome,
        elapsed: exit.elapsed(),
        usage: Usage { user: usage.user, system: usage.system, max_rss_bytes: usage.max_rss },
        signalled: Signalled { sigterm: exit.terminated() as usize, sigkill: exit.killed() as usize },
        leaks,
    }
}

impl Ended {
    /// There was no process, or is none any more.
    pub(super) fn without_process(outcome: Outcome) -> Self {
        let (usage, signalled) = (Usage::default(), Signalled::default());
        Self { outcome, elapsed: Duration::ZERO, usage, signalled, leaks: Vec::new() }
    }
}

fn refusal(error: &Error) -> Outcome {
    match error {
        Error::NotFound { .. } => Outcome::NotFound,
        Error::NotExecutable { .. } => Outcome::NotExecutable,
        _ => Outcome::Trouble { text: with_causes(error) },
    }
}

/// An error with its causes, on one line.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
