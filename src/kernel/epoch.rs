// SPDX-License-Identifier: GPL-2.0

//! The epoch: a number that changes when the counters restart from zero.

use crate::sys::clock;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

static EPOCH: AtomicU32 = AtomicU32::new(0);

/// The start of the epoch, in nanoseconds of CLOCK_MONOTONIC.
static SINCE: AtomicU64 = AtomicU64::new(0);

/// The epoch; 0 while the counters restart from zero.
pub(crate) fn current() -> u32 {
    EPOCH.load(Acquire)
}

/// The start of the epoch, in nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn since() -> u64 {
    SINCE.load(Relaxed)
}

/// Calls `clear`, which sets the counters to zero, and starts another epoch. The caller
/// prevents concurrent calls.
pub(crate) fn change(clear: impl FnOnce()) {
    let next = match EPOCH.swap(0, AcqRel) {
        0 => clock::random_u32(),
        last => last.wrapping_add(1).max(1),
    };
    clear();
    SINCE.store(clock::now(), Relaxed);
    EPOCH.store(next, Release);
}
