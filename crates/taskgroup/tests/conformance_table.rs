//! `docs/conformance.md` and the conformance tests say the same: every line it calls tested has its test, once,
//! and every test stands in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The state of each line of each list, as the page tells it.
type Table = BTreeMap<String, BTreeMap<u32, String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table_of_the_page() -> Table {
    let mut table = Table::new();
    let mut list = None;
    for line in read(&root().join("docs/conformance.md")).lines() {
        if let Some(title) = line.strip_prefix("## ") {
            list = Some(title.trim().to_owned());
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (Some(list), [_, number, state, why, ..]) = (&list, cells.as_slice()) else { continue };
        let Ok(number) = number.parse::<u32>() else { continue };
        assert!(["tested", "later", "n/a"].contains(state), "{list} {number}: state {state:?}");
        assert!(*state == "tested" || !why.is_empty(), "{list} {number}: {state} without a reason");
        let lines: &mut BTreeMap<u32, String> = table.entry(list.clone()).or_default();
        let before = lines.insert(number, (*state).to_owned());
        assert!(before.is_none(), "{list} {number} stands in the page twice");
    }
    table
}

/// Tests of a list that are model-checked, and stand with the code.
const MODEL_CHECKED: [(&str, &str); 1] = [("tokio-cancellation-token", "src/group/token/loom_tests.rs")];

/// The line numbers of the tests of each list: `fn line_04_…` is line 4, and so is `fn loom_line_04_…`.
fn tests() -> BTreeMap<String, Vec<u32>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut tests: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).expect("the folder of the lists") {
        let path = entry.expect("an entry").path();
        let name =
            path.file_stem().and_then(|name| name.to_str()).expect("a name in UTF-8").replace('_', "-");
        if name == "main" {
            continue;
        }
        // A long list has a second file for what needs timeouts, or for futures and handles awaited together, or
        // for local groups.
        let list = ["-time", "-joining", "-local"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(&name);
        let numbers = tests.entry(list.to_owned()).or_default();
        numbers.extend(read(&path).lines().filter_map(line_of_test));
    }
    for (list, file) in MODEL_CHECKED {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let before = tests.get_mut(list).unwrap_or_else(|| panic!("{list} has no file"));
        before.extend(read(&path).lines().filter_map(line_of_test));
    }
    tests
}

fn line_of_test(line: &str) -> Option<u32> {
    let name = line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?;
    let name = name.strip_prefix("loom_").unwrap_or(name).strip_prefix("line_")?;
    let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
    Some(digits.parse().unwrap_or_else(|_| panic!("no line number in {line:?}")))
}

#[test]
fn the_page_and_the_tests_agree() {
    let (table, tests) = (table_of_the_page(), tests());
    let lists: Vec<_> = table.keys().collect();
    assert_eq!(lists, tests.keys().collect::<Vec<_>>(), "every list has a file and a section");
    for (list, lines) in &table {
        let mut tested: Vec<u32> =
            lines.iter().filter(|(_, state)| *state == "tested").map(|(line, _)| *line).collect();
        let mut numbers = tests[list].clone();
        tested.sort_unstable();
        numbers.sort_unstable();
        assert_eq!(tested, numbers, "{list}: lines called tested against tests");
        assert!(!numbers.is_empty(), "{list} has tests");
    }
}
