//! What is to be run, and how.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::contain::{Contained, Refused, Spec};
use crate::error::Error;
use crate::exit::LeakPolicy;
use crate::running::Running;
use crate::search;
use crate::stdio::{Stdio, Stream};

/// How long processes have between SIGTERM and SIGKILL, unless said otherwise.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// A program to be run, with what it is run with.
///
/// [`run`](Self::run) and [`output`](Self::output) are futures to be awaited, or to be spawned into a group: their task ends
/// when the program and every descendant of it are gone. [`start`](Self::start) gives a [`Running`] to be driven by hand.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// use taskgroup_process::Command;
/// taskgroup::scope(async |tg| {
///     let (user, _) = (tg.spawn_into(Command::new("id").arg("-un").output()), tg.spawn_into(Command::new("true").run()));
///     assert!(!user.await?.stdout.is_empty());
///     Ok(())
/// })
/// .await
/// # }
/// ```
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, Option<OsString>>,
    is_environment_clear: bool,
    directory: Option<PathBuf>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) leaks: LeakPolicy,
    terminal: Option<OwnedFd>,
    isolate: bool,
    cgroup: Option<PathBuf>,
    pub(crate) sink: Option<Sink>,
}

pub(crate) type Sink = Box<dyn FnMut(Stream, &[u8]) + Send>;

