// SPDX-License-Identifier: GPL-2.0

//! What is done at each exit.
//!
//! Each CPU writes only its own counters, by single instructions relative to
//! its per-CPU base: atomic where it matters without a lock prefix. Readers sum
//! over all CPUs.

use crate::{
    bindings,
    percpu::{Counters, PerCpu},
    profile::{
        counts::Counter,
        dist::{self, Spread},
        reason::Isa,
    },
};
use core::{
    arch::asm,
    mem, ptr,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};
use kernel::prelude::*;

// What the instructions below know.
const _: () = assert!(mem::size_of::<Counter>() == 16);
const _: () = assert!(mem::size_of::<Spread>() == 256);

// SAFETY: `AtomicU64` may be zero, and be read while it is changed.
unsafe impl Counters for Spread {}

/// The counters in use, for each CPU [`Isa::slots`] of all exits, and as many of the
/// unattributed: those of vCPUs without a profile. Null unless a profiler is
/// registered.
///
/// Relaxed accesses are enough: KVM calls [`record`] only after a grace period
/// and after changing code, and `cpuid()` through the pointer that it publishes,
/// ahead of which x86 does no load of ours; the parameters' lock is for the rest.
pub(crate) static SLOTS: AtomicPtr<Counter> = AtomicPtr::new(ptr::null_mut());

/// KVM's callback.
pub(crate) type Record = unsafe extern "C" fn(*mut bindings::kvm_vcpu, u32, u64);

/// How many distributions one allocation can hold: 32 KiB.
const PER_PART: usize = 128;
#[allow(clippy::assertions_on_constants)] // The one is from the model.
const _: () = assert!(Isa::MAX_SLOTS <= 2 * PER_PART);

type Part = AtomicPtr<Spread>;

/// The distributions in use, for each CPU [`PER_PART`] of the first slots, and the
/// others; null if there are none, else as [`SLOTS`].
static PARTS: (Part, Part) = (
    AtomicPtr::new(ptr::null_mut()),
    AtomicPtr::new(ptr::null_mut()),
);

/// Where the distribution of `slot` is: the part, and the place in it.
#[inline(always)]
pub(crate) fn place(slot: usize) -> (&'static Part, usize) {
    let part = if slot < PER_PART { &PARTS.0 } else { &PARTS.1 };
    (part, slot % PER_PART)
}

/// Records an exit of `reason`, which may be any number: KVM's `record()` for
/// the instruction set that `SVM` says. `VCPU` counts it for the vCPU, too: in its
/// profile, or as unattributed; `SPREAD` how its cycles are distributed.
///
/// # Safety
///
/// Called with preemption disabled, with counters for all of this in use. With
/// `VCPU` in the task of `vcpu`, whose profile is one of `vcpu.rs` or null.
pub(crate) unsafe extern "C" fn record<const SVM: bool, const VCPU: bool, const SPREAD: bool>(
    vcpu: *mut bindings::kvm_vcpu,
    reason: u32,
    cycles: u64,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    let slot = isa.slot(reason);
    // SAFETY: By this function's contract, `Isa::slot()` is below the number of
    // slots, of which there are twice as many in `SLOTS` and once in a profile,
    // which KVM detaches only when we are not called. Only the vCPU's task writes
    // its counters, so that what is true of a CPU's is true of them: see `add()`.
    unsafe {
        // Ahead of the exit itself: who sees that sees its distribution.
        if SPREAD {
            add_spread(slot, cycles);
        }
        add(slot, cycles);
        if !VCPU {
            return;
        }
        let profile = vcpu.cast::<u8>().add(bindings::EXITPROF_PROFILE as usize);
        let profile = (*profile.cast::<AtomicPtr<u8>>()).load(Relaxed);
        if profile.is_null() {
            add(slot.wrapping_add(isa.slots()), cycles);
        } else {
            asm!(
                "inc qword ptr [{profile} + {offset}]",
                "add qword ptr [{profile} + {offset} + 8], {cycles}",
                profile = in(reg) profile,
                offset = in(reg) slot.wrapping_mul(mem::size_of::<Counter>()),
                cycles = in(reg) cycles,
                options(nostack),
            );
        }
    }
}

