//! Ten short callers as a user would write them. They came before the library; where one needed an annotation
//! or read badly, the API was bettered.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taskgroup::{ErrorGroup, OnFailure, Spawner, TaskGroup, scope};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

async fn load(what: &str, after_ms: u64) -> anyhow::Result<String> {
    sleep(Duration::from_millis(after_ms)).await;
    Ok(what.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_web_handler_joins_three_calls() {
    async fn handler(user: u32) -> anyhow::Result<String> {
        let page = scope(async |tg| {
            let profile = tg.spawn(async move { load(&format!("user {user}"), 30).await });
            let posts = tg.spawn(load("posts", 20));
            let ads = tg.spawn(load("ads", 10));
            Ok(format!("{}, {}, {}", profile.await?, posts.await?, ads.await?))
        })
        .await?;
        Ok(page)
    }
    let begun = Instant::now();
    assert_eq!(handler(7).await.unwrap(), "user 7, posts, ads");
    assert_eq!(begun.elapsed(), Duration::from_millis(30));
}

#[tokio::test(start_paused = true)]
async fn a_crawler_spawns_from_its_children() {
    #[derive(Clone)]
    struct Crawler {
        spawner: Spawner,
        seen: Arc<Mutex<HashSet<u32>>>,
    }

    impl Crawler {
        fn visit(&self, page: u32) {
            if page > 20 || !self.seen.lock().unwrap().insert(page) {
                return;
            }
            let crawler = self.clone();
            self.spawner.task().name(format!("page {page}")).spawn(async move {
                load("page", u64::from(page)).await?;
                crawler.visit(page * 2);
                crawler.visit(page * 2 + 1);
                Ok(())
            });
        }
    }

    let seen = Arc::new(Mutex::new(HashSet::new()));
    scope(async |tg| {
        Crawler { spawner: tg.spawner(), seen: seen.clone() }.visit(1);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(seen.lock().unwrap().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn an_accept_loop_with_background_tasks() {
    let (connect, mut incoming) = mpsc::channel::<u32>(4);
    let served = Arc::new(Mutex::new(Vec::new()));
    let clients = tokio::spawn(async move {
        for client in 0..3 {
            sleep(Duration::from_millis(10)).await;
            connect.send(client).await.unwrap();
        }
    });
    scope(async |tg: &TaskGroup| {
        tg.task().name("metrics").background().spawn::<()>(async {
            loop {
                sleep(Duration::from_secs(1)).await;
            }
        });
        while let Some(client) = incoming.recv().await {
            let served = served.clone();
            tg.spawn(async move {
                sleep(Duration::from_millis(50)).await;
                served.lock().unwrap().push(client);
                Ok(())
            });
        }
        Ok(())
    })
    .await
    .unwrap();
    clients.await.unwrap();
    assert_eq!(*served.lock().unwrap(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_over_channels() {
    let (numbers, mut to_square) = mpsc::channel(2);
    let (squares, mut to_sum) = mpsc::channel(2);
    let sum = scope(async |tg: &TaskGroup| {
        tg.task().name("produce").spawn(async move {
            for number in 1..=10_u64 {
                numbers.send(number).await?;
            }
            Ok(())
        });
        tg.task().name("square").spawn(async move {
            while let Some(number) = to_square.recv().await {
                squares.send(number * number).await?;
            }
            Ok(())
        });
        let sum = tg.task().name("sum").spawn(async move {
            let mut sum = 0;
            while let Some(square) = to_sum.recv().await {
                sum += square;
            }
            Ok(sum)
        });
        Ok(sum.await?)
    })
    .await;
    assert_eq!(sum.unwrap(), 385);
}

#[tokio::test(start_paused = true)]
async fn the_first_of_two_mirrors() {
    let begun = Instant::now();
    let text = scope(async |tg| {
        let (near, far) = (tg.spawn(load("near", 10)), tg.spawn(load("far", 10_000)));
        let text = tokio::select! {
            text = near => text?,
            text = far => text?,
        };
        tg.cancel();
        Ok(text)
    })
    .await;
    assert_eq!(text.unwrap(), "near");
    assert_eq!(begun.elapsed(), Duration::from_millis(10));
}

#[tokio::test]
async fn a_blocking_parser() {
    let lines = vec!["1", "2", "x", "4"];
    let parsed = scope(async |tg: &TaskGroup| {
        let numbers = tg.spawn_blocking(move |token| {
            let mut numbers = Vec::new();
            for line in lines {
                token.check()?;
                numbers.extend(line.parse::<i32>().ok());
            }
            Ok(numbers)
        });
        Ok(numbers.await?)
    })
    .await;
    assert_eq!(parsed.unwrap(), [1, 2, 4]);
}

#[tokio::test]
async fn a_plain_thread_spawns_and_waits() {
    let answer = scope(async |tg: &TaskGroup| {
        let spawner = tg.spawner();
        let thread = std::thread::spawn(move || spawner.spawn(async { Ok(6 * 7) }).wait());
        let answer = tg.spawn_blocking(move |_| Ok(thread.join().expect("the thread returned")?));
        Ok(answer.await?)
    })
    .await;
    assert_eq!(answer.unwrap(), 42);
}

#[tokio::test]
async fn errors_of_three_types_are_handled_apart() {
    #[derive(Debug)]
    struct HttpError(u16);
    impl std::fmt::Display for HttpError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "status {}", self.0)
        }
    }
    impl std::error::Error for HttpError {}

    let failed = TaskGroup::builder()
        .on_failure(OnFailure::Continue)
        .scope(async |tg: &TaskGroup| {
            tg.spawn_into(async { Err::<(), _>(HttpError(404)) });
            tg.spawn_into(async { Err::<(), _>(io::Error::other("reset")) });
            tg.spawn(async { Ok("x".parse::<i32>()?) });
            tg.spawn(async { Err::<(), _>(anyhow::anyhow!("unforeseen")) });
            Ok(())
        })
        .await
        .unwrap_err();

    let (mut statuses, mut network, mut numbers) = (Vec::new(), 0, 0);
    let rest = failed
        .except::<HttpError>(|error| statuses.push(error.0))
        .except::<io::Error>(|_| network += 1)
        .except::<std::num::ParseIntError>(|_| numbers += 1)
        .rest();
    assert_eq!((statuses.as_slice(), network, numbers), ([404].as_slice(), 1, 1));
    assert!(rest.unwrap_err().to_string().contains("unforeseen"));
}

/// A library function that leaves the error type to its caller.
async fn both<T, E, A, B>(left: A, right: B) -> Result<(T, T), ErrorGroup<E>>
where
    T: Send + 'static,
    E: Send + 'static + From<taskgroup::TaskError>,
    A: Future<Output = Result<T, E>> + Send + 'static,
    B: Future<Output = Result<T, E>> + Send + 'static,
{
    scope(async |tg| {
        let (left, right) = (tg.spawn(left), tg.spawn(right));
        Ok((left.await?, right.await?))
    })
    .await
}

#[tokio::test]
async fn a_library_function_generic_over_its_error() {
    #[derive(Debug)]
    enum Mine {
        Wrong(u8),
        Task(#[allow(dead_code, reason = "shown by Debug")] taskgroup::TaskError),
    }
    impl From<taskgroup::TaskError> for Mine {
        fn from(error: taskgroup::TaskError) -> Self {
            Mine::Task(error)
        }
    }

    assert_eq!(both(async { Ok::<_, Mine>(1) }, async { Ok(2) }).await.unwrap(), (1, 2));
    let failed = both(async { Err::<u8, _>(Mine::Wrong(3)) }, std::future::pending()).await.unwrap_err();
    assert!(matches!(failed.into_first().unwrap().into_error(), Ok(Mine::Wrong(3))));
    let fine = both(async { anyhow::Ok(1) }, async { Ok(2) }).await;
    assert_eq!(fine.unwrap(), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_group_kept_in_a_struct() {
    struct Server {
        connections: TaskGroup,
        closed: Arc<Mutex<Vec<u32>>>,
    }

    impl Server {
        fn accept(&self, id: u32) {
            let closed = self.closed.clone();
            self.connections.spawn(async move {
                sleep(Duration::from_millis(id.into())).await;
                closed.lock().unwrap().push(id);
                Ok(())
            });
        }

        async fn shut_down(self) -> anyhow::Result<()> {
            self.connections.wait_idle().await;
            Ok(self.connections.join().await?)
        }
    }

    let closed = Arc::new(Mutex::new(Vec::new()));
    let server = Server { connections: TaskGroup::new(), closed: closed.clone() };
    server.accept(20);
    server.accept(10);
    assert_eq!(server.connections.len(), 2);
    server.shut_down().await.unwrap();
    assert_eq!(*closed.lock().unwrap(), [10, 20]);
}
