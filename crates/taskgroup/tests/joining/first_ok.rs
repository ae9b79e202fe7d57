//! The first success, or all the errors.

use taskgroup::{first_ok, timeout};
use tokio::time::Instant;

use super::common::multi_thread;
use super::*;

#[tokio::test(start_paused = true)]
async fn errors_are_passed_over_and_the_others_are_cancelled_and_awaited() {
    let (alive, steps, began) = (Alive::new(), Steps::default(), Instant::now());
    let [a, b, c] = guards(&alive);
    let futures = [
        guarded(a, 1, Err("refused")).boxed(),
        guarded(b, 2, Ok("there")).boxed(),
        tidy(c, steps.clone()).boxed(),
        after(60, Err("not asked any more")).boxed(),
    ];
    assert_eq!(first_ok(futures).await.unwrap(), "there");
    assert_eq!((alive.now(), began.elapsed()), (0, 3 * SECOND));
    assert_eq!(steps.seen(), ["cleanup begins", "cleanup ends"]);
}

#[tokio::test(start_paused = true)]
async fn if_all_fail_all_errors_come_out_in_the_order_in_which_they_happened() {
    let line = line!() + 1;
    let errors = first_ok([after(3, Err::<(), _>("third")), after(1, Err("first")), after(2, Err("second"))]);
    let errors = errors.await.unwrap_err();
    assert_eq!(told(&errors), [("item 1", "first"), ("item 2", "second"), ("item 0", "third")]);
    assert_eq!((errors.name(), errors.more()), (Some("first_ok"), 0));
    assert!(errors.cause().is_none(), "nobody was cancelled");
    let first = errors.first().unwrap();
    assert_eq!((first.path(), first.location().line()), ("first_ok > item 1", line));
}

#[test]
fn ten_thousand_errors_are_all_kept() {
    multi_thread(4).block_on(async {
        let errors = first_ok((0..10_000).map(|number| async move {
            tokio::task::yield_now().await;
            Err::<(), _>(number)
        }));
        let errors = errors.await.unwrap_err();
        assert_eq!((errors.len(), errors.more()), (10_000, 0));
        let mut places: Vec<_> =
            errors.failures().iter().map(|failure| (failure.name(), *failure.error().unwrap())).collect();
        places.sort_by_key(|(_, number)| *number);
        assert!(places.iter().all(|(name, number)| *name == Some(&format!("item {number}"))));
    });
}

#[tokio::test]
#[should_panic(expected = "`first_ok` was given no future")]
async fn of_none_it_panics_at_the_call() {
    let none: [std::future::Ready<Outcome>; 0] = [];
    let _never_polled = first_ok(none);
}

