//! On which threads a group of this kind may be.

use std::marker::PhantomData;

/// The host of a [`LocalGroup`](crate::LocalGroup): its children never leave the thread, and need not be `Send`.
#[derive(Clone, Copy, Debug)]
pub struct SameThread(PhantomData<*const ()>);

/// The host of a [`SendLocalGroup`](crate::SendLocalGroup): it may move from thread to thread between two polls, with
/// all its children, which are `Send`.
#[derive(Clone, Copy, Debug)]
pub struct AnyThread(());

/// Where the host of a [`HostedGroup`](crate::HostedGroup) may be: [`SameThread`] or [`AnyThread`].
pub trait Host: sealed::Host + 'static {}

impl Host for SameThread {}
impl Host for AnyThread {}

pub(super) mod sealed {
    pub trait Host {
        /// Whether spawners and handles may be on other threads than the host.
        const SHARED: bool;
    }

    impl Host for super::SameThread {
        const SHARED: bool = false;
    }

    impl Host for super::AnyThread {
        const SHARED: bool = true;
    }
}

/// What may go where a host of this kind goes: anything for [`SameThread`], what is `Send` for [`AnyThread`].
///
/// Implemented for all types that it holds for; not for hand-writing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Send`, and a `SendLocalGroup` takes only what is",
    label = "not `Send`",
    note = "a `LocalGroup` takes children that are not `Send`; its own future is not `Send` either then"
)]
pub trait Fits<H: Host> {}

impl<T: ?Sized> Fits<SameThread> for T {}
impl<T: ?Sized + Send> Fits<AnyThread> for T {}
