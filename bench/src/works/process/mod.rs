//! The same small programs with `taskgroup` and with Python's `asyncio.TaskGroup`, each as a process of its
//! own, from its start to its exit.
//!
//! Our side is this program once more, with [`OPTION`]; the other is `asyncio_works.py`, by the `python3` on
//! the `PATH`. Both do their work once and check what comes out. What starting costs, an interpreter above all,
//! is in the time; the program `process_empty` shows how much of it. asyncio runs on one thread whatever the
//! number of our worker threads.

mod ours;

use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Comparison, Target, Unit};
use crate::measure::{Figures, Plan, compare_processes, nanoseconds_since};

/// Followed by a program's name, a number of tasks and a number of worker threads.
pub(crate) const OPTION: &str = "--process";

const SCRIPT: &str = include_str!("../../../asyncio_works.py");

/// The first version with `asyncio.TaskGroup`.
const PYTHON_SINCE: (u32, u32) = (3, 11);

/// One of the small programs. `n` tasks do the work of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// Open a group and leave it.
    Empty,
    /// Spawn short tasks and wait for them.
    SpawnJoin,
    /// One fails among sleepers.
    FirstFailure,
    /// Cancel sleepers.
    CancelAll,
    /// Groups in groups in groups, with short tasks at the bottom.
    Nested,
    /// Timeouts that do not fire, one after the other.
    Timeout,
}

impl Program {
    const ALL: [Self; 6] =
        [Self::Empty, Self::SpawnJoin, Self::FirstFailure, Self::CancelAll, Self::Nested, Self::Timeout];

    /// The name of the row; the script knows the program by the same name.
    fn name(self) -> &'static str {
        match self {
            Self::Empty => "process_empty",
            Self::SpawnJoin => "process_spawn_join",
            Self::FirstFailure => "process_first_failure",
            Self::CancelAll => "process_cancel_all",
            Self::Nested => "process_nested",
            Self::Timeout => "process_timeout",
        }
    }
}

/// # Errors
///
/// There is no Python that has task groups.
pub(super) fn comparisons() -> Result<Vec<Comparison>, String> {
    python_version()?;
    let one = |program: Program, n, measure| Comparison {
        work: program.name(),
        n,
        peer: "asyncio",
        unit: Unit::Nanoseconds,
        target: Target::None,
        measure,
    };
    Ok(vec![
        one(Program::Empty, 0, |plan, threads, n| asyncio(Program::Empty, plan, threads, n)),
        one(Program::SpawnJoin, 100_000, |plan, threads, n| asyncio(Program::SpawnJoin, plan, threads, n)),
        one(Program::FirstFailure, 20_000, |plan, threads, n| {
            asyncio(Program::FirstFailure, plan, threads, n)
        }),
        one(Program::CancelAll, 20_000, |plan, threads, n| asyncio(Program::CancelAll, plan, threads, n)),
        one(Program::Nested, 100_000, |plan, threads, n| asyncio(Program::Nested, plan, threads, n)),
        one(Program::Timeout, 100_000, |plan, threads, n| asyncio(Program::Timeout, plan, threads, n)),
    ])
}

fn asyncio(program: Program, plan: &Plan, threads: usize, n: usize) -> Figures {
    let this = std::env::current_exe().expect("the system knows which program runs");
    compare_processes(
        plan,
        || {
            let arguments = [OPTION, program.name(), &n.to_string(), &threads.to_string()];
            timed(Command::new(&this).args(arguments))
        },
        || timed(python().args(["-c", SCRIPT, program.name(), &n.to_string()])),
    )
}

/// Isolated: neither the user's settings nor the directory change what runs.
fn python() -> Command {
    let mut python = Command::new("python3");
    python.arg("-I");
    python
}

/// The version of the Python that the programs run with.
///
/// # Errors
///
/// There is none that has task groups.
pub(crate) fn python_version() -> Result<String, String> {
    let question = "import sys; print(*sys.version_info[:3], sep='.')";
    let answer = python().args(["-c", question]).stderr(Stdio::null()).output();
    let answer = answer.map_err(|error| format!("no python3 on the PATH ({error})"))?;
    let version = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= PYTHON_SINCE => Ok(version),
        (Some(_), Some(_)) => {
            let (major, minor) = PYTHON_SINCE;
            Err(format!("asyncio.TaskGroup came with Python {major}.{minor}, python3 is {version}"))
        }
        _ => Err("python3 does not tell its version".to_owned()),
    }
}

fn timed(command: &mut Command) -> f64 {
    let begin = Instant::now();
    let status = command.stdin(Stdio::null()).status().expect("the process starts");
    let time = nanoseconds_since(begin);
    assert!(status.success(), "{command:?} ended with {status}");
    time
}

/// What the process that we start has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    program: Program,
    n: usize,
    threads: usize,
}

impl Run {
    /// # Errors
    ///
    /// What is wrong with the arguments after [`OPTION`].
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let name = arguments.next().ok_or("--process needs the name of a program")?;
        let program = Program::ALL.into_iter().find(|program| program.name() == name);
        let program = program.ok_or_else(|| format!("there is no program {name:?}"))?;
        let mut number = || arguments.next().and_then(|number| number.parse().ok());
        let (Some(n), Some(threads @ 1..)) = (number(), number()) else {
            return Err("--process needs a number of tasks and one of threads".to_owned());
        };
        Ok(Self { program, n, threads })
    }

    pub(crate) fn run(self) {
        ours::run(self.program, self.n, self.threads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_runs() {
        for program in Program::ALL {
            Run { program, n: 1_000, threads: 2 }.run();
        }
    }

    #[test]
    fn the_arguments_come_in_this_order() {
        let parse = |line: &str| Run::parse(line.split_whitespace().map(str::to_owned));
        assert_eq!(parse("process_nested 1000 2"), Ok(Run { program: Program::Nested, n: 1000, threads: 2 }));
        for line in ["", "process_tea 1 1", "process_empty", "process_empty 1", "process_empty 1 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_script_knows_every_program() {
        for program in Program::ALL {
            assert!(SCRIPT.contains(&format!("def {}(", program.name())), "{}", program.name());
        }
    }
}
