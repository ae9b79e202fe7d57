//! Colour, where it is wanted.

use std::ffi::OsStr;

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ColorChoice {
    /// On a terminal that can, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

impl ColorChoice {
    /// Whether to colour what goes to a stream. `NO_COLOR` counts when it is not empty (no-color.org).
    pub(crate) fn resolve(self, terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
        match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && no_color.is_none_or(OsStr::is_empty) && !is_dumb(term),
        }
    }
}

/// Whether a terminal understands no escape sequences.
pub(crate) fn is_dumb(term: Option<&OsStr>) -> bool {
    term.is_none_or(|term| term.is_empty() || term == "dumb")
}

/// The colours in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Bold,
    Dim,
    Red,
    Yellow,
}

/// Paints, or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) color: bool,
}

/// For the names of jobs in `--output prefix`: cyan, magenta, yellow, green, blue, and the same bright.
const PREFIX_COLORS: [u8; 10] = [36, 35, 33, 32, 34, 96, 95, 93, 92, 94];

impl Style {
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Bold => 1,
            Paint::Dim => 2,
            Paint::Red => 31,
            Paint::Yellow => 33,
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What stands before a line of a job's output. It ends any colour that the job's last line left on.
    pub(crate) fn prefix(self, number: usize, name: &str) -> String {
        let color = PREFIX_COLORS[number.wrapping_sub(1) % PREFIX_COLORS.len()];
        if self.color { format!("\x1b[0;{color}m{name} |\x1b[0m ") } else { format!("{name} | ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_unless_told_otherwise() {
        let (xterm, set) = (Some(OsStr::new("xterm")), Some(OsStr::new("1")));
        assert!(ColorChoice::Auto.resolve(true, None, xterm));
        assert!(ColorChoice::Auto.resolve(true, Some(OsStr::new("")), xterm));
        assert!(!ColorChoice::Auto.resolve(true, set, xterm));
        assert!(!ColorChoice::Auto.resolve(false, None, xterm));
        assert!(!ColorChoice::Auto.resolve(true, None, Some(OsStr::new("dumb"))));
        assert!(!ColorChoice::Auto.resolve(true, None, None));
        assert!(ColorChoice::Always.resolve(false, set, None));
        assert!(!ColorChoice::Never.resolve(true, None, xterm));
    }

    #[test]
    fn without_colour_there_are_no_escape_codes() {
        let plain = Style { color: false };
        assert_eq!(plain.paint(Paint::Red, "x"), "x");
        assert_eq!(plain.prefix(1, "x"), "x | ");
        let color = Style { color: true };
        assert_eq!(color.paint(Paint::Red, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(color.prefix(11, "x"), "\x1b[0;36mx |\x1b[0m ");
    }
}
