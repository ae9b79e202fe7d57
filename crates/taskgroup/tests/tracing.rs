//! What a `tracing` subscriber sees: the spans of groups and tasks, and the events with their fields.

#![cfg(feature = "tracing")]

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use common::Alive;
use taskgroup::{OnFailure, OnPanic, TaskGroup, scope};
use tokio::task::yield_now;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

/// Keeps every span and event. For one thread: what is entered is one stack.
#[derive(Clone, Default)]
struct Recorder {
    seen: Arc<Mutex<Seen>>,
    /// The most that it listens to; `None`: everything.
    level: Option<Level>,
    panics: Arc<AtomicBool>,
}

#[derive(Default)]
struct Seen {
    spans: Vec<Span>,
    events: Vec<Logged>,
    stack: Vec<usize>,
}

struct Span {
    metadata: &'static Metadata<'static>,
    fields: Fields,
    parent: Option<usize>,
    references: usize,
}

struct Logged {
    level: Level,
    fields: Fields,
    parent: Option<usize>,
}

#[derive(Clone, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Fields {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl Recorder {
    fn up_to(level: Level) -> Self {
        Self { level: Some(level), ..Self::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(self.clone())
    }

    fn disturb(&self) {
        assert!(!self.panics.load(Ordering::SeqCst), "a broken subscriber");
    }

    /// Where the one event with this message was logged: `group a > task b`, the root first.
    fn place_of(&self, message: &str) -> String {
        let seen = self.seen();
        let found: Vec<_> =
            seen.events.iter().filter(|event| event.fields.get("message") == message).collect();
        assert_eq!(found.len(), 1, "{message}");
        seen.path(found[0].parent)
    }

    fn event(&self, message: &str) -> (Level, Fields) {
        let seen = self.seen();
        let mut found = seen.events.iter().filter(|event| event.fields.get("message") == message);
        let event = found.next().unwrap_or_else(|| panic!("no event {message:?}"));
        assert!(found.next().is_none(), "one event {message:?}");
        (event.level, event.fields.clone())
    }

    fn messages(&self) -> Vec<String> {
        self.seen().events.iter().map(|event| event.fields.get("message").to_owned()).collect()
    }

    fn open_spans(&self) -> Vec<String> {
        let seen = self.seen();
        let open = seen.spans.iter().filter(|span| span.references > 0);
        open.map(|span| span.fields.get("name").to_owned()).collect()
    }
}

impl Seen {
    fn path(&self, mut next: Option<usize>) -> String {
        let mut steps = Vec::new();
        while let Some(at) = next {
            let span = &self.spans[at];
            steps.push(format!("{} {}", span.metadata.name(), span.fields.get("name")).trim().to_owned());
            next = span.parent;
        }
        steps.reverse();
        steps.join(" > ")
    }
}

fn index(id: &Id) -> usize {
    usize::try_from(id.into_u64() - 1).unwrap()
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.level.is_none_or(|level| *metadata.level() <= level)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.disturb();
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut seen = self.seen();
        let parent = match attributes.parent() {
            Some(parent) => Some(index(parent)),
            None => seen.stack.last().copied().filter(|_| attributes.is_contextual()),
        };
        seen.spans.push(Span { metadata: attributes.metadata(), fields, parent, references: 1 });
        Id::from_u64(seen.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut seen = self.seen();
        let parent = seen.stack.last().copied();
        seen.events.push(Logged { level: *event.metadata().level(), fields, parent });
        drop(seen);
        self.disturb();
    }

    fn enter(&self, id: &Id) {
        let mut seen = self.seen();
        assert!(seen.spans[index(id)].references > 0, "a closed span is entered");
        seen.stack.push(index(id));
        drop(seen);
        self.disturb();
    }

    fn exit(&self, id: &Id) {
        let mut seen = self.seen();
        assert_eq!(seen.stack.pop(), Some(index(id)), "spans are left in the order of a stack");
        drop(seen);
        self.disturb();
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.seen().spans[index(id)].references += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut seen = self.seen();
        seen.spans[index(&id)].references -= 1;
        let closed = seen.spans[index(&id)].references == 0;
        drop(seen);
        self.disturb();
        closed
    }

    fn current_span(&self) -> Current {
        let seen = self.seen();
        match seen.stack.last() {
            Some(&at) => Current::new(Id::from_u64(at as u64 + 1), seen.spans[at].metadata),
            None => Current::none(),
        }
    }
}

