use super::super::testing::{Output, finished, job};
use super::*;
use crate::event::{Counts, Outcome};

fn started(jobs: usize) -> Event {
    Event::RunStarted { jobs: Some(jobs), limit: None }
}

fn console(settings: ShowSettings, out: &Output, err: &Output) -> (Console, ConsoleThread) {
    let screen =
        Screen::new(Sink::new(out.writer(), settings.terminal), Sink::new(err.writer(), settings.terminal));
    let size = || Some(Size { columns: 80, rows: 24 });
    Console::with(Show::new(settings, screen, Box::new(size))).unwrap()
}

async fn start_job(console: &Console, number: usize) {
    console.event(Event::JobStarted { job: job(number, "a"), attempt: 1, pid: 1 }).await;
}

#[tokio::test]
async fn all_that_was_sent_is_written_when_join_returns() {
    let (out, err) = (Output::default(), Output::default());
    let (console, thread) = console(ShowSettings::default(), &out, &err);
    console.event(started(2)).await;
    start_job(&console, 1).await;
    for _ in 0..1000 {
        console.output(1, Stream::Stdout, vec![b'x'; 1000]).await;
    }
    console.event(finished(&job(1, "a"), Outcome::Succeeded)).await;
    thread.join().await.unwrap();
    assert_eq!(out.all().len(), 1_000_000);
    // A clone that is used later is not waited for, nor does it panic.
    console.event(started(1)).await;
    console.suspend().await;
}

#[tokio::test]
async fn a_closed_pipe_is_told_and_jobs_are_not_held_up() {
    let (out, err) = (Output::closed(), Output::default());
    let settings = ShowSettings { output: OutputMode::Raw, ..ShowSettings::default() };
    let (console, thread) = console(settings, &out, &err);
    console.event(started(2)).await;
    start_job(&console, 1).await;
    console.output(1, Stream::Stdout, b"one\n".to_vec()).await;
    assert_eq!(console.lost().await, Lost::BrokenPipe);
    for _ in 0..10 * CHANNEL {
        console.output(1, Stream::Stdout, b"more\n".to_vec()).await;
    }
    assert_eq!(console.lost().await, Lost::BrokenPipe);
    assert_eq!(thread.join().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn the_terminal_is_clean_when_suspend_returns() {
    let output = Output::default();
    let settings =
        ShowSettings { output: OutputMode::Prefix, terminal: true, live: true, ..ShowSettings::default() };
    let (console, thread) = console(settings, &output, &output);
    console.event(started(2)).await;
    start_job(&console, 1).await;
    console.output(1, Stream::Stdout, b"one\n".to_vec()).await;
    console.suspend().await;
    assert_eq!(output.screen(), ["a | one"]);
    assert_eq!(output.cursor(), (1, 0));
    let suspended_at = console.elapsed();
    assert_eq!(console.elapsed(), suspended_at);
    console.resume().await;
    let counts = Counts { succeeded: 1, ..Counts::default() };
    console.event(Event::RunFinished { exit_code: 0, elapsed: Duration::ZERO, counts }).await;
    thread.join().await.unwrap();
    assert_eq!(output.screen(), ["a | one"]);
}

#[test]
fn the_clock_stands_still_while_suspended() {
    let clock = Clock::start();
    clock.pause();
    let paused = clock.elapsed();
    clock.pause();
    assert_eq!(clock.elapsed(), paused);
    clock.with(|state| state.paused = state.paused.map(|at| at - Duration::from_secs(10)));
    clock.resume();
    clock.resume();
    // Ten seconds of the pause are not in it; what is left is the time of this test.
    assert!(clock.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_pipe_that_is_full_and_does_not_block_is_waited_for() {
    use std::io::Read;

    let (mut reader, writer) = io::pipe().unwrap();
    let writer = std::os::fd::OwnedFd::from(writer);
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let bytes: Vec<u8> = (0..1_000_000).map(|index| (index % 251) as u8).collect();
    let written = std::thread::spawn({
        let bytes = bytes.clone();
        move || Patient(File::from(writer)).write_all(&bytes).unwrap()
    });
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    written.join().unwrap();
    assert!(read == bytes);
}
