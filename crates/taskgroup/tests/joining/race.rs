//! The first to settle, value or error.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use taskgroup::{race, timeout};
use tokio::time::Instant;

use super::common::{multi_thread, within_an_hour};
use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_value_wins_and_the_others_are_cancelled_and_awaited() {
    let (alive, steps, began) = (Alive::new(), Steps::default(), Instant::now());
    let [a, b, c] = guards(&alive);
    let futures = [
        tidy(a, steps.clone()).boxed(),
        guarded(b, 1, Ok("quick")).boxed(),
        guarded(c, 60, Ok("slow")).boxed(),
    ];
    assert_eq!(race(futures).await.unwrap(), "quick");
    assert_eq!((alive.now(), alive.ever()), (0, 3));
    assert_eq!(steps.seen(), ["cleanup begins", "cleanup ends"]);
    assert_eq!(began.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_first_wins_too() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let line = line!() + 1;
    let errors = race([
        tidy(alive.guard(), steps.clone()).boxed(),
        after(1, Err::<(), _>("reset")).boxed(),
        after(2, Ok(())).boxed(),
    ]);
    let errors = errors.await.unwrap_err();
    assert_eq!(alive.now(), 0);
    assert_eq!(steps.seen(), ["cleanup begins", "cleanup ends"]);
    assert_eq!((told(&errors), errors.name()), (vec![("item 1", "reset")], Some("race")));
    assert_eq!(errors.first().unwrap().location().line(), line);
}

#[tokio::test(start_paused = true)]
async fn losers_that_fail_while_they_end_stand_behind_an_error_that_won() {
    let alive = Alive::new();
    let errors =
        race([stubborn(alive.guard(), 2, Err::<(), _>("flush")).boxed(), after(1, Err("reset")).boxed()]);
    assert_eq!(told(&errors.await.unwrap_err()), [("item 1", "reset"), ("item 0", "flush")]);
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_comes_after_an_error_does_not_count() {
    let alive = Alive::new();
    let errors = race([stubborn(alive.guard(), 2, Ok("late")).boxed(), after(1, Err("reset")).boxed()]);
    assert_eq!(told(&errors.await.unwrap_err()), [("item 1", "reset")]);
    assert_eq!(alive.now(), 0);
}

/// Late errors are logged: the value stands.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn a_value_that_won_stands_and_later_failures_are_logged() {
    use super::common::events::Events;
    let (events, _listening) = Events::listen();
    let alive = Alive::new();
    let [a, b] = guards(&alive);
    let losers = [stubborn(a, 2, Err("flush")).boxed(), stubborn(b, 3, Ok("late")).boxed()];
    let won = race(losers.into_iter().chain([after(1, Ok("first")).boxed()])).await;
    assert_eq!((won.unwrap(), alive.now()), ("first", 0));
    let logged = events.take(tracing::Level::ERROR);
    assert_eq!(logged.len(), 1);
    assert_eq!((logged[0].field("name"), logged[0].field("error")), ("item 0", "flush"));
    assert!(logged[0].field("path").ends_with("race > item 0"));
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn losers_that_answer_that_they_were_cancelled_have_not_failed() {
    use super::common::events::Events;
    let (events, _listening) = Events::listen();
    let answers = async {
        shield(sleep(2 * SECOND)).await;
        match taskgroup::is_cancelled() {
            true => Err(anyhow::Error::new(cancelled_error().await)),
            false => unreachable!("somebody else won"),
        }
    };
    let won = race([answers.boxed(), async { Ok("first") }.boxed()]).await as Result<_, ErrorGroup>;
    assert_eq!(won.unwrap(), "first");
    assert!(events.take(tracing::Level::ERROR).is_empty());
}

/// What a cancelled token's `check` gives.
#[cfg(feature = "tracing")]
async fn cancelled_error() -> taskgroup::Cancelled {
    let token = taskgroup::CancelToken::new();
    token.cancel();
    token.check().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_no_answer_it_goes_on_after_all_have_ended() {
    let alive = Alive::new();
    let panics = async {
        sleep(SECOND).await;
        panic!("lost my way")
    };
    assert_eq!(
        panic_of(race([guarded(alive.guard(), 60, Ok(())).boxed(), panics.boxed()])).await,
        "lost my way"
    );
    assert_eq!(alive.now(), 0);

    // Also that of a loser, although there is a value.
    let guard = alive.guard();
    let late = async {
        let _guard = guard;
        shield(sleep(2 * SECOND)).await;
        panic!("while it was ended")
    };
    assert_eq!(panic_of(race([late.boxed(), after(1, Ok(())).boxed()])).await, "while it was ended");
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
#[should_panic(expected = "`race` was given no future")]
async fn of_none_it_panics_at_the_call() {
    let none: [std::future::Ready<Outcome>; 0] = [];
    let _never_polled = race(none);
}

#[tokio::test]
async fn of_one_it_is_that_one() {
    assert_eq!(race([after(0, Ok(1))]).await.unwrap(), 1);
    assert_eq!(told(&race([after(0, Err::<(), _>("one"))]).await.unwrap_err()), [("item 0", "one")]);
}

#[tokio::test]
async fn who_has_not_run_when_it_is_decided_never_runs() {
    let alive = Alive::new();
    let [a, b] = guards(&alive);
    let first = async move {
        let _guard = a;
        Ok("first")
    };
    let second = async move {
        let _guard = b;
        unreachable!("it is decided")
    };
    let won: Result<_, Errors> = race([first.boxed(), second.boxed()]).await;
    assert_eq!(won.unwrap(), "first");
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_from_outside_cuts_all_and_a_value_that_had_won_is_lost() {
    let (alive, steps) = (Alive::new(), Steps::default());
    let futures = [tidy::<()>(alive.guard(), steps.clone())];
    let (ended, took) = cancelled_after_a_second(async move {
        let _ = race(futures).await;
        unreachable!("it waits in a cancelled region")
    })
    .await;
    ended.unwrap();
    assert_eq!((alive.now(), took, steps.seen().len()), (0, 2.0, 2));

    // Won at once; the cancel comes while the loser ends.
    let futures = [stubborn(alive.guard(), 3, Ok(())).boxed(), after(0, Ok(())).boxed()];
    let (ended, took) = cancelled_after_a_second(async move {
        let _ = race(futures).await;
        unreachable!("it waits in a cancelled region")
    })
    .await;
    ended.unwrap();
    assert_eq!((alive.now(), took), (0, 3.0));
}

#[tokio::test(start_paused = true)]
async fn to_a_cancelled_region_only_failures_are_delivered() {
    let alive = Alive::new();
    let futures = [stubborn(alive.guard(), 3, Err("flush")).boxed(), after(0, Ok("won")).boxed()];
    let (ended, _) = cancelled_after_a_second(async move {
        let errors = race(futures).await.unwrap_err();
        Err(*errors.first().unwrap().error().unwrap())
    })
    .await;
    assert_eq!(ended.unwrap_err().first().unwrap().error(), Some(&"flush"));
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_in_the_middle_and_while_the_losers_end_it_drops_all_at_once() {
    let alive = Alive::new();
    let [a, b, c] = guards(&alive);
    {
        let running = std::pin::pin!(race([guarded(a, 60, Ok(())), guarded(b, 60, Ok(()))]));
        poll_and_settle(running).await;
        assert_eq!(alive.now(), 3);
    }
    assert_eq!(alive.now(), 1);
    {
        let value = alive.guard();
        let ending = [stubborn(c, 60, Err("too late")).boxed(), async { Ok(value) }.boxed()];
        let mut ending = std::pin::pin!(race(ending));
        poll_and_settle(ending.as_mut()).await;
        assert_eq!(alive.now(), 2, "the loser, and the value");
    }
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_it_is_elapsed_and_inside_it_is_an_answer() {
    let alive = Alive::new();
    let late = timeout(SECOND, race([guarded(alive.guard(), 60, Ok(()))])).await;
    assert!(late.is_err());
    let limit = async {
        sleep(SECOND).await;
        Err("out of time")
    };
    let errors = race([guarded(alive.guard(), 60, Ok(())).boxed(), limit.boxed()]).await.unwrap_err();
    assert_eq!(told(&errors), [("item 1", "out of time")]);
    assert_eq!(alive.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_race_of_races_is_won_by_the_quickest_of_all() {
    let heat = |seconds: [u32; 2]| async move {
        race(seconds.map(|seconds| after(seconds, Outcome::Ok(seconds)))).await.map_err(|_| "a heat failed")
    };
    assert_eq!(race([heat([4, 3]), heat([2, 5])]).await.unwrap(), 2);
}

#[test]
fn ten_thousand_on_several_threads_have_one_winner_and_leave_nothing() {
    multi_thread(4).block_on(async {
        let alive = Alive::new();
        let guards: Vec<_> = (0..10_000).map(|_| alive.guard()).collect();
        let ended = std::sync::Arc::new(AtomicUsize::new(0));
        let runners = guards.into_iter().enumerate().map(|(number, guard)| {
            let ended = ended.clone();
            async move {
                let _guard = guard;
                if number < 9_000 {
                    pending::<()>().await;
                }
                tokio::task::yield_now().await;
                ended.fetch_add(1, SeqCst);
                Outcome::Ok(number)
            }
        });
        let winner = within_an_hour(race(runners)).await.unwrap();
        assert!(winner >= 9_000);
        assert_eq!(alive.now(), 0);
        assert!(ended.load(SeqCst) >= 1);
    });
}

#[test]
fn who_is_first_decides_on_several_threads_too() {
    multi_thread(4).block_on(async {
        for _ in 0..300 {
            // All at once: a value or an error, and of what did not win nothing comes out in its place.
            let runners = (0..8).map(|number| async move {
                tokio::task::yield_now().await;
                if number % 2 == 0 { Ok(number) } else { Err("odd") }
            });
            match race(runners).await {
                Ok(value) => assert_eq!(value % 2, 0),
                Err(errors) => assert!(!errors.is_empty()),
            }
        }
    });
}
