//! The processes a keeper answers for: all its descendants.
//!
//! A keeper is a child subreaper. Whoever below it loses its parent becomes its child; so the set is the tree below it,
//! whatever sessions and process groups its members have made for themselves.
//!
//! # Invariants
//!
//! 1. No signal goes to a pid that has been reaped. A child of this process keeps its pid until this process reaps it, so it is
//!    signalled by pid. Any other is signalled through a pidfd, and only if with the pidfd open it is the process that was
//!    found: pid and time of start say who it is.
//! 2. A process is found only as the child of one that is itself of the set: a pid that was used again in between belongs to a
//!    process whose parent is somebody else.
//! 3. All are found before the first is signalled. A signal may end a process at once, and its children then are no longer where
//!    they were.
//! 4. Who is found dead is not told of.
//! 5. A walk may miss processes: those that are being forked, and those whose parents end while it goes on. Nothing rests on
//!    one walk. Who waits for the end of the set repeats them until [`sys::has_children`] says that nobody is left.

use super::proc::{self, Stat};
use super::sys::{self, Used};

/// How many processes one walk can find. The others are for the next one.
const ROOM: usize = 4096;

#[derive(Clone, Copy)]
struct Member {
    pid: i32,
    /// Whose child it was found as.
    parent: i32,
    parent_started: u64,
    /// Known when it has been looked at; 0 if it was gone.
    started: u64,
    is_keeper: bool,
}

impl Member {
    const NOBODY: Self = Self { pid: 0, parent: 0, parent_started: 0, started: 0, is_keeper: false };
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
    /// The init of the command's namespace, or 0. It is passed over: what is below it is of the set.
    init: i32,
    /// Those that were found, parents before their children.
    members: &'static mut [Member],
    len: usize,
}

impl Set {
    /// `None` if there is no memory.
    pub(super) fn new(own: i32) -> Option<Self> {
        Some(Self { own, init: 0, members: sys::room(ROOM, Member::NOBODY)?, len: 0 })
    }

    /// From now on `init` is passed over; nobody is if it is 0.
    pub(super) fn pass_over(&mut self, init: i32) {
        self.init = init;
    }

    /// Sends `signal` to every living member. `polite`: a keeper below this one, and what it keeps, is left to the program that
    /// has it, which is signalled.
    pub(super) fn signal(&mut self, signal: i32, polite: bool) -> Walk {
        self.find(polite);
        let mut walk = Walk::default();
        let is_passed_over = |member: &&Member| {
            if self.is_init(member) { signal != libc::SIGCONT } else { polite && member.is_keeper }
        };
        for member in self.living().filter(|member| !is_passed_over(member)) {
            match send(self.own, member, signal) {
                Ok(()) => walk.signalled += 1,
                Err(libc::EPERM) => walk.refused += 1,
                Err(_) => {}
            }
        }
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
        self.find(false);
        let told = |member: &&Member| !member.is_keeper && !self.is_init(member);
        self.living().filter(told).for_each(|member| found(member.pid));
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

    fn is_init(&self, member: &Member) -> bool {
        member.pid == self.init
    }

    fn living(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().take(self.len).filter(|member| member.started != 0)
    }

    /// Finds all members. `polite`: but for what keepers keep.
    fn find(&mut self, polite: bool) {
        self.len = 0;
        self.add_children(self.own, 0);
        let looked_at = self.look(0, polite);
        // Whose parents have ended meanwhile are children of this process now.
        self.add_children(self.own, 0);
        self.look(looked_at, polite);
    }

    /// Looks at those from `first` on, and at their children; says how many there are now.
    fn look(&mut self, first: usize, polite: bool) -> usize {
        let mut next = first;
        while let Some(&member) = self.members.get(next).filter(|_| next < self.len) {
            if let Some(stat) = proc::stat(member.pid).filter(|stat| self.is_member(&member, *stat)) {
                if let Some(place) = self.members.get_mut(next) {
                    *place = Member { started: stat.started, is_keeper: stat.is_keeper, ..member };
                }
                if !(polite && stat.is_keeper) || self.is_init(&member) {
                    self.add_children(member.pid, stat.started);
                }
            }
            next += 1;
        }
        next
    }

    /// Invariant 2: it is alive, and a child of this process, or of the one it was found at, which is still the same.
    fn is_member(&self, found: &Member, stat: Stat) -> bool {
        let is_same = |parent: Stat| parent.started == found.parent_started;
        !stat.is_zombie
            && (stat.parent == self.own
                || stat.parent == found.parent && proc::stat(found.parent).is_some_and(is_same))
    }

    /// Adds those children of a process that have not been found yet.
    fn add_children(&mut self, parent: i32, parent_started: u64) {
        let Self { members, len, own, .. } = self;
        let (known, is_own) = (*len, parent == *own);
        proc::for_each_child(parent, &mut |pid| {
            // Only what has come to this process may have been found elsewhere before.
            let is_known = is_own && members.iter().take(known).any(|member| member.pid == pid);
            if let Some(place) = members.get_mut(*len).filter(|_| !is_known) {
                *place = Member { pid, parent, parent_started, ..Member::NOBODY };
                *len += 1;
            }
        });
    }
}

/// Signals a process if it still is the one that was found (invariant 1).
fn send(own: i32, member: &Member, signal: i32) -> Result<(), i32> {
    use std::os::fd::AsFd;
    let same = |stat: &Stat| stat.started == member.started;
    let process = match sys::pidfd_open(member.pid) {
        Ok(process) => Some(process),
        // A kernel without pidfds: between this look and the signal there is nothing to hold on to, but for own children.
        Err(libc::ENOSYS) => None,
        Err(errno) => return Err(errno),
    };
    match (proc::stat(member.pid).filter(same), process) {
        (Some(now), _) if now.parent == own => sys::kill(member.pid, signal),
        (Some(_), Some(process)) => sys::pidfd_send_signal(process.as_fd(), signal),
        (Some(_), None) => sys::kill(member.pid, signal),
        (None, _) => Err(libc::ESRCH),
    }
}
