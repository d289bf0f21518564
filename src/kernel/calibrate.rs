// SPDX-License-Identifier: GPL-2.0

//! The cost of a sample, measured when the module is loaded.

use crate::{
    config,
    sys::{
        contract::{Record, Sample},
        cpu,
        memory::{self, Wait},
    },
    vm::Vcpu,
};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The results: see [`Account`](crate::profile::text::Account).
static SAMPLE_CYCLES: AtomicU64 = AtomicU64::new(0);
static RECORD_CYCLES: AtomicU64 = AtomicU64::new(0);

/// The cycles by which each exit's cycles are too high, and the cycles that a sample adds
/// to an exit. 0 if they were not measured.
pub(crate) fn overhead() -> (u64, u64) {
    (SAMPLE_CYCLES.load(Relaxed), RECORD_CYCLES.load(Relaxed))
}

/// The number of measurements, of which the lowest counts, and the number of samples in
/// each.
const ROUNDS: u32 = 64;
const SAMPLES: u64 = 16;

/// Measures [`overhead`], unless there is no memory. The samples are added to the
/// counters, which the caller must clear.
///
/// # Safety
///
/// `record` is the [`record`](crate::record::record) of the present configuration. Its
/// memory is in use, but nobody else reads or writes it.
pub(crate) unsafe fn calibrate(record: Record) {
    let profile = match memory::alloc(Vcpu::size(config::vcpu_slots()), Wait::Yes) {
        Ok(profile) => profile,
        Err(_) => return,
    };
    let sample = Sample {
        exit: 0,
        result: 1,
        cpl: 0,
        rip: 0,
        detail: 0,
        entered: 0,
        exited: 0,
        began: 0,
    };
    let (mut sample_cycles, mut record_cycles) = (u64::MAX, u64::MAX);
    for _ in 0..ROUNDS {
        cpu::without_preemption(|| {
            let start = cpu::tsc();
            for _ in 0..SAMPLES {
                let begin = cpu::tsc();
                let cycles = cpu::tsc().wrapping_sub(begin);
                sample_cycles = sample_cycles.min(cycles);
                // SAFETY: The caller guarantees that `record` has its memory to itself.
                // Preemption is disabled. `profile` is zeroed memory of a profile's size,
                // which nobody else uses, and `sample` is a local variable.
                unsafe { record(profile.as_ptr(), &sample, cycles) };
            }
            let all = cpu::tsc().wrapping_sub(start);
            record_cycles = record_cycles.min(all / SAMPLES);
        });
    }
    // SAFETY: `alloc()` returned `profile` above, and nobody uses it any more.
    unsafe { memory::free(profile) };
    SAMPLE_CYCLES.store(sample_cycles, Relaxed);
    RECORD_CYCLES.store(record_cycles, Relaxed);
}