impl Command {
    /// A program, by its path or by its name, which is then looked for in the folders of `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            is_environment_clear: false,
            directory: None,
            stdin: Stdio::null(),
            stdout: Stdio::inherit(),
            stderr: Stdio::inherit(),
            name: None,
            timeout: None,
            grace: DEFAULT_GRACE,
            leaks: LeakPolicy::default(),
            terminal: None,
            isolate: false,
            cgroup: None,
            sink: None,
        }
    }

    /// A line for the shell: `/bin/sh -c line`. Errors name the line.
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        let line = line.as_ref();
        let name = line.to_string_lossy().into_owned();
        Self::new("/bin/sh").arg("-c").arg(line).name(name)
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment, which otherwise is this program's.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Sets variables of its environment.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        variables.into_iter().fold(self, |this, (name, value)| this.env(name, value))
    }

    /// Leaves out a variable of this program's environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Leaves out all variables of this program's environment, and those set before.
    pub fn env_clear(mut self) -> Self {
        self.environment.clear();
        self.is_environment_clear = true;
        self
    }

    /// Sets its working directory.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets its standard input; [`Stdio::null`] otherwise.
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdin = stream.into();
        self
    }

    /// Sets its standard output; [`Stdio::inherit`] otherwise.
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdout = stream.into();
        self
    }

    /// Sets its standard error; [`Stdio::inherit`] otherwise.
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.stderr = stream.into();
        self
    }

    /// How it is called in errors: the program, unless said otherwise.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Ends it after this time: SIGTERM, the grace period, SIGKILL. [`run`](Self::run) then gives
    /// [`Error::TimedOut`]. No timeout otherwise, but those around ([`taskgroup::timeout`]).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long its processes have between SIGTERM and SIGKILL: 5 s, unless said otherwise. [`Duration::MAX`]: as long as they like.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What is done about processes that outlive the leader, besides ending them: [`LeakPolicy::Report`], unless said otherwise.
    pub fn leaks(mut self, policy: LeakPolicy) -> Self {
        self.leaks = policy;
        self
    }

    /// Gives it the foreground of this terminal from its start: it may read from it, and what is typed (Ctrl-C too) goes to
    /// it. Take the foreground back when it has ended.
    pub fn foreground(mut self, terminal: impl Into<OwnedFd>) -> Self {
        self.terminal = Some(terminal.into());
        self
    }

    /// Runs it in a user namespace and a PID namespace of its own (Linux). When these end the kernel itself kills all that is left
    /// in them; and nothing in them can become another user, so that what set-uid programs start is held too.
    ///
    /// Inside, the user and the group are the same, and no other exists: other users' files appear to be nobody's, set-uid
    /// programs have no effect, and root has power over its own files only. Pids are counted from 1, but `/proc` is the
    /// one from outside: `ps` and `/proc/<pid>` speak of pids that are not those inside. So a program inside cannot start commands
    /// through this crate. It costs a fork of the keeper for each command.
    ///
    /// Where the system allows no user namespaces, the command is not started: [`Error::NotStarted`], whose source names the setting. So
    /// it is on other systems than Linux.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup_process::Error> {
    /// use taskgroup_process::{Command, Error};
    /// match Command::shell("sleep 1000 & exit 0").isolate().run().await {
    ///     Ok(exit) => assert_eq!(exit.leaks().len(), 1), // ended, as everywhere
    ///     Err(Error::NotStarted { source, .. }) => println!("not on this system: {source}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn isolate(mut self) -> Self {
        self.isolate = true;
        self
    }

    /// Runs it in a cgroup of its own, which is made in `folder` and removed at its end (Linux 5.14 and later, cgroup v2). SIGKILL then
    /// goes to all that are in the cgroup besides, by the kernel: to those that have become another user's too, and, when the
    /// keeper was killed, to those that carry no mark.
    ///
    /// The folder has to be delegated to this program: it may make folders in it, and write to its `cgroup.procs` and to that of the
    /// folder that is above both it and this program's own cgroup. So it is if this program is in, or below, what was delegated
    /// (`systemd-run --user --scope -p Delegate=yes …`).
    ///
    /// Where it cannot be had the command is not started: [`Error::NotStarted`], whose source says why.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup_process::Error> {
    /// use taskgroup_process::Command;
    /// Command::new("make").cgroup("/sys/fs/cgroup/builds").run().await?;
    /// # Ok(()) }
    /// ```
    pub fn cgroup(mut self, folder: impl AsRef<Path>) -> Self {
        self.cgroup = Some(folder.as_ref().to_owned());
        self
    }

    /// Calls `sink` with what it writes, as it comes; both outputs are pipes then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup_process::Error> {
    /// use taskgroup_process::Command;
    /// let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    /// let command = Command::new("echo").arg("one");
    /// command.on_output(move |_stream, bytes| sender.send(bytes.to_vec()).unwrap()).run().await?;
    /// assert_eq!(lines.recv().await.unwrap(), b"one\n");
    /// # Ok(()) }
    /// ```
    pub fn on_output(mut self, sink: impl FnMut(Stream, &[u8]) + Send + 'static) -> Self {
        self.sink = Some(Box::new(sink));
        self.stdout(Stdio::piped()).stderr(Stdio::piped())
    }

    /// Starts it, to be driven by hand; gives a [`Running`] when it runs.
    ///
    /// Not for a group, which knows nothing of a `Running`: its processes are ended, by SIGKILL, when it is dropped. The command's
    /// own timeout is not started.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::NotExecutable`], [`Error::NoDirectory`], [`Error::NotStarted`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing of the command is left.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled.
    pub async fn start(self) -> Result<Running, Error> {
        let shown = self.shown();
        let directory = self.directory.clone();
        let (policy, grace) = (self.leaks, self.grace);
        // Read before: it may have run for a while when this program is told that it does.
        let began = (SystemTime::now(), Instant::now());
        let prepared = self.prepare().map_err(|error| Refused { error, directory: false });
        let started = match prepared {
            Ok((spec, pipes)) => Contained::start(spec).await.map(|contained| (contained, pipes)),
            Err(refused) => Err(refused),
        };
        match started {
            Ok((contained, pipes)) => Ok(Running::new(contained, pipes, shown, policy, grace, began)),
            Err(refused) => Err(refusal(shown, directory, refused)),
        }
    }

    pub(crate) fn shown(&self) -> String {
        match &self.name {
            Some(name) => name.clone().into_owned(),
            None => self.program.to_string_lossy().into_owned(),
        }
    }

    fn prepare(self) -> io::Result<(Spec, Pipes)> {
        let environment = self.environment();
        let path = environment.get(OsStr::new("PATH"));
        let program = search::find(&self.program, path.map(OsString::as_os_str))?;
        let (input, stdin) = self.stdin.input()?;
        let (output, stdout) = self.stdout.output(Stream::Stdout)?;
        let (errors, stderr) = self.stderr.output(Stream::Stderr)?;
        let spec = Spec {
            program,
            arguments: std::iter::once(self.program).chain(self.arguments).collect(),
            environment,
            directory: self.directory,
            streams: [input, output, errors],
            terminal: self.terminal,
            grace: self.grace,
            isolate: self.isolate,
            cgroup: self.cgroup,
        };
        Ok((spec, Pipes { stdin, stdout, stderr }))
    }

    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let mut environment = BTreeMap::new();
        if !self.is_environment_clear {
            environment.extend(std::env::vars_os());
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => environment.insert(name.clone(), value.clone()),
                None => environment.remove(name),
            };
        }
        environment
    }
}

/// This program's ends of the pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<tokio::net::unix::pipe::Sender>,
    pub(crate) stdout: Option<tokio::net::unix::pipe::Receiver>,
    pub(crate) stderr: Option<tokio::net::unix::pipe::Receiver>,
}

fn refusal(program: String, directory: Option<PathBuf>, refused: Refused) -> Error {
    let source = refused.error;
    if let (true, Some(directory)) = (refused.directory, directory) {
        return Error::NoDirectory { program, directory, source };
    }
    match source.raw_os_error().map_or(source.kind(), |errno| io::Error::from_raw_os_error(errno).kind()) {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound { program },
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
            Error::NotExecutable { program, source }
        }
        _ if source.raw_os_error() == Some(libc::ENOEXEC) => Error::NotExecutable { program, source },
        _ => Error::NotStarted { program, source },
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Command");
        shown.field("program", &self.program).field("arguments", &self.arguments);
        shown.field("directory", &self.directory).field("timeout", &self.timeout).field("grace", &self.grace);
        shown.finish_non_exhaustive()
    }
}
