//! A table of `Send`, `Sync` and `Unpin` for every public type and future, and `scope` inside `tokio::spawn`.

use std::cell::Cell;
use std::rc::Rc;

use static_assertions::{assert_impl_all, assert_not_impl_any};
use taskgroup::*;

/// Neither `Send` nor `Sync`.
type Local = Rc<u8>;
/// `Send`, not `Sync`.
type Sendable = Cell<u8>;

macro_rules! table {
    ($($type:ty: $($yes:ident)* $(, not $($no:ident)*)?;)*) => {
        $( $(assert_impl_all!($type: $yes);)* $($(assert_not_impl_any!($type: $no);)*)? )*
    };
}

table! {
    TaskGroup: Send Sync Unpin;
    TaskGroup<Sendable>: Send Sync Unpin;
    Spawner: Send Sync Unpin;
    Spawner<Sendable>: Send Sync Unpin;
    Builder: Send Sync Unpin;
    TaskBuilder<'static, Error>: Send Sync Unpin;
    Task<u8>: Send Sync Unpin;
    AsCompleted<u8>: Send Sync Unpin;
    AsCompleted<Sendable>: Send Unpin, not Sync;
    AsCompleted<Local>: Unpin, not Send Sync;
    Joined<u8>: Send Unpin, not Sync;
    Joined<Sendable, Sendable>: Send Unpin, not Sync;
    Completed<u8>: Send Sync Unpin;
    Completed<Sendable>: Send Unpin, not Sync;
    Completed<Local>: Unpin, not Send Sync;
    Task<Sendable>: Send Unpin, not Sync;
    Task<Local>: Unpin, not Send Sync;
    TaskError: Send Sync Unpin;
    ErrorGroup: Send Sync Unpin;
    ErrorGroup<Sendable>: Send Unpin, not Sync;
    ErrorGroup<Local>: Unpin, not Send Sync;
    Failure<u8>: Send Sync Unpin;
    Failure<Sendable>: Send Unpin, not Sync;
    Failure<Local>: Unpin, not Send Sync;
    Except<Error>: Send Sync Unpin;
    Leaves<'static, Error>: Send Sync Unpin;
    StartError<Error>: Send Sync Unpin;
    StartError<Sendable>: Send Unpin, not Sync;
    Limiter: Send Sync Unpin;
    Permit: Send Sync Unpin;
    Place<'static, Error>: Send Sync Unpin;
    Place<'static, Sendable>: Send Sync Unpin;
    TrySpawnError<u8>: Send Sync Unpin;
    Ready<u8>: Send Sync Unpin;
    Ready<Local>: Unpin, not Send Sync;
    CancelToken: Send Sync Unpin Eq;
    CancelScope: Send Sync Unpin;
    ScopeHandle: Send Sync Unpin;
    RescheduleError: Send Sync Unpin;
    Elapsed: Send Sync Unpin;
    Ending: Send Sync Unpin;
    Signal: Send Sync Unpin Copy;
    CancelCause: Send Sync Unpin;
    CancelReason: Send Sync Unpin;
    Cancelled: Send Sync Unpin;
    Chain<'static>: Send Sync Unpin;
    Panic: Send Sync Unpin;
    GroupReport: Send Sync Unpin;
    ChildRecord: Send Sync Unpin;
    ChildEnd: Send Sync Unpin Copy;
    CancelEnd: Send Sync Unpin Copy;
    Straggler: Send Sync Unpin;
    StragglerState: Send Sync Unpin Copy;
    Id: Send Sync Unpin Copy;
    NodeInfo: Send Sync Unpin;
    NodeKind: Send Sync Unpin Copy;
    OnDrop: Send Sync Unpin Copy;
    OnFailure: Send Sync Unpin Copy;
    OnPanic: Send Sync Unpin Copy;
    Run<'static, std::future::Ready<Result<u8, Error>>, u8, Error>: Send Sync Unpin;
    Run<'static, std::future::Ready<Result<Local, Error>>, Local, Error>: Unpin, not Send;
    Run<'static, std::marker::PhantomPinned, u8, Error>: Send, not Unpin;
    Items<std::ops::Range<u8>>: Send Sync Unpin;
    Items<std::marker::PhantomPinned>: Send Sync Unpin;
    Map<Items<std::ops::Range<u8>>, fn(u8), u8>: Send Unpin;
    Map<Items<std::ops::Range<u8>>, fn(u8), Sendable>: Send Unpin;
    Map<Items<std::ops::Range<u8>>, fn(u8), Local>: Unpin, not Send;
    Map<Items<std::ops::Range<u8>>, Sendable, u8>: Unpin, not Send;
    MapStream<Items<std::ops::Range<u8>>, fn(u8), u8>: Send Unpin;
    MapStream<Items<std::ops::Range<u8>>, fn(u8), Local>: Unpin, not Send;
    IndexedMapStream<Items<std::ops::Range<u8>>, fn(u8), u8>: Send Unpin;
    LocalMap<'static, Items<std::ops::Range<u8>>, fn(u8), u8>: Unpin, not Send Sync;
    LocalMapStream<'static, Items<std::ops::Range<u8>>, fn(u8), u8>: Unpin, not Send Sync;
    AllThreads: Send Sync Unpin;
    InTask<'static>: Send Sync Unpin;
}

