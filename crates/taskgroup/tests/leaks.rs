//! Nothing is left in memory of children that have ended, and nothing grows with their polls: the bytes are counted.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::task::Poll;

use taskgroup::{TaskGroup, shield};
use tokio::task::yield_now;

static LIVE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `program` many times, and fails if each time leaves something behind.
async fn assert_nothing_left<F: Future<Output = ()>>(what: &str, program: impl Fn() -> F) {
    const TIMES: isize = 50;
    let mut before = 0;
    for time in 0..TIMES + 5 {
        if time == 5 {
            before = LIVE.load(Ordering::Relaxed);
        }
        program().await;
        for _ in 0..5 {
            yield_now().await;
        }
    }
    let left = LIVE.load(Ordering::Relaxed) - before;
    assert!(left < TIMES * 100, "{what}: {left} bytes are left after {TIMES} times");
}

/// Wakes itself, and never ends.
async fn restless() {
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    })
    .await;
}

async fn assert_wake_ups_cost_nothing() {
    let group: TaskGroup = TaskGroup::new();
    let polls = Arc::new(AtomicUsize::new(0));
    group.spawn({
        let polls = Arc::clone(&polls);
        async move {
            shield(poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            }))
            .await;
            Ok(())
        }
    });
    yield_now().await;
    let (before, first) = (LIVE.load(Ordering::Relaxed), polls.load(Ordering::Relaxed));
    while polls.load(Ordering::Relaxed) < first + 2_000 {
        yield_now().await;
    }
    let grown = LIVE.load(Ordering::Relaxed) - before;
    assert!(grown < 2_000, "{grown} bytes for 2000 wake-ups");
}

/// One test, for the count is the process's.
#[tokio::test]
async fn children_that_have_ended_leave_nothing_behind() {
    assert_nothing_left("a shield that is given up, woken", || async {
        let group: TaskGroup = TaskGroup::new();
        group.spawn(async {
            tokio::select! {
                biased;
                () = shield(restless()) => {}
                () = async {} => {}
            }
            Ok(())
        });
        group.join().await.unwrap();
    })
    .await;
    assert_nothing_left("a shield that is dropped with its group, woken", || async {
        let group: TaskGroup = TaskGroup::new();
        group.spawn(async {
            shield(restless()).await;
            Ok(())
        });
        yield_now().await;
        drop(group);
    })
    .await;
    assert_nothing_left("children that wait for each other and for themselves", || async {
        let group: TaskGroup = TaskGroup::new();
        let (give, take) = tokio::sync::oneshot::channel::<taskgroup::Task<()>>();
        let task = group.spawn(async { take.await.unwrap().await.map_err(Into::into) });
        assert!(give.send(task).is_ok());
        yield_now().await;
        group.cancel();
        group.join().await.unwrap();
    })
    .await;
    assert_nothing_left("children that are dropped before, between and during polls", || async {
        let group: TaskGroup = TaskGroup::new();
        group.spawn::<()>(pending());
        group.spawn::<()>(async {
            restless().await;
            Ok(())
        });
        group.task().eager().spawn::<()>(pending());
        yield_now().await;
        group.spawn::<()>(pending());
        drop(group);
    })
    .await;
    assert_wake_ups_cost_nothing().await;
}
