//! What could go wrong between a program and its keepers: each of these once did, or would have.

#![cfg(all(target_os = "linux", not(taskgroup_process_portable)))]

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Watch, alive, kill, parent_of, soon};
use taskgroup_process::{Ended, Error, Event};

/// What SIGTERM makes a command write is read, and its pipe is open for it.
#[tokio::test]
async fn what_is_written_after_a_cancel_is_read() {
    let mut watch = Watch::new();
    let written = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&written);
    let (told, mut ready) = tokio::sync::mpsc::unbounded_channel();
    let command = watch.command("bye 7 say up hold").on_output(move |_, bytes| {
        into.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
        let _ = told.send(());
    });
    soon(taskgroup::scope::<(), taskgroup::Error, _>(async |tg| {
        tg.spawn_into(command.run());
        ready.recv().await.unwrap();
        tg.cancel();
        Ok(())
    }))
    .await
    .unwrap();
    let written = written.lock().unwrap().clone();
    assert!(written.ends_with("bye\n"), "{written}");
    watch.assert_nobody().await;
}

/// A suspended command that is ended does not wait to be resumed.
#[tokio::test]
async fn a_suspended_command_can_be_terminated() {
    let mut watch = Watch::new();
    let mut running = watch.command("ignore say up hold").start().await.unwrap();
    watch.pid_of("up").await;
    running.suspend();
    running.terminate(Duration::from_millis(50));
    let exit = soon(running.wait()).await;
    assert_eq!((exit.ended(), exit.signal(), exit.killed()), (Ended::Cancelled, Some(9), 1));
    watch.assert_nobody().await;
}

/// Notices that nobody has read do not push out the one that says that nobody is left.
#[tokio::test]
async fn more_notices_than_there_is_room_for() {
    let mut watch = Watch::new();
    let mut running = watch.command("stop 1500 say over").start().await.unwrap();
    // Nobody reads until the leader has been reaped, and so the last notice is due.
    let leader = PathBuf::from(format!("/proc/{}", watch.pid_of("over").await));
    while leader.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut stops = 0;
    let exit = loop {
        match soon(running.next_event()).await {
            Event::Stopped { .. } => stops += 1,
            Event::Ended(exit) => break exit,
            _ => {}
        }
    };
    assert!(exit.success());
    assert!(stops > 100, "{stops}");
    watch.assert_nobody().await;
}

/// Somebody has stopped a keeper.
#[tokio::test]
async fn a_stopped_keeper_heeds_a_cancel() {
    let mut watch = Watch::new();
    let mut running = watch.command("say up hold").start().await.unwrap();
    let leader = watch.pid_of("up").await;
    kill(parent_of(leader), libc::SIGSTOP);
    running.terminate(Duration::from_secs(20));
    assert_eq!(soon(running.wait()).await.signal(), Some(15));
    watch.assert_nobody().await;
}

#[tokio::test]
async fn a_stopped_keeper_does_not_hold_up_a_drop() {
    let mut watch = Watch::new();
    let running = watch.command("say up hold").start().await.unwrap();
    let leader = watch.pid_of("up").await;
    kill(parent_of(leader), libc::SIGSTOP);
    drop(running);
    watch.assert_nobody().await;
}

/// A program that was started with SIGCHLD ignored learns how its commands end all the same.
#[tokio::test]
async fn sigchld_ignored() {
    let mut watch = Watch::new();
    let mut child = watch.program("sigchld program plain exit 3").spawn().unwrap();
    let said = watch.nobody().await;
    assert!(said.contains("error=job: exit code 3") && said.contains("children-none"), "{said}");
    assert!(child.wait().unwrap().success());
}

/// Somebody outside the command writes into its output, without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_outside_does_not_hold_up_the_end() {
    let mut watch = Watch::new();
    let (told, mut ready) = tokio::sync::mpsc::unbounded_channel();
    let command = watch.command("say up hold").on_output(move |_, bytes| {
        let _ = told.send(bytes.first().copied());
    });
    let run = tokio::spawn(command.run());
    soon(ready.recv()).await.unwrap();
    let leader = alive(&watch.mark)[0].split(':').next().unwrap().parse().unwrap();
    let path = format!("/proc/{leader}/fd/1");
    let mut output = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    // Until nobody reads any more.
    let writer = std::thread::spawn(move || while output.write_all(&[b'y'; 4096]).is_ok() {});
    while soon(ready.recv()).await.unwrap() != Some(b'y') {}
    kill(leader, libc::SIGTERM);
    let error = soon(run).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Killed { signal: 15, .. }), "{error}");
    writer.join().unwrap();
    watch.assert_nobody().await;
}

/// A keeper that has waited has the user and the limits of the program that once forked it: it does not serve one that has others.
#[tokio::test]
async fn rights_that_were_given_up_are_not_handed_on() {
    // SAFETY: takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let mut watch = Watch::new();
    let mut child = watch.program("program installed-changes").spawn().unwrap();
    let said = watch.nobody().await;
    assert!(said.contains("before=0022/") && said.contains("/0/ "), "{said}");
    assert!(said.contains("after=0027/123/65534/ "), "{said}");
    assert!(child.wait().unwrap().success());
}

/// What belongs to another user cannot be ended: it is told of, and not waited for.
#[tokio::test]
async fn processes_of_another_user_survive_and_are_told_of() {
    // SAFETY: takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let mut watch = Watch::new();
    let copy = std::env::temp_dir().join(format!("taskgroup-setuid-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    let words = watch.words("user program hasty fork { root say up ready hold } exit 0");
    let mut child = std::process::Command::new(&copy).args(words).stdout(watch.writer()).spawn().unwrap();
    let survivor = watch.pid_of("up").await;
    assert!(watch.line().await.starts_with("survivors=1 "));
    assert!(watch.line().await.starts_with("children-none "));
    assert!(child.wait().unwrap().success());
    std::fs::remove_file(&copy).unwrap();
    kill(survivor, libc::SIGKILL);
    watch.gone().await;
}
