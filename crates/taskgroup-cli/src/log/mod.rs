//! The log of jobs that have ended (`--log`), and what it says was done before (`--resume`).
//!
//! 1. A log is JSON lines, one a job that has ended, each with its version (`"v":1`). Lines are only ever added.
//! 2. A line is added with one `write` at the end of the file, under a lock that all `tg` take, so that several
//!    may share a log. Where the last line of the file is torn (no newline: a machine that went down in the middle
//!    of a write), it is ended first.
//! 3. A job was done before when the last entry with its [`Key`] has succeeded. A torn last line counts for
//!    nothing; a line elsewhere that cannot be read is passed over, counted, and mentioned once.

mod append;
mod done;
mod key;

pub(crate) use append::{Entry, Log};
pub(crate) use done::Done;
pub(crate) use key::Key;

#[cfg(test)]
mod tests;
