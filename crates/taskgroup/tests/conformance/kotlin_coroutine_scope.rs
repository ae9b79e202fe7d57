//! Conformance list `kotlin-coroutine-scope`.
