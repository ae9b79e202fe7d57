use super::*;
use crate::event::{Ending, Outcome};
use crate::plan::Launch;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

fn entry(command: &str, outcome: Outcome) -> Entry {
    Entry {
        key: Key::of(&Launch::Shell(command.into()), None, Path::new("/"), &BTreeMap::new()),
        name: command.into(),
        command: command.into(),
        started: UNIX_EPOCH + Duration::from_millis(1_234_567_890_123),
        elapsed: Duration::from_micros(1_234_567),
        outcome,
        attempts: 2,
        leaks: 1,
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("log");
    (folder, path)
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).expect("log");
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn a_line() {
    let (_folder, path) = place();
    let log = Log::open(&path).expect("log");
    let failed = entry("cargo \"test\"\n", Outcome::Failed { code: 3 });
    log.append(&failed).expect("append");
    assert_eq!(
        fs::read_to_string(&path).expect("log"),
        format!(
            r#"{{"v":1,"key":"{}","name":"cargo \"test\"\n","command":"cargo \"test\"\n","started":"2009-02-13T23:31:30.123Z","seconds":1.235,"outcome":"failed","code":3,"signal":null,"attempts":2,"leaks":1}}"#,
            failed.key
        ) + "\n"
    );
}

#[test]
fn outcomes_with_codes_and_signals() {
    let (_folder, path) = place();
    let log = Log::open(&path).expect("log");
    let limit = Duration::from_secs(1);
    log.append(&entry("a", Outcome::Succeeded)).expect("append");
    log.append(&entry("b", Outcome::Killed { signal: 9 })).expect("append");
    log.append(&entry("c", Outcome::TimedOut { limit, ending: Ending::Signalled { signal: 15 } }))
        .expect("append");
    let lines = lines(&path);
    assert_eq!((&lines[0]["outcome"], &lines[0]["code"]), (&"succeeded".into(), &0.into()));
    assert_eq!((&lines[1]["outcome"], &lines[1]["signal"]), (&"killed".into(), &9.into()));
    assert_eq!((&lines[2]["outcome"], &lines[2]["signal"]), (&"timed_out".into(), &15.into()));
}

#[test]
fn a_command_that_is_not_utf8_has_its_bytes_too() {
    let (_folder, path) = place();
    let mut odd = entry("x", Outcome::Succeeded);
    odd.command = OsString::from_vec(b"\xff".to_vec());
    Log::open(&path).expect("log").append(&odd).expect("append");
    let lines = lines(&path);
    assert_eq!((&lines[0]["command"], &lines[0]["command_bytes"]), (&"\u{fffd}".into(), &"/w==".into()));
}

#[test]
fn the_last_entry_counts() {
    let (_folder, path) = place();
    let log = Log::open(&path).expect("log");
    for (command, outcome) in [
        ("a", Outcome::Succeeded),
        ("b", Outcome::Failed { code: 1 }),
        ("c", Outcome::Succeeded),
        ("b", Outcome::Succeeded),
        ("c", Outcome::Leaked),
    ] {
        log.append(&entry(command, outcome)).expect("append");
    }
    let done = Done::read(&path).expect("log");
    let contains = |command| done.contains(&entry(command, Outcome::Succeeded).key);
    assert!(contains("a") && contains("b"));
    assert!(!contains("c") && !contains("d"));
    assert_eq!(done.len(), 2);
    assert!(done.notes().is_empty());
}

#[test]
fn a_missing_log_is_an_empty_one_and_is_mentioned() {
    let (_folder, path) = place();
    let done = Done::read(&path).expect("log");
    assert_eq!(done.len(), 0);
    assert!(done.notes()[0].contains("no such file yet"));
    assert!(!path.exists(), "reading makes nothing");
    fs::write(&path, "").expect("log");
    assert!(Done::read(&path).expect("log").notes().is_empty());
}

#[test]
fn a_torn_line_is_tolerated_and_ended_by_the_next() {
    let (_folder, path) = place();
    let log = Log::open(&path).expect("log");
    log.append(&entry("a", Outcome::Succeeded)).expect("append");
    OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("log")
        .write_all(b"{\"v\":1,\"key\":\"00")
        .expect("write");
    let done = Done::read(&path).expect("log");
    assert_eq!((done.len(), done.notes().len()), (1, 0), "at the end it is what happens, and no news");
    log.append(&entry("b", Outcome::Succeeded)).expect("append");
    let done = Done::read(&path).expect("log");
    assert_eq!(done.len(), 2, "the next line stands for itself");
    assert_eq!(
        done.notes(),
        [format!("{}:2: this line cannot be read and counts for nothing", path.display())]
    );
}

#[test]
fn a_whole_line_without_a_newline_counts() {
    let (_folder, path) = place();
    Log::open(&path).expect("log").append(&entry("a", Outcome::Succeeded)).expect("append");
    let text = fs::read_to_string(&path).expect("log");
    fs::write(&path, text.trim_end()).expect("write");
    assert_eq!(Done::read(&path).expect("log").len(), 1);
}

#[test]
fn lines_that_cannot_be_read_are_counted() {
    let (_folder, path) = place();
    let key = entry("a", Outcome::Succeeded).key;
    let bad = [
        "garbage".into(),
        "{}".into(),
        format!(r#"{{"v":2,"key":"{key}","outcome":"succeeded"}}"#),
        r#"{"v":1,"key":"short","outcome":"succeeded"}"#.into(),
        "[".repeat(100_000),
    ];
    let good = format!(r#"{{"v":1,"key":"{key}","outcome":"succeeded","later":[1]}}"#);
    let mut bytes = format!("{good}\n\n  \n{}\n", bad.join("\n")).into_bytes();
    bytes.extend(b"\xff\xfe\0\n");
    fs::write(&path, bytes).expect("write");
    let done = Done::read(&path).expect("log");
    assert!(done.contains(&key));
    assert_eq!(
        done.notes(),
        [format!("{}:4: 6 lines, this is the first, cannot be read and count for nothing", path.display())]
    );
}

#[test]
fn what_is_no_log() {
    let (folder, path) = place();
    let trouble = Log::open(folder.path()).expect_err("a folder").to_string();
    assert!(trouble.contains("this is a folder"), "{trouble}");
    let trouble = Done::read(folder.path()).expect_err("a folder").to_string();
    assert!(trouble.contains("this is a folder"), "{trouble}");
    let trouble = Log::open(&folder.path().join("no/log")).expect_err("no folder").to_string();
    assert!(trouble.contains("no such file or folder"), "{trouble}");
    fs::write(&path, "").expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).expect("permissions");
    // The superuser may read it all the same.
    if fs::File::open(&path).is_err() {
        assert!(Log::open(&path).expect_err("permission").to_string().contains("no permission"));
        assert!(Done::read(&path).expect_err("permission").to_string().contains("no permission"));
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let log = Log::open(Path::new("/dev/full")).expect("log");
    assert!(log.append(&entry("a", Outcome::Succeeded)).is_err());
    let log = Log::open(Path::new("/dev/null")).expect("log");
    log.append(&entry("a", Outcome::Succeeded)).expect("append");
}

const WRITERS: usize = 8;
const EACH: usize = 200;

/// Long enough that a write in parts would show.
fn of_writer(writer: usize, number: usize) -> Entry {
    entry(&format!("{writer} {number} {}", "x".repeat(writer * 1000)), Outcome::Succeeded)
}

fn check_writers(path: &Path) {
    assert_eq!(lines(path).len(), WRITERS * EACH);
    let keys: HashSet<String> = lines(path).iter().map(|line| line["key"].to_string()).collect();
    assert_eq!(keys.len(), WRITERS * EACH);
    assert!(Done::read(path).expect("log").notes().is_empty());
}

#[test]
fn threads_share_a_log_or_open_their_own() {
    let (_folder, path) = place();
    let shared = Log::open(&path).expect("log");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (shared, path) = (&shared, &path);
            scope.spawn(move || {
                let own = Log::open(path).expect("log");
                for number in 0..EACH {
                    let log = if writer % 2 == 0 { shared } else { &own };
                    log.append(&of_writer(writer, number)).expect("append");
                }
            });
        }
    });
    check_writers(&path);
}

/// What each process of the next test does; without the variable it is none of them.
#[test]
fn writer_process() {
    let (Some(path), Some(writer)) = (std::env::var_os("TG_TEST_LOG"), std::env::var_os("TG_TEST_WRITER"))
    else {
        return;
    };
    let writer = writer.to_str().and_then(|text| text.parse().ok()).expect("a number");
    let log = Log::open(Path::new(&path)).expect("log");
    (0..EACH).for_each(|number| log.append(&of_writer(writer, number)).expect("append"));
}

#[test]
fn processes_do_not_corrupt_a_log() {
    let (_folder, path) = place();
    let start = |writer: usize| {
        Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "log::tests::writer_process"])
            .env("TG_TEST_LOG", &path)
            .env("TG_TEST_WRITER", OsStr::new(&writer.to_string()))
            .stdout(Stdio::null())
            .spawn()
            .expect("a process")
    };
    let writers: Vec<_> = (0..WRITERS).map(start).collect();
    for mut writer in writers {
        assert!(writer.wait().expect("wait").success());
    }
    check_writers(&path);
}
