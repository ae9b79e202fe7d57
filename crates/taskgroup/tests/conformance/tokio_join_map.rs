//! Conformance list `tokio-join-map`.
