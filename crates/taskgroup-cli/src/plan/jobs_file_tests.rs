use crate::args::{Action, Args, Leaks};
use crate::plan::{self, Job, Launch, Plan};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

/// Plans `tg run -f FILE …` with a jobs file of this text; returns the folder that the file stood in too.
fn plan(text: impl AsRef<[u8]>, more: &[&str]) -> (Result<Vec<Job>, String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("jobs.toml");
    std::fs::write(&path, text).expect("file");
    let line = ["tg".into(), "run".into(), "-f".into(), OsString::from(&path)];
    let line = line.into_iter().chain(more.iter().map(OsString::from));
    let Action::Run(args) = Args::read(line).expect("usage").action else { panic!("run") };
    let jobs = match plan::run(&args) {
        Ok((Plan::Listed(jobs), _)) => Ok(jobs),
        Ok((Plan::Streamed(_), _)) => panic!("streamed"),
        Err(trouble) => Err(trouble.to_string().replace(&format!("{}/", folder.path().display()), "")),
    };
    (jobs, folder)
}

fn jobs(text: &str) -> Vec<Job> {
    plan(text, &[]).0.expect("jobs")
}

fn names(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|job| &*job.name).collect()
}

#[track_caller]
fn refuses(text: &str, trouble: &str) {
    let error = plan(text, &[]).0.expect_err("trouble");
    assert!(error.starts_with(trouble), "{error}");
}

const ALL: &str = r#"
[job.build]
run = "cargo build"
dir = "sub/./dir"
env = { A = "1", B = "x y" }
timeout = "10m"
grace = "3s"
retries = 2
needs = ["gen"]
tty = true
leaks = "fail"

[job.gen]
run = ["./gen", "a b", "-v"]
timeout = 1.5
"#;

#[test]
fn every_field() {
    let (jobs, folder) = plan(ALL, &["--timeout-each", "7s", "--grace", "1s", "--leaks", "ignore"]);
    let jobs = jobs.expect("jobs");
    assert_eq!(names(&jobs), ["build", "gen"], "the order of the file");
    let [build, generate] = &jobs[..] else { panic!() };
    assert_eq!(build.command, Launch::Shell("cargo build".into()));
    assert_eq!(build.dir.as_deref(), Some(&*folder.path().join("sub/dir")));
    assert_eq!(build.env.get(OsStr::new("B")).map(|value| value.as_os_str()), Some(OsStr::new("x y")));
    assert_eq!((build.timeout, build.grace), (Some(Duration::from_secs(600)), Duration::from_secs(3)));
    assert_eq!((build.retries.count, build.tty, build.leaks), (2, true, Leaks::Fail));
    assert_eq!((build.number, &build.needs[..]), (1, &[2][..]));
    assert!(build.named);
    assert_eq!(generate.command, Launch::Exec(vec!["./gen".into(), "a b".into(), "-v".into()]));
    assert_eq!(generate.command_line(), "./gen 'a b' -v");
    assert_eq!(
        (generate.timeout, generate.grace),
        (Some(Duration::from_millis(1500)), Duration::from_secs(1))
    );
    assert_eq!((generate.retries.count, generate.leaks), (0, Leaks::Ignore));
    assert_eq!(generate.dir.as_deref(), Some(folder.path()), "the file's folder");
}

#[test]
fn arrays_of_tables() {
    let jobs = jobs("[[job]]\nname = 'z'\nrun = 'a'\n[[job]]\nrun = 'b'\nname = 'a'\nneeds = ['z', 'z']");
    assert_eq!(names(&jobs), ["z", "a"]);
    assert_eq!(jobs[1].needs, [1], "each need once");
}

#[test]
fn the_order_of_the_file_is_kept() {
    let text = "[job.c]\nrun='1'\n[job.a]\nrun='2'\n[job.'b c']\nrun='3'\n[job]\nd.run='4'";
    assert!(plan(text, &[]).0.is_ok_and(|jobs| names(&jobs) == ["c", "a", "b c", "d"]));
    assert_eq!(names(&jobs("job = { y = { run = '1' }, x = { run = '2' } }")), ["y", "x"]);
}

