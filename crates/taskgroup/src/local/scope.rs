//! `local_scope`: a local group around a closure.

use std::future::Future;
use std::panic::Location;

use super::kind::{Host, SameThread};
use super::run::LocalRun;
use super::{HostedGroup, LocalGroup};
use crate::error::ErrorGroup;
use crate::group::Settings;

/// Opens a [`LocalGroup`], runs `body` in it, and returns when the body and every child in the group have ended.
///
/// The way to run futures together that borrow from what is around the call, on one thread. What they borrow must be there
/// before the call, for they may outlive the body: what the body itself has on its stack cannot be borrowed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), taskgroup::ErrorGroup> {
/// let (words, letters) = (String::from("one two three"), std::cell::Cell::new(0));
/// taskgroup::local_scope(async |group: &taskgroup::LocalGroup| {
///     for word in words.split(' ') {
///         let letters = &letters;
///         group.spawn(async move { Ok(letters.set(letters.get() + word.len())) });
///     }
///     Ok(())
/// })
/// .await?;
/// assert_eq!(letters.get(), 11);
/// # Ok(()) }
/// ```
///
/// In a future that is itself to be spawned, take [`SendLocalGroup`](crate::SendLocalGroup).
///
/// # Cancel safety
///
/// Dropping the future drops every child of the group before the drop returns.
///
/// # Errors
///
/// Every failure of body and children, as one [`ErrorGroup`]; without failures, when the group was cancelled by its own
/// `cancel` and the body had no value yet.
///
/// # Panics
///
/// If the body or a child panicked, with the payload of the first such panic, after all have ended.
#[track_caller]
pub fn local_scope<'env, T, E, F>(
    body: F,
) -> impl Future<Output = Result<T, ErrorGroup<E>>> + use<'env, T, E, F>
where
    F: AsyncFnOnce(&LocalGroup<'env, E>) -> Result<T, E>,
    E: Send + 'static,
{
    scope_with::<'env, T, E, F, SameThread>(Settings::default(), body, Location::caller())
}

pub(super) async fn scope_with<'env, T, E, F, H>(
    settings: Settings<E>,
    body: F,
    location: &'static Location<'static>,
) -> Result<T, ErrorGroup<E>>
where
    F: AsyncFnOnce(&HostedGroup<'env, E, H>) -> Result<T, E>,
    E: Send + 'static,
    H: Host,
{
    let group = HostedGroup::open(settings, location);
    // Called inside the body, so that what a plain closure does before its future is done there too.
    let body = async { body(&group).await };
    LocalRun::new(&group, body, location).await
}
