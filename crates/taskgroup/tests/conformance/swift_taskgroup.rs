//! Conformance list `swift-taskgroup`.
