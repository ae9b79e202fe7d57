//! The command line.

use crate::measure::Plan;
use crate::print::Format;
use crate::works::{Work, process};

/// What to measure, and how to show it.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) format: Format,
    pub(crate) plan: Plan,
    pub(crate) works: Vec<Work>,
    pub(crate) threads: Vec<usize>,
}

#[derive(Debug)]
pub(crate) enum Request {
    Run(Options),
    /// One run of a work, as the process that the work `process` starts. The help is silent about it.
    Process(process::Run),
    Help,
}

pub(crate) fn help() -> String {
    let works: Vec<_> = Work::ALL.iter().map(|work| work.name()).collect();
    format!(
        "Usage: bench [--json | --markdown] [--quick] [--threads N] [--work] [NAME...]\n\n\
         \x20 NAME...      only these works, in this order; of\n\
         \x20              {}\n\
         \x20 --json       one JSON object a line instead of a table\n\
         \x20 --markdown   the tables of docs/performance.md\n\
         \x20 --quick      few short rounds: shows that everything runs, not how fast\n\
         \x20 --threads N  only with N worker threads, instead of 1 and then 2\n\
         \x20 --help       this text\n",
        works.join(",\n               ")
    )
}

/// # Errors
///
/// What is wrong with the arguments, for the person who wrote them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let mut arguments = arguments.into_iter();
    let mut options =
        Options { format: Format::default(), plan: Plan::FULL, works: Vec::new(), threads: vec![1, 2] };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => options.format = Format::Json,
            "--markdown" => options.format = Format::Markdown,
            "--quick" => options.plan = Plan::QUICK,
            "--work" => {
                let name = arguments.next().ok_or("--work needs the name of a work")?;
                options.works.push(work(&name)?);
            }
            "--threads" => {
                let number = arguments.next().ok_or("--threads needs a number")?;
                let threads = number.parse().ok().filter(|&threads| threads > 0);
                let threads =
                    threads.ok_or_else(|| format!("--threads needs a number from 1 on, not {number:?}"))?;
                options.threads = vec![threads];
            }
            "--help" | "-h" => return Ok(Request::Help),
            process::OPTION => return process::Run::parse(arguments).map(Request::Process),
            option if option.starts_with('-') => return Err(format!("unknown option {option:?}")),
            name => options.works.push(work(name)?),
        }
    }
    if options.works.is_empty() {
        options.works = Work::ALL.to_vec();
    }
    Ok(Request::Run(options))
}

fn work(name: &str) -> Result<Work, String> {
    Work::named(name).ok_or_else(|| format!("there is no work {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_arguments_everything_is_measured() {
        let Ok(Request::Run(options)) = parsed("") else { panic!("no options are fine") };
        assert_eq!((options.works.len(), options.format), (Work::ALL.len(), Format::Table));
        assert_eq!(options.threads, [1, 2]);
    }

    #[test]
    fn one_work_on_one_count_of_threads() {
        let line = "--work memory --threads 3 --json";
        let Ok(Request::Run(options)) = parsed(line) else { panic!("{line} is fine") };
        let shown = (options.works, options.threads, options.format);
        assert_eq!(shown, (vec![Work::Memory], vec![3], Format::Json));
    }

    #[test]
    fn works_are_chosen_by_their_names() {
        let line = "allocs --work timeout memory --markdown";
        let Ok(Request::Run(options)) = parsed(line) else { panic!("{line} is fine") };
        assert_eq!(options.works, [Work::Allocs, Work::Timeout, Work::Memory]);
        assert_eq!(options.format, Format::Markdown);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, message) in [
            ("--fast", "unknown option \"--fast\""),
            ("--work", "--work needs the name of a work"),
            ("--work tea", "there is no work \"tea\""),
            ("memory tea", "there is no work \"tea\""),
            ("--threads", "--threads needs a number"),
            ("--threads 0", "--threads needs a number from 1 on, not \"0\""),
        ] {
            assert_eq!(parsed(line).unwrap_err(), message);
        }
    }
}
