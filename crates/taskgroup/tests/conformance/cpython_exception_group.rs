//! Conformance list `cpython-exception-group`.
