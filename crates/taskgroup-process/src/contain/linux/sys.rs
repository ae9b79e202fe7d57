//! The system calls, each behind a safe function. All unsafe code that is not the making of processes
//! ([`launch`](super::launch), [`exec`](super::exec), [`init`](super::init)) is here.
//!
//! # Invariants
//!
//! 1. As in [`proc`](super::proc): nothing allocates, takes a lock or panics.
//! 2. Paths end in NUL: each function that takes one refuses others.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The number of the last error.
pub(super) fn errno() -> i32 {
    // SAFETY: `__errno_location` gives the address of this thread's own error number, always valid.
    unsafe { *libc::__errno_location() }
}

pub(super) fn getpid() -> i32 {
    // SAFETY: has no preconditions.
    unsafe { libc::getpid() }
}

/// A file, closed when dropped.
pub(super) struct File(OwnedFd);

impl File {
    /// Opens it for reading, with these flags besides.
    pub(super) fn open(path: &[u8], flags: i32) -> Option<Self> {
        if path.last() != Some(&0) {
            return None;
        }
        // SAFETY: the path ends in NUL (invariant 2).
        let fd = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC | flags) };
        // SAFETY: a descriptor just opened is ours alone.
        (fd >= 0).then(|| Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The same, in a folder.
    pub(super) fn open_at(folder: RawFd, name: &CStr, flags: i32) -> Option<Self> {
        open_at(folder, name, libc::O_RDONLY | flags).map(Self)
    }

    /// The number of bytes read; 0 at the end, `None` on an error.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        read(self.0.as_raw_fd(), buffer)
    }
}

/// Opens what has this name in a folder.
pub(super) fn open_at(folder: RawFd, name: &CStr, flags: i32) -> Option<OwnedFd> {
    // SAFETY: the name ends in NUL.
    let fd = unsafe { libc::openat(folder, name.as_ptr(), libc::O_CLOEXEC | flags) };
    // SAFETY: a descriptor just opened is ours alone.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a folder; `Err` with the error's number.
pub(super) fn make_folder(path: &CStr) -> Result<(), i32> {
    // SAFETY: the path ends in NUL.
    if unsafe { libc::mkdir(path.as_ptr(), 0o777) } == 0 { Ok(()) } else { Err(errno()) }
}

/// Removes an empty folder; `Err` with the error's number.
pub(super) fn remove_folder_at(folder: RawFd, name: &CStr) -> Result<(), i32> {
    // SAFETY: the name ends in NUL.
    let removed = unsafe { libc::unlinkat(folder, name.as_ptr(), libc::AT_REMOVEDIR) };
    if removed == 0 { Ok(()) } else { Err(errno()) }
}

/// Whether it is a folder of cgroup v2.
pub(super) fn is_cgroup(folder: &OwnedFd) -> bool {
    // SAFETY: zeroed is a valid `statfs`, and it is writable.
    unsafe {
        let mut system: libc::statfs = std::mem::zeroed();
        libc::fstatfs(folder.as_raw_fd(), &raw mut system) == 0
            && system.f_type as u64 == libc::CGROUP2_SUPER_MAGIC as u64
    }
}

pub(super) fn read(fd: RawFd, buffer: &mut [u8]) -> Option<usize> {
    // SAFETY: the buffer is writable for its length.
    let read = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(read).ok()
}

/// Writes so few bytes that they go out at once; says whether they did.
pub(super) fn write(fd: RawFd, bytes: &[u8]) -> bool {
    loop {
        // SAFETY: the buffer is readable for its length.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        if written >= 0 || errno() != libc::EINTR {
            return usize::try_from(written) == Ok(bytes.len());
        }
    }
}

