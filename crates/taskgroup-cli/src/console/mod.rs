//! What a person, or a program, sees of a run.
//!
//! A thread of its own ([`thread`]) owns standard output and standard error. It is fed through a bounded channel, so
//! a terminal or a pipe that does not keep up holds back the jobs that write, and no memory grows. What it does is
//! in [`show`], which is given all that it knows: events, output, the time, the size of the terminal.
//!
//! | module | what |
//! |---|---|
//! | [`thread`] | the handle, the thread, the clock, the real terminal |
//! | [`show`] | the output modes; what is told when |
//! | [`screen`] | the two streams and the region below what is written |
//! | [`live`] | the lines of the region |
//! | [`status`] | lines about single events |
//! | [`summary`], [`tree`] | the end: facts, and their drawing |
//! | [`json`] | `--json` |
//! | [`spool`], [`lines`], [`recent`] | output that waits; whole lines; the last lines |
//! | [`style`], [`text`] | colour; width, cutting, cleaning |

mod json;
mod lines;
mod live;
mod recent;
mod screen;
mod show;
mod spool;
mod status;
mod style;
mod summary;
#[cfg(test)]
mod testing;
mod text;
mod thread;
mod tree;

pub(crate) use show::OutputMode;
pub(crate) use style::ColorChoice;
pub(crate) use thread::{Console, ConsoleSettings, ConsoleThread, Lost};
