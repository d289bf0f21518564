// SPDX-License-Identifier: GPL-2.0

//! The code that runs at each exit.
//!
//! Each CPU writes only its own counters, with single instructions relative to its
//! per-CPU base. These are atomic on one CPU without a lock prefix. Only a vCPU's own
//! task writes the counters of the vCPU.

use crate::{
    host::{self, offset},
    profile::{
        cells::{increase, Counter, HistogramCell},
        histogram,
        isa::Isa,
    },
    sys::contract::{PauseState, Sample},
    vm::Vcpu,
};
use core::{
    arch::asm,
    ffi::c_void,
    mem, ptr,
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, Release},
    },
};

// The assembly below relies on these sizes.
const _: () = assert!(mem::size_of::<Counter>() == 16);
const _: () = assert!(mem::size_of::<HistogramCell>() == 256);

/// Records an exit: KVM's `record()`. `SVM` selects the virtualization extension. With
/// `VCPU`, the exit is also counted for the vCPU: in its profile, or as unattributed.
/// With `HISTOGRAM`, its cycles are also added to the histogram.
///
/// # Safety
///
/// Preemption is disabled, and the memory for all of this is in use. `sample` is valid
/// for reads. With `VCPU`, this runs in the task of a vCPU, and `profile` is the vCPU's
/// profile, which was made with counters, or null if it has none; or `profile` has the
/// layout of one, all bytes zero but the counters, and nobody else writes it.
pub(crate) unsafe extern "C" fn record<const SVM: bool, const VCPU: bool, const HISTOGRAM: bool>(
    profile: *mut c_void,
    sample: *const Sample,
    cycles: u64,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    // SAFETY: The caller fulfils the contract of `record()`.
    match isa.own_slot(unsafe { exit(sample) }) {
        Some(slot) if !HISTOGRAM || histogram::is_ordinary(cycles) => {
            let bucket = histogram::log2(cycles);
            // SAFETY: The caller fulfils the contract of `record()`. `own_slot()` is less
            // than `Isa::slots()`. The bucket of ordinary cycles is their logarithm.
            unsafe { add::<VCPU, HISTOGRAM>(isa, slot, profile, cycles, bucket) };
        }
        // SAFETY: The caller fulfils the contract of `record()`.
        _ => unsafe { record_rare::<SVM, VCPU, HISTOGRAM>(profile, sample, cycles) },
    }
}

/// Records an exit that has details, or whose reason has no slot of its own, or that took 0
/// or very many cycles. It has the signature of [`record`], so that its arguments are mostly in the
/// right registers already.
///
/// # Safety
///
/// As for [`record`].
#[cold]
#[inline(never)]
unsafe extern "C" fn record_rare<const SVM: bool, const VCPU: bool, const HISTOGRAM: bool>(
    profile: *mut c_void,
    sample: *const Sample,
    cycles: u64,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    // SAFETY: The caller fulfils the contract of `record()`.
    let reason = unsafe { exit(sample) } as u32;
    let (slot, bucket) = match isa.own_slot(reason.into()) {
        Some(slot) if histogram::is_ordinary(cycles) => (slot, histogram::log2(cycles)),
        _ => (isa.slot(reason), histogram::bucket(cycles)),
    };
    // SAFETY: The caller fulfils the contract of `record()`. `own_slot()` and `slot()` are less
    // than `Isa::slots()`, and the bucket is less than `BUCKETS`.
    unsafe {
        if add::<VCPU, HISTOGRAM>(isa, slot, profile, cycles, bucket) {
            count_details(profile, sample, cycles);
        }
    }
}

/// Records an exit that was not timed: KVM's `record_untimed()`.
///
/// # Safety
///
/// As for [`record`].
pub(crate) unsafe extern "C" fn record_untimed<const SVM: bool, const VCPU: bool>(
    profile: *mut c_void,
    sample: *const Sample,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    // SAFETY: The caller fulfils the contract of `record()`.
    match isa.own_slot(unsafe { exit(sample) }) {
        // SAFETY: The caller fulfils the contract of `record()`. `own_slot()` is less
        // than `Isa::slots()`.
        Some(slot) => unsafe {
            add_untimed::<VCPU>(isa, slot, profile);
        },
        // SAFETY: The caller fulfils the contract of `record()`.
        None => unsafe { record_rare_untimed::<SVM, VCPU>(profile, sample) },
    }
}

