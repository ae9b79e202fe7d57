//! Many at once: futures that are run together, items that are worked off, and handles that are awaited together.
//!
//! What runs futures here opens a group for them, so that errors, panics, cancels and drops are those of any group.

mod as_completed;
mod contest;
mod first_ok;
mod gather;
mod items;
mod joined;
mod map;
mod race;

pub use as_completed::{AsCompleted, Completed, as_completed};
pub use first_ok::first_ok;
pub use gather::gather;
pub use joined::Joined;
pub use map::{
    AllThreads, InTask, IndexedMapStream, Items, LocalMap, LocalMapStream, Map, MapKind, MapStream, map,
    map_local, map_local_stream, map_stream,
};
pub use race::race;

#[cfg(all(test, taskgroup_loom))]
mod loom_tests;
