//! What is shown: pages on the output as they arrive, everything that went wrong on the error output.

use std::fmt;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

use taskgroup::{ErrorGroup, Outcome, Task};

use super::client::{Answer, HttpError};
use super::exit;
use super::url::Url;

/// Where the lines go. Shared by all tasks.
pub struct Report {
    out: Stream,
    err: Stream,
}

type Stream = Mutex<Box<dyn Write + Send>>;

impl Report {
    /// To these streams.
    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self { out: Mutex::new(Box::new(out)), err: Mutex::new(Box::new(err)) }
    }

    /// To those of the process.
    pub(super) fn of_process() -> Self {
        Self::new(io::stdout(), io::stderr())
    }

    pub(super) fn line(&self, line: fmt::Arguments<'_>) {
        write_line(&self.out, line);
    }

    pub(super) fn error(&self, line: fmt::Arguments<'_>) {
        write_line(&self.err, line);
    }

    pub(super) fn arrived(&self, page: &str, url: &Url, answer: &Answer, time: Duration) {
        let Answer { status, bytes, .. } = answer;
        self.line(format_args!("{page:<8} {status} {bytes:>8} bytes {:>7.3} s  {url}", time.as_secs_f64()));
    }

    /// Tells what came of the run. Gives the exit code.
    pub(super) fn outcome(&self, outcome: Outcome) -> u8 {
        let signal = outcome.signal();
        let code = match outcome.into_result() {
            Ok(()) => exit::FETCHED,
            Err(errors) => self.failures(errors),
        };
        signal.map_or(code, exit::stopped_by)
    }

    /// Tells every failure, each kind in its way. Gives the exit code.
    fn failures(&self, errors: ErrorGroup) -> u8 {
        let (mut http, mut io) = (0, 0);
        let rest = errors
            .except::<HttpError>(|error| {
                http += 1;
                self.error(format_args!("failed: {error}"));
            })
            .except::<io::Error>(|error| {
                io += 1;
                self.error(format_args!("failed: I/O: {error}"));
            })
            .rest();
        if let Err(rest) = &rest {
            self.error(format_args!("{rest:#}"));
        }
        match rest {
            Err(rest) if !rest.is_cancelled() => exit::OTHER_FAILURE,
            _ if io > 0 => exit::IO_FAILURE,
            _ if http > 0 => exit::HTTP_FAILURE,
            _ => exit::OTHER_FAILURE,
        }
    }

    /// Tells which pages were cancelled and why, and how many came to what.
    pub(super) fn summary(&self, tasks: Vec<Task<()>>, time: Duration) {
        let all = tasks.len();
        let (mut fetched, mut failed, mut cancelled) = (0, 0, 0);
        for task in tasks {
            let Err(error) = task.into_result() else {
                fetched += 1;
                continue;
            };
            let Some(cause) = error.reason() else {
                failed += 1;
                continue;
            };
            cancelled += 1;
            let page = error.name().unwrap_or("a page");
            let when = if error.never_started() { ", which had not started" } else { "" };
            self.error(format_args!("cancelled: {page}{when}: because {cause}"));
        }
        self.line(format_args!(
            "{fetched} of {all} pages fetched, {failed} failed, {cancelled} cancelled, in {:.3} s",
            time.as_secs_f64()
        ));
    }
}

/// A reader who went away is no failure of the pages: what cannot be written is left out.
fn write_line(to: &Stream, line: fmt::Arguments<'_>) {
    let mut to = to.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let _gone = writeln!(to, "{line}").and_then(|()| to.flush());
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}
