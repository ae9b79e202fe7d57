//! `tg` runs commands as one group.
#![allow(dead_code)]

mod args;
mod duration;
mod event;
mod pages;
mod plan;
mod trouble;

fn main() {}
