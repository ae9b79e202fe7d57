use super::*;
use crate::args::{Action, Args};
use std::io::{Cursor, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Planned = Result<(Plan, Settings), Trouble>;

fn planned_from(line: &[&str], stdin: Input) -> Planned {
    let line = std::iter::once(&"tg").chain(line).map(OsString::from);
    match Args::read(line).expect("usage").action {
        Action::Run(args) => run_with(&args, || Ok(stdin)),
        Action::Each(args) => each_with(&args, || Ok(stdin)),
        other => panic!("{other:?}"),
    }
}

fn planned(line: &[&str], stdin: &[u8]) -> Planned {
    planned_from(line, Box::new(Cursor::new(stdin.to_vec())))
}

fn listed(line: &[&str]) -> Vec<Job> {
    match planned(line, b"must not be read").expect("a plan").0 {
        Plan::Listed(jobs) => jobs,
        Plan::Streamed(_) => panic!("streamed"),
    }
}

fn streamed(line: &[&str], stdin: &[u8]) -> Vec<Job> {
    match planned(line, stdin).expect("a plan").0 {
        Plan::Streamed(jobs) => jobs.collect::<Result<_, _>>().expect("jobs"),
        Plan::Listed(_) => panic!("listed"),
    }
}

fn lines(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.command_line().to_string_lossy().into_owned()).collect()
}

#[track_caller]
fn refuses(line: &[&str], part: &str) {
    let trouble = planned(line, b"").expect_err("trouble").to_string();
    assert!(trouble.contains(part), "{trouble}");
}

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("file");
    let path = path.to_str().expect("UTF-8").into();
    (folder, path)
}

