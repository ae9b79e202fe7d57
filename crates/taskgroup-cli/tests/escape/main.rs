//! The escape matrix, where the promise of it is made: on Linux.

#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
mod matrix;

#[cfg(all(target_os = "linux", not(taskgroup_process_portable)))]
fn main() -> std::process::ExitCode {
    matrix::main()
}

/// Containment is weaker elsewhere.
#[cfg(not(all(target_os = "linux", not(taskgroup_process_portable))))]
fn main() {}
