//! Conformance list `kotlin-supervisor`.
