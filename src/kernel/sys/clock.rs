// SPDX-License-Identifier: GPL-2.0

//! Time and chance.

use super::bindings;
use core::ptr;

/// Now, in nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn now() -> u64 {
    // SAFETY: `ktime_get_mono_fast_ns()` may be called in any context.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// The frequency of the TSC in kHz, 0 if unknown.
pub(crate) fn tsc_khz() -> u32 {
    // SAFETY: `tsc_khz` is an aligned word, which the kernel may refine at any time.
    unsafe { ptr::read_volatile(ptr::addr_of!(bindings::tsc_khz)) }
}

/// A random number, which is not 0.
pub(crate) fn random_u32() -> u32 {
    // SAFETY: `get_random_u32()` may be called in any context.
    unsafe { bindings::get_random_u32() }.max(1)
}

/// A random number, which is not 0.
pub(crate) fn random_u64() -> u64 {
    u64::from(random_u32()) << 32 | u64::from(random_u32())
}

/// Sleeps, unless the task is being killed.
///
/// # Context
///
/// Where one may sleep.
pub(crate) fn wait(ns: u64) {
    // SAFETY: `exitprof_wait()` asks for nothing but its context, which is ours.
    unsafe { bindings::exitprof_wait(ns) };
}

/// Lets others run, if they wait for this CPU.
///
/// # Context
///
/// Where one may sleep.
pub(crate) fn cond_resched() {
    // SAFETY: As above.
    unsafe { bindings::exitprof_cond_resched() };
}
