//! Measures `taskgroup` against what tokio offers, side by side in one process.
//!
//! `cargo run --release -p bench` prints a table with the target of each row and a mark where it is
//! missed; with `--json`, one object a line, with these keys:
//!
//! | key | what |
//! |---|---|
//! | `work`, `n`, `threads`, `peer` | which comparison: the work, how many children, worker threads, against whom |
//! | `unit` | of the two values: `ns` (one repetition of the work), `bytes` or `allocations` (for each child) |
//! | `ours`, `peer_value` | the medians of the rounds, in `unit` |
//! | `ours_ns`, `peer_ns` | the same two numbers again, whatever the unit, so that one reader does for all rows |
//! | `ratio` | ours / peer: the median over the rounds of each round's own ratio |
//! | `target`, `target_of` | at most this much, and of what: `ratio` or `ours` |
//! | `met` | whether it was met |
//!
//! How the comparison is kept fair is told in [`measure`].

mod alloc;
mod measure;
mod options;
mod print;
mod works;

use std::io::Write as _;
use std::process::ExitCode;

use options::Request;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Request::Run(options)) => options,
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
    let mut out = std::io::stdout().lock();
    let (mut rows, mut missed) = (0, 0);
    if !options.json {
        writeln!(out, "{}", print::heading())?;
    }
    for &work in &options.works {
        for &threads in &options.threads {
            for comparison in work.comparisons() {
                let row = comparison.run(&options.plan, threads);
                writeln!(out, "{}", if options.json { print::json(&row) } else { print::line(&row) })?;
                out.flush()?;
                rows += 1;
                missed += usize::from(!row.met());
            }
        }
    }
    if !options.json {
        writeln!(out, "\n{} of {rows} targets met", rows - missed)?;
    }
    Ok(())
}
