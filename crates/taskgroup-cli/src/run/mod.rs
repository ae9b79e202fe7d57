//! A run: jobs as children of one task group, started as there is room, ended together.
//!
//! ```text
//!   source ──▶ scheduler ──spawns──▶ job ──▶ attempt ──▶ a command behind its keeper (taskgroup-process)
//!                 │  ▲                │
//!          orders │  └──── endings ───┘
//!                 ▼
//!            all jobs (a watch channel): end, hurry, suspend
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`scheduler`] | the loop: who may start, what an end means for the others, signals, time |
//! | [`state`] | what the run has come to: counts, why it ends, the exit code |
//! | [`source`] | gives out the jobs: a list with needs, or a stream |
//! | [`job`] | one job: its attempts and the waits between them |
//! | [`attempt`] | one attempt: the command, its output, its time limit |
//! | [`orders`] | what all jobs are told |
//! | [`signals`], [`keyboard`], [`terminal`] | the outside |
//!
//! # Invariants
//!
//! 1. The scheduler alone decides; jobs tell it of their ends, and do what the orders say.
//! 2. Orders only ever move on: ending, then hurried. Suspended comes and goes.
//! 3. A job is a child of the group, and has ended when no process of it is alive. The group's exit is that of all.
//! 4. Nothing here blocks but the appending of a line to the log.

mod attempt;
mod job;
mod keyboard;
mod orders;
mod scheduler;
mod signals;
mod source;
mod state;
mod terminal;

pub(crate) use scheduler::{Came, Run, run};
