//! What is wrong before anything starts: a clear message, exit code 125, and nothing started.

use crate::program::Folder;

#[track_caller]
fn refused(folder: &Folder, line: &[&str], says: &str) {
    let ended = folder.tg(line).run().code(125).prints("").says(says);
    assert!(!ended.err.contains("panic"), "{}", ended.err);
    assert!(!folder.has("made"), "{line:?} has started something");
}

#[test]
fn options() {
    let folder = Folder::new();
    refused(&folder, &["run", "-j", "0", "touch made"], "-j 0: at least 1");
    refused(&folder, &["run", "-j", "-1", "touch made"], "-1");
    refused(&folder, &["run", "-j", "many", "touch made"], "whole number");
    refused(&folder, &["run", "-C", "no", "touch made"], "there is no folder `no`");
    refused(&folder, &["run", "--shell", "/no/sh", "touch made"], "there is no shell `/no/sh`");
    refused(&folder, &["run", "--tty", "no", "touch made"], "--tty: there is no job `no`");
    for time in ["", "x", "-1s", "1y", "99999999999999999999h", "1s 2", "inf"] {
        let option = format!("--timeout={time}");
        refused(&folder, &["run", &option, "touch made"], "--timeout");
    }
    refused(&folder, &["run", "--timeout", "0", "touch made"], "--timeout");
    refused(&folder, &["run", "--retries", "-1", "touch made"], "-1");
    refused(&folder, &["run", "--output", "loud", "touch made"], "group, prefix, raw, none");
}

#[test]
fn files() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("sub")).unwrap();
    refused(&folder, &["run", "-f", "no"], "tg: no: no such file or folder");
    refused(&folder, &["run", "-f", "sub"], "tg: sub: this is a folder, not a file");
    refused(&folder, &["run", "-f", "no.toml"], "no.toml: no such file or folder");
    folder.write("list", "touch made\ntouch\0made\n");
    refused(&folder, &["run", "-f", "list"], "list, line 2: holds a NUL byte");
    refused(&folder, &["run", ""], "COMMAND 1 is empty");
    refused(&folder, &["run", "touch made", "-"], "stands alone");
    refused(&folder, &["run", "-f", "list", "touch made"], "jobs file");
}

#[test]
fn jobs_files() {
    let folder = Folder::new();
    let made = "[job.made]\nrun='touch made'\n";
    for (text, says) in [
        ("[job.a]\nrun='true'\nneeds=['b']\n[job.b]\nrun='true'\nneeds=['a']\n", "a -> b -> a"),
        ("[job.a]\nrun='true'\nneeds=['a']\n", "a -> a"),
        ("[job.a]\nrun='true'\nneeds=['mad']\n", "`mad`"),
        ("[job.a]\nrun='true'\nspeed='fast'\n", "speed"),
        ("[job.a]\nrun=''\n", "run"),
        ("[job.a]\nrun=[]\n", "run"),
        ("[job.a]\n", "run"),
        ("[job.a]\nrun='true'\ntimeout='soon'\n", "soon"),
        ("[job.a]\nrun='true'\n[job.a]\nrun='true'\n", "a"),
        ("[job.a\n", "jobs.toml:4"),
    ] {
        folder.write("jobs.toml", format!("{made}\n{text}"));
        refused(&folder, &["run", "-f", "jobs.toml"], says);
        refused(&folder, &["run", "-f", "jobs.toml"], "jobs.toml:");
    }
    folder.write("jobs.toml", "");
    refused(&folder, &["run", "-f", "jobs.toml"], "jobs.toml");
    folder.write("jobs.toml", b"\xff\xfe");
    refused(&folder, &["run", "-f", "jobs.toml"], "UTF-8");
    folder.write("jobs.toml", made);
    refused(&folder, &["run", "-f", "jobs.toml", "mode"], "`mode`");
    refused(&folder, &["run", "-f", "jobs.toml", "mode"], "made");
}

#[test]
fn templates() {
    let folder = Folder::new();
    refused(&folder, &["each", "touch made `echo {}`", "--", "x"], "after a backtick");
    refused(&folder, &["each", "", "--", "x"], "is empty");
}

/// An error in what is read as there is room ends the run, with its cause.
#[test]
fn trouble_in_the_middle_of_the_input() {
    let folder = Folder::new();
    let ended = folder.tg(["each", "-j1", "echo"]).with_stdin(b"a\nb\0\nc\n".to_vec()).code(125);
    ended.prints("a\n").says("standard input, line 2: holds a NUL byte");
    let ended = folder.tg(["each", "-j2", "sleep"]).with_stdin(b"1000\nb\0\n".to_vec()).code(125);
    let ended = ended.says("standard input, line 2: holds a NUL byte");
    assert!(!ended.err.contains("outer"), "{}", ended.err);
}
