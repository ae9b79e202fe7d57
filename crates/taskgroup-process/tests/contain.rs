//! Done means empty: whatever descendants do, none of them is alive when their command has ended.

#![cfg(all(target_os = "linux", not(taskgroup_process_portable)))]

mod common;

use std::time::Duration;

use common::{Watch, alive, is_alive, kill, soon};
use taskgroup_process::{Command, Ended, Error, Event, LeakPolicy};

/// The five kinds of descendants that outlive their parents elsewhere, and one without the environment that would mark it.
const KINDS: &str = "fork { say same ready hold } fork { ignore say ignoring ready hold } fork { pgrp say group ready hold } \
    fork { session say session ready hold } fork { session close fork { say daemon ready hold } exit 0 } \
    fork { ready bare say bare hold }";
/// How many of them there are.
const COUNT: usize = 6;

/// A leader that says `up` when it has all of them, and then does what follows.
fn family(then: &str) -> String {
    format!("{KINDS} say up {then}")
}

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3600);

async fn all_up(watch: &mut Watch) {
    let mut words = Vec::new();
    for line in watch.lines(COUNT + 1).await {
        words.push(line.split(' ').next().unwrap().to_owned());
    }
    assert_eq!(words, ["bare", "daemon", "group", "ignoring", "same", "session", "up"]);
}

#[tokio::test]
async fn what_outlives_its_leader_is_told_of_and_ended() {
    let mut watch = Watch::new();
    let exit = soon(watch.command(&family("exit 0")).grace(SHORT).run()).await.unwrap();
    assert_eq!((exit.code(), exit.leaks().len(), exit.survivors()), (Some(0), COUNT, 0));
    // Only the one that ignores SIGTERM needs more.
    assert!(exit.terminated() == COUNT as u32 && exit.killed() >= 1, "{exit:?}");
    for leak in exit.leaks() {
        assert!(leak.command.contains(&watch.mark), "{leak}");
        assert!(!is_alive(leak.pid as i32), "{leak}");
    }
    watch.assert_nobody().await;
}

#[tokio::test]
async fn a_leak_fails_where_it_is_forbidden() {
    let mut watch = Watch::new();
    let leaking = "fork { say leak ready hold }";
    let error = soon(watch.command(leaking).leaks(LeakPolicy::Fail).run()).await.unwrap_err();
    assert!(matches!(&error, Error::Leaked { exit, .. } if exit.leaks().len() == 1), "{error}");
    assert!(error.to_string().contains("it left 1 process behind, now ended: "), "{error}");
    let exit = soon(watch.command(leaking).leaks(LeakPolicy::Ignore).run()).await.unwrap();
    assert!(exit.leaks().is_empty());
    let error = soon(watch.command("fork { ready hold } exit 3").leaks(LeakPolicy::Fail).run()).await;
    assert!(matches!(error, Err(Error::Failed { code: 3, .. })), "its own failure comes first");
    watch.assert_nobody().await;
}

/// The end of a pipe takes a moment: who ends right after the leader is no leak.
#[tokio::test]
async fn who_ends_with_the_leader_is_no_leak() {
    let mut watch = Watch::new();
    let exit = soon(watch.command("fork { fork { ready exit 0 } ready exit 0 }").run()).await.unwrap();
    assert!(exit.leaks().is_empty() && exit.terminated() == 0);
    watch.assert_nobody().await;
}

#[tokio::test]
async fn a_sibling_fails() {
    let mut watch = Watch::new();
    let (first, second) =
        (watch.command(&family("hold")).grace(SHORT), watch.command(&family("hold")).grace(SHORT));
    let ended = soon(taskgroup::scope::<(), taskgroup::Error, _>(async |tg| {
        let tasks = (tg.spawn_into(first.run()), tg.spawn_into(second.run()));
        watch.lines(2 * (COUNT + 1)).await;
        tg.spawn_into(watch.command("exit 3").run());
        tasks.0.await?;
        Ok(())
    }))
    .await;
    let errors = ended.unwrap_err();
    assert!(matches!(errors.first().unwrap().downcast_ref(), Some(Error::Failed { code: 3, .. })));
    watch.assert_nobody().await;
}

#[tokio::test]
async fn its_own_timeout() {
    let mut watch = Watch::new();
    let command = watch.command(&family("hold")).timeout(Duration::from_secs(1)).grace(SHORT);
    let error = soon(command.run()).await.unwrap_err();
    let Error::TimedOut { after, exit, .. } = &error else { panic!("{error}") };
    assert_eq!((*after, exit.ended()), (Duration::from_secs(1), Ended::TimedOut(Duration::from_secs(1))));
    assert!(exit.killed() >= 1 && error.shell_code() == 124, "{exit:?}");
    watch.assert_nobody().await;
}

