use super::*;
use std::os::unix::ffi::OsStringExt;

fn read(line: &[&str]) -> Result<Args, clap::Error> {
    Args::read(std::iter::once("tg").chain(line.iter().copied()).map(OsString::from))
}

fn run(line: &[&str]) -> RunArgs {
    match read(line).expect("usage").action {
        Action::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

fn each(line: &[&str]) -> EachArgs {
    match read(line).expect("usage").action {
        Action::Each(args) => args,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refuses(line: &[&str], part: &str) {
    let error = read(line).expect_err("a usage error");
    assert!(error.to_string().contains(part), "{error}");
    assert!(error.use_stderr(), "exit code 125");
}

#[test]
fn the_definition_is_sound() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}

#[test]
fn defaults() {
    let options = run(&["run", "true"]).options;
    assert_eq!((options.jobs, options.retries, options.grace), (None, 0, Duration::from_secs(5)));
    assert_eq!((options.retry_delay, options.timeout), (Duration::from_secs(1), None));
    assert_eq!((options.output, options.leaks, options.color), (Output::Group, Leaks::Report, Color::Auto));
    assert_eq!(options.shell, PathBuf::from("/bin/sh"));
    assert!(!options.keep_going && !options.first_success && !options.dry_run && !options.json);
}

#[test]
fn options_after_and_between_commands() {
    let args = run(&["run", "a b", "-j", "3", "c", "--timeout", "1m30s", "-k", "--retries=2"]);
    assert_eq!(args.commands, ["a b", "c"]);
    assert_eq!(args.options.jobs, NonZeroUsize::new(3));
    assert_eq!(args.options.timeout, Some(Duration::from_secs(90)));
    assert!(args.options.keep_going);
    assert_eq!(args.options.retries, 2);
    assert_eq!(run(&["run", "-"]).commands, ["-"]);
    assert_eq!(run(&["run", "--", "-x"]).commands, ["-x"]);
    assert_eq!(run(&["run", "-f", "-"]).file, Some(PathBuf::from("-")));
}

#[test]
fn bad_usage() {
    refuses(&[], "Usage");
    refuses(&["run"], "COMMAND");
    refuses(&["run", "-j", "0", "true"], "-j 0: at least 1");
    refuses(&["run", "-j", "-1", "true"], "-1");
    refuses(&["run", "-j", "x", "true"], "whole number");
    refuses(&["run", "-j", "99999999999999999999999", "true"], "whole number");
    refuses(&["run", "--timeout", "0", "true"], "leave the option out");
    refuses(&["run", "--timeout", "5 parsecs", "true"], "for instance");
    refuses(&["run", "--timeout=-5s", "true"], "not negative");
    refuses(&["run", "--retries", "-1", "true"], "-1");
    refuses(&["run", "--output", "blue", "true"], "group");
    refuses(&["run", "-k", "--first-success", "true"], "cannot be used with");
    refuses(&["run", "-q", "-v", "true"], "cannot be used with");
    refuses(&["run", "--frist-success", "true"], "--first-success");
    refuses(&["each"], "COMMAND");
    refuses(&["each", "a", "b"], "b");
    refuses(&["each", "-0", "a", "--", "b"], "cannot be used with");
    refuses(&["fly"], "fly");
}

#[test]
fn help_and_version_succeed() {
    for line in [&["--help"][..], &["run", "--help"], &["each", "-h"], &["--version"]] {
        assert!(!read(line).expect_err("text").use_stderr(), "{line:?}");
    }
    let help = read(&["--help"]).expect_err("text").to_string();
    assert!(help.contains("125") && help.contains("Exit codes"));
    assert!(read(&["each", "--help"]).expect_err("text").to_string().contains("find . -name"));
}

#[test]
fn inputs_come_after_two_dashes() {
    let args = each(&["each", "-j", "2", "echo {}", "--", "-x", "--", "y"]);
    assert_eq!(args.inputs, ["-x", "--", "y"]);
    assert!(args.inputs_given);
    assert!(each(&["each", "echo {}", "--"]).inputs_given);
    assert!(!each(&["each", "echo {}"]).inputs_given);
}

#[test]
fn any_bytes_are_fine() {
    let odd = OsString::from_vec(vec![b'e', 0xff, 0x80]);
    let line = ["tg".into(), "run".into(), "--tty".into(), odd.clone(), odd.clone()];
    let Ok(Args { action: Action::Run(args) }) = Args::read(line) else { panic!("usage") };
    assert_eq!(args.commands, std::slice::from_ref(&odd));
    assert_eq!(args.options.tty, Some(odd));
}
