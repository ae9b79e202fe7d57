//! The lines of `tg` itself, one event at a time.

use std::time::Duration;

use super::style::{Paint, Style};
use super::text::{plural, visible};
use crate::event::{Cause, Event, JobInfo, Leak, Outcome, Skip, brief};

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Telling {
    /// Warnings alone.
    pub(crate) quiet: bool,
    /// Also what goes well.
    pub(crate) verbose: bool,
    /// There is one job, so its failure is told by the tree alone.
    pub(crate) sole: bool,
    /// A failed job has been told by the heading of its output.
    pub(crate) headed: bool,
}

/// What is to be said about an event; often nothing.
pub(crate) fn status(event: &Event, running: usize, telling: Telling, style: Style) -> Vec<String> {
    if let Event::Note { text } = event {
        return vec![format!("tg: {}: {}", style.paint(Paint::Yellow, "warning"), visible(text))];
    }
    if telling.quiet {
        return Vec::new();
    }
    let line = match event {
        Event::JobFinished { job, attempt, outcome, elapsed, leaks, will_retry_in, .. } => {
            let how = finished(job, *attempt, outcome, *elapsed, *will_retry_in, telling, style);
            return how.into_iter().chain(leaked(job, leaks, style)).collect();
        }
        Event::JobStopped { job } => {
            Some(format!("{} is stopped: it wants the terminal (give it with --tty)", visible(&job.name)))
        }
        Event::Cancelling { cause } => cancelling(cause, running, telling),
        Event::Hurried { signal } => Some(format!("{signal} again: killing what is left")),
        Event::JobSkipped { job, why: Skip::NeedFailed { need } } => {
            Some(format!("skipped {}: it needs {}", visible(&job.name), visible(need)))
        }
        _ if telling.verbose => progress(event),
        _ => None,
    };
    line.map(|line| format!("tg: {line}")).into_iter().collect()
}

/// What is told with `--verbose` only.
fn progress(event: &Event) -> Option<String> {
    match event {
        Event::RunStarted { jobs, limit } => {
            let jobs = jobs.map_or("jobs as they are read".into(), |jobs| plural(jobs, "job", "jobs"));
            let limit = limit.map_or("all at once".into(), |limit| format!("{limit} at once"));
            Some(format!("{jobs}, {limit}"))
        }
        Event::JobStarted { job, attempt: 1, pid } => {
            Some(format!("started {} (pid {pid})", visible(&job.name)))
        }
        Event::JobStarted { job, attempt, pid } => {
            Some(format!("started {} (pid {pid}), attempt {attempt}", visible(&job.name)))
        }
        Event::JobSkipped { job, why: Skip::DoneBefore } => {
            Some(format!("done before: {}", visible(&job.name)))
        }
        Event::JobSkipped { job, why: Skip::Cancelled } => {
            Some(format!("not started: {}", visible(&job.name)))
        }
        Event::Suspended => Some("suspended".into()),
        Event::Resumed => Some("resumed".into()),
        _ => None,
    }
}

fn finished(
    job: &JobInfo,
    attempt: u32,
    outcome: &Outcome,
    elapsed: Duration,
    will_retry_in: Option<Duration>,
    telling: Telling,
    style: Style,
) -> Option<String> {
    let (name, elapsed) = (visible(&job.name), brief(elapsed));
    let outcome_text = visible(&outcome.to_string());
    if let Some(delay) = will_retry_in {
        let next = format!("attempt {} in {}", attempt + 1, brief(delay));
        return Some(format!("tg: {name} failed: {outcome_text} ({elapsed}); {next}"));
    }
    match outcome {
        Outcome::Succeeded => telling.verbose.then(|| format!("tg: finished {name} ({elapsed})")),
        Outcome::Cancelled { .. } => telling.verbose.then(|| format!("tg: cancelled {name} ({elapsed})")),
        _ if telling.sole || telling.headed => None,
        _ => Some(format!("tg: {} {name}: {outcome_text} ({elapsed})", style.paint(Paint::Red, "FAILED"))),
    }
}

/// At most so many of a job's leaks are named.
const LEAKS_NAMED: usize = 3;

fn leaked(job: &JobInfo, leaks: &[Leak], style: Style) -> Option<String> {
    if leaks.is_empty() {
        return None;
    }
    let mut named: Vec<String> = leaks.iter().take(LEAKS_NAMED).map(leak).collect();
    if leaks.len() > LEAKS_NAMED {
        named.push(format!("{} more", leaks.len() - LEAKS_NAMED));
    }
    Some(format!(
        "tg: {}: {} left {} behind, now ended: {}",
        style.paint(Paint::Yellow, "leak"),
        visible(&job.name),
        plural(leaks.len(), "process", "processes"),
        named.join(", ")
    ))
}

