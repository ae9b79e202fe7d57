//! Quoting for the POSIX shell.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// `bytes` as one piece of a word that the shell takes as it is: always in single quotes, for without them even
/// harmless letters may join what stands before (`$x` and `yz`).
pub(crate) fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(bytes.len() + 2);
    quoted.push(b'\'');
    for &byte in bytes {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// Words as one command line, for display: words of harmless characters alone stay bare.
pub(crate) fn join<'w>(words: impl IntoIterator<Item = &'w OsString>) -> OsString {
    let mut line = Vec::new();
    for (at, word) in words.into_iter().enumerate() {
        if at > 0 {
            line.push(b' ');
        }
        match is_harmless(word) {
            true => line.extend_from_slice(word.as_bytes()),
            false => line.extend(quote(word.as_bytes())),
        }
    }
    OsString::from_vec(line)
}

fn is_harmless(word: &OsStr) -> bool {
    !word.is_empty() && word.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(b))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::process::Command;

    /// What the shell makes of `line`, with nothing lost: `printf %s` adds nothing.
    pub(in crate::plan) fn shell(program: &str, line: &[u8]) -> Vec<u8> {
        let output = Command::new(program).arg("-c").arg(OsStr::from_bytes(line)).output().expect("sh");
        assert!(output.status.success(), "{}: {output:?}", String::from_utf8_lossy(line));
        output.stdout
    }

    /// Every byte that an argument can hold, in both directions, so that each has other neighbours too.
    pub(in crate::plan) fn all_bytes() -> Vec<u8> {
        (1..=255).chain((1..=255).rev()).collect()
    }

    #[test]
    fn every_byte_comes_back() {
        let bytes = all_bytes();
        let line = [b"printf %s ".as_slice(), &quote(&bytes)].concat();
        assert_eq!(shell("sh", &line), bytes);
    }

    #[test]
    fn each_byte_alone_comes_back() {
        for byte in 1..=255_u8 {
            for text in [vec![byte], vec![byte, byte], vec![b'a', byte], vec![b'\'', byte, b'\'']] {
                let line = [b"printf %s ".as_slice(), &quote(&text)].concat();
                assert_eq!(shell("sh", &line), text, "{byte}");
            }
        }
    }

    #[test]
    fn nothing_at_all_is_still_a_word() {
        assert_eq!(quote(b""), b"''");
        assert_eq!(shell("sh", b"set -- ''; printf %s $#"), b"1");
    }

    #[test]
    fn words_join_to_a_line_that_gives_them_back() {
        let words = ["printf", "%s|", "a b", "", "it's", "-x", "$(id)", "plain"].map(OsString::from);
        let line = join(&words);
        assert!(line.to_string_lossy().ends_with("plain"));
        assert_eq!(shell("sh", line.as_bytes()), b"a b||it's|-x|$(id)|plain|");
    }
}
