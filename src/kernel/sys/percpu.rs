// SPDX-License-Identifier: GPL-2.0

//! Per-CPU memory.

use super::{bindings, error::ENOMEM};
use core::{marker::PhantomData, mem, ptr::NonNull, slice, sync::atomic::AtomicU64};
use kernel::prelude::*;

/// Types for which zeroed memory is a valid value, and which any CPU may read while
/// another writes.
///
/// # Safety
///
/// Both are true of the type.
pub(crate) unsafe trait Zeroable: Sync {}

// SAFETY: Zero is a valid number, and accesses are atomic.
unsafe impl Zeroable for AtomicU64 {}

/// An array of `T` for each possible CPU. The elements are zero at first.
///
/// # Invariants
///
/// `ptr` came from `__alloc_percpu()`, with the alignment of `T` and the size of as many
/// `T` as [`try_new`] was told. Only `drop()` frees it.
///
/// [`try_new`]: PerCpu::try_new
pub(crate) struct PerCpu<T: Zeroable> {
    ptr: NonNull<T>,
    _owns: PhantomData<T>,
}

// SAFETY: The memory belongs to no CPU or task, and `T` is `Sync`, which is enough for
// shared references to the elements.
unsafe impl<T: Zeroable> Send for PerCpu<T> {}
// SAFETY: As above.
unsafe impl<T: Zeroable> Sync for PerCpu<T> {}

impl<T: Zeroable> PerCpu<T> {
    /// Allocates an array of `len` elements for each possible CPU.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `__alloc_percpu()` gives at most 32 KiB (`PCPU_MIN_UNIT_SIZE`).
    ///
    /// # Context
    ///
    /// Process context; may sleep.
    pub(crate) fn try_new(len: usize) -> Result<Self> {
        let size = mem::size_of::<T>().saturating_mul(len);
        // SAFETY: `__alloc_percpu()` requires only process context.
        let ptr = unsafe { bindings::exitprof_alloc_percpu(size, mem::align_of::<T>()) };
        // INVARIANT: `__alloc_percpu()` returned `ptr` above.
        Ok(PerCpu {
            ptr: NonNull::new(ptr.cast()).ok_or(ENOMEM)?,
            _owns: PhantomData,
        })
    }

    /// The per-CPU pointer: an offset from a CPU's per-CPU base.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.ptr.as_ptr()
    }

    /// The arrays of all possible CPUs.
    ///
    /// # Safety
    ///
    /// `ptr` came from [`as_ptr`](PerCpu::as_ptr) of a `PerCpu` with arrays of at least
    /// `len` elements, which exists during `'a`.
    pub(crate) unsafe fn arrays<'a>(ptr: *mut T, len: usize) -> impl Iterator<Item = &'a [T]>
    where
        T: 'a,
    {
        let mut last = -1;
        core::iter::from_fn(move || {
            // SAFETY: `cpumask_next()` takes -1 or a CPU.
            let cpu = unsafe { bindings::exitprof_next_possible_cpu(last) };
            last = i32::try_from(cpu).ok()?;
            // SAFETY: The caller guarantees that `ptr` is per-CPU memory. So this returns
            // the address of the array of `cpu`, or NULL if there is no such CPU.
            let array = unsafe { bindings::exitprof_per_cpu_ptr(ptr.cast(), cpu) };
            let array = NonNull::new(array.cast::<T>())?.as_ptr();
            // SAFETY: The caller guarantees that the array has `len` elements. It was
            // zeroed, which `T` allows.
            Some(unsafe { slice::from_raw_parts(array, len) })
        })
    }
}

impl<T: Zeroable> Drop for PerCpu<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, `__alloc_percpu()` returned the pointer, and
        // this alone frees it.
        unsafe { bindings::free_percpu(self.ptr.as_ptr().cast()) };
    }
}