#[cfg(feature = "signal")]
table! {
    Runner: Send Unpin;
    Outcome: Send Sync Unpin;
    Outcome<Sendable, Sendable>: Send Unpin, not Sync;
    Outcome<Local>: Unpin, not Send Sync;
}

fn send<T: Send>(value: T) -> T {
    value
}

fn sync_and_unpin<T: Sync + Unpin>(value: T) -> T {
    value
}

fn owned<T: Send + 'static>(value: T) -> T {
    value
}

#[tokio::test]
async fn futures_of_a_token() {
    let token = CancelToken::new();
    drop(send(token.run_until_cancelled(std::future::pending::<Sendable>())));
    drop(owned(token.clone().run_until_cancelled_owned(std::future::pending::<Sendable>())));
    // What runs beside a token need not be `Send`.
    let local = Rc::new(5);
    assert_eq!(token.run_until_cancelled(async { *local }).await, Some(5));
    token.cancel();
    send(sync_and_unpin(token.cancelled())).await;
    owned(sync_and_unpin(token.cancelled_owned())).await;
}

#[tokio::test]
async fn futures_of_time() {
    use std::time::Duration;
    let pending = std::future::pending::<Sendable>;
    let failing = std::future::pending::<Result<Sendable, Sendable>>;
    drop(owned(timeout(Duration::ZERO, pending())));
    drop(owned(timeout_at(tokio::time::Instant::now(), pending())));
    drop(owned(shield(pending())));
    drop(owned(shield_for(Duration::ZERO, pending())));
    drop(owned(CancelScope::new().run(pending())));
    drop(owned(finally(failing(), async |_| ())));
    drop(owned(finally_for(Duration::ZERO, failing(), async |_| ())));
    drop(owned(cancelled()));
    owned(checkpoint()).await;
    // What runs inside need not be `Send`, nor live for ever.
    let local = Rc::new(5);
    assert_eq!(shield(async { *local }).await, 5);
    assert_eq!(timeout(Duration::ZERO, async { *local }).await, Ok(5));
}

fn unpin_is_not_needed<T>(value: T) -> T {
    value
}

