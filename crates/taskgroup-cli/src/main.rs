//! `tg` runs commands as one group: when it has ended, no process that it started, nor any descendant of one, is alive.
//!
//! | module | does |
//! |---|---|
//! | [`args`], [`duration`], [`pages`] | the command line, and what is made from its definition |
//! | [`plan`] | what is to be run |
//! | [`run`] | runs it |
//! | [`event`] | what happens in a run, as values |
//! | [`console`] | shows it |
//! | [`log`] | what was done, for the next run |
//! | [`exit`], [`trouble`] | exit codes, and `tg`'s own errors |

mod args;
mod console;
mod duration;
mod event;
mod exit;
mod log;
mod pages;
mod plan;
mod run;
mod trouble;

use std::io::{self, Write};
use std::process::ExitCode;

use args::{Action, Args};
use console::{ColorChoice, Console, ConsoleSettings, OutputMode};
use log::{Done, Log};
use plan::{DryRunError, Plan, Settings};
use run::{Came, Run};
use trouble::{EXIT_TROUBLE, Trouble};

fn main() -> ExitCode {
    taskgroup_process::install();
    let code = match Args::read(std::env::args_os()) {
        Ok(args) => act(args).unwrap_or_else(|trouble| {
            // Where the text cannot be written there is nobody to tell.
            let _ = writeln!(io::stderr(), "tg: {trouble}");
            EXIT_TROUBLE
        }),
        Err(error) => args::report(&error),
    };
    // Exit codes beyond a byte do not exist; those of jobs and signals are within it.
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn act(args: Args) -> Result<i32, Trouble> {
    let (plan, settings) = match &args.action {
        Action::Run(run) => plan::run(run)?,
        Action::Each(each) => plan::each(each)?,
        Action::Completions { shell } => return print(|out| pages::completions(*shell, out)),
        Action::Man => return print(|out| pages::man(out)),
    };
    let done = settings.resume.as_deref().map(Done::read).transpose()?;
    if settings.dry_run {
        return dry_run(plan, &settings, done.as_ref());
    }
    if matches!(&plan, Plan::Listed(jobs) if jobs.is_empty()) {
        return nothing_to_run();
    }
    let log = settings.log.as_deref().map(Log::open).transpose()?;
    start(Run { plan, settings, log, done })
}

/// Runs the jobs on a runtime of its own.
fn start(run: Run) -> Result<i32, Trouble> {
    let trouble = |error: io::Error| Trouble::new(format!("tg cannot run: {error}"));
    let (console, thread) = Console::start(console_settings(&run.settings)).map_err(trouble)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(trouble)?;
    let came = runtime.block_on(run::run(run, console, thread));
    // A thread that waits for input, or for a lost command, must not hold up the end.
    runtime.shutdown_background();
    match came.map_err(trouble)? {
        Came { is_empty: true, exit_code: exit::SUCCESS } => nothing_to_run(),
        Came { exit_code, .. } => Ok(exit_code),
    }
}

fn console_settings(settings: &Settings) -> ConsoleSettings {
    ConsoleSettings {
        output: match settings.output {
            args::Output::Group => OutputMode::Group,
            args::Output::Prefix => OutputMode::Prefix,
            args::Output::Raw => OutputMode::Raw,
            args::Output::None => OutputMode::None,
        },
        json: settings.json,
        color: match settings.color {
            args::Color::Auto => ColorChoice::Auto,
            args::Color::Always => ColorChoice::Always,
            args::Color::Never => ColorChoice::Never,
        },
        quiet: settings.quiet,
        verbose: settings.verbose,
    }
}

fn dry_run(plan: Plan, settings: &Settings, done: Option<&Done>) -> Result<i32, Trouble> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = plan::dry_run(plan, settings.json, done, &mut out);
    match printed.and_then(|printed| Ok(out.flush().map(|()| printed)?)) {
        Ok(0) => nothing_to_run(),
        Ok(_) => Ok(exit::SUCCESS),
        Err(DryRunError::Trouble(trouble)) => Err(trouble),
        Err(DryRunError::Write(error)) => unwritable(&error),
    }
}

fn nothing_to_run() -> Result<i32, Trouble> {
    let _ = writeln!(io::stderr(), "tg: nothing to run");
    Ok(exit::SUCCESS)
}

fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<i32, Trouble> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Ok(exit::SUCCESS),
        Err(error) => unwritable(&error),
    }
}

/// As SIGPIPE would have it, if nobody reads any more.
fn unwritable(error: &io::Error) -> Result<i32, Trouble> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(exit::SIGNAL + libc::SIGPIPE);
    }
    Err(Trouble::new(format!("standard output cannot be written: {error}")))
}
