//! What ends the process where nothing else can: code that blocks the thread it runs on.
//!
//! # Invariants
//!
//! 1. A watchdog ends the process, unless it is called off: by dropping it. Before it does so it waits for
//!    its patience, which a signal cuts short, and then for [`FORCED_MAX`], which another signal cuts short.
//! 2. It hears every signal that comes after `start` has returned (if it may hear any), whatever the
//!    program's own runtime does: it has a thread and a runtime of its own.
//! 3. An alarm starts a watchdog *before* it wakes the supervisor, and the supervisor calls it off whenever
//!    it is polled. So one is left only where the supervisor is not polled any more.
//! 4. Neither exists before the first signal comes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use super::signals::Signals;
use super::{FORCED_MAX, Voice, code_of};
use crate::tree::Signal;

/// Whether a watchdog may listen for signals: the program may have said to leave them alone.
#[derive(Clone, Copy)]
pub(super) enum Hears {
    Signals,
    Nothing,
}

/// Ends the process with the code of a signal (invariant 1).
pub(super) struct Watchdog {
    _called_off: oneshot::Sender<()>,
}

impl Watchdog {
    /// `None`: there is no thread to be had, and nothing to be done about it.
    pub(super) fn start(signal: Signal, patience: Duration, hears: Hears, voice: Voice) -> Option<Self> {
        Handle::try_current().ok()?;
        let signals = match hears {
            Hears::Signals => Signals::of_system(|_, _| {}),
            Hears::Nothing => Signals::none(),
        };
        let (sender, called_off) = oneshot::channel();
        let watch = move || {
            let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
            if runtime.block_on(bites(signals, patience, called_off)) {
                voice.say(format_args!(
                    "{signal}: something blocks its thread and cannot be ended: the process exits"
                ));
                process::exit(i32::from(code_of(signal)));
            }
        };
        std::thread::Builder::new().name("taskgroup-stop".to_owned()).spawn(watch).ok()?;
        Some(Self { _called_off: sender })
    }
}

/// Whether the time runs out before the watchdog is called off.
async fn bites(mut signals: Signals, patience: Duration, called_off: oneshot::Receiver<()>) -> bool {
    let wait = async {
        for time in [patience, FORCED_MAX] {
            let _cut_short_or_not = tokio::time::timeout(time, signals.next()).await;
        }
    };
    let (mut wait, mut called_off) = (pin!(wait), pin!(called_off));
    poll_fn(|cx| match called_off.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(false),
        Poll::Pending => wait.as_mut().poll(cx).map(|()| true),
    })
    .await
}

/// What wakes the supervisor, and must not rely on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Received(Signal),
    GraceOver,
}

/// Notices that something has happened and the supervisor is not polled (invariant 3).
pub(super) struct Alarm {
    shared: Arc<Shared>,
    grace: Duration,
    /// The first signal, once it has come.
    stopped_by: Option<Signal>,
    /// The alarm's waker for each event, and the supervisor's that it wakes.
    wakers: Vec<(Event, Waker, Waker)>,
}

struct Shared {
    voice: Voice,
    watchdog: Mutex<Option<Watchdog>>,
}

struct Bell {
    shared: Arc<Shared>,
    /// By this signal, after this time, where the supervisor is not polled.
    signal: Signal,
    patience: Duration,
    supervisor: Waker,
}

impl Alarm {
    pub(super) fn new(grace: Duration, voice: Voice) -> Self {
        let shared = Arc::new(Shared { voice, watchdog: Mutex::new(None) });
        Self { shared, grace, stopped_by: None, wakers: Vec::new() }
    }

    /// The supervisor has seen the first signal. All wakers are to be asked for anew.
    pub(super) fn begin(&mut self, signal: Signal) {
        self.stopped_by = Some(signal);
        self.wakers.clear();
    }

    /// A waker for this event.
    pub(super) fn waker(&mut self, event: Event, supervisor: &Waker) -> Waker {
        let known = self.wakers.iter().position(|(of, ..)| *of == event);
        if let Some(known) = known {
            let (_, wakes, waker) = &self.wakers[known];
            if wakes.will_wake(supervisor) {
                return waker.clone();
            }
            self.wakers.swap_remove(known);
        }
        // A second signal means as little patience as the end of the grace period.
        let (signal, patience) = match (self.stopped_by, event) {
            (None, Event::Received(signal)) => (signal, self.grace),
            (Some(signal), _) => (signal, Duration::ZERO),
            (None, Event::GraceOver) => unreachable!("it is counted from the first signal"),
        };
        let shared = Arc::clone(&self.shared);
        let bell = Bell { shared, signal, patience, supervisor: supervisor.clone() };
        let waker = Waker::from(Arc::new(bell));
        self.wakers.push((event, supervisor.clone(), waker.clone()));
        waker
    }

    /// The supervisor is being polled.
    pub(super) fn call_off(&self) {
        let watchdog = lock(&self.shared.watchdog).take();
        drop(watchdog);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let watchdog = Watchdog::start(self.signal, self.patience, Hears::Signals, self.shared.voice);
        let before = std::mem::replace(&mut *lock(&self.shared.watchdog), watchdog);
        self.supervisor.wake_by_ref();
        drop(before);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
