//! Plays one scenario with one runner, and says what was seen.
//!
//! A stage is a process of its own, since it is a child subreaper: whoever the runner leaves behind comes to it, and not to a
//! process of the system. So it can say who came, and end them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group, set_child_subreaper, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use serde::{Deserialize, Serialize};

use super::kind::{self, ALIVE, Kind, LEADER_ENDS, MARK, SIBLING_FAILS};
use super::outlook::{End, Outlook, reap_children};
use super::proc;
use super::runner::{Runner, TIME};
use super::scenario::Scenario;

/// The first argument of this program when it is a stage; a runner and a scenario follow.
pub(crate) const ROLE: &str = "--stage";
/// The same when it is to become another program, in a terminal.
pub(crate) const TERMINAL: &str = "--in-terminal";
/// The same when it is to print the names of runners, scenarios and kinds.
pub(crate) const LIST: &str = "--list-scenarios";

/// For everybody to announce himself.
const START_LIMIT: Duration = Duration::from_secs(20);
/// For `tg` to end, and everybody with it: longer than it takes on the slowest of machines.
const END_LIMIT: Duration = Duration::from_secs(20);
/// The same for the others, some of which never end. Who is alive then is a survivor.
const PEER_LIMIT: Duration = Duration::from_secs(3);

const KEEPER: &str = "tg-keeper";

/// What was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The kinds and pids of those who had announced themselves before the run was made to end.
    pub(crate) announced: Vec<(String, i32)>,
    /// How the runner has ended, if it has.
    pub(crate) end: Option<End>,
    /// The kinds of those who were alive when the time was over.
    pub(crate) survivors: Vec<String>,
    /// Whether nobody had the FIFO open.
    pub(crate) nobody: bool,
    /// The same at the moment of the runner's end.
    pub(crate) nobody_at_end: bool,
    /// Who had come to the stage by then: names, with `defunct` for those that nobody had reaped.
    pub(crate) orphans_at_end: Vec<String>,
    /// All who came to it until there was nobody, and how they ended.
    pub(crate) orphans: Vec<(String, End)>,
    /// Who was left after all, by name and pid.
    pub(crate) left: Vec<(String, i32)>,
    /// What the runner has written.
    pub(crate) output: String,
}

/// Plays, and prints the record as JSON.
pub(crate) fn main(runner: &str, scenario: &str) -> ExitCode {
    let (Some(runner), Some(scenario)) = (Runner::named(runner), Scenario::named(scenario)) else {
        eprintln!("there is no such runner or scenario");
        return ExitCode::from(2);
    };
    let record = play(runner, scenario);
    println!("{}", serde_json::to_string(&record).expect("a record can be written"));
    ExitCode::SUCCESS
}

/// Prints the names of everything.
pub(crate) fn list() -> ExitCode {
    let scenarios = Scenario::ALL.map(|scenario| {
        let (name, title) = (scenario.name(), scenario.title());
        let (needs_keeper, is_awaited) = (scenario.needs_keeper(), scenario.is_awaited());
        serde_json::json!({ "name": name, "title": title, "needs_keeper": needs_keeper, "is_awaited": is_awaited })
    });
    let names = serde_json::json!({
        "runners": Runner::ALL.map(Runner::name),
        "scenarios": scenarios,
        "kinds": Kind::ALL.map(Kind::name),
    });
    println!("{names}");
    ExitCode::SUCCESS
}

