use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::super::screen::Sink;
use super::super::spool::MEMORY_MAX;
use super::super::testing::{Output, finished, job};
use super::*;
use crate::event::{Counts, Ending};

const NORMAL: ShowSettings = ShowSettings {
    output: OutputMode::Group,
    json: false,
    quiet: false,
    verbose: false,
    terminal: false,
    live: false,
    out_style: Style { color: false },
    err_style: Style { color: false },
};

/// A run of jobs 1, 2, 3, called a, b, c.
struct Run {
    show: Show,
    out: Output,
    err: Output,
    now: Duration,
}

impl Run {
    fn new(settings: ShowSettings) -> Run {
        let (out, err) = (Output::default(), Output::default());
        Run::on(settings, out, err, 3)
    }

    /// Standard output and standard error are one terminal.
    fn on_terminal(settings: ShowSettings, jobs: usize) -> Run {
        let output = Output::default();
        Run::on(ShowSettings { terminal: true, live: true, ..settings }, output.clone(), output, jobs)
    }

    fn on(settings: ShowSettings, out: Output, err: Output, jobs: usize) -> Run {
        let sink = |output: &Output| Sink::new(output.writer(), settings.terminal);
        let screen = Screen::new(sink(&out), sink(&err));
        let size = || Some(Size { columns: 80, rows: 24 });
        let mut run =
            Run { show: Show::new(settings, screen, Box::new(size)), out, err, now: Duration::ZERO };
        run.event(&Event::RunStarted { jobs: Some(jobs), limit: None });
        run
    }

    fn stamp(&self) -> Stamp {
        Stamp { elapsed: self.now, wall: UNIX_EPOCH }
    }

    fn event(&mut self, event: &Event) {
        self.show.event(event, self.stamp());
        self.show.tick(self.now);
    }

    fn job(number: usize) -> Arc<JobInfo> {
        job(number, ["a", "b", "c"][number - 1])
    }

    fn start(&mut self, number: usize) {
        self.event(&Event::JobStarted { job: Run::job(number), attempt: 1, pid: 100 + number as u32 });
    }

    fn write(&mut self, number: usize, stream: Stream, bytes: &[u8]) {
        self.show.output(number, stream, bytes, self.stamp());
        self.show.tick(self.now);
    }

    fn finish(&mut self, number: usize, outcome: Outcome) {
        self.event(&finished(&Run::job(number), outcome));
    }

    fn end(&mut self, exit_code: i32) {
        let counts = Counts { succeeded: 1, ..Counts::default() };
        self.event(&Event::RunFinished { exit_code, elapsed: self.now, counts });
    }

    fn after(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.show.tick(self.now);
    }
}

#[test]
fn group_interleaves_nothing() {
    let mut run = Run::new(NORMAL);
    run.start(1);
    run.start(2);
    for round in 0..1000 {
        run.write(1, Stream::Stdout, format!("a{round}\n").as_bytes());
        run.write(2, Stream::Stdout, format!("b{round}").as_bytes());
        run.write(2, Stream::Stderr, format!("b{round}\n").as_bytes());
    }
    assert_eq!(run.out.text(), "");
    run.finish(2, Outcome::Succeeded);
    let of_b: String = (0..1000).map(|round| format!("b{round}")).collect();
    assert_eq!(run.out.text(), of_b);
    run.finish(1, Outcome::Succeeded);
    let of_a: String = (0..1000).map(|round| format!("a{round}\n")).collect();
    assert_eq!(run.out.text(), of_b + &of_a);
    run.end(0);
    assert_eq!(run.err.text(), (0..1000).map(|round| format!("b{round}\n")).collect::<String>());
}

#[test]
fn group_keeps_every_byte_of_much_output() {
    let mut run = Run::new(NORMAL);
    run.start(1);
    let bytes: Vec<u8> = (0..10 * MEMORY_MAX).map(|index| (index * index / 7 % 256) as u8).collect();
    for chunk in bytes.chunks(7777) {
        run.write(1, Stream::Stdout, chunk);
        run.write(1, Stream::Stderr, chunk);
    }
    run.finish(1, Outcome::Succeeded);
    run.end(0);
    assert!(run.out.all() == bytes && run.err.all() == bytes);
}

