//! `Runner` on the paused clock, told to stop by futures; real signals are in `signals/`.

#![cfg(feature = "signal")]

mod common;

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::{ExitCode, Termination};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use common::{Alive, Guard};
use futures::{FutureExt, poll};
use taskgroup::{CancelReason, NodeKind, OnFailure, OnPanic, Outcome, Runner, Signal, TaskGroup};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn runner() -> Runner {
    Runner::new().without_signals().quiet()
}

/// A signal after so many seconds.
async fn after(seconds: u32, signal: Signal) -> Signal {
    sleep(SECOND * seconds).await;
    signal
}

/// A signal when the other side says so.
fn on_demand(signal: Signal) -> (oneshot::Sender<()>, impl Future<Output = Signal> + Send + 'static) {
    let (sender, receiver) = oneshot::channel();
    let stop = async move {
        match receiver.await {
            Ok(()) => signal,
            Err(_) => pending().await,
        }
    };
    (sender, stop)
}

/// What a task waits for that a cancel does not end: a closure in a group of its own.
struct Stubborn {
    started: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
    guard: Guard,
}

impl Stubborn {
    fn new(alive: &Alive) -> (Self, oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((started, has_started), (release, released)) = (oneshot::channel(), oneshot::channel());
        (Self { started, released, guard: alive.guard() }, has_started, release)
    }

    async fn work(self) -> anyhow::Result<()> {
        let _guard = self.guard;
        let (started, released) = (self.started, self.released);
        let inner: TaskGroup = TaskGroup::new();
        inner.spawn_blocking(move |_token| {
            started.send(()).expect("the test waits for it");
            Ok(released.blocking_recv()?)
        });
        Ok(inner.run(pending()).await?)
    }
}

