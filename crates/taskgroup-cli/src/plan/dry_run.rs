//! `--dry-run`: what would run, in order.
//!
//! As text it is a script: each command as it would be run, and before it, as comments, what is to be known of the
//! job. Bytes of commands come out as they are.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

use super::{Job, Needs, Plan};
use crate::event::{JobInfo, VERSION, brief};
use crate::log::Done;
use crate::trouble::Trouble;

/// Why a dry run ended early.
#[derive(Debug)]
pub(crate) enum DryRunError {
    /// The plan had an error.
    Trouble(Trouble),
    /// What would run could not be written.
    Write(io::Error),
}

impl From<io::Error> for DryRunError {
    fn from(error: io::Error) -> Self {
        DryRunError::Write(error)
    }
}

/// Writes what would run, and gives the number of jobs, those done before included. Starts nothing.
pub(crate) fn dry_run(
    plan: Plan,
    json: bool,
    done: Option<&Done>,
    out: &mut dyn Write,
) -> Result<usize, DryRunError> {
    let mut printed = 0;
    let mut print = |job: &Job, needs: &[&str]| {
        printed += 1;
        let done = done.is_some_and(|done| done.contains(&job.key()));
        if json { write_json(job, needs, done, out) } else { write_text(job, needs, done, out) }
    };
    match plan {
        Plan::Listed(jobs) => {
            let mut needs = Needs::new(&jobs);
            while let Some(number) = needs.ready() {
                let job = &jobs[number - 1];
                let names: Vec<&str> = job.needs.iter().map(|need| &*jobs[need - 1].name).collect();
                print(job, &names)?;
                needs.succeeded(number);
            }
        }
        Plan::Streamed(jobs) => {
            for job in jobs {
                print(&job.map_err(DryRunError::Trouble)?, &[])?;
            }
        }
    }
    Ok(printed)
}

fn write_text(job: &Job, needs: &[&str], done: bool, out: &mut dyn Write) -> io::Result<()> {
    let facts = facts(job, needs);
    match (job.named, facts.is_empty()) {
        (true, true) => writeln!(out, "# {}", job.name)?,
        (true, false) => writeln!(out, "# {} ({})", job.name, facts.join("; "))?,
        (false, true) => {}
        (false, false) => writeln!(out, "# ({})", facts.join("; "))?,
    }
    let line = job.command_line();
    if !done {
        out.write_all(line.as_bytes())?;
        return out.write_all(b"\n");
    }
    out.write_all(b"# done before:\n")?;
    for line in line.as_bytes().split(|&byte| byte == b'\n') {
        out.write_all(&[b"# ", line, b"\n"].concat())?;
    }
    Ok(())
}

/// What is to be known of a job besides its command; what is the same for all jobs is not.
fn facts(job: &Job, needs: &[&str]) -> Vec<String> {
    let mut facts = Vec::new();
    if !needs.is_empty() {
        facts.push(format!("needs {}", needs.join(", ")));
    }
    if let Some(dir) = &job.dir {
        facts.push(format!("in {}", one_line(&dir.to_string_lossy())));
    }
    for (name, value) in &job.env {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        facts.push(format!("{}={}", one_line(&name), one_line(&value)));
    }
    if let Some(timeout) = job.timeout {
        facts.push(format!("timeout {}", brief(timeout)));
    }
    if job.retries.count > 0 {
        facts.push(format!("retries {}", job.retries.count));
    }
    if job.tty {
        facts.push("owns the terminal".into());
    }
    facts
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// One line of JSON for a job.
#[derive(Serialize)]
struct Line<'j> {
    v: u32,
    event: &'static str,
    job: &'j JobInfo,
    needs: &'j [&'j str],
    done_before: bool,
}

fn write_json(job: &Job, needs: &[&str], done: bool, out: &mut dyn Write) -> io::Result<()> {
    let info = job.info();
    let line = Line { v: VERSION, event: "would_run", job: &info, needs, done_before: done };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    out.write_all(&bytes)
}

#[cfg(test)]
#[path = "dry_run_tests.rs"]
mod tests;
