//! Which job may start when: the graph of needs.
//!
//! 1. A job is *waiting* (some need has not succeeded), then *ready*, then *given out*; or it is *lost*, because a
//!    need of it has failed or is lost.
//! 2. [`Needs::ready`] gives each job out at most once, of those that are ready the lowest number first.
//! 3. [`Needs::failed`] tells of each lost job exactly once, and a lost job is never given out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Job;

/// The graph, and how far it has come.
#[derive(Debug)]
pub(crate) struct Needs {
    /// By index, the number of needs that have not succeeded yet; `None` once the job is lost.
    missing: Vec<Option<usize>>,
    /// By index, the indices of the jobs that need it.
    needed_by: Vec<Vec<usize>>,
    ready: BinaryHeap<Reverse<usize>>,
    /// How many are neither given out nor lost.
    left: usize,
}

impl Needs {
    /// The needs of a list of jobs (of [`Plan::Listed`](super::Plan)), none of which has started.
    pub(crate) fn new(jobs: &[Job]) -> Self {
        let graph: Vec<Vec<usize>> =
            jobs.iter().map(|job| job.needs.iter().map(|number| number - 1).collect()).collect();
        let mut needed_by = vec![Vec::new(); graph.len()];
        for (index, needs) in graph.iter().enumerate() {
            for &need in needs {
                needed_by[need].push(index);
            }
        }
        let missing: Vec<Option<usize>> = graph.iter().map(|needs| Some(needs.len())).collect();
        let ready = (0..graph.len()).filter(|&index| graph[index].is_empty()).map(Reverse).collect();
        Needs { missing, needed_by, ready, left: graph.len() }
    }

    /// Gives out the number of a job that can start now.
    pub(crate) fn ready(&mut self) -> Option<usize> {
        let Reverse(index) = self.ready.pop()?;
        self.left -= 1;
        Some(index + 1)
    }

    /// How many jobs are neither given out nor lost.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// A job that was given out has succeeded, now or in an earlier run.
    pub(crate) fn succeeded(&mut self, number: usize) {
        for &index in &self.needed_by[number - 1] {
            if let Some(missing) = &mut self.missing[index] {
                *missing -= 1;
                if *missing == 0 {
                    self.ready.push(Reverse(index));
                }
            }
        }
    }

    /// A job that was given out has failed for good. Gives the numbers of the jobs that now can never start, in
    /// ascending order.
    pub(crate) fn failed(&mut self, number: usize) -> Vec<usize> {
        let mut lost = Vec::new();
        let mut open = vec![number - 1];
        while let Some(failed) = open.pop() {
            for &index in &self.needed_by[failed] {
                if self.missing[index].take().is_some() {
                    lost.push(index + 1);
                    open.push(index);
                }
            }
        }
        self.left -= lost.len();
        lost.sort_unstable();
        lost
    }
}

/// A cycle in a graph of needs, by index: each needs the next, and the last the first.
pub(super) fn find_cycle(graph: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Clear,
    }
    let mut marks = vec![Mark::New; graph.len()];
    // The path that is being followed: a node, and which of its needs comes next. Not recursive, for it may be long.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..graph.len() {
        if marks[start] == Mark::New {
            marks[start] = Mark::OnPath;
            path.push((start, 0));
        }
        while let Some((node, next)) = path.last_mut() {
            let Some(&need) = graph[*node].get(*next) else {
                marks[*node] = Mark::Clear;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[need] {
                Mark::Clear => {}
                Mark::New => {
                    marks[need] = Mark::OnPath;
                    path.push((need, 0));
                }
                Mark::OnPath => {
                    return Some(
                        path.iter().map(|(node, _)| *node).skip_while(|node| *node != need).collect(),
                    );
                }
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "needs_tests.rs"]
mod tests;
