//! The primitives that protocols between threads are built on: std's, or loom's when the crate is
//! compiled with `--cfg taskgroup_loom` to be model-checked.

#[cfg(taskgroup_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
    sync::{Condvar, Mutex, MutexGuard},
    thread_local,
};

#[cfg(not(taskgroup_loom))]
pub(crate) use self::plain::UnsafeCell;
#[cfg(not(taskgroup_loom))]
pub(crate) use std::{
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
    sync::{Condvar, Mutex, MutexGuard},
    thread_local,
};

// A plain `Arc` in both worlds: loom's cannot hold a `dyn Trait` on stable, and no protocol of ours
// leans on the count.
pub(crate) use std::sync::Arc;

/// Locks, poisoned or not: no code of a user runs under any lock of this crate, so a poisoned one
/// only says that an assertion of ours failed elsewhere, and the promise still has to be kept.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A number for this thread, never zero, never used again in the life of the process.
pub(crate) fn thread_token() -> u32 {
    thread_local! {
        static TOKEN: u32 = next_token();
    }
    TOKEN.try_with(|token| *token).unwrap_or_else(|_torn_down| next_token())
}

fn next_token() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[cfg(not(taskgroup_loom))]
mod plain {
    /// std's cell behind loom's interface.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        pub(crate) fn into_inner(self) -> T {
            self.0.into_inner()
        }

        #[inline]
        pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        #[inline]
        pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}
