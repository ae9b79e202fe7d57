//! Standard output and standard error, and the live region below what is written to them.
//!
//! 1. What is written is held, and goes out in order with the next frame or release: one frame is one erase, what
//!    was written, one drawing. At most [`HELD_MAX`] bytes are held.
//! 2. While a region is drawn nothing else is on its lines, and the cursor stands at the end of its last line.
//!    After [`Screen::clear`] no trace of it is left. No mode of the terminal is ever changed, so a program that
//!    is killed leaves none behind: the cursor stays visible, and lines are cut rather than wrapping turned off.
//! 3. Without frames no escape code is written but what callers put into the text.
//! 4. A stream that cannot be written to is lost: what is meant for it vanishes from then on.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::text;
use crate::event::Stream;

/// Beyond this, what is held goes out without waiting for a frame.
pub(crate) const HELD_MAX: usize = 64 * 1024;

/// One of the two streams.
pub(crate) struct Sink {
    writer: Box<dyn Write + Send>,
    terminal: bool,
    /// The last byte was not a newline.
    mid_line: bool,
    lost: Option<io::Error>,
}

impl Sink {
    pub(crate) fn new(writer: Box<dyn Write + Send>, terminal: bool) -> Sink {
        Sink { writer, terminal, mid_line: false, lost: None }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.lost.is_none() {
            self.lost = self.writer.write_all(bytes).and_then(|()| self.writer.flush()).err();
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("terminal", &self.terminal)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Screen {
    out: Sink,
    err: Sink,
    held: Vec<(Stream, Vec<u8>)>,
    held_bytes: usize,
    /// The lines of the region as they stand on the terminal.
    drawn: Vec<String>,
    /// The width for which they were drawn, and later that of the terminal, as far as it is known.
    columns: usize,
}

impl Screen {
    pub(crate) fn new(out: Sink, err: Sink) -> Screen {
        Screen { out, err, held: Vec::new(), held_bytes: 0, drawn: Vec::new(), columns: 80 }
    }

    /// Bytes of a job.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.set_mid_line(stream, *last != b'\n');
        match self.held.last_mut() {
            Some((of, held)) if *of == stream => held.extend_from_slice(bytes),
            _ => self.held.push((stream, bytes.to_vec())),
        }
        self.held_bytes += bytes.len();
        if self.held_bytes >= HELD_MAX {
            self.release();
        }
    }

    /// A line of `tg` itself, on standard error; it always stands on a line of its own.
    pub(crate) fn line(&mut self, line: &str) {
        self.end_line();
        self.write(Stream::Stderr, line.as_bytes());
        self.write(Stream::Stderr, b"\n");
    }

    /// Ends a line that a job has not ended, where `tg` is about to write on the same terminal or file.
    fn end_line(&mut self) {
        if self.err.mid_line {
            self.write(Stream::Stderr, b"\n");
        }
    }

    /// Two terminals are taken for the same one, with one cursor.
    fn set_mid_line(&mut self, stream: Stream, mid_line: bool) {
        let same = self.out.terminal && self.err.terminal;
        if same || stream == Stream::Stdout {
            self.out.mid_line = mid_line;
        }
        if same || stream == Stream::Stderr {
            self.err.mid_line = mid_line;
        }
    }

    /// Writes what is held. A region in its way is erased, to be drawn again with the next frame.
    pub(crate) fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let in_the_way = |stream: &Stream| match stream {
            Stream::Stdout => self.out.terminal,
            Stream::Stderr => self.err.terminal,
        };
        if held.iter().any(|(stream, _)| in_the_way(stream)) {
            self.erase();
        }
        for (stream, bytes) in held {
            match stream {
                Stream::Stdout => self.out.put(&bytes),
                Stream::Stderr => self.err.put(&bytes),
            }
        }
    }

    /// Writes what is held, and draws the region anew where anything has changed. Each line must be narrower than
    /// the terminal.
    pub(crate) fn frame(&mut self, lines: Vec<String>, columns: usize) {
        if !self.drawn.is_empty() && self.columns != columns {
            self.columns = columns;
            self.erase();
        }
        self.columns = columns;
        if !lines.is_empty() {
            self.end_line();
        }
        self.release();
        if self.drawn == lines {
            return;
        }
        let drawing = format!("{}\x1b[0m{}", self.erasing(), lines.join("\r\n"));
        self.err.put(drawing.as_bytes());
        self.drawn = lines;
    }

    /// Writes what is held, and takes the region away.
    pub(crate) fn clear(&mut self) {
        self.release();
        self.erase();
    }

    fn erase(&mut self) {
        if !self.drawn.is_empty() {
            let erasing = self.erasing();
            self.err.put(erasing.as_bytes());
            self.drawn.clear();
        }
    }

    /// To the first column of the first line, then all that is below. A terminal that was made narrower has
    /// wrapped the lines.
    fn erasing(&self) -> String {
        let rows = |line: &String| width_painted(line).div_ceil(self.columns.max(1)).max(1);
        let mut erasing = String::new();
        match self.drawn.iter().map(rows).sum::<usize>() {
            0 => return erasing,
            1 => erasing.push('\r'),
            rows => write!(erasing, "\r\x1b[{}A", rows - 1).expect("a string takes all"),
        }
        erasing.push_str("\x1b[J");
        erasing
    }

    /// Why standard output takes nothing any more.
    pub(crate) fn lost(&self) -> Option<&io::Error> {
        self.out.lost.as_ref()
    }
}

/// The width without colours.
fn width_painted(line: &str) -> usize {
    text::width(&text::clean(line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Output, terminal, terminal_of_size};
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn output_comes_above_the_region() {
        let (output, mut screen) = terminal();
        screen.frame(lines(&["a", "b", "bar"]), 80);
        assert_eq!(output.screen(), ["a", "b", "bar"]);
        screen.write(Stream::Stdout, b"one\n");
        screen.write(Stream::Stderr, b"two\n");
        screen.frame(lines(&["a", "bar"]), 80);
        assert_eq!(output.screen(), ["one", "two", "a", "bar"]);
        screen.frame(lines(&["a", "b", "c", "bar"]), 80);
        assert_eq!(output.screen(), ["one", "two", "a", "b", "c", "bar"]);
        screen.write(Stream::Stdout, b"three\n");
        screen.clear();
        assert_eq!(output.screen(), ["one", "two", "three"]);
        assert_eq!(output.cursor(), (3, 0));
    }

    #[test]
    fn a_frame_without_change_writes_nothing() {
        let (output, mut screen) = terminal();
        screen.frame(lines(&["a", "bar"]), 80);
        let before = output.all().len();
        screen.frame(lines(&["a", "bar"]), 80);
        assert_eq!(output.all().len(), before);
    }

    #[test]
    fn an_unfinished_line_is_not_overwritten() {
        let (output, mut screen) = terminal();
        screen.write(Stream::Stdout, b"prompt");
        screen.frame(lines(&["bar"]), 80);
        assert_eq!(output.screen(), ["prompt", "bar"]);
        screen.write(Stream::Stdout, b"more");
        screen.line("tg: note");
        screen.clear();
        assert_eq!(output.screen(), ["prompt", "more", "tg: note"]);
    }

    #[test]
    fn a_narrower_terminal_is_erased_to_the_last_row() {
        let (output, mut screen) = terminal_of_size(24, 40);
        screen.write(Stream::Stdout, b"above\n");
        screen.frame(lines(&[&"x".repeat(39), "bar"]), 40);
        // The terminal wraps the long line, as many do: the emulator is given what it would then show.
        let (narrow, mut after) = terminal_of_size(24, 20);
        after.write(Stream::Stdout, b"above\n");
        after.frame(lines(&[&"x".repeat(39), "bar"]), 40);
        assert_eq!(narrow.screen(), ["above", &"x".repeat(20), &"x".repeat(19), "bar"]);
        after.frame(lines(&["bar"]), 20);
        assert_eq!(narrow.screen(), ["above", "bar"]);
        screen.clear();
        assert_eq!(output.screen(), ["above"]);
    }

    #[test]
    fn a_region_at_the_bottom_of_the_terminal_scrolls() {
        let (output, mut screen) = terminal_of_size(4, 20);
        for number in 0..10 {
            screen.write(Stream::Stdout, format!("line {number}\n").as_bytes());
            screen.frame(lines(&["job", "bar"]), 20);
        }
        assert_eq!(output.screen(), ["line 8", "line 9", "job", "bar"]);
    }

    #[test]
    fn much_output_does_not_wait_for_a_frame() {
        let (output, mut screen) = terminal();
        let line = [&[b'x'; 999][..], b"\n"].concat();
        (0..1000).for_each(|_| screen.write(Stream::Stdout, &line));
        assert!(output.all().len() >= 1_000_000 - HELD_MAX);
    }

    #[test]
    fn a_lost_stream_does_not_take_the_other_with_it() {
        let (out, err) = (Output::closed(), Output::default());
        let mut screen = Screen::new(Sink::new(out.writer(), false), Sink::new(err.writer(), false));
        screen.write(Stream::Stdout, b"gone\n");
        assert!(screen.lost().is_none());
        screen.release();
        assert_eq!(screen.lost().unwrap().kind(), io::ErrorKind::BrokenPipe);
        screen.write(Stream::Stdout, b"gone too\n");
        screen.line("tg: still here");
        screen.release();
        assert_eq!(err.text(), "tg: still here\n");
    }
}