/// Writes to a file that is there; `Err` with the error's number.
pub(super) fn write_file(path: &[u8], bytes: &[u8]) -> Result<(), i32> {
    if path.last() != Some(&0) {
        return Err(libc::EINVAL);
    }
    // SAFETY: the path ends in NUL (invariant 2).
    let fd = unsafe { libc::open(path.as_ptr().cast(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: a descriptor just opened is ours alone.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    if write(file.as_raw_fd(), bytes) { Ok(()) } else { Err(errno()) }
}

/// Where a symbolic link leads, as far as the buffer goes.
pub(super) fn read_link(path: &[u8], buffer: &mut [u8]) -> Option<usize> {
    if path.last() != Some(&0) {
        return None;
    }
    // SAFETY: the path ends in NUL (invariant 2); the buffer is writable for its length.
    let read = unsafe { libc::readlink(path.as_ptr().cast(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(read).ok()
}

/// A pipe: the end to read from, which does not wait, and the end to write to, which does.
pub(super) fn pipe() -> Option<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: two numbers, writable; descriptors just opened are ours alone.
    unsafe {
        if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return None;
        }
        libc::fcntl(fds[0], libc::F_SETFL, libc::O_NONBLOCK);
        Some((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// The beginning of a file, as far as the buffer goes.
pub(super) fn read_file(path: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let file = File::open(path, 0)?;
    let mut len = 0;
    loop {
        let rest = buffer.get_mut(len..)?;
        if rest.is_empty() {
            return Some(len);
        }
        match file.read(rest)? {
            0 => return Some(len),
            read => len += read,
        }
    }
}

/// Calls `found` with the name of each entry of a folder.
pub(super) fn for_each_entry(path: &[u8], found: &mut dyn FnMut(&[u8])) -> bool {
    File::open(path, libc::O_DIRECTORY).is_some_and(|folder| for_each_entry_of(&folder, found))
}

/// The same of an open one.
pub(super) fn for_each_entry_of(folder: &File, found: &mut dyn FnMut(&[u8])) -> bool {
    // Where a record has its length and its name, in `struct linux_dirent64`.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let mut buffer = [0u8; 4096];
    loop {
        // SAFETY: the buffer is writable for its length.
        let read = unsafe {
            libc::syscall(libc::SYS_getdents64, folder.0.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
        };
        let Some(mut rest) = usize::try_from(read).ok().and_then(|read| buffer.get(..read)) else {
            return false;
        };
        if rest.is_empty() {
            return true;
        }
        while let (Some(&[low, high]), Some(names)) = (rest.get(LENGTH..LENGTH + 2), rest.get(NAME..)) {
            let end = names.iter().position(|byte| *byte == 0).unwrap_or(0);
            found(names.get(..end).unwrap_or(&[]));
            let length = usize::from(u16::from_ne_bytes([low, high]));
            match rest.get(length..) {
                Some(next) if length > 0 => rest = next,
                _ => break,
            }
        }
    }
}

/// Signals a process. Only for children of this one that it has not reaped: no other's pid stays its own.
pub(super) fn kill(pid: i32, signal: i32) -> Result<(), i32> {
    // SAFETY: has no preconditions.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(errno()) }
}

/// A handle on a process that stays that process's when the pid is used again; `Err` with the error's number.
pub(super) fn pidfd_open(pid: i32) -> Result<OwnedFd, i32> {
    // SAFETY: has no preconditions.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: a descriptor just opened is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

pub(super) fn pidfd_send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), i32> {
    let nothing: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: without a `siginfo_t` the call takes numbers only.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, nothing, 0) };
    if sent == 0 { Ok(()) } else { Err(errno()) }
}

/// What `waitid` saw of a child.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// Ended, with this wait status, and not reaped.
    Ended {
        status: i32,
    },
    Stopped {
        signal: i32,
    },
    /// Nothing new.
    Nothing,
    /// There is no such child.
    NoChild,
}

/// Looks at a child that it does not reap; a stop is told once.
pub(super) fn look_at(pid: i32) -> Seen {
    // SAFETY: zeroed is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let ended = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is writable.
    if unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, ended) } != 0 {
        return Seen::NoChild;
    }
    // SAFETY: `waitid` has filled in a child's fields, or left zeros.
    let (who, status) = unsafe { (info.si_pid(), info.si_status()) };
    if who != 0 {
        let status = match info.si_code {
            libc::CLD_EXITED => (status & 0xff) << 8,
            libc::CLD_DUMPED => status | 0x80,
            _ => status,
        };
        return Seen::Ended { status };
    }
    // SAFETY: as above.
    let stopped = unsafe {
        libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, libc::WSTOPPED | libc::WNOHANG)
    };
    // SAFETY: as above.
    let (who, signal) = unsafe { (info.si_pid(), info.si_status()) };
    if stopped == 0 && who != 0 { Seen::Stopped { signal } } else { Seen::Nothing }
}

/// What a child has used that was reaped: processor time, user and system in microseconds, and the largest resident set in KiB.
pub(super) type Used = (u64, u64, u64);

/// Reaps a child if it has ended: what it has used, with the children that it has reaped itself.
pub(super) fn reap(pid: i32) -> Option<Used> {
    let (reaped, _, used) = wait(pid, libc::WNOHANG);
    (reaped == pid).then_some(used)
}

/// Waits until any child has ended, which is reaped then, or was stopped: its pid, its wait status, what it has used. `None` if there is
/// no child.
pub(super) fn wait_for_any() -> Option<(i32, i32, Used)> {
    loop {
        let waited = wait(-1, libc::WUNTRACED);
        if waited.0 > 0 {
            return Some(waited);
        }
        if errno() != libc::EINTR {
            return None;
        }
    }
}

fn wait(pid: i32, options: i32) -> (i32, i32, Used) {
    let mut status = 0;
    // SAFETY: zeroed is a valid `rusage`; both are writable.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &raw mut status, options, &raw mut usage), usage)
    };
    let micros = |time: libc::timeval| {
        (time.tv_sec as u64).saturating_mul(1_000_000).saturating_add(time.tv_usec as u64)
    };
    (waited, status, (micros(usage.ru_utime), micros(usage.ru_stime), usage.ru_maxrss as u64))
}

/// Waits for a child that is about to end, and reaps it: its wait status, if nobody else has reaped it.
pub(super) fn reap_blocking(pid: i32) -> Option<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable.
        let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if reaped >= 0 || errno() != libc::EINTR {
            return (reaped == pid).then_some(status);
        }
    }
}

