//! The processes a keeper answers for: all its descendants.
//!
//! A keeper is a child subreaper. Whoever below it loses its parent becomes its child; so the set is the tree below it,
//! whatever sessions and process groups its members have made for themselves.
//!
//! # Invariants
//!
//! 1. No signal goes to a pid that has been reaped. A child of this process keeps its pid until this process reaps it, so it is
//!    signalled by pid. Any other is signalled through a pidfd, and only after it has been seen, with the pidfd open, to be
//!    the child of a process that is itself of the set: a pid that was used again in between belongs to a process
//!    whose parent is somebody else.
//! 2. Who is found dead is not told of.
//! 3. A walk may miss processes: those that are being forked, and those whose parents end while it goes on. Nothing rests on
//!    one walk. Who waits for the end of the set repeats them until [`sys::has_children`] says that nobody is left.

use super::proc::{self, Stat};
use super::sys::{self, Used};

/// How many processes one walk can hold that have been found and not been visited. The others are for the next walk.
const PENDING: usize = 4096;

#[derive(Clone, Copy)]
struct Pending {
    pid: i32,
    parent: i32,
    parent_started: u64,
}

/// What one walk has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walk {
    /// How many were signalled.
    pub(super) signalled: u32,
    /// How many could not be, for they belong to another user.
    pub(super) refused: u32,
}

/// The descendants of this process.
pub(super) struct Set {
    /// This process.
    own: i32,
    pending: [Pending; PENDING],
    len: usize,
}

impl Set {
    pub(super) const fn new(own: i32) -> Self {
        Self { own, pending: [Pending { pid: 0, parent: 0, parent_started: 0 }; PENDING], len: 0 }
    }

    /// Sends `signal` to every living member. `polite`: who runs a group of its own (it has a keeper below it) is signalled, and
    /// what is below it left to it.
    pub(super) fn signal(&mut self, signal: i32, polite: bool) -> Walk {
        let mut walk = Walk::default();
        self.walk(polite, &mut |pid, stat, own| {
            if stat.is_keeper && polite {
                return;
            }
            let sent =
                if stat.parent == own { sys::kill(pid, signal) } else { signal_other(pid, stat, signal) };
            match sent {
                Ok(()) => walk.signalled += 1,
                Err(libc::EPERM) => walk.refused += 1,
                Err(_) => {}
            }
        });
        walk
    }

    /// Kills the children of this process at once, without looking at what is below them.
    ///
    /// A process that forks and ends, again and again, is never there when a walk comes to it. Each one that is orphaned comes
    /// here, where it lives shorter than it needs to fork.
    pub(super) fn kill_children(&self) {
        proc::for_each_child(self.own, &mut |pid| {
            let _ = sys::kill(pid, libc::SIGKILL);
        });
    }

    /// Calls `found` with every living member that is no keeper.
    pub(super) fn for_each(&mut self, found: &mut dyn FnMut(i32)) {
        self.walk(false, &mut |pid, stat, _| {
            if !stat.is_keeper {
                found(pid);
            }
        });
    }

    /// Reaps the children that have ended, but for `leader`; says whether others are left.
    ///
    /// Who is reaped may have left children of its own, which came to this process when the list had been read; and a list that
    /// loses members while it is read leaves out others. So a pass in which somebody was reaped does not say that nobody is left.
    pub(super) fn reap_all_but(&self, leader: i32, reaped: &mut dyn FnMut(Used)) -> bool {
        loop {
            let (mut left, mut any) = (false, false);
            proc::for_each_child(self.own, &mut |pid| {
                if pid != leader {
                    match sys::reap(pid) {
                        Some(used) => {
                            any = true;
                            reaped(used);
                        }
                        None => left = true,
                    }
                }
            });
            if left || !any {
                return left;
            }
        }
    }

    /// Visits each living member once, parents before their children.
    fn walk(&mut self, polite: bool, visit: &mut dyn FnMut(i32, Stat, i32)) {
        self.len = 0;
        let own = self.own;
        self.add_children(own, 0);
        while let Some(next) = self.take() {
            let Some(stat) = proc::stat(next.pid) else { continue };
            if stat.is_zombie || !self.is_member(next, stat) {
                continue;
            }
            visit(next.pid, stat, own);
            if !(polite && (stat.is_keeper || runs_a_group(next.pid))) {
                self.add_children(next.pid, stat.started);
            }
        }
    }

    /// Invariant 1: it is a child of this process, or of the one it was found at, which is still the same.
    fn is_member(&self, found: Pending, stat: Stat) -> bool {
        stat.parent == self.own
            || stat.parent == found.parent
                && proc::stat(found.parent).is_some_and(|parent| parent.started == found.parent_started)
    }

    fn add_children(&mut self, parent: i32, parent_started: u64) {
        let Self { pending, len, .. } = self;
        proc::for_each_child(parent, &mut |pid| {
            if let Some(place) = pending.get_mut(*len) {
                *place = Pending { pid, parent, parent_started };
                *len += 1;
            }
        });
    }

    fn take(&mut self) -> Option<Pending> {
        self.len = self.len.checked_sub(1)?;
        self.pending.get(self.len).copied()
    }
}

/// Whether a process has a keeper for a child: it is a program that runs groups of its own, and ends them itself.
fn runs_a_group(pid: i32) -> bool {
    let mut has_keeper = false;
    proc::for_each_child(pid, &mut |child| {
        has_keeper |= proc::stat(child).is_some_and(|stat| stat.is_keeper)
    });
    has_keeper
}

/// Signals a process that is not a child of this one, if it still is the one that was seen.
fn signal_other(pid: i32, seen: Stat, signal: i32) -> Result<(), i32> {
    use std::os::fd::AsFd;
    let process = match sys::pidfd_open(pid) {
        Ok(process) => process,
        // A kernel without pidfds: between this look and the signal there is nothing to hold on to.
        Err(libc::ENOSYS) => {
            let same = proc::stat(pid).is_some_and(|now| now.started == seen.started);
            return if same { sys::kill(pid, signal) } else { Err(libc::ESRCH) };
        }
        Err(errno) => return Err(errno),
    };
    match proc::stat(pid) {
        Some(now) if now.started == seen.started => sys::pidfd_send_signal(process.as_fd(), signal),
        _ => Err(libc::ESRCH),
    }
}
