// SPDX-License-Identifier: GPL-2.0

//! Mutexes, and what they protect.

use super::bindings;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr,
};

/// A mutex of the kernel's, which `helpers.c` initializes.
///
/// # Safety
///
/// [`raw`](Raw::raw) returns always the same, which is one.
pub(crate) unsafe trait Raw {
    /// Where it is.
    fn raw(&self) -> *mut bindings::mutex;
}

/// The mutex of the list of VMs.
pub(crate) struct VmsMutex;

// SAFETY: `helpers.c` has it.
unsafe impl Raw for VmsMutex {
    fn raw(&self) -> *mut bindings::mutex {
        // SAFETY: The address of a static of C's, which is not read.
        unsafe { ptr::addr_of_mut!(bindings::exitprof_vms_mutex) }
    }
}

/// The mutex of who reads all VMs.
pub(crate) struct ReadingMutex;

// SAFETY: `helpers.c` has it.
unsafe impl Raw for ReadingMutex {
    fn raw(&self) -> *mut bindings::mutex {
        // SAFETY: The address of a static of C's, which is not read.
        unsafe { ptr::addr_of_mut!(bindings::exitprof_reading_mutex) }
    }
}

/// A mutex that is a part of something else.
///
/// # Invariants
///
/// It is not used before [`init`](OwnMutex::init).
pub(crate) struct OwnMutex(UnsafeCell<bindings::mutex>);

// SAFETY: By the type's invariant.
unsafe impl Raw for OwnMutex {
    fn raw(&self) -> *mut bindings::mutex {
        self.0.get()
    }
}

/// What a mutex protects.
pub(crate) struct Mutex<R, T> {
    raw: R,
    data: UnsafeCell<T>,
}

// SAFETY: The data is reached under the mutex alone, from any task.
unsafe impl<R: Raw, T: Send> Sync for Mutex<R, T> {}

impl<R: Raw, T> Mutex<R, T> {
    /// One whose mutex is `raw`.
    ///
    /// # Safety
    ///
    /// No other `Mutex` has the same.
    pub(crate) const unsafe fn new(raw: R, data: T) -> Self {
        Mutex {
            raw,
            data: UnsafeCell::new(data),
        }
    }

    /// Waits for it, and holds it as long as what is returned.
    ///
    /// # Context
    ///
    /// Where one may sleep, by a task that does not hold it.
    pub(crate) fn lock(&self) -> Guard<'_, R, T> {
        // SAFETY: It is initialized: statically, or by the invariant of `OwnMutex`.
        unsafe { bindings::exitprof_mutex_lock(self.raw.raw()) };
        // INVARIANT: It was taken just now.
        Guard(self, PhantomData)
    }
}

impl<T> Mutex<OwnMutex, T> {
    /// One that is yet to be initialized.
    ///
    /// # Safety
    ///
    /// [`init`](Mutex::init) comes first, where it stays.
    pub(crate) unsafe fn uninit(data: T) -> Self {
        // SAFETY: All integers and pointers of a mutex may be zero.
        let raw = OwnMutex(UnsafeCell::new(unsafe { core::mem::zeroed() }));
        // SAFETY: It is nobody else's.
        unsafe { Mutex::new(raw, data) }
    }

    /// Initializes it.
    pub(crate) fn init(&mut self) {
        // SAFETY: Nobody else has it.
        unsafe { bindings::exitprof_mutex_init(self.raw.raw()) };
    }
}

/// The holding of a [`Mutex`].
///
/// # Invariants
///
/// This task holds it, and releases it.
pub(crate) struct Guard<'a, R: Raw, T>(&'a Mutex<R, T>, PhantomData<*mut ()>);

impl<R: Raw, T> Deref for Guard<'_, R, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type's invariant.
        unsafe { &*self.0.data.get() }
    }
}

impl<R: Raw, T> DerefMut for Guard<'_, R, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type's invariant.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<R: Raw, T> Drop for Guard<'_, R, T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::exitprof_mutex_unlock(self.0.raw.raw()) };
    }
}
