//! The escape matrix: whatever way a run ends, no descendant of a job is alive afterwards.
//!
//! Each test is a row of the matrix: a way in which the run ends. In it a job leaves six kinds of descendants, the columns
//! (`kind`), each alive until it is killed. All of them have announced themselves before the run is made to end; afterwards
//! none must be there.
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

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused))]

#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod kind;
#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod outlook;
#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod proc;
#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod runner;
#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod scenario;
#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod stage;
#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod tests;

#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
fn main() -> std::process::ExitCode {
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

/// Containment is weaker elsewhere, and this promise is not made.
#[cfg(not(all(target_os = "linux", not(taskgroup_process_portable))))]
fn main() {}
