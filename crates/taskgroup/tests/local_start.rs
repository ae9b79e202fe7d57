//! `start` in groups that poll their own children (R20).

#![allow(clippy::unit_arg, reason = "the shortest way to write a child")]

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use common::{Alive, Steps, within_an_hour};
use taskgroup::{LocalGroup, Ready, SendLocalGroup, StartError, TaskGroup, local_scope, shield};
use tokio::task::yield_now;
use tokio::time::sleep;

async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_child_is_ready_with_what_it_borrows_and_goes_on() {
    let (names, log) = (vec![String::from("ada"), String::from("grace")], RefCell::new(Vec::new()));
    let shared = Rc::new(5);
    let group: LocalGroup = LocalGroup::new();
    let body = async {
        let (name, child) = group
            .task()
            .name("reader")
            .start(|ready| async {
                yield_now().await;
                log.borrow_mut().push("opened");
                ready.ready((names[1].as_str(), Rc::clone(&shared)));
                yield_now().await;
                log.borrow_mut().push("read");
                Ok(&names[0])
            })
            .await?;
        log.borrow_mut().push("started");
        assert_eq!((name.0, *name.1), ("grace", 5));
        assert_eq!((child.name(), child.is_finished()), (Some("reader"), false));
        Ok(child.await?)
    };
    assert_eq!(group.run(body).await.unwrap(), "ada");
    assert_eq!(*log.borrow(), ["opened", "started", "read"]);
    assert_eq!((Rc::strong_count(&shared), group.report().completed()), (1, 1));
}

