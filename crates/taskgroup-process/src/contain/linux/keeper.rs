//! The keeper: a process between the program and one command, which answers for all descendants of that command.
//!
//! It keeps one command at a time, and waits for the next when the last one's processes are all gone.
//!
//! ```text
//!   program ──▶ keeper ──▶ leader ──▶ its descendants
//!      ▲  stream  │ child subreaper: who is orphaned below it becomes its child
//!      └──────────┘
//!
//!              leader ends, others live         100 ms over: leaks told
//!   running ─────────────────────────▶ lingering ─────────────▶ terminating ──grace over──▶ killing
//!      │ │ order Terminate, or the program is gone                   ▲                         ▲
//!      │ └────────────────────────────────────────────────────────────┘                         │
//!      └── order Kill ──────────────────────────────────────────────────────────────────────────┘
//!
//!   idle ──order Launch──▶ running … any of these, nobody left ──▶ idle ──the program is gone──▶ end
//! ```
//!
//! Nobody but the keeper itself moves this state; it has one thread, and learns of everything from one `poll`: orders
//! and the program's end from the stream, ends of children from a `signalfd`.
//!
//! # Invariants
//!
//! 1. As in [`proc`]: it never allocates, locks or panics. It ends in `_exit`.
//! 2. All signals are blocked in it, and it is in a process group of its own: only SIGKILL and SIGSTOP reach it.
//! 3. The leader is not reaped before nobody else is left: so its pid, which is its group's too, is its own until then. The leader of a
//!    command that is isolated is reaped by its [`init`], and is then never signalled by its pid; the init goes last in its place.
//! 4. It says that nobody is left when it has no child, and so, as a subreaper, no descendant; or when those left belong to another
//!    user and have been refused to it for [`REFUSED_LIMIT`]. In that case it ends, since it cannot tell them from the next command's.
//! 5. The end of the stream is an order: SIGTERM, SIGKILL after at most [`ABANDONED_GRACE`]. This is how the promise
//!    survives the program's SIGKILL.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::cgroup::Held;
use super::exec::{self, Failure, Start};
use super::image::Image;
use super::init::{self, Init, Report};
use super::proc;
use super::set::{Set, Walk};
use super::sys::{self, FILES, Seen, Stack, Used};
use super::wire::{Notice, ORDER, Order, Step, TEXT, Tally};

/// How long descendants may live on after their leader before they count as leaked: the time in which the other end of a
/// pipe notices, in milliseconds.
const LINGER: u64 = 100;

/// The longest grace when the program is gone, in milliseconds.
const ABANDONED_GRACE: u64 = 500;

/// How long it tries to kill processes that it may not kill, in milliseconds.
const REFUSED_LIMIT: u64 = 2_000;

/// The longest wait between two rounds of SIGKILL, in milliseconds.
const KILL_PAUSE: u64 = 50;

/// How many leaks are told one by one.
const LEAKS_TOLD: u32 = 64;

#[derive(Clone, Copy)]
enum Phase {
    Idle,
    Running,
    Lingering {
        until: u64,
    },
    /// `until` is `None` when the grace has no end.
    Terminating {
        until: Option<u64>,
    },
    Killing {
        since: u64,
        pause: u64,
    },
}

pub(super) struct Keeper {
    stream: OwnedFd,
    signals: OwnedFd,
    stack: Stack,
    set: Set,
    program_is_gone: bool,
    order: [u8; ORDER],
    order_len: usize,
    files: [Option<OwnedFd>; FILES],
    phase: Phase,
    kept: Kept,
    /// Of the namespace of the command that is kept, if it is isolated.
    init: Option<Init>,
    /// Its cgroup, if it has one, and the image with the path of that.
    group: Option<(Held, Image)>,
}

/// The command that is kept.
#[derive(Clone, Copy, Default)]
struct Kept {
    leader: i32,
    /// The wait status of the leader when it has ended.
    ended: Option<i32>,
    /// Its pid, and its group's, may be somebody else's by now.
    leader_is_reaped: bool,
    /// For leaked processes, in milliseconds.
    grace: u64,
    /// When it was told to suspend.
    suspended: Option<u64>,
    tally: Tally,
}

