//! The command line: the one definition of the flags, from which help, completions and the man page come.
//!
//! Usage errors end with exit code 125, as every error of `tg` itself does; `--help` and `--version` with 0.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::duration;
use crate::trouble::EXIT_TROUBLE;

const EXIT_CODES: &str = "\
Exit codes:
  0      every job succeeded (with --first-success: one did)
  n      a job failed: the exit code of the one that failed first
  124    a time limit ran out: of the run, or of the job that failed first
  125    tg itself failed: wrong usage, an unreadable file, a cycle of needs
  126    the command of the job that failed first cannot be executed
  127    the command of the job that failed first was not found
  128+n  signal n ended the job that failed first, or tg (130: SIGINT)";

const RUN_EXAMPLES: &str = "\
Examples:
  tg run 'cargo test' 'cargo clippy'   both; the first failure ends the other
  tg run -j 4 -k - < commands.txt      four at a time, all of them
  tg run -f jobs.toml deploy           `deploy`, after the jobs that it needs
  tg run -f jobs.toml --dry-run        what would run, in which order
  tg run --first-success 'curl -f a/x' 'curl -f b/x'
                                       the first success ends the others
  tg run --resume done.log -f all.txt  what has not succeeded yet

A jobs file:
  [job.gen]
  run = \"./gen.sh\"                     # [\"./gen.sh\", \"-v\"]: without a shell
  [job.build]
  run = \"cargo build\"
  needs = [\"gen\"]                      # and dir, env, timeout, grace,
                                       # retries, tty, leaks

Exit codes: see `tg --help`.";

const EACH_EXAMPLES: &str = "\
Examples:
  tg each 'gzip -k {}' -- *.txt    one job a file
  find . -name '*.png' -print0 | tg each -0 'optipng {}'
  tg each -j 8 'curl -fsS {} -o page{#}.html' < urls.txt
  tg each 'x={}; mv \"$x\" \"${x%.jpeg}.jpg\"' -- *.jpeg

Exit codes: see `tg --help`.";

/// Runs commands as one group: they start together and end together
///
/// The first failure ends the others, and when tg has ended, no process that it started, nor any descendant of
/// one, is alive.
#[derive(Debug, Parser)]
#[command(name = "tg", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    Run(RunArgs),
    Each(EachArgs),
    /// Print the completions for a shell
    ///
    /// For instance: tg completions bash > ~/.local/share/bash-completion/completions/tg
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    ///
    /// For instance: tg man > ~/.local/share/man/man1/tg.1
    Man,
}

/// Run commands from the command line, a file or standard input
///
/// Each COMMAND is one command line for the shell. All of them start at once, unless -j says otherwise.
/// Commands from a file or from standard input are one a line, as many at once as there are CPUs; blank lines and
/// lines that begin with # are skipped.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunArgs {
    /// A command line for the shell; `-` alone: read them from standard input. With a jobs file: the name of a job
    #[arg(value_name = "COMMAND", required_unless_present = "file")]
    pub(crate) commands: Vec<OsString>,
    /// Read commands from FILE, one a line; FILE ending in .toml is a jobs file; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// Run one command for each input
