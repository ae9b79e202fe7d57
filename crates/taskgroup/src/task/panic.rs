//! A caught panic.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

/// The payload of a panic that a group caught, with its message.
///
/// You meet it in [`Failure::panic`](crate::Failure::panic) under `OnPanic::Collect`, and in
/// [`StartError`](crate::StartError). It is `Sync` although payloads are not.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use taskgroup::{OnPanic, TaskGroup};
/// let group: TaskGroup = TaskGroup::builder().on_panic(OnPanic::Collect).build();
/// group.spawn::<()>(async { panic!("lost my way") });
/// let error = group.join().await.unwrap_err();
/// assert_eq!(error.first().unwrap().panic().unwrap().message(), Some("lost my way"));
/// # }
/// ```
pub struct Panic {
    message: Option<String>,
    // Never contended: the lock is there because a payload is `Send` only.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = match payload.downcast_ref::<&'static str>() {
            Some(text) => Some((*text).to_owned()),
            None => payload.downcast_ref::<String>().cloned(),
        };
        Self { message, payload: Mutex::new(payload) }
    }

    /// The text it panicked with; `None` if the payload is not a text.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The payload, as `std::panic::catch_unwind` gives it.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Goes on panicking with this payload, without running the panic hook again.
    ///
    /// # Panics
    ///
    /// Always.
    pub fn resume(self) -> ! {
        resume_unwind(self.into_payload())
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "panicked: {message}"),
            None => f.write_str("panicked with a payload that is not a text"),
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic").field("message", &self.message).finish_non_exhaustive()
    }
}

/// Runs code of a user's; a panic in it becomes a value. Everything it touched is dropped or ended by the
/// caller afterwards, so nobody sees it in a broken state.
#[inline]
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(run)).map_err(Panic::new)
}
