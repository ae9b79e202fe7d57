//! `tg each`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::program::Folder;

#[test]
fn inputs_are_quoted_wherever_they_stand() {
    let folder = Folder::new();
    let odd =
        ["a b", "it's", "$(touch made)", "-n", "*", "\\", "new\nline", "", "`touch made`", "; touch made"];
    for template in ["printf '[%s]' {}", "printf '[%s]'", "printf \"[%s]\" \"{}\"", "printf '[%s]' '{}'"] {
        let ended = folder.tg(["each", "-j1", template, "--"].iter().chain(&odd)).run().code(0).silent();
        let expected: String = odd.iter().map(|input| format!("[{input}]")).collect();
        assert_eq!(ended.out, expected, "{template}");
    }
    assert!(!folder.has("made"));
}

#[test]
fn numbers_and_literal_braces() {
    let folder = Folder::new();
    folder.tg(["each", "-j1", "echo {#} {} {{}}", "--", "a", "b"]).run().code(0).prints("1 a {}\n2 b {}\n");
}

#[test]
fn inputs_from_standard_input() {
    let folder = Folder::new();
    let ended = folder.tg(["each", "-j1", "echo"]).with_stdin("a b\n\nc").code(0);
    ended.prints("a b\nc\n");
    let ended = folder.tg(["each", "-j1", "-0", "printf '[%s]'"]).with_stdin(b"a\nb\0\0c".to_vec()).code(0);
    ended.prints("[a\nb][][c]");
}

#[test]
fn invalid_utf8_is_passed_on_byte_for_byte() {
    let folder = Folder::new();
    let odd = OsString::from_vec(b"\xff\xfe".to_vec());
    let mut words: Vec<OsString> = ["each", "printf %s {}", "--"].map(Into::into).to_vec();
    words.push(odd.clone());
    assert_eq!(folder.tg(&words).run().code(0).bytes, b"\xff\xfe");
    assert_eq!(
        folder.tg(["each", "printf %s"]).with_stdin(b"\xff\xfe\n".to_vec()).code(0).bytes,
        b"\xff\xfe"
    );
    let command = OsString::from_vec(b"printf '\xff'; exit 3".to_vec());
    let ended = folder.tg([OsString::from("run"), "--json".into(), command]).run().code(3);
    let started = &ended.events()[1];
    assert_eq!(started["event"], "job_started");
    assert_eq!(started["job"]["command"], "printf '\u{fffd}'; exit 3");
    assert_eq!(started["job"]["command_bytes"], "cHJpbnRmICf/JzsgZXhpdCAz");
    folder.write("list", b"printf '\xff'\n");
    assert_eq!(folder.tg(["run", "-f", "list"]).run().code(0).bytes, b"\xff");
}

/// Nobody waits for the end of the input when a job has failed.
#[test]
fn an_endless_input_ends_with_the_first_failure() {
    let folder = Folder::new();
    let mut tg = folder.tg(["run", "yes | $TG each -j2 'exit 7'; echo $? > code"]);
    tg.command.env("TERM", "dumb");
    tg.run();
    assert_eq!(folder.read("code"), "7\n");
}

/// Somebody holds the input open and gives nothing more.
#[test]
fn an_input_that_stands_still_holds_up_nothing() {
    let folder = Folder::new();
    let mut tg = folder.tg(["each", "exit {}"]);
    tg.command.stdin(std::process::Stdio::piped());
    let mut program = tg.start();
    let mut stdin = program.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"5\n").unwrap();
    program.end().code(5);
    drop(stdin);
}

/// A job starts as soon as its input is there.
#[test]
fn inputs_are_run_as_they_come() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    let mut tg = folder.tg(["each", "echo {} > here"]);
    tg.command.stdin(std::process::Stdio::piped());
    let mut program = tg.start();
    let mut stdin = program.stdin.take().unwrap();
    for input in ["a", "b", "c"] {
        std::io::Write::write_all(&mut stdin, format!("{input}\n").as_bytes()).unwrap();
        assert_eq!(here.hears(), input);
    }
    drop(stdin);
    program.end().code(0);
}