/// Whether this process has any child, dead ones included.
pub(super) fn has_children() -> bool {
    // SAFETY: zeroed is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is writable.
    let looked = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    looked == 0 || errno() != libc::ECHILD
}

/// Milliseconds since some moment; the clock does not jump.
pub(super) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64).saturating_mul(1_000).saturating_add(time.tv_nsec as u64 / 1_000_000)
}

/// Waits until one of these can be read, at most so many milliseconds (`None`: for ever); says which can. -1 never can.
pub(super) fn wait_readable<const N: usize>(fds: [RawFd; N], timeout: Option<u64>) -> [bool; N] {
    let mut fds = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let timeout = timeout.map_or(-1, |millis| i32::try_from(millis).unwrap_or(i32::MAX));
    // SAFETY: so many entries, writable.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, timeout) };
    fds.map(|entry| ready > 0 && entry.revents != 0)
}

/// Sends if the other end has room; says whether it had. A message as small as a notice goes out whole, or not at all.
pub(super) fn send(socket: RawFd, bytes: &[u8]) -> bool {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the buffer is readable for its length.
    unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags) >= 0 }
}

/// Waits until the other end of a socket has room, or is gone.
pub(super) fn wait_writable(socket: RawFd) {
    let mut entry = libc::pollfd { fd: socket, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, writable.
    unsafe { libc::poll(&raw mut entry, 1, -1) };
}

/// A descriptor that can be read when a child has changed its state. SIGCHLD must be blocked.
///
/// SIGCHLD is not ignored any more, as it may have been since before the program: the kernel would reap all children by itself.
pub(super) fn child_signals() -> Option<OwnedFd> {
    // SAFETY: zeroed is a valid set, the calls make it an empty one with SIGCHLD; zeroed is the default action.
    let fd = unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGCHLD, &raw const default, std::ptr::null_mut());
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    // SAFETY: a descriptor just opened is ours alone.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Blocks all signals in this thread; gives the mask from before.
pub(super) fn block_signals() -> libc::sigset_t {
    // SAFETY: zeroed is a valid set, and both are writable.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

/// Sets the mask of this thread.
pub(super) fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: the mask is a valid set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// How many kinds of limits there are.
pub(super) const LIMITS: usize = 16;

/// The limits of this process, soft and hard.
pub(super) fn limits() -> [(u64, u64); LIMITS] {
    std::array::from_fn(|kind| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is writable; of a kind that there is not it stays as it is.
        unsafe { libc::getrlimit(kind as _, &raw mut limit) };
        (limit.rlim_cur, limit.rlim_max)
    })
}

/// The priority of this thread, its nice value.
pub(super) fn priority() -> i32 {
    // SAFETY: takes numbers only.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Makes this process the parent of every descendant of it that is orphaned.
pub(super) fn become_subreaper() -> bool {
    // SAFETY: this option takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 }
}

/// This process is killed when its parent ends.
pub(super) fn die_with_parent() {
    // SAFETY: this option takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
}

/// The user and the group whose rights this process has.
pub(super) fn effective_ids() -> (u32, u32) {
    // SAFETY: have no preconditions.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Names this thread. The name ends in NUL.
pub(super) fn set_name(name: &[u8]) {
    if name.last() == Some(&0) {
        // SAFETY: the name ends in NUL.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
    }
}

/// Puts this process into a process group of its own.
pub(super) fn lead_own_group() {
    // SAFETY: takes numbers only.
    unsafe { libc::setpgid(0, 0) };
}

/// Makes the three standard streams `/dev/null`, and closes what the program has opened for itself alone (close-on-exec), but for
/// `kept`.
pub(super) fn close_own_files(kept: RawFd) {
    // SAFETY: the path ends in NUL; nobody in this process uses the descriptors that are replaced.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if null >= 0 {
            (0..3).for_each(|standard| drop_result(libc::dup2(null, standard)));
        }
    }
    let Some(folder) = File::open(b"/proc/self/fd\0", libc::O_DIRECTORY) else { return };
    for_each_entry_of(&folder, &mut |name| {
        let fd = name.iter().try_fold(0i32, |fd, digit| {
            digit.is_ascii_digit().then(|| fd.wrapping_mul(10).wrapping_add(i32::from(digit - b'0')))
        });
        let kept = [kept, folder.0.as_raw_fd()];
        // The system goes through them by their numbers: one that is closed does not hide the next.
        if let Some(fd) = fd.filter(|fd| *fd > 2 && !kept.contains(fd) && is_close_on_exec(*fd)) {
            close(fd);
        }
    });
}

fn drop_result(_: i32) {}

fn is_close_on_exec(fd: RawFd) -> bool {
    // SAFETY: takes numbers only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC != 0
}

/// Only for descriptors that nobody in this process uses.
pub(super) fn close(fd: RawFd) {
    // SAFETY: takes a number only.
    unsafe { libc::close(fd) };
}

/// Memory for so many. Never unmapped.
pub(super) fn room<T: Copy + 'static>(count: usize, fill: T) -> Option<&'static mut [T]> {
    let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, aligned to pages.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), count * size_of::<T>(), protection, kind, -1, 0) };
    if base == libc::MAP_FAILED {
        return None;
    }
    let first = base.cast::<T>();
    // SAFETY: the mapping has room for `count`, is nobody else's and stays; each is written before the slice is made.
    unsafe {
        (0..count).for_each(|index| first.add(index).write(fill));
        Some(std::slice::from_raw_parts_mut(first, count))
    }
}

