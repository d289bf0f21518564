// SPDX-License-Identifier: GPL-2.0

//! Blocks of counters that belong to no CPU: profiles of vCPUs, snapshots, and sums.

use crate::{
    profile::cells::{Cells, Counter},
    spread::{Read, Spread, SLOT_SIZE},
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

/// A head, followed in memory by a [`Counter`] for each slot, and then by the number of
/// untimed exits of each slot.
///
/// # Invariants
///
/// The block begins an allocation of [`size(slots)`](Block::size) bytes, which was
/// zeroed.
#[repr(C, align(16))]
pub(crate) struct Block<H> {
    slots: usize,
    pub(crate) head: H,
}

impl<H> Block<H> {
    /// The offset of the counters in bytes.
    pub(crate) const COUNTERS: usize = mem::size_of::<Self>();

    /// The offset of the numbers of untimed exits in bytes.
    pub(crate) const fn untimed(slots: usize) -> usize {
        Self::COUNTERS.wrapping_add(slots.wrapping_mul(mem::size_of::<Counter>()))
    }

    /// The size of the allocation in bytes.
    pub(crate) const fn size(slots: usize) -> usize {
        memory::rounded(Self::COUNTERS.wrapping_add(slots.wrapping_mul(SLOT_SIZE)))
    }

    /// The counters of all slots.
    pub(crate) fn cells(&self) -> Cells<'_> {
        let start: *const u8 = (self as *const Self).cast();
        // SAFETY: By the type's invariant, both arrays are within the allocation and were
        // zeroed, which is a valid state of atomics. The type's alignment is enough for
        // both.
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

impl<H> Spread for Block<H> {
    fn each(&self, _: Read, mut with: impl FnMut(Cells<'_>)) {
        with(self.cells());
    }
}

/// An owned [`Block`]. Its counters start from zero. Its memory is charged to the memory
/// cgroup of the task that allocates it.
///
/// # Invariants
///
/// The block came from `memory::alloc()`, and only `drop()` frees it.
pub(crate) struct Owned<H>(NonNull<Block<H>>);

impl<H> Owned<H> {
    /// Allocates a block with `slots` slots.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Context
    ///
    /// May sleep if `wait` is [`Wait::Yes`].
    pub(crate) fn try_new(head: H, slots: usize, wait: Wait) -> Result<Self> {
        let block = memory::alloc(Block::<H>::size(slots), wait)?.cast();
        // SAFETY: The memory is new, large enough, and aligned to its size.
        unsafe { ptr::write(block.as_ptr(), Block { slots, head }) };
        // INVARIANT: `memory::alloc()` returned the block above.
        Ok(Owned(block))
    }

    /// Gives up the ownership of the block.
    pub(crate) fn into_foreign(self) -> NonNull<c_void> {
        let block = self.0.cast();
        mem::forget(self);
        block
    }

    /// Borrows a block that [`into_foreign`](Owned::into_foreign) returned.
    ///
    /// # Safety
    ///
    /// `foreign` came from `into_foreign()` of the same type. Nobody passes it to
    /// [`from_foreign`](Owned::from_foreign) during `'a`.
    pub(crate) unsafe fn borrow<'a>(foreign: NonNull<c_void>) -> &'a Block<H> {
        // SAFETY: The caller guarantees that the block exists during `'a`.
        unsafe { foreign.cast().as_ref() }
    }

    /// Takes back the ownership of a block that [`into_foreign`](Owned::into_foreign)
    /// returned.
    ///
    /// # Safety
    ///
    /// `foreign` came from `into_foreign()` of the same type. Its ownership was not taken
    /// back before, and nobody borrows it.
    pub(crate) unsafe fn from_foreign(foreign: NonNull<c_void>) -> Self {
        // INVARIANT: The caller guarantees that the block came from another `Owned`,
        // which gave it up.
        Owned(foreign.cast())
    }
}

impl<H> Deref for Owned<H> {
    type Target = Block<H>;

    fn deref(&self) -> &Block<H> {
        // SAFETY: By the type's invariant, the block exists.
        unsafe { self.0.as_ref() }
    }
}

impl<H> Drop for Owned<H> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, `memory::alloc()` returned the block, and this
        // alone frees it. The counters behind the head need no drop.
        unsafe {
            ptr::drop_in_place(self.0.as_ptr());
            memory::free(self.0.cast());
        }
    }
}
