//! The signals that a run answers to.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that a run answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To end: the signal's number.
    End(i32),
    /// To stand still (Ctrl-Z).
    Suspend,
    /// To go on.
    Continue,
    /// To show what runs.
    Show,
}

/// The signals, as they come.
pub(super) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hang_up: Option<Signal>,
    quit: Option<Signal>,
    suspend: Option<Signal>,
    resume: Option<Signal>,
    show: Option<Signal>,
}

impl Signals {
    /// What was ignored when `tg` was started stays so (`nohup`, a shell's background job).
    pub(super) fn new() -> io::Result<Self> {
        let ignored = ignored();
        let heeded = |number: i32| {
            let is_ignored = ignored >> (number - 1) & 1 == 1;
            (!is_ignored).then(|| signal(SignalKind::from_raw(number))).transpose()
        };
        Ok(Self {
            interrupt: heeded(libc::SIGINT)?,
            terminate: heeded(libc::SIGTERM)?,
            hang_up: heeded(libc::SIGHUP)?,
            quit: heeded(libc::SIGQUIT)?,
            suspend: heeded(libc::SIGTSTP)?,
            resume: heeded(libc::SIGCONT)?,
            show: heeded(libc::SIGUSR1)?,
        })
    }

    /// The next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            () = received(&mut self.interrupt) => Asked::End(libc::SIGINT),
            () = received(&mut self.terminate) => Asked::End(libc::SIGTERM),
            () = received(&mut self.hang_up) => Asked::End(libc::SIGHUP),
            () = received(&mut self.quit) => Asked::End(libc::SIGQUIT),
            () = received(&mut self.suspend) => Asked::Suspend,
            () = received(&mut self.resume) => Asked::Continue,
            () = received(&mut self.show) => Asked::Show,
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    let gone = match signal {
        Some(signal) => signal.recv().await.is_none(),
        None => true,
    };
    if gone {
        std::future::pending::<()>().await;
    }
}

/// The signals that are ignored, one bit each, the first at the right.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
