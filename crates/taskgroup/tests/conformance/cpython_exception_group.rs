//! CPython's suite for exception groups: the shape of the aggregate error, and taking it apart.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use taskgroup::{Error, ErrorGroup, Failure, Id, OnFailure, OnPanic, TaskGroup};

#[derive(Debug)]
struct BadValue(i32);

impl std::fmt::Display for BadValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bad value {}", self.0)
    }
}

impl std::error::Error for BadValue {}

#[derive(Debug)]
struct BadType(&'static str);

impl std::fmt::Display for BadType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bad type {}", self.0)
    }
}

impl std::error::Error for BadType {}

fn value(number: i32) -> Error {
    Error::new(BadValue(number))
}

fn kind(name: &'static str) -> Error {
    Error::new(BadType(name))
}

/// What one task of a group made for a test does.
enum Fails {
    With(Error),
    Panics(&'static str),
}

impl From<Error> for Fails {
    fn from(error: Error) -> Self {
        Fails::With(error)
    }
}

impl From<ErrorGroup> for Fails {
    fn from(nested: ErrorGroup) -> Self {
        Fails::With(Error::new(nested))
    }
}

/// The error of a real group whose tasks fail in this order.
async fn failed(name: &'static str, tasks: impl IntoIterator<Item = Fails>) -> ErrorGroup {
    let builder = TaskGroup::builder().name(name);
    let group: TaskGroup = builder.on_failure(OnFailure::Continue).on_panic(OnPanic::Collect).build();
    for task in tasks {
        group.spawn::<()>(async move {
            match task {
                Fails::With(error) => Err(error),
                Fails::Panics(text) => std::panic::panic_any(text),
            }
        });
        group.wait_idle().await;
    }
    group.join().await.unwrap_err()
}

/// `flat`: a value, a type, a value.
async fn flat() -> ErrorGroup {
    failed("flat", [value(1).into(), kind("int").into(), value(2).into()]).await
}

/// Three levels, and a context around the innermost group:
///
/// `root: [middle: [1, inner: [int, 2], str], 3, only types: [list]]`
async fn deep() -> ErrorGroup {
    let inner = failed("inner", [kind("int").into(), value(2).into()]).await;
    let inner = Error::new(inner).context("while deep inside");
    let middle = failed("middle", [value(1).into(), inner.into(), kind("str").into()]).await;
    let types = failed("only types", [kind("list").into()]).await;
    failed("root", [middle.into(), value(3).into(), types.into()]).await
}

fn is_value(failure: &Failure<Error>) -> bool {
    failure.is::<BadValue>()
}

fn is_type(failure: &Failure<Error>) -> bool {
    failure.is::<BadType>()
}

/// The shape of a group: names of groups in brackets, texts of errors, and of panics behind a `!`.
fn shape(group: &ErrorGroup) -> String {
    let members: Vec<String> = group
        .failures()
        .iter()
        .map(|failure| match (failure.nested(), failure.panic()) {
            (Some(nested), _) => shape(nested),
            (None, Some(panic)) => format!("!{}", panic.message().unwrap()),
            (None, None) => failure.error().unwrap().to_string(),
        })
        .collect();
    format!("{}[{}]", group.name().unwrap(), members.join(", "))
}

const DEEP: &str = "root[middle[bad value 1, inner[bad type int, bad value 2], bad type str], \
                    bad value 3, only types[bad type list]]";

fn ids(group: &ErrorGroup) -> Vec<Id> {
    group.leaves().map(Failure::id).collect()
}

/// Checks that `whole` is what was split, leaf by leaf the same failures under the same group.
fn assert_same(whole: &ErrorGroup, id: Id, leaves: &[Id], text: &str) {
    assert_eq!(whole.id(), id);
    assert_eq!(ids(whole), leaves);
    assert_eq!(shape(whole), text);
}

/// There is no group of errors without an error.
#[test]
fn line_06_test_bad_eg_construction_bad_excs_sequence() {
    assert!(ErrorGroup::from_errors(Vec::<Error>::new()).is_none());
    let one = ErrorGroup::from_errors([value(1)]).unwrap();
    assert_eq!((one.len(), one.is_empty(), one.is_cancelled()), (1, false, false));
}

/// A group that collects panics, but met only errors, holds only errors.
#[tokio::test(start_paused = true)]
async fn line_09_test_beg_wraps_exceptions_creates_eg() {
    let group = flat().await;
    assert!(group.failures().iter().all(|failure| failure.panic().is_none()));
    let errors: Vec<Error> =
        group.into_failures().into_iter().map(|failure| failure.into_error().unwrap()).collect();
    assert_eq!(errors.len(), 3);
}

/// By default a panic is no member of a group: it is resumed, whatever errors stood beside it (R10).
#[tokio::test(start_paused = true)]
async fn line_10_test_eg_wraps_base_exception_raises_type_error() {
    let group: TaskGroup = TaskGroup::builder().on_failure(OnFailure::Continue).build();
    group.spawn(async { Err::<(), _>(value(1)) });
    group.spawn::<()>(async { std::panic::panic_any("exit") });
    let payload = AssertUnwindSafe(group.join()).catch_unwind().await.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"exit"));
}

