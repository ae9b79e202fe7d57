//! The thread that owns standard output and standard error, and the handle to it.
//!
//! 1. What one task sends is shown in the order in which it was sent.
//! 2. At most [`CHANNEL`] messages wait; `event` and `output` wait for room.
//! 3. When [`Console::suspend`] or [`Console::lend_terminal`] returns, all that was sent before is written, and nothing
//!    of the live region is on the terminal; nothing is drawn until the counterpart is called.
//! 4. When standard output cannot be written to, the thread goes on and takes messages, so that no job is held up;
//!    [`Console::lost`] tells.
//! 5. The clock stands still between `suspend` and `resume`.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::{mpsc, oneshot, watch};

use super::live::Size;
use super::screen::{Screen, Sink};
use super::show::{FRAME, OutputMode, Show, ShowSettings, SizeOf};
use super::style::{ColorChoice, Style, is_dumb};
use crate::event::{Event, Stamp, Stream};

/// So many messages may wait.
const CHANNEL: usize = 64;

/// How to show a run, as the command line says it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConsoleSettings {
    pub(crate) output: OutputMode,
    pub(crate) json: bool,
    pub(crate) color: ColorChoice,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

/// The handle; a clone is the same console.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    sender: mpsc::Sender<Message>,
    clock: Arc<Clock>,
    lost: watch::Receiver<Option<Lost>>,
}

/// The thread, to be awaited at the very end.
#[derive(Debug)]
pub(crate) struct ConsoleThread {
    sender: mpsc::Sender<Message>,
    thread: JoinHandle<io::Result<()>>,
}

/// Why standard output takes nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Its reader has gone, as under `| head`.
    BrokenPipe,
    /// Another error, for instance a full disk.
    Failed(String),
}

#[derive(Debug)]
enum Message {
    Event(Event, Stamp),
    Output { job: usize, stream: Stream, bytes: Vec<u8>, stamp: Stamp },
    Running(Duration),
    Hide(oneshot::Sender<()>),
    Reveal,
    End,
}

impl Console {
    /// Takes over standard output and standard error.
    ///
    /// # Errors
    ///
    /// The streams cannot be duplicated, or no thread can be started.
    pub(crate) fn start(settings: ConsoleSettings) -> io::Result<(Console, ConsoleThread)> {
        let (out, err) = (io::stdout(), io::stderr());
        let out_sink =
            Sink::new(Box::new(Patient(File::from(out.as_fd().try_clone_to_owned()?))), out.is_terminal());
        let err_sink =
            Sink::new(Box::new(Patient(File::from(err.as_fd().try_clone_to_owned()?))), err.is_terminal());
        let (no_color, term) = (env::var_os("NO_COLOR"), env::var_os("TERM"));
        let color = |terminal: bool| Style {
            color: settings.color.resolve(terminal, no_color.as_deref(), term.as_deref()),
        };
        let show = ShowSettings {
            output: settings.output,
            json: settings.json,
            quiet: settings.quiet,
            verbose: settings.verbose,
            terminal: err.is_terminal(),
            live: err.is_terminal() && !is_dumb(term.as_deref()),
            out_style: color(out.is_terminal()),
            err_style: color(err.is_terminal()),
        };
        Console::with(Show::new(show, Screen::new(out_sink, err_sink), terminal_size()))
    }

    fn with(show: Show) -> io::Result<(Console, ConsoleThread)> {
        // The runtime is for waiting with a time limit; the thread may block on its streams, nobody shares it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let (lost_sender, lost) = watch::channel(None);
        let clock = Arc::new(Clock::start());
        let console = Console { sender: sender.clone(), clock: Arc::clone(&clock), lost };
        let thread = std::thread::Builder::new()
            .name("tg console".into())
            .spawn(move || runtime.block_on(serve(show, receiver, &clock, &lost_sender)))?;
        Ok((console, ConsoleThread { sender, thread }))
    }

    /// Shows an event; waits for room.
    pub(crate) async fn event(&self, event: Event) {
        self.send(Message::Event(event, self.stamp())).await;
    }

    /// Takes what the job of this number has written; waits for room. It comes after `JobStarted` and before
    /// `JobFinished` of its attempt.
    pub(crate) async fn output(&self, job: usize, stream: Stream, bytes: Vec<u8>) {
        self.send(Message::Output { job, stream, bytes, stamp: self.stamp() }).await;
    }

    /// Lists what runs now on standard error.
    pub(crate) async fn show_running(&self) {
        self.send(Message::Running(self.clock.elapsed())).await;
    }

    /// Before the program stops itself: the terminal is left clean, and the clock stands still.
    pub(crate) async fn suspend(&self) {
        self.event(Event::Suspended).await;
        self.clock.pause();
        self.lend_terminal().await;
    }

