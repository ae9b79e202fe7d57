//! Where commands come from, how many run at once, and in which order.

use crate::program::{Folder, peak_memory, until};

#[test]
fn commands_from_arguments_a_file_and_standard_input() {
    let folder = Folder::new();
    let lines = "echo one\n\n# not this\n  # nor this\necho two\r\necho 'three  # and more'";
    folder.write("list", lines);
    let expected = ["one", "three  # and more", "two"];
    let ended = folder.tg(["run", "-f", "list"]).run().code(0).silent();
    assert_eq!(ended.lines(), expected);
    for line in [["run", "-"].as_slice(), &["run", "-f", "-"], &["run", "-f", "/dev/stdin"]] {
        let ended = folder.tg(line).with_stdin(lines).code(0).silent();
        assert_eq!(ended.lines(), expected, "{line:?}");
    }
    let ended = folder.tg(["run", "echo one", "echo two"]).run().code(0).silent();
    assert_eq!(ended.lines(), ["one", "two"]);
}

#[test]
fn a_job_reads_nothing_from_the_input_of_tg() {
    let folder = Folder::new();
    folder.tg(["run", "-j1", "-"]).with_stdin("cat\necho two\n").code(0).prints("two\n");
    folder.tg(["run", "cat"]).with_stdin("text").code(0).prints("");
}

#[test]
fn a_run_of_nothing_says_so() {
    let folder = Folder::new();
    folder.write("empty", "");
    folder.write("blank", "\n  \n# words\n");
    for file in ["empty", "blank", "/dev/null"] {
        folder.tg(["run", "-f", file]).run().code(0).prints("").says("tg: nothing to run\n");
    }
    folder.tg(["run", "-"]).run().code(0).says("tg: nothing to run\n");
    folder.tg(["each", "echo"]).run().code(0).says("tg: nothing to run\n");
    folder.tg(["each", "echo", "--"]).run().code(0).says("tg: nothing to run\n");
}

#[test]
fn dir_and_environment() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("sub")).unwrap();
    let root = folder.root().canonicalize().unwrap();
    folder.tg(["run", "-C", "sub", "pwd -P"]).run().code(0).prints(&format!("{}/sub\n", root.display()));
    let jobs = "[job.a]\nrun = 'pwd -P; echo \"$A\"'\ndir = 'sub'\nenv = { A = 'x  y' }\n";
    folder.write("jobs.toml", jobs);
    let expected = format!("{}/sub\nx  y\n", root.display());
    folder.tg(["run", "-f", "jobs.toml"]).run().code(0).prints(&expected);
    let file = folder.path("jobs.toml");
    let mut tg = folder.tg(["run", "-f", file.to_str().unwrap()]);
    tg.command.current_dir("/");
    tg.run().code(0).prints(&expected);
}

#[test]
fn words_run_without_a_shell() {
    let folder = Folder::new();
    folder.write("jobs.toml", "[job.a]\nrun = ['echo', '$HOME', 'a  b']\n");
    folder.tg(["run", "-f", "jobs.toml"]).run().code(0).prints("$HOME a  b\n");
}

#[test]
fn another_shell() {
    let folder = Folder::new();
    folder.write("shell", "#!/bin/sh\necho \"shell: $*\"\n");
    let path = folder.path("shell");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder.tg(["run", "--shell", path.to_str().unwrap(), "x y"]).run().code(0).prints("shell: -c -- x y\n");
}

/// Jobs tell that they run and then wait; no more than the limit may have told.
#[test]
fn no_more_run_at_once_than_j_says() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let tg =
        folder.tg(["each", "-j3", "echo {} > here; read x < go", "--", "1", "2", "3", "4", "5", "6", "7"]);
    let program = tg.start();
    let mut came: Vec<String> = (0..3).map(|_| here.hears()).collect();
    for _ in 0..4 {
        assert!(!here.has_heard(), "a fourth job runs");
        go.opens(1);
        came.push(here.hears());
    }
    go.opens(3);
    program.end().code(0);
    came.sort_unstable();
    assert_eq!(came, ["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn commands_of_the_line_all_run_at_once() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let program = folder.tg(vec!["run"].into_iter().chain(vec!["echo > here; read x < go"; 20])).start();
    (0..20).for_each(|_| drop(here.hears()));
    go.opens(20);
    program.end().code(0);
}

#[test]
fn needs_come_first() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    folder.write(
        "jobs.toml",
        "[job.last]\nrun='echo last >> order'\nneeds=['b', 'c']\n\
         [job.b]\nrun='echo b > here; read x < go; echo b >> order'\nneeds=['a']\n\
         [job.c]\nrun='echo c > here; read x < go; echo c >> order'\nneeds=['a']\n\
         [job.a]\nrun='echo a >> order'\n\
         [job.other]\nrun='echo other > other'\n",
    );
    let program = folder.tg(["run", "-f", "jobs.toml", "last"]).start();
    let mut both = [here.hears(), here.hears()];
    both.sort_unstable();
    assert_eq!((both, folder.read("order").as_str()), (["b".into(), "c".into()], "a\n"));
    go.opens(2);
    program.end().code(0).silent();
    let order = folder.read("order");
    let order: Vec<&str> = order.lines().collect();
    assert_eq!((order[0], order[3], order.len()), ("a", "last", 4));
    assert!(!folder.has("other"), "a job that nobody asked for");
}

