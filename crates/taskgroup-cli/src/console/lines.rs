//! Whole lines out of chunks, for `--output prefix` and `--json`.

use std::io;

use super::spool::Spool;
use crate::event::Stream;

/// The two streams in the order in which what is left of them is written at the end.
const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// `--output prefix`: a name before each line.
///
/// 1. A line comes out whole or not yet. While it has no end it waits in a [`Spool`], however long it is.
/// 2. Nothing is added to a line but the prefix, and a newline where the very last one has none.
#[derive(Debug, Default)]
pub(crate) struct PrefixLines {
    partial: [Spool; 2],
}

impl PrefixLines {
    /// Takes a chunk, and writes the lines that are whole with it.
    ///
    /// # Errors
    ///
    /// The file in which a long line waited cannot be read.
    pub(crate) fn push(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        prefix: &str,
        mut write: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let partial = &mut self.partial[stream as usize];
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !line.ends_with(b"\n") {
                partial.push(line);
                continue;
            }
            write(prefix.as_bytes());
            if !partial.is_empty() {
                partial.drain(&mut write)?;
            }
            write(line);
        }
        Ok(())
    }

    /// Writes what has no newline at its end, with one.
    ///
    /// # Errors
    ///
    /// As [`PrefixLines::push`].
    pub(crate) fn finish(
        &mut self,
        prefix: impl Fn(Stream) -> String,
        mut write: impl FnMut(Stream, &[u8]),
    ) -> io::Result<()> {
        for stream in STREAMS {
            let partial = &mut self.partial[stream as usize];
            if !partial.is_empty() {
                write(stream, prefix(stream).as_bytes());
                partial.drain(|piece| write(stream, piece))?;
                write(stream, b"\n");
            }
        }
        Ok(())
    }

    /// Why a long line is kept in memory; once a stream.
    pub(crate) fn take_trouble(&mut self) -> Option<io::Error> {
        self.partial.iter_mut().find_map(Spool::take_trouble)
    }
}

/// `--json`: pieces that end at the end of a line, or of a character at least.
///
/// 1. All pieces together are what was pushed.
/// 2. At most [`PIECE_MAX`] bytes wait.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    partial: [Vec<u8>; 2],
}

/// A line that is longer comes in several pieces.
const PIECE_MAX: usize = 64 * 1024;

impl Pieces {
    /// Takes a chunk, and passes on the piece that is complete with it.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8], piece: impl FnOnce(&[u8])) {
        let partial = &mut self.partial[stream as usize];
        let waiting = partial.len();
        partial.extend_from_slice(bytes);
        let newline = partial[waiting..].iter().rposition(|byte| *byte == b'\n');
        let length = match newline {
            Some(position) => waiting + position + 1,
            None if partial.len() <= PIECE_MAX => return,
            None => whole_characters(partial),
        };
        piece(&partial[..length]);
        partial.drain(..length);
    }

    /// Passes on what has no newline at its end.
    pub(crate) fn finish(&mut self, mut piece: impl FnMut(Stream, &[u8])) {
        for stream in STREAMS {
            let rest = std::mem::take(&mut self.partial[stream as usize]);
            if !rest.is_empty() {
                piece(stream, &rest);
            }
        }
    }
}

/// The length without a character of UTF-8 that is cut off at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixed(chunks: &[(Stream, &[u8])]) -> Vec<u8> {
        let (mut lines, mut written) = (PrefixLines::default(), Vec::new());
        for (stream, chunk) in chunks {
            lines.push(*stream, chunk, "a | ", |piece| written.extend_from_slice(piece)).unwrap();
        }
        lines.finish(|_| "a | ".into(), |_, piece| written.extend_from_slice(piece)).unwrap();
        written
    }

    #[test]
    fn a_prefix_stands_before_whole_lines_only() {
        use Stream::{Stderr, Stdout};
        assert_eq!(prefixed(&[(Stdout, b"on"), (Stdout, b"e\n\ntwo")]), b"a | one\na | \na | two\n");
        assert_eq!(
            prefixed(&[(Stdout, b"ou"), (Stderr, b"err\n"), (Stdout, b"t\r\n")]),
            b"a | err\na | out\r\n"
        );
        assert_eq!(prefixed(&[(Stderr, b"e"), (Stdout, b"o")]), b"a | o\na | e\n");
        assert_eq!(prefixed(&[(Stdout, b"")]), b"");
    }

    #[test]
    fn a_line_of_a_megabyte_stays_whole() {
        let line: Vec<u8> =
            (0..1_000_000).map(|index| if index % 251 == 10 { 0 } else { (index % 251) as u8 }).collect();
        let mut chunks: Vec<(Stream, &[u8])> =
            line.chunks(4096).map(|chunk| (Stream::Stdout, chunk)).collect();
        chunks.push((Stream::Stdout, b"\n"));
        assert!(prefixed(&chunks) == [b"a | ", &line[..], b"\n"].concat());
    }

    fn pieces(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut all) = (Pieces::default(), Vec::new());
        for chunk in chunks {
            lines.push(Stream::Stdout, chunk, |piece| all.push(piece.to_vec()));
            assert!(lines.partial[0].len() <= PIECE_MAX);
        }
        lines.finish(|_, piece| all.push(piece.to_vec()));
        all
    }

    #[test]
    fn pieces_end_with_a_line_where_they_can() {
        assert_eq!(pieces(&[b"a", b"b\nc\nd", b"e"]), [&b"ab\nc\n"[..], b"de"]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let line = "日本".repeat(30_000);
        let chunks: Vec<&[u8]> = line.as_bytes().chunks(1000).collect();
        let pieces = pieces(&chunks);
        assert!(pieces.len() > 1);
        assert!(pieces.iter().all(|piece| std::str::from_utf8(piece).is_ok()));
        assert!(pieces.concat() == line.as_bytes());
    }
}
