//! What keeps `tg` itself from doing what it was asked to: what happened, where, and what to do about it.

use std::fmt;
use std::io;
use std::path::Path;

/// The exit code when `tg` itself is in trouble; usage errors are among these.
pub(crate) const EXIT_TROUBLE: i32 = 125;

/// An error of `tg` itself, not of a job. Shown as `place: what`, with the advice on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    place: Option<String>,
    what: String,
    advice: Option<String>,
}

impl Trouble {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Trouble { place: None, what: what.into(), advice: None }
    }

    /// An error of the operating system with a file.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Trouble::new(plain(error)).at(path.display().to_string())
    }

    /// Where it happened: a file, a file and line, or an option.
    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// What to do about it.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.advice {
            Some(advice) => write!(f, "\n    {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Trouble {}

/// The usual errors in few words; anything else as the system puts it.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder".into(),
        io::ErrorKind::PermissionDenied => "no permission".into(),
        io::ErrorKind::IsADirectory => "this is a folder, not a file".into(),
        io::ErrorKind::NotADirectory => "a part of this path is a file, not a folder".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_place_what_and_advice() {
        let trouble = Trouble::new("no").at("a.toml:3").advice("write yes");
        assert_eq!(trouble.to_string(), "a.toml:3: no\n    write yes");
        assert_eq!(Trouble::new("no").to_string(), "no");
    }

    #[test]
    fn names_the_file() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(Trouble::file(Path::new("x/y"), &error).to_string(), "x/y: no permission");
    }
}
