//! A command in a user and a PID namespace of its own. What helpers say are pids inside; those outside come from the library, and
//! from `/proc`.

#![cfg(all(target_os = "linux", not(taskgroup_process_portable)))]

mod common;

use std::os::unix::process::CommandExt;
use std::time::Duration;

use common::{Watch, alive, is_alive, kill, parent_of, soon};
use taskgroup_process::{Command, Ended, Error, Event, LeakPolicy, Running};

const KINDS: &str = "fork { say same ready hold } fork { ignore say ignoring ready hold } fork { pgrp say group ready hold } \
    fork { session say session ready hold } fork { session close fork { say daemon ready hold } exit 0 } \
    fork { ready bare say bare hold }";
const COUNT: usize = 6;
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3600);

fn family(then: &str) -> String {
    format!("{KINDS} say up {then}")
}

/// Whether this system lets commands be isolated. A test that finds it does not says so, and passes.
async fn is_permitted() -> bool {
    match Command::new("true").isolate().run().await {
        Ok(_) => true,
        Err(Error::NotStarted { source, .. }) => {
            eprintln!("not tested here: {source}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

async fn started(watch: &mut Watch, steps: &str) -> Running {
    let running = watch.command(&family(steps)).isolate().start().await.unwrap();
    watch.lines(COUNT + 1).await;
    running
}

#[tokio::test]
async fn codes_and_signals_come_out() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    for code in [0, 1, 3, 255] {
        let mut running = watch.command(&format!("exit {code}")).isolate().start().await.unwrap();
        let exit = soon(running.wait()).await;
        assert_eq!(
            (exit.code(), exit.leaks().len(), exit.terminated(), exit.killed()),
            (Some(code), 0, 0, 0)
        );
        assert!(exit.usage().max_rss > 0);
    }
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGHUP] {
        let error = soon(watch.command(&format!("die {signal}")).isolate().run()).await.unwrap_err();
        assert!(matches!(error, Error::Killed { signal: by, .. } if by == signal), "{error}");
    }
    watch.assert_nobody().await;
}

/// Of all that it may be told, one at a time: the program cannot be started.
#[tokio::test]
async fn what_cannot_be_started_is_told_as_elsewhere() {
    if !is_permitted().await {
        return;
    }
    let run = |command: Command| soon(command.isolate().run());
    assert!(matches!(run(Command::new("/no/such")).await, Err(Error::NotFound { .. })));
    assert!(matches!(run(Command::new("/dev/null")).await, Err(Error::NotExecutable { .. })));
    let nowhere = Command::new("true").current_dir("/no/such");
    assert!(matches!(run(nowhere).await, Err(Error::NoDirectory { .. })));
    assert!(run(Command::new("true")).await.is_ok(), "its keeper serves on");
}

#[tokio::test]
async fn it_is_process_2_of_the_same_user() {
    if !is_permitted().await {
        return;
    }
    let outside = Command::shell("id -u; id -g; pwd").output().await.unwrap().stdout;
    let inside =
        soon(Command::shell("id -u; id -g; pwd; echo $$; echo $PPID").isolate().output()).await.unwrap();
    let inside = String::from_utf8(inside.stdout).unwrap();
    assert_eq!(inside, String::from_utf8(outside).unwrap() + "2\n1\n");
}

/// The pid is the one by which everybody outside knows it.
#[tokio::test]
async fn its_pid_is_the_one_outside() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    // An orphan as early as can be: it is no leader.
    let steps = "fork { fork { ready hold } exit 0 } say up hold";
    let mut running = watch.command(steps).isolate().start().await.unwrap();
    watch.pid_of("up").await;
    let (leader, own) = (running.pid() as i32, std::process::id() as i32);
    assert_eq!(parent_of(parent_of(parent_of(leader))), own, "program, keeper, init, leader");
    let leads = group_of(leader);
    assert_eq!(leads, leader);
    kill(leader, libc::SIGHUP);
    let exit = soon(running.wait()).await;
    assert_eq!((exit.signal(), exit.pid() as i32, exit.leaks().len()), (Some(libc::SIGHUP), leader, 1));
    watch.assert_nobody().await;
}

fn group_of(pid: i32) -> i32 {
    // SAFETY: takes a number only.
    unsafe { libc::getpgid(pid) }
}

#[tokio::test]
async fn what_outlives_its_leader_is_told_of_and_ended() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let exit = soon(watch.command(&family("exit 0")).isolate().grace(SHORT).run()).await.unwrap();
    assert_eq!((exit.code(), exit.leaks().len(), exit.survivors()), (Some(0), COUNT, 0));
    assert!(exit.terminated() == COUNT as u32 && exit.killed() >= 1, "{exit:?}");
    for leak in exit.leaks() {
        assert!(leak.command.contains(&watch.mark), "{leak}");
        assert!(!is_alive(leak.pid as i32), "{leak}");
    }
    let leaking = watch.command("fork { say leak ready hold }").isolate().leaks(LeakPolicy::Fail);
    assert!(matches!(soon(leaking.run()).await, Err(Error::Leaked { .. })));
    watch.assert_nobody().await;
}

