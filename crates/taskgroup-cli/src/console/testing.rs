//! Writers in memory, and a terminal to read them with.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::screen::{Screen, Sink};
use crate::event::{Event, JobInfo, Outcome, Signalled, Usage};

/// What was written; a clone shares it.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    closed: bool,
    rows: u16,
    columns: u16,
}

impl Default for Output {
    fn default() -> Output {
        Output { bytes: Arc::default(), closed: false, rows: 24, columns: 80 }
    }
}

impl Output {
    /// A pipe that nobody reads.
    pub(crate) fn closed() -> Output {
        Output { closed: true, ..Output::default() }
    }

    pub(crate) fn writer(&self) -> Box<dyn Write + Send> {
        Box::new(self.clone())
    }

    pub(crate) fn all(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.all()).unwrap()
    }

    fn terminal(&self) -> vt100::Parser {
        let mut terminal = vt100::Parser::new(self.rows, self.columns, 0);
        // The line discipline puts a carriage return before each newline.
        for line in self.all().split_inclusive(|byte| *byte == b'\n') {
            let (line, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |line| (line, b"\r\n"));
            terminal.process(line);
            terminal.process(end);
        }
        terminal
    }

    /// What a terminal would show, without empty rows at the end.
    pub(crate) fn screen(&self) -> Vec<String> {
        let contents = self.terminal().screen().rows(0, self.columns).collect::<Vec<_>>();
        let used = contents.iter().rposition(|row| !row.trim().is_empty()).map_or(0, |last| last + 1);
        contents.into_iter().take(used).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Row and column of the cursor.
    pub(crate) fn cursor(&self) -> (u16, u16) {
        self.terminal().screen().cursor_position()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn terminal() -> (Output, Screen) {
    terminal_of_size(24, 80)
}

pub(crate) fn terminal_of_size(rows: u16, columns: u16) -> (Output, Screen) {
    let output = Output { rows, columns, ..Output::default() };
    let screen = Screen::new(Sink::new(output.writer(), true), Sink::new(output.writer(), true));
    (output, screen)
}

pub(crate) fn job(number: usize, name: &str) -> Arc<JobInfo> {
    let command = format!("run {name}").into();
    Arc::new(JobInfo { number, name: name.into(), command, dir: None, input: None, tty: false })
}

/// The end of a first attempt that took 1.2 seconds.
pub(crate) fn finished(job: &Arc<JobInfo>, outcome: Outcome) -> Event {
    Event::JobFinished {
        job: Arc::clone(job),
        attempt: 1,
        outcome,
        elapsed: Duration::from_millis(1200),
        usage: Usage::default(),
        signalled: Signalled::default(),
        leaks: Vec::new(),
        will_retry_in: None,
    }
}
