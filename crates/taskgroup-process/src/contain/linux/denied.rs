//! Why the system does not let a command be isolated, in words.

use std::io;

/// Settings that forbid it: the file below `/proc/sys`, its name, the value.
const SETTINGS: [(&str, &str, &str); 4] = [
    ("user/max_user_namespaces", "user.max_user_namespaces", "0"),
    ("user/max_pid_namespaces", "user.max_pid_namespaces", "0"),
    ("kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "0"),
    ("kernel/apparmor_restrict_unprivileged_userns", "kernel.apparmor_restrict_unprivileged_userns", "1"),
];

/// What a namespace could not be made of, from the number of the system's error.
pub(super) fn isolation(errno: i32) -> io::Error {
    let is_set = |(file, _, value): &&(&str, &str, &str)| {
        std::fs::read_to_string(format!("/proc/sys/{file}")).is_ok_and(|read| read.trim() == *value)
    };
    let cause = match SETTINGS.iter().find(is_set) {
        Some((_, name, value)) => format!("{name} is {value}"),
        None => cause(errno).to_owned(),
    };
    let system = io::Error::from_raw_os_error(errno);
    io::Error::other(format!("no user and PID namespace for it: {cause} ({system})"))
}

fn cause(errno: i32) -> &'static str {
    match errno {
        libc::ENOSPC | libc::EUSERS => {
            "there are as many as user.max_user_namespaces or user.max_pid_namespaces allow, or 32 within each other"
        }
        libc::EINVAL => "the kernel is built without them",
        libc::EPERM | libc::EACCES | libc::ENOSYS => {
            "a rule of the system forbids it (seccomp in a container, a security module, a changed root folder)"
        }
        _ => "the system could not make it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_cause_and_says_what_the_system_says() {
        for errno in [libc::EPERM, libc::ENOSPC, libc::EINVAL, libc::ENOMEM] {
            let shown = isolation(errno).to_string();
            assert!(shown.starts_with("no user and PID namespace for it: "), "{shown}");
            assert!(shown.contains(&format!("(os error {errno})")), "{shown}");
        }
    }
}