///
/// Inputs follow `--`; without `--` they are read from standard input, one a line, as there is room for another
/// job. Empty lines are skipped.
///
/// `{}` stands for the input, quoted so that the shell takes it as it is, whatever it holds; `{#}` for the number
/// of the job; `{{}}` for two braces. Without any `{}` the input comes last.
///
/// Inside quotes `{}` still is the input and nothing else: the quotes are closed before it and opened again after
/// it. Where it cannot be put safely (here-documents, backticks, comments) tg says so and starts nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EACH_EXAMPLES)]
pub(crate) struct EachArgs {
    /// The command line for the shell, with {} for the input
    #[arg(value_name = "COMMAND")]
    pub(crate) template: OsString,
    /// The inputs; none at all after `--` is nothing to run
    #[arg(value_name = "INPUT", last = true, conflicts_with = "null")]
    pub(crate) inputs: Vec<OsString>,
    /// Inputs on standard input end with a NUL byte instead of a newline; an empty one counts too
    #[arg(short = '0', long = "null")]
    pub(crate) null: bool,
    /// Whether there was a `--`, so that inputs come from the command line even if there are none.
    #[arg(skip)]
    pub(crate) inputs_given: bool,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// The options that `run` and `each` share.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// At most N jobs at once
    ///
    /// Without it: all at once for commands on the command line and jobs files, otherwise as many as there are CPUs.
    #[arg(short, long, value_name = "N", value_parser = parse_jobs, help_heading = "Running")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Run the other jobs to their end when one fails
    #[arg(short, long, conflicts_with = "first_success", help_heading = "Running")]
    pub(crate) keep_going: bool,
    /// The first job to succeed ends the others; only when all fail has the run failed
    #[arg(long, help_heading = "Running")]
    pub(crate) first_success: bool,
    /// Try a failed job again, up to N times
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Running")]
    pub(crate) retries: u32,
    /// Wait this long before the first retry; it doubles with each, up to a minute
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    #[arg(help_heading = "Running")]
    pub(crate) retry_delay: Duration,
    /// What happens to a job whose processes outlive it; they are ended in any case
    #[arg(long, value_enum, default_value_t = Leaks::Report, help_heading = "Running")]
    pub(crate) leaks: Leaks,
    /// Print what would run, in order, and start nothing
    #[arg(long, help_heading = "Running")]
    pub(crate) dry_run: bool,
    /// End the whole run after this long (exit code 124): 1500ms, 10s, 2m, 1h, 1m30s; a plain number is seconds
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_limit, help_heading = "Time")]
    pub(crate) timeout: Option<Duration>,
    /// End each job that takes longer than this; a retry starts anew
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_limit, help_heading = "Time")]
    pub(crate) timeout_each: Option<Duration>,
    /// How long jobs have from SIGTERM to SIGKILL when they are ended
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    #[arg(help_heading = "Time")]
    pub(crate) grace: Duration,
    /// How the output of jobs comes out
    #[arg(long, value_enum, default_value_t = Output::Group, help_heading = "Output")]
    pub(crate) output: Output,
    /// Print events as JSON lines on standard output, and nothing else there
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// No status lines
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Also say when jobs start and succeed
    #[arg(short, long, help_heading = "Output")]
    pub(crate) verbose: bool,
    /// Colours; `auto` heeds NO_COLOR, TERM=dumb, and whether this is a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto, help_heading = "Output")]
    pub(crate) color: Color,
    /// Append a JSON line to FILE for each job that ends
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    pub(crate) log: Option<PathBuf>,
    /// Skip the jobs that succeeded according to FILE, and append to it (or to the file of --log)
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    pub(crate) resume: Option<PathBuf>,
    /// Run the jobs in DIR; it also replaces the folder of a jobs file
    #[arg(short = 'C', long, value_name = "DIR", help_heading = "Surroundings")]
    pub(crate) dir: Option<PathBuf>,
    /// The shell for command lines; it must quote as sh does
    #[arg(long, value_name = "PATH", default_value = "/bin/sh", help_heading = "Surroundings")]
    pub(crate) shell: PathBuf,
    /// Give the terminal to the job of this name: it may read from it
    #[arg(long, value_name = "NAME", help_heading = "Surroundings")]
    pub(crate) tty: Option<OsString>,
    /// Run the jobs in a user and PID namespace of their own (Linux)
    #[arg(long, help_heading = "Surroundings")]
    pub(crate) isolate: bool,
    /// Give each job a cgroup of its own in DIR, a delegated folder of cgroup v2 (Linux)
    #[arg(long, value_name = "DIR", help_heading = "Surroundings")]
    pub(crate) cgroup: Option<PathBuf>,
}

/// What happens to a job whose processes outlive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Leaks {
    /// They are shown; the job may still succeed
    Report,
    /// They are shown, and the job has failed
    Fail,
    /// Nothing is said
    Ignore,
}

/// How the output of jobs comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// In one piece when the job ends
    Group,
    /// As it comes, each line as `name | line`
    Prefix,
    /// As it comes, unchanged
    Raw,
    /// Not at all, but for the end of a failed job's
    None,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that can
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Args {
    /// Reads a command line, the program's name first.
    pub(crate) fn read(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = line.into_iter().collect();
        // No option takes `--` for its value, so that wherever it stands it begins the inputs.
        let inputs_given = line.iter().any(|arg| arg == OsStr::new("--"));
        let mut args = Args::try_parse_from(line)?;
        if let Action::Each(each) = &mut args.action {
            each.inputs_given = inputs_given;
        }
        Ok(args)
    }
}

/// Prints a usage error, or the help that was asked for, and gives the exit code.
pub(crate) fn report(error: &clap::Error) -> i32 {
    // Where the text cannot be written there is nobody to tell.
    let _ = error.print();
    if error.use_stderr() { EXIT_TROUBLE } else { 0 }
}

fn parse_jobs(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<usize>() {
        Ok(number) => NonZeroUsize::new(number).ok_or_else(|| {
            format!("-j {number}: at least 1 job must be able to run; leave -j out for the default")
        }),
        Err(_) => Err("write a whole number, at least 1".into()),
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
