use super::*;
use crate::plan::Launch;
use crate::plan::maker::Maker;

const NONE: [usize; 0] = [];

/// Jobs with these needs, by number.
fn jobs(needs: &[&[usize]]) -> Vec<Job> {
    let line = ["tg", "run", "true"].map(Into::into);
    let crate::args::Action::Run(args) = crate::args::Args::read(line).expect("usage").action else {
        panic!()
    };
    let mut maker = Maker::new(&args.options).expect("maker");
    needs
        .iter()
        .map(|needs| {
            let mut job = maker.named("x".into(), Launch::Shell("true".into()));
            job.needs = needs.to_vec();
            job
        })
        .collect()
}

fn drain(needs: &mut Needs) -> Vec<usize> {
    std::iter::from_fn(|| needs.ready()).collect()
}

#[test]
fn a_diamond() {
    let mut needs = Needs::new(&jobs(&[&[2, 3], &[4], &[4], &[]]));
    assert_eq!(drain(&mut needs), [4]);
    needs.succeeded(4);
    assert_eq!(drain(&mut needs), [2, 3]);
    needs.succeeded(3);
    assert_eq!(drain(&mut needs), NONE);
    needs.succeeded(2);
    assert_eq!(drain(&mut needs), [1]);
    assert_eq!(needs.left(), 0);
    needs.succeeded(1);
    assert_eq!(drain(&mut needs), NONE);
}

#[test]
fn without_needs_the_order_is_that_of_reading() {
    let mut needs = Needs::new(&jobs(&[&[], &[], &[]]));
    assert_eq!(needs.left(), 3);
    assert_eq!(drain(&mut needs), [1, 2, 3]);
}

#[test]
fn what_needs_a_failed_job_is_lost_once() {
    let mut needs = Needs::new(&jobs(&[&[], &[1], &[2], &[5], &[], &[2, 4]]));
    assert_eq!(drain(&mut needs), [1, 5]);
    assert_eq!(needs.failed(1), [2, 3, 6]);
    assert_eq!(needs.left(), 1);
    needs.succeeded(5);
    assert_eq!(drain(&mut needs), [4]);
    needs.succeeded(4);
    assert_eq!(drain(&mut needs), NONE, "6 is lost though another need of it has succeeded");
    assert_eq!(needs.left(), 0);
}

#[test]
fn two_failures_lose_a_job_once() {
    let mut needs = Needs::new(&jobs(&[&[], &[], &[1, 2]]));
    assert_eq!(drain(&mut needs), [1, 2]);
    assert_eq!(needs.failed(2), [3]);
    assert_eq!(needs.failed(1), NONE);
    assert_eq!(needs.left(), 0);
}

#[test]
fn cycles() {
    assert_eq!(find_cycle(&[vec![], vec![0], vec![0, 1]]), None);
    assert_eq!(find_cycle(&[vec![0]]), Some(vec![0]));
    assert_eq!(find_cycle(&[vec![1], vec![2], vec![3], vec![1]]), Some(vec![1, 2, 3]));
    assert_eq!(find_cycle(&[]), None);
}

#[test]
fn a_chain_of_any_length_is_no_recursion() {
    const LENGTH: usize = 300_000;
    let mut graph: Vec<Vec<usize>> = (0..LENGTH).map(|node| vec![node + 1]).collect();
    graph.push(vec![]);
    assert_eq!(find_cycle(&graph), None);
    graph[LENGTH].push(0);
    assert_eq!(find_cycle(&graph).map(|cycle| cycle.len()), Some(LENGTH + 1));
}
