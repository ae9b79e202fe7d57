//! Conformance list `tokio-task-tracker`.
