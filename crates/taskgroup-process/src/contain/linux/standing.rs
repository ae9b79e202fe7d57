//! What a process hands on to those that it forks: its user, its rights, its limits.
//!
//! # Invariants
//!
//! 1. A keeper has the standing that the program had when it forked it, and what it starts has the keeper's. So a keeper that has
//!    waited serves only as long as the program's standing is the same: a program that has given up rights does not start
//!    anything with them.

use std::io;
use std::os::unix::fs::MetadataExt;

use super::sys;

/// The lines of `/proc/thread-self/status` that are handed on.
const LINES: [&str; 13] = [
    "Umask:",
    "Uid:",
    "Gid:",
    "Groups:",
    "CapInh:",
    "CapPrm:",
    "CapEff:",
    "CapBnd:",
    "CapAmb:",
    "NoNewPrivs:",
    "Seccomp:",
    "Seccomp_filters:",
    "Speculation_Store_Bypass:",
];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    status: String,
    limits: [(u64, u64); sys::LIMITS],
    priority: i32,
    /// The device and the number of the root folder.
    root: (u64, u64),
}

impl Standing {
    /// This thread's, which is the one that forks.
    pub(super) fn read() -> io::Result<Self> {
        let all = std::fs::read_to_string("/proc/thread-self/status")?;
        let is_kept = |line: &&str| LINES.iter().any(|start| line.starts_with(start));
        let status = all.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect();
        let root = std::fs::metadata("/")?;
        let root = (root.dev(), root.ino());
        Ok(Self { status, limits: sys::limits(), priority: sys::priority(), root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_as_long_as_nothing_changes() {
        let before = Standing::read().unwrap();
        assert!(before.status.contains("Uid:") && before.status.contains("Umask:"), "{}", before.status);
        assert_eq!(before, Standing::read().unwrap());
    }
}
