//! The tree of errors at the end of a run that failed, in the style of the library's.
//!
//! ```text
//! tg: 1 job failed, 2 cancelled, 1 not started (1.3s)
//! ├─ build (#1) failed first: exit code 2 after 1.2s
//! │    the end of its output:
//! │      error: no such file
//! ├─ cancelled because build failed
//! │  ├─ test (#2) after 1.2s: ended by SIGTERM
//! │  └─ serve (#3) after 1.2s: ended by SIGKILL; 2 processes needed SIGKILL
//! └─ not started
//!    └─ deploy (#4): it needs build
//! ```

use super::status::leak;
use super::style::{Paint, Style};
use super::summary::{Ended, Listed, Skipped, Summary};
use super::text::{cut, plural, visible};
use crate::event::{Cause, Ending, Outcome, brief};

/// A line of output is cut here where no terminal sets the width.
const COLUMNS_MAX: usize = 500;
/// So many leaks of one job are listed.
const LEAKS_LISTED: usize = 20;

/// The lines; nothing where nothing failed, was cancelled or was skipped. `columns` is the width of the terminal,
/// where there is one.
pub(crate) fn tree(summary: &Summary, columns: Option<usize>, style: Style) -> Vec<String> {
    let columns = columns.map_or(COLUMNS_MAX, |columns| columns.saturating_sub(1));
    let nodes = nodes(summary, style);
    if nodes.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("tg: {}", heading(summary))];
    draw(nodes, "", columns, &mut lines);
    lines
}

/// `40 jobs in 0:42`, for a run in which all went well.
pub(crate) fn success(summary: &Summary) -> String {
    let counts = &summary.counts;
    let mut parts = vec![plural(counts.succeeded, "job", "jobs")];
    let others = [
        (counts.done_before, "done before"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.skipped, "not started"),
    ];
    parts
        .extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    format!("{} in {}", parts.join(", "), super::text::clock(summary.elapsed))
}

fn heading(summary: &Summary) -> String {
    let cause = match &summary.cause {
        Some(Cause::Signal { signal }) => format!("{signal}: "),
        Some(Cause::Deadline { limit }) => format!("out of time after {}: ", brief(*limit)),
        Some(Cause::Outer) => "the outer run was cancelled: ".into(),
        _ => String::new(),
    };
    let counts = &summary.counts;
    let (failed, skipped) = (summary.failed.total, summary.skipped.total.max(counts.skipped));
    let mut parts = Vec::new();
    if failed > 0 {
        parts.push(plural(failed, "job failed", "jobs failed"));
    }
    let others = [
        (summary.cancelled.total, "cancelled"),
        (skipped, "not started"),
        (counts.succeeded, "succeeded"),
        (counts.done_before, "done before"),
    ];
    parts
        .extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    format!("{cause}{} ({})", parts.join(", "), brief(summary.elapsed))
}

/// A line, lines that belong to it, and what hangs below it.
#[derive(Debug, Default)]
struct Node {
    text: String,
    paint: Option<(Style, Paint)>,
    details: Vec<String>,
    children: Vec<Node>,
}

impl Node {
    fn new(text: String) -> Node {
        Node { text, ..Node::default() }
    }
}

fn nodes(summary: &Summary, style: Style) -> Vec<Node> {
    let first_matters = summary.failed.total > 1 || summary.cancelled.total + summary.skipped.total > 0;
    let mut nodes = children(&summary.failed, |position, ended| {
        let mut node = failed(ended, position == 0 && first_matters, summary);
        node.paint = Some((style, Paint::Red));
        node
    });
    if summary.cancelled.total > 0 {
        let text = cancelled_title(summary.cause.as_ref());
        nodes.push(Node {
            children: children(&summary.cancelled, |_, ended| cancelled(ended)),
            ..Node::new(text)
        });
    }
    if summary.skipped.total > 0 {
        let children = children(&summary.skipped, |_, job| Node::new(skipped(job)));
        nodes.push(Node { children, ..Node::new("not started".into()) });
    }
    if !nodes.is_empty() && summary.leaked.total > 0 {
        let children =
            children(&summary.leaked, |_, ended| Node { details: leaks(ended), ..Node::new(named(ended)) });
        nodes.push(Node { children, ..Node::new("succeeded, but left processes behind, now ended".into()) });
    }
    nodes
}

fn children<T>(listed: &Listed<T>, node: impl Fn(usize, &T) -> Node) -> Vec<Node> {
    let mut nodes: Vec<Node> =
        listed.first.iter().enumerate().map(|(position, item)| node(position, item)).collect();
    if listed.total > nodes.len() {
        nodes.push(Node::new(format!("… and {} more", listed.total - nodes.len())));
    }
    nodes
}

