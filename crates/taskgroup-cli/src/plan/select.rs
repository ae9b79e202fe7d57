//! Some jobs of a jobs file, and what they need.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use super::{Job, names};
use crate::trouble::Trouble;

/// The jobs with these names and all that they need, numbered anew; without any names, all jobs.
pub(super) fn only(jobs: Vec<Job>, wanted: &[OsString], file: &Path) -> Result<Vec<Job>, Trouble> {
    if wanted.is_empty() {
        return Ok(jobs);
    }
    let mut keep = vec![false; jobs.len()];
    let mut open = Vec::new();
    for name in wanted {
        let name = name.to_string_lossy();
        let Some(job) = jobs.iter().find(|job| *job.name == *name) else {
            return Err(Trouble::new(format!("there is no job `{name}`"))
                .at(file.display().to_string())
                .advice(names::advice(&name, jobs.iter().map(|job| &*job.name))));
        };
        open.push(job.number);
    }
    while let Some(number) = open.pop() {
        if !std::mem::replace(&mut keep[number - 1], true) {
            open.extend(&jobs[number - 1].needs);
        }
    }
    let kept = jobs.into_iter().filter(|job| keep[job.number - 1]);
    let mut numbers = HashMap::new();
    let mut kept: Vec<Job> = kept
        .enumerate()
        .map(|(index, mut job)| {
            numbers.insert(job.number, index + 1);
            job.number = index + 1;
            job
        })
        .collect();
    for job in &mut kept {
        job.needs.iter_mut().for_each(|need| *need = numbers[need]);
    }
    Ok(kept)
}