#[tokio::test]
async fn who_ends_with_the_leader_is_no_leak() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let steps = "fork { fork { ready exit 0 } ready exit 0 }";
    let exit = soon(watch.command(steps).isolate().run()).await.unwrap();
    assert!(exit.leaks().is_empty() && exit.terminated() == 0);
    watch.assert_nobody().await;
}

#[tokio::test]
async fn terminate_grace_kill() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let mut running = started(&mut watch, "ignore hold").await;
    running.terminate(LONG);
    running.terminate(Duration::from_millis(1));
    let exit = soon(running.wait()).await;
    assert_eq!((exit.ended(), exit.signal()), (Ended::Cancelled, Some(9)));
    assert!(exit.terminated() > COUNT as u32 && exit.killed() >= 2, "{exit:?}");
    watch.assert_nobody().await;
}

/// Who heeds SIGTERM has the time to, and what it says and how it exits is not lost.
#[tokio::test]
async fn a_gentle_end_takes_no_sigkill() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let mut running = watch.command("bye 7 say up hold").isolate().start().await.unwrap();
    watch.pid_of("up").await;
    running.terminate(LONG);
    assert_eq!(watch.line().await, "bye");
    let exit = soon(running.wait()).await;
    assert_eq!((exit.code(), exit.terminated(), exit.killed()), (Some(7), 1, 0));
    watch.assert_nobody().await;
}

#[tokio::test]
async fn kill_and_drop_at_once() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let mut running = started(&mut watch, "hold").await;
    running.kill();
    let exit = soon(running.wait()).await;
    assert_eq!((exit.signal(), exit.terminated()), (Some(9), 0));
    assert!(exit.killed() > COUNT as u32, "{exit:?}");
    let running = started(&mut watch, "ignore hold").await;
    drop(running);
    assert_eq!(alive(&watch.mark), Vec::<String>::new());
    watch.assert_nobody().await;
}

#[tokio::test]
async fn stopped_suspended_and_resumed() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let steps = "fork { say child ready hold } say leader hold";
    let mut running = watch.command(steps).isolate().start().await.unwrap();
    watch.lines(2).await;
    running.suspend();
    let Event::Stopped { signal } = soon(running.next_event()).await else { panic!("it stops") };
    assert_eq!(signal, libc::SIGTSTP);
    running.resume();
    // An init that somebody has stopped is woken by whatever ends the command.
    kill(parent_of(running.pid() as i32), libc::SIGSTOP);
    running.terminate(LONG);
    assert_eq!(soon(running.wait()).await.signal(), Some(15));
    watch.assert_nobody().await;
}

#[tokio::test]
async fn sigkill_to_the_init() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let mut running = started(&mut watch, "ignore hold").await;
    kill(parent_of(running.pid() as i32), libc::SIGKILL);
    let exit = soon(running.wait()).await;
    assert!(matches!(exit.into_result(), Err(Error::Killed { signal: libc::SIGKILL, .. })));
    watch.assert_nobody().await;
}

/// The kernel ends what is in the namespace, whatever it has made of its environment.
#[tokio::test]
async fn sigkill_to_the_keeper() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    for _ in 0..5 {
        let mut running = started(&mut watch, "ignore hold").await;
        kill(parent_of(parent_of(running.pid() as i32)), libc::SIGKILL);
        let exit = soon(running.wait()).await;
        assert_eq!(alive(&watch.mark), Vec::<String>::new());
        assert!(matches!(exit.into_result(), Err(Error::KeeperLost { .. })));
    }
    // The init comes to a program that is installed, as a child to be reaped.
    let steps = format!("program installed-isolated {}", family("ignore hold"));
    let mut child = watch.program(&steps).stdin(std::process::Stdio::null()).spawn().unwrap();
    watch.lines(COUNT + 1).await;
    kill(children_of(child.id())[0], libc::SIGKILL);
    let said = watch.nobody().await;
    assert!(said.contains("error=job: its keeper was killed, and it was ended"), "{said}");
    assert!(child.wait().unwrap().success());
    watch.assert_nobody().await;
}