fn play(runner: Runner, scenario: Scenario) -> Record {
    // What whoever started the tests has ignored is not part of them.
    kind::set_dispositions(libc::SIG_DFL);
    set_child_subreaper(Some(getpid())).expect("every kernel that is alive can");
    let folder = tempfile::tempdir().expect("there is room");
    let stage = Stage::set(folder.path());
    let (runner_pid, terminal) = stage.start(runner, scenario);
    let (alive, mode) = (folder.path().join(ALIVE), OFlags::NONBLOCK.bits() as i32);
    let alive = OpenOptions::new().read(true).custom_flags(mode).open(alive).expect("the stage is set");
    let mut outlook = Outlook::new(alive, runner_pid, terminal);
    // The leader is one of them.
    let all = Kind::ALL.len() + 1;
    let are_there = !scenario.is_awaited()
        || outlook.until(START_LIMIT, |seen| seen.announced.len() == all || seen.end.is_some());
    let announced = outlook.announced.iter().map(|one| (one.kind.clone(), one.pid())).collect();
    let are_there = are_there && (outlook.end.is_none() || !scenario.is_awaited());
    if are_there {
        stage.strike(scenario, runner_pid, &mut outlook);
    }
    let limit = if runner == Runner::Tg { END_LIMIT } else { PEER_LIMIT };
    let waiting = if scenario == Scenario::TimesOut { Duration::from_secs(TIME) } else { Duration::ZERO };
    let ended = outlook.until(limit + waiting, |seen| {
        !are_there || (seen.end.is_some() && (seen.nobody || !scenario.is_awaited()))
    });
    let mut orphans = Vec::new();
    if ended && are_there {
        let ends = reap_children(limit).unwrap_or_default();
        orphans.extend(ends.into_iter().map(|(child, end)| (child.name, end)));
    }
    // Only now: who ends closes its files a moment before it is dead.
    let survivors =
        outlook.announced.iter().filter(|one| one.is_alive()).map(|one| one.kind.clone()).collect();
    let mark = folder.path().to_str().expect("the folder's name is text");
    let left = proc::marked(mark).into_iter().map(|process| (process.name, process.pid)).collect();
    clear(mark);
    let mut output = outlook.output.clone();
    output.extend(fs::read(folder.path().join("output")).unwrap_or_default());
    Record {
        announced,
        end: outlook.end.clone(),
        survivors,
        nobody: outlook.nobody,
        nobody_at_end: outlook.nobody_at_end,
        orphans_at_end: outlook.orphans_at_end.iter().map(shown).collect(),
        orphans,
        left,
        output: String::from_utf8_lossy(&output).into_owned(),
    }
}

fn shown(process: &proc::Seen) -> String {
    if process.is_zombie { format!("{} (defunct)", process.name) } else { process.name.clone() }
}

