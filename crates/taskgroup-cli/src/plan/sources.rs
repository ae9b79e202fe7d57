//! Where jobs come from: the command line, a file, or standard input.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::maker::Maker;
use super::records::Records;
use super::settings::{Limit, Settings};
use super::template::Template;
use super::{Job, Plan, jobs_file, select};
use crate::args::{EachArgs, RunArgs};
use crate::trouble::Trouble;

/// A file up to this size is read before the start, so that the number of jobs is known.
const LISTED_MAX: u64 = 16 << 20;

const STDIN: &str = "standard input";

/// The plan of `tg run`.
pub(crate) fn run(args: &RunArgs) -> Result<(Plan, Settings), Trouble> {
    run_with(args, standard_input)
}

/// The plan of `tg each`.
pub(crate) fn each(args: &EachArgs) -> Result<(Plan, Settings), Trouble> {
    each_with(args, standard_input)
}

type Input = Box<dyn BufRead + Send>;

fn run_with(args: &RunArgs, stdin: impl FnOnce() -> io::Result<Input>) -> Result<(Plan, Settings), Trouble> {
    let is_dash = |arg: &OsStr| arg == OsStr::new("-");
    let mut maker = Maker::new(&args.options)?;
    match &args.file {
        Some(file) if is_jobs_file(file) => {
            let settings = Settings::new(&args.options, Limit::AllAtOnce)?;
            let listed = jobs_file::read(file, &mut maker)?;
            let mut listed = select::only(listed, &args.commands, file)?;
            listed.iter_mut().for_each(|job| job.tty |= maker.takes_tty(&job.name));
            maker.check_tty(&listed)?;
            check_one_tty(&listed, file)?;
            Ok((Plan::Listed(listed), settings))
        }
        Some(_) if !args.commands.is_empty() => {
            let what = "COMMAND and --file go together only for a jobs file, where it names a job";
            Err(Trouble::new(what).advice("jobs files end in .toml"))
        }
        Some(file) if !is_dash(file.as_os_str()) => {
            let settings = Settings::new(&args.options, Limit::Cpus)?;
            Ok((commands_of_file(file, maker)?, settings))
        }
        None if !args.commands.iter().any(|arg| is_dash(arg)) => {
            let settings = Settings::new(&args.options, Limit::AllAtOnce)?;
            Ok((commands_of_line(&args.commands, maker)?, settings))
        }
        None if args.commands.len() > 1 => {
            Err(Trouble::new("`-` reads commands from standard input, and stands alone"))
        }
        _ => {
            let settings = Settings::new(&args.options, Limit::Cpus)?;
            let records = Records::new(open_stdin(stdin)?, STDIN, b'\n');
            Ok((Plan::Streamed(Box::new(commands(records, maker))), settings))
        }
    }
}

fn each_with(
    args: &EachArgs,
    stdin: impl FnOnce() -> io::Result<Input>,
) -> Result<(Plan, Settings), Trouble> {
    let settings = Settings::new(&args.options, Limit::Cpus)?;
    let template = Template::read(&args.template)?;
    let mut maker = Maker::new(&args.options)?;
    if args.inputs_given {
        let jobs: Vec<Job> = args.inputs.iter().map(|input| maker.input(&template, input.clone())).collect();
        maker.check_tty(&jobs)?;
        return Ok((Plan::Listed(jobs), settings));
    }
    let separator = if args.null { 0 } else { b'\n' };
    let keep_empty = args.null;
    let records = Records::new(open_stdin(stdin)?, STDIN, separator);
    let jobs = records
        // An empty line is hardly ever meant as an input (`rm -r dir/{}`); with -0 the input is taken exactly.
        .filter(move |record| keep_empty || !matches!(record, Ok(input) if input.is_empty()))
        .map(move |record| Ok(maker.input(&template, OsString::from_vec(record?))));
    Ok((Plan::Streamed(Box::new(jobs)), settings))
}

fn commands_of_line(lines: &[OsString], mut maker: Maker) -> Result<Plan, Trouble> {
    let mut jobs = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        if line.as_bytes().trim_ascii().is_empty() {
            return Err(Trouble::new(format!("COMMAND {} is empty", at + 1)));
        }
        jobs.push(maker.command(line.clone()));
    }
    maker.check_tty(&jobs)?;
    Ok(Plan::Listed(jobs))
}

fn commands_of_file(path: &Path, maker: Maker) -> Result<Plan, Trouble> {
    let trouble = |error| Trouble::file(path, &error);
    let file = File::open(path).map_err(trouble)?;
    let metadata = file.metadata().map_err(trouble)?;
    if metadata.is_dir() {
        return Err(trouble(io::ErrorKind::IsADirectory.into()));
    }
    let small = metadata.is_file() && metadata.len() <= LISTED_MAX;
    let records = Records::new(Box::new(BufReader::new(file)), path.display().to_string(), b'\n');
    let mut jobs = commands(records, maker);
    if !small {
        return Ok(Plan::Streamed(Box::new(jobs)));
    }
    let listed = jobs.by_ref().collect::<Result<Vec<Job>, Trouble>>()?;
    jobs.maker.check_tty(&listed)?;
    Ok(Plan::Listed(listed))
}

/// One job a line. Blank lines and comments are none, nor is a carriage return part of a command.
struct Commands {
    records: Records,
    maker: Maker,
}

fn commands(records: Records, maker: Maker) -> Commands {
    Commands { records, maker }
}

impl Iterator for Commands {
    type Item = Result<Job, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut line = match self.records.next()? {
                Ok(line) => line,
                Err(trouble) => return Some(Err(trouble)),
            };
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let trimmed = line.trim_ascii_start();
            if !trimmed.is_empty() && !trimmed.starts_with(b"#") {
                return Some(Ok(self.maker.command(OsString::from_vec(line))));
            }
        }
    }
}

/// There is one terminal.
fn check_one_tty(jobs: &[Job], file: &Path) -> Result<(), Trouble> {
    let mut owners = jobs.iter().filter(|job| job.tty);
    match (owners.next(), owners.next()) {
        (Some(one), Some(two)) => {
            let what = format!("both `{}` and `{}` are to own the terminal", one.name, two.name);
            Err(Trouble::new(what).at(file.display().to_string()).advice("at most one job of a run can"))
        }
        _ => Ok(()),
    }
}

fn is_jobs_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

fn open_stdin(stdin: impl FnOnce() -> io::Result<Input>) -> Result<Input, Trouble> {
    stdin().map_err(|error| Trouble::new(error.to_string()).at(STDIN))
}

/// Standard input as a file of its own: the lock of the standard library's is bound to a thread.
fn standard_input() -> io::Result<Input> {
    let own = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(Box::new(BufReader::with_capacity(64 << 10, File::from(own))))
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
