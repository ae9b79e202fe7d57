//! Exit codes.

use std::os::unix::fs::PermissionsExt;

use crate::program::Folder;

#[test]
fn a_job_s_own_code() {
    let folder = Folder::new();
    for code in [0, 1, 2, 77, 123, 200, 255] {
        folder.tg(["run", &format!("exit {code}")]).run().code(code);
    }
}

#[test]
fn a_job_that_a_signal_kills() {
    let folder = Folder::new();
    for (signal, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("INT", 2), ("USR1", 10)] {
        let ended =
            folder.tg(["run", &format!("kill -s {signal} $$"), "sleep 1000"]).run().code(128 + number);
        ended.says(&format!("killed by SIG{signal}"));
    }
}

#[test]
fn commands_that_are_not_there_or_cannot_be_executed() {
    let folder = Folder::new();
    folder.tg(["run", "no-such-command"]).run().code(127);
    folder.tg(["run", "/"]).run().code(126);
    folder.write("script", "#!/bin/sh\n");
    folder.write("jobs.toml", "[job.a]\nrun=['no-such-command', 'x']\n[job.b]\nrun=['./script']\n");
    folder.tg(["run", "-f", "jobs.toml", "a"]).run().code(127).says("a (#1) failed: command not found");
    folder.tg(["run", "-f", "jobs.toml", "b"]).run().code(126).says("cannot be executed");
    std::fs::set_permissions(folder.path("script"), PermissionsExt::from_mode(0o755)).unwrap();
    folder.tg(["run", "-f", "jobs.toml", "b"]).run().code(0);
    folder.tg(["run", "--shell", "no-such-shell", "true"]).run().code(127);
}

#[test]
fn a_folder_that_vanishes_is_trouble() {
    let folder = Folder::new();
    folder.write("jobs.toml", "[job.a]\nrun='true'\ndir='gone'\n");
    folder.tg(["run", "-f", "jobs.toml"]).run().code(125).says("gone");
}

#[test]
fn usage_errors_are_125_and_help_is_0() {
    let folder = Folder::new();
    folder.tg::<&str>([]).run().code(125).says("Usage: tg").prints("");
    folder.tg(["run"]).run().code(125).says("COMMAND");
    folder.tg(["run", "--no-such-option", "true"]).run().code(125).says("--no-such-option");
    folder.tg(["rnu", "true"]).run().code(125).says("rnu");
    for help in
        [["--help"].as_slice(), &["-h"], &["help"], &["run", "--help"], &["each", "-h"], &["help", "run"]]
    {
        let ended = folder.tg(help).run().code(0).silent();
        assert!(ended.out.contains("Usage: tg"), "{help:?}: {}", ended.out);
    }
    assert!(folder.tg(["--version"]).run().code(0).out.starts_with("tg "));
}

#[test]
fn completions_and_the_man_page() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = folder.tg(["completions", shell]).run().code(0).silent();
        assert!(ended.out.contains("timeout-each"), "{shell}");
    }
    let page = folder.tg(["man"]).run().code(0).silent().out;
    assert!(page.contains(".TH tg 1") && page.contains("timeout\\-each"), "{page}");
    folder.tg(["completions", "nosuch"]).run().code(125);
}

#[test]
fn help_into_a_closed_pipe_is_no_panic() {
    let folder = Folder::new();
    for line in ["--help", "man", "completions bash"] {
        let ended = folder.tg(["run", &format!("{{ $TG {line}; echo $? >&2; }} | true")]).run().code(0);
        assert!(!ended.err.contains("panic"), "{}", ended.err);
    }
}
