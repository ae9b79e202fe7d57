//! What jobs write, in all modes.

use crate::program::{Folder, peak_memory, until};

/// Fifty jobs write ten megabytes each, in lines that tell whose they are. A pattern that repeats shows every loss.
#[test]
fn fifty_times_ten_megabytes_in_one_piece_each() {
    const LINES: usize = 174_763;
    let folder = Folder::new();
    let line = format!(
        "x={{}}; yes \"$(printf 'job %02d, and what else makes it long: 64 bytes of its output' $x)\" | head -n {LINES}"
    );
    let jobs: Vec<String> = (1..=50).map(|job| job.to_string()).collect();
    let words = ["each", "-j", "50", &line, "--"].map(str::to_string);
    let program = folder.tg(words.iter().chain(&jobs)).start();
    let pid = program.pid();
    let mut peak = 0;
    until("its end", || {
        let now = peak_memory(pid);
        peak = peak.max(now.unwrap_or(0));
        now.is_none()
    });
    let ended = program.end().code(0).silent();
    let mut seen = std::collections::BTreeSet::new();
    let line_len = ended.bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert_eq!(line_len, 60);
    assert_eq!(ended.bytes.len(), 50 * LINES * line_len);
    for piece in ended.bytes.chunks(LINES * line_len) {
        let first = &piece[..line_len];
        assert!(piece.chunks(line_len).all(|line| line == first), "two jobs are mixed");
        assert!(seen.insert(first.to_vec()), "a job comes twice");
    }
    assert_eq!(seen.len(), 50);
    assert!(peak < 100 * 1024, "{peak} KiB");
}

/// All bytes there are, without a newline at the end.
const BINARY: &str = "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done";

#[test]
fn bytes_survive() {
    let folder = Folder::new();
    let all: Vec<u8> = (0..=255).collect();
    for mode in ["group", "raw"] {
        let ended = folder.tg(["run", "--output", mode, BINARY]).run().code(0).silent();
        assert_eq!(ended.bytes, all, "{mode}");
        let ended = folder.tg(["run", "--output", mode, "-j1", BINARY, BINARY]).run().code(0).silent();
        assert_eq!(ended.bytes, [&all[..], &all[..]].concat(), "{mode}");
    }
    folder.write("jobs.toml", format!("[job.a]\nrun='''{BINARY}'''\n"));
    let ended = folder.tg(["run", "--output", "prefix", "-f", "jobs.toml"]).run().code(0).silent();
    let mut expected = b"a | ".to_vec();
    expected.extend(0..=b'\n');
    expected.extend(b"a | ");
    expected.extend(b'\n' + 1..=255);
    expected.push(b'\n');
    assert_eq!(ended.bytes, expected);
}

#[test]
fn lines_of_a_megabyte_survive() {
    let folder = Folder::new();
    folder.write(
        "jobs.toml",
        "[job.a]\nrun=\"head -c 1000000 /dev/zero | tr '\\\\0' a; echo; echo end\"\n\
         [job.b]\nrun=\"head -c 1000000 /dev/zero | tr '\\\\0' b; echo; echo end\"\n",
    );
    for mode in ["group", "raw", "prefix"] {
        let jobs = if mode == "raw" { "1" } else { "2" };
        let ended =
            folder.tg(["run", "--output", mode, "-j", jobs, "-f", "jobs.toml"]).run().code(0).silent();
        let prefix = |job: &str| if mode == "prefix" { format!("{job} | ") } else { String::new() };
        let line = |job: &str| format!("{}{}", prefix(job), job.repeat(1_000_000));
        let mut expected =
            [line("a"), line("b"), format!("{}end", prefix("a")), format!("{}end", prefix("b"))];
        expected.sort_unstable();
        assert!(ended.lines() == expected, "{mode}: {} lines", ended.lines().len());
    }
}

#[test]
fn streams_stay_apart() {
    let folder = Folder::new();
    let line = "echo out; echo err >&2";
    for mode in ["group", "raw"] {
        let ended = folder.tg(["run", "--output", mode, line, line]).run().code(0).prints("out\nout\n");
        assert_eq!(ended.err, "err\nerr\n", "{mode}");
    }
    folder.write("jobs.toml", format!("[job.a]\nrun='{line}'\n"));
    let ended = folder.tg(["run", "--output", "prefix", "-f", "jobs.toml"]).run().code(0).prints("a | out\n");
    assert_eq!(ended.err, "a | err\n");
}

