//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use taskgroup::OnFailure;

use super::exit;
use super::url::{BadUrl, Url};

/// The seed of the example's own server if none is given: with it two pages of twenty fail, the first when
/// half of the others have arrived.
pub(super) const SEED: u64 = 37;

/// What to fetch, and how.
#[derive(Debug)]
pub struct Options {
    pub(super) source: Source,
    pub(super) on_failure: OnFailure,
    /// How long the whole run may take.
    pub(super) limit: Option<Duration>,
}

/// Where the pages are.
#[derive(Debug)]
pub(super) enum Source {
    /// A server that the run itself starts.
    OwnServer { seed: u64 },
    /// Never empty.
    Urls(Vec<Url>),
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Fetch.
    Fetch(Options),
    /// Show the help.
    Help,
}

/// What is wrong with the command line.
#[derive(Debug)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<BadUrl> for UsageError {
    fn from(error: BadUrl) -> Self {
        Self(error.to_string())
    }
}

fn wrong<T>(message: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(message.into()))
}

/// The text of `--help`.
pub fn help() -> String {
    let codes: String =
        exit::MEANINGS.iter().map(|(code, meaning)| format!("  {code:>3}  {meaning}\n")).collect();
    format!(
        "Fetches pages, all at once, as one task group.\n\n\
         Usage: fetch [OPTIONS] [URL]...\n\n\
         Without URLs it starts a server of its own on this machine and fetches its pages: each\n\
         takes 0.5 to 1.5 seconds, and about a tenth answer with an error. Redirects count as errors.\n\n\
         Options:\n\
         \x20 --file LIST        fetch the URLs in this file too: one a line, # begins a comment\n\
         \x20 --keep-going       a page that fails does not cancel the others\n\
         \x20 --timeout SECONDS  give up when the whole run takes longer\n\
         \x20 --seed N           another choice of delays and errors for the server ({SEED} if not given)\n\
         \x20 --help             this text\n\n\
         Exit codes:\n{codes}"
    )
}

/// Reads the command line and the file it names.
///
/// # Errors
///
/// The first thing that is wrong, for the person who wrote it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut arguments = arguments.into_iter();
    let (mut urls, mut from_file) = (Vec::new(), false);
    let (mut seed, mut limit, mut on_failure) = (None, None, OnFailure::Cancel);
    let mut only_urls = false;
    while let Some(argument) = arguments.next() {
        let argument = text(argument)?;
        if only_urls || !argument.starts_with('-') {
            urls.push(argument.parse()?);
            continue;
        }
        let (option, attached) = match argument.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let has_value = matches!(option, "--file" | "--timeout" | "--seed");
        if !has_value && attached.is_some() && matches!(option, "--keep-going" | "--help") {
            return wrong(format!("{option} takes no value"));
        }
        let mut value = |what| match attached.clone().map(Ok).or_else(|| arguments.next().map(text)) {
            Some(value) => value,
            None => wrong(format!("{option} needs {what}")),
        };
        match option {
            "--file" => {
                read_list(&value("the name of a file")?, &mut urls)?;
                from_file = true;
            }
            "--timeout" => limit = Some(seconds(&value("a number of seconds")?)?),
            "--seed" => seed = Some(number(&value("a number")?)?),
            "--keep-going" => on_failure = OnFailure::Continue,
            "--help" | "-h" => return Ok(Request::Help),
            "--" => only_urls = true,
            _ => return wrong(format!("unknown option {argument:?}")),
        }
    }
    let source = match (urls.is_empty(), seed) {
        (true, seed) => Source::OwnServer { seed: seed.unwrap_or(SEED) },
        (false, None) => Source::Urls(urls),
        (false, Some(_)) => {
            let given = if from_file { "--file" } else { "URLs" };
            return wrong(format!(
                "--seed is for the server of this example, which is not used with {given}"
            ));
        }
    };
    Ok(Request::Fetch(Options { source, on_failure, limit }))
}

fn text(argument: OsString) -> Result<String, UsageError> {
    argument.into_string().or_else(|argument| wrong(format!("{argument:?} is not valid Unicode")))
}

fn seconds(text: &str) -> Result<Duration, UsageError> {
    let limit = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match limit.filter(|limit| !limit.is_zero()) {
        Some(limit) => Ok(limit),
        None => wrong(format!("--timeout needs a number of seconds above 0, not {text:?}")),
    }
}

fn number(text: &str) -> Result<u64, UsageError> {
    text.parse().or_else(|_| wrong(format!("--seed needs a whole number from 0 on, not {text:?}")))
}

fn read_list(name: &str, urls: &mut Vec<Url>) -> Result<(), UsageError> {
    let text = match std::fs::read_to_string(name) {
        Ok(text) => text,
        Err(error) => return wrong(format!("cannot read the list {name:?}: {error}")),
    };
    let before = urls.len();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse() {
            Ok(url) => urls.push(url),
            Err(error) => return wrong(format!("{name:?}, line {}: {error}", index + 1)),
        }
    }
    if urls.len() == before {
        return wrong(format!("there are no URLs in the list {name:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, UsageError> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Request::Fetch(options) => Ok(options),
            Request::Help => wrong("the help was asked for"),
        }
    }

    #[test]
    fn without_arguments_it_is_the_own_server() {
        let options = parsed("").unwrap();
        assert!(matches!(options.source, Source::OwnServer { seed: SEED }));
        assert_eq!((options.on_failure, options.limit), (OnFailure::Cancel, None));
    }

    #[test]
    fn a_value_stands_behind_its_option_or_in_it() {
        for line in ["--keep-going --timeout 2.5 --seed 3", "--seed=3 --timeout=2.5 --keep-going"] {
            let options = parsed(line).unwrap();
            assert!(matches!(options.source, Source::OwnServer { seed: 3 }), "{line}");
            assert_eq!(options.on_failure, OnFailure::Continue, "{line}");
            assert_eq!(options.limit, Some(Duration::from_millis(2500)), "{line}");
        }
    }

    #[test]
    fn urls_keep_their_order() {
        let Source::Urls(urls) = parsed("http://b/ -- http://a/").unwrap().source else { panic!("URLs") };
        assert_eq!(urls.iter().map(Url::to_string).collect::<Vec<_>>(), ["http://b/", "http://a/"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, message) in [
            ("--fast", "unknown option \"--fast\""),
            ("--fast=1", "unknown option \"--fast=1\""),
            ("-- --keep-going", "cannot fetch \"--keep-going\": a URL begins with http://"),
            ("--keep-going=yes", "--keep-going takes no value"),
            ("--timeout", "--timeout needs a number of seconds"),
            ("--timeout soon", "--timeout needs a number of seconds above 0, not \"soon\""),
            ("--timeout 0", "--timeout needs a number of seconds above 0, not \"0\""),
            ("--timeout -1", "--timeout needs a number of seconds above 0, not \"-1\""),
            ("--timeout nan", "--timeout needs a number of seconds above 0, not \"nan\""),
            ("--seed x", "--seed needs a whole number from 0 on, not \"x\""),
            ("--seed 1 http://a/", "--seed is for the server of this example, which is not used with URLs"),
            ("https://a/", "cannot fetch \"https://a/\": https is not supported by this example"),
        ] {
            assert_eq!(parsed(line).unwrap_err().to_string(), message, "{line}");
        }
    }

    #[test]
    fn the_help_names_every_code() {
        assert!(matches!(parse(["--help".into()]), Ok(Request::Help)));
        let help = help();
        for (code, meaning) in exit::MEANINGS {
            assert!(help.contains(&format!("{code:>3}  {meaning}")), "{code}");
        }
    }
}
