//! The pages outside the source, as doc tests: every snippet in them compiles and runs.

#[doc = include_str!("../../../README.md")]
pub struct Readme;

#[doc = include_str!("../../../docs/from-asyncio.md")]
pub struct FromAsyncio;

#[doc = include_str!("../../../docs/cancellation.md")]
pub struct Cancellation;
