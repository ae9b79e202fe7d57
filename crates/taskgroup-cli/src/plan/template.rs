//! The command of `tg each`: a shell command line with places for the input.
//!
//! 1. `{}` is the input, `{#}` the job's number, `{{}}` and `{{#}}` the braces themselves. A template without any
//!    `{}` gets the input as its last word.
//! 2. The shell takes an input as it is, whatever its bytes: it stands in single quotes, and where the template is
//!    itself within quotes these are closed before it and opened again after it.
//! 3. That holds only where it is known how the shell reads the place. Where it is not (here-documents,
//!    backticks, arithmetic and the like), and everywhere after, an input is refused. The error says so before
//!    anything starts. What the shell runs may of course take its arguments for code again (`eval {}`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::quote::quote;
use crate::trouble::Trouble;

const ADVICE: &str = "write the command as `x={}; …` and then use \"$x\" in this place";

/// A template that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    /// The input; inside quotes, with the quote that is closed before it and opened again after it.
    Input(Quotes),
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

impl Template {
    pub(super) fn read(text: &OsStr) -> Result<Self, Trouble> {
        let text = trim_end(text.as_bytes());
        if text.is_empty() {
            return Err(refusal("it is empty".into()).advice("for instance: tg each 'gzip {}'"));
        }
        if text.contains(&0) {
            return Err(refusal("the command holds a NUL byte".into()));
        }
        let mut reader = Reader::new(text);
        reader.read()?;
        reader.finish()
    }

    /// The command line for one input.
    pub(super) fn expand(&self, input: &OsStr, number: usize) -> OsString {
        let mut line = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => line.extend_from_slice(text),
                Part::Number => line.extend_from_slice(number.to_string().as_bytes()),
                Part::Input(quotes) => {
                    let mark: &[u8] = match quotes {
                        Quotes::None => b"",
                        Quotes::Single => b"'",
                        Quotes::Double => b"\"",
                    };
                    line.extend_from_slice(mark);
                    line.extend(quote(input.as_bytes()));
                    line.extend_from_slice(mark);
                }
            }
        }
        OsString::from_vec(line)
    }
}