impl Keeper {
    pub(super) fn new(stream: OwnedFd, signals: OwnedFd, stack: Stack, set: Set) -> Self {
        Self {
            stream,
            signals,
            stack,
            set,
            program_is_gone: false,
            order: [0; ORDER],
            order_len: 0,
            files: [const { None }; FILES],
            phase: Phase::Idle,
            kept: Kept::default(),
            init: None,
            group: None,
        }
    }

    /// Until the program is gone, and nobody is left.
    pub(super) fn run(mut self) -> ! {
        loop {
            if matches!(self.phase, Phase::Idle) {
                if self.program_is_gone {
                    sys::exit(0);
                }
            } else {
                self.look_at_leader();
                if self.is_empty() {
                    self.finish(0);
                    continue;
                }
                self.advance();
            }
            let fds = [self.stream_fd(), self.signals.as_raw_fd(), self.init.as_ref().map_or(-1, Init::fd)];
            let [ordered, signalled, _] = sys::wait_readable(fds, self.timeout());
            if signalled {
                let mut told = [0; 128];
                while sys::read(self.signals.as_raw_fd(), &mut told).is_some_and(|read| read > 0) {}
            }
            if ordered {
                self.read_order();
            }
        }
    }

    /// Starts a command; says whether it runs.
    fn launch(&mut self, has_terminal: bool) -> Result<(), Failure> {
        let files = std::mem::replace(&mut self.files, [const { None }; FILES]);
        let [Some(image), Some(folder), Some(stdin), Some(stdout), Some(stderr), terminal] = &files else {
            return Err(Failure { errno: libc::EMFILE, step: Step::Program });
        };
        let image = Image::map(image).ok_or_else(Failure::last)?;
        let terminal = terminal.as_ref().filter(|_| has_terminal);
        let group = image.group().map(Held::make).transpose()?;
        let start = Start {
            image: &image,
            group: group.as_ref(),
            folder,
            streams: [stdin, stdout, stderr],
            terminal,
        };
        let started = if image.is_isolated() {
            init::start(&start, &self.stack).map(|(init, leader)| (Some(init), leader))
        } else {
            exec::start(&start, &self.stack).map(|leader| (None, leader))
        };
        if let (Err(_), Some(group)) = (&started, &group) {
            remove(group, &image);
        }
        let (init, leader) = started?;
        self.set.pass_over(init.as_ref().map_or(0, |init| init.pid));
        self.init = init;
        let init = self.init.as_ref().map_or(0, |init| init.pid as u32);
        self.kept = Kept { leader, grace: image.grace(), ..Kept::default() };
        self.group = group.map(|group| (group, image));
        self.phase = Phase::Running;
        self.tell(Notice::Started { pid: leader as u32, init }, &[]);
        Ok(())
    }

    /// No descriptor at all once the program is gone: `poll` passes over it.
    fn stream_fd(&self) -> RawFd {
        if self.program_is_gone { -1 } else { self.stream.as_raw_fd() }
    }

    fn tell(&self, notice: Notice, text: &[u8]) {
        if !self.program_is_gone {
            sys::send(self.stream.as_raw_fd(), &notice.to_bytes(text));
        }
    }

    fn look_at_leader(&mut self) {
        if let Some(init) = &self.init {
            // Before its reports are read, or the last of them might come in between.
            let has_ended = !matches!(sys::look_at(init.pid), Seen::Nothing | Seen::Stopped { .. });
            self.read_reports();
            // It was killed before it could say so, and by that the leader was.
            if has_ended && self.kept.ended.is_none() {
                self.leader_has_ended(libc::SIGKILL);
            }
            return;
        }
        if self.kept.ended.is_some() {
            return;
        }
        match sys::look_at(self.kept.leader) {
            Seen::Ended { status } => self.leader_has_ended(status),
            Seen::Stopped { signal } => self.tell(Notice::Stopped { signal }, &[]),
            Seen::Nothing => {}
            // Somebody else has reaped it, which only a debugger could.
            Seen::NoChild => self.kept.ended = Some(self.kept.tally.status),
        }
    }

    fn leader_has_ended(&mut self, status: i32) {
        self.kept.ended = Some(status);
        self.kept.tally.status = status;
        self.tell(Notice::LeaderEnded { status }, &[]);
    }

