// SPDX-License-Identifier: GPL-2.0

//! KVM's contract with a profiler. `asm/kvm_exit_profiler.h` describes all of it.

use super::bindings;
pub(crate) use super::bindings::{
    kvm_exit_profiler as Ops, kvm_exit_profiler_vcpu as VcpuInfo, kvm_exit_sample as Sample,
    KVM_EXIT_PROFILER_CPUID_BASE as CPUID_BASE, KVM_EXIT_PROFILER_VERSION as VERSION,
};
use core::ffi::{c_int, c_void};

/// The type of `record()`.
pub(crate) type Record =
    unsafe extern "C" fn(profile: *mut c_void, sample: *const Sample, cycles: u64);

/// The type of `record_untimed()`.
pub(crate) type RecordUntimed = unsafe extern "C" fn(profile: *mut c_void, sample: *const Sample);

/// Registers a profiler. KVM compares the version and the sizes in `ops` with its own.
///
/// # Errors
///
/// KVM's error: `-EBUSY` if KVM has a profiler already, `-EINVAL` if it has another
/// contract.
///
/// # Safety
///
/// The callbacks fulfil the contract until [`unregister`] returns.
pub(crate) unsafe fn register(ops: &'static Ops) -> Result<(), c_int> {
    // SAFETY: The caller guarantees that the callbacks fulfil the contract.
    match unsafe { bindings::kvm_register_exit_profiler(ops) } {
        0 => Ok(()),
        r => Err(r),
    }
}

/// Unregisters a profiler.
///
/// # Safety
///
/// `ops` is registered.
pub(crate) unsafe fn unregister(ops: &'static Ops) {
    // SAFETY: The caller guarantees that `ops` is registered.
    unsafe { bindings::kvm_unregister_exit_profiler(ops) };
}

/// Switches the recording of exits on or off.
///
/// # Safety
///
/// `ops` is registered.
pub(crate) unsafe fn set_recording(ops: &'static Ops, on: bool) {
    // SAFETY: The caller guarantees that `ops` is registered.
    unsafe { bindings::kvm_set_exit_recording(ops, on) };
}
