//! The fields of one job in a jobs file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;
use toml::Spanned;
use toml::de::DeValue;

use super::super::job::Launch;
use super::{File, Need, Table};
use crate::args::Leaks;
use crate::duration;
use crate::plan::names;
use crate::trouble::Trouble;

const KEYS: [&str; 10] =
    ["name", "run", "dir", "env", "timeout", "grace", "retries", "needs", "tty", "leaks"];

/// Reads the fields of a table.
pub(super) struct Fields<'f> {
    pub(super) file: &'f File<'f>,
    pub(super) table: &'f Table<'f>,
}

impl<'f> Fields<'f> {
    pub(super) fn check_keys(&self) -> Result<(), Trouble> {
        for key in self.table.fields.keys() {
            if !KEYS.contains(&&**key.get_ref()) {
                let near = names::near(key.get_ref(), KEYS);
                let shown = if near.is_empty() { KEYS.to_vec() } else { near };
                let advice = format!("a job can have {}", shown.join(", "));
                return Err(self
                    .trouble(key.span(), format!("unknown key `{}`", key.get_ref()))
                    .advice(advice));
            }
        }
        Ok(())
    }

    /// The name, and where it stands.
    pub(super) fn name(&self) -> Result<(String, Range<usize>), Trouble> {
        let (name, span) = match (&self.table.name, self.text("name")?) {
            (Some((name, span)), None) => (*name, span.clone()),
            (None, Some((name, span))) => (name, span),
            (Some((name, _)), Some((_, span))) => {
                return Err(self.trouble(span, format!("the job has its name already, in [job.{name}]")));
            }
            (None, None) => return Err(self.trouble(self.table.span.clone(), "this job has no name")),
        };
        if name.trim().is_empty() {
            return Err(self.trouble(span, "the name is empty"));
        }
        if name.contains(char::is_control) {
            return Err(self.trouble(span, "the name holds a control character"));
        }
        Ok((name.into(), span))
    }

    pub(super) fn run(&self, name: &str) -> Result<Launch, Trouble> {
        let Some(value) = self.table.fields.get("run") else {
            return Err(self.trouble(self.name()?.1, format!("`{name}` has no `run`")));
        };
        let empty = || self.trouble(value.span(), "`run` is empty");
        match value.get_ref() {
            DeValue::String(line) if line.trim().is_empty() => Err(empty()),
            DeValue::String(line) => {
                self.check_nul("run", line, value.span())?;
                Ok(Launch::Shell(OsString::from(&**line)))
            }
            DeValue::Array(_) => {
                let words = self.texts("run")?;
                match words.first() {
                    Some((program, _)) if !program.is_empty() => {
                        Ok(Launch::Exec(words.into_iter().map(|(word, _)| OsString::from(word)).collect()))
                    }
                    _ => Err(empty()),
                }
            }
            _ => Err(self.wrong("run", "a string or an array of strings", value)),
        }
    }