#[test]
fn group_on_a_terminal_has_headings() {
    let mut run = Run::on_terminal(NORMAL, 3);
    run.start(1);
    run.start(2);
    run.start(3);
    run.write(1, Stream::Stdout, b"out");
    run.write(2, Stream::Stderr, b"err\n");
    run.finish(1, Outcome::Succeeded);
    run.finish(2, Outcome::Failed { code: 2 });
    run.finish(3, Outcome::Succeeded);
    run.end(2);
    assert_eq!(
        run.err.screen(),
        [
            "── a (1.2s)",
            "out",
            "── b: exit code 2 (1.2s)",
            "err",
            "tg: 1 job failed, 1 succeeded (0ms)",
            "└─ b (#2) failed: exit code 2 after 1.2s",
            "     command: run b",
        ]
    );
}

#[test]
fn a_run_of_one_job_is_passed_on_as_it_comes() {
    for settings in [NORMAL, ShowSettings { terminal: true, live: true, ..NORMAL }] {
        let mut run = Run::on(settings, Output::default(), Output::default(), 1);
        run.start(1);
        run.write(1, Stream::Stdout, b"Password: ");
        assert_eq!(run.out.text(), "Password: ");
        run.after(1000);
        run.finish(1, Outcome::Succeeded);
        run.end(0);
        assert_eq!((run.out.text(), run.err.text()), ("Password: ".into(), String::new()));
    }
}

#[test]
fn prefix_keeps_lines_whole_and_streams_apart() {
    let mut run = Run::new(ShowSettings { output: OutputMode::Prefix, ..NORMAL });
    run.start(1);
    run.start(2);
    run.write(1, Stream::Stdout, b"on");
    run.write(2, Stream::Stdout, b"two\n");
    run.write(1, Stream::Stdout, b"e\nthr");
    run.write(2, Stream::Stderr, b"error");
    run.finish(1, Outcome::Succeeded);
    run.finish(2, Outcome::Succeeded);
    assert_eq!(run.out.text(), "b | two\na | one\na | thr\n");
    assert_eq!(run.err.text(), "b | error\n");
}

#[test]
fn raw_passes_on_and_none_does_not() {
    for (output, out) in [(OutputMode::Raw, &b"\xffa\0"[..]), (OutputMode::None, b"")] {
        let mut run = Run::new(ShowSettings { output, ..NORMAL });
        run.start(1);
        run.write(1, Stream::Stdout, b"\xffa");
        run.write(1, Stream::Stdout, b"\0");
        assert_eq!(run.out.all(), out);
    }
}

#[test]
fn without_a_terminal_there_are_no_escape_codes() {
    for output in [OutputMode::Group, OutputMode::Prefix, OutputMode::Raw, OutputMode::None] {
        let mut run = Run::new(ShowSettings { output, verbose: true, ..NORMAL });
        run.start(1);
        run.write(1, Stream::Stdout, b"text\n");
        run.after(1000);
        run.finish(1, Outcome::Failed { code: 3 });
        run.show.running(run.now);
        run.end(3);
        assert!(!run.err.text().contains('\x1b') && !run.out.text().contains('\x1b'));
        assert!(run.err.text().contains("tg: started a (pid 101)\n"));
        assert!(run.err.text().contains("tg: FAILED a: exit code 3 (1.2s)\n"));
        assert_eq!(run.err.text().contains("its output:"), output == OutputMode::None);
    }
}

#[test]
fn the_region_lives_and_leaves_nothing() {
    let mut run = Run::on_terminal(ShowSettings { output: OutputMode::Prefix, ..NORMAL }, 3);
    run.start(1);
    run.after(100);
    run.write(1, Stream::Stderr, b"\x1b[32mone\x1b[0m\ntwo");
    run.start(2);
    run.after(2000);
    assert_eq!(
        run.err.screen(),
        ["a | one", "  a   0:02  two", "  b   0:02", "[>                         ] 0/3  2 running  0:02"]
    );
    run.finish(1, Outcome::Failed { code: 1 });
    run.after(100);
    assert_eq!(
        run.err.screen(),
        [
            "a | one",
            "a | two",
            "tg: FAILED a: exit code 1 (1.2s)",
            "  b   0:02",
            "[========>                 ] 1/3  1 running  1 failed  0:02"
        ]
    );
    run.end(0);
    assert_eq!(run.err.screen()[3..], ["1 job in 0:02"]);
    assert!(!run.err.text().contains("\x1b[?"), "no mode of the terminal is changed");
}

#[test]
fn frames_are_at_least_100_ms_apart() {
    let mut run = Run::on_terminal(NORMAL, 3);
    run.start(1);
    run.start(2);
    let before = run.err.all().len();
    (0..50).for_each(|_| run.after(1));
    assert_eq!(run.err.all().len(), before);
    run.after(50);
    assert!(run.err.all().len() > before);
}

