//! What a group tells of its tasks: counts of all, records of some.

mod common;

use std::future::pending;
use std::time::Duration;

use common::{Alive, multi_thread};
use taskgroup::{
    CancelEnd, CancelReason, ChildEnd, ChildRecord, GroupReport, NodeKind, OnFailure, OnPanic, TaskGroup,
    shield,
};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

type Group = TaskGroup<anyhow::Error>;

fn named<'r>(report: &'r GroupReport, name: &str) -> &'r ChildRecord {
    let mut found = report.records().iter().filter(|record| record.name() == Some(name));
    let record = found.next().unwrap_or_else(|| panic!("no record of {name} in {report}"));
    assert!(found.next().is_none(), "two records of {name} in {report}");
    record
}

fn sum(report: &GroupReport) -> usize {
    report.running()
        + report.handed_over()
        + report.completed()
        + report.failed()
        + report.panicked()
        + report.cancelled()
}

#[tokio::test(start_paused = true)]
async fn every_end_is_counted_and_recorded() {
    let group: Group =
        TaskGroup::builder().on_failure(OnFailure::Continue).on_panic(OnPanic::Collect).name("all").build();
    let begin = Instant::now();
    group.task().name("completed").spawn(async {
        sleep(SECOND).await;
        Ok(())
    });
    group.task().name("failed").spawn::<()>(async {
        sleep(2 * SECOND).await;
        Err(anyhow::anyhow!("no"))
    });
    group.task().name("panicked").spawn::<()>(async {
        sleep(3 * SECOND).await;
        panic!("oh")
    });
    let line = line!() + 1;
    group.task().name("cut").spawn(pending::<Result<(), _>>());
    group.task().name("asked").cooperative::<(), _, _>(|token| async move {
        sleep(6 * SECOND).await;
        token.check()?;
        unreachable!("cancelled after five seconds")
    });
    group.task().name("late").cooperative(|_token| async {
        sleep(7 * SECOND).await;
        Ok(())
    });
    group.task().name("dropped").grace(4 * SECOND).spawn(shield(pending::<Result<(), _>>()));
    group.task().name("at once").spawn(async { Ok(()) });
    group.spawn_blocking(|_token| Ok(()));
    let spawner = group.spawner();
    let result = group
        .run(async {
            sleep(5 * SECOND).await;
            group.task().name("never").spawn(async { Ok(()) });
            group.cancel_because("time to go");
            group.task().name("unborn").spawn(async { Ok(()) });
            Ok(())
        })
        .await;
    assert_eq!(result.unwrap_err().len(), 2);

    let report = group.report();
    assert_eq!(report.spawned(), 11);
    assert_eq!((report.completed(), report.completed_after_cancel()), (4, 1), "{report}");
    assert_eq!((report.failed(), report.panicked(), report.running()), (1, 1, 0));
    assert_eq!((report.asked(), report.cut(), report.dropped(), report.never_started()), (1, 1, 1, 2));
    assert_eq!((report.needed_force(), report.unrecorded()), (1, 0));
    assert_eq!((sum(&report), report.name(), report.id()), (11, Some("all"), group.id()));
    assert_eq!(report.cause().unwrap().to_string(), "time to go");
    assert_eq!(spawner.report().to_string(), report.to_string());

    let cancelled = ChildEnd::Cancelled;
    for (name, end, lifetime) in [
        ("completed", ChildEnd::Completed, 1),
        ("failed", ChildEnd::Failed, 2),
        ("panicked", ChildEnd::Panicked, 3),
        ("cut", cancelled(CancelEnd::Cut), 5),
        ("asked", cancelled(CancelEnd::Asked), 6),
        ("late", ChildEnd::Completed, 7),
        ("dropped", cancelled(CancelEnd::Dropped), 9),
        ("at once", ChildEnd::Completed, 0),
        ("never", cancelled(CancelEnd::NeverStarted), 0),
        ("unborn", cancelled(CancelEnd::NeverStarted), 0),
    ] {
        let record = named(&report, name);
        assert_eq!(record.end(), Some(end), "{record}");
        assert_eq!(record.lifetime(), Some(lifetime * SECOND), "{record}");
        assert_eq!(
            record.spawned_at() - begin,
            if lifetime > 0 || name == "at once" { Duration::ZERO } else { 5 * SECOND }
        );
        assert_eq!(record.waited(), lifetime > 0, "{record}");
        assert_eq!(record.needed_force(), name == "dropped");
        assert_eq!(record.location().file(), file!());
        let by_group = lifetime >= 5 || name == "never" || name == "unborn";
        assert_eq!(
            record.cause().map(ToString::to_string),
            by_group.then(|| "time to go".to_owned()),
            "{record}"
        );
    }
    assert_eq!(named(&report, "cut").location().line(), line);
    assert!(report.records().is_sorted_by_key(ChildRecord::id));
    assert!(report.records().iter().any(|record| record.kind() == NodeKind::Blocking));
}

