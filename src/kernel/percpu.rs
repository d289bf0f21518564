// SPDX-License-Identifier: GPL-2.0

//! Per-CPU memory.

use crate::bindings;
use core::{marker::PhantomData, mem, ptr::NonNull};
use kernel::prelude::*;

/// Types of which an instance may consist of zeros, and may be read by any CPU
/// while another changes it.
///
/// # Safety
///
/// Both must be true of the implementing type.
pub(crate) unsafe trait Counters: Sync {}

/// An instance of `T` for each possible CPU, zeroed at first.
///
/// # Invariants
///
/// `ptr` came from `__alloc_percpu()` for the size and alignment of `T`, and is
/// freed by `drop()` alone.
pub(crate) struct PerCpu<T: Counters> {
    ptr: NonNull<T>,
    _owns: PhantomData<T>,
}

// SAFETY: The memory belongs to no CPU or thread in particular, and `T` is
// `Sync`, which is all that shared references to the instances need.
unsafe impl<T: Counters> Send for PerCpu<T> {}
// SAFETY: As above.
unsafe impl<T: Counters> Sync for PerCpu<T> {}

impl<T: Counters> PerCpu<T> {
    /// Allocates; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `__alloc_percpu()` gives at most 32 KiB (`PCPU_MIN_UNIT_SIZE`).
    pub(crate) fn try_new() -> Result<Self> {
        // SAFETY: The function has no requirement but that it may sleep, and
        // modules are loaded in process context.
        let ptr = unsafe { bindings::__alloc_percpu(mem::size_of::<T>(), mem::align_of::<T>()) };
        // INVARIANT: `ptr` was allocated just above.
        Ok(PerCpu {
            ptr: NonNull::new(ptr.cast()).ok_or(kernel::error::code::ENOMEM)?,
            _owns: PhantomData,
        })
    }

    /// The per-CPU pointer: an offset, to be used relative to a CPU's base.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.ptr.as_ptr()
    }

    /// The instances of all possible CPUs.
    ///
    /// # Safety
    ///
    /// `ptr` is that of a live `PerCpu`, which outlives `'a`.
    pub(crate) unsafe fn instances<'a>(ptr: *mut T) -> impl Iterator<Item = &'a T>
    where
        T: 'a,
    {
        let mut last = -1;
        core::iter::from_fn(move || {
            // SAFETY: Any number may be passed.
            let cpu = unsafe { bindings::exitprof_next_possible_cpu(last) };
            last = i32::try_from(cpu).ok()?;
            // SAFETY: By the caller's promise and the type's invariant, `ptr`
            // is per-CPU memory: it has an instance of each possible CPU. That
            // is zeroed, which `T` allows, and NULL is returned for others.
            unsafe {
                bindings::exitprof_per_cpu_ptr(ptr.cast(), cpu)
                    .cast::<T>()
                    .as_ref()
            }
        })
    }
}

impl<T: Counters> Drop for PerCpu<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it was allocated, and not freed yet.
        unsafe { bindings::free_percpu(self.ptr.as_ptr().cast()) };
    }
}
