// SPDX-License-Identifier: GPL-2.0

//! When the counters started from zero.

use crate::sys::clock;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

static EPOCH: AtomicU32 = AtomicU32::new(0);

/// When it began, in nanoseconds of CLOCK_MONOTONIC.
static SINCE: AtomicU64 = AtomicU64::new(0);

/// Another number when the counters start from zero, 0 while they do.
pub(crate) fn current() -> u32 {
    EPOCH.load(Acquire)
}

/// When the counters started from zero, in nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn since() -> u64 {
    SINCE.load(Relaxed)
}

/// Begins another epoch, after `clear` has set the counters to zero; for one task at a
/// time.
pub(crate) fn change(clear: impl FnOnce()) {
    let next = match EPOCH.swap(0, AcqRel) {
        0 => clock::random_u32(),
        last => last.wrapping_add(1).max(1),
    };
    clear();
    SINCE.store(clock::now(), Relaxed);
    EPOCH.store(next, Release);
}
