//! Conformance list `conc`.
