//! CPython's `test_runners.py`: `asyncio.run` and `Runner` are `Runner::block_on` and `Runner::supervise`.

use std::future::{IntoFuture, Ready, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use taskgroup::{CancelReason, Outcome, Runner, Signal, Spawner, TaskGroup};
use tokio::sync::oneshot;

use super::support::{Alive, Guard};

/// No system's signals: those are sent in `tests/signals/`.
fn runner() -> Runner {
    Runner::new().current_thread().without_signals().quiet()
}

/// A background child at a wait, and its guard.
fn spawn_background(root: &TaskGroup, guard: Guard) {
    root.task().background().eager().spawn(async move {
        let _guard = guard;
        pending::<anyhow::Result<()>>().await
    });
}

/// What refuses to run inside a runtime says.
fn refusal(run: impl FnOnce()) -> &'static str {
    *catch_unwind(AssertUnwindSafe(run)).unwrap_err().downcast().unwrap()
}

/// The value of the body comes out.
#[test]
fn line_01_asyncio_run_return() {
    let outcome = runner().block_on(async |_root: &TaskGroup| Ok(42)).unwrap();
    assert_eq!(outcome.signal(), None);
    assert_eq!(outcome.into_result().unwrap(), 42);
}

/// The error of the body comes out as it was, in the group (R8).
#[test]
fn line_02_asyncio_run_raises() {
    let outcome: Outcome<(), _> = runner().block_on(async |_root| Err("spam")).unwrap();
    let failure = outcome.into_result().unwrap_err().into_first().unwrap();
    assert!(failure.is_body());
    assert_eq!(failure.into_error().unwrap(), "spam");
}

/// Inside a runtime it is refused, by words that say what to do.
#[tokio::test]
async fn line_05_asyncio_run_from_running_loop() {
    let ran = Alive::new();
    let said = refusal(|| {
        let _outcome = runner().block_on(async |_root: &TaskGroup| Ok(ran.guard()));
    });
    assert!(said.contains("were called inside one: there, await `Runner::supervise`"), "{said}");
    assert_eq!(ran.ever(), 0);
}

/// A background child that is asleep when the body returns is cancelled and waited for; then the value comes.
#[test]
fn line_06_asyncio_run_cancels_hanging_tasks() {
    let alive = Alive::new();
    let outcome = runner().block_on(async |root: &TaskGroup| {
        spawn_background(root, alive.guard());
        Ok(0)
    });
    assert_eq!((alive.now(), alive.ever()), (0, 1));
    assert_eq!(outcome.unwrap().into_result().unwrap(), 0);
}

/// R8: a leftover child that fails while it is cancelled is not told by the by: its failure comes out, in
/// the place of the value.
#[test]
fn line_07_asyncio_run_reports_hanging_tasks_errors() {
    let outcome = runner().block_on(async |root: &TaskGroup| {
        let (started, has_started) = oneshot::channel();
        root.task().name("leftover").background().spawn_blocking::<()>(|token| {
            started.send(()).unwrap();
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
            anyhow::bail!("division by zero")
        });
        has_started.await?;
        Ok(0)
    });
    let errors = outcome.unwrap().into_result().unwrap_err();
    assert_eq!((errors.len(), errors.first().unwrap().name()), (1, Some("leftover")));
}

/// A runner is used once, by type; what it ran is over when it returns, and takes nothing more.
#[test]
fn line_16_run() {
    let escaped = Mutex::new(None::<Spawner>);
    let outcome = runner().block_on(async |root: &TaskGroup| {
        *escaped.lock().unwrap() = Some(root.spawner());
        Ok("done")
    });
    assert_eq!(outcome.unwrap().into_result().unwrap(), "done");
    let spawner = escaped.into_inner().unwrap().unwrap();
    assert!(spawner.is_closed());
    assert!(spawner.try_spawn(ready(Ok(()))).is_err());
}

/// The body awaits any future.
#[test]
fn line_18_run_future() {
    let outcome = runner().block_on(async |_root: &TaskGroup| Ok(ready("done").await));
    assert_eq!(outcome.unwrap().into_result().unwrap(), "done");
}

