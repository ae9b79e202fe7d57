//! Conformance list `stdexec-scopes`.
