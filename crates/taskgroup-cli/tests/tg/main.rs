//! `tg` as its users have it: the program itself, with real processes, pipes, signals and terminals.
//!
//! Jobs and tests wait for each other at gates (named pipes) and never for time to pass; what sleeps for long is there to be
//! ended. Limits are for the day when something hangs.

mod bad_input;
mod codes;
mod commands;
mod each;
mod failures;
mod leaks;
mod log;
mod nesting;
mod output;
mod pipes;
mod program;
mod pty;
mod signals;
mod terminal;
mod time;