/// And whatever becomes one.
#[test]
fn line_19_run_awaitable() {
    struct Awaitable;
    impl IntoFuture for Awaitable {
        type Output = &'static str;
        type IntoFuture = Ready<&'static str>;

        fn into_future(self) -> Self::IntoFuture {
            ready("done")
        }
    }
    let outcome = runner().block_on(async |_root: &TaskGroup| Ok(Awaitable.await));
    assert_eq!(outcome.unwrap().into_result().unwrap(), "done");
}

/// To run inside a run is refused; what was offered is dropped, and the outer one goes on.
#[test]
fn line_24_recursive_run() {
    let alive = Alive::new();
    let outcome = runner().block_on(async |_root: &TaskGroup| {
        let guard = alive.guard();
        let said = refusal(|| {
            let offered = async move |_root: &TaskGroup| Ok(guard);
            let _outcome = runner().block_on(offered);
        });
        assert_eq!((alive.now(), alive.ever()), (0, 1));
        Ok(said)
    });
    assert!(outcome.unwrap().into_result().unwrap().contains("`Runner::supervise`"));
}

/// An interrupt while the body spins through yields: it is cut, its destructors run, the outcome says so.
#[test]
fn line_25_interrupt_call_soon() {
    let (alive, turns) = (Alive::new(), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&turns);
    let tenth = async move {
        while *counted.lock().unwrap() < 10 {
            tokio::task::yield_now().await;
        }
        Signal::Interrupt
    };
    let outcome: Outcome = runner()
        .stop_on(tenth)
        .block_on(async |_root: &TaskGroup| {
            let _guard = alive.guard();
            loop {
                *turns.lock().unwrap() += 1;
                tokio::task::yield_now().await;
            }
        })
        .unwrap();
    assert_eq!((outcome.signal(), outcome.is_forced()), (Some(Signal::Interrupt), false));
    assert!(outcome.result().unwrap_err().is_cancelled());
    assert_eq!((*turns.lock().unwrap(), alive.now(), alive.ever()), (10, 0, 1));
}

/// An interrupt while the body waits for a future: that is dropped with it.
#[test]
fn line_26_interrupt_wait() {
    let (waits, is_waiting) = oneshot::channel();
    let (mut kept, end) = oneshot::channel::<()>();
    let outcome: Outcome = runner()
        .stop_on(async {
            is_waiting.await.unwrap();
            Signal::Interrupt
        })
        .block_on(async |_root: &TaskGroup| {
            waits.send(()).unwrap();
            Ok(end.await?)
        })
        .unwrap();
    assert_eq!(outcome.signal(), Some(Signal::Interrupt));
    assert!(kept.is_closed());
    assert!(tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        kept.closed().await;
        true
    }));
}

/// Somebody else had cancelled the program when the interrupt came: it was cancelled, not interrupted.
#[test]
fn line_27_interrupt_cancelled_task() {
    let (cancelled, is_cancelled) = oneshot::channel();
    let outcome: Outcome = runner()
        .stop_on(async {
            is_cancelled.await.unwrap();
            Signal::Interrupt
        })
        .block_on(async |root: &TaskGroup| {
            // It answers its token only when the interrupt has been seen to change nothing.
            root.spawn_blocking(|token| {
                while !token.is_cancelled() {
                    std::thread::yield_now();
                }
                Ok(())
            });
            root.cancel_because("by somebody else");
            cancelled.send(()).unwrap();
            pending::<anyhow::Result<()>>().await
        })
        .unwrap();
    assert_eq!((outcome.signal(), outcome.is_forced()), (None, false));
    let errors = outcome.into_result().unwrap_err();
    let by = CancelReason::Requested(Some("by somebody else".into()));
    assert_eq!((errors.is_cancelled(), errors.cause().unwrap().reason()), (true, &by));
}

/// A signal that cannot be listened for is one line on standard error, and the program runs.
#[test]
fn line_28_signal_install_not_supported_ok() {
    let mut without_io = tokio::runtime::Builder::new_current_thread();
    without_io.enable_time();
    let outcome = Runner::new().runtime(without_io).block_on(async |_root: &TaskGroup| Ok(42));
    assert_eq!(outcome.unwrap().into_result().unwrap(), 42);
}
