//! Containment on Linux: a keeper for each command.
//!
//! | module | does |
//! |---|---|
//! | [`pool`] | the keepers of the program, and which are idle |
//! | [`standing`] | what a keeper has from the program: user, rights, limits |
//! | [`launch`] | forks a keeper from the program |
//! | [`image`] | what the keeper is told to start |
//! | [`cgroup`] | the cgroup of a command that has one |
//! | [`exec`] | starts the command from the keeper |
//! | [`init`], [`denied`] | process 1 of the namespace of a command that is isolated; why there is none |
//! | [`keeper`] | the keeper's life: a state machine over orders, ends and time |
//! | [`set`] | who belongs to the command, and how they are signalled |
//! | [`proc`], [`sys`] | `/proc` and the system calls |
//! | [`wire`] | what keeper and program say to each other |
//! | [`orphans`] | what is left when a keeper is killed |

mod cgroup;
mod denied;
mod exec;
mod image;
mod init;
mod keeper;
mod launch;
mod orphans;
mod pool;
mod proc;
mod set;
mod standing;
mod sys;
mod wire;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use self::cgroup::Group;
use self::pool::{Idle, User};
use self::standing::Standing;
use self::wire::{NOTICE, Order, Step};
use super::{Notice, Refused, Spec, Tally};

/// How long `drop` waits for processes that were sent SIGKILL.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// A keeper finds its processes there.
const NO_PROC: &str = "/proc, with the processes of this system, is not mounted";

/// So are the processes of a program that was isolated itself.
const OTHER_PROC: &str = "/proc is not of this program's PID namespace (is the program isolated itself?), and commands are found there";

/// Makes this program the one to which orphans come when a keeper is killed.
pub(crate) fn install() -> bool {
    orphans::install()
}

/// A command that runs, with its keeper.
#[derive(Debug)]
pub(crate) struct Contained {
    keeper: i32,
    /// `None` when the keeper has been given back, or has been reaped.
    stream: Option<UnixStream>,
    standing: Option<Standing>,
    user: User,
    /// The leader.
    pid: u32,
    mark: String,
    /// The init of its namespace, if it is isolated, and the time of that one's start.
    init: Option<(i32, u64)>,
    group: Option<Arc<Group>>,
    notice: [u8; NOTICE],
    filled: usize,
    /// The keeper was killed, and what it has left behind has not been ended yet.
    has_orphans: bool,
}

impl Contained {
    /// Starts it.
    pub(crate) async fn start(spec: Spec) -> Result<Self, Refused> {
        // Relaxed: only to be different each time.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Pids are used again, and what was marked may be alive, kept by nobody: the time of the program's start tells them apart.
        static STARTED: OnceLock<u64> = OnceLock::new();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let started = match STARTED.get() {
            Some(started) => *started,
            None => {
                let started = own_start().map_err(Refused::because)?;
                *STARTED.get_or_init(|| started)
            }
        };
        let mark = format!("{}-{started}.{number}", std::process::id());
        let group = spec.cgroup.as_ref().map(|folder| Group::within(folder, &mark));
        let mut group = group.transpose().map_err(Refused::because)?;
        let image = image::write(&spec, &mark, group.as_ref().map(Group::path)).map_err(Refused::because)?;
        let folder =
            OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(".").map_err(Refused::because)?;
        let mut files = vec![image.as_raw_fd(), folder.as_raw_fd()];
        files.extend(spec.streams.iter().chain(&spec.terminal).map(AsRawFd::as_raw_fd));
        let order = Order::Launch { terminal: spec.terminal.is_some() };
        let mut user = User::new();
        loop {
            let standing = Standing::read().map_err(Refused::because)?;
            let waiting = user.take(&standing);
            let is_new = waiting.is_none();
            let keeper = waiting.map_or_else(|| user.make(standing), Ok).map_err(Refused::because)?;
            let mut this = Self::with(keeper, user, mark.clone())?;
            this.wake();
            let sent = sys::send_with_files(this.fd(), &order.to_bytes(), &files);
            let unsent = io::Error::last_os_error();
            let answer = if sent { this.read().await } else { None };
            // It may have started the command before it was killed.
            this.has_orphans = sent && answer.is_none();
            match answer {
                Some((wire::Notice::Started { pid, init }, _)) => {
                    this.pid = pid;
                    this.group = group.take().map(Arc::new);
                    let init = init as i32;
                    this.init =
                        if init == 0 { None } else { proc::stat(init).map(|stat| (init, stat.started)) };
                    return Ok(this);
                }
                Some((wire::Notice::Refused { errno, step }, _)) => {
                    this.give_back();
                    return Err(refused(errno, step));
                }
                // It was killed; but it may have started the command before it could say so.
                _ if is_new => {
                    let error = if sent { io::Error::other("its keeper was killed at once") } else { unsent };
                    this.lost().await;
                    return Err(Refused::because(error));
                }
                // One that has waited may have been killed meanwhile.
                _ => {
                    this.lost().await;
                    if let Some(group) = &group {
                        group.kill();
                    }
                    user = User::new();
                }
            }
        }
    }

