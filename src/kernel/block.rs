// SPDX-License-Identifier: GPL-2.0

//! Counters in memory that belongs to no CPU.

use crate::{
    profile::{
        cells::{Cells, Counter},
        counts::{Profile, Tally},
    },
    sys::memory::{self, Wait},
};
use core::{
    ffi::c_void,
    mem,
    ops::Deref,
    ptr::{self, NonNull},
    slice,
    sync::atomic::AtomicU64,
};
use kernel::prelude::*;

/// A head, after which come a [`Counter`] for each slot, and then a number of untimed
/// exits for each.
///
/// # Invariants
///
/// It is the beginning of an allocation of [`size`](Block::size), which was zeroed.
#[repr(C, align(16))]
pub(crate) struct Block<H> {
    slots: usize,
    pub(crate) head: H,
}

impl<H> Block<H> {
    /// Where the counters begin.
    pub(crate) const COUNTERS: usize = mem::size_of::<Self>();

    /// Where the numbers of untimed exits begin.
    pub(crate) const fn untimed(slots: usize) -> usize {
        Self::COUNTERS.wrapping_add(slots.wrapping_mul(mem::size_of::<Counter>()))
    }

    /// How many bytes it takes.
    pub(crate) const fn size(slots: usize) -> usize {
        let size = Self::untimed(slots).wrapping_add(slots.wrapping_mul(mem::size_of::<u64>()));
        memory::rounded(size)
    }

    /// The counters; none if it was made with no slots.
    pub(crate) fn cells(&self) -> Cells<'_> {
        let start: *const u8 = (self as *const Self).cast();
        // SAFETY: By the type's invariant, both arrays are within the allocation, and
        // numbers that may be zero; the alignment of the type is theirs.
        unsafe {
            Cells {
                counters: slice::from_raw_parts(start.add(Self::COUNTERS).cast(), self.slots),
                untimed: slice::from_raw_parts(
                    start.add(Self::untimed(self.slots)).cast::<AtomicU64>(),
                    self.slots,
                ),
            }
        }
    }
}

impl<H> Profile for Block<H> {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        self.cells().sum(wanted)
    }

    fn total(&self) -> Tally {
        self.cells().total()
    }

    fn slot(&self, slot: usize) -> Tally {
        self.cells().slot(slot)
    }
}

/// The owner of a [`Block`] whose counters are zero at first; charged to the memory
/// cgroup of the task that allocates it.
///
/// # Invariants
///
/// The block came from `memory::alloc()`, and is freed by `drop()` alone.
pub(crate) struct Owned<H>(NonNull<Block<H>>);

impl<H> Owned<H> {
    /// A block with that head.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Context
    ///
    /// Where one may sleep, if `wait` says so.
    pub(crate) fn try_new(head: H, slots: usize, wait: Wait) -> Result<Self> {
        let block = memory::alloc(Block::<H>::size(slots), wait)?.cast();
        // SAFETY: The memory is large enough, and aligned to its size.
        unsafe { ptr::write(block.as_ptr(), Block { slots, head }) };
        // INVARIANT: It was allocated just now.
        Ok(Owned(block))
    }

    /// Gives the block away.
    pub(crate) fn into_foreign(self) -> NonNull<c_void> {
        let block = self.0.cast();
        mem::forget(self);
        block
    }

    /// Borrows what [`into_foreign`](Owned::into_foreign) has given away.
    ///
    /// # Safety
    ///
    /// `foreign` came from there, and is not taken back during `'a`.
    pub(crate) unsafe fn borrow<'a>(foreign: NonNull<c_void>) -> &'a Block<H> {
        // SAFETY: By this function's contract.
        unsafe { foreign.cast().as_ref() }
    }

    /// Takes back what [`into_foreign`](Owned::into_foreign) has given away.
    ///
    /// # Safety
    ///
    /// `foreign` came from there, is not taken back again, and nobody borrows it.
    pub(crate) unsafe fn from_foreign(foreign: NonNull<c_void>) -> Self {
        // INVARIANT: By this function's contract.
        Owned(foreign.cast())
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
        // SAFETY: By the type's invariant; what follows the head needs no dropping.
        unsafe {
            ptr::drop_in_place(self.0.as_ptr());
            memory::free(self.0.cast());
        }
    }
}
