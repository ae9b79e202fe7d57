//! What must not compile, with the message that a user reads.
//!
//! The `.stderr` files hold the messages of the stable compiler that CI uses; `TRYBUILD=overwrite` renews them.

#[test]
fn what_must_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
