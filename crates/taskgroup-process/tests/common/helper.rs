//! A process that does what its arguments say.
//!
//! | step | does |
//! |---|---|
//! | `say WORD` | writes the word and its pid |
//! | `ready` | lets the one that forked it go on |
//! | `fork { … }` | forks a child that does the steps in braces; goes on when it is ready, or has ended |
//! | `ignore` | ignores SIGTERM, SIGINT and SIGHUP |
//! | `pgrp`, `session` | makes a process group, a session |
//! | `close` | makes its standard streams `/dev/null`; what it says goes on elsewhere |
//! | `bare` | executes itself, without any environment, to do the other steps |
//! | `hold` | waits for ever |
//! | `stop N` | stops itself so many times; a child of it lets it go on |
//! | `bye WORD N` | from now on, SIGTERM makes it say the word and exit with N |
//! | `exit N`, `die N` | exits; dies of a signal |
//! | `chain`, `sessions` | forks, ends, and the child does the same, for ever; each in a session of its own |
//! | `bomb N` | becomes 2 to the power of N processes, which hold |
//! | `user`, `root` | becomes a user without rights; from a set-uid program, root |
//! | `give N` | sends this descriptor over the socket that is its standard input |
//! | `files` | says which descriptors it has |
//! | `sigchld` | ignores SIGCHLD, which whoever it executes inherits |
//! | `program NAME STEPS…` | runs a program of [`super::programs`] over a command with those steps |

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::atomic::{AtomicI32, Ordering};

/// Where what is said goes.
static OUT: AtomicI32 = AtomicI32::new(1);
/// Where the one that forked this one waits; -1: nowhere.
static READY: AtomicI32 = AtomicI32::new(-1);
static BYE: AtomicI32 = AtomicI32::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn(c_int, *const *const c_char) = before_main;

extern "C" fn before_main(count: c_int, arguments: *const *const c_char) {
    // SAFETY: the C library gives as many texts as it says.
    let arguments: Vec<String> = (0..count as usize)
        .map(|index| unsafe { CStr::from_ptr(*arguments.add(index)) }.to_string_lossy().into_owned())
        .collect();
    if arguments.get(1).is_some_and(|first| first == "@") {
        let steps: Vec<&str> = arguments.iter().skip(3).map(String::as_str).collect();
        perform(&steps, &arguments);
        exit(0);
    }
}

fn exit(code: i32) -> ! {
    // SAFETY: takes a number only.
    unsafe { libc::_exit(code) }
}

pub(crate) fn say(word: &str) {
    // SAFETY: takes no argument.
    let line = format!("{word} {}\n", unsafe { libc::getpid() });
    // SAFETY: the buffer is readable for its length.
    unsafe { libc::write(OUT.load(Ordering::Relaxed), line.as_ptr().cast(), line.len()) };
}

extern "C" fn say_bye(_: c_int) {
    let code = BYE.load(Ordering::Relaxed);
    // SAFETY: the buffer is readable for its length, and a handler may do both.
    unsafe {
        libc::write(OUT.load(Ordering::Relaxed), c"bye\n".as_ptr().cast(), 4);
        libc::_exit(code)
    }
}

fn set_ready(fd: i32) {
    let before = READY.swap(fd, Ordering::Relaxed);
    if before >= 0 {
        // SAFETY: it is this process's own.
        unsafe { libc::close(before) };
    }
}

/// Does the steps, one after the other.
fn perform(steps: &[&str], arguments: &[String]) {
    let mut at = 0;
    let mut next = || {
        let step = steps.get(at).copied();
        at += 1;
        step.map(|step| (step, at))
    };
    while let Some((step, rest)) = next() {
        let mut number = || next().unwrap().0.parse::<i32>().unwrap();
        // SAFETY: one thread; plain calls with numbers, or with texts that end in NUL.
        unsafe {
            match step {
                "say" => say(next().unwrap().0),
                "ready" => set_ready(-1),
                "ignore" => {
                    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                        libc::signal(signal, libc::SIG_IGN);
                    }
                }
                "sigchld" => _ = libc::signal(libc::SIGCHLD, libc::SIG_IGN),
                "pgrp" => _ = libc::setpgid(0, 0),
                "session" => _ = libc::setsid(),
                "close" => close_streams(),
                "bare" => execute(&steps[rest..], arguments, &[]),
                "hold" => loop {
                    libc::pause();
                },
                "stop" => stop(number()),
                "bye" => {
                    BYE.store(number(), Ordering::Relaxed);
                    let handler: extern "C" fn(c_int) = say_bye;
                    libc::signal(libc::SIGTERM, handler as libc::sighandler_t);
                }
                "exit" => exit(number()),
                "die" => _ = libc::kill(libc::getpid(), number()),
                "chain" => chain(false),
                "sessions" => chain(true),
                "bomb" => bomb(number()),
                "user" => assert_eq!(libc::setresuid(65534, 65534, 65534), 0),
                "root" => assert_eq!(libc::setresuid(0, 0, 0), 0),
                "give" => give(number()),
                "files" => say_files(),
                "program" => super::programs::run(steps[rest], &steps[rest + 1..], &arguments[2]),
                "fork" => {
                    let end = closing(steps, rest);
                    fork(&steps[rest + 1..end], arguments);
                    while next().is_some_and(|(_, next)| next <= end) {}
                }
                "}" => {}
                other => panic!("no such step: {other}"),
            }
        }
    }
}

