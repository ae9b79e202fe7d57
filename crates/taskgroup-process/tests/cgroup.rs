//! A command in a cgroup of its own. A test that finds no cgroup v2 that it may use, and may mount none, says so and passes.

#![cfg(all(target_os = "linux", not(taskgroup_process_portable)))]

mod common;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{Watch, alive, kill, parent_of, soon};
use taskgroup_process::{Command, Error};

const KINDS: &str = "fork { say same ready hold } fork { ignore say ignoring ready hold } fork { pgrp say group ready hold } \
    fork { session say session ready hold } fork { session close fork { say daemon ready hold } exit 0 } \
    fork { session ready bare say bare hold }";
const COUNT: usize = 6;
const SHORT: Duration = Duration::from_millis(100);

/// A folder of cgroup v2 for one test, gone with it.
struct Delegated {
    folder: PathBuf,
    /// Where this test has mounted the hierarchy itself.
    mounted: Option<PathBuf>,
}

impl Delegated {
    fn find() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let is_v2 = |words: &Vec<&str>| words[2] == "cgroup2";
        let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(is_v2);
        for folder in words.map(|words| Path::new(words[1]).join(&name)) {
            if std::fs::create_dir(&folder).is_ok() {
                return Some(Self { folder, mounted: None });
            }
        }
        let place = std::env::temp_dir().join(format!("taskgroup-{name}"));
        std::fs::create_dir(&place).unwrap();
        let folder = place.join(&name);
        if mount(&place) && std::fs::create_dir(&folder).is_ok() {
            return Some(Self { folder, mounted: Some(place) });
        }
        eprintln!("not tested here: no cgroup v2 that may be used: {}", std::io::Error::last_os_error());
        unmount(&place);
        None
    }

    /// The groups of commands in it.
    fn groups(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
        if let Some(place) = &self.mounted {
            unmount(place);
        }
    }
}

fn mount(place: &Path) -> bool {
    let place = CString::new(place.as_os_str().as_bytes()).unwrap();
    let kind = c"cgroup2".as_ptr();
    // SAFETY: the texts end in NUL.
    unsafe { libc::mount(kind, place.as_ptr(), kind, 0, std::ptr::null()) == 0 }
}

fn unmount(place: &Path) {
    let path = CString::new(place.as_os_str().as_bytes()).unwrap();
    // SAFETY: the text ends in NUL.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    let _ = std::fs::remove_dir(place);
}