fn named(ended: &Ended) -> String {
    format!("{} (#{})", visible(&ended.job.name), ended.job.number)
}

fn failed(ended: &Ended, first: bool, summary: &Summary) -> Node {
    let mut text = format!("{} failed{}: ", named(ended), if first { " first" } else { "" });
    text.push_str(&visible(&ended.outcome.to_string()));
    match &ended.outcome {
        Outcome::TimedOut { ending, .. } => text.push_str(&ending_text(*ending)),
        Outcome::NotFound | Outcome::NotExecutable | Outcome::Trouble { .. } => {}
        _ => text.push_str(&format!(" after {}", brief(ended.elapsed))),
    }
    if ended.attempts > 1 {
        text.push_str(&format!(", in attempt {}", ended.attempts));
    }
    text.push_str(&needed_kill(ended));
    let command = visible(&ended.job.command.to_string_lossy());
    let mut details = Vec::new();
    if command != *visible(&ended.job.name) {
        details.push(format!("command: {command}"));
    }
    if let Some(dir) = &ended.job.dir {
        details.push(format!("in {}", visible(&dir.to_string_lossy())));
    }
    details.extend(leaks(ended));
    if summary.seen_last != Some(ended.job.number) {
        details.extend(tail(ended));
    }
    Node { details, ..Node::new(text) }
}

fn ending_text(ending: Ending) -> String {
    match ending {
        Ending::NotRunning => String::new(),
        ending => format!(", {ending}"),
    }
}

fn tail(ended: &Ended) -> Vec<String> {
    if ended.tail.is_empty() {
        return Vec::new();
    }
    let title = if ended.line_count > ended.tail.len() as u64 {
        format!("the end of its output ({} of {} lines):", ended.tail.len(), ended.line_count)
    } else {
        "its output:".into()
    };
    let lines = ended.tail.iter().map(|line| format!("  {line}"));
    std::iter::once(title).chain(lines).collect()
}

fn leaks(ended: &Ended) -> Vec<String> {
    let mut lines: Vec<String> =
        ended.leaks.iter().take(LEAKS_LISTED).map(|each| format!("left behind: {}", leak(each))).collect();
    if ended.leaks.len() > LEAKS_LISTED {
        lines.push(format!("… and {} more", ended.leaks.len() - LEAKS_LISTED));
    }
    lines
}

fn needed_kill(ended: &Ended) -> String {
    match ended.signalled.sigkill {
        0 => String::new(),
        count => format!("; {} needed SIGKILL", plural(count, "process", "processes")),
    }
}

fn cancelled_title(cause: Option<&Cause>) -> String {
    match cause {
        Some(Cause::Signal { signal }) => format!("cancelled by {signal}"),
        Some(Cause::Deadline { limit }) => format!("cancelled at the time limit of {}", brief(*limit)),
        Some(Cause::Trouble { .. }) => "cancelled because tg could not go on".into(),
        Some(cause) => format!("cancelled because {}", visible(&cause.to_string())),
        None => "cancelled".into(),
    }
}

fn cancelled(ended: &Ended) -> Node {
    let ending = match &ended.outcome {
        Outcome::Cancelled { ending, .. } => ending.to_string(),
        outcome => outcome.to_string(),
    };
    let text = match &ended.outcome {
        Outcome::Cancelled { ending: Ending::NotRunning, .. } => {
            format!("{} while it waited for attempt {}", named(ended), ended.attempts + 1)
        }
        _ => format!("{} after {}: {ending}{}", named(ended), brief(ended.elapsed), needed_kill(ended)),
    };
    Node { details: leaks(ended), ..Node::new(text) }
}

fn skipped(skipped: &Skipped) -> String {
    let name = format!("{} (#{})", visible(&skipped.job.name), skipped.job.number);
    match &skipped.need {
        Some(need) => format!("{name}: it needs {}", visible(need)),
        None => name,
    }
}

fn draw(nodes: Vec<Node>, indent: &str, columns: usize, lines: &mut Vec<String>) {
    let last = nodes.len().saturating_sub(1);
    for (position, node) in nodes.into_iter().enumerate() {
        let (branch, trunk) = if position == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let room = columns.saturating_sub(super::text::width(indent) + 3);
        let text = cut(&node.text, room);
        let text = node.paint.map_or(text.clone(), |(style, paint)| style.paint(paint, &text));
        lines.push(format!("{indent}{branch}{text}"));
        let detail = |line: &String| cut(&format!("{indent}{trunk}  {line}"), columns);
        lines.extend(node.details.iter().map(detail));
        draw(node.children, &format!("{indent}{trunk}"), columns, lines);
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
