//! All values in order, or all failures.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use taskgroup::{CancelReason, gather, timeout};
use tokio::time::Instant;

use super::common::{counting_polls, multi_thread, within_an_hour};
use super::*;

#[tokio::test(start_paused = true)]
async fn values_come_in_the_order_of_the_futures_whoever_ends_first() {
    let began = Instant::now();
    let values = gather([3, 1, 2].map(|seconds| after(seconds, Ok(seconds)))).await.unwrap();
    assert_eq!(values, [3, 1, 2]);
    assert_eq!(began.elapsed(), 3 * SECOND, "side by side");
}

#[tokio::test]
async fn of_none_it_is_an_empty_list_and_of_one_a_list_of_one() {
    let none: [std::future::Ready<Outcome<u8>>; 0] = [];
    assert_eq!(gather(none).await.unwrap(), []);
    assert_eq!(gather([after(0, Ok(1))]).await.unwrap(), [1]);
    assert_eq!(gather(Some(async { Ok::<_, &str>("one") })).await.unwrap(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_cancels_the_rest_and_says_which_it_was() {
    let (alive, began) = (Alive::new(), Instant::now());
    let [a, b, c] = guards(&alive);
    let line = line!() + 1;
    let errors = gather([guarded(a, 60, Ok(())), guarded(b, 60, Ok(())), guarded(c, 1, Err("reset"))]).await;
    assert_eq!((alive.now(), alive.ever()), (0, 3));
    assert_eq!(began.elapsed(), SECOND);
    let errors = errors.unwrap_err();
    assert_eq!(told(&errors), [("item 2", "reset")]);
    assert_eq!(errors.name(), Some("gather"));
    let failure = errors.first().unwrap();
    assert_eq!((failure.location().file(), failure.location().line()), (file!(), line));
    assert_eq!(failure.path(), "gather > item 2");
    let CancelReason::SiblingFailed(who) = errors.cause().unwrap().reason() else { panic!("{errors}") };
    assert_eq!(who.id(), failure.id());
}

#[tokio::test(start_paused = true)]
async fn a_place_is_told_with_the_way_to_it() {
    let group: Group = TaskGroup::builder().name("app").build();
    group.task().name("crawler").spawn(async {
        let errors = gather([after(1, Ok(())), after(1, Err("reset"))]).await.unwrap_err();
        assert_eq!(errors.first().unwrap().path(), "app > crawler > gather > item 1");
        let text = errors.to_string();
        assert!(text.contains("task \"item 1\"") && text.contains("reset"), "{text}");
        Ok(())
    });
    group.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cleanup_of_the_others_is_awaited_and_their_failures_come_out_too() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let [a, b] = guards(&alive);
    let (tidy, stubborn) = (tidy::<()>(a, steps.clone()).boxed(), stubborn(b, 3, Err("flush")).boxed());
    let errors = within_an_hour(gather([tidy, stubborn, after(1, Err("reset")).boxed()])).await.unwrap_err();
    assert_eq!(alive.now(), 0);
    assert_eq!(steps.seen(), ["cleanup begins", "cleanup ends"]);
    assert_eq!(
        told(&errors),
        [("item 2", "reset"), ("item 1", "flush")],
        "in the order in which they failed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_from_outside_cuts_all_and_waits_for_their_cleanup() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let [a, b] = guards(&alive);
    let futures = [tidy::<()>(a, steps.clone()).boxed(), guarded(b, 60, Ok(())).boxed()];
    let (ended, took) = cancelled_after_a_second(async move {
        let _ = gather(futures).await;
        unreachable!("it waits in a cancelled region")
    })
    .await;
    ended.unwrap();
    assert_eq!((alive.now(), took), (0, 2.0));
    assert_eq!(steps.seen(), ["cleanup begins", "cleanup ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_draining_comes_out_of_a_cancelled_region() {
    let alive = Alive::new();
    let futures = [stubborn(alive.guard(), 3, Err("flush"))];
    let (ended, took) = cancelled_after_a_second(async move {
        let errors = gather::<(), _, _>(futures).await.unwrap_err();
        Err(*errors.first().unwrap().error().unwrap())
    })
    .await;
    assert_eq!(ended.unwrap_err().first().unwrap().error(), Some(&"flush"));
    assert_eq!((alive.now(), took), (0, 3.0));
}

#[tokio::test]
async fn in_a_cancelled_region_it_starts_nothing_and_does_not_come_back() {
    let group = Group::new();
    let spawner = group.spawner();
    group.spawn::<()>(async move {
        spawner.cancel();
        let never = async { unreachable!("never started") };
        let _: Result<Vec<()>, Errors> = gather([never]).await;
        unreachable!("cut before")
    });
    within_an_hour(group.join()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_in_the_middle_it_drops_all_at_once() {
    let alive = Alive::new();
    let [a, b] = guards(&alive);
    {
        let gathered = std::pin::pin!(gather([guarded(a, 60, Ok(())), guarded(b, 60, Ok(()))]));
        poll_and_settle(gathered).await;
        assert_eq!(alive.now(), 2);
    }
    assert_eq!(alive.now(), 0);
}

#[test]
fn dropped_in_the_middle_on_several_threads_nothing_is_alive_after_it() {
    multi_thread(4).block_on(async {
        for _ in 0..20 {
            let alive = Alive::new();
            let guards: Vec<_> = (0..100).map(|_| alive.guard()).collect();
            let busy = guards.into_iter().map(|guard| async move {
                let _guard = guard;
                loop {
                    tokio::task::yield_now().await;
                }
                #[allow(unreachable_code, reason = "the type")]
                Outcome::Ok(())
            });
            {
                let gathered = std::pin::pin!(gather(busy));
                let _ = futures::future::select(gathered, std::pin::pin!(tokio::task::yield_now())).await;
            }
            assert_eq!((alive.now(), alive.ever()), (0, 100));
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_panic_goes_on_after_all_have_ended() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let [a, b] = guards(&alive);
    let panics = async move {
        let _guard = b;
        sleep(SECOND).await;
        panic!("lost my way")
    };
    let text = panic_of(gather([tidy::<()>(a, steps.clone()).boxed(), panics.boxed()])).await;
    assert_eq!((text, alive.now()), ("lost my way", 0));
    assert_eq!(steps.seen(), ["cleanup begins", "cleanup ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_it_waits_for_what_it_cuts() {
    let (alive, steps, began) = (Alive::new(), Steps::default(), Instant::now());
    let late = timeout(SECOND, gather([tidy::<()>(alive.guard(), steps.clone())])).await;
    assert_eq!(late.unwrap_err().after(), SECOND);
    assert_eq!((alive.now(), began.elapsed()), (0, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn inside_one_another_and_in_scopes_values_and_errors_keep_their_places() {
    let row = |row: u32| async move {
        let cells = gather((0..3).map(|column| after(3 - column, Ok::<_, &str>(row * 10 + column)))).await;
        cells.map_err(|_| "a cell failed")
    };
    let table = taskgroup::scope(async |tg: &Group| {
        let table = tg.spawn(async move { gather((0..3).map(row)).await.map_err(|_| "a row failed") });
        table.await.map_err(|_| "the table failed")
    });
    assert_eq!(table.await.unwrap(), [[0, 1, 2], [10, 11, 12], [20, 21, 22]]);

    let inner = async {
        gather([async { Err::<(), _>(anyhow::anyhow!("reset")) }]).await?;
        Ok(())
    };
    let errors = gather([inner]).await.unwrap_err() as ErrorGroup;
    let nested = errors.first().unwrap().nested().expect("its nesting is kept");
    assert_eq!(nested.name(), Some("gather"));
    assert_eq!(
        errors.leaves().map(|leaf| leaf.path().to_owned()).collect::<Vec<_>>(),
        ["gather > item 0 > gather > item 0"
            .to_owned()
            .replace("item 0 > gather", &format!("{} > gather", errors.first().unwrap().id()))]
    );
}

#[tokio::test(start_paused = true)]
async fn inside_a_shield_it_completes_in_spite_of_a_cancel() {
    let steps = Steps::default();
    let noted = steps.clone();
    let (ended, took) = cancelled_after_a_second(async move {
        let values = shield(gather([after(2, Ok(1)), after(3, Ok(2))])).await.unwrap();
        assert_eq!(values, [1, 2]);
        noted.mark("gathered");
        Ok(())
    })
    .await;
    ended.unwrap();
    assert_eq!((steps.seen(), took), (vec!["gathered"], 3.0));
}

#[tokio::test]
async fn nothing_runs_before_it_is_polled() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let guard = alive.guard();
    let noted = steps.clone();
    let gathered = gather([async move {
        let _guard = guard;
        noted.mark("runs");
        Outcome::Ok(())
    }]);
    tokio::task::yield_now().await;
    assert!(steps.seen().is_empty());
    assert_eq!(gathered.await.unwrap(), [()]);
    assert_eq!(steps.seen(), ["runs"]);
    assert_eq!(alive.now(), 0);

    drop(gather([guarded(alive.guard(), 1, Ok(()))]));
    assert_eq!(alive.now(), 0, "never polled, and dropped");
}

#[test]
fn ten_thousand_wake_the_caller_a_few_times_only() {
    multi_thread(2).block_on(async {
        let polls = AtomicUsize::new(0);
        let futures = (0..10_000).map(|number| async move {
            tokio::task::yield_now().await;
            Outcome::Ok(number)
        });
        let values = counting_polls(&polls, gather(futures)).await.unwrap();
        assert!(values.into_iter().eq(0..10_000));
        assert!(polls.load(SeqCst) < 10, "{polls:?}");
    });
}

#[tokio::test]
async fn errors_are_inferred_and_values_need_not_be_sync() {
    async fn default_error() -> anyhow::Result<()> {
        let lengths =
            gather(["1", "22"].map(|text| async move { Ok::<_, anyhow::Error>(text.len()) })).await?;
        assert_eq!(lengths, [1, 2]);
        Ok(())
    }
    default_error().await.unwrap();
    let cells = gather((0..2).map(|number| async move { Outcome::Ok(std::cell::Cell::new(number)) }));
    assert_eq!(cells.await.unwrap()[1].get(), 1);
}
