//! What a run looks like: events and output in, text out. It knows no thread, no clock and no terminal.
//!
//! 1. All that a job writes to standard output goes to standard output, to standard error what it writes there;
//!    all that `tg` itself says goes to standard error. With `--json` nothing but JSON lines is on standard output.
//! 2. In group mode the output of an attempt comes out when it ends, in one piece. A run of one job has nothing to
//!    keep apart: its output is passed on as it comes.
//! 3. Drawn is only where standard error is a terminal, output comes in whole lines, and nobody else has the
//!    terminal (`hidden`).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::json;
use super::lines::{Pieces, PrefixLines};
use super::live::{self, Progress, Row, SIZE_UNKNOWN, Size};
use super::recent::Recent;
use super::screen::Screen;
use super::spool::Grouped;
use super::status::{self, Telling};
use super::style::Style;
use super::summary::Summary;
use super::text::{clock, cut, fit, plural, visible, width};
use super::tree;
use crate::event::{Cause, Event, JobInfo, Outcome, Stamp, Stream};

/// The region is drawn at most once in this time.
pub(crate) const FRAME: Duration = Duration::from_millis(100);

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OutputMode {
    /// A job's output in one piece, when it ends.
    #[default]
    Group,
    /// Line by line, each with the name of its job.
    Prefix,
    /// Bytes as they come.
    Raw,
    /// Not at all.
    None,
}

/// How to show a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ShowSettings {
    pub(crate) output: OutputMode,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    /// Standard error is a terminal.
    pub(crate) terminal: bool,
    /// It is one that understands how to move the cursor.
    pub(crate) live: bool,
    /// For what goes to standard output.
    pub(crate) out_style: Style,
    /// For what goes to standard error.
    pub(crate) err_style: Style,
}

/// Asks for the size of the terminal.
pub(crate) type SizeOf = Box<dyn Fn() -> Option<Size> + Send>;

/// See the module.
pub(crate) struct Show {
    settings: ShowSettings,
    screen: Screen,
    size: SizeOf,
    jobs: HashMap<usize, Active>,
    progress: Progress,
    summary: Summary,
    /// There is one job in all.
    sole: bool,
    /// Between `RunStarted` and `RunFinished`.
    in_run: bool,
    /// How many have asked for the terminal.
    hidden: usize,
    last_frame: Option<Duration>,
}

/// An attempt that runs.
#[derive(Debug)]
struct Active {
    job: Arc<JobInfo>,
    pid: u32,
    started: Duration,
    recent: Recent,
    route: Route,
}

/// Where the output of an attempt goes.
#[derive(Debug)]
enum Route {
    Group(Grouped),
    Prefix(PrefixLines),
    Json(Pieces),
    Raw,
    Nowhere,
}

