//! `tg` runs commands as one group.
#![allow(dead_code)]

mod event;

fn main() {}
