//! `--log` and `--resume`.

use crate::program::Folder;

#[test]
fn a_line_for_each_job_that_ended() {
    let folder = Folder::new();
    folder.tg(["run", "-k", "-j1", "--log", "log", "echo a", "exit 3", "kill -9 $$"]).run().code(3);
    let log = folder.read("log");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["succeeded", "failed", "killed"]);
    assert_eq!((&lines[1]["code"], &lines[2]["signal"]), (&3.into(), &9.into()));
    assert!(lines.iter().all(|line| line["v"] == 1 && line["attempts"] == 1), "{log}");
}

#[test]
fn what_succeeded_is_skipped_whatever_the_order() {
    let folder = Folder::new();
    let line = "echo {} >> ran; test {} != b || test -e fixed";
    let first = ["each", "-k", "-j1", "--resume", "log", line, "--", "a", "b", "c"];
    folder.tg(first).run().code(1).says("log: there is no such file yet");
    assert_eq!(folder.read("ran"), "a\nb\nc\n");
    folder.write("fixed", "");
    let second = ["each", "-j1", "-v", "--resume", "log", line, "--", "c", "b", "d", "a"];
    folder.tg(second).run().code(0).says("done before: c").says("done before: a");
    assert_eq!(folder.read("ran"), "a\nb\nc\nb\nd\n");
    folder.tg(second).run().code(0);
    assert_eq!(folder.read("ran"), "a\nb\nc\nb\nd\n");
}

#[test]
fn another_command_folder_or_environment_is_another_job() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("sub")).unwrap();
    let run = |arguments: &[&str]| {
        let words = ["run", "--resume", "log"].into_iter().chain(arguments.iter().copied());
        folder.tg(words).run().code(0).out
    };
    run(&["echo a"]);
    assert_eq!(run(&["echo a"]), "");
    assert_eq!(run(&["echo  a"]), "a\n");
    assert_eq!(run(&["-C", "sub", "echo a"]), "a\n");
    folder.write("a.toml", "[job.a]\nrun='echo a'\n");
    assert_eq!(run(&["-f", "a.toml"]), "", "the name is not part of what it is");
    folder.write("a.toml", "[job.a]\nrun='echo a'\nenv={A='1'}\n");
    assert_eq!(run(&["-f", "a.toml"]), "a\n");
    assert_eq!(run(&["-f", "a.toml"]), "");
}

#[test]
fn needs_that_were_done_before_hold_up_nobody() {
    let folder = Folder::new();
    folder.write(
        "jobs.toml",
        "[job.a]\nrun='echo a >> ran'\n[job.b]\nrun='echo b >> ran; test -e ok'\nneeds=['a']\n",
    );
    folder.tg(["run", "--resume", "log", "-f", "jobs.toml"]).run().code(1);
    folder.write("ok", "");
    folder.tg(["run", "--resume", "log", "-f", "jobs.toml"]).run().code(0);
    assert_eq!(folder.read("ran"), "a\nb\nb\n");
}

#[test]
fn a_torn_last_line_is_completed_and_passed_over() {
    let folder = Folder::new();
    folder.tg(["run", "--log", "log", "echo a"]).run().code(0);
    let mut log = folder.read("log");
    log.push_str("{\"v\":1,\"key\":\"12");
    folder.write("log", &log);
    folder.tg(["run", "--resume", "log", "echo a", "echo b"]).run().code(0).prints("b\n").silent();
    let after = folder.read("log");
    assert!(after.starts_with(&format!("{log}\n{{\"v\":1")), "{after}");
    let ended = folder.tg(["run", "--resume", "log", "echo a", "echo b"]).run().code(0).prints("");
    ended.says("log:2: this line cannot be read and counts for nothing");
}

#[test]
fn two_at_once_on_one_log() {
    let folder = Folder::new();
    let inputs = |from: usize| (from..from + 100).map(|n| format!("{n}\n")).collect::<String>();
    let (one, two) = std::thread::scope(|scope| {
        let run = |from| folder.tg(["each", "-j4", "--log", "log", ": {}"]).with_stdin(inputs(from)).code(0);
        let other = scope.spawn(move || run(0));
        (run(1000), other.join().unwrap())
    });
    drop((one, two));
    let log = folder.read("log");
    assert_eq!(log.lines().count(), 200);
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
}

#[test]
fn a_log_that_cannot_be_is_an_error_before_the_start() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("sub")).unwrap();
    for option in ["--log", "--resume"] {
        folder
            .tg(["run", option, "sub", "touch made"])
            .run()
            .code(125)
            .says("sub: this is a folder, not a file");
        folder.tg(["run", option, "no/log", "touch made"]).run().code(125).says("no such file or folder");
    }
    assert!(!folder.has("made"));
}

#[test]
fn a_dry_run_says_what_was_done_before() {
    let folder = Folder::new();
    folder.tg(["run", "--log", "log", "echo a"]).run().code(0);
    let ended = folder.tg(["run", "--dry-run", "--resume", "log", "echo a", "echo b"]).run().code(0);
    ended.prints("# done before:\n# echo a\necho b\n");
}

#[test]
fn what_was_cancelled_is_not_done() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    let line = "echo x >> ran; echo > here; test -e ok || sleep 1000";
    let program = folder.tg(["run", "--resume", "log", line]).start();
    here.hears();
    program.signal("TERM");
    program.end().code(143);
    assert!(folder.read("log").contains("cancelled"));
    folder.write("ok", "");
    let program = folder.tg(["run", "--resume", "log", line]).start();
    here.hears();
    program.end().code(0);
    assert_eq!(folder.read("ran"), "x\nx\n");
}
