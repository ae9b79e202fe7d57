//! Blocking closures are not cut, and neither are the scopes in them; the groups in them are cancelled (R4).

use std::future::{Future, pending};
use std::sync::mpsc;
use std::time::Duration;

use taskgroup::{CancelScope, TaskGroup, timeout};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

use crate::common::Alive;
use crate::{Group, HOUR, Outcome, SECOND};

/// Runs `test` on a runtime with a paused clock, and fails if it hangs. The limit is real time, for the paused
/// clock does not move by itself while a blocking closure runs; a test that passes does not look at it.
fn with_blocking_closures<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(test());
        let _ = done.send(());
    });
    match is_done.recv_timeout(Duration::from_secs(30)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Its own limit holds: an outer deadline that has passed before neither cuts it nor holds it up.
#[test]
fn a_timeout_in_a_blocking_closure_keeps_its_own_time() {
    with_blocking_closures(|| async {
        let (started, is_started) = oneshot::channel();
        let alive = Alive::new();
        let guard = alive.guard();
        let limited = timeout(SECOND, async {
            let group = Group::new();
            group.spawn_blocking(move |_| {
                let _guard = guard;
                let inner = timeout(3 * SECOND, async {
                    started.send(()).unwrap();
                    pending::<()>().await
                });
                let elapsed = Handle::current().block_on(inner).unwrap_err();
                assert_eq!(elapsed.after(), 3 * SECOND);
                Ok(())
            });
            group.join().await
        });
        let pass = async {
            is_started.await.unwrap();
            advance(2 * SECOND).await;
            yield_now().await;
            assert_eq!(alive.now(), 1, "the closure is waited for");
            advance(SECOND).await;
        };
        let (result, ()) = tokio::join!(limited, pass);
        assert_eq!(alive.now(), 0);
        assert_eq!(result.unwrap_err().after(), SECOND);
    });
}

/// The group is cancelled with the closure, as R4 says; its own deadline is still ahead then.
#[test]
fn a_group_with_a_deadline_in_a_blocking_closure_ends() {
    with_blocking_closures(|| async {
        let (started, is_started) = oneshot::channel();
        let limited = timeout(SECOND, async {
            let group = Group::new();
            group.spawn_blocking(move |_| {
                let inner: Group = TaskGroup::builder().timeout(3 * SECOND).build();
                let body = async {
                    started.send(()).unwrap();
                    pending::<Outcome>().await
                };
                let ended = Handle::current().block_on(CancelScope::new().run(inner.run(body)));
                let error = ended.map_err(|_| "the scope was cut")?.unwrap_err();
                if error.is_cancelled() { Ok(()) } else { Err("not cancelled") }
            });
            group.join().await
        });
        let pass = async {
            is_started.await.unwrap();
            advance(SECOND).await;
        };
        let (result, ()) = tokio::join!(limited, pass);
        assert!(result.is_err_and(|elapsed| elapsed.after() == SECOND));
    });
}

/// R4: also through a scope, which is not cut itself. The clock stands still all the time.
#[test]
fn the_cancel_of_a_blocking_closure_reaches_the_groups_in_its_scopes() {
    with_blocking_closures(|| async {
        let began = Instant::now();
        let alive = Alive::new();
        for opened_after_the_cancel in [false, true] {
            let (started, is_started) = oneshot::channel();
            let guard = alive.guard();
            let group = Group::new();
            let closure = group.spawn_blocking(move |token| {
                let mut started = Some(started);
                if opened_after_the_cancel {
                    started.take().unwrap().send(()).unwrap();
                    Handle::current().block_on(token.cancelled());
                }
                let in_scope = timeout(HOUR, async {
                    let inner = Group::new();
                    let child = inner.spawn::<()>(async move {
                        let _guard = guard;
                        pending().await
                    });
                    if let Some(started) = started {
                        started.send(()).unwrap();
                    }
                    inner.join().await.map_err(|_| "the child failed")?;
                    Ok(child.into_result().unwrap_err().is_cancelled())
                });
                Handle::current().block_on(in_scope).map_err(|_| "the scope was cut")?
            });
            is_started.await.unwrap();
            group.cancel();
            group.join().await.unwrap();
            assert!(closure.into_result().unwrap());
            assert_eq!((began.elapsed(), alive.now()), (Duration::ZERO, 0));
        }
    });
}

/// R2, R15: a closure that has started cannot be dropped, so its group's exit waits for it, whoever polls that.
#[test]
fn a_grace_period_does_not_end_a_blocking_closure() {
    for host_is_cancelled in [false, true] {
        with_blocking_closures(move || async move {
            let alive = Alive::new();
            let guard = alive.guard();
            let (started, is_started) = oneshot::channel();
            let (release, released) = mpsc::channel::<()>();
            let (cancel, cancelled) = oneshot::channel();
            let outer = Group::new();
            let host = outer.spawn(async move {
                let group: Group = TaskGroup::builder().grace(SECOND).build();
                group.spawn_blocking(move |_| {
                    let _guard = guard;
                    started.send(()).unwrap();
                    released.recv().map_err(|_| "not released")
                });
                let body = async {
                    cancelled.await.map_err(|_| "nobody cancels")?;
                    group.cancel();
                    pending::<Outcome>().await
                };
                let ended = group.run(body).await;
                if ended.is_err_and(|error| error.is_cancelled()) { Ok(()) } else { Err("not cancelled") }
            });
            is_started.await.unwrap();
            match host_is_cancelled {
                true => host.cancel(),
                false => cancel.send(()).unwrap(),
            }
            for _ in 0..4 {
                advance(SECOND).await;
                yield_now().await;
            }
            assert_eq!((alive.now(), host.is_finished()), (1, false), "host cancelled: {host_is_cancelled}");
            release.send(()).unwrap();
            outer.join().await.unwrap();
            assert_eq!(alive.now(), 0);
            assert_eq!(host.into_result().is_ok(), !host_is_cancelled);
        });
    }
}
