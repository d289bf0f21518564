// SPDX-License-Identifier: GPL-2.0

//! Memory.

use super::{bindings, error::ENOMEM};
use core::{ffi::c_void, ptr::NonNull};
use kernel::prelude::*;

/// Whether to wait for memory.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// By sleeping, if it takes that.
    Yes,
    /// Rather fail.
    No,
}

/// The bytes that an allocation of `size` takes: a power of two, to which
/// `kmalloc()` aligns it then (Documentation/core-api/memory-allocation.rst).
pub(crate) const fn rounded(size: usize) -> usize {
    size.next_power_of_two()
}

/// Allocates `rounded(size)` bytes, zeroed and charged to the task's memory cgroup.
///
/// # Errors
///
/// `ENOMEM`.
///
/// # Context
///
/// Where one may sleep, if `wait` says so.
pub(crate) fn alloc(size: usize, wait: Wait) -> Result<NonNull<c_void>> {
    // SAFETY: `kzalloc()` asks for nothing but its context, which is ours.
    let ptr = unsafe { bindings::exitprof_alloc(rounded(size), matches!(wait, Wait::Yes)) };
    NonNull::new(ptr).ok_or(ENOMEM)
}

/// Frees it.
///
/// # Safety
///
/// It came from [`alloc`], and nobody uses it any more.
pub(crate) unsafe fn free(ptr: NonNull<c_void>) {
    // SAFETY: By this function's contract.
    unsafe { bindings::exitprof_free(ptr.as_ptr()) };
}
