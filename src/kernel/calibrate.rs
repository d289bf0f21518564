// SPDX-License-Identifier: GPL-2.0

//! What a sample costs, as measured when the module is loaded.

use crate::{
    bindings,
    counters::{Owned, Wait},
    record::Record,
};
use core::{
    arch::x86_64::_rdtsc,
    ffi::c_void,
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed},
};
use kernel::prelude::*;

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

/// A vCPU of which there is nothing but a profile.
struct Vcpu(NonNull<c_void>);

impl Vcpu {
    const PROFILE: usize = bindings::EXITPROF_PROFILE as usize;

    fn try_new() -> Result<Vcpu> {
        let size = Self::PROFILE.wrapping_add(core::mem::size_of::<*mut c_void>());
        let profile = Owned::try_new((), Wait::Yes)?;
        // SAFETY: It may be called where one may sleep, as modules are loaded.
        let vcpu = NonNull::new(unsafe { bindings::exitprof_alloc(size, true) });
        let vcpu = vcpu.ok_or(kernel::error::code::ENOMEM)?;
        let vcpu = Vcpu(vcpu);
        vcpu.profile().store(profile.into_thin().as_ptr(), Relaxed);
        Ok(vcpu)
    }

    fn profile(&self) -> &AtomicPtr<c_void> {
        // SAFETY: `try_new()` has allocated zeroed memory up to its end, and its
        // place in `struct kvm_vcpu` is aligned.
        unsafe { &*self.0.as_ptr().cast::<u8>().add(Self::PROFILE).cast() }
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        if let Some(profile) = NonNull::new(self.profile().load(Relaxed)) {
            // SAFETY: `try_new()` has put it there.
            drop(unsafe { Owned::<()>::from_thin(profile) });
        }
        // SAFETY: `try_new()` has allocated it.
        unsafe { bindings::exitprof_free(self.0.as_ptr()) };
    }
}

/// Measures [`overhead`], unless there is no memory; what it records is to be cleared.
///
/// # Safety
///
/// `record` is a [`record`](crate::record::record) whose memory is in use, by
/// nobody else.
pub(crate) unsafe fn calibrate(record: Record) {
    let vcpu = match Vcpu::try_new() {
        Ok(vcpu) => vcpu,
        Err(_) => return,
    };
    let (mut sample_cycles, mut record_cycles) = (u64::MAX, u64::MAX);
    for _ in 0..ROUNDS {
        // SAFETY: They are a pair; every CPU that runs this kernel has a TSC; and
        // `record()` may be called, by this function's contract, for `vcpu`.
        unsafe {
            bindings::exitprof_preempt_disable();
            let start = _rdtsc();
            for _ in 0..SAMPLES {
                let begin = _rdtsc();
                let cycles = _rdtsc().wrapping_sub(begin);
                sample_cycles = sample_cycles.min(cycles);
                record(vcpu.0.as_ptr().cast(), 0, cycles);
            }
            let all = _rdtsc().wrapping_sub(start);
            bindings::exitprof_preempt_enable();
            record_cycles = record_cycles.min(all / SAMPLES);
        }
    }
    SAMPLE_CYCLES.store(sample_cycles, Relaxed);
    RECORD_CYCLES.store(record_cycles, Relaxed);
}