/// With `OnPanic::Collect` a panic is a member beside the errors, payload included.
#[tokio::test(start_paused = true)]
async fn line_11_test_beg_wraps_base_exception_creates_beg() {
    let group = failed("mixed", [value(1).into(), Fails::Panics("exit"), value(2).into()]).await;
    assert_eq!(shape(&group), "mixed[bad value 1, !exit, bad value 2]");
    let mut failures = group.into_failures();
    let panicked = failures.remove(1).into_error().unwrap_err();
    let payload: Box<dyn Any + Send> = panicked.into_panic().unwrap().into_payload();
    assert_eq!(payload.downcast_ref(), Some(&"exit"));
    let error = failures.remove(0).into_panic().unwrap_err();
    assert!(error.is::<BadValue>());
}

/// `{}` is one line with the group's name and the number of leaves; the tree of `{:#}`, which `{:?}` shows
/// too, counts the direct members at each level.
#[tokio::test(start_paused = true)]
async fn line_18_test_exception_group() {
    let line = flat().await.to_string();
    assert!(line.starts_with("group \"flat\" (#"), "{line}");
    for part in [") failed with 3 failures: ", "bad value 1; ", "bad type int; ", "bad value 2"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(line.lines().count(), 1);

    let group = failed("nested", [value(0).into(), flat().await.into()]).await;
    let line = group.to_string();
    assert!(line.contains(") failed with 4 failures: ") && line.ends_with("; and 1 more"), "{line}");
    assert_eq!(line.lines().count(), 1);

    let tree = format!("{group:#}");
    assert!(tree.starts_with("group \"nested\" (#"), "{tree}");
    let with = |text: &str| tree.lines().filter(|line| line.contains(text)).count();
    assert_eq!(with("group \"nested\" ("), 1);
    assert!(tree.lines().next().unwrap().ends_with(" failed with 2 failures"), "{tree}");
    let inner = tree.lines().find(|line| line.contains("group \"flat\" (")).expect("the inner group");
    assert!(inner.ends_with(" failed with 3 failures"), "{tree}");
    for leaf in ["bad value 0", "bad value 1", "bad type int", "bad value 2"] {
        assert_eq!(with(leaf), 1, "{tree}");
    }
    assert_eq!(format!("{group:?}"), tree);
}

/// Name and members stand as they were given, in order, each with its own chain of causes.
#[tokio::test(start_paused = true)]
async fn line_23_test_basics_exception_group_fields() {
    let caused = value(1).context("cannot divide").context("no result");
    let group = failed("fields", [caused.into(), kind("int").into()]).await;
    assert_eq!((group.name(), group.len()), (Some("fields"), 2));
    let chains: Vec<Vec<String>> = group
        .failures()
        .iter()
        .map(|failure| failure.error().unwrap().chain().map(ToString::to_string).collect())
        .collect();
    assert_eq!(chains, [vec!["no result", "cannot divide", "bad value 1"], vec!["bad type int"]]);
    assert_eq!(group.failures()[0].downcast_ref::<BadValue>().unwrap().0, 1);
    let tree = format!("{group:#}");
    assert!(tree.contains("caused by: cannot divide") && tree.contains("caused by: bad value 1"), "{tree}");
}

/// A filter that every leaf passes gives the group with the failures it had.
#[tokio::test(start_paused = true)]
async fn line_26_test_basics_subgroup_by_type_passthrough() {
    let group = flat().await;
    let (id, leaves) = (group.id(), ids(&group));
    let same = group.subgroup(|failure| is_value(failure) || is_type(failure)).unwrap();
    assert_same(&same, id, &leaves, "flat[bad value 1, bad type int, bad value 2]");
}

/// A filter by a type that no leaf has gives nothing.
#[tokio::test(start_paused = true)]
async fn line_27_test_basics_subgroup_by_type_no_match() {
    assert!(flat().await.subgroup(Failure::is::<std::io::Error>).is_none());
}

/// A filter by type keeps name, order and the matching leaves; one type or the other keeps all.
#[tokio::test(start_paused = true)]
async fn line_28_test_basics_subgroup_by_type_match() {
    let group = flat().await;
    let (id, leaves) = (group.id(), ids(&group));
    let values = group.subgroup(is_value).unwrap();
    assert_same(&values, id, &[leaves[0], leaves[2]], "flat[bad value 1, bad value 2]");
    assert_eq!(shape(&flat().await.subgroup(is_type).unwrap()), "flat[bad type int]");
    let union = flat().await.subgroup(|failure| is_type(failure) || is_value(failure)).unwrap();
    assert_eq!(shape(&union), "flat[bad value 1, bad type int, bad value 2]");
}

/// A predicate that always holds gives the group with the failures it had; it is asked once for each leaf.
#[tokio::test(start_paused = true)]
async fn line_29_test_basics_subgroup_by_predicate_passthrough() {
    let group = flat().await;
    let (id, leaves) = (group.id(), ids(&group));
    let mut asked = Vec::new();
    let same = group.subgroup(|failure| {
        asked.push(failure.id());
        true
    });
    assert_same(&same.unwrap(), id, &leaves, "flat[bad value 1, bad type int, bad value 2]");
    assert_eq!(asked, leaves);
}

/// A predicate that never holds gives nothing.
#[tokio::test(start_paused = true)]
async fn line_30_test_basics_subgroup_by_predicate_no_match() {
    assert!(flat().await.subgroup(|_| false).is_none());
}

/// A predicate on the error itself selects what its type would, and can select finer.
#[tokio::test(start_paused = true)]
async fn line_31_test_basics_subgroup_by_predicate_match() {
    let starts = |failure: &Failure<Error>| failure.error().unwrap().to_string().starts_with("bad value");
    let by_predicate = flat().await.subgroup(starts).unwrap();
    assert_eq!(shape(&by_predicate), shape(&flat().await.subgroup(is_value).unwrap()));
    let finer = |failure: &Failure<Error>| failure.downcast_ref::<BadValue>().is_some_and(|bad| bad.0 == 2);
    assert_eq!(shape(&flat().await.subgroup(finer).unwrap()), "flat[bad value 2]");
}

/// A split by a type that all have: everything, and nothing.
#[tokio::test(start_paused = true)]
async fn line_32_test_basics_split_by_type_passthrough() {
    let group = failed("values", [value(1).into(), value(2).into()]).await;
    let (id, leaves) = (group.id(), ids(&group));
    let (matching, rest) = group.split(is_value);
    assert_same(&matching.unwrap(), id, &leaves, "values[bad value 1, bad value 2]");
    assert!(rest.is_none());
}

/// A split by a type that none has: nothing, and everything.
#[tokio::test(start_paused = true)]
async fn line_33_test_basics_split_by_type_no_match() {
    let group = flat().await;
    let (id, leaves) = (group.id(), ids(&group));
    let (matching, rest) = group.split(Failure::is::<std::io::Error>);
    assert!(matching.is_none());
    assert_same(&rest.unwrap(), id, &leaves, "flat[bad value 1, bad type int, bad value 2]");
}

/// A split by type: two groups of one name and identity, the leaves dealt out in order.
#[tokio::test(start_paused = true)]
async fn line_34_test_basics_split_by_type_match() {
    let group = flat().await;
    let (id, leaves) = (group.id(), ids(&group));
    let (matching, rest) = group.split(is_value);
    assert_same(&matching.unwrap(), id, &[leaves[0], leaves[2]], "flat[bad value 1, bad value 2]");
    assert_same(&rest.unwrap(), id, &[leaves[1]], "flat[bad type int]");
}

/// A split by a predicate that always holds: everything, and nothing.
#[tokio::test(start_paused = true)]
async fn line_35_test_basics_split_by_predicate_passthrough() {
    let (matching, rest) = flat().await.split(|_| true);
    assert_eq!(shape(&matching.unwrap()), "flat[bad value 1, bad type int, bad value 2]");
    assert!(rest.is_none());
}

/// A split by a predicate that never holds: nothing, and everything.
#[tokio::test(start_paused = true)]
async fn line_36_test_basics_split_by_predicate_no_match() {
    let (matching, rest) = flat().await.split(|_| false);
    assert!(matching.is_none());
    assert_eq!(shape(&rest.unwrap()), "flat[bad value 1, bad type int, bad value 2]");
}

/// A predicate may remember: every other leaf to either side.
#[tokio::test(start_paused = true)]
async fn line_37_test_basics_split_by_predicate_match() {
    let mut odd = false;
    let (matching, rest) = flat().await.split(|_| {
        odd = !odd;
        odd
    });
    assert_eq!(shape(&matching.unwrap()), "flat[bad value 1, bad value 2]");
    assert_eq!(shape(&rest.unwrap()), "flat[bad type int]");
}

/// A filter over a group nested 3,000 deep keeps all of its nesting, without recursion (R18).
#[test]
fn line_39_test_deep_subgroup() {
    const DEPTH: usize = 3_000;
    let mut group = ErrorGroup::from_errors([kind("int"), value(0)]).unwrap();
    for _ in 1..DEPTH {
        group = ErrorGroup::from_errors([Error::new(group)]).unwrap();
    }
    let values = group.subgroup(is_value).unwrap();
    assert_eq!(values.leaves().count(), 1);
    let (mut level, mut depth) = (&values, 1);
    while let Some(nested) = level.failures()[0].nested() {
        assert_eq!(level.len(), 1);
        (level, depth) = (nested, depth + 1);
    }
    assert_eq!(depth, DEPTH);
    assert_eq!(level.len(), 1);
    assert!(level.failures()[0].is::<BadValue>());
    assert!(values.subgroup(is_type).is_none());
}

/// The leaves are walked once each, depth first, in order; owned they come in the same order.
#[tokio::test(start_paused = true)]
async fn line_40_test_leaf_generator() {
    let group = deep().await;
    assert_eq!(shape(&group), DEEP);
    let expected =
        ["bad value 1", "bad type int", "bad value 2", "bad type str", "bad value 3", "bad type list"];
    let leaves: Vec<String> = group.leaves().map(|leaf| leaf.error().unwrap().to_string()).collect();
    assert_eq!(leaves, expected);
    let walked = ids(&group);
    assert!(walked.iter().enumerate().all(|(at, id)| !walked[..at].contains(id)));
    let owned = group.into_leaves();
    assert_eq!(owned.iter().map(Failure::id).collect::<Vec<_>>(), walked);
}

/// A group in a group beside a leaf is read as it was built.
#[tokio::test(start_paused = true)]
async fn line_41_test_nested_group_matches_template() {
    let pair = failed("pair", [value(1).into(), kind("int").into()]).await;
    let group = failed("root", [pair.into(), value(2).into()]).await;
    assert_eq!((group.len(), group.leaves().count()), (2, 3));
    let [first, second] = group.failures() else { panic!("two members") };
    let nested = first.nested().unwrap();
    assert_eq!((nested.name(), nested.len()), (Some("pair"), 2));
    assert!(nested.failures().iter().all(|leaf| leaf.nested().is_none()));
    assert!(nested.failures()[0].is::<BadValue>() && nested.failures()[1].is::<BadType>());
    assert!(second.nested().is_none());
    assert_eq!(second.downcast_ref::<BadValue>().unwrap().0, 2);
}

/// A split of three levels keeps names, contexts and nesting on both sides and drops emptied branches; every
/// leaf lands on one side. Groups themselves are never asked about.
#[tokio::test(start_paused = true)]
async fn line_45_test_split_by_type() {
    let group = deep().await;
    let mut all = ids(&group);
    let (values, types) = group.split(is_value);
    let (values, types) = (values.unwrap(), types.unwrap());
    assert_eq!(shape(&values), "root[middle[bad value 1, inner[bad value 2]], bad value 3]");
    assert_eq!(shape(&types), "root[middle[inner[bad type int], bad type str], only types[bad type list]]");
    let mut both: Vec<Id> = ids(&values).into_iter().chain(ids(&types)).collect();
    both.sort_unstable();
    all.sort_unstable();
    assert_eq!(both, all);
    assert!(format!("{types:#}").contains("while deep inside"));

    let (matching, rest) = deep().await.split(|failure| failure.is::<ErrorGroup>());
    assert!(matching.is_none());
    assert_eq!(shape(&rest.unwrap()), DEEP);
}

/// Of a tree with a panic in it, one side of a split has the panic and the other is plain; nesting stays.
#[tokio::test(start_paused = true)]
async fn line_46_test_split_base_exception_group() {
    let mixed = failed("mixed", [value(1).into(), Fails::Panics("exit")]).await;
    let group = failed("root", [mixed.into(), value(2).into()]).await;
    let (errors, panics) = group.split(|failure| failure.error().is_some());
    let (errors, panics) = (errors.unwrap(), panics.unwrap());
    assert_eq!(shape(&errors), "root[mixed[bad value 1], bad value 2]");
    assert!(errors.leaves().all(|leaf| leaf.panic().is_none()));
    assert_eq!(shape(&panics), "root[mixed[!exit]]");
    let leaf = panics.into_leaves().pop().unwrap();
    assert_eq!(leaf.into_panic().unwrap().into_payload().downcast_ref(), Some(&"exit"));
}
