//! The pages outside the source, as doc tests: every snippet in them compiles and runs.

#[doc = include_str!("../../../docs/processes.md")]
pub struct Processes;
