//! Columns of text.

use super::quantity;
use crate::row::{Row, Target};
use crate::works::Section;

pub(super) fn heading(section: Section) -> String {
    let titles = format!(
        "{:<21} {:>7} {:>7}  {:<18} {:>10} {:>10} {:>7}  {}",
        section.title(),
        "n",
        "threads",
        "peer",
        "ours",
        "peer's",
        "ratio",
        "target"
    );
    let rule = "-".repeat(titles.len() + 16);
    format!("{titles}\n{rule}")
}

pub(super) fn line(row: &Row) -> String {
    let target = match row.target {
        Target::Ratio(target) => format!("ratio <= {target:.2}"),
        Target::Ours(target) => format!("ours <= {target:.2}"),
        Target::None => String::new(),
    };
    let mark = if row.met() == Some(false) { "MISSED" } else { "" };
    let line = format!(
        "{:<21} {:>7} {:>7}  {:<18} {:>10} {:>10} {:>7.3}  {target:<14} {mark}",
        row.work,
        row.n,
        row.threads,
        row.peer,
        quantity(row.unit, row.figures.ours),
        quantity(row.unit, row.figures.peer),
        row.figures.ratio,
    );
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn only_a_missed_target_is_marked() {
        let target = Target::Ratio(0.75);
        assert!(line(&row(0.75, target)).ends_with("0.750  ratio <= 0.75"));
        assert!(line(&row(0.76, target)).ends_with("ratio <= 0.75  MISSED"));
        assert!(line(&row(2.0, Target::None)).ends_with("2.000"));
    }
}