#[tokio::test]
async fn it_runs_in_a_group_that_is_gone_afterwards() {
    let Some(delegated) = Delegated::find() else { return };
    for is_isolated in [false, true] {
        let command = Command::shell("cat /proc/self/cgroup").cgroup(&delegated.folder);
        let command = if is_isolated { command.isolate() } else { command };
        let shown = match soon(command.output()).await {
            Ok(output) => String::from_utf8(output.stdout).unwrap(),
            Err(Error::NotStarted { source, .. }) if is_isolated => {
                eprintln!("not tested here: {source}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let own = delegated.folder.file_name().unwrap().to_str().unwrap();
        assert!(shown.contains(&format!("{own}/taskgroup-{}-", std::process::id())), "{shown}");
        assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn what_outlives_its_leader_is_told_of_and_ended() {
    let Some(delegated) = Delegated::find() else { return };
    let mut watch = Watch::new();
    let command = watch.command(&format!("{KINDS} say up exit 0")).cgroup(&delegated.folder).grace(SHORT);
    let exit = soon(command.run()).await.unwrap();
    assert_eq!((exit.code(), exit.leaks().len(), exit.survivors()), (Some(0), COUNT, 0));
    assert!(exit.terminated() == COUNT as u32 && exit.killed() >= 1, "{exit:?}");
    watch.assert_nobody().await;
    assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
}

/// Groups that are made within the command's go with it.
#[tokio::test]
async fn groups_within_it_are_killed_and_removed() {
    let Some(delegated) = Delegated::find() else { return };
    let mut watch = Watch::new();
    let command = watch.command(&format!("{KINDS} say up ignore hold")).cgroup(&delegated.folder);
    let mut running = command.start().await.unwrap();
    watch.lines(COUNT + 1).await;
    let [group] = delegated.groups().try_into().unwrap();
    let inner = group.join("outer/inner");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::create_dir(group.join("other")).unwrap();
    std::fs::create_dir(group.join(".hidden")).unwrap();
    std::fs::write(inner.join("cgroup.procs"), running.pid().to_string()).unwrap();
    running.kill();
    assert_eq!(soon(running.wait()).await.signal(), Some(9));
    watch.assert_nobody().await;
    assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
}

/// Who is in the group without being of the command is killed at its end: nobody else has to do with it.
#[tokio::test]
async fn who_was_put_there_is_killed() {
    let Some(delegated) = Delegated::find() else { return };
    let mut watch = Watch::new();
    let mut running = watch.command("say up hold").cgroup(&delegated.folder).start().await.unwrap();
    watch.pid_of("up").await;
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let [group] = delegated.groups().try_into().unwrap();
    std::fs::write(group.join("cgroup.procs"), other.id().to_string()).unwrap();
    running.terminate(Duration::from_secs(3600));
    assert_eq!(soon(running.wait()).await.killed(), 0);
    assert!(!other.wait().unwrap().success());
    assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
    watch.assert_nobody().await;
}

/// Not even one without a mark is left, and without `install`.
#[tokio::test]
async fn sigkill_to_the_keeper() {
    let Some(delegated) = Delegated::find() else { return };
    let mut watch = Watch::new();
    for is_dropped in [false, true] {
        let command = watch.command(&format!("{KINDS} say up ignore hold")).cgroup(&delegated.folder);
        let mut running = command.start().await.unwrap();
        watch.lines(COUNT + 1).await;
        kill(parent_of(running.pid() as i32), libc::SIGKILL);
        if is_dropped {
            drop(running);
        } else {
            let exit = soon(running.wait()).await;
            assert!(matches!(exit.into_result(), Err(Error::KeeperLost { .. })));
        }
        assert_eq!(alive(&watch.mark), Vec::<String>::new());
        assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
    }
    watch.assert_nobody().await;
}

/// Dropped while it waits for what a killed keeper has left behind, before anybody has begun to end that.
#[test]
fn a_drop_while_orphans_are_to_be_ended() {
    let Some(delegated) = Delegated::find() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut watch = Watch::new();
        let (go, held) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || held.recv());
        let command = watch.command(&format!("{KINDS} say up ignore hold")).cgroup(&delegated.folder);
        let mut running = command.start().await.unwrap();
        watch.lines(COUNT + 1).await;
        kill(parent_of(running.pid() as i32), libc::SIGKILL);
        assert!(tokio::time::timeout(SHORT, running.wait()).await.is_err());
        drop(running);
        assert_eq!(alive(&watch.mark), Vec::<String>::new());
        assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
        drop(go);
        let _ = busy.await;
        watch.assert_nobody().await;
    });
}

/// The keeper of a program inside is in the cgroup of the outer command, and what it keeps is not: it has the time to end that.
#[tokio::test]
async fn sigkill_to_the_keeper_of_a_program_with_groups() {
    let Some(delegated) = Delegated::find() else { return };
    let mut watch = Watch::new();
    let command = watch.command(&format!("program grouped {KINDS} say up ignore hold"));
    let command = command.env("TASKGROUP_TEST_CGROUP", &delegated.folder).cgroup(&delegated.folder);
    let mut running = command.start().await.unwrap();
    watch.lines(COUNT + 1).await;
    assert_eq!(delegated.groups().len(), 2);
    kill(parent_of(running.pid() as i32), libc::SIGKILL);
    soon(running.wait()).await;
    assert_eq!(alive(&watch.mark), Vec::<String>::new());
    assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
    watch.assert_nobody().await;
}

#[tokio::test]
async fn sigkill_to_the_program() {
    let Some(delegated) = Delegated::find() else { return };
    let mut watch = Watch::new();
    let mut program = watch.program(&format!("program grouped {KINDS} say up ignore hold"));
    program.env("TASKGROUP_TEST_CGROUP", &delegated.folder).stdin(std::process::Stdio::null());
    let mut child = program.spawn().unwrap();
    drop(program);
    watch.lines(COUNT + 1).await;
    assert_eq!(delegated.groups().len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    // The keeper removes the group before it ends.
    watch.gone().await;
    assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
}

/// Killed as soon as the group is there, when its command may not have been started yet.
#[tokio::test]
async fn sigkill_to_a_program_that_just_starts() {
    let Some(delegated) = Delegated::find() else { return };
    for round in 0..30 {
        let mut watch = Watch::new();
        let mut program = watch.program("program grouped ready hold");
        program.env("TASKGROUP_TEST_CGROUP", &delegated.folder).stdin(std::process::Stdio::null());
        let mut child = program.spawn().unwrap();
        drop(program);
        while delegated.groups().is_empty() {
            assert!(child.try_wait().unwrap().is_none(), "round {round}: it has made no group");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        watch.gone().await;
        assert_eq!(delegated.groups(), Vec::<PathBuf>::new(), "round {round}");
    }
}

#[tokio::test]
async fn a_folder_that_is_frozen_is_refused() {
    let Some(delegated) = Delegated::find() else { return };
    std::fs::write(delegated.folder.join("cgroup.freeze"), "1").unwrap();
    let error = soon(Command::new("true").cgroup(&delegated.folder).run()).await.unwrap_err();
    let Error::NotStarted { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("frozen"), "{source}");
    assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains() {
    let Some(delegated) = Delegated::find() else { return };
    let mut watch = Watch::new();
    let steps = "fork { fork { sessions } fork { sessions } chain } say up hold";
    let mut running = watch.command(steps).cgroup(&delegated.folder).start().await.unwrap();
    watch.pid_of("up").await;
    running.terminate(Duration::ZERO);
    assert_eq!(soon(running.wait()).await.survivors(), 0);
    watch.assert_nobody().await;
    assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_cannot_be_started_leaves_no_group() {
    let Some(delegated) = Delegated::find() else { return };
    let error = soon(Command::new("/no/such").cgroup(&delegated.folder).run()).await;
    assert!(matches!(error, Err(Error::NotFound { .. })));
    let error = soon(Command::new("true").current_dir("/no/such").cgroup(&delegated.folder).run()).await;
    assert!(matches!(error, Err(Error::NoDirectory { .. })));
    assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_folder_that_is_no_cgroup_is_refused() {
    for (folder, why) in [("/tmp", "not a folder of cgroup v2"), ("/no/such", "No such file")] {
        let error = soon(Command::new("true").cgroup(folder).run()).await.unwrap_err();
        let Error::NotStarted { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains(why), "{source}");
    }
}

/// A user without rights, to whom the folder belongs: its program has to be in it.
#[tokio::test]
async fn delegated_to_a_user() {
    let Some(delegated) = Delegated::find() else { return };
    let folder = delegated.folder.to_str().unwrap();
    for (enter, expected) in [
        ("", "not-started=its cgroup: it cannot be moved there"),
        ("echo $$ > \"$0/cgroup.procs\" &&", "ok-code=Some(0)-leaks=1"),
    ] {
        let mut watch = Watch::new();
        let line = format!(
            "chown 65534 \"$0\" \"$0/cgroup.procs\" && {enter} exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\""
        );
        let mut program = std::process::Command::new("sh");
        program.args(["-c", &line, folder]).arg(std::env::current_exe().unwrap());
        program.args(watch.words("program grouped fork { session ready hold } say led exit 0"));
        program.env("TASKGROUP_TEST_CGROUP", folder).stdout(watch.writer());
        let mut child = program.spawn().unwrap();
        drop(program);
        let said = watch.nobody().await;
        child.wait().unwrap();
        if said.is_empty() {
            return eprintln!(
                "not tested here: this test may not become another user, or that one may not run it"
            );
        }
        assert!(said.contains(expected), "{said}");
        assert_eq!(delegated.groups(), Vec::<PathBuf>::new());
    }
}
