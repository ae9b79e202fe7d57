//! The text of errors: one line, or a tree.
//!
//! Everything a user's `Display` writes goes through [`text_of`]-like helpers: it may panic or fail, and
//! the rest of the report must come out all the same.

use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{ErrorGroup, Failure, carrier};
use crate::tree::{CancelReason, NodeKind};

/// How many failures the one-line form spells out.
const LINE_FAILURES: usize = 3;
/// From this depth on the tree is not indented further: the text stays linear in what it says.
const INDENT_DEPTH: usize = 24;

/// How to show an error as lines: its text, then its causes.
pub(super) type Show<'a, E> = &'a dyn Fn(&E) -> Vec<String>;

pub(super) fn show<E: fmt::Display + 'static>(error: &E) -> Vec<String> {
    carrier::chain_texts(error).unwrap_or_else(|| vec![guarded(format_args!("{error:#}"))])
}

pub(super) fn show_debug<E: fmt::Debug + 'static>(error: &E) -> Vec<String> {
    carrier::chain_texts(error).unwrap_or_else(|| vec![guarded(format_args!("{error:?}"))])
}

pub(super) fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    guarded(format_args!("{error}"))
}

/// Formats, whatever the user's implementation does.
fn guarded(what: fmt::Arguments<'_>) -> String {
    let mut text = String::new();
    match catch_unwind(AssertUnwindSafe(|| text.write_fmt(what))) {
        Ok(Ok(())) => text,
        Ok(Err(_)) => "(its Display returned an error)".to_owned(),
        Err(_panic) => "(its Display panicked)".to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `task "a" (#3): connection refused`
pub(super) fn failure_line<E: 'static>(failure: &Failure<E>, show: Show<'_, E>) -> String {
    let what = match (failure.error(), failure.panic()) {
        (Some(error), _) => show(error).join(": "),
        (None, panic) => panic.map_or_else(String::new, |panic| panic.to_string()),
    };
    format!("{}: {}", failure.who(), one_line(&what))
}

/// One line for an error whose type may have no text at all.
pub(crate) fn error_text<E: 'static>(error: &E) -> String {
    let texts = carrier::chain_texts(error).or_else(|| carrier::plain_text(error).map(|text| vec![text]));
    match texts {
        Some(texts) => one_line(&texts.join(": ")),
        None => format!("an error of type {}", std::any::type_name::<E>()),
    }
}

/// What went wrong, without who it was: [`error_text`], or that of a panic.
pub(crate) fn problem_text<E: 'static>(failure: &Failure<E>) -> String {
    match (failure.error(), failure.panic()) {
        (Some(error), _) => error_text(error),
        (None, panic) => panic.map_or_else(String::new, |panic| one_line(&panic.to_string())),
    }
}

fn title<E: 'static>(group: &ErrorGroup<E>) -> String {
    format!("{}", group.0.group)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `group "crawl" (#1) failed: task "a" (#3): connection refused; and 2 more`
pub(super) fn write_line<E: 'static>(
    f: &mut fmt::Formatter<'_>,
    group: &ErrorGroup<E>,
    show: Show<'_, E>,
) -> fmt::Result {
    if group.is_cancelled() {
        write!(f, "{} was cancelled", title(group))?;
        return match group.cause() {
            Some(cause) => write!(f, ": {}", one_line(&cause.to_string())),
            None => Ok(()),
        };
    }
    let mut leaves = group.leaves();
    let shown: Vec<_> = leaves.by_ref().take(LINE_FAILURES).map(|leaf| failure_line(leaf, show)).collect();
    let hidden = leaves.count() + group.more();
    let all = count(shown.len() + hidden, "failure");
    write!(f, "{} failed with {all}: {}", title(group), shown.join("; "))?;
    if hidden > 0 {
        write!(f, "; and {hidden} more")?;
    }
    Ok(())
}

/// The whole tree:
///
/// ```text
/// group "crawl" (#1) failed with 2 failures
/// ├─ task "a" (#3), spawned at src/main.rs:10:8
/// │    cannot fetch a
/// │    caused by: connection refused
/// └─ task #4, spawned at src/main.rs:14:8
///      panicked: index out of bounds
/// ```
pub(super) fn write_tree<E: 'static>(
    f: &mut fmt::Formatter<'_>,
    root: &ErrorGroup<E>,
    show: Show<'_, E>,
) -> fmt::Result {
    write_header(f, root, "")?;
    let mut levels = vec![(root.failures().iter(), root.more(), String::new())];
    loop {
        let depth = levels.len();
        let Some((failures, more, indent)) = levels.last_mut() else { return Ok(()) };
        let Some(failure) = failures.next() else {
            if *more > 0 {
                write!(f, "\n{indent}└─ and {} that were not stored", count(*more, "failure"))?;
            }
            levels.pop();
            continue;
        };
        let last = failures.as_slice().is_empty() && *more == 0;
        let (branch, stem) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        write!(f, "\n{indent}{branch}{}", failure.who())?;
        let made = if failure.who().kind() == NodeKind::Body { "opened" } else { "spawned" };
        write!(f, ", {made} at {}", failure.location())?;
        let below = format!("{indent}{stem}");
        write_problem(f, failure, &below, show)?;
        if let Some(nested) = failure.nested().filter(|nested| !nested.is_cancelled()) {
            write!(f, "\n{below}  ")?;
            write_header(f, nested, "")?;
            let indent = if depth < INDENT_DEPTH { below + "  " } else { indent.clone() };
            levels.push((nested.failures().iter(), nested.more(), indent));
        }
    }
}

fn write_header<E: 'static>(f: &mut fmt::Formatter<'_>, group: &ErrorGroup<E>, indent: &str) -> fmt::Result {
    if group.is_cancelled() {
        write!(f, "{} was cancelled", title(group))?;
        if let Some(cause) = group.cause() {
            let chain = format!("{cause:#}");
            write!(f, "\n{indent}  because {}", chain.replace('\n', &format!("\n{indent}")))?;
        }
        return Ok(());
    }
    write!(f, "{} failed with {}", title(group), count(group.len() + group.more(), "failure"))?;
    // A sibling's failure is below; any other cause is news.
    match group.cause().map(|cause| cause.reason()) {
        None | Some(CancelReason::SiblingFailed(_) | CancelReason::SiblingPanicked(_)) => Ok(()),
        Some(reason) => write!(f, ", cancelled because {}", one_line(&reason.to_string())),
    }
}

fn write_problem<E: 'static>(
    f: &mut fmt::Formatter<'_>,
    failure: &Failure<E>,
    indent: &str,
    show: Show<'_, E>,
) -> fmt::Result {
    let mut lines = match (failure.error(), failure.panic()) {
        (Some(error), _) => show(error),
        (None, panic) => panic.iter().map(ToString::to_string).collect(),
    };
    for line in lines.iter_mut().skip(1) {
        line.insert_str(0, "caused by: ");
    }
    for line in lines.iter().flat_map(|text| text.lines()) {
        write!(f, "\n{indent}  {line}")?;
    }
    Ok(())
}
