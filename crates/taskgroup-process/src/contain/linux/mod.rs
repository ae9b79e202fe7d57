//! Containment on Linux: a keeper for each command.
//!
//! | module | does |
//! |---|---|
//! | [`launch`] | forks the keeper from the program |
//! | [`exec`] | starts the command from the keeper |
//! | [`keeper`] | the keeper's life: a state machine over orders, ends and time |
//! | [`set`] | who belongs to the command, and how they are signalled |
//! | [`proc`], [`sys`] | `/proc` and the system calls |
//! | [`wire`] | what keeper and program say to each other |
//! | [`orphans`] | what is left when a keeper is killed |

mod exec;
mod keeper;
mod launch;
mod orphans;
mod proc;
mod set;
mod sys;
mod wire;

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use self::exec::Image;
use self::wire::{NOTICE, Order};
use super::{Notice, Refused, Spec, Tally};

use self::orphans::MARK;

/// How long `drop` waits for processes that were sent SIGKILL.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// Makes this program the one to which orphans come when a keeper is killed.
pub(crate) fn install() -> bool {
    orphans::install()
}

/// A command that runs, with its keeper.
#[derive(Debug)]
pub(crate) struct Contained {
    keeper: i32,
    stream: UnixStream,
    /// The leader.
    pid: u32,
    mark: String,
    notice: [u8; NOTICE],
    filled: usize,
    /// The keeper has ended and has been reaped.
    is_over: bool,
}

impl Contained {
    /// Starts it.
    pub(crate) async fn start(spec: Spec) -> Result<Self, Refused> {
        // Relaxed: only to be different each time.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mark = format!("{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let grace = millis(spec.grace);
        let image = image(spec, &mark)?;
        let (keeper, stream) =
            orphans::with_keeper(|| launch::launch(&image, grace)).map_err(Refused::keeper)?;
        drop(image);
        let stream = UnixStream::from_std(stream);
        let mut this = match stream {
            Ok(stream) => {
                Self { keeper, stream, pid: 0, mark, notice: [0; NOTICE], filled: 0, is_over: false }
            }
            Err(error) => {
                orphans::forget_keeper(keeper);
                return Err(Refused::keeper(error));
            }
        };
        match this.read().await {
            Some((wire::Notice::Started { pid }, _)) => {
                this.pid = pid;
                Ok(this)
            }
            Some((wire::Notice::Refused { errno, directory }, _)) => {
                this.reap().await;
                Err(Refused { error: io::Error::from_raw_os_error(errno), directory })
            }
            _ => {
                this.reap().await;
                Err(Refused::keeper(io::Error::other(
                    "the keeper was killed before it had started the command",
                )))
            }
        }
    }

    /// The pid of the leader.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What happens next. After [`Notice::Empty`] nothing more does. Cancel safe.
    pub(crate) async fn next(&mut self) -> Notice {
        loop {
            let Some((notice, text)) = self.read().await else {
                return Notice::Empty(self.lost().await);
            };
            match notice {
                wire::Notice::Stopped { signal } => return Notice::Stopped { signal },
                wire::Notice::LeaderEnded { status } => return Notice::LeaderEnded { status },
                wire::Notice::Leaked { pid } => return Notice::Leaked { pid, command: text },
                wire::Notice::Empty(tally) => {
                    self.reap().await;
                    return Notice::Empty(tally_of(tally));
                }
                wire::Notice::Started { .. } | wire::Notice::Refused { .. } => {}
            }
        }
    }

    pub(crate) fn terminate(&self, grace: Duration) {
        self.order(Order::Terminate { grace: millis(grace) });
    }

    pub(crate) fn kill(&self) {
        self.order(Order::Kill);
    }

    pub(crate) fn suspend(&self) {
        self.order(Order::Suspend);
    }

    pub(crate) fn resume(&self) {
        self.order(Order::Resume);
    }

    fn order(&self, order: Order) {
        if !self.is_over {
            sys::send(self.stream.as_raw_fd(), &order.to_bytes());
        }
    }

