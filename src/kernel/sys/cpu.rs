// SPDX-License-Identifier: GPL-2.0

//! The host's CPUs.

use super::bindings;
use core::arch::x86_64::{__cpuid, _rdtsc};

/// The bit of VMX in ECX of CPUID leaf 1.
const CPUID_1_ECX_VMX: u32 = 1 << 5;
/// The bit of SVM in ECX of CPUID leaf 0x80000001.
const CPUID_80000001_ECX_SVM: u32 = 1 << 2;

fn cpuid_ecx(leaf: u32) -> u32 {
    // SAFETY: Every CPU of a 64-bit kernel has the instruction and both leaves.
    unsafe { __cpuid(leaf) }.ecx
}

pub(crate) fn has_vmx() -> bool {
    cpuid_ecx(1) & CPUID_1_ECX_VMX != 0
}

pub(crate) fn has_svm() -> bool {
    cpuid_ecx(0x8000_0001) & CPUID_80000001_ECX_SVM != 0
}

/// The number of online CPUs.
pub(crate) fn online() -> u32 {
    // SAFETY: `num_online_cpus()` may be called in any context.
    unsafe { bindings::exitprof_online_cpus() }
}

/// The number of possible CPUs.
pub(crate) fn possible() -> u32 {
    // SAFETY: `num_possible_cpus()` may be called in any context.
    unsafe { bindings::exitprof_possible_cpus() }
}

/// The time stamp counter of the CPU.
pub(crate) fn tsc() -> u64 {
    // SAFETY: Every CPU of a 64-bit kernel has the instruction.
    unsafe { _rdtsc() }
}

/// Calls `f` with preemption disabled. `f` must not sleep.
pub(crate) fn without_preemption<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: `preempt_disable()` may be called in any context. Preemption is enabled
    // again below.
    unsafe { bindings::exitprof_preempt_disable() };
    let result = f();
    // SAFETY: Preemption was disabled above.
    unsafe { bindings::exitprof_preempt_enable() };
    result
}
