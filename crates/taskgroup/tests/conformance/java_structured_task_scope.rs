//! Conformance list `java-structured-task-scope`.
