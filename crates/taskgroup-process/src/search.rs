//! Where a program is: what the shell does before it starts one.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for if there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The path of a program: its own if it has a slash, or the first in the folders of `path` that can be executed.
///
/// An empty folder, as in POSIX, is the current one.
pub(crate) fn find(program: &OsStr, path: Option<&OsStr>) -> io::Result<PathBuf> {
    if program.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(program.into());
    }
    let mut denied = None;
    for folder in path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(folder)) };
        let candidate = folder.join(program);
        match candidate.metadata() {
            Ok(data) if data.is_file() && data.permissions().mode() & 0o111 != 0 => return Ok(candidate),
            Ok(data) if data.is_file() => denied = Some(io::ErrorKind::PermissionDenied),
            _ => {}
        }
    }
    Err(denied.unwrap_or(io::ErrorKind::NotFound).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(find(OsStr::new("./x"), None).unwrap(), Path::new("./x"));
    }

    #[test]
    fn a_name_is_looked_for_in_order() {
        assert!(
            find(OsStr::new("sh"), Some(OsStr::new("/nowhere:/bin:/usr/bin"))).unwrap().starts_with("/bin")
        );
        assert!(find(OsStr::new("sh"), None).is_ok());
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for (program, path) in [("", "/bin"), ("no-such-program", "/bin"), ("sh", "/nowhere")] {
            let error = find(OsStr::new(program), Some(OsStr::new(path))).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn what_cannot_be_executed_is_denied() {
        let error = find(OsStr::new("passwd"), Some(OsStr::new("/etc"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