    /// The next notice; `None` when the keeper is gone.
    async fn read(&mut self) -> Option<(wire::Notice, String)> {
        while self.filled < NOTICE {
            match self.stream.read(&mut self.notice[self.filled..]).await {
                Ok(read) if read > 0 => self.filled += read,
                _ => return None,
            }
        }
        self.filled = 0;
        let (notice, text) = wire::Notice::from_bytes(&self.notice)?;
        Some((notice, String::from_utf8_lossy(text).into_owned()))
    }

    /// Waits for the end of a keeper that has said its last word.
    async fn reap(&mut self) {
        let mut rest = [0; NOTICE];
        while matches!(self.stream.read(&mut rest).await, Ok(read) if read > 0) {}
        if !self.is_over {
            self.forget();
        }
    }

    /// Reaps the keeper; says whether it has ended by itself.
    fn forget(&mut self) -> bool {
        self.is_over = true;
        orphans::forget_keeper(self.keeper)
    }

    /// The keeper was killed: ends what it has left behind.
    async fn lost(&mut self) -> Tally {
        self.forget();
        let mark = self.mark.clone();
        let killed = tokio::task::spawn_blocking(move || orphans::end(&mark)).await.unwrap_or(0);
        Tally { is_lost: true, killed: u32::try_from(killed).unwrap_or(u32::MAX), ..Tally::default() }
    }
}

impl Drop for Contained {
    /// Kills everything and waits for it (R2).
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.kill();
        let fd = self.stream.as_raw_fd();
        let limit = sys::now().saturating_add(millis(DROP_LIMIT));
        let mut bytes = [0; NOTICE];
        loop {
            let rest = limit.saturating_sub(sys::now());
            match sys::wait_readable(fd, -1, Some(rest)) {
                (true, _) => match sys::read(fd, &mut bytes) {
                    Some(0) => break,
                    Some(_) => {}
                    None if sys::errno() == libc::EINTR || sys::errno() == libc::EAGAIN => {}
                    None => break,
                },
                _ if rest == 0 => {
                    crate::log::cannot_end(self.pid);
                    return;
                }
                _ => {}
            }
        }
        if !self.forget() {
            orphans::end(&self.mark);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn tally_of(tally: wire::Tally) -> Tally {
    Tally {
        status: Some(tally.status),
        user: Duration::from_micros(tally.user),
        system: Duration::from_micros(tally.system),
        max_rss: tally.max_rss.saturating_mul(1024),
        terminated: tally.terminated,
        killed: tally.killed,
        survivors: tally.survivors,
        is_lost: false,
    }
}

/// Puts together what the new process needs, which must not be allocated later.
fn image(spec: Spec, mark: &str) -> Result<Image, Refused> {
    let text = |text: OsString| CString::new(text.into_vec()).map_err(|error| Refused::input(error.into()));
    let arguments = spec.arguments.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let mut environment = Vec::with_capacity(spec.environment.len() + 1);
    let mut marks = OsString::new();
    for (name, value) in spec.environment {
        if name == MARK {
            marks = value;
            marks.push("/");
            continue;
        }
        let mut variable = name;
        variable.push("=");
        variable.push(value);
        environment.push(text(variable)?);
    }
    let mut variable = OsString::from(format!("{MARK}="));
    variable.push(marks);
    variable.push(mark);
    environment.push(text(variable)?);
    let directory = spec.directory.map(|directory| text(directory.into_os_string())).transpose()?;
    let [stdin, stdout, stderr] =
        spec.streams.map(|stream: OwnedFd| launch::above_standard(stream).map_err(Refused::keeper));
    let terminal = spec.terminal.map(launch::above_standard).transpose().map_err(Refused::keeper)?;
    let program = text(spec.program.into_os_string())?;
    Ok(Image::new(program, arguments, environment, directory, [stdin?, stdout?, stderr?], terminal))
}
