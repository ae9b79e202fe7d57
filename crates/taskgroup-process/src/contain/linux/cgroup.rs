//! A control group of its own for a command, in a folder of cgroup v2 that somebody has delegated to the program.
//!
//! The keeper makes it, has the leader enter it, kills it and removes it ([`Held`]). The program names it, and removes it if the keeper
//! cannot ([`Group`]).
//!
//! # Invariants
//!
//! 1. As in [`proc`](super::proc) for what the keeper does: it never allocates, locks or panics.
//! 2. A group is one command's alone, named after its mark. Whoever is in it at the end is killed: only the command's processes are, or
//!    those that somebody has put there.
//! 3. Whoever makes it outlives the program: so none is left when the program alone is killed, at whatever moment.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::exec::Failure;
use super::sys;
use super::wire::Step;

/// How often it is tried to remove a group, a millisecond apart: those that were killed need a moment.
const TRIES: u32 = 200;

/// How deep groups within a group are removed.
const DEPTH: u32 = 16;

/// The program's side; killed and removed when dropped, if it is still there.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
}

impl Group {
    /// One in `folder`, for the command with this mark. It is still to be made.
    pub(super) fn within(folder: &Path, mark: &str) -> io::Result<Self> {
        let wrong = |text: &str| io::Error::other(format!("its cgroup in {}: {text}", folder.display()));
        let folder = folder.canonicalize().map_err(|error| wrong(&error.to_string()))?;
        let is_v2 = std::fs::File::open(&folder).is_ok_and(|file| sys::is_cgroup(&file.into()));
        if !is_v2 {
            return Err(wrong("that is not a folder of cgroup v2"));
        }
        Ok(Self { path: folder.join(format!("taskgroup-{mark}")) })
    }

    pub(super) fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }

    /// Kills all that are in it.
    pub(super) fn kill(&self) {
        if let Some(held) = self.held() {
            held.kill();
        }
    }

    /// Kills all that are in it, and removes it. Two may do so at once.
    pub(super) fn end(&self) {
        if let Some(held) = self.held() {
            held.remove(|| match std::fs::remove_dir(&self.path) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            });
        }
    }

    fn held(&self) -> Option<Held> {
        let path = [self.path.as_os_str().as_bytes(), b"\0"].concat();
        Held::open(CStr::from_bytes_with_nul(&path).ok()?).ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// The keeper's side.
pub(super) struct Held {
    folder: OwnedFd,
    processes: OwnedFd,
}

impl Held {
    /// Makes the group, or takes the one that a keeper made which was killed.
    pub(super) fn make(path: &CStr) -> Result<Self, Failure> {
        match sys::make_folder(path) {
            Ok(()) | Err(libc::EEXIST) => {}
            Err(errno) => return Err(Failure { errno, step: Step::GroupFolder }),
        }
        let made = Self::open(path).and_then(Self::fit);
        if made.is_err() {
            let _ = sys::remove_folder_at(libc::AT_FDCWD, path);
        }
        made
    }

    /// Who enters a group that is frozen stands still before it runs its program, and the keeper with it.
    fn fit(self) -> Result<Self, Failure> {
        let refused = |errno| Err(Failure { errno, step: Step::GroupFolder });
        if sys::open_at(self.folder.as_raw_fd(), c"cgroup.kill", libc::O_WRONLY).is_none() {
            return refused(libc::ENOSYS);
        }
        let mut events = [0; 256];
        let file = sys::File::open_at(self.folder.as_raw_fd(), c"cgroup.events", 0);
        let read = file.and_then(|file| file.read(&mut events)).unwrap_or(0);
        let mut lines = events.get(..read).unwrap_or(&[]).split(|byte| *byte == b'\n');
        if lines.any(|line| line == b"frozen 1") { refused(libc::EBUSY) } else { Ok(self) }
    }

    fn open(path: &CStr) -> Result<Self, Failure> {
        let failure = || Failure { step: Step::Group, ..Failure::last() };
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let folder = sys::open_at(libc::AT_FDCWD, path, flags).ok_or_else(failure)?;
        let processes =
            sys::open_at(folder.as_raw_fd(), c"cgroup.procs", libc::O_WRONLY).ok_or_else(failure)?;
        Ok(Self { folder, processes })
    }

    /// Moves this process into it.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        let is_in = sys::write(self.processes.as_raw_fd(), b"0");
        if is_in { Ok(()) } else { Err(Failure { step: Step::Group, ..Failure::last() }) }
    }

    /// SIGKILL to all that are in it, or in groups within it, whoever's they are; the kernel lets no fork escape.
    pub(super) fn kill(&self) {
        if let Some(file) = sys::open_at(self.folder.as_raw_fd(), c"cgroup.kill", libc::O_WRONLY) {
            sys::write(file.as_raw_fd(), b"1");
        }
    }

    /// Removes it by `remove`, which says whether it is gone. Who is still in it is killed.
    pub(super) fn remove(&self, remove: impl Fn() -> bool) {
        for _ in 0..TRIES {
            if remove() {
                return;
            }
            self.kill();
            remove_groups_in(&self.folder, DEPTH);
            if remove() {
                return;
            }
            sys::wait_readable([-1], Some(1));
        }
    }
}

fn remove_groups_in(folder: &OwnedFd, depth: u32) {
    // Another description: the place in the list is its own.
    let Some(list) = sys::File::open_at(folder.as_raw_fd(), c".", libc::O_DIRECTORY) else { return };
    sys::for_each_entry_of(&list, &mut |name| {
        let mut text = [0; 256];
        let is_group = name != b"." && name != b"..";
        let Some(place) = text.get_mut(..name.len()).filter(|_| is_group) else { return };
        place.copy_from_slice(name);
        let Ok(name) = CStr::from_bytes_until_nul(&text) else { return };
        let is_busy = sys::remove_folder_at(folder.as_raw_fd(), name) == Err(libc::EBUSY);
        if is_busy
            && depth > 0
            && let Some(inner) = sys::open_at(folder.as_raw_fd(), name, libc::O_RDONLY | libc::O_DIRECTORY)
        {
            remove_groups_in(&inner, depth - 1);
            let _ = sys::remove_folder_at(folder.as_raw_fd(), name);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_none_of_cgroup_v2_is_refused() {
        for (folder, why) in [("/tmp", "is not a folder of cgroup v2"), ("/no/such", "No such file")] {
            let shown = Group::within(Path::new(folder), "1-2.3").unwrap_err().to_string();
            assert!(shown.contains(why) && shown.contains(folder), "{shown}");
        }
    }
}
