//! The pages outside the source, as doc tests: every snippet in them compiles and runs. The README's are those of
//! `taskgroup-process`, which it speaks of too.

#[doc = include_str!("../../../docs/from-asyncio.md")]
pub struct FromAsyncio;

#[doc = include_str!("../../../docs/cancellation.md")]
pub struct Cancellation;