#[tokio::test(start_paused = true)]
async fn the_root_is_cancelled_with_the_signal_as_the_reason() {
    let handle = Mutex::new(None);
    let outcome = runner()
        .stop_on(after(3, Signal::Terminate))
        .supervise(async |root: &TaskGroup| {
            *handle.lock().unwrap() = Some(root.spawn(pending::<anyhow::Result<()>>()));
            assert_eq!(root.name(), Some("main"));
            pending::<anyhow::Result<()>>().await
        })
        .await;
    assert_eq!((outcome.signal(), outcome.is_forced()), (Some(Signal::Terminate), false));
    let errors = outcome.result().unwrap_err();
    assert!(errors.is_cancelled());
    assert_eq!(errors.cause().unwrap().reason(), &CancelReason::Signal(Signal::Terminate));
    let cut = handle.lock().unwrap().take().unwrap().into_result().unwrap_err();
    assert_eq!(cut.reason().unwrap().root().reason(), &CancelReason::Signal(Signal::Terminate));
    assert_eq!(outcome.report(), ExitCode::from(143));
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_is_eight_seconds_from_the_signal() {
    let alive = Alive::new();
    let (stubborn, started, release) = Stubborn::new(&alive);
    let mut run = pin!(runner().stop_on(after(3, Signal::Interrupt)).supervise(async |root: &TaskGroup| {
        root.spawn(stubborn.work());
        pending::<anyhow::Result<()>>().await
    }));
    assert!(poll!(run.as_mut()).is_pending());
    started.await.unwrap();
    advance(3 * SECOND).await;
    assert!(poll!(run.as_mut()).is_pending());
    advance(8 * SECOND - Duration::from_millis(1)).await;
    assert!(poll!(run.as_mut()).is_pending());
    assert_eq!(alive.now(), 1);
    advance(Duration::from_millis(1)).await;
    let outcome = run.await;
    assert_eq!((outcome.signal(), outcome.is_forced()), (Some(Signal::Interrupt), true));
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn a_grace_period_without_end_waits_for_the_cleanup() {
    let alive = Alive::new();
    let (stubborn, started, release) = Stubborn::new(&alive);
    let (stop, on_stop) = on_demand(Signal::Interrupt);
    let runner = runner().grace(Duration::MAX).stop_on(on_stop);
    let mut run = pin!(runner.supervise(async |root: &TaskGroup| {
        root.spawn(stubborn.work());
        pending::<anyhow::Result<()>>().await
    }));
    assert!(poll!(run.as_mut()).is_pending());
    started.await.unwrap();
    stop.send(()).unwrap();
    assert!(poll!(run.as_mut()).is_pending());
    advance(1_000_000 * SECOND).await;
    assert!(poll!(run.as_mut()).is_pending());
    release.send(()).unwrap();
    let outcome = run.await;
    assert_eq!((outcome.signal(), outcome.is_forced()), (Some(Signal::Interrupt), false));
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_drops_every_task() {
    let alive = Alive::new();
    let (stubborn, started, release) = Stubborn::new(&alive);
    let ((first, on_first), (second, on_second)) =
        (on_demand(Signal::Terminate), on_demand(Signal::Interrupt));
    let runner = runner().stop_on(on_first).stop_on(on_second);
    let mut run = pin!(runner.supervise(async |root: &TaskGroup| {
        root.spawn(stubborn.work());
        pending::<anyhow::Result<()>>().await
    }));
    assert!(poll!(run.as_mut()).is_pending());
    started.await.unwrap();
    first.send(()).unwrap();
    assert!(poll!(run.as_mut()).is_pending());
    assert_eq!(alive.now(), 1);
    second.send(()).unwrap();
    let outcome = run.now_or_never().expect("a forced end waits for nobody");
    // The first one stopped it: it is that one's code.
    assert_eq!((outcome.signal(), outcome.is_forced()), (Some(Signal::Terminate), true));
    assert!(outcome.result().unwrap_err().is_cancelled());
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    assert_eq!(outcome.report(), ExitCode::from(143));
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn a_forced_end_still_tells_what_had_failed() {
    let alive = Alive::new();
    let (stubborn, started, release) = Stubborn::new(&alive);
    let (stop, on_stop) = on_demand(Signal::Interrupt);
    let runner = runner().grace(Duration::ZERO).stop_on(on_stop);
    let mut run = pin!(runner.supervise(async |root: &TaskGroup| {
        root.spawn(stubborn.work());
        let panics = alive.clone();
        root.spawn::<()>(async move {
            started.await?;
            let _second = panics.guard();
            panic!("lost my way");
        });
        pending::<anyhow::Result<()>>().await
    }));
    while alive.ever() == 1 {
        assert!(poll!(run.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    let outcome = run.await;
    // The panic is not resumed: it is a failure among the others.
    assert_eq!((outcome.signal(), outcome.is_forced()), (Some(Signal::Interrupt), true));
    let errors = outcome.into_result().unwrap_err();
    assert_eq!(errors.first().unwrap().panic().unwrap().message(), Some("lost my way"));
    assert!(matches!(errors.cause().unwrap().reason(), CancelReason::SiblingPanicked(_)));
    assert_eq!(alive.now(), 0);
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn the_value_of_a_body_that_had_ended_is_kept_and_the_code_is_the_signals() {
    let stopped = || {
        runner().stop_on(after(1, Signal::Interrupt)).supervise(async |root: &TaskGroup| {
            root.spawn(pending::<anyhow::Result<()>>());
            Ok(ExitCode::from(9))
        })
    };
    let outcome = stopped().await;
    assert_eq!((outcome.signal(), outcome.is_forced()), (Some(Signal::Interrupt), false));
    assert_eq!(outcome.into_result().unwrap(), ExitCode::from(9));
    assert_eq!(stopped().await.report(), ExitCode::from(130));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ends_by_itself_was_not_stopped() {
    let outcome = runner()
        .stop_on(after(1, Signal::Interrupt))
        .supervise(async |_root: &TaskGroup| Ok(ExitCode::from(7)))
        .await;
    assert_eq!((outcome.signal(), outcome.is_forced()), (None, false));
    assert_eq!(outcome.report(), ExitCode::from(7));
}

#[tokio::test(start_paused = true)]
async fn a_root_that_cancels_itself_before_it_has_a_value_gives_no_success() {
    let outcome: Outcome = runner()
        .supervise(async |root: &TaskGroup| {
            root.cancel_because("closing time");
            pending().await
        })
        .await;
    assert_eq!(outcome.signal(), None);
    let cause = outcome.result().unwrap_err().cause().unwrap().to_string();
    assert_eq!((cause.as_str(), outcome.report()), ("closing time", ExitCode::FAILURE));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_uses_up_its_budget_does_not_keep_signals_away() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let spawner = sender.clone();
    let outcome: Outcome = runner()
        .stop_on(tokio::task::coop::cooperative(async { Signal::Interrupt }))
        .supervise(async |_root: &TaskGroup| {
            spawner.send(())?;
            while receiver.recv().await.is_some() {
                spawner.send(())?;
            }
            Ok(())
        })
        .await;
    assert_eq!(outcome.signal(), Some(Signal::Interrupt));
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_supervised_program_drops_its_tasks() {
    let alive = Alive::new();
    let guard = alive.guard();
    let mut run = Box::pin(runner().supervise(async |root: &TaskGroup| {
        root.spawn(async move {
            let _guard = guard;
            pending::<anyhow::Result<()>>().await
        });
        pending::<anyhow::Result<()>>().await
    }));
    assert!(poll!(run.as_mut()).is_pending());
    assert_eq!(alive.now(), 1);
    drop(run);
    assert_eq!(alive.now(), 0);
}

#[test]
fn a_panic_goes_through_when_everything_has_ended() {
    let alive = Alive::new();
    let guard = alive.guard();
    let run = || {
        runner().worker_threads(1).block_on(async |root: &TaskGroup| {
            root.spawn(async move {
                let _guard = guard;
                pending::<anyhow::Result<()>>().await
            });
            root.spawn::<()>(async { panic!("lost my way") });
            pending::<anyhow::Result<()>>().await
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"lost my way"));
    assert_eq!((alive.now(), alive.ever()), (0, 1));
}

#[test]
fn settings_reach_the_group_and_the_runtime() {
    let outcome = Runner::new()
        .name("app")
        .worker_threads(3)
        .block_on(async |root: &TaskGroup| {
            assert_eq!(root.name(), Some("app"));
            let me = taskgroup::current().unwrap();
            assert_eq!((me.kind(), me.location().file()), (NodeKind::Body, file!()));
            Ok(tokio::runtime::Handle::current().metrics().num_workers())
        })
        .unwrap();
    assert_eq!(outcome.into_result().unwrap(), 3);
    let paused = {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true);
        runtime
    };
    let outcome = Runner::new().runtime(paused).block_on(async |_root: &TaskGroup| {
        let begin = tokio::time::Instant::now();
        sleep(3600 * SECOND).await;
        Ok(begin.elapsed())
    });
    assert_eq!(outcome.unwrap().into_result().unwrap(), 3600 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_root_group_has_the_settings_of_any_group() {
    let runner = runner().on_failure(OnFailure::Continue).on_panic(OnPanic::Collect).max_failures(2);
    let outcome: Outcome<()> = runner
        .supervise(async |root: &TaskGroup| {
            root.spawn::<()>(async { panic!("lost my way") });
            for _ in 0..3 {
                root.spawn::<()>(async { anyhow::bail!("out of paper") });
            }
            root.wait_idle().await;
            Ok(())
        })
        .await;
    let errors = outcome.into_result().unwrap_err();
    assert_eq!((errors.len(), errors.more(), errors.cause().is_none()), (2, 2, true));
    assert!(errors.first().unwrap().panic().is_some());
}

#[test]
fn a_body_need_not_be_send() {
    let seven = Rc::new(7);
    let outcome = runner().block_on(async |_root: &TaskGroup| {
        tokio::task::yield_now().await;
        Ok(*seven)
    });
    assert_eq!(outcome.unwrap().into_result().unwrap(), 7);
}

#[tokio::test]
async fn a_supervised_program_can_be_spawned() {
    let run = runner().supervise(async |root: &TaskGroup| Ok(root.spawn(async { Ok(7) }).await?));
    assert_eq!(tokio::spawn(run).await.unwrap().into_result().unwrap(), 7);
}

#[test]
fn an_error_of_any_printable_type_will_do() {
    let code = runner().run(async |root| {
        root.spawn::<()>(async { Err("out of paper") });
        Ok(())
    });
    assert_eq!(code, ExitCode::FAILURE);
    let boxed: Result<Outcome<(), Box<dyn std::error::Error + Send + Sync>>, _> =
        runner().block_on(async |_root| Err("out of paper")?);
    assert_eq!(boxed.unwrap().result().unwrap_err().len(), 1);
}
