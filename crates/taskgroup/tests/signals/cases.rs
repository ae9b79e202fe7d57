//! What must come of each program, and what must not.

use crate::process::{Ended, Program};

type Case = (&'static str, fn());

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const ALL: &[Case] = &[$((stringify!($name), $name)),*];
    };
}

cases![
    an_interrupt_is_a_graceful_end,
    a_request_to_terminate_is_a_graceful_end,
    a_failure_of_the_cleanup_is_told,
    a_second_signal_forces_the_end,
    another_signal_counts_as_a_second_one,
    the_end_of_the_grace_period_forces_the_end,
    a_supervised_program_ends_the_same_way,
    a_supervised_program_can_leave_a_stuck_closure_behind,
    a_third_signal_ends_a_program_whose_task_never_returns,
    a_destructor_that_blocks_is_left_behind,
    a_body_that_blocks_its_thread_is_left_behind,
    a_program_whose_body_has_ended_is_stopped_like_any,
    a_signal_after_a_failure_changes_nothing,
    a_second_signal_after_a_failure_forces_the_end,
    a_value_gives_the_code,
    a_failure_is_told_and_gives_the_code,
    a_panic_goes_through_main,
];

impl Ended {
    fn printed(&self, line: &str) -> bool {
        self.out.iter().any(|printed| printed == line)
    }

    fn told(&self, part: &str) -> bool {
        self.err.iter().any(|told| told.contains(part))
    }
}

fn ready(name: &str) -> Program {
    let mut program = Program::start(name);
    program.prints("ready");
    program
}

#[track_caller]
fn is_graceful(ended: &Ended, code: i32, signal: &str) {
    assert_eq!(ended.code, Some(code), "{:#?}", ended.err);
    let mut cleanup = ended.out.iter().filter(|line| *line != "body dropped").map(String::as_str);
    assert!(cleanup.by_ref().eq(["ready", "cleanup 1", "cleanup 2", "cleanup 3", "worker dropped"]));
    assert!(ended.printed("body dropped"), "{:#?}", ended.out);
    // The one line, and no tree: nothing has failed. No hint either: nobody sits at a terminal.
    assert_eq!(ended.err, [format!("taskgroup: {signal} received: stopping")]);
}

fn an_interrupt_is_a_graceful_end() {
    let program = ready("cleans up");
    program.send("INT");
    is_graceful(&program.end(), 130, "SIGINT");
}

fn a_request_to_terminate_is_a_graceful_end() {
    let program = ready("cleans up");
    program.send("TERM");
    is_graceful(&program.end(), 143, "SIGTERM");
}

fn a_failure_of_the_cleanup_is_told() {
    let program = ready("fails to clean up");
    program.send("INT");
    let ended = program.end();
    assert_eq!(ended.code, Some(130), "{:#?}", ended.err);
    assert_eq!(ended.err[0], "taskgroup: SIGINT received: stopping");
    assert!(ended.told("group \"main\" ("), "{:#?}", ended.err);
    assert!(ended.told("failed with 1 failure, cancelled because SIGINT was received"), "{:#?}", ended.err);
    assert!(ended.told("task \"worker\" ("), "{:#?}", ended.err);
    assert!(ended.told("cannot save the queue"), "{:#?}", ended.err);
    assert!(ended.printed("worker dropped"));
}

#[track_caller]
fn is_forced(ended: &Ended, code: i32, why: &str) {
    assert_eq!(ended.code, Some(code), "{:#?}", ended.err);
    assert!(ended.printed("cleanup begins") && !ended.printed("cleanup ends"), "{:#?}", ended.out);
    assert!(ended.printed("worker dropped") && ended.printed("body dropped"), "{:#?}", ended.out);
    assert!(!ended.printed("not cut"), "{:#?}", ended.out);
    assert!(ended.told(&format!("taskgroup: {why}: stopping at once; not ended: task \"worker\" (")));
    assert!(!ended.told("the process exits"), "the drop came to its end: {:#?}", ended.err);
}

fn a_second_signal_forces_the_end() {
    let mut program = ready("never ends its cleanup");
    program.send("INT");
    program.prints("cleanup begins");
    program.send("INT");
    is_forced(&program.end(), 130, "SIGINT received");
}

fn another_signal_counts_as_a_second_one() {
    let mut program = ready("never ends its cleanup");
    program.send("TERM");
    program.prints("cleanup begins");
    program.send("INT");
    is_forced(&program.end(), 143, "SIGINT received");
}

