//! The rows of the matrix, as tests.

use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

use super::kind::{FAILURE, Kind};
use super::outlook::End;
use super::runner::Runner;
use super::scenario::Scenario;
use super::stage::{self, Record};

pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = Scenario::ALL.map(|scenario| Trial::test(scenario.name(), move || check(scenario)));
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn check(scenario: Scenario) -> Result<(), Failed> {
    let record = play(scenario)?;
    let wrong = faults(scenario, &record);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n\n{record:#?}\n\n{}", wrong.join("\n"), record.output).into())
}

fn play(scenario: Scenario) -> Result<Record, Failed> {
    let this = std::env::current_exe()?;
    let mut command = Command::new(this);
    command.args([stage::ROLE, Runner::Tg.name(), scenario.name()]);
    let played = command.stdin(Stdio::null()).output()?;
    if !played.status.success() {
        return Err(format!("{}: {}", played.status, String::from_utf8_lossy(&played.stderr)).into());
    }
    Ok(serde_json::from_slice(&played.stdout)?)
}

/// How `tg` ends, in its own words or by the signal that was sent.
fn expected(scenario: Scenario) -> End {
    match scenario {
        Scenario::SiblingFails => End::Exit(i32::from(FAILURE)),
        Scenario::ExitsZero => End::Exit(0),
        Scenario::TimesOut => End::Exit(124),
        Scenario::KeeperKilled | Scenario::KeepersKilledEarly | Scenario::OuterKeeperKilled => End::Exit(125),
        Scenario::TerminalCloses => End::Exit(128 + libc::SIGHUP),
        Scenario::Interrupted => End::Exit(128 + libc::SIGINT),
        Scenario::Terminated | Scenario::OuterTerminated => End::Exit(128 + libc::SIGTERM),
        Scenario::InnerKilled => End::Exit(128 + libc::SIGKILL),
        Scenario::Killed | Scenario::GroupKilled | Scenario::OuterKilled => End::Signal(libc::SIGKILL),
    }
}

/// What is not as it must be.
fn faults(scenario: Scenario, record: &Record) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |is_so: bool, what: String| {
        if !is_so {
            wrong.push(what);
        }
    };
    for kind in ["leader"].into_iter().chain(Kind::ALL.map(Kind::name)) {
        let times = record.announced.iter().filter(|(name, _)| name == kind).count();
        must(
            times == 1 || !scenario.is_awaited(),
            format!("{kind} announced itself {times} times before the blow"),
        );
        must(!record.survivors.iter().any(|name| name == kind), format!("{kind} has survived"));
    }
    must(record.nobody || !scenario.is_awaited(), "somebody holds the FIFO open".into());
    must(record.left.is_empty(), format!("there are processes with the mark: {:?}", record.left));
    let expected = expected(scenario);
    must(record.end.as_ref() == Some(&expected), format!("tg ended with {:?}, not {expected:?}", record.end));
    // Who comes to the stage was left behind. A keeper may be, when nobody is there any more to wait for it.
    let orphans = || record.orphans.iter().map(|(name, _)| name).chain(&record.orphans_at_end);
    if expected == End::Signal(libc::SIGKILL) {
        must(orphans().all(|name| name == "tg-keeper"), "not only keepers were left behind".into());
        let clean = record.orphans.iter().all(|(_, end)| *end == End::Exit(0));
        must(clean, "a keeper has not ended by itself".into());
    } else {
        must(orphans().next().is_none(), "tg has not waited for all that it started".into());
    }
    if matches!(expected, End::Exit(_)) && scenario.is_awaited() {
        must(record.nobody_at_end, "tg ended before everybody was dead".into());
    }
    if scenario == Scenario::ExitsZero {
        let told = format!("left {} processes behind", Kind::ALL.len());
        must(record.output.contains(&told), format!("tg does not say that the job {told}"));
    }
    wrong
}
