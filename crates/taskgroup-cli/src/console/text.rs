//! Text for terminals: its width in columns, cut to fit, without anything that could move the cursor.
//!
//! 1. What [`clean`] and [`visible`] return has no control character and no escape sequence.
//! 2. What [`cut`] returns is never wider than asked for.

use std::time::Duration;

use unicode_width::UnicodeWidthChar;

/// Emoji presentation: makes the character before it wide, on the terminals that follow it.
const WIDE_SELECTOR: char = '\u{fe0f}';

/// The columns of one character; at least as many as any terminal takes.
fn columns(character: char) -> usize {
    if character == WIDE_SELECTOR { 1 } else { character.width().unwrap_or(0) }
}

/// The columns of a text.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// The text, or as much of its beginning as fits with an ellipsis at the end.
pub(crate) fn cut(text: &str, columns_max: usize) -> String {
    if width(text) <= columns_max {
        return text.to_owned();
    }
    let mut room = columns_max.saturating_sub(1);
    let kept = text.chars().take_while(|character| {
        let fits = columns(*character) <= room;
        room = room.saturating_sub(columns(*character));
        fits
    });
    let mut kept: String = kept.collect();
    if columns_max > 0 {
        kept.push('…');
    }
    kept
}

/// Cut to the number of columns, or filled up with spaces.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut text = cut(text, columns);
    let missing = columns - width(&text);
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// A name as it may be shown: white space of any kind as a space, other control characters as `\u{fffd}`.
pub(crate) fn visible(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            _ if character.is_whitespace() => ' ',
            _ if moves_cursor(character) => char::REPLACEMENT_CHARACTER,
            _ => character,
        })
        .collect()
}

/// One line of a job's output as a terminal would show it, without its escape sequences. What comes after a
/// carriage return takes the place of what was before.
pub(crate) fn clean(line: &[u8]) -> String {
    let mut cleaner = Cleaner { text: String::new(), returned: false };
    vte::Parser::new().advance(&mut cleaner, line);
    cleaner.text.truncate(cleaner.text.trim_end().len());
    cleaner.text
}

/// Control characters, and those that turn the direction of writing.
fn moves_cursor(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

struct Cleaner {
    text: String,
    /// A carriage return came last: the next character begins the line anew.
    returned: bool,
}

impl vte::Perform for Cleaner {
    fn print(&mut self, character: char) {
        if std::mem::take(&mut self.returned) {
            self.text.clear();
        }
        if !moves_cursor(character) {
            self.text.push(character);
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.print(' '),
            b'\r' => self.returned = true,
            _ => {}
        }
    }
}

/// `0:42`, `12:05`, `1:02:05`.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// `1 job`, `2 jobs`.
pub(crate) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_and_says_that_it_is_cut() {
        assert_eq!(cut("build", 5), "build");
        assert_eq!(cut("building", 5), "buil…");
        assert_eq!(cut("building", 1), "…");
        assert_eq!(cut("building", 0), "");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn wide_characters_are_never_halved() {
        assert_eq!(width("日本語"), 6);
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(fit("日本語", 4), "日… ");
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("\u{2764}\u{fe0f}"), 2);
        for columns in 0..20 {
            assert!(width(&cut("a日b本c\u{2764}\u{fe0f}語👩‍👩‍👧d", columns)) <= columns);
        }
    }

    #[test]
    fn a_preview_has_no_escape_sequences() {
        assert_eq!(
            clean(b"\x1b[1;31merror\x1b[0m: no \x1b]8;;http://x\x07link\x1b]8;;\x07"),
            "error: no link"
        );
        assert_eq!(clean(b"a\x1b[2K\x1b[1A\x1b[10Cb\x08\x07c"), "abc");
        assert_eq!(clean(b"a\tb"), "a b");
        assert_eq!(clean(b"\x1bPq#0;2;0\x1b\\after"), "after");
        assert_eq!(clean(b"cut in the middle \x1b[3"), "cut in the middle");
        assert_eq!(clean("a\u{202e}b\u{9b}c".as_bytes()), "abc");
        assert_eq!(clean(b"bad \xff byte"), "bad \u{fffd} byte");
    }

    #[test]
    fn a_progress_line_shows_its_last_state() {
        assert_eq!(clean(b"10%\r20%\r30%"), "30%");
        assert_eq!(clean(b"10%\r20%\r"), "20%");
        assert_eq!(clean(b"windows\r"), "windows");
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(visible("a\nb\tc\x1b[31m"), "a b c\u{fffd}[31m");
    }

    #[test]
    fn clocks() {
        assert_eq!(clock(Duration::from_secs(42)), "0:42");
        assert_eq!(clock(Duration::from_secs(725)), "12:05");
        assert_eq!(clock(Duration::from_secs(3725)), "1:02:05");
    }
}