    /// The program goes on.
    pub(crate) async fn resume(&self) {
        self.clock.resume();
        self.take_back_terminal().await;
        self.event(Event::Resumed).await;
    }

    /// Before a job is started that owns the terminal: what was sent is written, nothing is drawn from here on.
    pub(crate) async fn lend_terminal(&self) {
        let (done, hidden) = oneshot::channel();
        self.send(Message::Hide(done)).await;
        // An error says that the thread has ended: then nothing is drawn either.
        let _ = hidden.await;
    }

    /// The counterpart of [`Console::lend_terminal`].
    pub(crate) async fn take_back_terminal(&self) {
        self.send(Message::Reveal).await;
    }

    /// Waits until standard output takes nothing any more; if that does not happen, for ever.
    pub(crate) async fn lost(&self) -> Lost {
        let mut lost = self.lost.clone();
        let seen = lost.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
        match seen {
            Some(lost) => lost,
            None => std::future::pending().await,
        }
    }

    /// The time since the start, without that spent suspended.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn stamp(&self) -> Stamp {
        Stamp { elapsed: self.clock.elapsed(), wall: SystemTime::now() }
    }

    async fn send(&self, message: Message) {
        // The thread ends at `join` only, or by a panic, which `join` passes on.
        let _ = self.sender.send(message).await;
    }
}

impl ConsoleThread {
    /// Waits until all that was sent before is written. After that, what clones of the handle send vanishes.
    ///
    /// # Errors
    ///
    /// Standard output could not be written to.
    ///
    /// # Panics
    ///
    /// If the thread has panicked.
    pub(crate) async fn join(self) -> io::Result<()> {
        let _ = self.sender.send(Message::End).await;
        self.sender.closed().await;
        // The receiver is dropped as the last thing the thread does: this does not hold up the runtime.
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

async fn serve(
    mut show: Show,
    mut receiver: mpsc::Receiver<Message>,
    clock: &Clock,
    lost: &watch::Sender<Option<Lost>>,
) -> io::Result<()> {
    let mut open = true;
    while open {
        let first = if show.is_live() {
            tokio::time::timeout(FRAME, receiver.recv()).await
        } else {
            Ok(receiver.recv().await)
        };
        if let Ok(first) = first {
            open = handle(&mut show, first.unwrap_or(Message::End));
        }
        for _ in 0..CHANNEL {
            let Ok(message) = receiver.try_recv() else { break };
            open = open && handle(&mut show, message);
        }
        show.tick(clock.elapsed());
        if let Some(error) = show.lost() {
            let why = why_lost(error);
            lost.send_if_modified(|lost| lost.is_none() && lost.replace(why).is_none());
        }
    }
    show.close();
    match show.lost() {
        Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
        None => Ok(()),
    }
}

/// Whether to go on.
fn handle(show: &mut Show, message: Message) -> bool {
    match message {
        Message::Event(event, stamp) => show.event(&event, stamp),
        Message::Output { job, stream, bytes, stamp } => show.output(job, stream, &bytes, stamp),
        Message::Running(now) => show.running(now),
        Message::Hide(done) => {
            show.hide();
            // Whoever asked may have been cut meanwhile.
            let _ = done.send(());
        }
        Message::Reveal => show.reveal(),
        Message::End => return false,
    }
    true
}

fn why_lost(error: &io::Error) -> Lost {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Lost::BrokenPipe,
        _ => Lost::Failed(error.to_string()),
    }
}

fn terminal_size() -> SizeOf {
    Box::new(|| {
        let (columns, rows) = terminal_size::terminal_size_of(io::stderr())?;
        // A terminal that was given no size says zero.
        (columns.0 > 0 && rows.0 > 0).then(|| Size { columns: columns.0.into(), rows: rows.0.into() })
    })
}

/// A stream that may be non-blocking, because somebody else who has it open made it so: waits where others fail.
struct Patient(File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The time since the start of the run, without that spent suspended.
#[derive(Debug)]
struct Clock {
    state: Mutex<ClockState>,
}

#[derive(Debug)]
struct ClockState {
    /// The start, later by all the time spent suspended.
    started: Instant,
    paused: Option<Instant>,
}

impl Clock {
    fn start() -> Clock {
        Clock { state: Mutex::new(ClockState { started: Instant::now(), paused: None }) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut ClockState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn elapsed(&self) -> Duration {
        self.with(|state| state.paused.unwrap_or_else(Instant::now).saturating_duration_since(state.started))
    }

    fn pause(&self) {
        self.with(|state| state.paused.get_or_insert_with(Instant::now).to_owned());
    }

    fn resume(&self) {
        self.with(|state| {
            if let Some(paused) = state.paused.take() {
                state.started += paused.elapsed();
            }
        });
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
