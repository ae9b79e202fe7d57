//! The options of a run, with defaults filled in.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::{Color, Options, Output};
use crate::trouble::Trouble;

/// What the end of a job means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The first failure ends the others.
    FailFast,
    /// All run to their end.
    KeepGoing,
    /// The first success ends the others.
    FirstSuccess,
}

/// The options that concern the run as a whole; those of single jobs are in the jobs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How many jobs may run at once; `None` is all of them.
    pub(crate) limit: Option<NonZeroUsize>,
    pub(crate) policy: Policy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) dry_run: bool,
    pub(crate) output: Output,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    pub(crate) color: Color,
    /// The log to add to: that of `--log`, otherwise that of `--resume`.
    pub(crate) log: Option<PathBuf>,
    /// The log to read first.
    pub(crate) resume: Option<PathBuf>,
    pub(crate) shell: PathBuf,
    pub(crate) isolate: bool,
    pub(crate) cgroup: Option<PathBuf>,
}

/// Whether a source of jobs runs them all at once when `-j` does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    AllAtOnce,
    Cpus,
}

impl Settings {
    pub(super) fn new(options: &Options, limit: Limit) -> Result<Self, Trouble> {
        check_shell(&options.shell)?;
        let limit = match (options.jobs, limit) {
            (Some(jobs), _) => Some(jobs),
            (None, Limit::AllAtOnce) => None,
            (None, Limit::Cpus) => Some(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
        };
        Ok(Settings {
            limit,
            policy: match (options.keep_going, options.first_success) {
                (_, true) => Policy::FirstSuccess,
                (true, false) => Policy::KeepGoing,
                (false, false) => Policy::FailFast,
            },
            timeout: options.timeout,
            dry_run: options.dry_run,
            output: options.output,
            json: options.json,
            quiet: options.quiet,
            verbose: options.verbose,
            color: options.color,
            log: options.log.clone().or_else(|| options.resume.clone()),
            resume: options.resume.clone(),
            shell: options.shell.clone(),
            isolate: options.isolate,
            cgroup: options.cgroup.clone(),
        })
    }
}

/// A shell given by its path must be there; one given by its name alone is looked for when a job starts.
fn check_shell(shell: &Path) -> Result<(), Trouble> {
    let is_path = shell.components().count() > 1 || shell.is_absolute();
    if is_path && !shell.is_file() {
        let what = format!("there is no shell `{}`", shell.display());
        return Err(Trouble::new(what).at("--shell").advice("the default is /bin/sh"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Action, Args};

    fn settings(line: &[&str]) -> Result<Settings, Trouble> {
        let line = ["tg", "run", "true"].iter().chain(line).map(Into::into);
        match Args::read(line).expect("usage").action {
            Action::Run(args) => Settings::new(&args.options, Limit::Cpus),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_log_of_resume_is_added_to() {
        let log = |line: &[&str]| settings(line).expect("settings").log;
        assert_eq!(log(&[]), None);
        assert_eq!(log(&["--resume", "r"]), Some("r".into()));
        assert_eq!(log(&["--resume", "r", "--log", "l"]), Some("l".into()));
    }

    #[test]
    fn policies_and_limits() {
        let settings = |line: &[&str]| settings(line).expect("settings");
        assert_eq!(settings(&[]).policy, Policy::FailFast);
        assert_eq!(settings(&["-k"]).policy, Policy::KeepGoing);
        assert_eq!(settings(&["--first-success"]).policy, Policy::FirstSuccess);
        assert_eq!(settings(&["-j7"]).limit, NonZeroUsize::new(7));
        assert!(settings(&[]).limit.is_some());
    }

    #[test]
    fn a_shell_that_is_not_there() {
        assert!(
            settings(&["--shell", "/no/such/sh"]).expect_err("trouble").to_string().contains("/no/such/sh")
        );
        assert!(settings(&["--shell", "bash"]).is_ok(), "looked for later");
    }
}
