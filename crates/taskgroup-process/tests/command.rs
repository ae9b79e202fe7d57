//! What a command is started with, and what its end says.

#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use common::{Watch, soon};
use taskgroup_process::{Command, Ended, Error, Event, Stdio, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn text(command: Command) -> String {
    String::from_utf8(soon(command.output()).await.unwrap().stdout).unwrap()
}

async fn failure(command: Command) -> Error {
    soon(command.run()).await.unwrap_err()
}

/// A folder of a test's own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("taskgroup-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn arguments_come_as_they_are() {
    let command = Command::new("printf").arg("[%s]").args(["", "two words", "$HOME", "ü", "\u{1}"]);
    assert_eq!(text(command).await, "[][two words][$HOME][ü][\u{1}]");
    let many = (0..10_000).map(|number| number.to_string());
    assert_eq!(text(Command::new("printf").arg("%s\\n").args(many)).await.lines().count(), 10_000);
}

#[tokio::test]
async fn the_environment_is_the_programs_and_what_was_said() {
    let shown =
        text(Command::new("env").env("ADDED", "a=b").env_remove("PWD").envs([("X", "1"), ("X", "2")])).await;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.contains(&"ADDED=a=b") && lines.contains(&"X=2"), "{shown}");
    assert!(shown.contains("CARGO_MANIFEST_DIR=") && !shown.contains("\nPWD="), "{shown}");
    let shown = text(Command::new("env").env("GONE", "1").env_clear().env("KEPT", "1")).await;
    let lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with("TASKGROUP_JOB=")).collect();
    assert_eq!(lines, ["KEPT=1"]);
}

