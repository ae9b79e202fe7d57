//! Somebody kills: a keeper, the program, its process group, a program inside another.

#![cfg(all(target_os = "linux", not(taskgroup_process_portable)))]

mod common;

use std::os::unix::process::CommandExt;
use std::process::Child;

use common::{Watch, alive, kill, parent_of, soon};
use taskgroup_process::{Command, Error};

const KINDS: &str = "fork { say same ready hold } fork { ignore say ignoring ready hold } fork { pgrp say group ready hold } \
    fork { session say session ready hold } fork { session close fork { say daemon ready hold } exit 0 }";

/// Runs a program in a process group of its own; comes back when `lines` were said, with the pid of the leader.
async fn started(watch: &mut Watch, program: &str, steps: &str, lines: usize) -> (Child, i32) {
    let steps = format!("program {program} {steps}");
    let child = watch.program(&steps).process_group(0).stdin(std::process::Stdio::null()).spawn().unwrap();
    let said = watch.lines(lines).await;
    let leader = said.iter().find_map(|line| line.strip_prefix("up ")).unwrap().parse().unwrap();
    (child, leader)
}

#[tokio::test]
async fn sigkill_to_the_program() {
    for program in ["plain", "installed"] {
        let mut watch = Watch::new();
        let (mut child, _) = started(&mut watch, program, &format!("{KINDS} say up hold"), 6).await;
        child.kill().unwrap();
        child.wait().unwrap();
        watch.gone().await;
    }
}

#[tokio::test]
async fn sigkill_to_its_process_group() {
    for program in ["plain", "installed"] {
        let mut watch = Watch::new();
        let (mut child, _) = started(&mut watch, program, &format!("{KINDS} say up ignore hold"), 6).await;
        kill(-(child.id() as i32), libc::SIGKILL);
        child.wait().unwrap();
        watch.gone().await;
    }
}

/// Those without a mark come to the program that is installed as their parent.
#[tokio::test]
async fn sigkill_to_the_keeper() {
    let unmarked = " fork { session ready bare say bare hold }";
    for (program, kinds, lines) in
        [("plain", KINDS.to_owned(), 6), ("installed", KINDS.to_owned() + unmarked, 7)]
    {
        let mut watch = Watch::new();
        let (mut child, leader) = started(&mut watch, program, &format!("{kinds} say up hold"), lines).await;
        kill(parent_of(leader), libc::SIGKILL);
        let said = watch.nobody().await;
        assert!(said.contains("error=job: its keeper was killed, and it was ended"), "{said}");
        assert!(program == "installed" || said.contains("children-none"), "{said}");
        assert!(child.wait().unwrap().success());
        watch.assert_nobody().await;
    }
}

/// A keeper that is killed while it ends its command.
#[tokio::test]
async fn sigkill_to_a_keeper_that_is_ending_its_command() {
    let mut watch = Watch::new();
    let command = watch.command(&format!("{KINDS} say up ignore hold"));
    let mut running = command.start().await.unwrap();
    watch.lines(6).await;
    let keeper = parent_of(running.pid() as i32);
    running.terminate(std::time::Duration::from_secs(3600));
    kill(keeper, libc::SIGKILL);
    let exit = soon(running.wait()).await;
    assert!(matches!(exit.into_result(), Err(Error::KeeperLost { .. })));
    watch.assert_nobody().await;
}

/// Dropped right after its keeper was killed: the drop ends what is left.
#[tokio::test]
async fn a_drop_after_the_keeper_was_killed() {
    let mut watch = Watch::new();
    let running = watch.command(&format!("{KINDS} say up ignore hold")).start().await.unwrap();
    watch.lines(6).await;
    kill(parent_of(running.pid() as i32), libc::SIGKILL);
    drop(running);
    watch.assert_nobody().await;
}

/// Dropped while it waits for what a killed keeper has left behind.
#[tokio::test]
async fn a_drop_while_orphans_are_ended() {
    let mut watch = Watch::new();
    for _ in 0..10 {
        let mut running = watch.command(&format!("{KINDS} say up ignore hold")).start().await.unwrap();
        watch.lines(6).await;
        kill(parent_of(running.pid() as i32), libc::SIGKILL);
        tokio::select! {
            biased;
            _ = running.wait() => {}
            () = tokio::task::yield_now() => {}
        }
        drop(running);
        assert_eq!(alive(&watch.mark), Vec::<String>::new());
    }
    watch.assert_nobody().await;
}

/// An idle keeper that somebody has killed is replaced.
#[tokio::test]
async fn an_idle_keeper_that_was_killed() {
    let mut watch = Watch::new();
    let mut holding = watch.command("say up hold").start().await.unwrap();
    watch.pid_of("up").await;
    for _ in 0..20 {
        let mut running = watch.command("say other hold").start().await.unwrap();
        let keeper = parent_of(watch.pid_of("other").await);
        running.kill();
        assert_eq!(soon(running.wait()).await.signal(), Some(9));
        kill(keeper, libc::SIGKILL);
        assert!(soon(Command::new("true").run()).await.unwrap().success());
    }
    holding.kill();
    soon(holding.wait()).await;
    watch.assert_nobody().await;
}

/// SIGTERM to the outer program: the inner one ends what it has, before the outer does.
#[tokio::test]
async fn a_cancel_reaches_the_inside_first() {
    let mut watch = Watch::new();
    let inner = "program gentle bye 0 say up hold";
    let (mut child, _) = started(&mut watch, "gentle", inner, 3).await;
    kill(child.id() as i32, libc::SIGTERM);
    let said = watch.nobody().await;
    let words: Vec<&str> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words, ["bye", "gentle-end", "children-none", "gentle-end", "children-none"], "{said}");
    assert!(child.wait().unwrap().success());
    watch.assert_nobody().await;
}

#[tokio::test]
async fn sigkill_to_the_inner_program() {
    let mut watch = Watch::new();
    let steps = format!("say inner program plain {KINDS} say up ignore hold");
    let child = watch.program(&format!("program plain {steps}")).spawn();
    let mut child = child.unwrap();
    let inner = watch.pid_of("inner").await;
    watch.pid_of("up").await;
    kill(inner, libc::SIGKILL);
    let said = watch.nobody().await;
    assert!(said.contains("error=job: killed by SIGKILL"), "{said}");
    assert!(child.wait().unwrap().success());
    watch.assert_nobody().await;
}

#[tokio::test]
async fn sigkill_to_the_outer_program_or_its_keeper() {
    for target in ["program", "keeper"] {
        let mut watch = Watch::new();
        let steps =
            format!("say inner program plain {KINDS} fork {{ session ready bare hold }} say up ignore hold");
        let mut child = watch.program(&format!("program plain {steps}")).spawn().unwrap();
        let inner = watch.pid_of("inner").await;
        watch.pid_of("up").await;
        if target == "program" {
            child.kill().unwrap();
        } else {
            kill(parent_of(inner), libc::SIGKILL);
        }
        child.wait().unwrap();
        watch.gone().await;
    }
}