    fn with(keeper: Idle, user: User, mark: String) -> Result<Self, Refused> {
        let Idle { pid: keeper, stream, standing } = keeper;
        match UnixStream::from_std(stream) {
            Ok(stream) => {
                let (stream, notice) = (Some(stream), [0; NOTICE]);
                let standing = Some(standing);
                Ok(Self {
                    keeper,
                    stream,
                    standing,
                    user,
                    pid: 0,
                    mark,
                    init: None,
                    group: None,
                    notice,
                    filled: 0,
                    has_orphans: false,
                })
            }
            Err(error) => {
                pool::reap(keeper);
                Err(Refused::because(error))
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
                    if tally.survivors > 0 {
                        self.forget();
                    } else {
                        self.give_back();
                    }
                    return Notice::Empty(tally_of(tally));
                }
                wire::Notice::Started { .. } | wire::Notice::Refused { .. } => {}
            }
        }
    }

    pub(crate) fn terminate(&self, grace: Duration) {
        self.wake();
        self.order(Order::Terminate { grace: millis(grace) });
    }

    pub(crate) fn kill(&self) {
        self.wake();
        self.order(Order::Kill);
    }

    pub(crate) fn suspend(&self) {
        self.order(Order::Suspend);
    }

    pub(crate) fn resume(&self) {
        self.order(Order::Resume);
    }

    /// Somebody may have stopped the keeper.
    fn wake(&self) {
        if self.stream.is_some() {
            pool::wake(self.keeper);
        }
    }

    fn order(&self, order: Order) {
        if self.stream.is_some() {
            sys::send(self.fd(), &order.to_bytes());
        }
    }

    /// The stream's; -1 when there is none.
    fn fd(&self) -> RawFd {
        self.stream.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// The next notice; `None` when the keeper is gone.
    async fn read(&mut self) -> Option<(wire::Notice, String)> {
        let stream = self.stream.as_mut()?;
        while self.filled < NOTICE {
            match stream.read(&mut self.notice[self.filled..]).await {
                Ok(read) if read > 0 => self.filled += read,
                _ => return None,
            }
        }
        self.filled = 0;
        let (notice, text) = wire::Notice::from_bytes(&self.notice)?;
        Some((notice, String::from_utf8_lossy(text).into_owned()))
    }

    /// The keeper has nobody left.
    fn give_back(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        match (stream.into_std(), self.standing.take()) {
            (Ok(stream), Some(standing)) => self.user.give_back(Idle { pid: self.keeper, stream, standing }),
            (stream, _) => {
                drop(stream);
                pool::reap(self.keeper);
            }
        }
    }

    /// Waits for the end of the keeper, which is about to end.
    fn forget(&mut self) {
        if let Some(stream) = self.stream.take() {
            drop(stream);
            pool::reap(self.keeper);
        }
    }

    /// The keeper was killed: ends what it has left behind.
    async fn lost(&mut self) -> Tally {
        self.has_orphans = true;
        self.forget();
        // A copy: it may be a while until somebody runs this, and who drops `self` before does the same.
        let (group, mark, init) = (self.group.clone(), self.mark.clone(), self.init);
        let ended = tokio::task::spawn_blocking(move || end_orphans(group.as_deref(), &mark, init)).await;
        // A runtime that is being shut down runs nothing.
        let killed = ended.unwrap_or_else(|_| self.end_orphans());
        self.has_orphans = false;
        Tally { is_lost: true, killed: u32::try_from(killed).unwrap_or(u32::MAX), ..Tally::default() }
    }

    fn end_orphans(&self) -> usize {
        end_orphans(self.group.as_deref(), &self.mark, self.init)
    }
}

