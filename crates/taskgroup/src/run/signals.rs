//! Where the signals come from: the system, and futures that stand for one.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use super::alarm::{Alarm, Event};
use crate::tree::Signal;

/// A future that stands for a signal.
pub(super) type StopOn = Pin<Box<dyn Future<Output = Signal> + Send>>;

/// Gives one signal after the other.
pub(super) struct Signals {
    system: Vec<Stream>,
    others: Vec<StopOn>,
}

impl Signals {
    /// The signals of the system. From the moment this returns none of them is lost.
    pub(super) fn of_system(mut refused: impl FnMut(Signal, io::Error)) -> Self {
        let mut system = Vec::new();
        for signal in Stream::ALL {
            match Stream::open(signal) {
                Ok(stream) => system.push(stream),
                Err(error) => refused(signal, error),
            }
        }
        Self { system, others: Vec::new() }
    }

    /// None of the system's.
    pub(super) fn none() -> Self {
        Self { system: Vec::new(), others: Vec::new() }
    }

    pub(super) fn add(&mut self, others: Vec<StopOn>) {
        self.others.extend(others);
    }

    /// The next signal. `alarm` goes off when one of the system's has come and nobody polls here.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, mut alarm: Option<&mut Alarm>) -> Poll<Signal> {
        for stream in &mut self.system {
            let rung = alarm.as_mut().map(|alarm| alarm.waker(Event::Received(stream.signal), cx.waker()));
            let mut cx = Context::from_waker(rung.as_ref().unwrap_or(cx.waker()));
            if stream.poll_next(&mut cx).is_ready() {
                return Poll::Ready(stream.signal);
            }
        }
        for (place, other) in self.others.iter_mut().enumerate() {
            if let Poll::Ready(signal) = other.as_mut().poll(cx) {
                drop(self.others.swap_remove(place));
                return Poll::Ready(signal);
            }
        }
        Poll::Pending
    }

    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|cx| self.poll_next(cx, None)).await
    }
}

/// Polls without tokio's budget: a body that uses all of its own in each poll must not keep signals away.
pub(super) fn poll_unbudgeted<R>(
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    pin!(tokio::task::coop::unconstrained(poll_fn(|cx| poll(cx)))).poll(cx)
}

/// One signal of the system.
struct Stream {
    signal: Signal,
    inner: Inner,
}

#[cfg(unix)]
type Inner = tokio::signal::unix::Signal;

#[cfg(unix)]
impl Stream {
    const ALL: [Signal; 2] = [Signal::Interrupt, Signal::Terminate];

    fn open(signal: Signal) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal as listen};
        let kind = match signal {
            Signal::Interrupt => SignalKind::interrupt(),
            Signal::Terminate => SignalKind::terminate(),
        };
        Ok(Self { signal, inner: guarded(|| listen(kind))? })
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.inner.poll_recv(cx) {
            Poll::Ready(Some(())) => Poll::Ready(()),
            // `None`: there is nothing to come any more.
            _ => Poll::Pending,
        }
    }
}

#[cfg(not(unix))]
type Inner = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

#[cfg(not(unix))]
impl Stream {
    const ALL: [Signal; 1] = [Signal::Interrupt];

    fn open(signal: Signal) -> io::Result<Self> {
        let mut stream = Self { signal, inner: Box::pin(tokio::signal::ctrl_c()) };
        // Its first poll is what installs it.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match guarded(|| Ok(stream.inner.as_mut().poll(&mut cx)))? {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(stream),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.inner.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => {
                self.inner = Box::pin(tokio::signal::ctrl_c());
                Poll::Ready(())
            }
            Poll::Ready(Err(_)) => {
                self.inner = Box::pin(std::future::pending());
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// tokio panics where the runtime was built without its driver: to us that is one more reason why a signal
/// cannot be heard.
fn guarded<R>(listen: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(listen))
        .unwrap_or_else(|_| Err(io::Error::other("this runtime was built without `enable_io`")))
}