#[tokio::test]
async fn a_sibling_starts_through_a_spawner() {
    let seen = Cell::new(0);
    local_scope(async |group: &LocalGroup| {
        let (spawner, seen) = (group.spawner(), &seen);
        group.spawn(async move {
            let (one, child) = spawner
                .start(|ready: Ready<i32>| async move {
                    ready.ready(1);
                    Ok(2)
                })
                .await?;
            Ok(seen.set(one + child.await?))
        });
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(seen.get(), 3);
}

#[tokio::test]
async fn a_send_group_starts_too_and_its_future_is_send() {
    let text = String::from("lent");
    let host = tokio::spawn(async move {
        let group: SendLocalGroup = SendLocalGroup::new();
        let body = async {
            let (length, child) = group
                .start(|ready| async {
                    ready.ready(text.len());
                    yield_now().await;
                    Ok(&text)
                })
                .await?;
            assert_eq!(child.await?, "lent");
            Ok(length)
        };
        group.run(body).await
    });
    assert_eq!(host.await.unwrap().unwrap(), 4);
}

#[tokio::test]
async fn an_eager_child_may_be_ready_or_fail_at_once() {
    let polled = Cell::new(0);
    local_scope(async |group: &LocalGroup| {
        let (value, child) = group
            .task()
            .eager()
            .start(|ready| async {
                polled.set(1);
                ready.ready("now");
                Ok(())
            })
            .await?;
        assert_eq!((value, polled.get()), ("now", 1));
        child.await?;
        let failed =
            group.task().eager().start::<(), (), _>(|_ready| async { Err(anyhow::anyhow!("at once")) });
        assert!(matches!(failed.await, Err(StartError::Failed(error)) if error.to_string() == "at once"));
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn until_ready_its_failure_is_the_starters() {
    let alive = Alive::new();
    local_scope(async |group: &LocalGroup| {
        let guard = alive.guard();
        let error = group
            .start::<(), (), _>(|_ready| async {
                let _guard = guard;
                yield_now().await;
                Err(anyhow::anyhow!("no port"))
            })
            .await
            .unwrap_err();
        assert_eq!(alive.now(), 0);
        assert!(matches!(error, StartError::Failed(error) if error.to_string() == "no port"));

        let guard = alive.guard();
        let error = group
            .start::<(), (), _>(|_ready| async {
                let _guard = guard;
                panic!("on the way up");
            })
            .await
            .unwrap_err();
        assert_eq!(alive.now(), 0);
        assert!(matches!(error, StartError::Panicked(panic) if panic.message() == Some("on the way up")));

        // Failed at once, and failed after a wait: both stand in the books.
        let report = group.report();
        assert_eq!((report.failed(), report.panicked(), report.completed()), (1, 1, 0));
        assert!(!group.is_cancelled());
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_child_that_never_says_ready() {
    local_scope(async |group: &LocalGroup| {
        for turns in [0, 3] {
            let error = group
                .start::<(), _, _>(|ready| async move {
                    drop(ready);
                    for _ in 0..turns {
                        yield_now().await;
                    }
                    Ok(7)
                })
                .await
                .unwrap_err();
            assert!(matches!(error, StartError::NotReady), "{error}");
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn after_ready_its_failure_is_the_groups() {
    let group: LocalGroup = LocalGroup::new();
    let body = async {
        let ((), child) = group
            .task()
            .name("server")
            .start::<_, (), _>(|ready| async {
                ready.ready(());
                yield_now().await;
                Err(anyhow::anyhow!("lost its port"))
            })
            .await?;
        let _ = child.await;
        unreachable!("cut at the wait for a child that failed")
    };
    let errors = group.run::<(), _>(body).await.unwrap_err();
    assert_eq!((errors.len(), errors.first().unwrap().name()), (1, Some("server")));
}

/// The child becomes ready and ends in one poll, before the starter looks again.
#[tokio::test]
async fn ready_and_over_in_one_turn_is_ready() {
    local_scope(async |group: &LocalGroup| {
        let (value, child) = group
            .start(|ready| async move {
                yield_now().await;
                ready.ready(1);
                Ok(2)
            })
            .await?;
        assert!(child.is_finished());
        assert_eq!((value, child.into_result()?), (1, 2));
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_starter_cuts_the_child_and_waits_for_it() {
    let steps = Steps::default();
    let group: LocalGroup = LocalGroup::new();
    let body = async {
        let starter = group.spawn::<()>({
            let (spawner, steps) = (group.spawner(), steps.clone());
            async move {
                let _end = steps.on_drop("starter");
                let steps = steps.clone();
                let started = spawner.start::<(), (), _>(|ready| async move {
                    let _ready = ready;
                    let _end = steps.on_drop("child");
                    shield(sleep(Duration::from_secs(5))).await;
                    steps.mark("cleaned");
                    pending().await
                });
                let _ = started.await;
                unreachable!("cut at the start")
            }
        });
        let sibling = group.spawn(async { Ok(sleep(Duration::from_secs(10)).await) });
        sleep(Duration::from_secs(1)).await;
        assert_eq!(group.len(), 3);
        starter.cancel_because("enough");
        let error = starter.await.unwrap_err();
        assert_eq!(error.reason().unwrap().to_string(), "enough");
        assert_eq!(steps.seen(), ["cleaned", "child", "starter"]);
        assert_eq!(group.len(), 1);
        Ok(sibling.await?)
    };
    within_an_hour(group.run(body)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_the_group_comes_out_of_nothing_but_its_end() {
    let alive = Alive::new();
    let group: LocalGroup = LocalGroup::new();
    let token = group.token();
    let body = async {
        let guard = alive.guard();
        let started = group.start::<(), (), _>(|ready| async {
            let (_ready, _guard) = (ready, guard);
            pending().await
        });
        let _ = started.await;
        unreachable!("the body is cut at the start")
    };
    let cancel = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(alive.now(), 1);
        token.cancel();
    };
    let (ended, ()) = within_an_hour(async { tokio::join!(group.run::<(), _>(body), cancel) }).await;
    assert!(ended.unwrap_err().is_cancelled());
    assert_eq!(alive.now(), 0);
}

/// The starter is outside of the group, so the group's cancel does not cut it.
#[tokio::test(start_paused = true)]
async fn outside_of_the_group_the_start_tells_of_its_cancel() {
    let group: LocalGroup = LocalGroup::new();
    let spawner = group.spawner();
    let start = async {
        let started = spawner.start::<(), (), _>(|ready| async {
            let _ready = ready;
            pending().await
        });
        started.await.unwrap_err()
    };
    let cancel = async {
        sleep(Duration::from_secs(1)).await;
        spawner.cancel_because("closing");
    };
    let body = async { Ok(sleep(Duration::from_secs(60)).await) };
    let (_, error, ()) = within_an_hour(async { tokio::join!(group.run(body), start, cancel) }).await;
    assert!(matches!(error, StartError::Cancelled(cause) if cause.to_string() == "closing"));
}

#[tokio::test]
async fn born_cancelled_it_never_runs() {
    let alive = Alive::new();
    let group: LocalGroup = LocalGroup::new();
    group.cancel_because("closed");
    let guard = alive.guard();
    let started = group.start::<(), (), _>(|ready| async {
        let (_ready, _guard) = (ready, guard);
        unreachable!("never polled")
    });
    let error = started.await.unwrap_err();
    assert_eq!(alive.now(), 0);
    assert!(matches!(error, StartError::Cancelled(cause) if cause.to_string() == "closed"));
    let spawner = group.spawner();
    group.join().await.unwrap();
    let error = spawner.start::<(), (), _>(|_ready| async { Ok(()) }).await.unwrap_err();
    assert!(error.is_cancelled());
}

#[tokio::test]
async fn dropping_the_start_drops_the_child_at_once() {
    let alive = Alive::new();
    local_scope(async |group: &LocalGroup| {
        // Polled and waiting; with a group of tasks inside; spawned, and not polled yet.
        for turns in [8, 8, 0] {
            let (outer, inner) = (alive.guard(), alive.guard());
            let mut start = Box::pin(group.start::<(), (), _>(|ready| async move {
                let (_ready, _outer) = (ready, outer);
                let tasks: TaskGroup = TaskGroup::new();
                tasks.spawn::<()>(async move {
                    let _inner = inner;
                    pending().await
                });
                tasks.join().await?;
                Ok(())
            }));
            assert!(futures::poll!(start.as_mut()).is_pending());
            for _ in 0..turns {
                yield_now().await;
            }
            assert_eq!((alive.now(), group.len()), (2, 1));
            drop(start);
            assert_eq!((alive.now(), group.len()), (0, 0));
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_start_that_was_never_polled_has_no_child() {
    let group: LocalGroup = LocalGroup::new();
    drop(group.start::<(), (), _>(|_ready| async { unreachable!("nothing was started") }));
    assert_eq!(group.report().spawned(), 0);
    group.join().await.unwrap();
}

#[tokio::test]
async fn dropping_the_start_after_ready_leaves_the_child() {
    let alive = Alive::new();
    let group: LocalGroup = LocalGroup::new();
    let body = async {
        let guard = alive.guard();
        let mut start = Box::pin(group.start(|ready| async {
            ready.ready(guard);
            settle().await;
            Ok(())
        }));
        assert!(futures::poll!(start.as_mut()).is_pending());
        yield_now().await;
        assert_eq!(alive.now(), 1);
        drop(start);
        assert_eq!((alive.now(), group.len()), (0, 1));
        Ok(())
    };
    group.run(body).await.unwrap();
    assert_eq!(group.report().completed(), 1);
}

/// Nobody else wakes the group when its last child is dropped from outside of it.
#[tokio::test(start_paused = true)]
async fn a_group_whose_last_child_is_dropped_from_outside_ends() {
    let group: LocalGroup = LocalGroup::new();
    let spawner = group.spawner();
    let start = async {
        let limit = Duration::from_secs(1);
        let start = spawner.start::<(), (), _>(|ready| async {
            let _ready = ready;
            pending().await
        });
        assert!(tokio::time::timeout(limit, start).await.is_err());
    };
    let body = async { Ok(yield_now().await) };
    let (ended, ()) = within_an_hour(async { tokio::join!(group.run(body), start) }).await;
    ended.unwrap();
    assert_eq!((group.report().cut(), group.report().spawned()), (1, 1));
}

type Start = Pin<Box<dyn Future<Output = ()>>>;

/// When a start goes that its own child owns.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Goes {
    InAPoll,
    WhenTheChildReturns,
    WhenTheChildIsCut,
    WhenTheGroupIsDropped,
}

/// A child that owns its own start, and drops it while it is being polled or dropped: it is ended once.
async fn own_start(goes: Goes) {
    let alive = Alive::new();
    // The start refers to the group, and stands in one of its children: so the group is freed by hand.
    let owned = Box::into_raw(Box::<LocalGroup<'static>>::default());
    // SAFETY: it is freed when the start, the run and the child are gone.
    let group: &'static LocalGroup<'static> = unsafe { &*owned };
    let slot: Rc<RefCell<Option<Start>>> = Rc::default();
    let (taken, guard) = (Rc::clone(&slot), alive.guard());
    let start = group.start::<(), (), _>(move |ready| async move {
        let (_ready, _guard) = (ready, guard);
        yield_now().await;
        let own = taken.take();
        assert!(own.is_some());
        match goes {
            Goes::InAPoll => drop(own),
            Goes::WhenTheChildReturns => return Ok(drop(own)),
            _ => {}
        }
        pending::<()>().await;
        unreachable!("cut")
    });
    let mut start: Start = Box::pin(async { drop(start.await) });
    let body = async {
        assert!(futures::poll!(start.as_mut()).is_pending());
        slot.replace(Some(start));
        settle().await;
        assert!(slot.borrow().is_none(), "the child has it");
        let gone = matches!(goes, Goes::InAPoll | Goes::WhenTheChildReturns);
        assert_eq!((alive.now(), group.len()), if gone { (0, 0) } else { (1, 1) });
        match goes {
            Goes::WhenTheGroupIsDropped => pending::<()>().await,
            Goes::WhenTheChildIsCut => group.cancel(),
            _ => {}
        }
        Ok(())
    };
    let mut run = Box::pin(group.run(body));
    if goes == Goes::WhenTheGroupIsDropped {
        assert!(tokio::time::timeout(Duration::from_secs(1), run.as_mut()).await.is_err());
        drop(run);
    } else {
        within_an_hour(run).await.unwrap();
    }
    assert_eq!(alive.now(), 0);
    let report = group.report();
    let cut = if goes == Goes::WhenTheChildReturns { 0 } else { 1 };
    assert_eq!((report.spawned(), report.cut()), (1, cut), "{goes:?}");
    assert!(slot.borrow().is_none());
    // SAFETY: made above, and nobody refers to it any more.
    drop(unsafe { Box::from_raw(owned) });
}

#[tokio::test(start_paused = true)]
async fn a_child_that_owns_its_own_start() {
    for goes in
        [Goes::InAPoll, Goes::WhenTheChildReturns, Goes::WhenTheChildIsCut, Goes::WhenTheGroupIsDropped]
    {
        own_start(goes).await;
    }
}

/// The child of a start that was dropped is nobody's: what it still comes to fails nobody, and reaches nobody.
#[tokio::test(start_paused = true)]
async fn dropping_the_start_in_a_send_group_cancels_the_child() {
    let alive = Alive::new();
    let group: SendLocalGroup = SendLocalGroup::builder()
        .treat_as_cancelled(|_: &anyhow::Error| unreachable!("nobody is told of it"))
        .build();
    let body = async {
        for fails in [false, true] {
            let (guard, alive_inside) = (alive.guard(), &alive);
            let mut start = Box::pin(group.start::<_, (), _>(move |ready| async move {
                let _guard = guard;
                shield(sleep(Duration::from_secs(5))).await;
                ready.ready(alive_inside.guard());
                anyhow::ensure!(!fails, "too late");
                pending().await
            }));
            assert!(futures::poll!(start.as_mut()).is_pending());
            settle().await;
            drop(start);
            assert_eq!((alive.now(), group.len()), (1, 1));
            let began = tokio::time::Instant::now();
            group.wait_idle().await;
            assert_eq!((alive.now(), began.elapsed()), (0, Duration::from_secs(5)));
        }
        Ok(())
    };
    let body = std::pin::pin!(body);
    within_an_hour(group.run(body)).await.unwrap();
    let report = group.report();
    assert_eq!((report.failed(), report.cut(), report.spawned()), (1, 1, 2));
}