#[tokio::test]
async fn sigkill_to_the_program() {
    if !is_permitted().await {
        return;
    }
    for (program, and_keeper) in [("isolated", false), ("installed-isolated", false), ("isolated", true)] {
        let mut watch = Watch::new();
        let steps = format!("program {program} {}", family("ignore hold"));
        let mut child =
            watch.program(&steps).process_group(0).stdin(std::process::Stdio::null()).spawn().unwrap();
        watch.lines(COUNT + 1).await;
        if and_keeper {
            // Both in one instant, as far as one who kills can.
            let keepers = children_of(child.id());
            kill(child.id() as i32, libc::SIGSTOP);
            assert_eq!(keepers.len(), 1);
            kill(keepers[0], libc::SIGKILL);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        watch.gone().await;
    }
}

fn children_of(pid: u32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_and_bombs() {
    if !is_permitted().await {
        return;
    }
    for steps in
        ["fork { chain } say up hold", "fork { fork { sessions } fork { sessions } chain } say up hold"]
    {
        let mut watch = Watch::new();
        let mut running = watch.command(steps).isolate().start().await.unwrap();
        watch.pid_of("up").await;
        running.terminate(Duration::ZERO);
        assert_eq!(soon(running.wait()).await.survivors(), 0, "{steps}");
        watch.assert_nobody().await;
    }
    let mut watch = Watch::new();
    let bomb = watch.command("fork { session ready bomb 9 } exit 0").isolate().grace(SHORT);
    assert!(!soon(bomb.run()).await.unwrap().leaks().is_empty());
    watch.assert_nobody().await;
}

/// The same keepers serve commands of both kinds.
#[tokio::test]
async fn keepers_serve_both_kinds() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let mut outer = watch.command("say outer hold").start().await.unwrap();
    watch.pid_of("outer").await;
    for _ in 0..20 {
        let isolated = soon(watch.command("fork { session ready hold }").isolate().grace(SHORT).run()).await;
        assert_eq!(isolated.unwrap().leaks().len(), 1);
        let plain = soon(watch.command("fork { session ready hold } exit 1").grace(SHORT).run()).await;
        assert!(matches!(plain, Err(Error::Failed { code: 1, exit, .. }) if exit.leaks().len() == 1));
    }
    outer.kill();
    soon(outer.wait()).await;
    watch.assert_nobody().await;
}

/// An end of its input or output that it has closed is closed: neither init nor keeper has it.
#[tokio::test]
async fn its_init_holds_none_of_its_pipes() {
    if !is_permitted().await {
        return;
    }
    use tokio::io::AsyncReadExt;
    let command = Command::shell("exec sleep 1000 >&- 2>&-").stdout(taskgroup_process::Stdio::piped());
    let mut running = command.isolate().start().await.unwrap();
    let mut rest = Vec::new();
    soon(running.stdout.take().unwrap().read_to_end(&mut rest)).await.unwrap();
    running.kill();
    soon(running.wait()).await;
}

/// Its `/proc` shows the pids outside, by which a keeper would find the wrong processes.
#[tokio::test]
async fn a_program_inside_starts_no_commands() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    soon(watch.command("program plain say never").isolate().run()).await.unwrap();
    let said = watch.nobody().await;
    assert!(said.contains("not-started=/proc is not of this program's PID namespace"), "{said}");
    assert!(!said.contains("never"), "{said}");
}

/// In a user namespace whose owner allows no more of them.
#[tokio::test]
async fn where_it_is_forbidden_the_error_names_the_setting() {
    if !is_permitted().await {
        return;
    }
    let mut watch = Watch::new();
    let own = std::env::current_exe().unwrap();
    let line = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let mut program = std::process::Command::new("unshare");
    program
        .args(["-U", "-r", "sh", "-c", line, "sh"])
        .arg(own)
        .args(watch.words("program isolated say never"));
    let mut child = match program.stdout(watch.writer()).spawn() {
        Ok(child) => child,
        Err(error) => return eprintln!("not tested here: unshare: {error}"),
    };
    drop(program);
    let said = watch.nobody().await;
    child.wait().unwrap();
    assert!(said.contains("user.max_user_namespaces is 0"), "{said}");
    assert!(!said.contains("never "), "{said}");
}