fn the_end_of_the_grace_period_forces_the_end() {
    let program = ready("has no time to clean up");
    program.send("TERM");
    let ended = program.end();
    assert_eq!(ended.code, Some(143), "{:#?}", ended.err);
    assert!(ended.told("taskgroup: SIGTERM received: stopping"));
    assert!(ended.told("taskgroup: the grace period of 0ns is over: stopping at once"), "{:#?}", ended.err);
    assert!(ended.printed("worker dropped") && ended.printed("body dropped"), "{:#?}", ended.out);
    assert!(!ended.printed("cleanup ends"), "{:#?}", ended.out);
}

fn a_supervised_program_ends_the_same_way() {
    let program = ready("is supervised");
    program.send("INT");
    is_graceful(&program.end(), 130, "SIGINT");
}

fn a_supervised_program_can_leave_a_stuck_closure_behind() {
    let mut program = ready("is supervised and hangs");
    program.send("INT");
    program.prints("cleanup begins");
    program.send("INT");
    is_forced(&program.end(), 130, "SIGINT received");
}

fn a_third_signal_ends_a_program_whose_task_never_returns() {
    let mut program = ready("blocks a worker");
    program.send("INT");
    program.tells("SIGINT received: stopping");
    program.send("INT");
    program.tells("stopping at once; not ended: task \"stone\"");
    program.send("INT");
    let ended = program.end();
    assert_eq!(ended.code, Some(130), "{:#?}", ended.err);
    assert!(ended.told("the process exits"), "{:#?}", ended.err);
}

fn a_destructor_that_blocks_is_left_behind() {
    let mut program = ready("blocks in a destructor");
    program.send("INT");
    program.prints("blocked");
    program.send("INT");
    program.send("TERM");
    let ended = program.end();
    assert_eq!(ended.code, Some(130), "{:#?}", ended.err);
    assert!(ended.told("the process exits"), "{:#?}", ended.err);
}

fn a_body_that_blocks_its_thread_is_left_behind() {
    let program = ready("blocks its body");
    program.send("INT");
    let ended = program.end();
    assert_eq!(ended.code, Some(130), "{:#?}", ended.err);
    assert!(ended.told("the process exits"), "{:#?}", ended.err);
}

fn a_program_whose_body_has_ended_is_stopped_like_any() {
    let program = ready("has a value and a task");
    program.send("TERM");
    let ended = program.end();
    assert_eq!((ended.code, ended.err.len()), (Some(143), 1), "{:#?}", ended.err);
}

fn a_signal_after_a_failure_changes_nothing() {
    let mut program = ready("fails and cleans up");
    program.prints("cleanup begins");
    program.send("INT");
    program.tells("SIGINT received: already stopping");
    program.answer();
    let ended = program.end();
    assert_eq!(ended.code, Some(1), "{:#?}", ended.err);
    assert!(ended.printed("cleanup ends") && ended.printed("worker dropped"), "{:#?}", ended.out);
    assert!(ended.told("out of paper"), "{:#?}", ended.err);
}

fn a_second_signal_after_a_failure_forces_the_end() {
    let mut program = ready("fails and cleans up");
    program.prints("cleanup begins");
    program.send("INT");
    program.tells("already stopping");
    program.send("TERM");
    let ended = program.end();
    assert_eq!(ended.code, Some(130), "{:#?}", ended.err);
    assert!(ended.printed("worker dropped") && !ended.printed("cleanup ends"), "{:#?}", ended.out);
    // Also a forced end tells what had failed.
    assert!(ended.told("out of paper"), "{:#?}", ended.err);
}

fn a_value_gives_the_code() {
    let ended = Program::start("ends with a value of its own").end();
    assert_eq!((ended.code, ended.err.len()), (Some(7), 0), "{:#?}", ended.err);
}

fn a_failure_is_told_and_gives_the_code() {
    let ended = Program::start("fails").end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.err[0].starts_with("group \"main\" (") && ended.err[0].ends_with("failed with 1 failure"));
    assert!(ended.err[1].starts_with("└─ task \"worker\" ("), "{:#?}", ended.err);
    assert_eq!(ended.err[2].trim(), "out of paper");
    assert_eq!(ended.err.len(), 3);
}

fn a_panic_goes_through_main() {
    let ended = Program::start("panics").end();
    assert_eq!(ended.code, Some(101), "{:#?}", ended.err);
    assert!(ended.told("lost my way"), "{:#?}", ended.err);
}
