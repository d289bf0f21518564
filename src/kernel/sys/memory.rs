// SPDX-License-Identifier: GPL-2.0

//! Memory of the kernel's allocator.

use super::{bindings, error::ENOMEM};
use core::{ffi::c_void, ptr::NonNull};
use kernel::prelude::*;

/// Whether an allocation may sleep.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Sleep until there is memory.
    Yes,
    /// Fail rather than sleep.
    No,
}

/// The size of an allocation of `size` bytes: the next power of two. `kmalloc()` aligns
/// such sizes to the size (Documentation/core-api/memory-allocation.rst).
pub(crate) const fn rounded(size: usize) -> usize {
    size.next_power_of_two()
}

/// Allocates `rounded(size)` bytes. They are zeroed, and charged to the memory cgroup of
/// the task.
///
/// # Errors
///
/// `ENOMEM`.
///
/// # Context
///
/// May sleep if `wait` is [`Wait::Yes`].
pub(crate) fn alloc(size: usize, wait: Wait) -> Result<NonNull<c_void>> {
    // SAFETY: `kzalloc()` requires only a context that fits `wait`.
    let ptr = unsafe { bindings::exitprof_alloc(rounded(size), matches!(wait, Wait::Yes)) };
    NonNull::new(ptr).ok_or(ENOMEM)
}

/// Frees memory.
///
/// # Safety
///
/// `ptr` came from [`alloc`], and nobody uses the memory any more.
pub(crate) unsafe fn free(ptr: NonNull<c_void>) {
    // SAFETY: The caller guarantees that `alloc()` returned `ptr`, and that nobody uses
    // it.
    unsafe { bindings::exitprof_free(ptr.as_ptr()) };
}
