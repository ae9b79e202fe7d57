//! `tg` runs commands as one group.
#![allow(dead_code, unused_imports)]

mod args;
mod console;
mod duration;
mod event;
mod log;
mod pages;
mod plan;
mod trouble;

fn main() {}
