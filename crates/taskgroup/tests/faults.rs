//! Bad input and broken parts: the group still ends, the others are still joined, and the text says what to do.

mod common;

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use common::{Alive, multi_thread};
use taskgroup::{ErrorGroup, OnFailure, OnPanic, TaskGroup, scope};
use tokio::task::yield_now;

fn panic_text(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().expect("a text").to_string(),
    }
}

#[test]
fn spawning_outside_a_runtime_says_what_to_do() {
    let group: TaskGroup = TaskGroup::new();
    let text = panic_text(|| drop(group.spawn(async { Ok(()) })));
    assert!(text.contains("outside a tokio runtime"), "{text}");
    assert!(text.contains("#[tokio::main]"), "{text}");
    assert_eq!(group.len(), 0);
}

#[tokio::test]
async fn running_twice_says_so() {
    let group: TaskGroup = TaskGroup::new();
    group.run(async { Ok(()) }).await.unwrap();
    let again = tokio::spawn(async move { group.run(async { Ok(()) }).await });
    let payload = again.await.unwrap_err().into_panic();
    let text = payload.downcast_ref::<String>().unwrap();
    assert!(text.contains("run a second time"), "{text}");
    assert!(text.contains("faults.rs"), "{text}");
}

#[tokio::test]
async fn running_a_group_inside_its_own_task_says_so() {
    let group: Arc<TaskGroup> = Arc::new(TaskGroup::builder().on_panic(OnPanic::Collect).build());
    let own = Arc::clone(&group);
    let task = group.spawn(async move { Ok(own.run(async { Ok(()) }).await?) });
    assert!(task.await.unwrap_err().is_panicked());
    drop(group);
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in a destructor");
        }
    }
}

#[tokio::test]
async fn a_destructor_that_panics_is_a_panic_of_its_task() {
    let alive = Alive::new();
    let group: TaskGroup =
        TaskGroup::builder().on_panic(OnPanic::Collect).on_failure(OnFailure::Continue).build();
    let cut = group.spawn::<()>(async {
        let _bad = PanicsOnDrop;
        pending().await
    });
    let returned = group.spawn(async {
        let bad = PanicsOnDrop;
        yield_now().await;
        drop(bad);
        Ok(())
    });
    let guard = alive.guard();
    let fine = group.spawn(async move {
        let _guard = guard;
        Ok(1)
    });
    yield_now().await;
    yield_now().await;
    cut.cancel();
    let errors = group.join().await.unwrap_err();
    assert_eq!(errors.len(), 2);
    assert!(errors.failures().iter().all(|failure| failure.panic().is_some()));
    assert!(cut.into_result().unwrap_err().is_panicked());
    assert!(returned.into_result().unwrap_err().is_panicked());
    assert_eq!(fine.into_result().unwrap(), 1);
    assert_eq!(alive.now(), 0);
}

#[tokio::test]
async fn a_destructor_that_panics_in_a_drop_costs_the_others_nothing() {
    let alive = Alive::new();
    let group: TaskGroup = TaskGroup::new();
    for _ in 0..3 {
        let guard = alive.guard();
        group.spawn::<()>(async move {
            let _guards = (guard, PanicsOnDrop);
            pending().await
        });
    }
    yield_now().await;
    drop(group);
    assert_eq!(alive.now(), 0);
}

#[derive(Debug)]
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no text for you")
    }
}

impl std::error::Error for Unprintable {}

#[test]
fn an_error_whose_display_panics_does_not_spoil_the_report() {
    let errors = [anyhow::anyhow!("first"), anyhow::Error::new(Unprintable), anyhow::anyhow!("third")];
    let group = ErrorGroup::from_errors(errors).unwrap();
    for text in [format!("{group}"), format!("{group:#}"), format!("{group:?}")] {
        assert!(text.contains("first") && text.contains("third"), "{text}");
        assert!(text.contains("(its Display panicked)"), "{text}");
    }
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("a broken executor");
    }
}

#[tokio::test]
async fn a_waker_that_panics_does_not_stop_the_others() {
    let group: TaskGroup = TaskGroup::new();
    let mut task = group.spawn(async {
        yield_now().await;
        Ok(5)
    });
    let broken = Waker::from(Arc::new(PanickingWaker));
    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&broken)).is_pending());
    let mut joined = Box::pin(group.join());
    assert!(joined.as_mut().poll(&mut Context::from_waker(&broken)).is_pending());
    poll_fn(|cx| joined.as_mut().poll(cx)).await.unwrap();
    assert_eq!(task.into_result().unwrap(), 5);
}

