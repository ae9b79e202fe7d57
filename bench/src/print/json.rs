//! One object a line; the keys are told in the crate's documentation.

use crate::machine::Machine;
use crate::row::{Row, Target};

pub(super) fn object(row: &Row, machine: &Machine) -> String {
    let (target, of) = match row.target {
        Target::Ratio(target) => (target.to_string(), "\"ratio\""),
        Target::Ours(target) => (target.to_string(), "\"ours\""),
        Target::None => ("null".to_owned(), "null"),
    };
    format!(
        "{{\"work\":\"{}\",\"n\":{},\"threads\":{},\"peer\":\"{}\",\"unit\":\"{}\",\
         \"ours\":{ours:.2},\"peer_value\":{peer:.2},\"ours_ns\":{ours:.2},\"peer_ns\":{peer:.2},\
         \"ratio\":{:.4},\"target\":{target},\"target_of\":{of},\"met\":{},\
         \"cpu\":{},\"cores\":{},\"os\":\"{}\",\"rustc\":\"{}\",\"tokio\":\"{}\",\"python\":{}}}",
        row.work,
        row.n,
        row.threads,
        row.peer,
        row.unit.name(),
        row.figures.ratio,
        row.met().map_or("null", |met| if met { "true" } else { "false" }),
        string(&machine.cpu),
        machine.cores,
        machine.os,
        machine.rustc,
        machine.tokio,
        machine.python.as_deref().map_or_else(|| "null".to_owned(), string),
        ours = row.figures.ours,
        peer = row.figures.peer,
    )
}

/// In quotes; what is no plain text is left out.
fn string(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    let escaped: String =
        plain.flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c])).collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{machine, row};
    use super::*;

    const MACHINE: &str = "\"cpu\":\"Some \\\"CPU\\\"\",\"cores\":2,\"os\":\"linux\",\"rustc\":\"1.90.0\",\
         \"tokio\":\"1.47.0\",\"python\":null}";

    #[test]
    fn one_object_with_every_key() {
        let object = object(&row(0.5, Target::Ratio(0.75)), &machine());
        assert_eq!(
            object.strip_suffix(MACHINE),
            Some(
                "{\"work\":\"spawn_join\",\"n\":10,\"threads\":1,\"peer\":\"joinset\",\"unit\":\"ns\",\
                 \"ours\":1500.00,\"peer_value\":3000.00,\"ours_ns\":1500.00,\"peer_ns\":3000.00,\
                 \"ratio\":0.5000,\"target\":0.75,\"target_of\":\"ratio\",\"met\":true,"
            )
        );
    }

    #[test]
    fn without_a_target_its_keys_are_null() {
        let object = object(&row(0.5, Target::None), &machine());
        assert!(object.contains("\"target\":null,\"target_of\":null,\"met\":null,"), "{object}");
    }
}
