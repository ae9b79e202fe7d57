//! The examples' code, as a library: so that their tests can call it. The programs are in `examples/`.

pub mod fetch;
