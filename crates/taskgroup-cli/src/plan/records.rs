//! Lines, or pieces that end with NUL, read one at a time.

use std::io::{BufRead, Read};

use crate::trouble::{Trouble, plain};

/// The longest line. No system takes a command that long, and a line without an end must not fill the memory.
const LONGEST: usize = 16 << 20;

/// Reads records and counts them.
pub(super) struct Records {
    reader: Box<dyn BufRead + Send>,
    /// Where they are from, for errors.
    place: String,
    separator: u8,
    read: u64,
    ended: bool,
}

impl Records {
    pub(super) fn new(reader: Box<dyn BufRead + Send>, place: impl Into<String>, separator: u8) -> Self {
        Records { reader, place: place.into(), separator, read: 0, ended: false }
    }

    fn read_one(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let mut record = Vec::new();
        let limit = LONGEST as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(self.separator, &mut record);
        self.read += 1;
        let read = read.map_err(|error| Trouble::new(plain(&error)).at(self.place.clone()))?;
        if read == 0 {
            return Ok(None);
        }
        if record.last() == Some(&self.separator) {
            record.pop();
        }
        if record.len() > LONGEST {
            return Err(self.trouble("longer than 16 MiB"));
        }
        if record.contains(&0) {
            return Err(self
                .trouble("holds a NUL byte")
                .advice("for inputs that end with NUL there is `tg each -0`"));
        }
        Ok(Some(record))
    }

    fn trouble(&self, what: &str) -> Trouble {
        let unit = if self.separator == 0 { "input" } else { "line" };
        Trouble::new(what).at(format!("{}, {unit} {}", self.place, self.read))
    }
}

impl Iterator for Records {
    type Item = Result<Vec<u8>, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.read_one().transpose();
        // Terminals give more after an end of input; it stays the end.
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, BufReader};

    fn records(text: &[u8], separator: u8) -> Records {
        Records::new(Box::new(io::Cursor::new(text.to_vec())), "list", separator)
    }

    fn all(text: &[u8], separator: u8) -> Vec<Vec<u8>> {
        records(text, separator).collect::<Result<_, _>>().expect("records")
    }

    #[test]
    fn lines_and_nuls() {
        assert!(all(b"", b'\n').is_empty());
        assert_eq!(all(b"\n", b'\n'), [b""]);
        assert_eq!(all(b"a\n\nb", b'\n'), [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]);
        assert_eq!(all(b"a\nb\0\0c\0", 0), [b"a\nb".to_vec(), b"".to_vec(), b"c".to_vec()]);
        assert_eq!(all(b"\xff\xfe\r\n", b'\n'), [b"\xff\xfe\r"]);
    }

    #[test]
    fn a_nul_in_a_line_is_an_error_and_the_end() {
        let mut records = records(b"a\nb\0c\nd\n", b'\n');
        assert!(records.next().expect("one").is_ok());
        let trouble = records.next().expect("one").expect_err("trouble").to_string();
        assert!(trouble.starts_with("list, line 2: holds a NUL byte"), "{trouble}");
        assert!(records.next().is_none());
    }

    #[test]
    fn a_line_without_an_end_is_an_error() {
        let endless = BufReader::new(io::repeat(b'x'));
        let mut records = Records::new(Box::new(endless), "list", b'\n');
        let trouble = records.next().expect("one").expect_err("trouble").to_string();
        assert_eq!(trouble, "list, line 1: longer than 16 MiB");
    }

    #[test]
    fn a_line_of_the_longest_length_is_whole() {
        let mut text = vec![b'x'; LONGEST];
        text.push(b'\n');
        assert_eq!(all(&text, b'\n')[0].len(), LONGEST);
    }

    #[test]
    fn an_error_of_the_system_names_the_place() {
        let folder = std::fs::File::open("/").expect("folder");
        let mut records = Records::new(Box::new(BufReader::new(folder)), "/", b'\n');
        let trouble = records.next().expect("one").expect_err("trouble").to_string();
        assert_eq!(trouble, "/: this is a folder, not a file");
    }
}
