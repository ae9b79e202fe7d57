//! The end of a job's output: for the live line, and for the tail in the tree of errors.
//!
//! 1. At most `2 * KEPT` bytes are held, whatever the job writes.
//! 2. The two streams are taken together, in the order of arrival.

use super::text;

/// The bytes that are kept at least.
const KEPT: usize = 8 * 1024;
/// So many lines back a visible one is looked for.
const LINES_BACK: usize = 16;

/// What a job wrote last.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    bytes: Vec<u8>,
    total: u64,
    newlines: u64,
}

impl Recent {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.total += chunk.len() as u64;
        self.newlines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let chunk = &chunk[chunk.len().saturating_sub(KEPT)..];
        if self.bytes.len() + chunk.len() > 2 * KEPT {
            let surplus = (self.bytes.len() + chunk.len()).saturating_sub(KEPT).min(self.bytes.len());
            self.bytes.drain(..surplus);
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// How many lines there were in all; a last one without its newline counts.
    pub(crate) fn line_count(&self) -> u64 {
        self.newlines + u64::from(self.bytes.last().is_some_and(|byte| *byte != b'\n'))
    }

    /// The last line on which anything can be seen.
    pub(crate) fn last_line(&self) -> String {
        let lines = self.bytes.rsplit(|byte| *byte == b'\n').take(LINES_BACK);
        lines.map(text::clean).find(|line| !line.trim().is_empty()).unwrap_or_default()
    }

    /// The last lines, at most `lines_max`, without blank ones at the end.
    pub(crate) fn tail(&self, lines_max: usize) -> Vec<String> {
        let mut lines: Vec<String> = self
            .bytes
            .rsplit(|byte| *byte == b'\n')
            .map(text::clean)
            .skip_while(|line| line.is_empty())
            .take(lines_max + 1)
            .collect();
        let whole = lines.len() > lines_max || self.total == self.bytes.len() as u64;
        lines.truncate(lines_max);
        if let Some(first) = lines.last_mut().filter(|_| !whole) {
            first.insert(0, '…');
        }
        lines.reverse();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(chunks: &[&[u8]]) -> Recent {
        let mut recent = Recent::default();
        chunks.iter().for_each(|chunk| recent.push(chunk));
        recent
    }

    #[test]
    fn the_last_line_is_the_last_one_that_can_be_seen() {
        assert_eq!(recent(&[]).last_line(), "");
        assert_eq!(recent(&[b"one\ntw", b"o"]).last_line(), "two");
        assert_eq!(recent(&[b"one\ntwo\n\n \n\x1b[0m\n"]).last_line(), "two");
    }

    #[test]
    fn memory_is_bounded_and_the_end_is_kept() {
        let mut recent = Recent::default();
        for number in 0..100_000 {
            recent.push(format!("line {number}\n").as_bytes());
            assert!(recent.bytes.len() <= 2 * KEPT);
        }
        assert_eq!(recent.line_count(), 100_000);
        assert_eq!(recent.tail(2), ["line 99998", "line 99999"]);
        recent.push(&vec![b'x'; 1_000_000]);
        assert!(recent.bytes.len() <= 2 * KEPT);
        assert_eq!(recent.line_count(), 100_001);
        let tail = recent.tail(10);
        assert!(tail.last().unwrap().ends_with("xxx"));
    }

    #[test]
    fn a_tail_says_where_its_first_line_is_cut() {
        let mut recent = Recent::default();
        recent.push(&vec![b'x'; 100_000]);
        recent.push(b"\nend\n");
        let tail = recent.tail(10);
        assert!(tail[0].starts_with("…xxx"));
        assert_eq!(tail[1..], ["end"]);
    }

    #[test]
    fn a_tail_has_no_blank_lines_at_its_end() {
        assert_eq!(recent(&[b"a\n\nb\n\n\n"]).tail(10), ["a", "", "b"]);
        assert!(recent(&[b"\n\n"]).tail(10).is_empty());
        assert_eq!(recent(&[b"a\nb\nc"]).tail(2), ["b", "c"]);
    }
}
