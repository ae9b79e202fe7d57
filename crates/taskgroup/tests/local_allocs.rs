//! How many allocations a child of a local group costs, and an item of `map_local`. A program of its own, for it counts all of them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use taskgroup::{LocalGroup, map_local};
use tokio::task::yield_now;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: it is the system's, with a count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

async fn allocations(children: usize, waits: bool) -> usize {
    let before = COUNT.get();
    let sum = Cell::new(0);
    let group: LocalGroup = LocalGroup::new();
    for _ in 0..children {
        let sum = &sum;
        group.spawn(async move {
            if waits {
                yield_now().await;
            }
            sum.set(sum.get() + 1);
            Ok(())
        });
    }
    group.join().await.unwrap();
    assert_eq!(sum.get(), children);
    COUNT.get() - before
}

/// How many allocations 1,000 children more cost.
async fn for_a_thousand(waits: bool) -> usize {
    // The runtime's and the thread's own, once.
    allocations(2_000, waits).await;
    let (few, many) = (allocations(1_000, waits).await, allocations(2_000, waits).await);
    many - few
}

/// They lie side by side.
#[tokio::test]
async fn a_child_that_ends_in_its_first_poll_shares_its_allocation() {
    let more = for_a_thousand(false).await;
    assert!(more <= 100, "{more} allocations for 1,000 children more");
}

#[tokio::test]
async fn a_child_that_waits_costs_one_allocation() {
    let more = for_a_thousand(true).await;
    // And those that many share. Lists that grow by doubling grow once or twice more.
    assert!(more <= 1_100, "{more} allocations for 1,000 children more");
}

async fn allocations_of_a_map(items: usize, waits: bool) -> usize {
    let before = COUNT.get();
    let sum = Cell::new(0);
    let results = map_local(0..items, 16, async |_| {
        if waits {
            yield_now().await;
        }
        sum.set(sum.get() + 1);
        anyhow::Ok(())
    });
    assert_eq!((results.await.unwrap().len(), sum.get()), (items, items));
    COUNT.get() - before
}

#[tokio::test]
async fn no_allocation_an_item() {
    for waits in [false, true] {
        allocations_of_a_map(4_000, waits).await;
        let (few, many) =
            (allocations_of_a_map(2_000, waits).await, allocations_of_a_map(4_000, waits).await);
        // One for each list of results that grows, and each turn that was over: not for each item.
        let more = many.saturating_sub(few);
        assert!(more <= 100, "{more} allocations for 2,000 items more");
    }
}
