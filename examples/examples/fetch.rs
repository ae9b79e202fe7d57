//! Fetches many pages at once as one task group: `cargo run --release --example fetch -- --help`.
//!
//! The code is in `src/fetch/`; begin with its `mod.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(examples::fetch::main(std::env::args_os().skip(1)))
}
