//! Tells the program which compiler and which versions of tokio and of the peers it was built with.

use std::process::Command;
use std::{env, fs};

/// The packages whose versions the figures depend on, and the variables that carry them.
const PACKAGES: [(&str, &str); 1] = [("tokio", "BENCH_TOKIO")];

fn main() {
    let lock = "../Cargo.lock";
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={lock}");
    let rustc = env::var("RUSTC").expect("cargo tells which compiler it uses");
    let version = Command::new(rustc).arg("--version").output().expect("the compiler runs");
    let version = String::from_utf8_lossy(&version.stdout);
    // `rustc 1.90.0 (hash date)`: the number is enough.
    let version = version.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=BENCH_RUSTC={version}");
    let lock = fs::read_to_string(lock).expect("the workspace is locked");
    for (package, variable) in PACKAGES {
        println!("cargo::rustc-env={variable}={}", locked(&lock, package));
    }
}

/// The version of a package, which stands in the line after its name.
fn locked<'lock>(lock: &'lock str, package: &str) -> &'lock str {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.map_or("unknown", |version| version.trim_matches('"'))
}