#[test]
fn a_suspended_run_leaves_the_terminal_clean() {
    let mut run = Run::on_terminal(ShowSettings { output: OutputMode::Prefix, ..NORMAL }, 3);
    run.start(1);
    run.after(100);
    run.write(1, Stream::Stdout, b"one\n");
    run.show.hide();
    assert_eq!(run.err.screen(), ["a | one"]);
    assert_eq!(run.err.cursor(), (1, 0));
    run.write(1, Stream::Stdout, b"two\n");
    run.after(5000);
    assert_eq!(run.err.screen(), ["a | one", "a | two"]);
    run.show.reveal();
    run.after(0);
    assert_eq!(run.err.screen()[2..].len(), 2);
}

#[test]
fn two_who_have_the_terminal_must_both_give_it_back() {
    let mut run = Run::on_terminal(NORMAL, 3);
    run.show.hide();
    run.show.hide();
    run.show.reveal();
    assert!(!run.show.is_live());
    run.show.reveal();
    assert!(run.show.is_live());
}

#[test]
fn with_json_nothing_else_is_on_standard_output() {
    let terminal = ShowSettings { json: true, verbose: true, terminal: true, live: true, ..NORMAL };
    let mut run = Run::on(terminal, Output::default(), Output::default(), 3);
    run.start(1);
    run.write(1, Stream::Stdout, b"one\ntw");
    run.write(1, Stream::Stderr, b"\xff\xfe");
    run.after(1000);
    run.event(&Event::Note { text: "careful".into() });
    run.finish(1, Outcome::Cancelled { cause: "SIGINT".into(), ending: Ending::NotRunning });
    run.end(130);
    let lines: Vec<Value> = run.out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["v"] == 1 && line["at"].is_f64() && line["time"].is_string()));
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(
        events,
        ["run_started", "job_started", "output", "note", "output", "output", "job_finished", "run_finished"]
    );
    assert_eq!((&lines[2]["text"], &lines[4]["text"]), (&"one\n".into(), &"tw".into()));
    assert_eq!((&lines[5]["base64"], &lines[5]["stream"]), (&"//4=".into(), &"stderr".into()));
    // The tree is for people, and on standard error.
    assert!(run.err.text().starts_with("tg: 1 cancelled, 1 succeeded (1s)\n"), "{}", run.err.text());
}

#[test]
fn the_quiet_hear_of_failures_at_the_end_only() {
    let mut run = Run::on_terminal(ShowSettings { quiet: true, ..NORMAL }, 3);
    run.start(1);
    run.write(1, Stream::Stdout, b"one\n");
    run.after(1000);
    run.finish(1, Outcome::Succeeded);
    assert_eq!(run.err.screen(), ["one"]);
    run.start(2);
    run.finish(2, Outcome::NotFound);
    run.end(127);
    assert_eq!(
        run.err.screen()[1..],
        ["tg: 1 job failed, 1 succeeded (1s)", "└─ b (#2) failed: command not found", "     command: run b"]
    );
}

#[test]
fn a_closed_pipe_is_told_once_and_ends_in_silence() {
    let mut run = Run::on(NORMAL, Output::closed(), Output::default(), 3);
    run.start(1);
    run.start(2);
    run.write(1, Stream::Stdout, b"one\n");
    run.finish(1, Outcome::Succeeded);
    assert_eq!(run.show.lost().unwrap().kind(), io::ErrorKind::BrokenPipe);
    run.event(&Event::Cancelling { cause: Cause::OutputClosed });
    run.write(2, Stream::Stdout, b"two\n");
    run.finish(2, Outcome::Cancelled { cause: "x".into(), ending: Ending::Exited { code: 0 } });
    run.end(141);
    assert_eq!(run.err.text(), "");
}

#[test]
fn what_runs_now_is_listed() {
    let mut run = Run::new(NORMAL);
    run.start(1);
    run.after(61_000);
    run.start(2);
    run.write(2, Stream::Stdout, b"\x1b[1mhalf way\x1b[0m\n");
    run.show.running(run.now);
    run.show.tick(run.now);
    assert_eq!(
        run.err.text(),
        "tg: 2 jobs running\n  a  pid 101       1:01\n  b  pid 102       0:00  half way\n"
    );
}

#[test]
fn output_of_a_job_that_does_not_run_is_not_mixed_in() {
    let mut run = Run::new(NORMAL);
    run.write(9, Stream::Stdout, b"lost\n");
    assert_eq!(run.out.text(), "");
    assert_eq!(run.err.text(), "tg: warning: output of job 9, which does not run, is left out\n");
}