/// Kills whoever is left of the play. All of them bear its mark, and come to this process.
fn clear(mark: &str) {
    for _ in 0..100 {
        let left = proc::marked(mark);
        let own = proc::children(std::process::id() as i32);
        if left.is_empty() && own.is_empty() {
            return;
        }
        for process in left.iter().chain(&own) {
            if let Some(pid) = Pid::from_raw(process.pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = reap_children(Duration::from_millis(100));
    }
}

/// The FIFOs, which exist as long as this does.
struct Stage<'f> {
    folder: &'f Path,
    leader_ends: File,
    sibling_fails: File,
}

impl<'f> Stage<'f> {
    fn set(folder: &'f Path) -> Self {
        for fifo in [ALIVE, LEADER_ENDS, SIBLING_FAILS] {
            mkfifoat(CWD, folder.join(fifo), Mode::RUSR | Mode::WUSR).expect("the folder takes FIFOs");
        }
        // For reading too: then opening does not wait for a reader, and a word stays until it is read.
        let open = |fifo: &str| {
            let opened = OpenOptions::new().read(true).write(true).open(folder.join(fifo));
            opened.expect("it has just been made")
        };
        Self { folder, leader_ends: open(LEADER_ENDS), sibling_fails: open(SIBLING_FAILS) }
    }

    /// Starts the runner, as the leader of a group, or of the session of a terminal.
    #[allow(clippy::zombie_processes, reason = "the outlook reaps it")]
    fn start(&self, runner: Runner, scenario: Scenario) -> (Pid, Option<File>) {
        let words = runner.words(scenario, self.folder);
        let (mut command, terminal) = if scenario.has_terminal() {
            let (terminal, path) = terminal();
            let this = std::env::current_exe().expect("the system knows which program runs");
            let mut command = Command::new(this);
            command.args([OsStr::new(TERMINAL), &path]).args(&words);
            (command, Some(terminal))
        } else {
            let mut command = Command::new(&words[0]);
            let output = File::create(self.folder.join("output")).expect("the folder is there");
            let error = output.try_clone().expect("there are descriptors");
            command.args(&words[1..]).stdin(Stdio::null()).stdout(output).stderr(error).process_group(0);
            (command, None)
        };
        let child = command.env(MARK, self.folder).spawn().expect("the runner is installed");
        (Pid::from_child(&child), terminal)
    }

    /// Makes the run end.
    fn strike(&self, scenario: Scenario, runner: Pid, outlook: &mut Outlook) {
        let word = |mut fifo: &File| fifo.write_all(b"!").expect("the FIFO takes it");
        let kill = |pid, signal| kill_process(pid, signal).expect("it is there");
        match scenario {
            Scenario::SiblingFails => word(&self.sibling_fails),
            Scenario::ExitsZero => word(&self.leader_ends),
            // Nothing has to be done for these.
            Scenario::TimesOut | Scenario::KeepersKilledEarly => {}
            Scenario::Terminated | Scenario::OuterTerminated => kill(runner, Signal::TERM),
            Scenario::Killed | Scenario::OuterKilled => kill(runner, Signal::KILL),
            Scenario::GroupKilled => kill_process_group(runner, Signal::KILL).expect("it leads one"),
            Scenario::KeeperKilled | Scenario::OuterKeeperKilled => kill(keeper_of(runner), Signal::KILL),
            Scenario::InnerKilled => kill(inner(runner), Signal::KILL),
            Scenario::Interrupted => {
                let terminal = outlook.terminal.as_mut().expect("the runner has a terminal");
                terminal.write_all(b"\x03").expect("a terminal takes keys");
            }
            Scenario::TerminalCloses => outlook.terminal = None,
        }
    }
}

/// A terminal: our side of it, and the name of the other.
fn terminal() -> (File, OsString) {
    use std::os::unix::ffi::OsStringExt;
    let ours =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("there are terminals");
    grantpt(&ours).expect("it is ours");
    unlockpt(&ours).expect("it is ours");
    let path = ptsname(&ours, Vec::new()).expect("it has another side");
    (ours.into(), OsString::from_vec(path.into_bytes()))
}

/// Becomes a program that leads a session with this terminal, as a login's does.
pub(crate) fn exec_in_terminal(terminal: &str, words: &[&str]) -> ExitCode {
    setsid().expect("it leads no group");
    // The first terminal that the leader of a session opens is that of the session.
    let terminal = OpenOptions::new().read(true).write(true).open(terminal).expect("the terminal is there");
    dup2_stdin(&terminal).and_then(|()| dup2_stdout(&terminal)).expect("a descriptor can be copied");
    dup2_stderr(&terminal).expect("a descriptor can be copied");
    drop(terminal);
    let error = Command::new(words[0]).args(&words[1..]).exec();
    panic!("{words:?} cannot be run: {error}");
}

/// The only one of a `tg` with one job.
fn keeper_of(runner: Pid) -> Pid {
    let keepers = proc::children(runner.as_raw_nonzero().get());
    let keepers: Vec<_> = keepers.iter().filter(|child| child.name == KEEPER).collect();
    assert_eq!(keepers.len(), 1, "one job, one keeper: {keepers:?}");
    Pid::from_raw(keepers[0].pid).expect("a process has a pid")
}

/// The runner that runs in a job of this one: the first process below it of the same name with other arguments.
fn inner(outer: Pid) -> Pid {
    let outer = outer.as_raw_nonzero().get();
    let arguments = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let name = proc::look(outer).expect("it is there").name;
    let mut below = proc::children(outer);
    while !below.is_empty() {
        let found = below.iter().find(|one| one.name == name && arguments(one.pid) != arguments(outer));
        if let Some(found) = found {
            return Pid::from_raw(found.pid).expect("a process has a pid");
        }
        below = below.iter().flat_map(|one| proc::children(one.pid)).collect();
    }
    panic!("a {name} runs below another");
}
