//! Errors that carry other errors: `anyhow::Error` and `Box<dyn Error + Send + Sync>`.
//!
//! A group is generic over any `E`; only where `E` is one of these two can an error have another type
//! inside it, or a nested group. Everything else in this crate asks here and knows of neither.

use std::any::Any;
use std::error::Error as StdError;

use super::{ErrorGroup, StartError};
use crate::task::TaskError;
use crate::tree::Cancelled;

type Boxed = Box<dyn StdError + Send + Sync>;

/// A value under another name of its type; given back if the types differ.
fn cast<A: 'static, B: 'static>(value: A) -> Result<B, A> {
    let mut slot = Some(value);
    match (&mut slot as &mut dyn Any).downcast_mut::<Option<B>>() {
        Some(same) => Ok(same.take().expect("filled above")),
        None => Err(slot.expect("filled above")),
    }
}

fn cast_ref<A: 'static, B: 'static>(value: &A) -> Option<&B> {
    (value as &dyn Any).downcast_ref()
}

fn cast_mut<A: 'static, B: 'static>(value: &mut A) -> Option<&mut B> {
    (value as &mut dyn Any).downcast_mut()
}

/// The `X` that this error is, or carries.
pub(crate) fn find<E: 'static, X>(error: &E) -> Option<&X>
where
    X: StdError + Send + Sync + 'static,
{
    if let Some(found) = cast_ref::<E, X>(error) {
        return Some(found);
    }
    if let Some(error) = cast_ref::<E, anyhow::Error>(error) {
        return error.downcast_ref();
    }
    cast_ref::<E, Boxed>(error).and_then(|error| error.downcast_ref())
}

/// Takes the `X` out of an error that is or carries one.
pub(crate) fn take<E: 'static, X>(error: E) -> Result<X, E>
where
    X: StdError + Send + Sync + 'static,
{
    let error = match cast::<E, X>(error) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let error = match cast::<E, anyhow::Error>(error) {
        Ok(error) => return error.downcast().map_err(|error| same(error)),
        Err(error) => error,
    };
    match cast::<E, Boxed>(error) {
        Ok(error) => error.downcast().map(|found| *found).map_err(|error| same(error)),
        Err(error) => Err(error),
    }
}

/// Back from a carrier to the `E` that is known to be that carrier.
fn same<A: 'static, E: 'static>(value: A) -> E {
    match cast(value) {
        Ok(value) => value,
        Err(_) => unreachable!("the caller has cast the other way"),
    }
}

/// The group that this error is or carries.
pub(crate) fn nested<E: 'static>(error: &E) -> Option<&ErrorGroup<E>> {
    if let Some(error) = cast_ref::<E, anyhow::Error>(error) {
        return error.downcast_ref::<ErrorGroup<anyhow::Error>>().and_then(cast_ref);
    }
    let error = cast_ref::<E, Boxed>(error)?;
    error.downcast_ref::<ErrorGroup<Boxed>>().and_then(cast_ref)
}

/// [`nested`], to take failures out of the group where it lies; an `anyhow` context around it stays.
pub(crate) fn nested_mut<E: 'static>(error: &mut E) -> Option<&mut ErrorGroup<E>> {
    if (error as &dyn Any).is::<anyhow::Error>() {
        let error = cast_mut::<E, anyhow::Error>(error)?;
        return error.downcast_mut::<ErrorGroup<anyhow::Error>>().and_then(cast_mut);
    }
    let error = cast_mut::<E, Boxed>(error)?;
    error.downcast_mut::<ErrorGroup<Boxed>>().and_then(cast_mut)
}

/// Makes an error of a group, where `E` is a carrier.
pub(crate) fn wrap<E: 'static>(group: ErrorGroup<E>) -> Result<E, ErrorGroup<E>> {
    let group = match cast::<ErrorGroup<E>, ErrorGroup<anyhow::Error>>(group) {
        Ok(group) => return Ok(same(anyhow::Error::new(group))),
        Err(group) => group,
    };
    match cast::<ErrorGroup<E>, ErrorGroup<Boxed>>(group) {
        Ok(group) => Ok(same(Boxed::from(group))),
        Err(group) => Err(group),
    }
}

/// The lines of an error that is a carrier: its own text and that of each cause, down to a nested group.
/// `None`: `E` is no carrier.
pub(crate) fn chain_texts<E: 'static>(error: &E) -> Option<Vec<String>> {
    let first: &(dyn StdError + 'static) = match cast_ref::<E, anyhow::Error>(error) {
        Some(error) => error.as_ref(),
        None => &**cast_ref::<E, Boxed>(error)?,
    };
    let chain = std::iter::successors(Some(first), |error: &&'_ (dyn StdError + 'static)| (*error).source());
    let texts = chain
        .take_while(|error| !error.is::<ErrorGroup<anyhow::Error>>() && !error.is::<ErrorGroup<Boxed>>())
        .map(super::display::text_of);
    Some(texts.collect())
}

/// The text of an error that is nothing but a text.
pub(crate) fn plain_text<E: 'static>(error: &E) -> Option<String> {
    let borrowed = cast_ref::<E, &'static str>(error).map(|text| (*text).to_owned());
    borrowed.or_else(|| cast_ref::<E, String>(error).cloned())
}

/// Whether an error says "I was cancelled" (R9): it is or carries `Cancelled`, the `TaskError` or
/// `StartError` of a cancelled task, or a group that was cancelled and has no failure.
pub(crate) fn means_cancelled<E: 'static>(error: &E) -> bool {
    find::<E, Cancelled>(error).is_some()
        || find::<E, TaskError>(error).is_some_and(TaskError::is_cancelled)
        || find::<E, StartError<anyhow::Error>>(error).is_some_and(StartError::is_cancelled)
        || find::<E, StartError<Boxed>>(error).is_some_and(StartError::is_cancelled)
        || cast_ref::<E, ErrorGroup<E>>(error).or_else(|| nested(error)).is_some_and(ErrorGroup::is_cancelled)
}