/// Records an untimed exit that has details, or whose reason has no slot of its own.
///
/// # Safety
///
/// As for [`record`].
#[cold]
#[inline(never)]
unsafe extern "C" fn record_rare_untimed<const SVM: bool, const VCPU: bool>(
    profile: *mut c_void,
    sample: *const Sample,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    // SAFETY: The caller fulfils the contract of `record()`. `slot()` is less than
    // `Isa::slots()`.
    unsafe {
        if add_untimed::<VCPU>(isa, isa.slot(exit(sample) as u32), profile) {
            count_details(profile, sample, 0);
        }
    }
}

/// Records an exit, and the phases that end with it: KVM's `record_phases()`.
///
/// # Safety
///
/// As for [`record`] with `VCPU`.
pub(crate) unsafe extern "C" fn record_phases<const SVM: bool, const HISTOGRAM: bool>(
    profile: *mut c_void,
    sample: *const Sample,
    cycles: u64,
    tsc: u64,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    // SAFETY: The caller fulfils the contract of `record_phases()`.
    match isa.own_slot(unsafe { exit(sample) }) {
        Some(slot) if !profile.is_null() && (!HISTOGRAM || histogram::is_ordinary(cycles)) => {
            let bucket = histogram::log2(cycles);
            // SAFETY: As in `record()`.
            unsafe {
                add::<true, HISTOGRAM>(isa, slot, profile, cycles, bucket);
                add_phases(slot, profile, sample, tsc);
            }
        }
        // SAFETY: The caller fulfils the contract of `record_phases()`.
        _ => unsafe { record_rare_phases::<SVM, HISTOGRAM>(profile, sample, cycles, tsc) },
    }
}

/// [`record_rare`] with phases, and for a vCPU without a profile.
///
/// # Safety
///
/// As for [`record_phases`].
#[cold]
#[inline(never)]
unsafe extern "C" fn record_rare_phases<const SVM: bool, const HISTOGRAM: bool>(
    profile: *mut c_void,
    sample: *const Sample,
    cycles: u64,
    tsc: u64,
) {
    let isa = if SVM { Isa::Svm } else { Isa::Vmx };
    // SAFETY: The caller fulfils the contract of `record_phases()`.
    unsafe {
        record_rare::<SVM, true, HISTOGRAM>(profile, sample, cycles);
        add_phases(isa.slot(exit(sample) as u32), profile, sample, tsc);
    }
}

/// Adds the phases that end with an exit.
///
/// # Safety
///
/// As for [`record_phases`]. `slot` is less than [`Isa::slots`].
#[inline(always)]
unsafe fn add_phases(slot: usize, profile: *mut c_void, sample: *const Sample, tsc: u64) {
    // SAFETY: The caller guarantees that this is the vCPU's profile or null, and that the
    // sample is valid.
    if let (Some(vcpu), sample) = unsafe { (profile.cast::<Vcpu>().as_ref(), &*sample) } {
        if let Some(phases) = vcpu.head.phases.get() {
            // SAFETY: `slot` is less than the number of slots.
            unsafe { phases.add_exit(slot, sample, tsc) };
        }
    }
}

/// Counts what tells an exit from others of its reason, if the sample has that. Its calls are
/// last, so that the code before them saves no registers.
///
/// # Safety
///
/// As for [`record`] with `VCPU`. `profile` is not null.
#[inline(always)]
unsafe fn count_details(profile: *mut c_void, sample: *const Sample, cycles: u64) {
    // SAFETY: The caller guarantees that the sample is valid, and that this is a profile, or
    // zeroed memory with the layout of one: zero is valid for details, if not for all of it.
    let (details, sample) = unsafe { (&(*profile.cast::<Vcpu>()).head.details, &*sample) };
    details.count(sample, cycles);
}

/// Records the end of a pause: KVM's `record_pause()`.
///
/// # Safety
///
/// KVM calls this: see `record_pause()` in `asm/kvm_exit_profiler.h`.
pub(crate) unsafe extern "C" fn record_pause(
    profile: *mut c_void,
    sample: *const Sample,
    pause: *const PauseState,
    cycles: i64,
) {
    // SAFETY: KVM passes the vCPU's profile or null.
    let vcpu = unsafe { profile.cast::<Vcpu>().as_ref() };
    if let Some(phases) = vcpu.and_then(|vcpu| vcpu.head.phases.get()) {
        // SAFETY: KVM's arguments are valid.
        unsafe { phases.add_pause(&*sample, pause, cycles) };
    }
}

/// The basic exit reason (VMX) or the exit code (SVM) of an exit, and in bits 63:32 what else
/// is known of it. A guest hypervisor can make the reason any value.
///
/// # Safety
///
/// `sample` is valid for reads.
#[inline(always)]
unsafe fn exit(sample: *const Sample) -> u64 {
    // SAFETY: The caller guarantees that `sample` points to a sample.
    unsafe { ptr::addr_of!((*sample).exit).read() }
}

