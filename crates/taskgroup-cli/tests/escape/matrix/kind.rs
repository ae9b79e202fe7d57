//! The processes of a job: its leader, and the kinds of descendants that it leaves.
//!
//! Each is this program once more, so that no interpreter stands between. Where a daemon would `fork` it starts itself: the
//! chain of parents is the same.
//!
//! # Invariants
//!
//! 1. Who has announced itself is what its kind says: in its group or session, deaf, orphaned.
//! 2. It holds the writing end of the FIFO `alive` from then on until it is dead, and nobody else has that end from it.
//! 3. It never ends by itself while the tests look; but neither does it outlive them by much ([`LIFE`]).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, Signal, getppid, kill_process, pidfd_open, setsid};

/// The first argument of this program when it is one of these processes.
pub(crate) const ROLE: &str = "--descendant";

/// The FIFO on which processes announce themselves, and which they keep open.
pub(crate) const ALIVE: &str = "alive";
/// The FIFO from which the leader reads when to end.
pub(crate) const LEADER_ENDS: &str = "leader-ends";
/// The FIFO from which the failing job reads when to fail.
pub(crate) const SIBLING_FAILS: &str = "sibling-fails";
/// What the failing job fails with.
pub(crate) const FAILURE: u8 = 3;
/// The variable that marks a process of a stage.
pub(crate) const MARK: &str = "ESCAPE_MARK";

/// Longer than any test.
const LIFE: Duration = Duration::from_secs(300);

/// A kind of descendant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the process group of the leader.
    SameGroup,
    /// The same, and ignores TERM, INT and HUP.
    Deaf,
    /// In a process group of its own.
    OwnGroup,
    /// In a session of its own.
    OwnSession,
    /// In a session that has no leader any more, orphaned, with no file of the job's open.
    Daemon,
    /// A daemon that ignores TERM, INT and HUP and has no variable of the job's environment.
    Bare,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::SameGroup, Self::Deaf, Self::OwnGroup, Self::OwnSession, Self::Daemon, Self::Bare];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SameGroup => "same_group",
            Self::Deaf => "deaf",
            Self::OwnGroup => "own_group",
            Self::OwnSession => "own_session",
            Self::Daemon => "daemon",
            Self::Bare => "bare",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn is_daemon(self) -> bool {
        matches!(self, Self::Daemon | Self::Bare)
    }
}

/// The words of the command that is the leader.
pub(crate) fn leader(folder: &Path) -> [PathBuf; 4] {
    [this(), ROLE.into(), "leader".into(), folder.into()]
}

/// The words of the command that starts everybody, and kills its parent at once.
pub(crate) fn early(folder: &Path) -> [PathBuf; 4] {
    [this(), ROLE.into(), "early".into(), folder.into()]
}

/// The words of the command that fails when it is told to.
pub(crate) fn sibling(folder: &Path) -> [PathBuf; 4] {
    [this(), ROLE.into(), "sibling".into(), folder.into()]
}

fn this() -> PathBuf {
    std::env::current_exe().expect("the system knows which program runs")
}

/// The life of one of these processes.
pub(crate) fn live(words: &[&str]) -> ExitCode {
    let [role, folder, rest @ ..] = words else { panic!("a role and a folder, not {words:?}") };
    let folder = Path::new(folder);
    match (*role, rest) {
        ("leader", []) => {
            start_all(folder);
            lead(folder)
        }
        ("early", []) => {
            start_all(folder);
            let keeper = getppid().expect("somebody has started it");
            kill_process(keeper, Signal::KILL).expect("a parent can be killed");
            std::thread::park_timeout(LIFE);
            ExitCode::SUCCESS
        }
        ("sibling", []) => {
            wait_for_word(&folder.join(SIBLING_FAILS));
            ExitCode::from(FAILURE)
        }
        ("middle", [kind]) => {
            setsid().expect("it leads no group");
            let kind = Kind::named(kind).expect("a kind");
            start(descendant(kind, folder).current_dir("/"));
            ExitCode::SUCCESS
        }
        (name, _) => stay(Kind::named(name).expect("a kind"), folder),
    }
}

fn start_all(folder: &Path) {
    for kind in Kind::ALL {
        let mut command = if kind.is_daemon() { middle(kind, folder) } else { descendant(kind, folder) };
        if kind == Kind::OwnGroup {
            command.process_group(0);
        }
        start(&mut command);
    }
}

fn lead(folder: &Path) -> ExitCode {
    let _alive = announce("leader", folder);
    wait_for_word(&folder.join(LEADER_ENDS));
    ExitCode::SUCCESS
}

fn descendant(kind: Kind, folder: &Path) -> Command {
    let mut command = Command::new(this());
    command.args([ROLE, kind.name()]).arg(folder);
    command
}

/// The process whose end makes a daemon an orphan.
fn middle(kind: Kind, folder: &Path) -> Command {
    let mut command = Command::new(this());
    command.args([ROLE, "middle"]).arg(folder).arg(kind.name());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if kind == Kind::Bare {
        command.env_clear();
    }
    command
}

/// Starts it, and never waits for it.
#[allow(clippy::zombie_processes, reason = "to be left behind is what it is for")]
fn start(command: &mut Command) {
    command.spawn().expect("the process starts");
}

/// Becomes what the kind says, says so, and stays.
fn stay(kind: Kind, folder: &Path) -> ExitCode {
    match kind {
        Kind::OwnSession => _ = setsid().expect("it leads no group"),
        Kind::Daemon | Kind::Bare => wait_for_end_of_parent(),
        _ => {}
    }
    if matches!(kind, Kind::Deaf | Kind::Bare) {
        set_dispositions(libc::SIG_IGN);
    }
    let _alive = announce(kind.name(), folder);
    std::thread::park_timeout(LIFE);
    ExitCode::SUCCESS
}

fn announce(name: &str, folder: &Path) -> File {
    let mut alive = OpenOptions::new().write(true).open(folder.join(ALIVE)).expect("the FIFO is read");
    // One write, which no other gets into.
    alive.write_all(format!("{name} {}\n", std::process::id()).as_bytes()).expect("the FIFO is read");
    alive
}

fn wait_for_word(fifo: &Path) {
    let mut fifo = File::open(fifo).expect("the stage has made it");
    // An end without a word is that of the stage.
    let _ = fifo.read(&mut [0]).expect("it can be read");
}

/// Until the parent, if it still is the one that started this process, has ended.
fn wait_for_end_of_parent() {
    let Some(parent) = getppid() else { return };
    let Ok(process) = pidfd_open(parent, PidfdFlags::empty()) else { return };
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", parent.as_raw_nonzero())).unwrap_or_default();
    if cmdline.split(|byte| *byte == 0).any(|word| word == b"middle") {
        poll(&mut [PollFd::new(&process, PollFlags::IN)], None).expect("its end can be waited for");
    }
}

/// What a signal to end does here: the default, or nothing.
pub(crate) fn set_dispositions(disposition: libc::sighandler_t) {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: no handler is installed by this, only one of the two constants.
        unsafe { libc::signal(signal, disposition) };
    }
}
