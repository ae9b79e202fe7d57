//! Conformance list `tokio-join-set`.
