//! The pages outside the source that speak of processes, as doc tests.

#[doc = include_str!("../../../README.md")]
pub struct Readme;
