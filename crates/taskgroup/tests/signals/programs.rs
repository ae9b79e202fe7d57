//! The programs that are sent signals. Each prints `ready` when it waits for one.

use std::future::pending;
use std::io::Write;
use std::process::{ExitCode, Termination};
use std::time::Duration;

use anyhow::bail;
use taskgroup::{CancelToken, Outcome, Runner, TaskGroup};
use tokio::sync::Notify;

/// The cleanup's closure runs.
static READY: Notify = Notify::const_new();

type Cleanup = fn(&CancelToken) -> anyhow::Result<()>;

pub(crate) fn run(name: &str) -> ExitCode {
    match name {
        "cleans up" => taskgroup::run(async |root: &TaskGroup| serve(root, cleans_up).await),
        "fails to clean up" => taskgroup::run(async |root: &TaskGroup| serve(root, fails).await),
        "never ends its cleanup" => taskgroup::run(async |root: &TaskGroup| serve(root, hangs).await),
        "has no time to clean up" => {
            Runner::new().grace(Duration::ZERO).run(async |root: &TaskGroup| serve(root, hangs).await)
        }
        "is supervised" => supervised().report(),
        "is supervised and hangs" => supervised_and_hangs(),
        "blocks a worker" => taskgroup::run(async |root: &TaskGroup| {
            root.task().name("stone").spawn::<()>(async { block() });
            pending::<anyhow::Result<()>>().await
        }),
        "blocks in a destructor" => taskgroup::run(async |_root: &TaskGroup| {
            let _stone = Stone;
            say("ready");
            pending::<anyhow::Result<()>>().await
        }),
        "blocks its body" => Runner::new().grace(Duration::ZERO).run(async |_root: &TaskGroup| -> _ {
            block();
            #[allow(unreachable_code)]
            Ok(())
        }),
        "ends with a value of its own" => taskgroup::run(async |root: &TaskGroup| {
            root.spawn(async { Ok(()) });
            Ok(ExitCode::from(7))
        }),
        "has a value and a task" => taskgroup::run(async |root: &TaskGroup| {
            root.spawn(async {
                say("ready");
                pending::<anyhow::Result<()>>().await
            });
            Ok(ExitCode::from(7))
        }),
        "fails" => taskgroup::run(async |root: &TaskGroup| {
            root.task().name("worker").spawn::<()>(async { bail!("out of paper") });
            Ok(())
        }),
        "fails and cleans up" => taskgroup::run(async |root: &TaskGroup| {
            root.task().name("worker").spawn(work(hangs));
            root.task().name("printer").spawn::<()>(async {
                READY.notified().await;
                bail!("out of paper")
            });
            pending::<anyhow::Result<()>>().await
        }),
        "panics" => taskgroup::run(async |root: &TaskGroup| {
            root.spawn::<()>(async { panic!("lost my way") });
            pending::<anyhow::Result<()>>().await
        }),
        other => unreachable!("no program {other:?}"),
    }
}

#[tokio::main]
async fn supervised() -> Outcome {
    Runner::new().name("app").supervise(async |root: &TaskGroup| serve(root, cleans_up).await).await
}

#[tokio::main]
async fn supervised_and_hangs() -> ExitCode {
    Runner::new().supervise(async |root: &TaskGroup| serve(root, hangs).await).await.exit()
}

/// A worker that cleans up when it is cancelled, and a body that waits.
async fn serve(root: &TaskGroup, cleanup: Cleanup) -> anyhow::Result<()> {
    let _body = Says("body dropped");
    root.task().name("worker").spawn(work(cleanup));
    pending().await
}

/// The cleanup is that of a closure in a group of the task's own: the frozen task waits for it.
async fn work(cleanup: Cleanup) -> anyhow::Result<()> {
    let _worker = Says("worker dropped");
    let inner = TaskGroup::new();
    inner.task().name("cleanup").spawn_blocking(move |token| {
        say("ready");
        READY.notify_one();
        while !token.is_cancelled() {
            std::thread::yield_now();
        }
        cleanup(token)
    });
    inner.run(pending()).await?;
    say("not cut");
    Ok(())
}

fn cleans_up(token: &CancelToken) -> anyhow::Result<()> {
    for line in ["cleanup 1", "cleanup 2", "cleanup 3"] {
        say(line);
    }
    Ok(token.check()?)
}

fn fails(_token: &CancelToken) -> anyhow::Result<()> {
    bail!("cannot save the queue")
}

/// Until it is told to go on.
fn hangs(_token: &CancelToken) -> anyhow::Result<()> {
    say("cleanup begins");
    std::io::stdin().read_line(&mut String::new())?;
    say("cleanup ends");
    Ok(())
}

fn block() -> ! {
    say("ready");
    loop {
        std::thread::park();
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

struct Says(&'static str);

impl Drop for Says {
    fn drop(&mut self) {
        say(self.0);
    }
}

struct Stone;

impl Drop for Stone {
    fn drop(&mut self) {
        say("blocked");
        loop {
            std::thread::park();
        }
    }
}
