//! `tg` runs commands as one group.
#![allow(dead_code, unused_imports)]

mod console;
mod event;

fn main() {}
