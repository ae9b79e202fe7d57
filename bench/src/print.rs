//! The rows, for a program or for a person.

use crate::works::{Limit, Row, Unit};

pub(crate) fn json(row: &Row) -> String {
    let (target, of) = match row.limit {
        Limit::Ratio(target) => (target, "ratio"),
        Limit::Ours(target) => (target, "ours"),
    };
    format!(
        "{{\"work\":\"{}\",\"n\":{},\"threads\":{},\"peer\":\"{}\",\"unit\":\"{}\",\
         \"ours\":{ours:.2},\"peer_value\":{peer:.2},\"ours_ns\":{ours:.2},\"peer_ns\":{peer:.2},\
         \"ratio\":{:.4},\"target\":{target},\"target_of\":\"{of}\",\"met\":{}}}",
        row.work,
        row.n,
        row.threads,
        row.peer,
        row.unit.name(),
        row.figures.ratio,
        row.met(),
        ours = row.figures.ours,
        peer = row.figures.peer,
    )
}

pub(crate) fn heading() -> String {
    let titles = format!(
        "{:<14} {:>7} {:>7}  {:<10} {:>11} {:>11} {:>7}  {:<14}",
        "work", "n", "threads", "peer", "ours", "peer's", "ratio", "target"
    );
    let rule = "-".repeat(titles.trim_end().len() + 8);
    format!("{}\n{rule}", titles.trim_end())
}

pub(crate) fn line(row: &Row) -> String {
    let target = match row.limit {
        Limit::Ratio(target) => format!("ratio <= {target:.2}"),
        Limit::Ours(target) => format!("ours <= {target:.2}"),
    };
    let mark = if row.met() { "" } else { "MISSED" };
    let line = format!(
        "{:<14} {:>7} {:>7}  {:<10} {:>11} {:>11} {:>7.3}  {target:<14} {mark}",
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

    fn row(ratio: f64) -> Row {
        Row {
            work: "spawn_join",
            n: 10,
            threads: 1,
            peer: "joinset",
            unit: Unit::Nanoseconds,
            limit: Limit::Ratio(0.75),
            figures: Figures { ours: 1500.0, peer: 3000.0, ratio },
        }
    }

    #[test]
    fn one_object_with_every_key() {
        assert_eq!(
            json(&row(0.5)),
            "{\"work\":\"spawn_join\",\"n\":10,\"threads\":1,\"peer\":\"joinset\",\"unit\":\"ns\",\
             \"ours\":1500.00,\"peer_value\":3000.00,\"ours_ns\":1500.00,\"peer_ns\":3000.00,\
             \"ratio\":0.5000,\"target\":0.75,\"target_of\":\"ratio\",\"met\":true}"
        );
    }

    #[test]
    fn only_a_missed_target_is_marked() {
        assert!(!line(&row(0.75)).contains("MISSED"));
        assert!(line(&row(0.76)).ends_with("ratio <= 0.75  MISSED"));
    }
}
