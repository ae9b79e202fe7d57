//! What is cleaned up, and in which order, when a region is cut: by `finally`, by destructors, by a drop (R2, R10).

use std::future::pending;
use std::sync::Arc;

use taskgroup::{Ending, ErrorGroup, OnPanic, TaskGroup, finally, is_cancelled, shield, timeout};
use tokio::time::{Instant, sleep};

use crate::common::{Alive, Steps, within_an_hour};
use crate::{Group, Outcome, SECOND, cancelled_after};

/// A panic in a destructor.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("bomb");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_destructor_in_a_region_that_is_cut_is_one_failure() {
    let bombs = |error: ErrorGroup<&'static str>| {
        assert_eq!(error.len(), 1, "{error:#}");
        assert_eq!(error.first().unwrap().panic().unwrap().message(), Some("bomb"));
    };
    let collecting = || -> Group { TaskGroup::builder().on_panic(OnPanic::Collect).build() };
    let steps = Steps::default();

    let in_timeout = collecting();
    let noted = steps.clone();
    in_timeout.spawn(async move {
        let _ = timeout(SECOND, async {
            let _bomb = Bomb;
            pending::<()>().await
        })
        .await;
        noted.mark("never");
        Ok(())
    });
    bombs(within_an_hour(in_timeout.join()).await.unwrap_err());

    let in_finally = collecting();
    let noted = steps.clone();
    in_finally.spawn(finally(
        async {
            let _bomb = Bomb;
            pending::<Outcome>().await
        },
        async move |how| {
            assert!(matches!(how, Ending::Panicked), "{how:?}");
            sleep(SECOND).await;
            noted.mark("cleaned up");
        },
    ));
    sleep(SECOND).await;
    in_finally.cancel();
    bombs(within_an_hour(in_finally.join()).await.unwrap_err());

    let in_shield = collecting();
    let shielded = in_shield.run(async {
        shield(async {
            let _bomb = Bomb;
            sleep(SECOND).await;
        })
        .await;
        Ok(())
    });
    bombs(within_an_hour(shielded).await.unwrap_err());
    assert_eq!(steps.seen(), ["cleaned up"]);
}

/// Each cleanup runs once and is told the right ending: in a body, in the work and in the cleanup of another.
#[tokio::test(start_paused = true)]
async fn cleanups_nest() {
    let (began, steps) = (Instant::now(), Steps::default());
    let noted = steps.clone();
    let clean = async move |step: &'static str, how: Ending| {
        assert_eq!(matches!(how, Ending::Cancelled(_)), step != "after success", "{step}: {how:?}");
        assert!(!is_cancelled(), "a cleanup is shielded");
        sleep(SECOND).await;
        noted.mark(step);
    };
    let clean = Arc::new(clean);
    let work = async move {
        let in_body = async {
            let group = Group::new();
            let work = async {
                let innermost = finally(pending::<Outcome>(), async |how| clean("innermost", how).await);
                finally(innermost, async |how| clean("around it", how).await).await
            };
            group.run(work).await.map_err(|_| "failed")
        };
        let around_all = async |how: Ending| {
            let quick = finally(async { Outcome::Ok(()) }, async |how| clean("after success", how).await);
            quick.await.unwrap();
            let late = finally(pending::<Outcome>(), async |how| clean("out of time", how).await);
            assert!(timeout(SECOND, late).await.is_err());
            clean("around all", how).await;
        };
        finally(in_body, around_all).await
    };
    cancelled_after(SECOND, work).await.unwrap();
    assert_eq!(steps.seen(), ["innermost", "around it", "after success", "out of time", "around all"]);
    assert_eq!(began.elapsed(), 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_a_wait_gives_up_the_wait_alone() {
    let alive = Alive::new();
    let guard = alive.guard();
    let group = Group::new();
    // R20: a child that is still starting is the starter's, and is waited for.
    let began = Instant::now();
    let start = group.start::<(), (), _>(move |ready| async move {
        let (_ready, _guard) = (ready, guard);
        shield(sleep(3 * SECOND)).await;
        pending().await
    });
    assert!(within_an_hour(timeout(SECOND, start)).await.is_err());
    assert_eq!((began.elapsed(), alive.now()), (3 * SECOND, 0));

    // R11: a child that has started goes on.
    let guard = alive.guard();
    let mut child = group.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    assert!(within_an_hour(timeout(SECOND, &mut child)).await.is_err());
    assert!(within_an_hour(timeout(SECOND, group.wait_idle())).await.is_err());
    assert_eq!((alive.now(), group.len()), (1, 1));
    child.cancel();
    assert!(within_an_hour(timeout(SECOND, child)).await.unwrap().unwrap_err().is_cancelled());
    within_an_hour(timeout(SECOND, group.wait_idle())).await.unwrap();
    group.join().await.unwrap();
}

/// R2: what a timeout waits for is dropped with it.
#[tokio::test(start_paused = true)]
async fn a_timeout_dropped_while_it_drains_drops_what_it_waits_for() {
    let alive = Alive::new();
    let guard = alive.guard();
    let draining = timeout(SECOND, async {
        let group = Group::new();
        group.spawn::<()>(async move {
            let _guard = guard;
            shield(pending()).await
        });
        group.run(pending::<Outcome>()).await
    });
    let mut draining = Box::pin(draining);
    tokio::select! {
        result = &mut draining => panic!("the shield does not end: {result:?}"),
        () = sleep(5 * SECOND) => {}
    }
    assert_eq!((alive.now(), alive.ever()), (1, 1));
    drop(draining);
    assert_eq!(alive.now(), 0);
}