#[tokio::test]
async fn the_working_directory() {
    let folder = Folder::new("cwd");
    assert_eq!(text(Command::new("pwd").current_dir(&folder.0)).await.trim_end(), folder.0.to_str().unwrap());
    let own = std::env::current_dir().unwrap();
    assert_eq!(text(Command::new("/bin/pwd")).await.trim_end(), own.to_str().unwrap());
    folder.file("here", "#!/bin/sh\necho here\n", 0o755);
    assert_eq!(text(Command::new("./here").current_dir(&folder.0)).await, "here\n");
    for bad in [folder.0.join("none"), folder.file("file", "", 0o644)] {
        let error = failure(Command::new("true").current_dir(&bad)).await;
        assert!(matches!(&error, Error::NoDirectory { directory, .. } if *directory == bad), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("true: its working directory {} cannot be entered", bad.display())
        );
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[tokio::test]
async fn the_standard_input() {
    assert_eq!(text(Command::new("cat")).await, "", "nothing, unless said otherwise");
    let folder = Folder::new("stdin");
    let file = std::fs::File::open(folder.file("text", "from a file", 0o644)).unwrap();
    assert_eq!(text(Command::new("cat").stdin(file)).await, "from a file");
    let mut running = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).start().await.unwrap();
    let (mut stdin, mut stdout) = (running.stdin.take().unwrap(), running.stdout.take().unwrap());
    let sent: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
    let write = async {
        stdin.write_all(&sent).await.unwrap();
        drop(stdin);
    };
    let mut came = Vec::new();
    let (_, read, exit) =
        soon(async { tokio::join!(write, stdout.read_to_end(&mut came), running.wait()) }).await;
    assert_eq!(read.unwrap(), sent.len());
    assert!(came == sent && exit.success());
}

#[tokio::test]
async fn programs_are_looked_for_in_the_commands_own_path() {
    let folder = Folder::new("path");
    folder.file("taskgroup-test-tool", "#!/bin/sh\necho found\n", 0o755);
    let path = format!("/nowhere:{}:/usr/bin:/bin", folder.0.display());
    assert_eq!(text(Command::new("taskgroup-test-tool").env("PATH", path)).await, "found\n");
    assert!(matches!(failure(Command::new("taskgroup-test-tool")).await, Error::NotFound { .. }));
    assert_eq!(text(Command::new("echo").arg("x").env_clear()).await, "x\n", "there is a default");
}

#[tokio::test]
async fn a_script_without_an_interpreter_is_the_shells() {
    let folder = Folder::new("script");
    let script = folder.file("script", "echo \"$0 $1 $#\"; exit 4", 0o755);
    let mut running = Command::new(&script).args(["a b", "c"]).stdout(Stdio::piped()).start().await.unwrap();
    let mut shown = String::new();
    soon(running.stdout.take().unwrap().read_to_string(&mut shown)).await.unwrap();
    assert_eq!(shown, format!("{} a b 2\n", script.display()));
    assert_eq!(soon(running.wait()).await.code(), Some(4));
}

#[tokio::test]
async fn what_cannot_be_started() {
    let folder = Folder::new("cannot");
    for program in ["no-such-program", "/no/such/program", "", "/bin/sh/x"] {
        let error = failure(Command::new(program)).await;
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert_eq!(
            (error.to_string(), error.shell_code()),
            (format!("{program}: there is no such program"), 127)
        );
        assert!(error.exit().is_none());
    }
    let plain = folder.file("plain", "#!/bin/sh\n", 0o644);
    let named = Command::new("plain").env("PATH", &folder.0);
    for command in [Command::new(&plain).name("plain"), Command::new(&folder.0).name("plain"), named] {
        let error = failure(command).await;
        assert!(matches!(error, Error::NotExecutable { .. }), "{error:?}");
        assert_eq!((error.to_string().as_str(), error.shell_code()), ("plain: it cannot be executed", 126));
    }
    for command in [
        Command::new("true").arg("a\0b"),
        Command::new("true").env("A", "\0"),
        Command::new("true").current_dir("\0"),
        Command::new("./tr\0ue"),
    ] {
        assert!(matches!(failure(command).await, Error::NotStarted { .. }));
    }
    let long = "x".repeat(300_000);
    let error = failure(Command::new("true").arg(long)).await;
    assert!(
        matches!(&error, Error::NotStarted { source, .. } if source.raw_os_error() == Some(libc::E2BIG)),
        "{error:?}"
    );
    // And its keeper is good for another one.
    assert!(soon(Command::new("true").run()).await.is_ok());
}

#[tokio::test]
async fn exit_codes_and_signals() {
    let watch = Watch::new();
    for code in [1, 2, 126, 127, 255] {
        let error = failure(watch.command(&format!("exit {code}")).name("job")).await;
        assert!(
            matches!(&error, Error::Failed { code: told, exit, .. } if *told == code && exit.code() == Some(code))
        );
        assert_eq!((error.to_string(), error.shell_code()), (format!("job: exit code {code}"), code));
    }
    for (signal, name) in
        [(9, "SIGKILL"), (15, "SIGTERM"), (10, "SIGUSR1"), (13, "SIGPIPE"), (34, "signal 34")]
    {
        let error = failure(watch.command(&format!("die {signal}")).name("job")).await;
        let Error::Killed { exit, .. } = &error else { panic!("{error:?}") };
        assert_eq!((exit.signal(), exit.ended(), exit.killed()), (Some(signal), Ended::ByItself, 0));
        assert_eq!((error.to_string(), error.shell_code()), (format!("job: killed by {name}"), 128 + signal));
    }
}

#[tokio::test]
async fn what_it_has_used() {
    let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let exit = soon(Command::shell(format!("({spin}) & wait; exit 0")).run()).await.unwrap();
    let usage = exit.usage();
    assert!(usage.user > Duration::from_millis(5) && usage.max_rss > 100_000, "{usage:?}");
    assert!(exit.elapsed() >= usage.user && exit.started_at().elapsed().unwrap() >= exit.elapsed());
}

#[tokio::test]
async fn it_has_the_three_streams_and_no_other_file() {
    let mut watch = Watch::new();
    // Open in this program, for itself alone.
    let _own = (std::fs::File::open("/dev/null").unwrap(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let command = watch.command("files").stdin(Stdio::null());
    soon(command.run()).await.unwrap();
    let inherited = inherited();
    assert_eq!(watch.line().await.split(' ').next().unwrap(), format!("files=0,1,2{inherited}"));
}

/// The descriptors from 3 on that are open in this program for its children too.
fn inherited() -> String {
    let mut fds: Vec<i32> = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let fd: i32 = entry.file_name().to_string_lossy().parse().unwrap();
        // SAFETY: takes numbers only.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if fd > 2 && flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            fds.push(fd);
        }
    }
    fds.into_iter().map(|fd| format!(",{fd}")).collect()
}

/// A keeper holds none of its command's files: who writes to a closed pipe learns of it.
#[tokio::test]
async fn a_keeper_holds_no_pipe_open() {
    let mut watch = Watch::new();
    let mut first = watch.command("say up hold").start().await.unwrap();
    watch.pid_of("up").await;
    let mut second = watch.command("close say over hold").stdin(Stdio::piped()).start().await.unwrap();
    watch.pid_of("over").await;
    let mut stdin = second.stdin.take().unwrap();
    // Not at once: other tests fork, and hold all files until they execute a program.
    let write = async {
        loop {
            if let Err(error) = stdin.write_all(b"x").await {
                break error.kind();
            }
        }
    };
    assert_eq!(soon(write).await, std::io::ErrorKind::BrokenPipe);
    first.kill();
    second.kill();
    soon(async { tokio::join!(first.wait(), second.wait()) }).await;
    watch.assert_nobody().await;
}

#[tokio::test]
async fn events_come_in_order() {
    let watch = Watch::new();
    let mut running = watch.command("exit 3").start().await.unwrap();
    assert!(running.pid() > 0 && running.grace() == Duration::from_secs(5));
    assert!(
        matches!(soon(running.next_event()).await, Event::LeaderEnded { status } if status.code() == Some(3))
    );
    assert!(matches!(soon(running.next_event()).await, Event::Ended(exit) if exit.code() == Some(3)));
    assert_eq!(soon(running.wait()).await.code(), Some(3));
}

/// Signals that the program blocks or ignores are no matter of its commands; but what it ignores stays so, as with `nohup`.
#[tokio::test]
async fn signals_are_as_they_should_be() {
    let status = text(Command::new("cat").arg("/proc/self/status")).await;
    let mask = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    assert_eq!((mask("SigBlk:"), mask("SigCgt:")), (0, 0));
    assert_eq!(mask("SigIgn:") & (1 << (libc::SIGPIPE - 1)), 0);
}

#[tokio::test]
async fn both_outputs_come_to_the_sink() {
    let (told, mut came) = tokio::sync::mpsc::unbounded_channel();
    let command = Command::shell("echo out; echo err >&2");
    let command = command.on_output(move |stream, bytes| told.send((stream, bytes.to_vec())).unwrap());
    soon(command.run()).await.unwrap();
    let mut all = [came.recv().await.unwrap(), came.recv().await.unwrap()];
    all.sort_by_key(|(_, bytes)| bytes.clone());
    assert_eq!(all, [(Stream::Stderr, b"err\n".to_vec()), (Stream::Stdout, b"out\n".to_vec())]);
    assert!(came.recv().await.is_none());
}

/// Where there are no namespaces.
#[cfg(any(not(target_os = "linux"), taskgroup_process_portable))]
#[tokio::test]
async fn namespaces_and_cgroups_are_for_linux() {
    for command in [Command::new("true").isolate(), Command::new("true").cgroup("/sys/fs/cgroup")] {
        let error = command.run().await.unwrap_err();
        let Error::NotStarted { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains("for Linux"), "{source}");
    }
}
