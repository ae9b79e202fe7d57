//! Names of jobs: shortened, free of control characters, and each once.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How wide a name may be that was not given, in columns.
const COLUMNS: usize = 40;

/// How long such a name may be: characters may have no width at all.
const BYTES: usize = 400;

/// How many of the latest names are remembered. Names of more than that many jobs may repeat; by then the
/// earlier job has most likely gone from the screen, and memory stays constant however many there are.
const REMEMBERED: usize = 16_384;

/// Gives each job a name that none of the latest [`REMEMBERED`] has.
#[derive(Debug, Default)]
pub(super) struct Names {
    // Names by their hashes: a collision costs a number behind a name.
    taken: HashSet<u64>,
    order: VecDeque<u64>,
    hasher: RandomState,
}

impl Names {
    /// A name from the text of a command or an input.
    pub(super) fn name(&mut self, text: &OsStr, number: usize) -> Arc<str> {
        let name = shorten(&text.to_string_lossy());
        if self.take(&name) {
            return name.into();
        }
        let numbered = format!("{name} #{number}");
        self.take(&numbered);
        numbered.into()
    }

    fn take(&mut self, name: &str) -> bool {
        let hash = self.hasher.hash_one(name);
        if !self.taken.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.taken.remove(&oldest);
        }
        true
    }
}

/// `text` on one line of at most [`COLUMNS`] columns, blanks and control characters as single spaces.
fn shorten(text: &str) -> String {
    let mut name = String::new();
    let mut width = 0;
    let mut blank = false;
    for char in text.trim_matches(is_blank).chars() {
        if is_blank(char) {
            blank = true;
            continue;
        }
        if blank {
            name.push(' ');
            width += 1;
            blank = false;
        }
        width += char.width().unwrap_or(0);
        name.push(char);
        if width > COLUMNS || name.len() > BYTES {
            return cut(name);
        }
    }
    if name.is_empty() { "''".into() } else { name }
}

fn cut(mut name: String) -> String {
    while name.width() >= COLUMNS || name.len() > BYTES {
        name.pop();
    }
    name.truncate(name.trim_end().len());
    name.push('…');
    name
}

/// Blanks, control characters, and what reorders or hides text.
fn is_blank(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The names that look most like `wanted`, at most three, for an error message.
pub(super) fn near<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let mut near: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// What to do about a name that is not there.
pub(super) fn advice<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    const SHOWN: usize = 10;
    let names: Vec<&str> = names.into_iter().collect();
    let near = near(wanted, names.iter().copied());
    if !near.is_empty() {
        return format!(
            "there is {}",
            near.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        );
    }
    let mut all = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        all.push_str(&format!(", and {} more", names.len() - SHOWN));
    }
    format!("the jobs are {all}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_on_one_line() {
        assert_eq!(shorten("cargo test"), "cargo test");
        assert_eq!(shorten("  a\n\t b\u{1b}[31mc \u{202e}"), "a b [31mc");
        assert_eq!(shorten(""), "''");
        assert_eq!(shorten("\n\u{7}"), "''");
        assert_eq!(shorten(&"x".repeat(40)), "x".repeat(40));
        assert_eq!(shorten(&"x".repeat(41)), format!("{}…", "x".repeat(39)));
        for wide in
            ["漢".repeat(50), "é".repeat(100), "👩‍👩‍👧".repeat(30), "a\u{301}".repeat(50), "\u{301}".repeat(9999)]
        {
            let name = shorten(&wide);
            assert!(name.width() <= COLUMNS && name.len() < BYTES + 4 && name.ends_with('…'), "{name}");
        }
    }

    #[test]
    fn each_once() {
        let mut names = Names::default();
        assert_eq!(&*names.name(OsStr::new("a"), 1), "a");
        assert_eq!(&*names.name(OsStr::new("a"), 2), "a #2");
        assert_eq!(&*names.name(OsStr::new("a "), 3), "a #3");
        assert_eq!(&*names.name(OsStr::new("b"), 4), "b");
    }

    #[test]
    fn memory_is_bounded() {
        let mut names = Names::default();
        for number in 1..=3 * REMEMBERED {
            names.name(OsStr::new(&number.to_string()), number);
        }
        assert_eq!((names.taken.len(), names.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn names_that_are_near() {
        assert_eq!(near("biuld", ["build", "test", "deploy"]), ["build"]);
        assert_eq!(advice("zzz", ["build", "test"]), "the jobs are `build`, `test`");
        let many: Vec<String> = (0..12).map(|n| format!("j{n}")).collect();
        assert!(advice("zzz", many.iter().map(String::as_str)).ends_with("`j9`, and 2 more"));
    }
}
