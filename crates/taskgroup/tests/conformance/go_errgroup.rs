//! Conformance list `go-errgroup`.