    fn read_reports(&mut self) {
        while let Some(report) = self.init.as_mut().and_then(Init::next) {
            match report {
                Report::Stopped { signal } => self.tell(Notice::Stopped { signal }, &[]),
                Report::Ended { status } => self.leader_has_ended(status),
                Report::Largest { rss } => self.kept.add((0, 0, rss)),
                Report::Failed(_) | Report::Started { .. } => {}
            }
        }
    }

    /// Reaps who has ended. The leader, or its init, goes last (invariant 3), and then the kernel itself says that nobody is left.
    fn is_empty(&mut self) -> bool {
        let Self { set, kept, init, .. } = self;
        let last = init.as_ref().map_or(kept.leader, |init| init.pid);
        let others = set.reap_all_but(last, &mut |used| kept.add(used));
        if kept.ended.is_none() || others {
            return false;
        }
        if let Some((user, system, max_rss)) = sys::reap(last) {
            // An init has a copy of the program's memory, which is not the command's; its reports speak of the others.
            kept.add((user, system, if init.is_some() { 0 } else { max_rss }));
        }
        kept.leader_is_reaped = true;
        self.read_reports();
        !sys::has_children()
    }

    /// Moves on to what the time, or the leader's end, has made due.
    fn advance(&mut self) {
        if self.kept.suspended.is_some() {
            return;
        }
        let now = sys::now();
        match self.phase {
            Phase::Running if self.kept.ended.is_some() => {
                self.phase = Phase::Lingering { until: now + LINGER }
            }
            Phase::Lingering { until } if now >= until => {
                self.tell_leaks();
                self.terminate(self.kept.grace);
            }
            Phase::Terminating { until: Some(until) } if now >= until => self.kill(),
            Phase::Killing { .. } => self.kill_again(now),
            _ => {}
        }
    }

    /// Until when nothing is due, in milliseconds from now.
    fn timeout(&self) -> Option<u64> {
        if self.kept.suspended.is_some() {
            return None;
        }
        match self.phase {
            Phase::Idle | Phase::Running => None,
            Phase::Lingering { until } | Phase::Terminating { until: Some(until) } => {
                Some(until.saturating_sub(sys::now()))
            }
            Phase::Terminating { until: None } => None,
            Phase::Killing { pause, .. } => Some(pause),
        }
    }

    fn read_order(&mut self) {
        let Some(rest) = self.order.get_mut(self.order_len..) else { return };
        match sys::receive(self.stream.as_raw_fd(), rest, &mut self.files) {
            Some(read) if read > 0 => self.order_len += read,
            None if matches!(sys::errno(), libc::EINTR | libc::EAGAIN) => return,
            _ => {
                self.program_is_gone = true;
                return self.terminate(self.kept.grace.min(ABANDONED_GRACE));
            }
        }
        if self.order_len == ORDER {
            self.order_len = 0;
            match Order::from_bytes(&self.order) {
                Some(Order::Launch { terminal }) => {
                    if let Err(Failure { errno, step }) = self.launch(terminal) {
                        self.tell(Notice::Refused { errno, step }, &[]);
                    }
                }
                Some(Order::Terminate { grace }) => self.terminate(grace),
                Some(Order::Kill) => self.kill(),
                Some(Order::Suspend) => self.suspend(),
                Some(Order::Resume) => self.resume(),
                None => {}
            }
        }
    }

    /// SIGTERM, once; a second call can only bring the end nearer. Who is suspended goes on, or nobody would heed it.
    fn terminate(&mut self, grace: u64) {
        self.resume();
        let until = (grace != u64::MAX).then(|| sys::now().saturating_add(grace));
        match self.phase {
            Phase::Idle => {}
            Phase::Running | Phase::Lingering { .. } => {
                let walk = self.set.signal(libc::SIGTERM, true);
                // Who is stopped takes no signal before it goes on.
                self.set.signal(libc::SIGCONT, true);
                self.kept.tally.terminated = walk.signalled;
                self.phase = Phase::Terminating { until };
            }
            Phase::Terminating { until: before } => {
                let nearer = match (before, until) {
                    (Some(before), Some(until)) => Some(before.min(until)),
                    (before, until) => before.or(until),
                };
                self.phase = Phase::Terminating { until: nearer };
            }
            Phase::Killing { .. } => {}
        }
    }

