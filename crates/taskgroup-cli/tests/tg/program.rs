//! The program as a child process, in a folder of its own.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// For the day when something hangs: it is never reached otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A folder for one test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// A named pipe that jobs wait at, or tell something through.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // For both, so that neither the test nor a job waits for the other to open it.
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        Gate { name: name.into(), file }
    }

    /// `tg` with these arguments, in this folder.
    pub(crate) fn tg<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Tg {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tg"));
        command.args(arguments).current_dir(self.root()).env("TG", env!("CARGO_BIN_EXE_tg"));
        for variable in ["NO_COLOR", "TG_GRACE", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        command.env("TERM", "xterm").stdin(Stdio::null());
        Tg { command }
    }
}

/// See [`Folder::gate`].
pub(crate) struct Gate {
    name: String,
    file: File,
}

impl Gate {
    /// Waits for the next line from a job: `echo … > gate`.
    pub(crate) fn hears(&mut self) -> String {
        let mut line = Vec::new();
        let limit = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
        loop {
            let ready = poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&limit)).unwrap();
            assert!(ready > 0, "nobody comes to the gate {}", self.name);
            let mut byte = [0];
            match self.file.read(&mut byte) {
                Ok(1) if byte == *b"\n" => return String::from_utf8(line).unwrap(),
                Ok(1) => line.push(byte[0]),
                other => panic!("the gate {}: {other:?}", self.name),
            }
        }
    }

    /// Whether there is a line already.
    pub(crate) fn has_heard(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&now)).unwrap() > 0
    }

    /// Lets so many jobs pass: `read x < gate`.
    pub(crate) fn opens(&mut self, jobs: usize) {
        self.file.write_all("go\n".repeat(jobs).as_bytes()).unwrap();
    }
}

/// `tg`, about to be started.
pub(crate) struct Tg {
    pub(crate) command: Command,
}

impl Tg {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it with this on its standard input.
    pub(crate) fn with_stdin(mut self, bytes: impl Into<Vec<u8>>) -> Ended {
        self.command.stdin(Stdio::piped());
        let mut program = self.start();
        let (mut stdin, bytes) = (program.stdin.take().unwrap(), bytes.into());
        // It may end before it has read everything.
        let writer = thread::spawn(move || drop(stdin.write_all(&bytes)));
        let ended = program.end();
        writer.join().unwrap();
        ended
    }

    pub(crate) fn run(self) -> Ended {
        self.start().end()
    }

    pub(crate) fn start(mut self) -> Program {
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Program {
            stdin: child.stdin.take(),
            out: Text::of(child.stdout.take().unwrap()),
            err: Text::of(child.stderr.take().unwrap()),
            child: Some(child),
        }
    }
}

/// `tg`, running.
pub(crate) struct Program {
    pub(crate) stdin: Option<ChildStdin>,
    child: Option<Child>,
    pub(crate) out: Text,
    pub(crate) err: Text,
}

/// How it ended, and all that it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) bytes: Vec<u8>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Asserts that standard error has this.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(self.err.contains(part), "{part:?} is not in {}", self.err);
        self
    }

    /// Asserts what is on standard output.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert_eq!(self.out, text, "{}", self.err);
        self
    }

    /// Asserts that nothing is on standard error.
    #[track_caller]
    pub(crate) fn silent(self) -> Self {
        assert_eq!(self.err, "");
        self
    }

    /// The lines of standard output, sorted.
    pub(crate) fn lines(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.out.lines().collect();
        lines.sort_unstable();
        lines
    }

    /// The JSON lines on standard output: all of it must be such.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(parse).collect()
    }
}

impl Program {
    /// One whose streams are elsewhere.
    pub(crate) fn of(child: Child) -> Self {
        Self { child: Some(child), stdin: None, out: Text::over(), err: Text::over() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        send(signal, self.pid());
    }

    /// Waits until it stands still, or goes on again.
    pub(crate) fn is_stopped(&self, stopped: bool) {
        until("tg to stop or go on", || (state(self.pid()) == Some('T')) == stopped);
    }

    pub(crate) fn end(mut self) -> Ended {
        let mut child = self.child.take().unwrap();
        if !has_ended_in_time(&child) {
            let _ = child.kill();
            panic!("it does not end\n{}\n{}", self.out.text(), self.err.text());
        }
        let status = child.wait().unwrap();
        let (bytes, err) = (self.out.rest(), self.err.rest());
        let out = String::from_utf8_lossy(&bytes).into_owned();
        Ended { status, bytes, out, err: String::from_utf8_lossy(&err).into_owned() }
    }
}

impl Drop for Program {
    /// A test that failed leaves nobody behind: the keepers see to the jobs.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What comes out of a stream.
#[derive(Clone, Default)]
pub(crate) struct Text(Arc<(Mutex<Gathered>, Condvar)>);

#[derive(Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Text {
    fn over() -> Self {
        Self(Arc::new((Mutex::new(Gathered { is_over: true, ..Gathered::default() }), Condvar::new())))
    }

    pub(crate) fn of(mut stream: impl Read + Send + 'static) -> Self {
        let this = Self::default();
        let theirs = this.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            loop {
                // A terminal that is gone gives an error.
                let read = stream.read(&mut buffer).unwrap_or(0);
                let mut state = theirs.lock();
                state.bytes.extend_from_slice(&buffer[..read]);
                state.is_over = read == 0;
                theirs.0.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        this
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Waits until this is there.
    #[track_caller]
    pub(crate) fn wait_for(&self, part: &str) {
        let has =
            |state: &mut Gathered| !state.is_over && !String::from_utf8_lossy(&state.bytes).contains(part);
        let (state, _) = self.0.1.wait_timeout_while(self.lock(), LIMIT, has).unwrap();
        let text = String::from_utf8_lossy(&state.bytes);
        assert!(text.contains(part), "{part:?} does not come: {text}");
    }

    /// Everything, when the stream has ended.
    pub(crate) fn rest(&self) -> Vec<u8> {
        let (mut state, _) = self.0.1.wait_timeout_while(self.lock(), LIMIT, |state| !state.is_over).unwrap();
        assert!(state.is_over, "a stream does not end: somebody has it open");
        std::mem::take(&mut state.bytes)
    }
}

/// Sends a signal by its name.
pub(crate) fn send(signal: &str, pid: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {signal} {pid}")]).status().unwrap();
    assert!(sent.success(), "{signal} to {pid}");
}

/// Waits for the end of a child. False: it takes too long.
pub(crate) fn has_ended_in_time(child: &Child) -> bool {
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let limit = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

/// The state of a process: `T` is stopped, `Z` has ended and was not waited for. `None` if it is not there.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Waits for something that is seen only by looking.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The pids in a file, one a line.
pub(crate) fn pids(folder: &Folder, name: &str) -> Vec<u32> {
    folder.read(name).lines().map(|line| line.trim().parse().unwrap()).collect()
}

/// Asserts that none of them is alive.
#[track_caller]
pub(crate) fn all_gone(pids: &[u32]) {
    for pid in pids {
        assert_eq!(state(*pid), None, "process {pid} is alive");
    }
}

/// The most memory that a process has had, in KiB.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// A descriptor, for a job's or a program's stream.
pub(crate) fn stdio(file: impl AsFd) -> Stdio {
    Stdio::from(file.as_fd().try_clone_to_owned().unwrap())
}