#[tokio::test]
async fn of_one_it_is_that_one() {
    assert_eq!(first_ok([after(0, Ok(1))]).await.unwrap(), 1);
    assert_eq!(told(&first_ok([after(0, Err::<(), _>("one"))]).await.unwrap_err()), [("item 0", "one")]);
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn errors_before_the_value_are_quiet_and_those_of_the_draining_are_logged() {
    use super::common::events::Events;
    let (events, _listening) = Events::listen();
    let alive = Alive::new();
    let futures = [
        after(1, Err("refused")).boxed(),
        stubborn(alive.guard(), 3, Err("flush")).boxed(),
        after(2, Ok("there")).boxed(),
    ];
    assert_eq!(first_ok(futures).await.unwrap(), "there");
    assert_eq!(alive.now(), 0);
    let logged = events.take(tracing::Level::ERROR);
    let logged: Vec<_> = logged.iter().map(|event| (event.field("name"), event.field("error"))).collect();
    assert_eq!(logged, [("item 1", "flush")]);
    let quiet = events.take(tracing::Level::DEBUG);
    assert!(
        quiet
            .iter()
            .any(|event| event.field("error") == "refused" && event.field("message") == "task failed")
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_no_failed_attempt() {
    let alive = Alive::new();
    let panics = async {
        sleep(2 * SECOND).await;
        panic!("lost my way")
    };
    let futures =
        [after(1, Err("refused")).boxed(), guarded(alive.guard(), 60, Ok(())).boxed(), panics.boxed()];
    assert_eq!(panic_of(first_ok(futures)).await, "lost my way");
    assert_eq!(alive.now(), 0);
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn errors_beside_a_panic_are_logged() {
    use super::common::events::Events;
    let (events, _listening) = Events::listen();
    let panics = async {
        sleep(2 * SECOND).await;
        panic!("lost my way")
    };
    panic_of(first_ok([after(1, Err::<(), _>("refused")).boxed(), panics.boxed()])).await;
    let logged = events.take(tracing::Level::ERROR);
    assert!(logged.iter().any(|event| event.field("error") == "refused"), "{logged:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_from_outside_cuts_all_whatever_had_failed_before() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let futures = [after(0, Err("refused")).boxed(), tidy::<()>(alive.guard(), steps.clone()).boxed()];
    let (ended, took) = cancelled_after_a_second(async move {
        let _ = first_ok(futures).await;
        unreachable!("it waits in a cancelled region")
    })
    .await;
    ended.unwrap();
    assert_eq!((alive.now(), took, steps.seen().len()), (0, 2.0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_it_is_elapsed_whatever_had_failed_before() {
    let alive = Alive::new();
    let futures = [after(0, Err("refused")).boxed(), guarded(alive.guard(), 60, Ok(())).boxed()];
    assert_eq!(timeout(SECOND, first_ok(futures)).await.unwrap_err().after(), SECOND);
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_draining_comes_out_of_a_cancelled_region_behind_those_before() {
    let alive = Alive::new();
    let futures =
        [after(0, Err::<(), _>("refused")).boxed(), stubborn(alive.guard(), 3, Err("flush")).boxed()];
    let (ended, took) = cancelled_after_a_second(async move {
        let errors = first_ok(futures).await.unwrap_err();
        assert_eq!(told(&errors), [("item 0", "refused"), ("item 1", "flush")]);
        Err("told")
    })
    .await;
    assert_eq!(ended.unwrap_err().first().unwrap().error(), Some(&"told"));
    assert_eq!((alive.now(), took), (0, 3.0));
}

#[tokio::test(start_paused = true)]
async fn dropped_in_the_middle_it_drops_all_at_once() {
    let alive = Alive::new();
    let [a, b] = guards(&alive);
    {
        let running = std::pin::pin!(first_ok([guarded(a, 60, Ok(())), guarded(b, 60, Ok(()))]));
        poll_and_settle(running).await;
        assert_eq!(alive.now(), 2);
    }
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_inside_the_other_gives_the_errors_as_nested_groups() {
    let mirrors = |country: &'static str, errors: [&'static str; 2]| async move {
        let tried = errors.map(|error| async move { Err::<(), _>(anyhow::anyhow!(error)) });
        first_ok(tried).await.map_err(|errors| anyhow::Error::new(errors).context(country))
    };
    let tried = [mirrors("here", ["refused", "reset"]), mirrors("there", ["no route", "no name"])];
    let errors: ErrorGroup = first_ok(tried).await.unwrap_err();
    let leaves: Vec<_> = errors.leaves().map(|leaf| leaf.error().unwrap().to_string()).collect();
    assert_eq!(leaves, ["refused", "reset", "no route", "no name"]);
}

#[test]
fn one_success_among_many_failures_is_found_on_several_threads() {
    multi_thread(4).block_on(async {
        for lucky in 0..200 {
            let alive = Alive::new();
            let guards: Vec<_> = (0..200).map(|_| alive.guard()).collect();
            let attempts = guards.into_iter().enumerate().map(|(number, guard)| async move {
                let _guard = guard;
                tokio::task::yield_now().await;
                if number == lucky { Ok(number) } else { Err("unlucky") }
            });
            assert_eq!(first_ok(attempts).await.unwrap(), lucky);
            assert_eq!(alive.now(), 0);
        }
    });
}