    fn kill(&mut self) {
        if !matches!(self.phase, Phase::Idle | Phase::Killing { .. }) {
            self.kept.suspended = None;
            let now = sys::now();
            self.phase = Phase::Killing { since: now, pause: 1 };
            self.kept.tally.killed = self.kill_round(true).signalled;
        }
    }

    /// Those that are found, which counts them; then the group of the leader as one, which no fork escapes; then whoever has come
    /// to this process meanwhile. With an init the kernel does the same for the whole namespace, in the second round: it has a moment
    /// to tell how the leader has ended.
    fn kill_round(&mut self, is_first: bool) -> Walk {
        let walk = self.set.signal(libc::SIGKILL, false);
        if let Some((group, _)) = &self.group {
            group.kill();
        }
        if self.init.is_some() {
            if !is_first {
                self.set.kill_children();
            }
            return walk;
        }
        if !self.kept.leader_is_reaped {
            let _ = sys::kill(-self.kept.leader, libc::SIGKILL);
        }
        self.set.kill_children();
        walk
    }

    /// Another round: there is somebody left whom the last one missed, or who has not ended yet.
    fn kill_again(&mut self, now: u64) {
        let Phase::Killing { since, pause } = self.phase else { return };
        let walk = self.kill_round(false);
        let waited = now.saturating_sub(since);
        if walk.refused > 0 && walk.signalled == 0 && waited >= REFUSED_LIMIT {
            self.look_at_leader();
            self.finish(walk.refused);
            sys::exit(0);
        }
        self.phase = Phase::Killing { since, pause: (pause * 2).min(KILL_PAUSE) };
    }

    fn suspend(&mut self) {
        if !matches!(self.phase, Phase::Idle) && self.kept.suspended.is_none() {
            self.kept.suspended = Some(sys::now());
            self.set.signal(libc::SIGTSTP, true);
        }
    }

    /// Timers go on where they stood.
    fn resume(&mut self) {
        let Some(since) = self.kept.suspended.take() else { return };
        let passed = sys::now().saturating_sub(since);
        match &mut self.phase {
            Phase::Lingering { until } | Phase::Terminating { until: Some(until) } => {
                *until = until.saturating_add(passed)
            }
            _ => {}
        }
        self.set.signal(libc::SIGCONT, true);
    }

    fn tell_leaks(&mut self) {
        let Self { set, stream, program_is_gone, .. } = self;
        if *program_is_gone {
            return;
        }
        let mut told = 0;
        set.for_each(&mut |pid| {
            told += 1;
            if told <= LEAKS_TOLD {
                let mut line = [0; TEXT];
                let len = proc::command_line(pid, &mut line);
                let notice = Notice::Leaked { pid: pid as u32 }.to_bytes(line.get(..len).unwrap_or(&[]));
                sys::send(stream.as_raw_fd(), &notice);
            }
        });
    }

    /// Says that the set is empty, but for so many. It waits until there is room for that: the program may have left
    /// other notices unread, and this is the one that it must get.
    fn finish(&mut self, survivors: u32) {
        self.phase = Phase::Idle;
        self.set.pass_over(0);
        self.init = None;
        if let Some((group, image)) = self.group.take() {
            remove(&group, &image);
        }
        let notice = Notice::Empty(Tally { survivors, ..self.kept.tally }).to_bytes(&[]);
        while !self.program_is_gone && !sys::send(self.stream.as_raw_fd(), &notice) {
            match sys::errno() {
                libc::EAGAIN => sys::wait_writable(self.stream.as_raw_fd()),
                libc::EINTR => {}
                // The program is gone, as the next order will say.
                _ => return,
            }
        }
    }
}

/// Removes the cgroup of this image.
fn remove(group: &Held, image: &Image) {
    let path = image.group().unwrap_or_default();
    group.remove(|| matches!(sys::remove_folder_at(libc::AT_FDCWD, path), Ok(()) | Err(libc::ENOENT)));
}

impl Kept {
    /// One of its processes has been reaped.
    fn add(&mut self, (user, system, max_rss): Used) {
        self.tally.user = self.tally.user.saturating_add(user);
        self.tally.system = self.tally.system.saturating_add(system);
        self.tally.max_rss = self.tally.max_rss.max(max_rss);
    }
}