#[test]
fn no_output_but_the_end_of_a_failure_s() {
    let folder = Folder::new();
    folder.tg(["run", "--output", "none", "echo a; echo b >&2"]).run().code(0).prints("").silent();
    let ended = folder.tg(["run", "--output", "none", "seq 100; exit 3"]).run().code(3).prints("");
    let ended = ended.says("the end of its output (10 of 100 lines)").says("      91\n").says("      100\n");
    assert!(!ended.err.contains("      90\n"), "{}", ended.err);
}

/// What a process elsewhere holds open is not waited for.
#[test]
fn an_output_that_stays_open_holds_up_nothing() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    // A process that is not of the job gets the job's output, through /proc.
    let outside = "read pid < handed; exec 3> /proc/$pid/fd/1; echo > here; read x < go";
    assert!(std::process::Command::new("mkfifo").arg(folder.path("handed")).status().unwrap().success());
    let mut outsider =
        std::process::Command::new("sh").args(["-c", outside]).current_dir(folder.root()).spawn().unwrap();
    // In a process of its own: the output of the job's shell never is the pipe that hands the pid over.
    let program = folder.tg(["run", "echo before; (echo $$ > handed); read x < go; echo after"]).start();
    here.hears();
    // One of the two goes on: if it is the outsider, another line is for the job.
    go.opens(2);
    program.end().code(0).prints("before\nafter\n");
    let _ = outsider.kill();
    outsider.wait().unwrap();
}

#[test]
fn json_lines_and_nothing_else() {
    let folder = Folder::new();
    let ended = folder
        .tg([
            "run",
            "-k",
            "--json",
            "-j1",
            "echo out; echo err >&2; printf '\\377'",
            "exit 3",
            "no-such-command",
        ])
        .run()
        .code(3);
    let events = ended.events();
    assert!(events.iter().all(|event| event["v"] == 1 && event["at"].is_f64() && event["time"].is_string()));
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((names[0], *names.last().unwrap()), ("run_started", "run_finished"));
    assert_eq!(names.iter().filter(|name| **name == "job_started").count(), 3);
    assert_eq!(names.iter().filter(|name| **name == "job_finished").count(), 3);
    let output: Vec<_> = events.iter().filter(|event| event["event"] == "output").collect();
    assert!(output.iter().any(|event| event["text"] == "out\n" && event["stream"] == "stdout"));
    assert!(output.iter().any(|event| event["text"] == "err\n" && event["stream"] == "stderr"));
    assert!(output.iter().any(|event| event["base64"] == "/w=="));
    let last = events.last().unwrap();
    assert_eq!((&last["exit_code"], &last["counts"]["failed"]), (&3.into(), &2.into()));
    assert_eq!(last["counts"]["succeeded"], 1);
}

#[test]
fn no_escape_codes_where_there_is_no_terminal() {
    let folder = Folder::new();
    for option in ["--verbose", "--output=prefix", "--output=none"] {
        let ended = folder.tg(["run", "-k", option, "echo a", "exit 3"]).run().code(3);
        assert!(!ended.out.contains('\x1b') && !ended.err.contains('\x1b'), "{ended:?}");
    }
    let ended = folder.tg(["run", "--color=always", "-k", "true", "exit 3"]).run().code(3);
    assert!(ended.err.contains('\x1b'), "{ended:?}");
}

#[test]
fn quiet_and_verbose() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "-j1", "-v", "echo a"]).run().code(0).prints("a\n");
    ended.says("tg: 1 job, 1 at once").says("tg: started echo a (pid").says("tg: finished echo a (");
    let ended = folder.tg(["run", "-q", "-k", "exit 3", "true"]).run().code(3);
    assert!(ended.err.starts_with("tg: 1 job failed, 1 succeeded"), "{}", ended.err);
    folder.tg(["run", "-q", "-v", "true"]).run().code(125);
}
