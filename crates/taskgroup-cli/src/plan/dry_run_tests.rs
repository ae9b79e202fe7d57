use super::*;
use crate::args::{Action, Args};
use crate::plan;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

fn plan_of(line: &[&str]) -> Plan {
    let line = std::iter::once(&"tg").chain(line).map(OsString::from);
    match Args::read(line).expect("usage").action {
        Action::Run(args) => plan::run(&args).expect("a plan").0,
        Action::Each(args) => plan::each(&args).expect("a plan").0,
        other => panic!("{other:?}"),
    }
}

fn printed(plan: Plan, json: bool, done: Option<&Done>) -> String {
    let mut out = Vec::new();
    dry_run(plan, json, done, &mut out).expect("printed");
    String::from_utf8(out).expect("text")
}

const JOBS: &str = "[job.build]\nrun='cargo build'\nneeds=['gen']\nenv={A=\"1\\n2\"}\ntimeout='90s'\nretries=2\n\
    [job.gen]\nrun=['./gen', 'a b']\n[job.last]\nrun=\"echo a\\necho b\"\ntty=true";

fn jobs_file() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("jobs.toml");
    std::fs::write(&path, JOBS).expect("file");
    let path = path.to_str().expect("UTF-8").into();
    (folder, path)
}

#[test]
fn commands_are_a_script() {
    assert_eq!(
        printed(plan_of(&["each", "echo {}", "--", "a b", "$x"]), false, None),
        "echo 'a b'\necho '$x'\n"
    );
}

#[test]
fn jobs_come_after_what_they_need() {
    let (folder, path) = jobs_file();
    let text = printed(plan_of(&["run", "-f", &path]), false, None);
    let dir = folder.path().display();
    assert_eq!(
        text,
        format!(
            "# gen (in {dir})\n./gen 'a b'\n\
             # build (needs gen; in {dir}; A=1 2; timeout 1m30s; retries 2)\ncargo build\n\
             # last (in {dir}; owns the terminal)\necho a\necho b\n"
        )
    );
}

#[test]
fn jobs_done_before_are_comments() {
    let (folder, path) = jobs_file();
    let log = folder.path().join("log");
    let Plan::Listed(jobs) = plan_of(&["run", "-f", &path]) else { panic!("streamed") };
    let line = format!("{{\"v\":1,\"key\":\"{}\",\"outcome\":\"succeeded\"}}\n", jobs[2].key());
    std::fs::write(&log, line).expect("log");
    let done = Done::read(&log).expect("log");
    let text = printed(Plan::Listed(jobs), false, Some(&done));
    assert!(text.ends_with("# done before:\n# echo a\n# echo b\n"), "{text}");
    assert!(text.contains("\ncargo build\n"), "{text}");
}

#[test]
fn as_json() {
    let (_folder, path) = jobs_file();
    let text = printed(plan_of(&["run", "-f", &path, "build"]), true, None);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["job"]["name"], "gen");
    assert_eq!(lines[1]["event"], "would_run");
    assert_eq!(lines[1]["needs"], serde_json::json!(["gen"]));
    assert_eq!(lines[1]["done_before"], false);
}

#[test]
fn bytes_come_out_as_they_are() {
    let line = [b"tg".to_vec(), b"run".to_vec(), b"echo \xff".to_vec()].map(OsString::from_vec);
    let Action::Run(args) = Args::read(line).expect("usage").action else { panic!("run") };
    let mut out = Vec::new();
    let count = dry_run(plan::run(&args).expect("a plan").0, false, None, &mut out).expect("printed");
    assert_eq!((count, &out[..]), (1, &b"echo \xff\n"[..]));
}

#[test]
fn an_error_of_the_stream_comes_after_what_was_before_it() {
    let Plan::Listed(jobs) = plan_of(&["run", "a"]) else { panic!("streamed") };
    let stream = jobs.into_iter().map(Ok).chain([Err(Trouble::new("no"))]);
    let mut out = Vec::new();
    let error = dry_run(Plan::Streamed(Box::new(stream)), false, None, &mut out).expect_err("trouble");
    assert!(matches!(error, DryRunError::Trouble(_)));
    assert_eq!(out, b"a\n");
}
