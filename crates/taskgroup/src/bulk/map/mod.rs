//! `map`: many items, a bounded number of them at a time, on all cores.
//!
//! Not a task for each item: a few *workers*, children of a group that the call opens for itself, run one item after
//! the other. A worker whose item is ready at once goes on with the next one without any scheduling; where an item
//! waits, another worker takes its place. So there are as many workers as items that really are in flight.
//!
//! * [`items`]: an iterator as a stream.
//! * [`pool`]: where workers get their items, and who of them is awake.
//! * [`worker`]: the child that runs items.
//! * [`crew`]: where they are run: on all threads, or, as children of a local group, inside the task that awaits them.
//! * [`ordered`], [`completed`]: the two ways to get the results. [`window`]: those that wait for others before them.
//! * [`local`]: the form that borrows.

mod completed;
mod crew;
mod items;
mod local;
mod ordered;
mod pool;
mod setup;
mod window;
mod worker;

pub use completed::{IndexedMapStream, MapStream};
pub use crew::{AllThreads, InTask, MapKind};
pub use items::Items;
pub use local::{LocalMap, LocalMapStream, map_local, map_local_stream};
pub use ordered::{Map, map, map_stream};

#[cfg(all(test, taskgroup_loom))]
mod loom_tests;
