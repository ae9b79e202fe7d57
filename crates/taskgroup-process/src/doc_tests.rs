//! The pages outside the source, as doc tests: every snippet in them compiles and runs.

#[doc = include_str!("../../../docs/processes.md")]
pub struct Processes;

#[doc = include_str!("../../../README.md")]
pub struct Readme;
