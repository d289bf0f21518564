// SPDX-License-Identifier: GPL-2.0

//! Counters in memory that belongs to no CPU.

use crate::{
    bindings,
    percpu::Counters,
    profile::{
        counts::{Counter, Summed},
        reason::Isa,
    },
    profiler::isa,
};
use core::{
    ffi::c_void,
    mem,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::prelude::*;

// SAFETY: `AtomicU64` may be zero, and be read while it is changed.
unsafe impl Counters for Counter {}

/// A counter for each slot (see [`Isa::slots`]), and what they belong to.
#[repr(C)]
pub(crate) struct Block<H> {
    pub(crate) head: H,
    pub(crate) counters: [Counter],
}

impl<H> Block<H> {
    /// Where the counters begin.
    const COUNTERS: usize = mem::size_of::<H>().wrapping_add(mem::align_of::<Counter>() - 1)
        & !(mem::align_of::<Counter>() - 1);

    /// How many bytes it takes.
    pub(crate) fn size() -> usize {
        let counters = isa().slots().wrapping_mul(mem::size_of::<Counter>());
        Self::COUNTERS.wrapping_add(counters)
    }

    /// The block whose counters are at `thin`.
    pub(crate) fn from_thin(thin: NonNull<c_void>) -> *mut Self {
        let start = thin.as_ptr().cast::<u8>().wrapping_sub(Self::COUNTERS);
        ptr::slice_from_raw_parts_mut(start.cast::<Counter>(), isa().slots()) as *mut Self
    }
}

impl<H> Summed for Block<H> {
    fn isa(&self) -> Isa {
        isa()
    }

    fn each(&self, mut with: impl FnMut(&[Counter])) {
        with(&self.counters);
    }
}

/// Whether to wait for memory.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// By sleeping, if it takes that.
    Yes,
    /// Not in an RCU read-side section.
    No,
}

/// The owner of a [`Block`] whose counters are zero at first; charged to the memory
/// cgroup of the task that allocates it.
///
/// # Invariants
///
/// The pointer came from `exitprof_alloc()`, points to an initialized block, and
/// is freed by `drop()` alone.
pub(crate) struct Owned<H>(NonNull<Block<H>>);

impl<H> Owned<H> {
    /// A block with that head.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn try_new(head: H, wait: Wait) -> Result<Self> {
        // SAFETY: The function has no requirement but that it may sleep if told so.
        let start =
            unsafe { bindings::exitprof_alloc(Block::<H>::size(), matches!(wait, Wait::Yes)) };
        let start = start.cast::<Counter>();
        let block = ptr::slice_from_raw_parts_mut(start, isa().slots()) as *mut Block<H>;
        let block = NonNull::new(block).ok_or(kernel::error::code::ENOMEM)?;
        // SAFETY: The memory is large enough, and aligned: slab caches of more
        // than 192 bytes have powers of two as sizes, and align to them.
        unsafe { ptr::addr_of_mut!((*block.as_ptr()).head).write(head) };
        // INVARIANT: The head was written just now, and counters may be zero.
        Ok(Owned(block))
    }

    /// Gives the block away, as a thin pointer to its counters.
    pub(crate) fn into_thin(self) -> NonNull<c_void> {
        let block = self.0.as_ptr();
        mem::forget(self);
        // SAFETY: By the type's invariant; a part of the block is not at NULL.
        unsafe { NonNull::new_unchecked(ptr::addr_of_mut!((*block).counters)).cast() }
    }

    /// Takes back what [`into_thin`] has given away.
    ///
    /// # Safety
    ///
    /// `thin` came from there and is not taken back again. References to the block
    /// end before what is returned is dropped.
    ///
    /// [`into_thin`]: Owned::into_thin
    pub(crate) unsafe fn from_thin(thin: NonNull<c_void>) -> Self {
        // INVARIANT: By the caller's promise.
        // SAFETY: As `thin` points into the block, that is not at NULL.
        Owned(unsafe { NonNull::new_unchecked(Block::<H>::from_thin(thin)) })
    }
}

impl<H> Deref for Owned<H> {
    type Target = Block<H>;

    fn deref(&self) -> &Block<H> {
        // SAFETY: By the type's invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<H> Drop for Owned<H> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, and by what `from_thin()` was promised
        // if it came from there; counters need no dropping.
        unsafe {
            ptr::addr_of_mut!((*self.0.as_ptr()).head).drop_in_place();
            bindings::exitprof_free(self.0.as_ptr().cast());
        }
    }
}