    pub(super) fn dir(&self) -> Result<Option<&'f str>, Trouble> {
        match self.text("dir")? {
            Some(("", span)) => {
                Err(self.trouble(span, "`dir` is empty; write \".\" for the folder of this file"))
            }
            dir => Ok(dir.map(|(dir, _)| dir)),
        }
    }

    pub(super) fn env(&self) -> Result<BTreeMap<OsString, OsString>, Trouble> {
        let mut env = BTreeMap::new();
        let Some(value) = self.table.fields.get("env") else { return Ok(env) };
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong("env", "a table such as { A = \"1\" }", value));
        };
        for (name, value) in table {
            let key = &**name.get_ref();
            if key.is_empty() || key.contains(['=', '\0']) {
                return Err(self.trouble(name.span(), format!("`{key}` cannot be the name of a variable")));
            }
            let DeValue::String(text) = value.get_ref() else {
                return Err(self.wrong(&format!("env.{key}"), "a string, in quotes", value));
            };
            self.check_nul(key, text, value.span())?;
            env.insert(key.into(), OsString::from(&**text));
        }
        Ok(env)
    }

    pub(super) fn timeout(&self) -> Result<Option<Duration>, Trouble> {
        self.duration("timeout", duration::parse_limit)
    }

    pub(super) fn grace(&self) -> Result<Option<Duration>, Trouble> {
        self.duration("grace", duration::parse)
    }

    pub(super) fn retries(&self) -> Result<Option<u32>, Trouble> {
        let Some(value) = self.table.fields.get("retries") else { return Ok(None) };
        let number = match value.get_ref() {
            DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong("retries", "a whole number, 0 or more", value)),
        }
    }

    pub(super) fn tty(&self) -> Result<Option<bool>, Trouble> {
        match self.table.fields.get("tty").map(|value| (value.get_ref(), value)) {
            None => Ok(None),
            Some((DeValue::Boolean(tty), _)) => Ok(Some(*tty)),
            Some((_, value)) => Err(self.wrong("tty", "true or false", value)),
        }
    }

    pub(super) fn leaks(&self) -> Result<Option<Leaks>, Trouble> {
        let Some((text, span)) = self.text("leaks")? else { return Ok(None) };
        match Leaks::from_str(text, false) {
            Ok(leaks) => Ok(Some(leaks)),
            Err(_) => Err(self.trouble(span, "`leaks` is \"report\", \"fail\" or \"ignore\"")),
        }
    }

    pub(super) fn needs(&self) -> Result<Vec<Need>, Trouble> {
        let needs = self.texts("needs")?;
        Ok(needs.into_iter().map(|(name, span)| Need { name: name.into(), span }).collect())
    }

    fn duration(
        &self,
        key: &str,
        parse: fn(&str) -> Result<Duration, String>,
    ) -> Result<Option<Duration>, Trouble> {
        let Some(value) = self.table.fields.get(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::String(text) => &**text,
            DeValue::Integer(seconds) if seconds.radix() == 10 => seconds.as_str(),
            DeValue::Float(seconds) => seconds.as_str(),
            _ => return Err(self.wrong(key, "a length of time such as \"10s\"", value)),
        };
        let parsed =
            parse(text).map_err(|error| self.trouble(value.span(), format!("`{key}` is `{text}`: {error}")));
        parsed.map(Some)
    }

    fn text(&self, key: &str) -> Result<Option<(&'f str, Range<usize>)>, Trouble> {
        let Some(value) = self.table.fields.get(key) else { return Ok(None) };
        let DeValue::String(text) = value.get_ref() else { return Err(self.wrong(key, "a string", value)) };
        self.check_nul(key, text, value.span())?;
        Ok(Some((text, value.span())))
    }

    fn texts(&self, key: &str) -> Result<Vec<(&'f str, Range<usize>)>, Trouble> {
        let Some(value) = self.table.fields.get(key) else { return Ok(Vec::new()) };
        let DeValue::Array(values) = value.get_ref() else {
            return Err(self.wrong(key, "an array of strings", value));
        };
        let mut texts = Vec::with_capacity(values.len());
        for value in values.iter() {
            let DeValue::String(text) = value.get_ref() else {
                return Err(self.wrong(key, "an array of strings alone", value));
            };
            self.check_nul(key, text, value.span())?;
            texts.push((&**text, value.span()));
        }
        Ok(texts)
    }

    fn check_nul(&self, key: &str, text: &str, span: Range<usize>) -> Result<(), Trouble> {
        match text.contains('\0') {
            true => Err(self.trouble(span, format!("`{key}` holds a NUL character"))),
            false => Ok(()),
        }
    }

    fn wrong(&self, key: &str, expected: &str, value: &Spanned<DeValue<'_>>) -> Trouble {
        let kind = value.get_ref().type_str();
        self.trouble(value.span(), format!("`{key}` is of type {kind}; it must be {expected}"))
    }

    fn trouble(&self, span: Range<usize>, what: impl Into<String>) -> Trouble {
        self.file.trouble(span, what)
    }
}
