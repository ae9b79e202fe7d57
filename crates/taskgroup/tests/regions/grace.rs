//! Grace periods (R15).

use std::future::pending;
use std::time::Duration;

use taskgroup::{ErrorGroup, TaskGroup, finally, shield};
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::common::{Alive, within_an_hour};
use crate::{Group, HOUR, Outcome, SECOND, cut_by_deadline};

/// A task whose group has a grace period, and a child that answers a cancel with an error.
async fn failing_under_grace(group: Group) -> Outcome {
    let body = async {
        group.task().cooperative::<(), _, _>(|token| async move {
            token.cancelled().await;
            sleep(SECOND).await;
            Err("failed while draining")
        });
        pending::<Outcome>().await
    };
    group.run(body).await.map_err(|error| *error.first().unwrap().error().unwrap())
}

fn only_error(result: Result<(), ErrorGroup<&'static str>>) -> &'static str {
    let error = result.unwrap_err();
    assert_eq!(error.len(), 1);
    error.first().unwrap().error().unwrap()
}

/// R9, R12: the failure is delivered to the frozen task, whether the group has drained or was given up.
#[tokio::test(start_paused = true)]
async fn a_failure_outlives_the_grace_period_of_its_group_in_a_frozen_host() {
    for stubborn in [false, true] {
        let (began, alive) = (Instant::now(), Alive::new());
        let guard = alive.guard();
        let outer = Group::new();
        outer.spawn(async move {
            let group: Group = TaskGroup::builder().grace(5 * SECOND).build();
            if stubborn {
                group.task().cooperative::<(), _, _>(|_| async move {
                    let _guard = guard;
                    pending().await
                });
            }
            failing_under_grace(group).await
        });
        sleep(SECOND).await;
        outer.cancel();
        assert_eq!(only_error(within_an_hour(outer.join()).await), "failed while draining");
        assert_eq!(alive.now(), 0);
        assert_eq!(began.elapsed(), if stubborn { 6 * SECOND } else { 2 * SECOND });
    }
}

/// R9, R15: a group that has drained is not given up when its grace period passes beside one that still drains.
#[tokio::test(start_paused = true)]
async fn a_failure_of_a_group_that_has_drained_is_not_lost_beside_a_slower_one() {
    let began = Instant::now();
    let outer = Group::new();
    outer.spawn(async {
        let slow = Group::new();
        slow.spawn(async {
            shield(sleep(20 * SECOND)).await;
            Ok(())
        });
        let failing = failing_under_grace(TaskGroup::builder().grace(5 * SECOND).build());
        let draining = async { slow.run(pending::<Outcome>()).await.map_err(|_| "cut") };
        tokio::try_join!(failing, draining).map(drop)
    });
    sleep(SECOND).await;
    outer.cancel();
    assert_eq!(only_error(within_an_hour(outer.join()).await), "failed while draining");
    assert_eq!(began.elapsed(), 20 * SECOND);
}

#[derive(Clone, Copy, Debug)]
enum Stubborn {
    Cooperative,
    EagerWithAGroup,
    Shielded,
    InFinally,
}

/// Spawns a child that does not end when it is cancelled.
fn spawn_stubborn(group: &Group, kind: Stubborn, background: bool, alive: &Alive) {
    let guard = alive.guard();
    let mut child = group.task();
    if background {
        child = child.background();
    }
    match kind {
        Stubborn::Cooperative => drop(child.cooperative::<(), _, _>(|_| async move {
            let _guard = guard;
            pending().await
        })),
        Stubborn::EagerWithAGroup => drop(child.eager().cooperative(|_| async move {
            let _guard = guard;
            let inner = Group::new();
            inner.spawn::<()>(pending());
            inner.run(pending::<Outcome>()).await.map_err(|_| "cut")
        })),
        Stubborn::Shielded => drop(child.spawn::<()>(async move {
            let _guard = guard;
            shield(pending()).await
        })),
        Stubborn::InFinally => drop(child.spawn(async move {
            let work = async {
                let _guard = guard;
                shield(pending::<Outcome>()).await
            };
            finally(work, async |_| {}).await
        })),
    }
}

/// Product of what does not end, of how the group ends, and of the length of the grace period.
#[tokio::test(start_paused = true)]
async fn everything_is_gone_exactly_at_the_end_of_the_grace_period() {
    for kind in [Stubborn::Cooperative, Stubborn::EagerWithAGroup, Stubborn::Shielded, Stubborn::InFinally] {
        for background in [false, true] {
            for grace in [Duration::ZERO, 2 * SECOND] {
                let (began, alive) = (Instant::now(), Alive::new());
                let group: Group = TaskGroup::builder().grace(grace).build();
                spawn_stubborn(&group, kind, background, &alive);
                let body = async {
                    sleep(SECOND).await;
                    assert_eq!(alive.now(), 1);
                    if !background {
                        group.cancel();
                        // The body is as stubborn as its child.
                        shield(pending::<()>()).await;
                    }
                    Ok(())
                };
                let result = within_an_hour(group.run(body)).await;
                let expected = if background { result.is_ok() } else { result.unwrap_err().is_cancelled() };
                assert!(expected, "{kind:?}, background: {background}, {grace:?}");
                assert_eq!((began.elapsed(), alive.now()), (SECOND + grace, 0), "{kind:?} {background}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_eager_cooperative_child_of_a_cancelled_group_never_starts() {
    let group = Group::new();
    group.cancel();
    let child = group.task().eager().cooperative::<(), _, _>(|_| async { panic!("it runs") });
    assert!(child.into_result().unwrap_err().never_started());
    group.join().await.unwrap();
}

/// A runtime without a clock cannot keep time for its own groups; the others' keep theirs.
#[test]
fn a_runtime_without_a_clock_takes_it_from_nobody_else() {
    let without_clock = Builder::new_current_thread().build().unwrap();
    without_clock.block_on(async {
        let group: Group = TaskGroup::builder().grace(HOUR).build();
        let child = group.task().cooperative(|token| async move {
            token.cancelled().await;
            for _ in 0..10 {
                yield_now().await;
            }
            Ok("ended by itself")
        });
        yield_now().await;
        group.cancel();
        group.join().await.unwrap();
        assert_eq!(child.into_result().unwrap(), "ended by itself");
    });
    let with_clock = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    with_clock.block_on(async {
        let began = Instant::now();
        let group: Group = TaskGroup::builder().timeout(SECOND).grace(2 * SECOND).build();
        group.task().cooperative::<(), _, _>(|_| pending());
        let error = within_an_hour(group.run(pending::<Outcome>())).await.unwrap_err();
        assert!(cut_by_deadline(&error));
        assert_eq!(began.elapsed(), 3 * SECOND);
    });
}

/// R15: in a frozen host the group's grace ends a body that stands in a shield, although nobody polls its `run`.
#[tokio::test(start_paused = true)]
async fn a_grace_period_ends_a_shielded_body_in_a_frozen_host() {
    let alive = Alive::new();
    let guard = alive.guard();
    let began = Instant::now();
    let outer: TaskGroup = TaskGroup::new();
    outer.spawn::<()>(async move {
        let graced: TaskGroup = TaskGroup::builder().grace(5 * SECOND).build();
        let body = async move {
            let _guard = guard;
            shield(pending::<()>()).await;
            Ok(())
        };
        graced.run(body).await?;
        Ok(())
    });
    let cancel = async {
        sleep(SECOND).await;
        outer.cancel();
        sleep(4 * SECOND).await;
        assert_eq!(alive.now(), 1, "the grace period is not over");
        Ok(())
    };
    let error = within_an_hour(outer.run(cancel)).await.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(began.elapsed(), 6 * SECOND);
    assert_eq!(alive.now(), 0);
}