#[tokio::test]
async fn futures_are_send() {
    let group: TaskGroup<Sendable> = TaskGroup::new();
    send(group.wait_idle()).await;
    drop(send(group.ready()).await);
    drop(send(group.spawn_when_ready(async { Ok(Cell::new(1)) })).await);
    drop(send(group.task().spawn_when_ready(async { Ok(Cell::new(1)) })).await);
    drop(owned(async { Limiter::new(1).acquire().await }));
    drop(send(group.start::<u8, (), _>(|ready| async move {
        ready.ready(1);
        Ok(())
    })));
    let task = group.spawn(async { Ok(1) });
    send(task.wait_finished()).await;
    send(unpin_is_not_needed(group.join())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn futures_of_bulk() {
    let ready = |value| std::future::ready(Ok::<_, Sendable>(Sendable::new(value)));
    assert_eq!(owned(gather([ready(1)])).await.unwrap()[0].get(), 1);
    assert_eq!(owned(race([ready(2)])).await.unwrap().get(), 2);
    assert_eq!(owned(first_ok([ready(3)])).await.unwrap().get(), 3);

    // Of closures over what is borrowed, inside a task.
    async fn length(text: String) -> anyhow::Result<usize> {
        Ok(text.len())
    }
    let host = tokio::spawn(async {
        let texts = ["one".to_owned(), "three".to_owned()];
        let prefix = String::from("> ");
        let all = gather(texts.iter().map(|text| length(format!("{prefix}{text}")))).await?;
        let pairs = gather(texts.iter().enumerate().map(|(index, text)| {
            let text = text.clone();
            async move { anyhow::Ok((index, length(text).await?)) }
        }))
        .await?;
        let first = race(texts.iter().map(|text| length(text.clone()))).await?;
        let any = first_ok(texts.iter().rev().map(|text| length(text.clone()))).await?;
        Ok::<_, ErrorGroup>((all, pairs, first, any))
    });
    let (all, pairs, first, any) = host.await.unwrap().unwrap();
    assert_eq!((all, pairs), (vec![5, 7], vec![(0, 3), (1, 5)]));
    assert!([3, 5].contains(&first) && [3, 5].contains(&any));

    // With errors that are references, inside something of ours.
    let one = async || Ok::<_, &'static str>(1);
    drop(owned(async move { shield(gather([one()])).await }));
    drop(owned(async move { timeout(std::time::Duration::ZERO, race([one()])).await }));
    drop(owned(async move { finally(first_ok([one()]), async |_| ()).await }));

    // The iterator need not be `Send`.
    let local = Rc::new(5);
    let sum = owned(gather((0..2).map(|number| std::future::ready(Ok::<_, ()>(*local + number)))));
    assert_eq!(sum.await.unwrap(), [5, 6]);
}

#[derive(Debug)]
enum Mine {
    Io(#[allow(dead_code, reason = "shown by Debug")] std::io::Error),
    Task(#[allow(dead_code, reason = "shown by Debug")] TaskError),
}

impl From<std::io::Error> for Mine {
    fn from(error: std::io::Error) -> Self {
        Mine::Io(error)
    }
}

impl From<TaskError> for Mine {
    fn from(error: TaskError) -> Self {
        Mine::Task(error)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scope_inside_spawn_with_the_default_error() {
    let host = tokio::spawn(async {
        let (text, mut count) = (String::from("lent"), 0);
        let by_reference = scope(async |tg: &TaskGroup| {
            tg.spawn(async { Ok(()) });
            tokio::task::yield_now().await;
            Ok(text.len())
        })
        .await?;
        let by_mut = scope(async |tg: &TaskGroup| {
            count += tg.spawn(async { Ok(1) }).await?;
            tokio::task::yield_now().await;
            count += 1;
            Ok(count)
        })
        .await?;
        let by_move = scope(async move |tg: &TaskGroup| {
            let task = tg.spawn(async move { Ok(text) });
            Ok(task.await?)
        })
        .await?;
        Ok::<_, ErrorGroup>((by_reference, by_mut, by_move, count))
    });
    assert_eq!(host.await.unwrap().unwrap(), (4, 2, "lent".to_owned(), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scope_inside_spawn_with_anyhow_named_by_its_children() {
    let host = tokio::spawn(async {
        let (text, mut count) = (String::from("lent"), 0);
        scope(async |tg| {
            tg.spawn(async { anyhow::Ok(()) });
            count += text.len();
            tokio::task::yield_now().await;
            Ok(count)
        })
        .await
    });
    assert_eq!(host.await.unwrap().unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scope_inside_spawn_with_an_enum_of_ones_own() {
    let host = tokio::spawn(async {
        let (text, mut count) = (String::from("lent"), 0);
        let moved = text.clone();
        let first = scope(async |tg: &TaskGroup<Mine>| {
            tg.spawn(async { std::fs::metadata("/nowhere/at/all").map(drop).map_err(Mine::from) });
            count += text.len();
            tokio::task::yield_now().await;
            Ok(count)
        })
        .await;
        let second = scope(async move |tg| {
            let task = tg.spawn(async move { Ok::<_, Mine>(moved) });
            Ok(task.await?)
        })
        .await;
        (first, second, count)
    });
    let (first, second, count) = host.await.unwrap();
    assert!(matches!(first.unwrap_err().into_first().unwrap().into_error(), Ok(Mine::Io(_))));
    assert_eq!((second.unwrap(), count), ("lent".to_owned(), 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_inside_spawn_with_a_boxed_error() {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let host = tokio::spawn(async {
        let group: TaskGroup<Boxed> = TaskGroup::new();
        let task = group.spawn(async { Ok("x".parse::<i32>()?) });
        group.run(async { Ok(task.await?) }).await
    });
    let error = host.await.unwrap().unwrap_err();
    assert!(error.first().unwrap().is::<std::num::ParseIntError>());
}

#[tokio::test]
async fn run_takes_a_body_that_is_not_send() {
    let local = Rc::new(5);
    let group: TaskGroup = TaskGroup::new();
    let value = group
        .run(async {
            let copy = Rc::clone(&local);
            tokio::task::yield_now().await;
            Ok(*copy)
        })
        .await;
    assert_eq!(value.unwrap(), 5);
}

#[test]
fn which_local_things_are_send() {
    use static_assertions::{assert_impl_all, assert_not_impl_any};
    use taskgroup::{AnyThread, LocalGroup, LocalRun, LocalSpawner, LocalTask, SameThread, SendLocalGroup};
    type Body = std::future::Ready<Result<(), taskgroup::Error>>;
    assert_impl_all!(SendLocalGroup<'static>: Send, Sync);
    assert_impl_all!(LocalSpawner<'static, taskgroup::Error, AnyThread>: Send, Sync, Clone);
    assert_impl_all!(LocalTask<'static, u8, AnyThread>: Send, Sync, Unpin);
    assert_impl_all!(LocalRun<'static, 'static, Body, (), taskgroup::Error, AnyThread>: Send);
    assert_not_impl_any!(LocalTask<'static, std::cell::Cell<u8>, AnyThread>: Sync);
    assert_not_impl_any!(LocalTask<'static, Rc<u8>, AnyThread>: Send, Sync);
    assert_not_impl_any!(LocalGroup<'static>: Send, Sync);
    assert_not_impl_any!(LocalSpawner<'static>: Send, Sync);
    assert_not_impl_any!(LocalTask<'static, u8>: Send, Sync);
    assert_not_impl_any!(LocalRun<'static, 'static, Body, (), taskgroup::Error, SameThread>: Send, Sync);
    fn send<T: Send>(value: T) -> T {
        value
    }
    let text = String::from("lent");
    drop(send(async {
        let group: SendLocalGroup = SendLocalGroup::new();
        let task = group.spawn(async { Ok(text.len()) });
        let spawner = group.spawner();
        group.spawn(async move {
            spawner.spawn(async { Ok(()) });
            Ok(())
        });
        group.wait_idle().await;
        let body = async {
            let listen = async |ready: Ready<usize>| {
                ready.ready(text.len());
                Ok(())
            };
            let (length, child) = group.start(listen).await?;
            child.await?;
            Ok(length + task.await?)
        };
        group.run(body).await
    }));
}

/// The future of `start` spawns when it is polled, so it stays where its group stays.
#[test]
fn the_future_of_start_goes_where_its_group_goes() {
    struct Probe<T>(T);
    impl<T: Send> Probe<T> {
        fn is_send(&self) -> bool {
            true
        }
    }
    trait Otherwise {
        fn is_send(&self) -> bool {
            false
        }
    }
    impl<T> Otherwise for Probe<T> {}

    async fn child(ready: Ready<u8>) -> Result<(), Error> {
        ready.ready(1);
        Ok(())
    }
    let (here, anywhere) = (LocalGroup::new(), SendLocalGroup::new());
    let (spawner, far_spawner) = (here.spawner(), anywhere.spawner());
    assert!(Probe(anywhere.start(child)).is_send());
    assert!(Probe(far_spawner.start(child)).is_send());
    assert!(Probe(anywhere.task().start(child)).is_send());
    assert!(!Probe(here.start(child)).is_send());
    assert!(!Probe(spawner.start(child)).is_send());
    assert!(!Probe(here.task().start(child)).is_send());
}
