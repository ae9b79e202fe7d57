//! Real signals, sent to a real process: this program, started by itself with the name of one of
//! [`programs`] in its environment. Tests and program go by each other's lines, never by time.

#[cfg(unix)]
mod cases;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod programs;

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    if let Ok(name) = std::env::var(process::PROGRAM) {
        return programs::run(&name);
    }
    let filters: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let cases: Vec<_> = cases::ALL.iter().filter(|(name, _)| wanted(name)).collect();
    println!("\nrunning {} tests", cases.len());
    let mut failed = 0;
    for (name, case) in &cases {
        let ended = std::panic::catch_unwind(case);
        failed += usize::from(ended.is_err());
        println!("test {name} ... {}", if ended.is_ok() { "ok" } else { "FAILED" });
    }
    let (passed, result) = (cases.len() - failed, if failed == 0 { "ok" } else { "FAILED" });
    println!("\ntest result: {result}. {passed} passed; {failed} failed\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    println!("\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed\n");
    ExitCode::SUCCESS
}