#[tokio::test]
async fn a_timeout_around_it() {
    let mut watch = Watch::new();
    let run = watch.command(&family("hold")).grace(SHORT).run();
    let ended = soon(taskgroup::timeout(Duration::from_secs(1), run)).await;
    assert!(ended.is_err());
    watch.assert_nobody().await;
}

#[tokio::test]
async fn it_loses_in_a_select() {
    let mut watch = Watch::new();
    let run = watch.command(&family("hold")).grace(LONG).run();
    soon(async {
        tokio::select! {
            _ = run => panic!("it holds"),
            () = all_up(&mut watch) => {}
        }
    })
    .await;
    watch.assert_nobody().await;
}

#[tokio::test]
async fn its_group_is_dropped() {
    let mut watch = Watch::new();
    let command = watch.command(&family("hold")).grace(LONG);
    let group = taskgroup::scope::<(), taskgroup::Error, _>(async |tg| {
        tg.spawn_into(command.run());
        std::future::pending().await
    });
    soon(async {
        tokio::select! {
            _ = group => panic!("it holds"),
            () = all_up(&mut watch) => {}
        }
    })
    .await;
    // Its tasks end on the runtime.
    watch.nobody().await;
    watch.assert_nobody().await;
}

#[tokio::test]
async fn dropped_while_it_starts() {
    let mut watch = Watch::new();
    for _ in 0..20 {
        let mut start = Box::pin(watch.command(&family("hold")).start());
        std::future::poll_fn(|cx| {
            let _ = start.as_mut().poll(cx);
            std::task::Poll::Ready(())
        })
        .await;
        drop(start);
        assert_eq!(alive(&watch.mark), Vec::<String>::new());
    }
    watch.assert_nobody().await;
}

#[tokio::test]
async fn terminate_grace_kill() {
    let mut watch = Watch::new();
    let mut running = watch.command(&family("ignore hold")).start().await.unwrap();
    all_up(&mut watch).await;
    running.terminate(LONG);
    // Those that heed it are gone, and the others have an hour: which a second call takes from them.
    running.terminate(Duration::from_millis(1));
    running.terminate(LONG);
    let exit = soon(running.wait()).await;
    assert_eq!((exit.ended(), exit.signal()), (Ended::Cancelled, Some(9)));
    // The one in between that a daemon has lost may be ending still.
    assert!(exit.terminated() > COUNT as u32, "{exit:?}");
    assert!(exit.killed() >= 2);
    assert!(matches!(running.next_event().await, Event::Ended(_)), "it gives that again");
    watch.assert_nobody().await;
}

#[tokio::test]
async fn kill_at_once() {
    let mut watch = Watch::new();
    let mut running = watch.command(&family("hold")).start().await.unwrap();
    all_up(&mut watch).await;
    running.kill();
    let exit = soon(running.wait()).await;
    assert_eq!((exit.signal(), exit.terminated()), (Some(9), 0));
    assert!(exit.killed() > COUNT as u32, "{exit:?}");
    watch.assert_nobody().await;
}

/// SIGTERM finds those that are stopped, too.
#[tokio::test]
async fn stopped_processes_end() {
    let mut watch = Watch::new();
    let mut running = watch
        .command("fork { session say child ready die 19 hold } say leader die 19 hold")
        .start()
        .await
        .unwrap();
    watch.lines(2).await;
    let Event::Stopped { signal } = soon(running.next_event()).await else { panic!("it stops") };
    assert_eq!(signal, libc::SIGSTOP);
    running.terminate(LONG);
    let exit = soon(running.wait()).await;
    assert_eq!((exit.signal(), exit.killed()), (Some(15), 0));
    watch.assert_nobody().await;
}

#[tokio::test]
async fn suspended_and_resumed() {
    let mut watch = Watch::new();
    let mut running = watch.command("fork { say child ready hold } say leader hold").start().await.unwrap();
    let child = watch.pid_of("child").await;
    running.suspend();
    let Event::Stopped { signal } = soon(running.next_event()).await else { panic!("it stops") };
    assert_eq!((signal, alive(&watch.mark).len()), (libc::SIGTSTP, 2));
    running.resume();
    running.terminate(LONG);
    assert_eq!(soon(running.wait()).await.signal(), Some(15));
    assert!(!is_alive(child));
    watch.assert_nobody().await;
}

