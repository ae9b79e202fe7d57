//! The tables of `docs/performance.md`: what is printed stands there between the same two marks.

use super::quantity;
use crate::machine::{Machine, today};
use crate::row::{Row, Target};
use crate::works::Section;

pub(super) const END: &str = "<!-- bench: end -->";

pub(super) fn begin(machine: &Machine) -> String {
    format!("<!-- bench: begin -->\nMeasured on {}: {machine}.", today())
}

pub(super) fn heading(section: Section) -> String {
    format!(
        "### {}\n\n\
         | work | n | threads | peer | ours | peer's | ratio | target |\n\
         |---|---:|---:|---|---:|---:|---:|---|",
        section.title()
    )
}

pub(super) fn line(row: &Row) -> String {
    let target = match row.target {
        Target::Ratio(target) => format!("ratio ≤ {target:.2}"),
        Target::Ours(target) => format!("ours ≤ {target:.2}"),
        Target::None => "–".to_owned(),
    };
    let mark = match row.met() {
        Some(true) => ", met",
        Some(false) => ", **missed**",
        None => "",
    };
    let value = |value| quantity(row.unit, value).replace("us", "µs");
    format!(
        "| `{}` | {} | {} | `{}` | {} | {} | {:.2} | {target}{mark} |",
        row.work,
        row.n,
        row.threads,
        row.peer,
        value(row.figures.ours),
        value(row.figures.peer),
        row.figures.ratio,
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn a_row_says_whether_the_target_was_met() {
        let line = |ratio, target| line(&row(ratio, target));
        assert_eq!(
            line(0.5, Target::Ratio(0.75)),
            "| `spawn_join` | 10 | 1 | `joinset` | 1.50 µs | 3.00 µs | 0.50 | ratio ≤ 0.75, met |"
        );
        assert!(line(0.8, Target::Ratio(0.75)).ends_with("| ratio ≤ 0.75, **missed** |"));
        assert!(line(0.8, Target::None).ends_with("| 0.80 | – |"));
    }
}
