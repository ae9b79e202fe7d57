//! Output that waits: in memory while it is little, in an unnamed file when it is much.
//!
//! 1. What comes out is what went in, byte for byte, in order: first the file, then the memory.
//! 2. At most [`MEMORY_MAX`] bytes and one chunk are in memory, unless no file can be written: then nothing is
//!    lost, and memory has to do ([`Spool::take_trouble`] says so once).
//! 3. The file has no name: nothing is left behind, however the program ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::event::Stream;

/// Beyond this a job's output goes to a file.
pub(crate) const MEMORY_MAX: usize = 256 * 1024;
/// The piece in which a file is read back.
const PIECE: usize = 64 * 1024;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    file: Option<File>,
    filed: u64,
    memory: Vec<u8>,
    /// No more can be written to a file.
    broken: bool,
    trouble: Option<io::Error>,
}

impl Spool {
    pub(crate) fn is_empty(&self) -> bool {
        self.filed == 0 && self.memory.is_empty()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() > MEMORY_MAX
            && !self.broken
            && let Err(error) = self.spill()
        {
            self.broken = true;
            self.trouble = Some(error);
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        // A piece that was written in part is written again, over itself: `filed` has not moved.
        let written = file.write_all_at(&self.memory, self.filed);
        self.file = Some(file);
        written?;
        self.filed += self.memory.len() as u64;
        self.memory.clear();
        Ok(())
    }

    /// Why output is kept in memory beyond the limit; once.
    pub(crate) fn take_trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    /// Everything, piece by piece; the spool is then empty.
    ///
    /// # Errors
    ///
    /// The file cannot be read: what had been passed on until then is all there is.
    pub(crate) fn drain(&mut self, mut piece: impl FnMut(&[u8])) -> io::Result<()> {
        let (file, filed, memory) =
            (self.file.take(), std::mem::take(&mut self.filed), std::mem::take(&mut self.memory));
        if let Some(file) = file {
            let mut buffer = vec![0; PIECE];
            let mut position = 0;
            while position < filed {
                let length = buffer.len().min(usize::try_from(filed - position).unwrap_or(usize::MAX));
                file.read_exact_at(&mut buffer[..length], position)?;
                piece(&buffer[..length]);
                position += length as u64;
            }
        }
        piece(&memory);
        Ok(())
    }
}

/// The output of one attempt, its two streams in the order of arrival.
///
/// In the spool each chunk has a header: one byte for the stream, eight for the length.
#[derive(Debug, Default)]
pub(crate) struct Grouped {
    spool: Spool,
}

const HEADER: usize = 9;

impl Grouped {
    pub(crate) fn is_empty(&self) -> bool {
        self.spool.is_empty()
    }

    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let mut header = [0; HEADER];
        header[0] = u8::from(stream == Stream::Stderr);
        header[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        // The header and its chunk are pushed apart: a spill between them changes nothing about the order.
        self.spool.push(&header);
        self.spool.push(bytes);
    }

    pub(crate) fn take_trouble(&mut self) -> Option<io::Error> {
        self.spool.take_trouble()
    }

    /// Everything, piece by piece; then it is empty.
    ///
    /// # Errors
    ///
    /// As [`Spool::drain`].
    pub(crate) fn drain(&mut self, mut piece: impl FnMut(Stream, &[u8])) -> io::Result<()> {
        let mut header = [0; HEADER];
        let (mut filled, mut stream, mut remaining) = (0, Stream::Stdout, 0);
        self.spool.drain(|mut bytes| {
            while !bytes.is_empty() {
                if remaining == 0 {
                    let length = bytes.len().min(HEADER - filled);
                    header[filled..filled + length].copy_from_slice(&bytes[..length]);
                    filled += length;
                    bytes = &bytes[length..];
                    if filled == HEADER {
                        filled = 0;
                        stream = if header[0] == 0 { Stream::Stdout } else { Stream::Stderr };
                        let length: [u8; 8] = header[1..].try_into().expect("nine bytes but one");
                        remaining = u64::from_le_bytes(length);
                    }
                    continue;
                }
                let length = bytes.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
                piece(stream, &bytes[..length]);
                remaining -= length as u64;
                bytes = &bytes[length..];
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that repeat only after a long time.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (*state >> 24) as u8
        };
        (0..length).map(|_| next(&mut state)).collect()
    }

    #[test]
    fn beyond_the_limit_memory_does_not_grow() {
        let (mut spool, bytes) = (Spool::default(), noise(3_000_000));
        for chunk in bytes.chunks(8_000) {
            spool.push(chunk);
            assert!(spool.memory.len() <= MEMORY_MAX + 8_000);
        }
        assert!(spool.filed > 2_000_000);
        let mut read = Vec::new();
        spool.drain(|piece| read.extend_from_slice(piece)).unwrap();
        assert!(read == bytes);
        assert!(spool.is_empty());
        spool.push(b"again");
        spool.drain(|piece| assert_eq!(piece, b"again")).unwrap();
    }

    #[test]
    fn little_output_needs_no_file() {
        let mut spool = Spool::default();
        spool.push(&noise(MEMORY_MAX));
        assert!(spool.file.is_none());
    }

    #[test]
    fn without_a_file_nothing_is_lost() {
        let (mut spool, bytes) = (Spool::default(), noise(1_000_000));
        spool.push(&bytes[..500_000]);
        assert_eq!(spool.filed, 500_000);
        // A file that cannot be written stands for a disk that is full.
        spool.file = Some(File::open("/dev/null").unwrap());
        spool.push(&bytes[500_000..]);
        assert!(spool.take_trouble().is_some());
        spool.push(b"end");
        assert!(spool.take_trouble().is_none());
        assert_eq!(spool.memory.len(), 500_003);
    }

    #[test]
    fn the_streams_keep_their_order() {
        let (mut grouped, bytes) = (Grouped::default(), noise(2_000_000));
        let mut expected = Vec::new();
        let (mut rest, mut length) = (&bytes[..], 1);
        while !rest.is_empty() {
            let stream = if length % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            let (chunk, after) = rest.split_at(length.min(rest.len()));
            grouped.push(stream, chunk);
            expected.extend(chunk.iter().map(|byte| (stream, *byte)));
            (rest, length) = (after, length + 7);
        }
        grouped.push(Stream::Stdout, b"");
        let mut read = Vec::new();
        grouped.drain(|stream, piece| read.extend(piece.iter().map(|byte| (stream, *byte)))).unwrap();
        assert!(read == expected);
        assert!(grouped.is_empty());
    }
}