#[test]
fn commands_on_the_command_line() {
    let jobs = listed(&["run", "echo a", "-k", "echo b", "echo a", "--timeout-each", "9s", "--retries", "2"]);
    assert_eq!(lines(&jobs), ["echo a", "echo b", "echo a"]);
    assert_eq!(jobs.iter().map(|job| &*job.name).collect::<Vec<_>>(), ["echo a", "echo b", "echo a #3"]);
    assert_eq!(jobs.iter().map(|job| job.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(jobs.iter().all(|job| job.timeout == Some(std::time::Duration::from_secs(9))));
    assert!(jobs.iter().all(|job| job.retries.count == 2 && !job.named && job.dir.is_none()));
    assert_eq!(jobs[0].key(), jobs[2].key());
    assert_ne!(jobs[0].key(), jobs[1].key());
}

#[test]
fn limits_by_source() {
    let limit = |line: &[&str]| planned(line, b"").expect("a plan").1.limit;
    let (_folder, path) = file("list", b"true\n");
    assert_eq!(limit(&["run", "a", "b"]), None);
    assert!(limit(&["run", "-"]).is_some());
    assert!(limit(&["run", "-f", &path]).is_some());
    assert!(limit(&["each", "a", "--", "b"]).is_some());
    assert_eq!(limit(&["run", "-j3", "a", "b"]).map(usize::from), Some(3));
}

#[test]
fn commands_of_a_file_and_of_standard_input_are_the_same() {
    let text = b"\n# a note\necho a\n   \n  # another\necho b # c\r\necho \xff\n  echo d";
    let (_folder, path) = file("list", text);
    let expected = ["echo a", "echo b # c", "echo \u{fffd}", "  echo d"];
    assert_eq!(lines(&listed(&["run", "-f", &path])), expected);
    assert_eq!(lines(&streamed(&["run", "-"], text)), expected);
    assert_eq!(lines(&streamed(&["run", "-f", "-"], text)), expected);
    let jobs = streamed(&["run", "-"], text);
    assert_eq!(jobs[2].command_line().as_bytes(), b"echo \xff", "byte for byte");
    assert_eq!(jobs[3].number, 4);
}

#[test]
fn nothing_to_run_is_no_error() {
    let (_folder, path) = file("list", b"# nothing\n\n");
    assert!(listed(&["run", "-f", &path]).is_empty());
    assert!(streamed(&["run", "-"], b"").is_empty());
    assert!(streamed(&["each", "a"], b"\n\n").is_empty());
    assert!(listed(&["each", "a", "--"]).is_empty());
    assert!(listed(&["each", "a", "--tty", "x", "--"]).is_empty());
}

#[test]
fn inputs() {
    let jobs = listed(&["each", "echo {} {#}", "--", "a b", "-x", "--", "", "it's"]);
    assert_eq!(
        lines(&jobs),
        ["echo 'a b' 1", "echo '-x' 2", "echo '--' 3", "echo '' 4", "echo 'it'\\''s' 5"]
    );
    assert_eq!(jobs[0].input.as_deref(), Some(OsStr::new("a b")));
    assert_eq!(&*jobs[0].name, "a b");
    assert_eq!(&*jobs[3].name, "''");
    assert_eq!(
        lines(&streamed(&["each", "echo"], b"a\n\nb \r\n\xff")),
        ["echo 'a'", "echo 'b \r'", "echo '\u{fffd}'"]
    );
    assert_eq!(
        lines(&streamed(&["each", "-0", "echo"], b"a\nb\0\0c")),
        ["echo 'a\nb'", "echo ''", "echo 'c'"]
    );
}

#[test]
fn what_is_wrong_comes_out_before_the_start() {
    let (folder, path) = file("list", b"true\nfa\0lse\n");
    let sub = folder.path().to_str().expect("UTF-8");
    refuses(&["run", "a", "-"], "stands alone");
    refuses(&["run", "a", " "], "COMMAND 2 is empty");
    refuses(&["run", "-f", &path, "a"], "jobs file");
    refuses(&["run", "-f", "-", "a"], "jobs file");
    refuses(&["run", "-f", "/no/such/file"], "/no/such/file: no such file");
    refuses(&["run", "-f", sub], "this is a folder");
    refuses(&["run", "-f", &path], "list, line 2: holds a NUL byte");
    refuses(&["run", "-C", "/no/such", "a"], "--dir: there is no folder `/no/such`");
    refuses(&["run", "-C", &path, "a"], "there is no folder");
    refuses(&["run", "--tty", "b", "ab", "c"], "--tty: there is no job `b`\n    ");
    refuses(&["run", "--shell", "/no/sh", "a"], "--shell");
    refuses(&["each", "echo `{}`", "--", "a"], "backtick");
    refuses(&["each", "", "--", "a"], "empty");
}

#[test]
fn one_job_owns_the_terminal() {
    let jobs = listed(&["run", "--tty", "vi", "ls", "vi", "vi"]);
    assert_eq!(jobs.iter().map(|job| job.tty).collect::<Vec<_>>(), [false, true, false]);
    let jobs = streamed(&["each", "--tty", "b", "edit"], b"a\nb\nb\n");
    assert_eq!(jobs.iter().map(|job| job.tty).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn the_folder_counts_for_the_key() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().to_str().expect("UTF-8");
    let there = listed(&["run", "-C", path, "a"]);
    let here = listed(&["run", "a"]);
    let same = listed(&["run", "-C", ".", "a"]);
    assert_eq!(there[0].dir.as_deref(), Some(folder.path()));
    assert_eq!(same[0].dir, None, "the current folder is none");
    assert_ne!(there[0].key(), here[0].key());
    assert_eq!(same[0].key(), here[0].key());
    let slash = listed(&["run", "-C", &format!("{path}/./"), "a"]);
    assert_eq!(there[0].key(), slash[0].key());
}

#[test]
fn a_stream_ends_with_its_first_error() {
    let Plan::Streamed(mut jobs) = planned(&["run", "-"], b"a\nb\0\nc\n").expect("a plan").0 else {
        panic!("listed")
    };
    assert!(jobs.next().expect("a").is_ok());
    let trouble = jobs.next().expect("b").expect_err("trouble").to_string();
    assert!(trouble.starts_with("standard input, line 2"), "{trouble}");
    assert!(jobs.next().is_none());
}

/// Makes up `left` lines, and counts the bytes that were taken.
struct Generator {
    left: usize,
    taken: Arc<AtomicUsize>,
}

impl Read for Generator {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let mut room = into;
        let before = room.len();
        writeln!(room, "input {}", self.left)?;
        self.left -= 1;
        let taken = before - room.len();
        self.taken.fetch_add(taken, Ordering::Relaxed);
        Ok(taken)
    }
}

#[test]
fn a_million_inputs_are_read_as_there_is_room() {
    const ALL: usize = 1_000_000;
    let taken = Arc::new(AtomicUsize::new(0));
    let generator = Generator { left: ALL, taken: taken.clone() };
    let plan = planned_from(&["each", "echo {}"], Box::new(BufReader::with_capacity(64, generator)));
    let Plan::Streamed(mut jobs) = plan.expect("a plan").0 else { panic!("listed") };
    assert_eq!(taken.load(Ordering::Relaxed), 0, "nothing is read before it is asked for");
    for number in 1..=100 {
        assert_eq!(jobs.next().expect("one more").expect("a job").number, number);
    }
    assert!(taken.load(Ordering::Relaxed) < 100 * 16, "no further than needed");
    let last = jobs.last().expect("one more").expect("a job");
    assert_eq!((last.number, &*last.name), (ALL, "input 1"));
}

#[test]
fn a_large_file_and_a_pipe_are_streams() {
    let (_folder, path) = file("list", &b"#\n".repeat(LISTED_MAX as usize / 2 + 1));
    assert!(matches!(planned(&["run", "-f", &path], b"").expect("a plan").0, Plan::Streamed(_)));
    assert!(matches!(planned(&["run", "-f", "/dev/null"], b"").expect("a plan").0, Plan::Streamed(_)));
}
