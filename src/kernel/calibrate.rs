// SPDX-License-Identifier: GPL-2.0

//! What a sample costs, as measured when the module is loaded.

use crate::{
    block::Owned,
    config,
    sys::{
        contract::{Record, Sample},
        cpu,
        memory::Wait,
    },
};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// See [`Account`](crate::profile::text::Account).
static SAMPLE_CYCLES: AtomicU64 = AtomicU64::new(0);
static RECORD_CYCLES: AtomicU64 = AtomicU64::new(0);

/// The cycles that an exit's figure is too high by, and those that taking and
/// recording a sample adds to an exit; 0 if that was not measured.
pub(crate) fn overhead() -> (u64, u64) {
    (SAMPLE_CYCLES.load(Relaxed), RECORD_CYCLES.load(Relaxed))
}

/// How often it is measured, for the least is wanted; and for how many samples.
const ROUNDS: u32 = 64;
const SAMPLES: u64 = 16;

/// Measures [`overhead`], unless there is no memory; what it records is to be cleared.
///
/// # Safety
///
/// `record` is a [`record`](crate::record::record) for the present configuration, whose
/// memory is in use, by nobody else.
pub(crate) unsafe fn calibrate(record: Record) {
    let profile = match Owned::try_new((), config::vcpu_slots(), Wait::Yes) {
        Ok(block) => block,
        Err(_) => return,
    };
    let profile = profile.into_foreign();
    let (mut sample_cycles, mut record_cycles) = (u64::MAX, u64::MAX);
    for _ in 0..ROUNDS {
        cpu::without_preemption(|| {
            let start = cpu::tsc();
            for _ in 0..SAMPLES {
                let begin = cpu::tsc();
                let cycles = cpu::tsc().wrapping_sub(begin);
                sample_cycles = sample_cycles.min(cycles);
                let sample = Sample { exit: 0, cycles };
                // SAFETY: By this function's contract; the profile is one with counters,
                // and nobody else's.
                unsafe { record(profile.as_ptr(), sample) };
            }
            let all = cpu::tsc().wrapping_sub(start);
            record_cycles = record_cycles.min(all / SAMPLES);
        });
    }
    // SAFETY: It was given away above.
    drop(unsafe { Owned::<()>::from_foreign(profile) });
    SAMPLE_CYCLES.store(sample_cycles, Relaxed);
    RECORD_CYCLES.store(record_cycles, Relaxed);
}