impl std::fmt::Debug for Show {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Show")
            .field("jobs", &self.jobs)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl Show {
    pub(crate) fn new(settings: ShowSettings, screen: Screen, size: SizeOf) -> Show {
        Show {
            settings,
            screen,
            size,
            jobs: HashMap::new(),
            progress: Progress::default(),
            summary: Summary::default(),
            sole: false,
            in_run: false,
            hidden: 0,
            last_frame: None,
        }
    }

    /// Takes an event.
    pub(crate) fn event(&mut self, event: &Event, stamp: Stamp) {
        let mut ended = None;
        match event {
            Event::RunStarted { jobs, .. } => {
                (self.progress.total, self.sole, self.in_run) = (*jobs, *jobs == Some(1), true);
            }
            Event::JobStarted { job, pid, .. } => {
                self.jobs.insert(job.number, self.active(job, *pid, stamp.elapsed));
            }
            Event::JobFinished { job, outcome, elapsed, will_retry_in, .. } => {
                ended = self.jobs.remove(&job.number);
                if let Some(active) = &mut ended {
                    self.flush_job(active, outcome, *elapsed, stamp);
                }
                if will_retry_in.is_none() {
                    self.progress.done += 1;
                    self.progress.failed += usize::from(outcome.is_failure());
                }
            }
            Event::JobSkipped { .. } => self.progress.done += 1,
            Event::Cancelling { cause } => self.progress.ending = Some(cause.to_string()),
            Event::RunFinished { .. } => self.in_run = false,
            _ => {}
        }
        self.summary.observe(event, ended.as_ref().map(|active| &active.recent));
        self.tell(event, stamp);
        if let Event::RunFinished { exit_code, .. } = event {
            self.conclude(*exit_code);
        }
    }

    fn active(&self, job: &Arc<JobInfo>, pid: u32, started: Duration) -> Active {
        let route = match self.settings.output {
            OutputMode::None => Route::Nowhere,
            _ if self.settings.json => Route::Json(Pieces::default()),
            OutputMode::Raw => Route::Raw,
            OutputMode::Group if self.sole => Route::Raw,
            OutputMode::Group => Route::Group(Grouped::default()),
            OutputMode::Prefix => Route::Prefix(PrefixLines::default()),
        };
        Active { job: Arc::clone(job), pid, started, recent: Recent::default(), route }
    }

    /// As a JSON line, or in words.
    fn tell(&mut self, event: &Event, stamp: Stamp) {
        if self.settings.json {
            self.screen.write(Stream::Stdout, &json::event_line(event, stamp));
            return;
        }
        let ShowSettings { quiet, verbose, output, terminal, .. } = self.settings;
        let headed = terminal && output == OutputMode::Group;
        let telling = Telling { quiet, verbose, sole: self.sole, headed };
        for line in status::status(event, self.jobs.len(), telling, self.settings.err_style) {
            self.screen.line(&line);
        }
    }

    fn warn(&mut self, text: String, stamp: Stamp) {
        self.tell(&Event::Note { text }, stamp);
    }

    /// Takes a chunk of a job's output.
    pub(crate) fn output(&mut self, number: usize, stream: Stream, bytes: &[u8], stamp: Stamp) {
        let Some(active) = self.jobs.get_mut(&number) else {
            return self.warn(format!("output of job {number}, which does not run, is left out"), stamp);
        };
        let Active { job, recent, route, .. } = active;
        let screen = &mut self.screen;
        recent.push(bytes);
        let (mut seen, mut trouble) = (false, None);
        match route {
            Route::Group(grouped) => {
                grouped.push(stream, bytes);
                trouble = grouped.take_trouble();
            }
            Route::Prefix(lines) => {
                seen = true;
                let prefix = self.settings.prefix(job, stream);
                let pushed = lines.push(stream, bytes, &prefix, |piece| screen.write(stream, piece));
                trouble = pushed.err().or_else(|| lines.take_trouble());
            }
            Route::Json(pieces) => pieces.push(stream, bytes, |piece| {
                screen.write(Stream::Stdout, &json::output_line(job, stream, piece, stamp));
            }),
            Route::Raw => {
                seen = true;
                screen.write(stream, bytes);
            }
            Route::Nowhere => {}
        }
        if seen {
            self.summary.seen_last = Some(number);
        }
        if let Some(error) = trouble {
            self.spool_trouble(&error, stamp);
        }
    }

    fn spool_trouble(&mut self, error: &io::Error, stamp: Stamp) {
        let folder = std::env::temp_dir();
        self.warn(format!("output cannot be kept in a file in {}: {error}", folder.display()), stamp);
    }

    /// Writes what is left of an attempt's output.
    fn flush_job(&mut self, active: &mut Active, outcome: &Outcome, elapsed: Duration, stamp: Stamp) {
        let (job, settings) = (&active.job, self.settings);
        let heading = settings.terminal && !settings.quiet && !self.sole;
        let screen = &mut self.screen;
        let result = match &mut active.route {
            Route::Group(grouped) => {
                if heading && (!grouped.is_empty() || outcome.is_failure()) {
                    screen.line(&status::heading(job, outcome, elapsed, settings.err_style));
                }
                if !grouped.is_empty() {
                    self.summary.seen_last = Some(job.number);
                }
                grouped.drain(|stream, piece| screen.write(stream, piece))
            }
            Route::Prefix(lines) => lines
                .finish(|stream| settings.prefix(job, stream), |stream, piece| screen.write(stream, piece)),
            Route::Json(pieces) => {
                pieces.finish(|stream, piece| {
                    screen.write(Stream::Stdout, &json::output_line(job, stream, piece, stamp));
                });
                Ok(())
            }
            Route::Raw | Route::Nowhere => Ok(()),
        };
        if let Err(error) = result {
            self.warn(format!("a part of the output of {} is lost: {error}", active.job.name), stamp);
        }
    }

    /// The end of the run: the tree of errors, or how much was done.
    fn conclude(&mut self, exit_code: i32) {
        self.screen.clear();
        let ShowSettings { json, quiet, verbose, terminal, err_style, .. } = self.settings;
        if exit_code != 0 {
            if self.summary.cause != Some(Cause::OutputClosed) {
                let columns = terminal.then(|| self.size().columns);
                tree::tree(&self.summary, columns, err_style).iter().for_each(|line| self.screen.line(line));
            }
        } else if terminal && !json && !quiet && self.progress.done > 0 && (verbose || !self.sole) {
            self.screen.line(&tree::success(&self.summary));
        }
        self.screen.clear();
    }

    fn size(&self) -> Size {
        (self.size)().unwrap_or(SIZE_UNKNOWN)
    }

    /// Whether frames are due from time to time.
    pub(crate) fn is_live(&self) -> bool {
        let ShowSettings { live, json, quiet, output, .. } = self.settings;
        let raw = output == OutputMode::Raw || (output == OutputMode::Group && self.sole);
        live && !json && !quiet && !raw && self.in_run && self.hidden == 0
    }

    /// Time has passed, or a batch of events has come: draws a frame if one is due.
    pub(crate) fn tick(&mut self, now: Duration) {
        if !self.is_live() {
            return self.screen.release();
        }
        if self.last_frame.is_some_and(|last| now.saturating_sub(last) < FRAME) {
            return;
        }
        self.last_frame = Some(now);
        let size = self.size();
        (self.progress.running, self.progress.elapsed) = (self.jobs.len(), now);
        let lines = live::region(&rows(&self.jobs, now), &self.progress, size, self.settings.err_style);
        self.screen.frame(lines, size.columns);
    }

    /// Leaves the terminal to somebody else: what is held is written, no trace of the region is left.
    pub(crate) fn hide(&mut self) {
        self.hidden += 1;
        self.screen.clear();
    }

    /// One of those who asked for the terminal has done with it.
    pub(crate) fn reveal(&mut self) {
        self.hidden = self.hidden.saturating_sub(1);
        self.last_frame = None;
    }

    /// Lists what runs now, on standard error.
    pub(crate) fn running(&mut self, now: Duration) {
        let columns = if self.settings.terminal { self.size().columns.saturating_sub(1) } else { usize::MAX };
        let jobs = in_order(&self.jobs);
        let names: Vec<String> = jobs.iter().map(|active| visible(&active.job.name)).collect();
        let name_columns = names.iter().map(|name| width(name)).max().unwrap_or(0).min(40);
        let mut lines = vec![format!("tg: {} running", plural(jobs.len(), "job", "jobs"))];
        for (active, name) in jobs.iter().zip(&names) {
            let age = clock(now.saturating_sub(active.started));
            let name = fit(name, name_columns);
            let line = format!("  {name}  pid {:<7}  {age:>5}  {}", active.pid, active.recent.last_line());
            lines.push(cut(line.trim_end(), columns));
        }
        lines.iter().for_each(|line| self.screen.line(line));
    }

    /// The end, also where there was no `RunFinished`.
    pub(crate) fn close(&mut self) {
        self.in_run = false;
        self.screen.clear();
    }

    /// Why standard output takes nothing any more.
    pub(crate) fn lost(&self) -> Option<&io::Error> {
        self.screen.lost()
    }
}

impl ShowSettings {
    fn prefix(&self, job: &JobInfo, stream: Stream) -> String {
        let style = match stream {
            Stream::Stdout => self.out_style,
            Stream::Stderr => self.err_style,
        };
        style.prefix(job.number, &visible(&job.name))
    }
}

/// The running jobs, those that started first in front.
fn in_order(jobs: &HashMap<usize, Active>) -> Vec<&Active> {
    let mut active: Vec<&Active> = jobs.values().collect();
    active.sort_by_key(|active| (active.started, active.job.number));
    active
}

fn rows(jobs: &HashMap<usize, Active>, now: Duration) -> Vec<Row<'_>> {
    let age = |active: &Active| now.saturating_sub(active.started);
    let active = in_order(jobs).into_iter();
    active.map(|active| Row { name: &active.job.name, age: age(active), recent: &active.recent }).collect()
}

#[cfg(test)]
#[path = "show_tests.rs"]
mod tests;
