//! What `/proc` says of processes, read without allocating.
//!
//! # Invariants
//!
//! 1. Nothing here allocates, takes a lock or panics: it runs in a child of a program that has other threads, between
//!    `fork` and the end, where the locks of the allocator may be held by threads that no longer exist.
//! 2. What is read may be out of date when it is returned. Who acts on it checks ([`set`](super::set)).

use super::sys;

/// A path, or another short text, made of parts.
pub(super) struct Path {
    bytes: [u8; 64],
    len: usize,
}

impl Path {
    pub(super) fn new() -> Self {
        Self { bytes: [0; 64], len: 0 }
    }

    /// `/proc/<pid>`.
    pub(super) fn of(pid: i32) -> Self {
        Self::new().text(b"/proc/").number(pid)
    }

    /// What does not fit is left out, with room for the NUL at the end.
    pub(super) fn text(mut self, text: &[u8]) -> Self {
        for byte in text {
            if self.len + 1 < self.bytes.len() {
                self.bytes[self.len] = *byte;
                self.len += 1;
            }
        }
        self
    }

    pub(super) fn number(self, number: impl Into<i64>) -> Self {
        let mut digits = [0; 20];
        let mut first = digits.len();
        let mut rest = number.into().unsigned_abs();
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return self.text(&digits[first..]);
            }
        }
    }

    /// With the NUL.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..=self.len]
    }

    /// Without it.
    pub(super) fn as_text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) parent: i32,
    /// The time it was started at, in ticks since boot: with the pid, who it is.
    pub(super) started: u64,
    /// Dead, and waiting to be reaped.
    pub(super) is_zombie: bool,
    /// The name of a keeper.
    pub(super) is_keeper: bool,
}

/// The name by which keepers are known, to each other and in `ps`.
pub(super) const KEEPER: &[u8] = b"tg-keeper\0";

/// `None` if there is no such process.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    let mut buffer = [0; 1024];
    let read = sys::read_file(Path::of(pid).text(b"/stat").as_bytes(), &mut buffer)?;
    let text = buffer.get(..read)?;
    // The name is in parentheses, and may hold any.
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let name = text.get(open + 1..close)?;
    let mut fields = text.get(close + 2..)?.split(|byte| *byte == b' ');
    let state = *fields.next()?.first()?;
    let parent = decimal(fields.next()?)? as i32;
    let threads = decimal(fields.nth(15)?)?;
    let started = decimal(fields.nth(1)?)?;
    Some(Stat {
        parent,
        started,
        // One whose first thread has ended before the others looks dead, and is not.
        is_zombie: matches!(state, b'Z' | b'X') && threads <= 1,
        is_keeper: KEEPER.strip_suffix(b"\0") == Some(name),
    })
}

/// The pid by which `/proc` knows this process: another than its own if it is of a PID namespace outside.
pub(super) fn own_pid() -> Option<i32> {
    let mut buffer = [0; 16];
    let read = sys::read_link(b"/proc/self\0", &mut buffer)?;
    decimal(buffer.get(..read)?).map(|pid| pid as i32)
}

fn decimal(text: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (!text.is_empty()).then_some(value)
}

/// The command line of a process, arguments apart by spaces, as far as the buffer goes; its name in brackets if it has none.
pub(super) fn command_line(pid: i32, buffer: &mut [u8]) -> usize {
    let read = sys::read_file(Path::of(pid).text(b"/cmdline").as_bytes(), buffer).unwrap_or(0);
    let mut len = read;
    while len > 0 && buffer.get(len - 1) == Some(&0) {
        len -= 1;
    }
    for byte in buffer.iter_mut().take(len).filter(|byte| **byte == 0) {
        *byte = b' ';
    }
    len
}

/// Calls `found` with the pid of each child of `pid`; says whether that could be read.
pub(super) fn for_each_child(pid: i32, found: &mut dyn FnMut(i32)) -> bool {
    let mut any = false;
    let tasks = Path::of(pid).text(b"/task");
    let listed = sys::for_each_entry(tasks.as_bytes(), &mut |name| {
        let Some(thread) = decimal(name) else { return };
        let path = Path::of(pid).text(b"/task/").number(thread as i32).text(b"/children");
        any |= for_each_number(path.as_bytes(), found);
    });
    if listed && !any && !has_children_files() {
        return for_each_process(&mut |child| {
            if stat(child).is_some_and(|stat| stat.parent == pid) {
                found(child);
            }
        });
    }
    any
}

/// Whether this kernel lists children (`CONFIG_PROC_CHILDREN`). Where it does not, all processes are asked for their parents.
fn has_children_files() -> bool {
    let own = sys::getpid();
    let path = Path::of(own).text(b"/task/").number(own).text(b"/children");
    let mut nothing = [0; 1];
    sys::read_file(path.as_bytes(), &mut nothing).is_some()
}

/// Calls `found` with the pid of each process there is.
pub(super) fn for_each_process(found: &mut dyn FnMut(i32)) -> bool {
    sys::for_each_entry(b"/proc\0", &mut |name| {
        if let Some(pid) = decimal(name) {
            found(pid as i32);
        }
    })
}

/// Reads numbers that stand apart by spaces.
fn for_each_number(path: &[u8], found: &mut dyn FnMut(i32)) -> bool {
    let Some(file) = sys::File::open(path, 0) else { return false };
    let mut buffer = [0; 4096];
    let mut number: Option<i32> = None;
    while let Some(read) = file.read(&mut buffer) {
        if read == 0 {
            break;
        }
        for byte in buffer.iter().take(read) {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                number = Some(number.unwrap_or(0).wrapping_mul(10).wrapping_add(i32::from(digit)));
            } else if let Some(pid) = number.take() {
                found(pid);
            }
        }
    }
    if let Some(pid) = number {
        found(pid);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_together() {
        let path = Path::of(123).text(b"/task/").number(0).text(b"/children");
        assert_eq!(path.as_bytes(), b"/proc/123/task/0/children\0");
    }

    #[test]
    fn a_path_that_does_not_fit_is_cut() {
        let path = Path::of(1).text(&[b'x'; 100]);
        assert_eq!((path.as_bytes().len(), path.as_bytes().last()), (64, Some(&0)));
    }

    #[test]
    fn numbers_are_decimal_or_none() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(
            (decimal(b"18446744073709551616"), decimal(b""), decimal(b"1a"), decimal(b"-1")),
            (None, None, None, None)
        );
    }

    #[test]
    fn this_process_is_there() {
        let own = sys::getpid();
        let stat = stat(own).unwrap();
        assert_eq!(own_pid(), Some(own));
        assert!(!stat.is_zombie && !stat.is_keeper && stat.parent > 0 && stat.started > 0);
        let mut line = [0; 512];
        let read = command_line(own, &mut line);
        let shown = String::from_utf8_lossy(&line[..read]).into_owned();
        let given: Vec<_> = std::env::args().collect();
        assert!(given.join(" ").starts_with(&shown) || shown.starts_with(&given.join(" ")), "{shown}");
        let mut seen = false;
        assert!(for_each_process(&mut |pid| seen |= pid == own));
        assert!(seen);
    }

    #[test]
    fn children_are_found_and_those_that_are_gone_are_not() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as i32;
        let listed = || {
            let mut found = false;
            for_each_child(sys::getpid(), &mut |one| found |= one == pid);
            found
        };
        assert!(listed() && stat(pid).is_some_and(|stat| stat.parent == sys::getpid()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!listed());
    }
}
