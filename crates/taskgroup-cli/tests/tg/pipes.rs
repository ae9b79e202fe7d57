//! Readers that leave, and readers that do not read.

use std::process::Stdio;

use crate::program::{Folder, all_gone, pids, stdio};

/// As SIGPIPE would end a program, but with its jobs.
#[test]
fn a_reader_that_leaves_ends_the_run() {
    for mode in ["prefix", "raw"] {
        let folder = Folder::new();
        let line = format!(
            "{{ $TG run --output {mode} 'echo $$ >> pids; yes' 'echo $$ >> pids; sleep 1000'; echo $? > code; }} \
             | head -n 1 > head"
        );
        let ended = std::process::Command::new("sh")
            .args(["-c", &line])
            .current_dir(folder.root())
            .env("TG", env!("CARGO_BIN_EXE_tg"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(folder.read("code"), "141\n", "{mode}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{mode}");
        assert!(folder.read("head").trim_end().ends_with('y'), "{mode}");
        all_gone(&pids(&folder, "pids"));
    }
}

#[test]
fn a_reader_of_json_that_leaves_ends_the_run() {
    let folder = Folder::new();
    let line = "{ $TG run --json 'yes' 'sleep 1000'; echo $? > code; } | head -n 1";
    let ended = folder.tg(["run", line]).run().code(0);
    assert!(ended.out.contains("run_started"), "{}", ended.out);
    assert_eq!(folder.read("code"), "141\n");
}

#[test]
fn a_closed_standard_error_is_no_trouble() {
    let folder = Folder::new();
    folder
        .tg(["run", "{ $TG run -v 'echo a' 'echo b' 2>&1 >/dev/null; echo $? > code; } | true"])
        .run()
        .code(0);
    assert_eq!(folder.read("code"), "0\n");
    folder.tg(["run", "$TG run -v 'echo a; echo b >&2' 2>&-; echo $? > code"]).run().code(0).prints("a\n");
    assert_eq!(folder.read("code"), "0\n");
}

#[test]
fn a_full_disk_is_trouble() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "$TG run --output raw 'while :; do echo x; done' > /dev/full"]).run();
    ended.code(125).says("standard output cannot be written").says("No space left");
}

/// Jobs get SIGPIPE as any program of a shell does.
#[test]
fn pipes_in_jobs_break_as_usual() {
    let folder = Folder::new();
    let ended = folder.tg(["run", "yes | head -n 1"]).run().code(0);
    ended.prints("y\n").silent();
}

/// Nobody reads what it prints, and it is to end all the same.
#[test]
fn a_signal_ends_a_run_that_nobody_reads() {
    for mode in ["raw", "prefix", "group"] {
        let folder = Folder::new();
        let mut here = folder.gate("here");
        let (reader, writer) = std::io::pipe().unwrap();
        let line = "echo $$ >> pids; echo > here; yes";
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tg"));
        command.args([
            "run",
            "--output",
            mode,
            "--grace",
            "200ms",
            line,
            "echo x; echo $$ >> pids; sleep 1000",
        ]);
        command.current_dir(folder.root()).stdin(Stdio::null()).stderr(Stdio::null()).stdout(stdio(&writer));
        let mut child = command.spawn().unwrap();
        drop((command, writer));
        here.hears();
        // The pipe and every queue behind it are full when the job stands still, waiting for its reader.
        let job = pids(&folder, "pids");
        if mode != "group" {
            crate::program::until("the job to stand still", || {
                let wait = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
                let yes = wait(&job[0]).ok().and_then(|pids| pids.split_whitespace().next()?.parse().ok());
                let yes: u32 = yes.unwrap_or(job[0]);
                let is_waiting = || crate::program::state(yes) == Some('S');
                is_waiting()
                    && (0..50).all(|_| {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                        is_waiting()
                    })
            });
        }
        crate::program::send("TERM", child.id());
        assert!(crate::program::has_ended_in_time(&child), "{mode}");
        assert_eq!(child.wait().unwrap().code(), Some(143), "{mode}");
        all_gone(&pids(&folder, "pids"));
        drop(reader);
    }
}
