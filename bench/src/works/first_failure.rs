//! One child of many fails: from its failure until everybody has ended and the owner knows.

use std::time::Instant;

use taskgroup::{Error, TaskGroup};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::sleepers::Sleepers;
use crate::measure::{Figures, Plan, Repeat, compare, nanoseconds};

pub(super) fn joinset(plan: &Plan, threads: usize, n: usize) -> Figures {
    let ours = move |repetitions| async move {
        let mut sum = 0.0;
        for _ in 0..repetitions {
            sum += by_group(n).await;
        }
        sum
    };
    let peer = move |repetitions| async move {
        let mut sum = 0.0;
        for _ in 0..repetitions {
            sum += by_joinset(n).await;
        }
        sum
    };
    compare(plan, threads, Repeat::Fill, ours, peer)
}

/// The error that tells when it happened.
#[derive(Debug)]
struct Failed {
    at: Instant,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed, as it should")
    }
}

impl std::error::Error for Failed {}

/// Fails when it is told to.
async fn failing(when: oneshot::Receiver<()>) -> Result<(), Error> {
    when.await?;
    Err(Failed { at: Instant::now() }.into())
}

fn begin(error: &Error) -> Instant {
    error.downcast_ref::<Failed>().expect("nothing else fails").at
}

async fn by_group(n: usize) -> f64 {
    let sleepers = Sleepers::default();
    let (fail, when) = oneshot::channel();
    let group = TaskGroup::new();
    for _ in 0..n {
        group.spawn(sleepers.clone().sleep());
    }
    group.spawn(failing(when));
    sleepers.all_asleep(n).await;
    fail.send(()).expect("the failing child listens");
    let errors = group.join().await.expect_err("one child fails");
    let end = Instant::now();
    let first = errors.first().and_then(|failure| failure.error()).expect("it is an error");
    nanoseconds(end - begin(first))
}

async fn by_joinset(n: usize) -> f64 {
    let sleepers = Sleepers::default();
    let (fail, when) = oneshot::channel();
    let mut set = JoinSet::new();
    for _ in 0..n {
        set.spawn(sleepers.clone().sleep());
    }
    set.spawn(failing(when));
    sleepers.all_asleep(n).await;
    fail.send(()).expect("the failing child listens");
    let first = set.join_next().await.expect("it is not empty").expect("no child panics");
    set.abort_all();
    while set.join_next().await.is_some() {}
    let end = Instant::now();
    nanoseconds(end - begin(&first.expect_err("one child fails")))
}