/// A process left behind, in a few words.
pub(crate) fn leak(leak: &Leak) -> String {
    format!("pid {} ({})", leak.pid, visible(&leak.command))
}

fn cancelling(cause: &Cause, running: usize, telling: Telling) -> Option<String> {
    let ending = format!("ending {}", plural(running, "running job", "running jobs"));
    match cause {
        Cause::OutputClosed => None,
        Cause::Signal { signal } if running == 0 => {
            Some(format!("{signal}: ending (once more to kill what is left)"))
        }
        Cause::Signal { signal } => Some(format!("{signal}: {ending} (once more to kill what is left)")),
        Cause::Trouble { text } if running == 0 => Some(visible(text)),
        Cause::Trouble { text } => Some(format!("{}: {ending}", visible(text))),
        _ if running == 0 => None,
        Cause::FirstSuccess { .. } if !telling.verbose => None,
        _ => Some(format!("{}: {ending}", visible(&cause.to_string()))),
    }
}

/// What stands above the output of a job on a terminal.
pub(crate) fn heading(job: &JobInfo, outcome: &Outcome, elapsed: Duration, style: Style) -> String {
    let (name, elapsed) = (visible(&job.name), brief(elapsed));
    match outcome {
        Outcome::Succeeded => style.paint(Paint::Bold, &format!("── {name} ({elapsed})")),
        _ => {
            let paint = if outcome.is_failure() { Paint::Red } else { Paint::Dim };
            style.paint(paint, &format!("── {name}: {} ({elapsed})", visible(&outcome.to_string())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finished, job};
    use super::*;

    const PLAIN: Style = Style { color: false };
    const NORMAL: Telling = Telling { quiet: false, verbose: false, sole: false, headed: false };
    const VERBOSE: Telling = Telling { verbose: true, ..NORMAL };
    const QUIET: Telling = Telling { quiet: true, ..NORMAL };

    fn said(event: &Event, telling: Telling) -> Vec<String> {
        status(event, 3, telling, PLAIN)
    }

    #[test]
    fn a_failure_is_told_and_a_success_only_to_the_curious() {
        let failed = finished(&job(1, "build"), Outcome::Failed { code: 2 });
        assert_eq!(said(&failed, NORMAL), ["tg: FAILED build: exit code 2 (1.2s)"]);
        assert!(said(&failed, QUIET).is_empty());
        assert!(said(&failed, Telling { sole: true, ..NORMAL }).is_empty());
        let succeeded = finished(&job(1, "build"), Outcome::Succeeded);
        assert!(said(&succeeded, NORMAL).is_empty());
        assert_eq!(said(&succeeded, VERBOSE), ["tg: finished build (1.2s)"]);
        let started = Event::JobStarted { job: job(1, "a\nb"), attempt: 2, pid: 9 };
        assert!(said(&started, NORMAL).is_empty());
        assert_eq!(said(&started, VERBOSE), ["tg: started a b (pid 9), attempt 2"]);
    }

    #[test]
    fn leaks_and_retries_are_told() {
        let mut event = finished(&job(1, "build"), Outcome::Failed { code: 2 });
        if let Event::JobFinished { leaks, will_retry_in, .. } = &mut event {
            *leaks = (1..6).map(|pid| Leak { pid, command: "sleep 9".into() }).collect();
            *will_retry_in = Some(Duration::from_secs(1));
        }
        assert_eq!(
            said(&event, NORMAL),
            [
                "tg: build failed: exit code 2 (1.2s); attempt 2 in 1s",
                "tg: leak: build left 5 processes behind, now ended: pid 1 (sleep 9), pid 2 (sleep 9), pid 3 (sleep 9), 2 more"
            ]
        );
    }

    #[test]
    fn a_cancel_says_why() {
        let cancelling = |cause| said(&Event::Cancelling { cause }, NORMAL);
        assert_eq!(
            cancelling(Cause::Signal { signal: "SIGINT".into() }),
            ["tg: SIGINT: ending 3 running jobs (once more to kill what is left)"]
        );
        assert_eq!(
            cancelling(Cause::JobFailed { job: job(1, "a") }),
            ["tg: a failed: ending 3 running jobs"]
        );
        assert!(cancelling(Cause::FirstSuccess { job: job(1, "a") }).is_empty());
        assert!(cancelling(Cause::OutputClosed).is_empty());
    }

    #[test]
    fn warnings_are_told_to_the_quiet_too() {
        let note = Event::Note { text: "the log has an unreadable line".into() };
        assert_eq!(said(&note, QUIET), ["tg: warning: the log has an unreadable line"]);
    }
}
