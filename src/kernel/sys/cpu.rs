// SPDX-License-Identifier: GPL-2.0

//! The host's CPUs.

use super::bindings;
use core::arch::x86_64::{__cpuid, _rdtsc};

/// The bit of CPUID leaf 1's ECX that says that the CPU has VMX.
const CPUID_1_ECX_VMX: u32 = 1 << 5;
/// The bit of CPUID leaf 0x80000001's ECX that says that the CPU has SVM.
const CPUID_80000001_ECX_SVM: u32 = 1 << 2;

fn cpuid_ecx(leaf: u32) -> u32 {
    // SAFETY: Every CPU that runs a 64-bit kernel has the instruction, and both
    // leaves.
    unsafe { __cpuid(leaf) }.ecx
}

/// Whether the CPU has VMX.
pub(crate) fn has_vmx() -> bool {
    cpuid_ecx(1) & CPUID_1_ECX_VMX != 0
}

/// Whether the CPU has SVM.
pub(crate) fn has_svm() -> bool {
    cpuid_ecx(0x8000_0001) & CPUID_80000001_ECX_SVM != 0
}

/// How many CPUs are online.
pub(crate) fn online() -> u32 {
    // SAFETY: `num_online_cpus()` may be called in any context.
    unsafe { bindings::exitprof_online_cpus() }
}

/// How many CPUs there can be.
pub(crate) fn possible() -> u32 {
    // SAFETY: `num_possible_cpus()` may be called in any context.
    unsafe { bindings::exitprof_possible_cpus() }
}

/// The CPU's time stamp counter.
pub(crate) fn tsc() -> u64 {
    // SAFETY: Every CPU that runs a 64-bit kernel has the instruction.
    unsafe { _rdtsc() }
}

/// Runs `f` without preemption: it must not sleep.
pub(crate) fn without_preemption<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: `preempt_disable()` may be called in any context, and is paired below.
    unsafe { bindings::exitprof_preempt_disable() };
    let result = f();
    // SAFETY: It was disabled above.
    unsafe { bindings::exitprof_preempt_enable() };
    result
}
