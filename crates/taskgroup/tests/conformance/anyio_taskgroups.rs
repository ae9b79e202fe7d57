//! Conformance list `anyio-taskgroups`.