/// Adds an exit to the CPU's counters of `slot`.
///
/// # Safety
///
/// Preemption is disabled, and `SLOTS` in use; `slot` is below twice the number of
/// slots.
#[inline(always)]
unsafe fn add(slot: usize, cycles: u64) {
    // SAFETY: By this function's contract, `SLOTS` is per-CPU memory. Aligned
    // additions are atomic with regard to this CPU, the only one that writes its
    // counters, and to other CPUs' loads.
    unsafe {
        asm!(
            "inc qword ptr gs:[{slots} + {offset}]",
            "add qword ptr gs:[{slots} + {offset} + 8], {cycles}",
            slots = in(reg) SLOTS.load(Relaxed),
            offset = in(reg) slot.wrapping_mul(mem::size_of::<Counter>()),
            cycles = in(reg) cycles,
            options(nostack),
        );
    }
}

/// Adds an exit to the CPU's distribution of `slot`.
///
/// # Safety
///
/// Preemption is disabled, and `PARTS` in use; `slot` is below the number of slots.
#[inline(always)]
unsafe fn add_spread(slot: usize, cycles: u64) {
    let (part, index) = place(slot);
    let offset = index.wrapping_mul(mem::size_of::<Spread>());
    // SAFETY: As in `add()`. Nothing comes between comparing and storing that could
    // record another exit on this CPU: KVM does so in vCPUs' tasks alone.
    unsafe {
        asm!(
            "cmp gs:[{spread}], {cycles}",
            "jbe 2f",
            "mov gs:[{spread}], {cycles}",
            "2:",
            "cmp gs:[{spread} + 8], {cycles}",
            "jae 2f",
            "mov gs:[{spread} + 8], {cycles}",
            "2:",
            "inc qword ptr gs:[{spread} + {bucket} * 8 + 16]",
            spread = in(reg) part.load(Relaxed).cast::<u8>().wrapping_add(offset),
            bucket = in(reg) dist::bucket(cycles),
            cycles = in(reg) cycles,
            options(nostack),
        );
    }
}

/// What [`record`] adds to.
///
/// # Invariants
///
/// [`SLOTS`] and [`PARTS`] point to these, or to nothing.
pub(crate) struct Memory {
    slots: PerCpu<Counter>,
    parts: (Option<PerCpu<Spread>>, Option<PerCpu<Spread>>),
}

impl Memory {
    /// The bytes for each possible CPU.
    pub(crate) fn size(isa: Isa, spreads: bool) -> usize {
        let spread = if spreads { mem::size_of::<Spread>() } else { 0 };
        let slot = spread.wrapping_add(2 * mem::size_of::<Counter>());
        isa.slots().wrapping_mul(slot)
    }

    /// Allocates counters, and distributions if `spreads`; none is in use.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn try_new(isa: Isa, spreads: bool) -> Result<Memory> {
        let slots = isa.slots();
        let part = |len| match len {
            0 => Ok(None),
            _ => PerCpu::try_new(len).map(Some),
        };
        let (first, rest) = match spreads {
            true => (slots.min(PER_PART), slots.saturating_sub(PER_PART)),
            false => (0, 0),
        };
        // INVARIANT: They point to nothing yet, for there is one profiler.
        Ok(Memory {
            slots: PerCpu::try_new(slots.wrapping_mul(2))?,
            parts: (part(first)?, part(rest)?),
        })
    }

    /// Puts it into use; it is so until it is withdrawn, or dropped.
    pub(crate) fn publish(&self) {
        let part =
            |part: &Option<PerCpu<Spread>>| part.as_ref().map_or(ptr::null_mut(), PerCpu::as_ptr);
        PARTS.0.store(part(&self.parts.0), Relaxed);
        PARTS.1.store(part(&self.parts.1), Relaxed);
        SLOTS.store(self.slots.as_ptr(), Relaxed);
    }

    /// The counters of each CPU.
    pub(crate) fn slots(&self) -> *mut Counter {
        self.slots.as_ptr()
    }
}

/// Takes out of use what is; nobody uses it any more.
pub(crate) fn withdraw() {
    SLOTS.store(ptr::null_mut(), Relaxed);
    PARTS.0.store(ptr::null_mut(), Relaxed);
    PARTS.1.store(ptr::null_mut(), Relaxed);
}

impl Drop for Memory {
    fn drop(&mut self) {
        withdraw();
    }
}
