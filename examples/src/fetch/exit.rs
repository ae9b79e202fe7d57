//! The exit codes.

use taskgroup::Signal;

/// Every page was fetched.
pub const FETCHED: u8 = 0;
/// A page failed by its HTTP status, and nothing worse happened. The worse: interrupted, then another
/// failure, then an I/O failure.
pub const HTTP_FAILURE: u8 = 1;
/// The command line is wrong; nothing was fetched.
pub const USAGE: u8 = 2;
/// The network, or the machine, failed.
pub const IO_FAILURE: u8 = 3;
/// The run took longer than `--timeout` allows.
pub const TIMED_OUT: u8 = 4;
/// Something else failed: a server that does not speak HTTP, for one.
pub const OTHER_FAILURE: u8 = 5;
/// Ctrl-C, as shells count it: 128 and the number of the signal.
pub const INTERRUPTED: u8 = 130;
/// SIGTERM, counted so too.
pub const TERMINATED: u8 = 143;

/// What a signal gives, whatever else happened.
pub(super) fn stopped_by(signal: Signal) -> u8 {
    match signal {
        Signal::Interrupt => INTERRUPTED,
        _ => TERMINATED,
    }
}

/// The codes and what they mean, for `--help`.
pub(super) const MEANINGS: [(u8, &str); 8] = [
    (FETCHED, "every page was fetched"),
    (HTTP_FAILURE, "a page failed by its HTTP status"),
    (USAGE, "the command line is wrong; nothing was fetched"),
    (IO_FAILURE, "an I/O failure"),
    (TIMED_OUT, "the run took longer than --timeout"),
    (OTHER_FAILURE, "another failure, such as a server that does not speak HTTP"),
    (INTERRUPTED, "interrupted by Ctrl-C"),
    (TERMINATED, "ended by SIGTERM"),
];