/// A grace period stands still as long as the command does.
#[tokio::test]
async fn a_grace_that_is_suspended_goes_on_later() {
    let mut watch = Watch::new();
    let mut running = watch.command("ignore say up hold").start().await.unwrap();
    watch.pid_of("up").await;
    running.terminate(Duration::from_millis(1000));
    running.suspend();
    while !matches!(soon(running.next_event()).await, Event::Stopped { .. }) {}
    let early = tokio::time::timeout(Duration::from_millis(1500), running.next_event()).await;
    assert!(early.is_err(), "{early:?}");
    running.resume();
    assert_eq!(soon(running.wait()).await.killed(), 1);
    watch.assert_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_and_bombs() {
    for steps in [
        "fork { chain } say up hold",
        "fork { sessions } say up hold",
        "fork { fork { sessions } fork { sessions } chain } say up hold",
    ] {
        for _ in 0..5 {
            let mut watch = Watch::new();
            let mut running = watch.command(steps).start().await.unwrap();
            watch.pid_of("up").await;
            running.terminate(Duration::ZERO);
            let exit = soon(running.wait()).await;
            assert_eq!(exit.survivors(), 0, "{steps}");
            watch.assert_nobody().await;
        }
    }
    let mut watch = Watch::new();
    let mut running = watch.command("ignore bomb 9").start().await.unwrap();
    watch.lines(512).await;
    running.terminate(Duration::ZERO);
    let exit = soon(running.wait()).await;
    assert!(exit.killed() >= 512, "{exit:?}");
    watch.assert_nobody().await;
}

/// A bomb that is still going off when its leader has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_is_a_leak() {
    let mut watch = Watch::new();
    let exit = soon(watch.command("fork { session ready bomb 9 } exit 0").grace(SHORT).run()).await.unwrap();
    assert!(!exit.leaks().is_empty() && exit.leaks().len() <= 64);
    watch.assert_nobody().await;
}

/// 200 commands with 20 descendants each, in a program of their own, cancelled midway.
#[tokio::test]
async fn a_storm_leaves_nobody() {
    let mut watch = Watch::new();
    let mut steps = String::from("program storm say leader");
    for number in 0..20 {
        steps += if number % 2 == 0 { " fork { ready hold }" } else { " fork { session ready hold }" };
    }
    let mut program = watch.program(&(steps + " say all hold")).spawn().unwrap();
    let said = watch.nobody().await;
    assert!(said.contains("storm-cancelled=") && said.contains("children-none"), "{said}");
    assert!(program.wait().unwrap().success());
}

#[tokio::test]
async fn a_runtime_that_is_dropped_leaves_nobody() {
    let mut watch = Watch::new();
    let steps = format!("program dropped {}", family("hold"));
    let mut program = watch.program(&steps).stdin(std::process::Stdio::piped()).spawn().unwrap();
    all_up(&mut watch).await;
    drop(program.stdin.take());
    let said = watch.nobody().await;
    assert!(said.contains("children-none"), "{said}");
    assert!(program.wait().unwrap().success());
}

/// Each of 300 commands, one after the other, is another's keeper's: and no keeper is left in the end.
#[tokio::test]
async fn keepers_serve_many() {
    let mut watch = Watch::new();
    let mut outer = watch.command("say outer hold").start().await.unwrap();
    watch.pid_of("outer").await;
    for _ in 0..100 {
        let leaking = watch.command("fork { session ready hold }").grace(SHORT).run();
        let (leaks, fails) = soon(async { tokio::join!(leaking, watch.command("exit 1").run()) }).await;
        assert_eq!(leaks.unwrap().leaks().len(), 1);
        assert!(matches!(fails, Err(Error::Failed { code: 1, .. })));
    }
    outer.kill();
    soon(outer.wait()).await;
    watch.assert_nobody().await;
}

/// A leader that has ended keeps its pid, and its group's, as long as there is anybody left.
#[tokio::test]
async fn the_leader_is_reaped_last() {
    let mut watch = Watch::new();
    let command = watch.command("fork { ignore say child ready hold }").grace(LONG);
    let mut running = command.start().await.unwrap();
    let child = watch.pid_of("child").await;
    loop {
        match soon(running.next_event()).await {
            Event::Leaked(leak) => break assert_eq!(leak.pid as i32, child),
            Event::LeaderEnded { status } => assert!(status.success()),
            other => panic!("{other:?}"),
        }
    }
    assert!(std::path::Path::new(&format!("/proc/{}", running.pid())).exists());
    assert!(!is_alive(running.pid() as i32) && is_alive(child));
    kill(child, libc::SIGKILL);
    assert!(soon(running.wait()).await.success());
    assert!(!std::path::Path::new(&format!("/proc/{}", running.pid())).exists());
    watch.assert_nobody().await;
}

/// What is not of this crate is none of its business: a child of the program's own lives on.
#[tokio::test]
async fn other_children_of_the_program_live_on() {
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    soon(Command::new("true").run()).await.unwrap();
    assert!(is_alive(other.id() as i32));
    other.kill().unwrap();
    other.wait().unwrap();
}