#[test]
fn a_failed_need_skips_who_needs_it() {
    let folder = Folder::new();
    folder.write(
        "jobs.toml",
        "[job.gen]\nrun='exit 4'\n[job.build]\nrun='touch build'\nneeds=['gen']\n\
         [job.deploy]\nrun='touch deploy'\nneeds=['build']\n[job.lint]\nrun='touch lint'\n",
    );
    let ended = folder.tg(["run", "-k", "-f", "jobs.toml"]).run().code(4);
    let ended = ended.says("skipped build: it needs gen").says("deploy (#3): it needs gen");
    ended.says("1 job failed, 2 not started, 1 succeeded");
    assert!(folder.has("lint") && !folder.has("build") && !folder.has("deploy"));
}

#[test]
fn those_who_need_a_job_that_was_cancelled_are_told_of() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    folder.write(
        "jobs.toml",
        "[job.a]\nrun='echo > here; sleep 1000'\n[job.b]\nrun='touch b'\nneeds=['a']\n\
         [job.c]\nrun='touch c'\nneeds=['b']\n",
    );
    let program = folder.tg(["run", "--json", "-f", "jobs.toml"]).start();
    here.hears();
    program.signal("TERM");
    let ended = program.end().code(143);
    let skipped: Vec<_> =
        ended.events().into_iter().filter(|event| event["event"] == "job_skipped").collect();
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(skipped.iter().all(|event| event["why"] == "cancelled"), "{skipped:?}");
    assert!(!folder.has("b") && !folder.has("c"));
}

#[test]
fn a_dry_run_starts_nothing() {
    let folder = Folder::new();
    folder.write(
        "jobs.toml",
        "[job.b]\nrun='touch b'\nneeds=['a']\n[job.a]\nrun=['touch', 'a b']\ntimeout='10s'\n",
    );
    let ended = folder.tg(["run", "-f", "jobs.toml", "--dry-run", "--log", "log"]).run().code(0).silent();
    ended.prints("# a (timeout 10s)\ntouch 'a b'\n# b (needs a)\ntouch b\n");
    assert!(!folder.has("a b") && !folder.has("b") && !folder.has("log"));
    folder.tg(["each", "--dry-run", "touch {}", "--", "x y"]).run().code(0).prints("touch 'x y'\n");
    assert!(!folder.has("x y"));
}

/// A million jobs are more than may be kept.
#[test]
fn a_million_inputs_take_no_more_memory_than_ten() {
    let folder = Folder::new();
    // Unoptimised, it would take a minute.
    let inputs = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let ended = folder.tg(["each", "--dry-run", ": {}"]).with_stdin("x\n".repeat(inputs)).code(0);
    assert_eq!(ended.out.lines().count(), inputs);
    let mut tg = folder.tg(["each", "-q", "-j4", ": {}"]);
    tg.command.stdin(std::process::Stdio::piped());
    let mut program = tg.start();
    let mut stdin = program.stdin.take().unwrap();
    let feed = |stdin: &mut std::process::ChildStdin, lines: usize| {
        std::io::Write::write_all(stdin, "x\n".repeat(lines).as_bytes()).unwrap();
    };
    feed(&mut stdin, if cfg!(debug_assertions) { 4_000 } else { 20_000 });
    drop(stdin);
    let mut peak = 0;
    let pid = program.pid();
    until("all inputs", || {
        let now = peak_memory(pid);
        peak = peak.max(now.unwrap_or(0));
        now.is_none()
    });
    program.end().code(0).silent();
    assert!(peak < 32 * 1024, "{peak} KiB");
}

#[test]
fn namespaces_of_their_own() {
    let folder = Folder::new();
    let ours = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let ours = format!("{}\n", ours.display());
    let shows = "readlink /proc/self/ns/pid";
    folder.tg(["run", shows]).run().code(0).prints(&ours);
    let ended = folder.tg(["run", "--isolate", shows]).run();
    if ended.err.contains("no user and PID namespace for it") {
        return eprintln!("not tested here: {}", ended.err);
    }
    let ended = ended.code(0);
    assert!(ended.out.starts_with("pid:[") && ended.out != ours, "{}", ended.out);
}

#[test]
fn a_folder_that_is_no_cgroup_is_refused() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "--cgroup", ".", "true"]).run().code(125);
    ended.says("not a folder of cgroup v2");
}
