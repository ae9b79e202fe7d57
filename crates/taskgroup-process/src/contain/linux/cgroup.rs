//! A control group of its own for a command, in a folder of cgroup v2 that somebody has delegated to the program.
//!
//! The program makes it ([`Group`]) and removes it if the keeper cannot; the keeper has the leader enter it, kills it and removes it
//! ([`Held`]).
//!
//! # Invariants
//!
//! 1. As in [`proc`](super::proc) for what the keeper does: it never allocates, locks or panics.
//! 2. A group is one command's alone, named after its mark. Whoever is in it at the end is killed: only the command's processes are, or
//!    those that somebody has put there.

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
    /// Makes one in `folder` for the command with this mark.
    pub(super) fn make(folder: &Path, mark: &str) -> io::Result<Self> {
        let wrong = |text: &str| io::Error::other(format!("its cgroup in {}: {text}", folder.display()));
        let failed = |error: io::Error| wrong(&error.to_string());
        let folder = folder.canonicalize().map_err(failed)?;
        let is_v2 = std::fs::File::open(&folder).is_ok_and(|file| sys::is_cgroup(&file.into()));
        if !is_v2 {
            return Err(wrong("that is not a folder of cgroup v2"));
        }
        let group = Self { path: folder.join(format!("taskgroup-{mark}")) };
        std::fs::create_dir(&group.path).map_err(failed)?;
        if !group.path.join("cgroup.kill").exists() {
            return Err(wrong("the kernel has no cgroup.kill, which is from Linux 5.14 on"));
        }
        Ok(group)
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
    pub(super) fn open(path: &CStr) -> Result<Self, Failure> {
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
            let shown = Group::make(Path::new(folder), "1-2.3").unwrap_err().to_string();
            assert!(shown.contains(why) && shown.contains(folder), "{shown}");
        }
    }
}