#[test]
fn what_is_wrong_and_where() {
    refuses("", "jobs.toml: no jobs at all\n    for instance");
    refuses("[job]", "jobs.toml: no jobs at all");
    refuses("job = []", "jobs.toml: no jobs at all");
    refuses("\n[job.a\n", "jobs.toml:2: ");
    refuses("[jbo.a]\nrun='x'", "jobs.toml:1: unknown key `jbo`");
    refuses("job = 1", "jobs.toml:1: `job` is a table");
    refuses("\n[job]\na = 'x'", "jobs.toml:3: `a` is not a table; write [job.a]");
    refuses("job = ['x']", "jobs.toml:1: a job is a table");
    refuses("[job.a]\nrun='x'\nretry=3", "jobs.toml:3: unknown key `retry`\n    a job can have retries");
    refuses("[job.a]\n", "jobs.toml:1: `a` has no `run`");
    refuses("[job.a]\nrun=' '", "jobs.toml:2: `run` is empty");
    refuses("[job.a]\nrun=[]", "jobs.toml:2: `run` is empty");
    refuses("[job.a]\nrun=['']", "jobs.toml:2: `run` is empty");
    refuses("[job.a]\nrun=['x', 3]", "jobs.toml:2: `run` is of type integer");
    refuses("[job.a]\nrun=3", "jobs.toml:2: `run` is of type integer; it must be a string or");
    refuses("[job.a]\nrun=\"a\\u0000b\"", "jobs.toml:2: `run` holds a NUL");
    refuses("[job.a]\nrun=['a', \"\\u0000\"]", "jobs.toml:2: `run` holds a NUL");
    refuses("[job.'']\nrun='x'", "jobs.toml:1: the name is empty");
    refuses("[job.\"a\\nb\"]\nrun='x'", "jobs.toml:1: the name holds a control character");
    refuses("[[job]]\nrun='x'", "jobs.toml:1: this job has no name");
    refuses("[job.a]\nname='b'\nrun='x'", "jobs.toml:2: the job has its name already, in [job.a]");
    refuses("[job.a]\nrun='x'\n[job.a]\nrun='y'", "jobs.toml:3: duplicate key");
    refuses(
        "[[job]]\nname='a'\nrun='x'\n[[job]]\nname='a'\nrun='y'",
        "jobs.toml:5: a second job `a`; the first is on line 2",
    );
}

#[test]
fn what_is_wrong_in_the_other_fields() {
    let field = |field: &str| plan(format!("[job.a]\nrun='x'\n{field}"), &[]).0.expect_err("trouble");
    for (text, trouble) in [
        ("dir=''", "`dir` is empty"),
        ("dir=3", "`dir` is of type integer; it must be a string"),
        ("env=3", "`env` is of type integer"),
        ("env={A=1}", "`env.A` is of type integer; it must be a string, in quotes"),
        ("env={''='x'}", "`` cannot be the name of a variable"),
        ("env={'A=B'='x'}", "`A=B` cannot be the name of a variable"),
        ("timeout='soon'", "`timeout` is `soon`: write a number of seconds"),
        ("timeout=0", "`timeout` is `0`: a limit of nothing"),
        ("timeout=true", "`timeout` is of type boolean"),
        ("grace='-1s'", "`grace` is `-1s`: a length of time is not negative"),
        ("grace=inf", "`grace` is `inf`: write a number"),
        ("retries=-1", "`retries` is of type integer; it must be a whole number, 0 or more"),
        ("retries=4294967296", "`retries` is of type integer"),
        ("retries='2'", "`retries` is of type string"),
        ("needs='b'", "`needs` is of type string; it must be an array of strings"),
        ("needs=['b']", "`a` needs `b`, and there is no such job"),
        ("needs=['a']", "these jobs wait for each other: a -> a"),
        ("tty='yes'", "`tty` is of type string; it must be true or false"),
        ("leaks='maybe'", "`leaks` is \"report\", \"fail\" or \"ignore\""),
    ] {
        let error = field(text);
        assert!(error.starts_with(&format!("jobs.toml:3: {trouble}")), "{text}: {error}");
    }
}