/// Ends what a killed keeper has left behind; says how many were found. Blocks.
fn end_orphans(group: Option<&Group>, mark: &str, init: Option<(i32, u64)>) -> usize {
    let found = orphans::end(mark, init);
    // Not before: keepers of programs among the orphans are in it, and what they keep may be in cgroups elsewhere.
    if let Some(group) = group {
        group.end();
    }
    found
}

impl Drop for Contained {
    /// Kills everything and waits for it (R2).
    fn drop(&mut self) {
        if self.has_orphans {
            self.end_orphans();
            return;
        }
        self.kill();
        let limit = sys::now().saturating_add(millis(DROP_LIMIT));
        while self.stream.is_some() {
            let rest = limit.saturating_sub(sys::now());
            if !sys::wait_readable([self.fd()], Some(rest))[0] {
                if rest == 0 {
                    crate::log::cannot_end(self.pid);
                    pool::leave(self.keeper);
                    return;
                }
                continue;
            }
            match sys::read(self.fd(), &mut self.notice[self.filled..]) {
                Some(read) if read > 0 => self.filled += read,
                None if matches!(sys::errno(), libc::EINTR | libc::EAGAIN) => {}
                _ => {
                    self.forget();
                    self.has_orphans = true;
                }
            }
            if self.filled == NOTICE {
                self.filled = 0;
                match wire::Notice::from_bytes(&self.notice) {
                    Some((wire::Notice::Empty(tally), _)) if tally.survivors > 0 => self.forget(),
                    Some((wire::Notice::Empty(_) | wire::Notice::Refused { .. }, _)) => self.give_back(),
                    _ => {}
                }
            }
        }
        if self.has_orphans {
            self.end_orphans();
        }
    }
}

/// When this program was started, in ticks.
fn own_start() -> io::Result<u64> {
    let own = sys::getpid();
    match (proc::own_pid(), proc::stat(own)) {
        (Some(pid), Some(stat)) if pid == own => Ok(stat.started),
        (Some(_), _) => Err(io::Error::other(OTHER_PROC)),
        (None, _) => Err(io::Error::other(NO_PROC)),
    }
}

fn refused(errno: i32, step: Step) -> Refused {
    let error = match step {
        Step::Isolation => denied::isolation(errno),
        Step::Group => {
            let system = io::Error::from_raw_os_error(errno);
            io::Error::other(format!(
                "its cgroup: it cannot be moved there, which takes a right to the folder above: {system}"
            ))
        }
        Step::GroupFolder => {
            let system = io::Error::from_raw_os_error(errno);
            let cause = match errno {
                libc::ENOSYS => "the kernel has no cgroup.kill, which is from Linux 5.14 on".to_owned(),
                libc::EBUSY => "the folder is frozen, and a command in it would not start".to_owned(),
                _ => format!("it cannot be made: {system}"),
            };
            io::Error::other(format!("its cgroup: {cause}"))
        }
        Step::Program | Step::Directory => io::Error::from_raw_os_error(errno),
    };
    Refused { error, directory: step == Step::Directory }
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