/// Adds an exit to the counters of `slot`, and to `bucket` of its histogram. Returns whether
/// the vCPU has counters, too.
///
/// # Safety
///
/// As for [`record`]. `slot` is less than [`Isa::slots`], and `bucket` is less than
/// `BUCKETS`.
#[inline(always)]
unsafe fn add<const VCPU: bool, const HISTOGRAM: bool>(
    isa: Isa,
    slot: usize,
    profile: *mut c_void,
    cycles: u64,
    bucket: usize,
) -> bool {
    if HISTOGRAM {
        // Added first: a reader that finds the exit in the counters also finds it in the
        // histogram.
        // SAFETY: The caller guarantees that histograms are in use, and the bounds of
        // `slot` and `bucket`.
        unsafe { add_to_histogram(isa, slot, cycles, bucket) };
    }
    // SAFETY: The caller guarantees that `slot` is less than the number of slots.
    unsafe { add_on_cpu(slot, cycles) };
    if !VCPU {
        return false;
    }
    if profile.is_null() {
        // SAFETY: There are twice as many counters as slots.
        unsafe { add_on_cpu(slot.wrapping_add(isa.slots()), cycles) };
        return false;
    }
    // SAFETY: The caller guarantees that the profile has a counter for each slot.
    let counter = unsafe {
        let counters = profile.cast::<u8>().add(Vcpu::COUNTERS).cast::<Counter>();
        &*counters
            .cast::<u8>()
            .add(offset::<Counter>(slot))
            .cast::<Counter>()
    };
    // Only the vCPU's task writes this counter.
    increase(&counter.exits, 1);
    increase(&counter.cycles, cycles);
    true
}

/// Adds an exit to the CPU's counters.
///
/// # Safety
///
/// Preemption is disabled, and the counters are in use. `slot` is less than twice the
/// number of slots.
#[inline(always)]
unsafe fn add_on_cpu(slot: usize, cycles: u64) {
    // SAFETY: The caller guarantees that the addresses are in per-CPU memory. An aligned
    // addition is atomic on its CPU, the only one that writes these counters. Other CPUs'
    // loads see whole values.
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
/// Preemption is disabled, and histograms are in use. `slot` is less than the number of
/// slots, and `bucket` is less than `BUCKETS`.
#[inline(always)]
unsafe fn add_to_histogram(isa: Isa, slot: usize, cycles: u64, bucket: usize) {
    // SAFETY: The caller guarantees that histograms are in use, and the bound of `slot`.
    let cell = unsafe { host::histogram(isa, slot) };
    // SAFETY: The addresses are in per-CPU memory: see `add_on_cpu()`. No other exit can
    // be recorded on this CPU between the compare and the store, because preemption is
    // disabled, and KVM records exits only in vCPUs' tasks.
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

/// Adds an untimed exit to the counters of `slot`. Returns whether the vCPU has counters, too.
///
/// # Safety
///
/// As for [`record`]. `slot` is less than [`Isa::slots`].
#[inline(always)]
unsafe fn add_untimed<const VCPU: bool>(isa: Isa, slot: usize, profile: *mut c_void) -> bool {
    // SAFETY: The caller guarantees that `slot` is less than the number of slots.
    unsafe { add_untimed_on_cpu(slot) };
    if !VCPU {
        return false;
    }
    if profile.is_null() {
        // SAFETY: There are twice as many counters as slots.
        unsafe { add_untimed_on_cpu(slot.wrapping_add(isa.slots())) };
        return false;
    }
    // SAFETY: The caller guarantees that the profile has both numbers for each slot.
    let (untimed, exits) = unsafe {
        let profile = profile.cast::<u8>();
        let untimed = profile.add(Vcpu::untimed(isa.slots())).cast::<AtomicU64>();
        let counter = profile.add(Vcpu::COUNTERS).add(offset::<Counter>(slot));
        (&*untimed.add(slot), &(*counter.cast::<Counter>()).exits)
    };
    // Only the vCPU's task writes these numbers. Pairs with the acquire in `Cells`: whoever
    // reads the untimed exit reads the exit.
    increase(exits, 1);
    untimed.store(untimed.load(Relaxed).wrapping_add(1), Release);
    true
}

/// Adds an untimed exit to the CPU's counters.
///
/// # Safety
///
/// As for [`add_on_cpu`].
#[inline(always)]
unsafe fn add_untimed_on_cpu(slot: usize) {
    // SAFETY: As in `add_on_cpu()`.
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
