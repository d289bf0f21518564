// SPDX-License-Identifier: GPL-2.0

//! Time and random numbers.

use super::bindings;
use core::ptr;

/// The time, in nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn now() -> u64 {
    // SAFETY: `ktime_get_mono_fast_ns()` may be called in any context.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// The frequency of the TSC in kHz; 0 if unknown.
pub(crate) fn tsc_khz() -> u32 {
    // SAFETY: `tsc_khz` is an aligned word. The kernel may refine it at any time, hence
    // the volatile read.
    unsafe { ptr::read_volatile(ptr::addr_of!(bindings::tsc_khz)) }
}

/// A random number other than 0.
pub(crate) fn random_u32() -> u32 {
    // SAFETY: `get_random_u32()` may be called in any context.
    unsafe { bindings::get_random_u32() }.max(1)
}

/// A random number other than 0.
pub(crate) fn random_u64() -> u64 {
    u64::from(random_u32()) << 32 | u64::from(random_u32())
}

/// Sleeps for `ns` nanoseconds. Returns early if the task is killed.
///
/// # Context
///
/// Process context; sleeps.
pub(crate) fn wait(ns: u64) {
    // SAFETY: `exitprof_wait()` requires only process context.
    unsafe { bindings::exitprof_wait(ns) };
}

/// Lets other tasks run if the scheduler wants to.
///
/// # Context
///
/// Process context; may sleep.
pub(crate) fn cond_resched() {
    // SAFETY: `cond_resched()` requires only process context.
    unsafe { bindings::exitprof_cond_resched() };
}
