//! The escape matrix: whatever way a run ends, no descendant of a job is alive afterwards.
//!
//! Each test is a row of the matrix: a way in which the run ends. In it a job leaves six kinds of descendants, the columns
//! (`kind`), each alive until it is killed. All of them have announced themselves before the run is made to end, but in
//! the row where keepers are killed early; afterwards none must be there.
//!
//! | module | does |
//! |---|---|
//! | [`kind`] | the descendants, as this program once more |
//! | [`scenario`] | the ways in which a run ends |
//! | [`runner`] | the command lines of `tg` and of other runners |
//! | [`stage`] | plays one scenario, in a process of its own, and says what was seen |
//! | [`outlook`] | what a stage sees: announcements, the end of the runner and of everybody |
//! | [`proc`] | what `/proc` says |
//!
//! `scripts/escape-matrix` has this program play the scenarios with other runners too.

mod kind;
mod outlook;
mod proc;
mod runner;
mod scenario;
mod stage;
mod tests;

use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [kind::ROLE, rest @ ..] => kind::live(rest),
        [stage::TERMINAL, terminal, rest @ ..] => stage::exec_in_terminal(terminal, rest),
        [stage::ROLE, runner, scenario] => stage::main(runner, scenario),
        [stage::LIST] => stage::list(),
        _ => tests::run(),
    }
}
