// SPDX-License-Identifier: GPL-2.0

//! Per-CPU memory.

use super::{bindings, error::ENOMEM};
use core::{marker::PhantomData, mem, ptr::NonNull, slice, sync::atomic::AtomicU64};
use kernel::prelude::*;

/// Types of which a value may consist of zeros, and may be read by any CPU
/// while another changes it.
///
/// # Safety
///
/// Both must be true of the implementing type.
pub(crate) unsafe trait Zeroable: Sync {}

// SAFETY: Zero is a number, and it is atomic.
unsafe impl Zeroable for AtomicU64 {}

/// An array of `T` for each possible CPU, zeroed at first.
///
/// # Invariants
///
/// `ptr` came from `__alloc_percpu()` for as many `T` as [`try_new`] was told,
/// and for their alignment, and is freed by `drop()` alone.
///
/// [`try_new`]: PerCpu::try_new
pub(crate) struct PerCpu<T: Zeroable> {
    ptr: NonNull<T>,
    _owns: PhantomData<T>,
}

// SAFETY: The memory belongs to no CPU or thread in particular, and `T` is
// `Sync`, which is all that shared references to the instances need.
unsafe impl<T: Zeroable> Send for PerCpu<T> {}
// SAFETY: As above.
unsafe impl<T: Zeroable> Sync for PerCpu<T> {}

impl<T: Zeroable> PerCpu<T> {
    /// Allocates arrays of `len` values; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `__alloc_percpu()` gives at most 32 KiB (`PCPU_MIN_UNIT_SIZE`).
    pub(crate) fn try_new(len: usize) -> Result<Self> {
        let size = mem::size_of::<T>().saturating_mul(len);
        // SAFETY: The function has no requirement but that it may sleep, and
        // modules are loaded in process context.
        let ptr = unsafe { bindings::__alloc_percpu(size, mem::align_of::<T>()) };
        // INVARIANT: `ptr` was allocated just above.
        Ok(PerCpu {
            ptr: NonNull::new(ptr.cast()).ok_or(ENOMEM)?,
            _owns: PhantomData,
        })
    }

    /// The per-CPU pointer: an offset, to be used relative to a CPU's base.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.ptr.as_ptr()
    }

    /// The arrays of all possible CPUs.
    ///
    /// # Safety
    ///
    /// `ptr` is that of a live `PerCpu` of `len`, which outlives `'a`.
    pub(crate) unsafe fn arrays<'a>(ptr: *mut T, len: usize) -> impl Iterator<Item = &'a [T]>
    where
        T: 'a,
    {
        let mut last = -1;
        core::iter::from_fn(move || {
            // SAFETY: -1 or a CPU may be passed.
            let cpu = unsafe { bindings::exitprof_next_possible_cpu(last) };
            last = i32::try_from(cpu).ok()?;
            // SAFETY: By the caller's promise and the type's invariant, `ptr`
            // is per-CPU memory: it has an array of each possible CPU, whose
            // address this is, or NULL for others.
            let array = unsafe { bindings::exitprof_per_cpu_ptr(ptr.cast(), cpu) };
            let array = NonNull::new(array.cast::<T>())?.as_ptr();
            // SAFETY: As above; it was zeroed, which `T` allows, and holds `len`.
            Some(unsafe { slice::from_raw_parts(array, len) })
        })
    }
}

impl<T: Zeroable> Drop for PerCpu<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it was allocated, and not freed yet.
        unsafe { bindings::free_percpu(self.ptr.as_ptr().cast()) };
    }
}