/// Reads a template as the shell would, as far as that decides what stands in quotes.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    quotes: Quotes,
    /// Whether a `#` here begins a comment.
    word_start: bool,
    /// What was met that is not followed further; from there on no input is put in.
    doubt: Option<&'static str>,
    /// Whether the text ends within a comment.
    in_comment: bool,
    has_input: bool,
    parts: Vec<Part>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t [u8]) -> Self {
        Reader {
            text,
            at: 0,
            quotes: Quotes::None,
            word_start: true,
            doubt: None,
            in_comment: false,
            has_input: false,
            parts: Vec::new(),
        }
    }

    fn read(&mut self) -> Result<(), Trouble> {
        while self.at < self.text.len() {
            if !self.placeholder()? {
                match self.quotes {
                    Quotes::Single => self.single(),
                    Quotes::Double => self.double()?,
                    Quotes::None => self.plain()?,
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Template, Trouble> {
        if self.doubt.is_none() && self.quotes != Quotes::None {
            return Err(refusal("a quote is opened but not closed".into()));
        }
        if !self.has_input {
            self.append()?;
        }
        Ok(Template { parts: self.parts })
    }

    /// Puts the input last, where the template has no place for it.
    fn append(&mut self) -> Result<(), Trouble> {
        const WHERE: &str = "write {} where the input belongs";
        if self.in_comment {
            return Err(refusal("the input would come last, within a comment".into()).advice(WHERE));
        }
        // After one of these the input would be a command, not an argument of one.
        if let [before @ .., last @ (b';' | b'&' | b'|' | b'(' | b')' | b'{' | b'\\')] = self.text
            && !ends_escaped(before)
        {
            let last = char::from(*last);
            return Err(refusal(format!("the input would come last, after `{last}`")).advice(WHERE));
        }
        self.push(1, b" ");
        self.input()
    }

    /// Takes one of the places and their escapes, if there is one here.
    fn placeholder(&mut self) -> Result<bool, Trouble> {
        let rest = self.rest();
        if rest.starts_with(b"{{}}") {
            self.push(4, b"{}");
        } else if rest.starts_with(b"{{#}}") {
            self.push(5, b"{#}");
        } else if rest.starts_with(b"{#}") {
            self.at += 3;
            self.parts.push(Part::Number);
        } else if rest.starts_with(b"{}") {
            self.at += 2;
            self.input()?;
        } else {
            return Ok(false);
        }
        self.word_start = false;
        Ok(true)
    }

    fn input(&mut self) -> Result<(), Trouble> {
        if let Some(doubt) = self.doubt {
            return Err(
                refusal(format!("{doubt}: an input cannot be put safely there, nor after it")).advice(ADVICE)
            );
        }
        self.has_input = true;
        self.parts.push(Part::Input(self.quotes));
        Ok(())
    }

    fn single(&mut self) {
        if self.text[self.at] == b'\'' {
            self.quotes = Quotes::None;
        }
        self.copy(1);
    }

    fn double(&mut self) -> Result<(), Trouble> {
        match self.text[self.at] {
            b'"' => {
                self.quotes = Quotes::None;
                self.copy(1);
            }
            b'\\' => self.backslash()?,
            b'$' => self.dollar()?,
            b'`' => self.unsure("after a backtick", 1),
            _ => self.copy(1),
        }
        Ok(())
    }

    fn plain(&mut self) -> Result<(), Trouble> {
        let rest = self.rest();
        match rest[0] {
            b'\'' | b'"' => {
                self.quotes = if rest[0] == b'\'' { Quotes::Single } else { Quotes::Double };
                self.copy(1);
                self.word_start = false;
            }
            b'\\' => self.backslash()?,
            b'$' => self.dollar()?,
            b'`' => self.unsure("after a backtick", 1),
            b'#' if self.word_start => self.comment()?,
            b'<' if rest.starts_with(b"<<<") => self.copy(3),
            b'<' if rest.starts_with(b"<<") => self.unsure("after `<<` (a here-document)", 2),
            b'(' if rest.starts_with(b"((") => self.unsure("after `((` (arithmetic)", 2),
            byte => {
                self.copy(1);
                self.word_start = b" \t\n;&|()<>".contains(&byte);
            }
        }
        Ok(())
    }

    /// A backslash and what it takes the meaning of. An input must not be that: its own quote would be.
    fn backslash(&mut self) -> Result<(), Trouble> {
        let after = &self.rest()[1..];
        if after.starts_with(b"{{}}") || after.starts_with(b"{{#}}") {
            self.copy(1);
        } else if after.starts_with(b"{}") {
            return Err(
                refusal("a backslash before {}".into()).advice("write {} for the input, {{}} for braces")
            );
        } else if after.starts_with(b"\n#") {
            // Whether the second line begins with a comment depends on the end of the first.
            self.unsure("after a line that is continued with #", 3);
        } else if after.starts_with(b"\n") {
            self.copy(2);
        } else {
            self.copy(2);
            self.word_start = false;
        }
        Ok(())
    }

    fn dollar(&mut self) -> Result<(), Trouble> {
        let rest = self.rest();
        let in_double = self.quotes == Quotes::Double;
        self.word_start = false;
        if rest.starts_with(b"${}") {
            return Err(refusal("`$` before {}".into())
                .advice("write {} for the input, \\${} for a dollar before it"));
        }
        match rest.get(1) {
            Some(b'{') => match simple_variable(rest) {
                Some(length) => self.copy(length),
                None => self.unsure("after `${` with more than a name", 2),
            },
            Some(b'(') if rest.starts_with(b"$((") => self.unsure("after `$((` (arithmetic)", 3),
            Some(b'(') if in_double => self.unsure("after `$(` within double quotes", 2),
            Some(b'\'') if !in_double => self.unsure("after `$'`", 2),
            Some(b'[') => self.unsure("after `$[` (arithmetic)", 2),
            Some(b'$') => self.copy(2),
            _ => self.copy(1),
        }
        Ok(())
    }

    /// A comment, to the end of its line. Quotes in it mean nothing.
    fn comment(&mut self) -> Result<(), Trouble> {
        self.in_comment = true;
        while self.at < self.text.len() && self.text[self.at] != b'\n' {
            if self.rest().starts_with(b"{}") {
                return Err(refusal("{} within a comment".into()).advice("leave the comment out"));
            }
            self.copy(1);
        }
        self.in_comment = self.at == self.text.len();
        Ok(())
    }

    fn unsure(&mut self, doubt: &'static str, length: usize) {
        self.doubt.get_or_insert(doubt);
        self.copy(length);
    }

    fn rest(&self) -> &'t [u8] {
        &self.text[self.at..]
    }

    fn copy(&mut self, length: usize) {
        let rest = self.rest();
        let length = length.min(rest.len());
        self.push(length, &rest[..length]);
    }

    /// Goes on by `length`, with `text` in its place.
    fn push(&mut self, length: usize, text: &[u8]) {
        self.at += length;
        match self.parts.last_mut() {
            Some(Part::Text(last)) => last.extend_from_slice(text),
            _ => self.parts.push(Part::Text(text.to_vec())),
        }
    }
}

/// The length of `${name}`, when `text` begins with one.
fn simple_variable(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|&byte| byte == b'}')?;
    let name = &text[2..end];
    let word = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let special = matches!(name, [b'@' | b'*' | b'#' | b'?' | b'!' | b'$' | b'-']);
    ((word && !name.is_empty()) || special).then_some(end + 1)
}

/// Without the blanks at the end, but for one that a backslash makes part of a word.
fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [before @ .., b' ' | b'\t' | b'\r' | b'\n'] = text
        && !ends_escaped(before)
    {
        text = before;
    }
    text
}

/// Whether what comes after `text` is escaped: an odd number of backslashes stands at its end.
fn ends_escaped(text: &[u8]) -> bool {
    text.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

fn refusal(what: String) -> Trouble {
    Trouble::new(what).at("the command of tg each")
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