#[tokio::test(start_paused = true)]
async fn the_text_has_a_line_for_each_record() {
    let group: Group = TaskGroup::builder().name("job").report_records(2).build();
    group.task().name("quick").spawn(async { Ok(()) });
    group.task().name("slow").spawn(pending::<Result<(), _>>());
    group.spawn(async { Ok(()) });
    sleep(1500 * SECOND / 1000).await;
    let running = group.report().to_string();
    assert!(running.contains(": 3 spawned, 1 running, 2 completed\n"), "{running}");
    assert!(running.contains("\"slow\"") && running.contains(": running\n"), "{running}");
    group.cancel_because("enough");
    let spawner = group.spawner();
    group.join().await.unwrap();
    let text = spawner.report().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[0].starts_with("group \"job\" (#")
            && lines[0].ends_with("): 3 spawned, 2 completed, 1 cancelled (1 cut)")
    );
    assert!(
        lines[1].starts_with("  task \"quick\" (#") && lines[1].ends_with(": completed at its first poll")
    );
    assert!(lines[2].ends_with(": cut at an await after 1.500s: enough"), "{text}");
    assert!(lines[2].contains("report.rs:"));
    assert_eq!(lines[3], "  and 1 more");
    let untouched = Group::new().report();
    assert!(untouched.to_string().ends_with(": 0 spawned"));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tasks_leave_as_many_records_as_asked_for() {
    for (asked, records) in [(None, 32), (Some(3), 3), (Some(0), 0)] {
        let builder = TaskGroup::<anyhow::Error>::builder();
        let group = match asked {
            Some(asked) => builder.report_records(asked).build(),
            None => builder.build(),
        };
        let tasks: Vec<_> = (0..10_000).map(|number| group.spawn(async move { Ok(number) })).collect();
        group.run(async { Ok(()) }).await.unwrap();
        let report = group.report();
        assert_eq!((report.spawned(), report.completed(), sum(&report)), (10_000, 10_000, 10_000));
        assert_eq!((report.records().len(), report.unrecorded()), (records, 10_000 - records));
        let recorded = report.records().iter().map(ChildRecord::id);
        assert!(recorded.eq(tasks[..records].iter().map(taskgroup::Task::id)));
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_need_force_are_recorded_however_late_they_came() {
    let alive = Alive::new();
    let group: Group = TaskGroup::builder().grace(2 * SECOND).report_records(4).build();
    for _ in 0..100 {
        group.spawn(async { Ok(()) });
    }
    sleep(SECOND).await;
    for number in 0..10 {
        let guard = alive.guard();
        group.task().name(format!("stubborn {number}")).spawn::<()>(async move {
            let _guard = guard;
            shield(pending::<()>()).await;
            Ok(())
        });
    }
    sleep(SECOND).await;
    group.cancel();
    group.run(async { Ok(()) }).await.unwrap();
    assert_eq!(alive.now(), 0);
    let report = group.report();
    assert_eq!((report.dropped(), report.needed_force(), report.completed()), (10, 10, 100));
    assert_eq!((report.records().len(), report.unrecorded()), (14, 96));
    for record in &report.records()[4..] {
        assert_eq!(record.end(), Some(ChildEnd::Cancelled(CancelEnd::Dropped)));
        assert_eq!(record.lifetime(), Some(3 * SECOND), "{record}");
        assert!(record.needed_force() && record.name().unwrap().starts_with("stubborn"));
        assert!(matches!(record.cause().unwrap().reason(), CancelReason::Requested(None)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_records_of_force_are_bounded_too() {
    let group: Group = TaskGroup::builder().grace(SECOND).report_records(8).build();
    for _ in 0..2000 {
        group.spawn::<()>(async {
            shield(pending::<()>()).await;
            Ok(())
        });
    }
    sleep(SECOND).await;
    group.cancel();
    group.run(async { Ok(()) }).await.unwrap();
    let report = group.report();
    assert_eq!((report.dropped(), report.records().len()), (2000, 8 + 1024));
}

#[tokio::test(start_paused = true)]
async fn a_starting_child_that_fails_counts_as_failed_where_it_was_spawned() {
    let group: Group = TaskGroup::new();
    group
        .run(async {
            let started = group.start::<(), (), _>(|_ready| async { Err(anyhow::anyhow!("no port")) }).await;
            assert!(started.is_err());
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((group.report().spawned(), group.report().failed()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_by_try_spawn_was_never_a_task() {
    let group: Group = TaskGroup::new();
    group.cancel();
    assert!(group.try_spawn(async { Ok(()) }).is_err());
    assert_eq!(group.report().spawned(), 0);
    let task = group.spawn(async { Ok(()) });
    assert!(task.into_result().unwrap_err().never_started());
    assert_eq!((group.report().spawned(), group.report().never_started()), (1, 1));
    group.run(async { Ok(()) }).await.unwrap();
    let spawner = group.spawner();
    spawner.spawn(async { Ok(()) });
    assert_eq!((spawner.report().spawned(), spawner.report().never_started()), (2, 2));
}

#[test]
fn a_closure_of_a_dropped_group_is_handed_over_and_adopted() {
    multi_thread(1).block_on(async {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let outer: Group = TaskGroup::builder().name("outer").build();
        let ended = outer
            .run(async {
                let inner: Group = TaskGroup::builder().name("inner").build();
                inner.task().name("stuck").spawn_blocking(move |_token| {
                    started.send(()).unwrap();
                    gone.recv().unwrap();
                    Ok(())
                });
                has_started.await.unwrap();
                let spawner = inner.spawner();
                drop(inner);
                let left = spawner.report();
                assert_eq!((left.spawned(), left.handed_over(), left.running()), (1, 1, 0));
                assert_eq!((sum(&left), left.adopted()), (1, 0));
                let report = outer.report();
                assert_eq!((report.spawned(), report.adopted(), report.running()), (0, 1, 1));
                go.send(()).unwrap();
                Ok(())
            })
            .await;
        ended.unwrap();
        let report = outer.report();
        assert_eq!((report.adopted(), report.completed(), report.running()), (1, 1, 0));
        assert_eq!(
            report.to_string().lines().next().unwrap().split(": ").nth(1),
            Some("0 spawned, 1 adopted, 1 completed")
        );
    });
}

#[tokio::test(start_paused = true)]
async fn a_dropped_group_tells_who_was_dropped_with_it() {
    let group: Group = TaskGroup::new();
    let spawner = group.spawner();
    group.spawn(pending::<Result<(), _>>());
    tokio::task::yield_now().await;
    group.spawn(pending::<Result<(), _>>());
    drop(group);
    let report = spawner.report();
    assert_eq!((report.cut(), report.never_started()), (1, 1));
    assert!(matches!(report.records()[0].cause().unwrap().reason(), CancelReason::GroupDropped));
    assert_eq!(sum(&report), 2);
}

#[test]
fn the_counts_agree_whoever_ends_where() {
    multi_thread(2).block_on(async {
        let group: Group = TaskGroup::builder().grace(SECOND).on_failure(OnFailure::Continue).build();
        let spawner = group.spawner();
        let spawns = std::thread::spawn({
            let spawner = spawner.clone();
            move || {
                for number in 0..3000_u32 {
                    spawner.spawn(async move {
                        match number % 4 {
                            0 => Ok(()),
                            1 => Err(anyhow::anyhow!("no")),
                            2 => pending().await,
                            _ => {
                                tokio::task::yield_now().await;
                                Ok(())
                            }
                        }
                    });
                }
                spawner.cancel();
                for _ in 0..100 {
                    spawner.spawn(async { Ok(()) });
                }
            }
        });
        let _ = group.run(pending::<Result<(), _>>()).await;
        tokio::task::spawn_blocking(|| spawns.join()).await.unwrap().unwrap();
        let report = spawner.report();
        assert_eq!((report.spawned(), sum(&report), report.running()), (3100, 3100, 0), "{report}");
        assert!(report.completed() > 0 && report.failed() > 0 && report.cancelled() >= 750 + 100);
        assert!(report.records().iter().all(|record| record.end().is_some() && record.ended_at().is_some()));
    });
}
