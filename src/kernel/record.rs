// SPDX-License-Identifier: GPL-2.0

//! What is done at each exit.
//!
//! Each CPU writes only its own counters, by single instructions relative to
//! its per-CPU base: atomic where it matters without a lock prefix. A vCPU's are
//! written by its task alone.

use crate::{
    host::{self, offset},
    profile::{
        cells::{Counter, HistogramCell},
        histogram,
        isa::Isa,
    },
    sys::contract::Sample,
    vcpus::Vcpu,
};
use core::{
    arch::asm,
    ffi::c_void,
    mem,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

// What the instructions below know.
const _: () = assert!(mem::size_of::<Counter>() == 16);
const _: () = assert!(mem::size_of::<HistogramCell>() == 256);

/// Records an exit: KVM's `record()` for the instruction set that `SVM` says. `VCPU`
/// counts it for the vCPU, too: in its profile, or as unattributed; `HISTOGRAM` how
/// many cycles it took.
///
/// # Safety
///
/// Called with preemption disabled, with counters for all of this in use. With
/// `VCPU` in the task of a vCPU whose profile is `profile`, made with counters, or
/// null if it has none.
pub(crate) unsafe extern "C" fn record<const SVM: bool, const VCPU: bool, const HISTOGRAM: bool>(
    profile: *mut c_void,
    sample: Sample,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    match isa.own_slot(sample.exit as u32) {
        Some(slot) if !HISTOGRAM || histogram::is_ordinary(sample.cycles) => {
            let bucket = histogram::log2(sample.cycles);
            // SAFETY: By this function's contract; such a slot is below `Isa::slots()`,
            // and such a bucket is one.
            unsafe { add::<VCPU, HISTOGRAM>(isa, slot, profile, sample.cycles, bucket) }
        }
        // SAFETY: By this function's contract.
        _ => unsafe { record_rare::<SVM, VCPU, HISTOGRAM>(profile, sample) },
    }
}

/// Records an exit whose reason has no slot of its own, or that took no time or very
/// long. With the
/// arguments of [`record`], which are where they must be.
///
/// # Safety
///
/// As for [`record`].
#[cold]
#[inline(never)]
unsafe extern "C" fn record_rare<const SVM: bool, const VCPU: bool, const HISTOGRAM: bool>(
    profile: *mut c_void,
    Sample { exit, cycles }: Sample,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    let (slot, bucket) = (isa.slot(exit as u32), histogram::bucket(cycles));
    // SAFETY: By this function's contract; such a slot is below `Isa::slots()`, and such
    // a bucket is one.
    unsafe { add::<VCPU, HISTOGRAM>(isa, slot, profile, cycles, bucket) };
}

/// Records an exit that was not timed: KVM's `record_untimed()`.
///
/// # Safety
///
/// As for [`record`].
pub(crate) unsafe extern "C" fn record_untimed<const SVM: bool, const VCPU: bool>(
    profile: *mut c_void,
    sample: Sample,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    match isa.own_slot(sample.exit as u32) {
        // SAFETY: By this function's contract; such a slot is below `Isa::slots()`.
        Some(slot) => unsafe { add_untimed::<VCPU>(isa, slot, profile) },
        // SAFETY: By this function's contract.
        None => unsafe { record_rare_untimed::<SVM, VCPU>(profile, sample) },
    }
}

/// As [`record_rare`].
///
/// # Safety
///
/// As for [`record`].
#[cold]
#[inline(never)]
unsafe extern "C" fn record_rare_untimed<const SVM: bool, const VCPU: bool>(
    profile: *mut c_void,
    _: Sample,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    // SAFETY: By this function's contract; such a slot is below `Isa::slots()`.
    unsafe { add_untimed::<VCPU>(isa, isa.other_slot(), profile) };
}

/// Adds an exit to the counters of `slot`, and to `bucket` of its histogram.
///
/// # Safety
///
/// As for [`record`]; `slot` is below [`Isa::slots`], and `bucket` below `BUCKETS`.
#[inline(always)]
unsafe fn add<const VCPU: bool, const HISTOGRAM: bool>(
    isa: Isa,
    slot: usize,
    profile: *mut c_void,
    cycles: u64,
    bucket: usize,
) {
    if HISTOGRAM {
        // Ahead of the exit itself: who sees that sees it in the histogram.
        // SAFETY: By this function's contract.
        unsafe { add_to_histogram(isa, slot, cycles, bucket) };
    }
    // SAFETY: There are twice as many counters as slots.
    unsafe { add_on_cpu(slot, cycles) };
    if !VCPU {
        return;
    }
    if profile.is_null() {
        // SAFETY: As above.
        return unsafe { add_on_cpu(slot.wrapping_add(isa.slots()), cycles) };
    }
    // SAFETY: A profile with counters has one for each slot.
    let counter = unsafe {
        let counters = profile.cast::<u8>().add(Vcpu::COUNTERS).cast::<Counter>();
        &*counters
            .cast::<u8>()
            .add(offset::<Counter>(slot))
            .cast::<Counter>()
    };
    // Only the vCPU's task writes it.
    increase(&counter.exits, 1);
    increase(&counter.cycles, cycles);
}

/// Adds to what nobody else writes: without a lock prefix.
#[inline(always)]
fn increase(number: &AtomicU64, by: u64) {
    number.store(number.load(Relaxed).wrapping_add(by), Relaxed);
}

/// Adds an exit to the CPU's counters.
///
/// # Safety
///
/// Preemption is disabled, and the counters are in use; `slot` is below twice the
/// number of slots.
#[inline(always)]
unsafe fn add_on_cpu(slot: usize, cycles: u64) {
    // SAFETY: By this function's contract, it is per-CPU memory. Aligned additions are
    // atomic with regard to this CPU, the only one that writes its counters, and to
    // other CPUs' loads.
    unsafe {
        asm!(
            "inc qword ptr gs:[{counters} + {offset}]",
            "add qword ptr gs:[{counters} + {offset} + 8], {cycles}",
            counters = in(reg) host::counters(),
            offset = in(reg) offset::<Counter>(slot),
            cycles = in(reg) cycles,
            options(nostack),
        );
    }
}

/// Adds an exit to the CPU's histogram of `slot`.
///
/// # Safety
///
/// Preemption is disabled, and histograms are in use; `slot` is below the number of
/// slots, and `bucket` below `BUCKETS`.
#[inline(always)]
unsafe fn add_to_histogram(isa: Isa, slot: usize, cycles: u64, bucket: usize) {
    // SAFETY: By this function's contract.
    let cell = unsafe { host::histogram(isa, slot) };
    // SAFETY: As in `add_on_cpu()`. Nothing comes between comparing and storing that
    // could record another exit on this CPU: KVM does so in vCPUs' tasks alone.
    unsafe {
        asm!(
            "cmp gs:[{cell}], {cycles}",
            "jbe 2f",
            "mov gs:[{cell}], {cycles}",
            "2:",
            "cmp gs:[{cell} + 8], {cycles}",
            "jae 2f",
            "mov gs:[{cell} + 8], {cycles}",
            "2:",
            "inc qword ptr gs:[{cell} + {bucket} * 8 + 16]",
            cell = in(reg) cell,
            bucket = in(reg) bucket,
            cycles = in(reg) cycles,
            options(nostack),
        );
    }
}

/// Adds an exit that was not timed to the counters of `slot`.
///
/// # Safety
///
/// As for [`record`]; `slot` is below [`Isa::slots`].
#[inline(always)]
unsafe fn add_untimed<const VCPU: bool>(isa: Isa, slot: usize, profile: *mut c_void) {
    // SAFETY: There are twice as many counters as slots.
    unsafe { add_untimed_on_cpu(slot) };
    if !VCPU {
        return;
    }
    if profile.is_null() {
        // SAFETY: As above.
        return unsafe { add_untimed_on_cpu(slot.wrapping_add(isa.slots())) };
    }
    // SAFETY: A profile with counters has both for each slot.
    let (untimed, exits) = unsafe {
        let profile = profile.cast::<u8>();
        let untimed = profile.add(Vcpu::untimed(isa.slots())).cast::<AtomicU64>();
        let counter = profile.add(Vcpu::COUNTERS).add(offset::<Counter>(slot));
        (&*untimed.add(slot), &(*counter.cast::<Counter>()).exits)
    };
    // Only the vCPU's task writes them.
    increase(exits, 1);
    increase(untimed, 1);
}

/// Adds an exit that was not timed to the CPU's counters.
///
/// # Safety
///
/// As for [`add_on_cpu`].
#[inline(always)]
unsafe fn add_untimed_on_cpu(slot: usize) {
    // SAFETY: As there.
    unsafe {
        asm!(
            "inc qword ptr gs:[{counters} + {offset}]",
            "inc qword ptr gs:[{untimed} + {slot} * 8]",
            untimed = in(reg) host::untimed(),
            slot = in(reg) slot,
            counters = in(reg) host::counters(),
            offset = in(reg) offset::<Counter>(slot),
            options(nostack),
        );
    }
}
