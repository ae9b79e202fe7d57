//! Whole programs over this crate: what a test is to kill, or what is to have no other test beside it.

use std::sync::Arc;
use std::time::Duration;

use taskgroup_process::{Command, Error};

use super::helper::say;

/// Runs the program of that name, over a command that does those steps; then it ends.
pub(crate) fn run(name: &str, steps: &[&str], mark: &str) -> ! {
    let words: Vec<String> = ["@", mark].iter().chain(steps).map(|word| (*word).to_owned()).collect();
    let is_isolated = name.ends_with("isolated");
    let command = move || {
        let own = std::env::current_exe().unwrap();
        let command = Command::new(own).args(&words).name("job").grace(Duration::from_secs(20));
        let command = if is_isolated { command.isolate() } else { command };
        match std::env::var_os("TASKGROUP_TEST_CGROUP") {
            Some(folder) => command.cgroup(folder),
            None => command,
        }
    };
    if name.starts_with("installed") {
        assert!(taskgroup_process::install());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match name {
        "plain" | "grouped" | "installed" | "isolated" | "installed-isolated" => {
            let result = runtime.block_on(command().run());
            say(&told(&result));
        }
        // SIGTERM cancels the group.
        "gentle" => {
            let ended = runtime.block_on(gentle(command()));
            say(if ended { "gentle-end" } else { "gentle-error" });
        }
        "storm" => say(&format!("storm-cancelled={}", runtime.block_on(storm(Arc::new(command))))),
        // The runtime is dropped while the command runs.
        "dropped" => {
            runtime.spawn(command().run());
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
        }
        // One command before the program has given up its rights, one after.
        "installed-changes" => {
            let line = "umask; ulimit -n; id -u";
            let show = || runtime.block_on(Command::shell(line).output()).unwrap().stdout;
            let shown = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace('\n', "/");
            say(&format!("before={}", shown(show())));
            // SAFETY: plain calls; the limit is readable.
            unsafe {
                libc::umask(0o27);
                let limit = libc::rlimit { rlim_cur: 123, rlim_max: 234 };
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                libc::setresuid(65534, 65534, 65534);
            }
            say(&format!("after={}", shown(show())));
        }
        "hasty" => {
            let result = runtime.block_on(command().grace(Duration::from_millis(1)).run());
            say(&format!("survivors={}", result.unwrap().survivors()));
        }
        other => panic!("no such program: {other}"),
    }
    drop(runtime);
    if !name.starts_with("installed") {
        say(if has_children() { "children-left" } else { "children-none" });
    }
    std::process::exit(0);
}

fn told(result: &Result<taskgroup_process::Exit, Error>) -> String {
    match result {
        Err(Error::NotStarted { source, .. }) => format!("not-started={source}"),
        Ok(exit) => format!("ok-code={:?}-leaks={}", exit.code(), exit.leaks().len()),
        Err(error) => format!("error={error}"),
    }
}

async fn gentle(command: Command) -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let ended = taskgroup::scope::<(), taskgroup::Error, _>(async |tg| {
        tg.spawn_into(command.run());
        say("gentle");
        terminated.recv().await;
        tg.cancel();
        Ok(())
    })
    .await;
    ended.is_ok()
}

/// 200 commands, 20 descendants each; cancelled when half of the commands run. How many were.
async fn storm(command: Arc<impl Fn() -> Command + Send + Sync + 'static>) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let running = Arc::new(AtomicUsize::new(0));
    let notify = Arc::new(tokio::sync::Notify::new());
    let ended = taskgroup::scope::<(), taskgroup::Error, _>(async |tg| {
        for _ in 0..200 {
            let (command, running, notify) =
                (Arc::clone(&command), Arc::clone(&running), Arc::clone(&notify));
            let seen = move |_, bytes: &[u8]| {
                let leaders = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"leader"));
                if running.fetch_add(leaders.count(), Ordering::Relaxed) > 100 {
                    notify.notify_one();
                }
            };
            tg.spawn_into(async move { command().on_output(seen).run().await });
        }
        notify.notified().await;
        tg.cancel();
        Ok(())
    })
    .await;
    assert!(ended.is_ok());
    running.load(Ordering::Relaxed)
}

/// Whether this process has any child, dead ones included.
fn has_children() -> bool {
    // SAFETY: zeroed is a valid `siginfo_t`, and it is writable.
    let looked = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    };
    looked == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD)
}
