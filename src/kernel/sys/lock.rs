// SPDX-License-Identifier: GPL-2.0

//! Mutexes, and the data that they protect.

use super::bindings;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr,
};

/// A mutex of the kernel.
///
/// # Safety
///
/// [`raw`](Raw::raw) always returns the same pointer to a mutex. The mutex is initialized
/// before it is locked.
pub(crate) unsafe trait Raw {
    fn raw(&self) -> *mut bindings::mutex;
}

/// The mutex of the list of VMs.
pub(crate) struct VmsMutex;

// SAFETY: `helpers.c` defines and initializes it.
unsafe impl Raw for VmsMutex {
    #[allow(unused_unsafe)] // Later compilers know that this is safe.
    fn raw(&self) -> *mut bindings::mutex {
        // SAFETY: This only takes the address of a static of C.
        unsafe { ptr::addr_of_mut!(bindings::exitprof_vms_mutex) }
    }
}

/// The mutex of readings of all VMs.
pub(crate) struct ReadingMutex;

// SAFETY: `helpers.c` defines and initializes it.
unsafe impl Raw for ReadingMutex {
    #[allow(unused_unsafe)] // Later compilers know that this is safe.
    fn raw(&self) -> *mut bindings::mutex {
        // SAFETY: This only takes the address of a static of C.
        unsafe { ptr::addr_of_mut!(bindings::exitprof_reading_mutex) }
    }
}

/// A mutex in a structure of the module.
///
/// # Invariants
///
/// It is not used before [`init`](OwnMutex::init), and not moved afterwards.
pub(crate) struct OwnMutex(UnsafeCell<bindings::mutex>);

// SAFETY: By the type's invariant, it is initialized and stays in its place.
unsafe impl Raw for OwnMutex {
    fn raw(&self) -> *mut bindings::mutex {
        self.0.get()
    }
}

/// Data that a mutex protects.
pub(crate) struct Mutex<R, T> {
    raw: R,
    data: UnsafeCell<T>,
}

// SAFETY: Only the holder of the mutex reaches the data, and `T` may go to any task.
unsafe impl<R: Raw, T: Send> Sync for Mutex<R, T> {}

impl<R: Raw, T> Mutex<R, T> {
    /// Protects `data` by `raw`.
    ///
    /// # Safety
    ///
    /// No other `Mutex` has the same mutex.
    pub(crate) const unsafe fn new(raw: R, data: T) -> Self {
        Mutex {
            raw,
            data: UnsafeCell::new(data),
        }
    }

    /// Locks the mutex until the guard is dropped.
    ///
    /// # Context
    ///
    /// Process context; may sleep. The task does not hold the mutex.
    pub(crate) fn lock(&self) -> Guard<'_, R, T> {
        // SAFETY: By the contract of `Raw`, the mutex is initialized.
        unsafe { bindings::exitprof_mutex_lock(self.raw.raw()) };
        // INVARIANT: The mutex was locked above.
        Guard(self, PhantomData)
    }
}

impl<T> Mutex<OwnMutex, T> {
    /// Protects `data` by a mutex that is not initialized yet.
    ///
    /// # Safety
    ///
    /// The caller moves the result to its final place and calls [`init`](Mutex::init)
    /// before anything else.
    pub(crate) unsafe fn uninit(data: T) -> Self {
        // SAFETY: A mutex consists of integers and pointers, for which zero is valid.
        let raw = OwnMutex(UnsafeCell::new(unsafe { core::mem::zeroed() }));
        // SAFETY: The mutex is new.
        unsafe { Mutex::new(raw, data) }
    }

    /// Initializes the mutex.
    pub(crate) fn init(&mut self) {
        // SAFETY: `self` is borrowed exclusively, so nobody uses the mutex.
        unsafe { bindings::exitprof_mutex_init(self.raw.raw()) };
    }
}

/// A locked [`Mutex`].
///
/// # Invariants
///
/// This task holds the mutex, and only `drop()` unlocks it.
pub(crate) struct Guard<'a, R: Raw, T>(&'a Mutex<R, T>, PhantomData<*mut ()>);

impl<R: Raw, T> Deref for Guard<'_, R, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type's invariant, this task holds the mutex.
        unsafe { &*self.0.data.get() }
    }
}

impl<R: Raw, T> DerefMut for Guard<'_, R, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type's invariant, this task holds the mutex.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<R: Raw, T> Drop for Guard<'_, R, T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, this task holds the mutex.
        unsafe { bindings::exitprof_mutex_unlock(self.0.raw.raw()) };
    }
}
