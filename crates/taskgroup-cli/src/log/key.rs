//! What makes a job the same job as one of an earlier run.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::plan::Launch;

/// A hash of command, input, directory and added environment: the first 128 bits of a SHA-256. Each field goes in
/// with its length before it, so that no two jobs run together to the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// `dir` is the absolute path of the folder that the job runs in.
    pub(crate) fn of(
        launch: &Launch,
        input: Option<&OsStr>,
        dir: &Path,
        env: &BTreeMap<OsString, OsString>,
    ) -> Self {
        let mut hash = Sha256::new_with_prefix("tg job 1\n");
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        match launch {
            Launch::Shell(line) => {
                field(b"shell");
                field(line.as_bytes());
            }
            Launch::Exec(words) => {
                field(b"exec");
                field(&(words.len() as u64).to_le_bytes());
                words.iter().for_each(|word| field(word.as_bytes()));
            }
        }
        match input {
            None => field(b"no input"),
            Some(input) => {
                field(b"input");
                field(input.as_bytes());
            }
        }
        field(dir.as_os_str().as_bytes());
        for (name, value) in env {
            field(name.as_bytes());
            field(value.as_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Key(key)
    }

    /// Reads what `Display` writes.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| Key(number.to_be_bytes()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(launch: Launch, input: Option<&str>, dir: &str, env: &[(&str, &str)]) -> Key {
        let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Key::of(&launch, input.map(OsStr::new), Path::new(dir), &env)
    }

    fn shell(line: &str) -> Launch {
        Launch::Shell(line.into())
    }

    #[test]
    fn every_part_counts_and_none_runs_into_the_next() {
        let keys = [
            key(shell("a"), None, "/x", &[]),
            key(shell("b"), None, "/x", &[]),
            key(shell("a"), Some(""), "/x", &[]),
            key(shell("a"), Some("i"), "/x", &[]),
            key(shell("a"), None, "/y", &[]),
            key(shell("a"), None, "/x", &[("A", "1")]),
            key(shell("a"), None, "/x", &[("A1", "")]),
            key(shell("a"), None, "/x", &[("A", "1"), ("B", "2")]),
            key(Launch::Exec(vec!["a".into()]), None, "/x", &[]),
            key(Launch::Exec(vec!["a".into(), "".into()]), None, "/x", &[]),
            key(Launch::Exec(vec!["a".into(), "b c".into()]), None, "/x", &[]),
            key(Launch::Exec(vec!["a b".into(), "c".into()]), None, "/x", &[]),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
        assert_eq!(keys[0], key(shell("a"), None, "/x", &[]));
    }

    #[test]
    fn does_not_change_from_version_to_version() {
        assert_eq!(key(shell("a"), None, "/x", &[]).to_string(), "d6d89dbdf80bc5645c4f00ffef08845c");
    }

    #[test]
    fn text_and_back() {
        let key = key(shell("a"), None, "/x", &[]);
        assert_eq!(Key::read(&key.to_string()), Some(key));
        for bad in ["", "0", &"g".repeat(32), &"+".repeat(32), &"0".repeat(33), &"é".repeat(16)] {
            assert_eq!(Key::read(bad), None, "{bad}");
        }
    }
}
