//! Conformance list `cpython-taskgroups`.
