//! Many at once: futures that are run together, and items that are worked off.
//!
//! What runs futures here opens a group for them, so that errors, panics, cancels and drops are those of any group.

mod map;

pub use map::{IndexedMapStream, Items, Map, MapStream, map, map_stream};
