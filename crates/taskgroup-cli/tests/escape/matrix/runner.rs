//! The command lines of the runners.
//!
//! Each is asked for what comes nearest to `tg`: to end the others when one fails, and to limit the time of a job, with
//! `timeout` of coreutils where it has no limit of its own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::kind;
use super::scenario::Scenario;

/// A program that runs several commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    Tg,
    Parallel,
    Xargs,
    Concurrently,
}

/// The limit of a job's time, in seconds. All its processes have announced themselves long before.
pub(crate) const TIME: u64 = 5;

/// So many that some meet their end at any moment of their beginning.
const EARLY_JOBS: usize = 16;

impl Runner {
    pub(crate) const ALL: [Self; 4] = [Self::Tg, Self::Parallel, Self::Xargs, Self::Concurrently];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tg => "tg",
            Self::Parallel => "parallel",
            Self::Xargs => "xargs",
            Self::Concurrently => "concurrently",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runner| runner.name() == name)
    }

    /// The words of its command line in a scenario.
    pub(crate) fn words(self, scenario: Scenario, folder: &Path) -> Vec<OsString> {
        if scenario == Scenario::KeepersKilledEarly {
            return early(folder);
        }
        let leader = line(&kind::leader(folder));
        let limit = (scenario == Scenario::TimesOut).then_some(TIME);
        let mut lines = vec![leader];
        if scenario == Scenario::SiblingFails {
            lines.push(line(&kind::sibling(folder)));
        }
        let words = self.over(&lines, limit, &folder.join("lines"));
        if scenario.is_nested() {
            self.over(&[line(&words)], None, &folder.join("outer-lines"))
        } else {
            words
        }
    }

    /// The words that run these lines. `input` is the name of a file that may be made of them.
    fn over(self, lines: &[OsString], limit: Option<u64>, input: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        let limit_text = limit.map(|limit| limit.to_string());
        match self {
            Self::Tg => {
                add(&[env!("CARGO_BIN_EXE_tg"), "run", "--grace", "300ms"]);
                if let Some(limit) = &limit_text {
                    add(&["--timeout-each", limit]);
                }
                words.extend_from_slice(lines);
            }
            Self::Parallel => {
                add(&["parallel", "--will-cite", "--jobs", "0", "--halt", "now,fail=1"]);
                if let Some(limit) = &limit_text {
                    add(&["--timeout", limit]);
                }
                add(&[":::"]);
                words.extend_from_slice(lines);
            }
            Self::Xargs => {
                let lines = under_timeout(lines, limit);
                fs::write(input, lines.join(OsStr::new("\0")).as_bytes()).expect("the folder is there");
                add(&["xargs", "-0", "-P", "0", "-n", "1", "-a"]);
                words.push(input.into());
                words.extend(["sh".into(), "-c".into()]);
            }
            Self::Concurrently => {
                add(&["concurrently", "--kill-others-on-fail"]);
                words.extend(under_timeout(lines, limit));
            }
        }
        words
    }
}

/// Jobs that no shell stands before, so that their parents are their keepers; all of them run, whatever becomes of the others.
fn early(folder: &Path) -> Vec<OsString> {
    let words = kind::early(folder);
    let words: Vec<_> = words.iter().map(|word| word.to_str().expect("paths of tests are text")).collect();
    let jobs: String = (0..EARLY_JOBS).map(|number| format!("[job.j{number}]\nrun = {words:?}\n")).collect();
    let file = folder.join("jobs.toml");
    fs::write(&file, jobs).expect("the folder is there");
    let mut all: Vec<OsString> =
        [env!("CARGO_BIN_EXE_tg"), "run", "--keep-going", "-f"].map(OsString::from).into();
    all.push(file.into());
    all
}

fn under_timeout(lines: &[OsString], limit: Option<u64>) -> Vec<OsString> {
    let Some(limit) = limit else { return lines.to_vec() };
    lines
        .iter()
        .map(|command| [OsString::from(format!("timeout {limit}")), command.clone()].join(OsStr::new(" ")))
        .collect()
}

/// The words as one line for the shell. Those that need no quotes have none: `concurrently` takes off one at the beginning of a
/// line with one at its end.
fn line<W: AsRef<OsStr>>(words: &[W]) -> OsString {
    let quoted: Vec<OsString> = words.iter().map(|word| quote(word.as_ref())).collect();
    quoted.join(OsStr::new(" "))
}

fn quote(word: &OsStr) -> OsString {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./,=:".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return word.to_owned();
    }
    let mut quoted = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    OsString::from_vec(quoted)
}
