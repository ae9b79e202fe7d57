//! The live region: one line a running job, and the bar.
//!
//! 1. Every line is narrower than the terminal.
//! 2. There are at most half as many lines of jobs as the terminal has rows, and at least one.

use std::time::Duration;

use super::recent::Recent;
use super::style::{Paint, Style};
use super::text::{clock, cut, fit, visible, width};

/// The size that is assumed where the terminal does not tell its own.
pub(crate) const SIZE_UNKNOWN: Size = Size { columns: 80, rows: 24 };
const NAME_MAX: usize = 30;
const BAR_MAX: usize = 30;

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// A running job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) age: Duration,
    pub(crate) recent: &'a Recent,
}

/// How far the run is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) total: Option<usize>,
    pub(crate) done: usize,
    pub(crate) running: usize,
    pub(crate) failed: usize,
    pub(crate) elapsed: Duration,
    /// Why the run is being ended.
    pub(crate) ending: Option<String>,
}

/// The lines of the region.
pub(crate) fn region(rows: &[Row<'_>], progress: &Progress, size: Size, style: Style) -> Vec<String> {
    let columns = size.columns.saturating_sub(1);
    let shown = &rows[..rows.len().min((size.rows / 2).max(1))];
    let names: Vec<String> = shown.iter().map(|row| visible(row.name)).collect();
    let name_columns = names.iter().map(|name| width(name)).max().unwrap_or(0).min(NAME_MAX).min(columns / 3);
    let mut lines: Vec<String> = shown
        .iter()
        .zip(&names)
        .map(|(row, name)| job_line(row, name, name_columns, columns, style))
        .collect();
    if rows.len() > shown.len() {
        lines.push(cut(&format!("  … and {} more", rows.len() - shown.len()), columns));
    }
    lines.push(bar_line(progress, columns, style));
    lines
}

fn job_line(row: &Row<'_>, name: &str, name_columns: usize, columns: usize, style: Style) -> String {
    let head = cut(&format!("  {}  {:>5}", fit(name, name_columns), clock(row.age)), columns);
    let room = columns.saturating_sub(width(&head) + 2);
    let last_line = cut(&row.recent.last_line(), room);
    if last_line.is_empty() { head } else { format!("{head}  {}", style.paint(Paint::Dim, &last_line)) }
}

/// `[=====>    ] 12/40  3 running  1 failed  0:42`; without a total `12 done  3 running  0:42`.
fn bar_line(progress: &Progress, columns: usize, style: Style) -> String {
    let mut parts = vec![match progress.total {
        Some(total) => bar(progress.done, total, columns),
        None => format!("{} done", progress.done),
    }];
    parts.push(format!("{} running", progress.running));
    if progress.failed > 0 {
        parts.push(format!("{} failed", progress.failed));
    }
    parts.push(clock(progress.elapsed));
    if let Some(ending) = &progress.ending {
        parts.push(format!("ending: {}", visible(ending)));
    }
    let line = cut(&parts.join("  "), columns);
    if progress.failed > 0 { style.paint(Paint::Red, &line) } else { line }
}

fn bar(done: usize, total: usize, columns: usize) -> String {
    let inner = (columns / 3).min(BAR_MAX);
    let filled = (inner * done.min(total)).checked_div(total).unwrap_or(inner);
    let head = if filled < inner { ">" } else { "" };
    let blank = inner.saturating_sub(filled + 1);
    format!("[{}{head}{}] {done}/{total}", "=".repeat(filled), " ".repeat(blank))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { color: false };

    fn recent(bytes: &[u8]) -> Recent {
        let mut recent = Recent::default();
        recent.push(bytes);
        recent
    }

    fn progress() -> Progress {
        let elapsed = Duration::from_secs(42);
        Progress { total: Some(40), done: 12, running: 3, failed: 1, elapsed, ending: None }
    }

    #[test]
    fn a_line_a_job_and_the_bar() {
        let (one, two) = (recent(b"\x1b[32mCompiling\x1b[0m foo\n"), recent(b""));
        let rows = [
            Row { name: "build", age: Duration::from_secs(12), recent: &one },
            Row { name: "test all", age: Duration::from_secs(3), recent: &two },
        ];
        let lines = region(&rows, &progress(), Size { columns: 60, rows: 24 }, PLAIN);
        assert_eq!(
            lines,
            [
                "  build      0:12  Compiling foo",
                "  test all   0:03",
                "[=====>             ] 12/40  3 running  1 failed  0:42"
            ]
        );
    }

    #[test]
    fn there_are_no_more_lines_than_half_the_rows() {
        let none = recent(b"");
        let rows = vec![Row { name: "job", age: Duration::ZERO, recent: &none }; 20];
        let lines = region(&rows, &progress(), Size { columns: 60, rows: 16 }, PLAIN);
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[8], "  … and 12 more");
        assert_eq!(region(&rows, &progress(), Size { columns: 60, rows: 0 }, PLAIN).len(), 3);
    }

    #[test]
    fn every_line_fits_whatever_the_names_and_the_width() {
        let wide = recent("日本語の出力\tと \x1b]0;title\x07長い行".repeat(9).as_bytes());
        let names = ["a\nb", "日本語の名前がとても長い名前がとても長い名前", ""];
        let rows = names.map(|name| Row { name, age: Duration::from_secs(100_000), recent: &wide });
        let ending = Some("build\x1b[2J failed".to_owned());
        for columns in 0..120 {
            for color in [false, true] {
                let progress = Progress { ending: ending.clone(), ..progress() };
                for line in region(&rows, &progress, Size { columns, rows: 24 }, Style { color }) {
                    let shown = super::super::text::clean(line.as_bytes());
                    assert!(width(&shown) <= columns.saturating_sub(1), "{columns}: {line:?}");
                    assert!(!line.contains(['\n', '\t']) && !line.contains("\x1b[2J"));
                    assert!(color || !line.contains('\x1b'));
                }
            }
        }
    }

    #[test]
    fn bars() {
        assert_eq!(bar(0, 4, 30), "[>         ] 0/4");
        assert_eq!(bar(2, 4, 30), "[=====>    ] 2/4");
        assert_eq!(bar(4, 4, 30), "[==========] 4/4");
        assert_eq!(bar(0, 0, 30), "[==========] 0/0");
        assert_eq!(
            bar_line(&Progress { done: 7, running: 1, ..Progress::default() }, 80, PLAIN),
            "7 done  1 running  0:00"
        );
    }
}
