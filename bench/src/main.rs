//! Measures `taskgroup` against what tokio offers, side by side in one process.
//!
//! `cargo run --release -p bench` prints tables with the target of each row and a mark where it is
//! missed; with `--markdown`, the tables of `docs/performance.md`; with `--json`, one object a line, with
//! these keys:
//!
//! | key | what |
//! |---|---|
//! | `work`, `n`, `threads`, `peer` | which comparison: the work, how many children, worker threads, against whom |
//! | `unit` | of the two values: `ns` (one repetition of the work), `bytes` or `allocations` (for each child) |
//! | `ours`, `peer_value` | the medians of the rounds, in `unit` |
//! | `ours_ns`, `peer_ns` | the same two numbers again, whatever the unit, so that one reader does for all rows |
//! | `ratio` | ours / peer: the median over the rounds of each round's own ratio |
//! | `target`, `target_of` | at most this much, and of what: `ratio` or `ours`; `null` where there is none |
//! | `met` | whether it was met; `null` where there is none |
//! | `cpu`, `cores`, `os`, `rustc`, `tokio`, `python` | where it was measured, and with which versions; `python` is `null` where none was asked |
//!
//! A work that cannot be measured on this machine has no rows; a line on standard error says why.
//!
//! How the comparison is kept fair is told in [`measure`].

mod alloc;
mod machine;
mod measure;
mod options;
mod print;
mod row;
mod works;

use std::process::ExitCode;

use machine::Machine;
use options::Request;
use print::Printer;
use works::{Work, process};

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Request::Run(options)) => options,
        Ok(Request::Process(work)) => {
            work.run();
            return ExitCode::SUCCESS;
        }
        Ok(Request::Help) => {
            print!("{}", options::help());
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("bench: {message}\n\n{}", options::help());
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe went away: nobody is left to be told.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: cannot print: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &options::Options) -> std::io::Result<()> {
    let python = options.works.contains(&Work::Process).then(process::python_version);
    let machine = Machine::this(python.and_then(Result::ok));
    let mut printer = Printer::begin(std::io::stdout().lock(), options.format, machine)?;
    for &work in &options.works {
        printer.section(work.section())?;
        let comparisons = match work.comparisons() {
            Ok(comparisons) => comparisons,
            Err(why) => {
                printer.skipped(work.name(), &why)?;
                continue;
            }
        };
        for &threads in &options.threads {
            for comparison in &comparisons {
                printer.row(&comparison.run(&options.plan, threads))?;
            }
        }
    }
    printer.end()
}