/// Where the brace is closed that is opened there.
fn closing(steps: &[&str], open: usize) -> usize {
    let mut depth = 0;
    for (index, step) in steps.iter().enumerate().skip(open) {
        match *step {
            "{" => depth += 1,
            "}" if depth == 1 => return index,
            "}" => depth -= 1,
            _ => {}
        }
    }
    panic!("a brace is not closed")
}

fn fork(steps: &[&str], arguments: &[String]) {
    let mut ends = [0; 2];
    // SAFETY: one thread; the array has room for two.
    unsafe {
        libc::pipe(ends.as_mut_ptr());
        if libc::fork() == 0 {
            libc::close(ends[0]);
            set_ready(ends[1]);
            perform(steps, arguments);
            exit(0);
        }
        libc::close(ends[1]);
        let mut byte = 0u8;
        while libc::read(ends[0], (&raw mut byte).cast(), 1) > 0 {}
        libc::close(ends[0]);
    }
}

fn close_streams() {
    // SAFETY: numbers, and a text that ends in NUL.
    unsafe {
        let out = libc::fcntl(1, libc::F_DUPFD, 10);
        OUT.store(out, Ordering::Relaxed);
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        (0..3).for_each(|fd| assert!(libc::dup2(null, fd) >= 0));
    }
}

/// Executes this program to do those steps.
fn execute(steps: &[&str], arguments: &[String], environment: &[&str]) {
    let words = arguments.iter().take(3).map(String::as_str).chain(steps.iter().copied());
    let words: Vec<CString> = words.map(|word| CString::new(word).unwrap()).collect();
    let environment: Vec<CString> = environment.iter().map(|word| CString::new(*word).unwrap()).collect();
    let list = |texts: &[CString]| {
        let pointers = texts.iter().map(|text| text.as_ptr());
        pointers.chain([std::ptr::null()]).collect::<Vec<*const c_char>>()
    };
    // SAFETY: the texts end in NUL, the lists in null pointers.
    unsafe { libc::execve(c"/proc/self/exe".as_ptr(), list(&words).as_ptr(), list(&environment).as_ptr()) };
    panic!("{}", std::io::Error::last_os_error());
}

/// The child lets it go on, each time it sees it stopped.
fn stop(times: i32) {
    // SAFETY: one thread, numbers.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let parent = libc::getppid();
            loop {
                if state_of(parent) == Some('T') {
                    // Time for the keeper to see it.
                    libc::usleep(200);
                    libc::kill(parent, libc::SIGCONT);
                }
            }
        }
        for _ in 0..times {
            libc::raise(libc::SIGSTOP);
        }
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
}

fn state_of(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// For ever: it ends only when somebody is faster.
fn chain(sessions: bool) {
    let mut is_told = false;
    // SAFETY: one thread, numbers.
    unsafe {
        loop {
            match libc::fork() {
                0 if sessions => _ = libc::setsid(),
                0 | -1 => {}
                _ => exit(0),
            }
            if !is_told {
                is_told = true;
                set_ready(-1);
            }
        }
    }
}

fn bomb(power: i32) {
    // SAFETY: one thread, numbers.
    unsafe {
        for _ in 0..power {
            libc::fork();
        }
        say("bomb");
        loop {
            libc::pause();
        }
    }
}

fn give(fd: i32) {
    let (mut byte, mut control) = ([0u8; 1], [0u64; 8]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: the control buffer has room for a header and one descriptor, and is aligned.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd);
        assert_eq!(libc::sendmsg(0, &raw const message, 0), 1);
    }
}

fn say_files() {
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    let names: Vec<_> = folder.flatten().map(|entry| entry.file_name()).collect();
    // Not the folder itself, which is closed by now.
    let is_open = |name: &std::ffi::OsString| std::path::Path::new("/proc/self/fd").join(name).exists();
    let fds: Vec<String> =
        names.into_iter().filter(is_open).map(|name| name.to_string_lossy().into_owned()).collect();
    say(&format!("files={}", fds.join(",")));
}
