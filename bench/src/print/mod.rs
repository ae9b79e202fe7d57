//! The rows, for a person, for a page of the documentation, or for a program.

mod json;
mod markdown;
mod table;

use std::io::{self, Write};

use crate::machine::Machine;
use crate::row::{Row, Unit};
use crate::works::Section;

/// How to show the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
    Markdown,
}

/// Prints each row as soon as it is known.
pub(crate) struct Printer<W> {
    out: W,
    format: Format,
    machine: Machine,
    section: Option<Section>,
    /// The rows that have a target, and those of them that missed it.
    targets: usize,
    missed: usize,
}

impl<W: Write> Printer<W> {
    pub(crate) fn begin(mut out: W, format: Format, machine: Machine) -> io::Result<Self> {
        match format {
            Format::Table => writeln!(out, "{machine}")?,
            Format::Json => {}
            Format::Markdown => writeln!(out, "{}", markdown::begin(&machine))?,
        }
        Ok(Self { out, format, machine, section: None, targets: 0, missed: 0 })
    }

    pub(crate) fn section(&mut self, section: Section) -> io::Result<()> {
        if self.section.replace(section) == Some(section) {
            return Ok(());
        }
        match self.format {
            Format::Table => writeln!(self.out, "\n{}", table::heading(section)),
            Format::Json => Ok(()),
            Format::Markdown => writeln!(self.out, "\n{}", markdown::heading(section)),
        }
    }

    pub(crate) fn row(&mut self, row: &Row) -> io::Result<()> {
        self.targets += usize::from(row.met().is_some());
        self.missed += usize::from(row.met() == Some(false));
        let line = match self.format {
            Format::Table => table::line(row),
            Format::Json => json::object(row, &self.machine),
            Format::Markdown => markdown::line(row),
        };
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    /// A work that cannot be measured here. A reader of JSON sees no row, and the line elsewhere.
    pub(crate) fn skipped(&mut self, work: &str, why: &str) -> io::Result<()> {
        match self.format {
            Format::Table => writeln!(self.out, "{work}: skipped: {why}"),
            Format::Json => {
                eprintln!("{work}: skipped: {why}");
                Ok(())
            }
            Format::Markdown => writeln!(self.out, "\n`{work}` was skipped: {why}."),
        }
    }

    pub(crate) fn end(mut self) -> io::Result<()> {
        let Self { targets, missed, .. } = self;
        if targets > 0 && self.format != Format::Json {
            writeln!(self.out, "\n{} of {targets} targets met", targets - missed)?;
        }
        match self.format {
            Format::Table | Format::Json => Ok(()),
            Format::Markdown => writeln!(self.out, "{}", markdown::END),
        }
    }
}

fn quantity(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds if value < 1e3 => format!("{value:.0} ns"),
        Unit::Nanoseconds if value < 1e6 => format!("{:.2} us", value / 1e3),
        Unit::Nanoseconds => format!("{:.2} ms", value / 1e6),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Allocations => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Figures;
    use crate::row::Target;

    pub(super) fn row(ratio: f64, target: Target) -> Row {
        Row {
            work: "spawn_join",
            n: 10,
            threads: 1,
            peer: "joinset",
            unit: Unit::Nanoseconds,
            target,
            figures: Figures { ours: 1500.0, peer: 3000.0, ratio },
        }
    }

    pub(super) fn machine() -> Machine {
        let cpu = "Some \"CPU\"".to_owned();
        Machine { cpu, cores: 2, os: "linux", rustc: "1.90.0", tokio: "1.47.0", python: None }
    }

    fn printed(format: Format) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::begin(&mut out, format, machine()).unwrap();
        for (section, target) in [
            (Section::Tasks, Target::Ratio(0.75)),
            (Section::Tasks, Target::Ratio(0.25)),
            (Section::Processes, Target::None),
        ] {
            printer.section(section).unwrap();
            printer.row(&row(0.5, target)).unwrap();
        }
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_section_is_named_once_and_the_targets_are_counted() {
        for (format, last) in [(Format::Table, "1 of 2 targets met\n"), (Format::Markdown, "-->\n")] {
            let text = printed(format);
            assert_eq!(text.matches(Section::Tasks.title()).count(), 1, "{text}");
            assert_eq!(text.matches(Section::Processes.title()).count(), 1, "{text}");
            assert!(text.contains("1 of 2 targets met") && text.ends_with(last), "{text}");
        }
    }

    #[test]
    fn json_is_rows_and_nothing_else() {
        let text = printed(Format::Json);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.starts_with("{\"work\":") && line.ends_with('}')), "{text}");
    }
}