/// A stack for a child that shares this process's memory. Never unmapped.
pub(super) struct Stack(*mut libc::c_void);

impl Stack {
    /// The child calls a few functions of the C library.
    const SIZE: usize = 256 * 1024;

    pub(super) fn new() -> Option<Self> {
        let (protection, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), Self::SIZE, protection, kind, -1, 0) };
        (base != libc::MAP_FAILED).then_some(Self(base))
    }

    /// Where it begins: it grows downwards.
    pub(super) fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(Self::SIZE)
    }
}

pub(super) fn size_of_file(file: &OwnedFd) -> Option<usize> {
    // SAFETY: zeroed is a valid `stat`, and it is writable.
    let (known, data) = unsafe {
        let mut data: libc::stat = std::mem::zeroed();
        (libc::fstat(file.as_raw_fd(), &raw mut data) == 0, data)
    };
    if known { usize::try_from(data.st_size).ok() } else { None }
}

/// The most files that go with a message.
pub(super) const FILES: usize = 6;

/// Room for the header of a message's files and for the files, aligned as the header must be.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Sends bytes, with these files, at most [`FILES`]; says whether all went out.
pub(super) fn send_with_files(socket: RawFd, bytes: &[u8], files: &[RawFd]) -> bool {
    let mut control = Control([0; 64]);
    let length = size_of_val(files) as u32;
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the control buffer has room for a header and `FILES` descriptors, and is aligned; the bytes are only read.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = libc::CMSG_SPACE(length) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(length) as _;
        std::ptr::copy_nonoverlapping(files.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), length as usize);
        libc::sendmsg(socket, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent) == Ok(bytes.len())
}

/// Receives bytes, and the files that come with them; `None` on an error, 0 at the end.
pub(super) fn receive(
    socket: RawFd,
    buffer: &mut [u8],
    files: &mut [Option<OwnedFd>; FILES],
) -> Option<usize> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: both buffers are writable for their lengths; the kernel fills in whole headers only, and the descriptors in
    // them are new and so ours alone.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>() as _;
        let read = libc::recvmsg(socket, &raw mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if read > 0 && !header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS {
            let length = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let first = libc::CMSG_DATA(header).cast::<RawFd>();
            for (index, file) in files.iter_mut().enumerate().take(length / size_of::<RawFd>()) {
                *file = Some(OwnedFd::from_raw_fd(first.add(index).read_unaligned()));
            }
        }
        usize::try_from(read).ok()
    }
}

/// Changes to the root folder, so that no other is kept in use.
pub(super) fn change_to_root() {
    // SAFETY: the path ends in NUL.
    unsafe { libc::chdir(c"/".as_ptr()) };
}

/// Ends this process, now, without any of the program's own endings.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: has no preconditions.
    unsafe { libc::_exit(code) }
}