fn log(what: &'static str) -> anyhow::Result<()> {
    tracing::info!("{what}");
    Ok(())
}

/// Logs where it is dropped.
struct LogsDrop(&'static str);

impl Drop for LogsDrop {
    fn drop(&mut self) {
        tracing::info!("{}", self.0);
    }
}

fn named(name: &'static str) -> TaskGroup {
    TaskGroup::builder().name(name).build()
}

#[tokio::test(start_paused = true)]
async fn spans_are_nested_as_groups_and_tasks_are() {
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    let outer = named("outer");
    let run = outer.run(async {
        tracing::info!("the outer body");
        let task = outer.task().name("parent").spawn(async {
            tracing::info!("the task");
            yield_now().await;
            TaskGroup::builder()
                .name("inner")
                .scope(async |tg: &TaskGroup| {
                    tg.spawn(async { log("the inner task") });
                    tg.spawn_blocking(|_| log("never logged here")).cancel();
                    log("the inner body")
                })
                .await?;
            log("the task again")
        });
        Ok(task.await?)
    });
    run.await.unwrap();
    tracing::info!("outside");
    assert_eq!(recorder.place_of("the outer body"), "group outer");
    assert_eq!(recorder.place_of("the task"), "group outer > task parent");
    assert_eq!(recorder.place_of("the inner body"), "group outer > task parent > group inner");
    assert_eq!(recorder.place_of("the inner task"), "group outer > task parent > group inner > task");
    assert_eq!(recorder.place_of("the task again"), "group outer > task parent");
    assert_eq!(recorder.place_of("outside"), "");
    assert!(recorder.open_spans().is_empty());
}

#[tokio::test(start_paused = true)]
async fn spans_carry_name_id_and_group() {
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    let group = named("crawl");
    let task = group.task().name("page 7").spawn(async { Ok(()) });
    let (group_id, task_id) = (group.id().as_u64().to_string(), task.id().as_u64().to_string());
    group.join().await.unwrap();
    let seen = recorder.seen();
    let [task, group] = &seen.spans[..] else { panic!("two spans") };
    assert_eq!((task.metadata.name(), task.metadata.target()), ("task", "taskgroup"));
    assert_eq!(task.fields.get("name"), "page 7");
    assert_eq!(task.fields.get("id"), task_id);
    assert_eq!(task.fields.get("group"), group_id);
    assert_eq!(*task.metadata.level(), Level::INFO);
    assert_eq!((group.metadata.name(), group.metadata.target()), ("group", "taskgroup"));
    assert_eq!(group.fields.get("name"), "crawl");
    assert_eq!(group.fields.get("id"), group_id);
}

#[tokio::test(start_paused = true)]
async fn the_parent_is_the_span_at_the_spawn_not_the_groups() {
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    scope(async |tg: &TaskGroup| {
        tracing::info_span!("request", name = "GET /").in_scope(|| {
            tg.task().name("handler").spawn(async { log("handled") });
        });
        let spawner = tg.spawner();
        tg.task().name("sibling").spawn(async move {
            spawner.task().name("late").spawn(async { log("from a sibling") });
            Ok(())
        });
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(recorder.place_of("handled"), "group > request GET / > task handler");
    assert_eq!(recorder.place_of("from a sibling"), "group > task sibling > task late");
}

#[tokio::test(start_paused = true)]
async fn where_a_tasks_span_is_filtered_out_the_spawn_sites_takes_its_place() {
    let recorder = Recorder::up_to(Level::INFO);
    let _listening = recorder.listen();
    scope(async |tg: &TaskGroup| {
        let request = tracing::info_span!("request", name = "GET /");
        request.in_scope(|| tg.spawn(async { log("handled") }));
        tg.spawn(async { log("without a span") });
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(recorder.place_of("handled"), "request GET /");
    assert_eq!(recorder.place_of("without a span"), "");
    assert_eq!(recorder.seen().spans.len(), 1, "what has no name is not at INFO");
    assert!(recorder.open_spans().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_care_is_asked_for_nothing() {
    let recorder = Recorder::up_to(Level::ERROR);
    let _listening = recorder.listen();
    let group = named("quiet");
    group.task().name("child").spawn::<()>(async { anyhow::bail!("no luck") });
    assert!(group.join().await.is_err());
    assert!(recorder.seen().spans.is_empty());
    assert!(recorder.seen().events.is_empty());
}

#[tokio::test(start_paused = true)]
async fn destructors_log_inside_the_span_of_what_is_cut_or_dropped() {
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    let group = named("cut");
    let run = group.run::<(), _>(async {
        let _body = LogsDrop("the body is cut");
        let hanging = |name| async move {
            let _log = LogsDrop(name);
            pending().await
        };
        group.task().name("a").spawn::<()>(hanging("a child is cut"));
        let held = LogsDrop("never started");
        let never = group.task().name("b").spawn::<()>(async move {
            let _held = held;
            pending().await
        });
        never.cancel();
        yield_now().await;
        group.cancel();
        pending().await
    });
    assert!(run.await.unwrap_err().is_cancelled());
    assert_eq!(recorder.place_of("a child is cut"), "group cut > task a");
    assert_eq!(recorder.place_of("never started"), "group cut > task b");
    assert_eq!(recorder.place_of("the body is cut"), "group cut");

    let group = named("dropped");
    let mut run = Box::pin(group.run::<(), _>(async {
        let _body = LogsDrop("the body is dropped");
        group.task().name("c").spawn::<()>(async {
            let _log = LogsDrop("a child is dropped");
            pending().await
        });
        pending().await
    }));
    tokio::select! {
        biased;
        _ = &mut run => unreachable!("it waits"),
        () = async { for _ in 0..3 { yield_now().await } } => {}
    }
    drop(run);
    assert_eq!(recorder.place_of("a child is dropped"), "group dropped > task c");
    assert_eq!(recorder.place_of("the body is dropped"), "group dropped");
    drop(group);
    assert!(recorder.open_spans().is_empty());
}

#[tokio::test(start_paused = true)]
async fn spans_close_when_the_task_has_ended_although_handles_live_on() {
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    let group = named("books");
    let (ends, hangs, eager) = (group.task().name("ends"), group.task().name("hangs"), group.task().eager());
    let ends = ends.spawn(async { Ok(1) });
    let hangs = hangs.spawn::<()>(pending());
    let eager = eager.name("eager").spawn(async { log("at once") });
    assert_eq!(recorder.open_spans(), ["ends", "hangs", "eager"]);
    assert_eq!(recorder.place_of("at once"), "task eager");
    yield_now().await;
    assert!(ends.is_finished() && eager.is_finished());
    assert_eq!(recorder.open_spans(), ["hangs"]);
    hangs.cancel();
    yield_now().await;
    assert!(hangs.is_finished());
    assert!(recorder.open_spans().is_empty());
    group.join().await.unwrap();
    assert!(recorder.open_spans().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_future_comes_back_without_its_span() {
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    let group = named("closed");
    group.cancel();
    let refused = group.try_spawn(async { Ok(()) }).unwrap_err();
    assert!(recorder.open_spans().is_empty());
    drop(refused.into_future());
    group.spawn::<()>(pending());
    assert!(recorder.open_spans().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failures_and_panics_are_quiet_events() {
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    let group: TaskGroup =
        TaskGroup::builder().name("crawl").on_failure(OnFailure::Continue).on_panic(OnPanic::Collect).build();
    let run = group.run::<(), _>(async {
        let bad = group.task().name("bad");
        let bad = bad.spawn::<()>(async { Err(anyhow::anyhow!("refused").context("cannot fetch")) });
        group.task().name("worse").spawn::<()>(async { panic!("out of bounds") });
        yield_now().await;
        assert!(bad.is_finished());
        anyhow::bail!("the body gave up")
    });
    assert_eq!(run.await.unwrap_err().len(), 3);

    let (level, fields) = recorder.event("task failed");
    assert_eq!(level, Level::DEBUG);
    assert_eq!(fields.get("name"), "bad");
    assert_eq!(fields.get("group"), group.id().as_u64().to_string());
    assert_eq!(fields.get("path"), "crawl > bad");
    assert_eq!(fields.get("error"), "cannot fetch: refused");
    assert!(fields.get("location").contains("tracing.rs"), "{}", fields.get("location"));
    assert_eq!(recorder.place_of("task failed"), "group crawl > task bad");

    let (level, fields) = recorder.event("task panicked");
    assert_eq!(level, Level::DEBUG);
    assert_eq!(fields.get("name"), "worse");
    assert_eq!(fields.get("error"), "panicked: out of bounds");

    let (level, fields) = recorder.event("body of group failed");
    assert_eq!(level, Level::DEBUG);
    assert_eq!(fields.get("error"), "the body gave up");
    assert_eq!(recorder.place_of("body of group failed"), "group crawl");

    let (level, fields) = recorder.event("group cancelled");
    assert_eq!(level, Level::DEBUG);
    assert_eq!(fields.get("name"), "crawl");
    assert!(fields.get("cause").contains("body of group \"crawl\""), "{}", fields.get("cause"));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_an_event_with_its_cause() {
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    let group = named("server");
    group.spawn::<()>(pending());
    group.cancel_because("closing time");
    group.cancel_because("again");
    group.join().await.unwrap();
    let (level, fields) = recorder.event("group cancelled");
    assert_eq!(level, Level::DEBUG);
    assert_eq!(fields.get("id"), fields.get("id").parse::<u64>().unwrap().to_string());
    assert_eq!(fields.get("cause"), "closing time");
    assert_eq!(recorder.messages(), ["group cancelled"], "a child that is cut is no event");
}

#[tokio::test(start_paused = true)]
async fn work_torn_by_the_end_of_a_grace_period_is_named() {
    let recorder = Recorder::up_to(Level::WARN);
    let _listening = recorder.listen();
    let group: TaskGroup = TaskGroup::builder().name("shutdown").grace(Duration::from_secs(5)).build();
    group.task().name("stubborn").cooperative::<(), _, _>(|_| pending());
    let own = group.task().name("impatient").grace(Duration::from_secs(1));
    own.cooperative::<(), _, _>(|_| pending());
    group.task().name("polite").cooperative(|token| async move {
        while !token.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    });
    group.task().name("cut").spawn::<()>(pending());
    yield_now().await;
    group.cancel();
    let id = group.id().as_u64().to_string();
    group.join().await.unwrap();

    let seen = recorder.seen();
    let torn: Vec<_> =
        seen.events.iter().map(|event| (event.fields.get("message"), event.fields.get("name"))).collect();
    let (task, whole) =
        ("task dropped: its grace period was over", "group dropped: its grace period was over");
    assert_eq!(torn, [(task, "impatient"), (whole, "shutdown"), (task, "stubborn")]);
    for (event, waited) in seen.events.iter().zip([1, 5, 5]) {
        assert_eq!(event.level, Level::WARN);
        assert!(
            event.fields.get("waited").starts_with(&waited.to_string()),
            "{}",
            event.fields.get("waited")
        );
        assert!(event.fields.get("location").contains("tracing.rs"));
        assert!(!event.fields.get("id").is_empty());
        if event.fields.get("message") == task {
            assert_eq!(event.fields.get("group"), id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_nobody_can_be_told_of_has_fields() {
    let recorder = Recorder::up_to(Level::ERROR);
    let _listening = recorder.listen();
    let group: TaskGroup = TaskGroup::builder().name("gone").on_failure(OnFailure::Continue).build();
    let task = group.task().name("bad").spawn::<()>(async { anyhow::bail!("no luck") });
    let id = task.id().as_u64().to_string();
    yield_now().await;
    assert!(task.is_finished());
    drop(group);
    let seen = recorder.seen();
    let [event] = &seen.events[..] else { panic!("one event") };
    assert_eq!(event.level, Level::ERROR);
    assert_eq!(event.fields.get("name"), "bad");
    assert_eq!(event.fields.get("id"), id);
    assert_eq!(event.fields.get("path"), "gone > bad");
    assert_eq!(event.fields.get("error"), "no luck");
    assert!(event.fields.get("message").contains("nobody can be told of"));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_ends_nobody() {
    let alive = Alive::new();
    let recorder = Recorder::default();
    let _listening = recorder.listen();
    let group = named("broken log");
    let value = group.task().name("value").spawn(async {
        yield_now().await;
        Ok(7)
    });
    let guard = alive.guard();
    let cut = group.task().name("cut").spawn::<()>(async move {
        let _guard = guard;
        pending().await
    });
    let failed = group.task().name("failed").spawn::<()>(async {
        yield_now().await;
        yield_now().await;
        anyhow::bail!("the one failure")
    });
    recorder.panics.store(true, Ordering::SeqCst);
    let late = group.task().name("without a span").spawn(async { Ok(8) });
    let error = group.join().await.unwrap_err();
    recorder.panics.store(false, Ordering::SeqCst);
    assert_eq!(error.len(), 1, "{error:#}");
    assert_eq!(value.into_result().unwrap(), 7);
    assert_eq!(late.into_result().unwrap(), 8);
    assert!(cut.into_result().unwrap_err().is_cancelled());
    assert!(failed.into_result().unwrap_err().is_failed());
    assert_eq!(alive.now(), 0);
    assert!(recorder.open_spans().is_empty());
}