#[test]
fn needs_that_lead_nowhere() {
    refuses(
        "[job.a]\nrun='x'\nneeds=['bulid']\n[job.build]\nrun='y'",
        "jobs.toml:3: `a` needs `bulid`, and there is no such job\n    there is `build`",
    );
    refuses(
        "[job.z]\nrun='x'\nneeds=['a']\n[job.a]\nrun='x'\nneeds=['b']\n[job.b]\nrun='x'\nneeds=[\n'c',\n'a']\n[job.c]\nrun='x'",
        "jobs.toml:6: these jobs wait for each other: a -> b -> a",
    );
}

#[test]
fn not_utf8() {
    let error = plan(b"[job.a]\nrun='\xff'", &[]).0.expect_err("trouble");
    assert_eq!(error, "jobs.toml:2: not UTF-8, which TOML must be");
}

const FIVE: &str = "[job.a]\nrun='1'\nneeds=['b']\n[job.x]\nrun='2'\n[job.b]\nrun='3'\nneeds=['c']\n\
    [job.y]\nrun='4'\ntty=true\n[job.c]\nrun='5'\ntty=true";

#[test]
fn some_jobs_and_what_they_need() {
    let only = |names: &[&str]| plan(FIVE, names).0;
    let jobs = only(&["a"]).expect("jobs");
    assert_eq!(names(&jobs), ["a", "b", "c"]);
    assert_eq!(jobs.iter().map(|job| job.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(jobs.iter().map(|job| job.needs.clone()).collect::<Vec<_>>(), [vec![2], vec![3], vec![]]);
    assert_eq!(names(&only(&["x", "x"]).expect("jobs")), ["x"]);
    assert_eq!(
        only(&["q"]).expect_err("trouble"),
        "jobs.toml: there is no job `q`\n    the jobs are `a`, `x`, `b`, `y`, `c`"
    );
}

#[test]
fn one_job_owns_the_terminal() {
    let tty = |more: &[&str]| plan(FIVE, more).0;
    assert!(tty(&[]).expect_err("trouble").contains("both `y` and `c` are to own the terminal"));
    assert!(
        tty(&["y", "--tty", "x"]).expect_err("trouble").contains("there is no job `x`"),
        "it is not among these"
    );
    assert!(tty(&["y", "x", "--tty", "x"]).expect_err("trouble").contains("both `x` and `y`"));
    assert!(tty(&["y", "--tty", "y"]).expect("jobs")[0].tty);
}

#[test]
fn the_folder_of_the_option_replaces_that_of_the_file() {
    let jobs =
        plan("[job.a]\nrun='x'\n[job.b]\nrun='x'\ndir='usr'\n[job.c]\nrun='x'\ndir='/tmp'", &["-C", "/"]);
    let jobs = jobs.0.expect("jobs");
    let dirs: Vec<_> = jobs.iter().map(|job| job.dir.as_deref()).collect();
    assert_eq!(dirs, [Some(Path::new("/")), Some(Path::new("/usr")), Some(Path::new("/tmp"))]);
}

#[test]
fn the_environment_and_the_folder_count_for_the_key() {
    let keys: std::collections::HashSet<_> = jobs(
        "[job.a]\nrun='x'\n[job.b]\nrun='x'\nenv={A='1'}\n[job.c]\nrun='x'\ndir='/'\n[job.d]\nrun=['x']\n\
         [job.e]\nrun='x'\ntimeout=9\nretries=3",
    )
    .iter()
    .map(Job::key)
    .collect();
    assert_eq!(keys.len(), 4, "a and e are the same job");
}
