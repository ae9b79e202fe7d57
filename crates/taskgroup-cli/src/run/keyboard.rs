//! The key `t`: shows what runs now.
//!
//! While the terminal is `tg`'s, keys come one by one and are not shown; Ctrl-C and the like stay what they are. The modes are
//! put back when this is dropped, and while the terminal is somebody else's. Keys are read by a thread of their own, which looks
//! four times a second whether it is still wanted: a terminal takes no other way of waiting without being changed for all who use it.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use super::terminal;

/// How long the thread waits for a key before it looks whether it is wanted.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The keyboard, if there is one.
pub(super) struct Keyboard(Option<Open>);

struct Open {
    terminal: File,
    /// The modes from before.
    modes: Termios,
    wanted: Arc<Wanted>,
    keys: mpsc::Receiver<()>,
}

/// What the thread looks at. Relaxed: a look that comes too late sees it the next time.
#[derive(Default)]
struct Wanted {
    is_over: AtomicBool,
    is_ours: AtomicBool,
}

impl Keyboard {
    /// None at all unless `is_wanted` and `tg` is in the foreground of a terminal.
    pub(super) fn new(is_wanted: bool) -> Self {
        let open = || {
            let terminal = terminal::file().ok().filter(terminal::is_ours)?;
            let modes = tcgetattr(&terminal).ok()?;
            let (wanted, theirs) = (Arc::new(Wanted::default()), terminal.try_clone().ok()?);
            let (sender, keys) = mpsc::channel(1);
            let shared = Arc::clone(&wanted);
            let thread = std::thread::Builder::new().name("tg keys".into());
            thread.spawn(move || read_keys(theirs, &shared, &sender)).ok()?;
            Some(Open { terminal, modes, wanted, keys })
        };
        let mut this = Self(if is_wanted { open() } else { None });
        this.take();
        this
    }

    /// Makes keys come one by one, if the terminal is `tg`'s.
    pub(super) fn take(&mut self) {
        let Some(open) = &mut self.0 else { return };
        if open.wanted.is_ours.load(Ordering::Relaxed) || !terminal::is_ours(&open.terminal) {
            return;
        }
        let mut modes = open.modes.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        let is_taken = tcsetattr(&open.terminal, OptionalActions::Now, &modes).is_ok();
        open.wanted.is_ours.store(is_taken, Ordering::Relaxed);
    }

    /// Puts the modes back.
    pub(super) fn leave(&mut self) {
        let Some(open) = &mut self.0 else { return };
        if open.wanted.is_ours.swap(false, Ordering::Relaxed) && terminal::is_ours(&open.terminal) {
            // A terminal that is gone has no modes.
            let _ = tcsetattr(&open.terminal, OptionalActions::Now, &open.modes);
        }
    }

    /// Until somebody presses `t`. Cancel safe.
    pub(super) async fn asked(&mut self) {
        let is_asked = match &mut self.0 {
            Some(open) => open.keys.recv().await.is_some(),
            None => false,
        };
        if !is_asked {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.leave();
        if let Some(open) = &self.0 {
            open.wanted.is_over.store(true, Ordering::Relaxed);
        }
    }
}

fn read_keys(mut terminal: File, wanted: &Wanted, keys: &mpsc::Sender<()>) {
    while !wanted.is_over.load(Ordering::Relaxed) {
        let ready = poll(&mut [PollFd::new(&terminal, PollFlags::IN)], Some(&LOOK));
        if !matches!(ready, Ok(1..)) {
            continue;
        }
        // Reading from a terminal that is somebody else's would stop this process.
        if !wanted.is_ours.load(Ordering::Relaxed) || !terminal::is_ours(&terminal) {
            std::thread::sleep(std::time::Duration::from_millis(250));
            continue;
        }
        let mut key = [0; 1];
        match terminal.read(&mut key) {
            // Who presses it again before it was heeded gets one answer.
            Ok(1) if key == *b"t" => drop(keys.try_send(())),
            Ok(1) => {}
            _ => return,
        }
    }
}