#[test]
fn a_runtime_shut_down_under_a_group_leaves_nothing_hanging() {
    let runtime = multi_thread(2);
    let alive = Alive::new();
    let group: TaskGroup = runtime.block_on(async { TaskGroup::new() });
    let guard = alive.guard();
    let task = group.spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    drop(runtime);
    assert_eq!(alive.now(), 0);
    let late = group.spawn(async { Ok(()) });
    let error = task.wait().unwrap_err();
    assert!(error.is_cancelled());
    assert!(error.to_string().contains("the runtime was shut down"), "{error}");
    assert!(late.wait().unwrap_err().never_started());
    let mut joined = Box::pin(group.join());
    let polled = joined.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))), "nothing is left to wait for");
}

#[tokio::test]
async fn waiting_on_a_runtime_thread_is_an_error_not_a_deadlock() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn(async { Ok(()) });
    let error = task.wait().unwrap_err();
    assert!(error.is_runtime_thread());
    assert!(error.to_string().contains(".await"), "{error}");
    group.join().await.unwrap();
}

#[tokio::test]
async fn a_plain_thread_may_wait() {
    let group: TaskGroup = TaskGroup::new();
    let task = group.spawn(async {
        yield_now().await;
        Ok(8)
    });
    let thread = std::thread::spawn(move || task.wait());
    group.join().await.unwrap();
    assert_eq!(thread.join().unwrap().unwrap(), 8);
}

#[tokio::test]
async fn error_types_of_every_sort() {
    struct Neither(#[allow(dead_code, reason = "makes it neither Clone nor Sync")] std::cell::Cell<u8>);
    let group: TaskGroup<Neither> = TaskGroup::new();
    group.spawn::<()>(async { Err(Neither(std::cell::Cell::new(1))) });
    assert_eq!(group.join().await.err().unwrap().len(), 1);

    let group: TaskGroup<()> = TaskGroup::new();
    group.spawn::<()>(async { Err(()) });
    let error = group.join().await.unwrap_err();
    assert_eq!(error.first().unwrap().error(), Some(&()));

    let group: TaskGroup<[u64; 512]> = TaskGroup::new();
    group.spawn::<()>(async { Err([7; 512]) });
    let error = group.join().await.unwrap_err();
    assert_eq!(error.into_first().unwrap().into_error().unwrap()[511], 7);

    let group: TaskGroup<Box<dyn std::error::Error + Send + Sync>> = TaskGroup::new();
    let ran = group.run(async { Err::<(), _>("plain text".into()) }).await;
    assert!(ran.unwrap_err().to_string().contains("plain text"));
}

#[tokio::test]
async fn a_panic_with_a_payload_of_any_type_reaches_the_host() {
    let host = tokio::spawn(scope(async |tg: &TaskGroup| {
        tg.spawn::<()>(async { std::panic::panic_any(42_u8) });
        Ok(())
    }));
    let payload = host.await.unwrap_err().into_panic();
    assert_eq!(payload.downcast_ref::<u8>(), Some(&42));
}

#[test]
fn errors_nested_a_hundred_thousand_deep_are_printed_split_and_dropped() {
    fn nested(depth: usize) -> ErrorGroup {
        let mut group = ErrorGroup::from_errors([anyhow::anyhow!("the leaf")]).unwrap();
        for _ in 0..depth {
            group = ErrorGroup::from_errors([anyhow::Error::new(group)]).unwrap();
        }
        group
    }
    let group = nested(100_000);
    assert_eq!(group.leaves().count(), 1);
    assert!(group.to_string().contains("the leaf"));
    assert!(format!("{group:#}").contains("the leaf"));
    assert!(format!("{group:?}").contains("the leaf"));
    let (chosen, rest) = group.split(|_| true);
    assert!(rest.is_none());
    let leaves = chosen.unwrap().into_leaves();
    assert_eq!(leaves.len(), 1);
    drop(nested(100_000));
    drop(anyhow::Error::new(nested(100_000)));
}
