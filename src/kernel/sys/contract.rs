// SPDX-License-Identifier: GPL-2.0

//! KVM's contract with a profiler: `asm/kvm_exit_profiler.h`, which describes all
//! of this.

use super::bindings;
pub(crate) use super::bindings::{
    kvm_exit_profiler as Ops, kvm_exit_profiler_vcpu as VcpuInfo, kvm_exit_sample as Sample,
    KVM_EXIT_PROFILER_CPUID_BASE as CPUID_BASE, KVM_EXIT_PROFILER_VERSION as VERSION,
};
use core::ffi::{c_int, c_void};

/// The callback for each exit.
pub(crate) type Record = unsafe extern "C" fn(*mut c_void, Sample);

/// Registers a profiler. KVM checks that the sizes in `ops` are its own.
///
/// # Errors
///
/// KVM's error: `-EBUSY` if it has one already, `-EINVAL` if its contract is another.
///
/// # Safety
///
/// The callbacks do what the contract says, until [`unregister`] returns.
pub(crate) unsafe fn register(ops: &'static Ops) -> Result<(), c_int> {
    // SAFETY: By this function's contract.
    match unsafe { bindings::kvm_register_exit_profiler(ops) } {
        0 => Ok(()),
        r => Err(r),
    }
}

/// Takes the registration back.
///
/// # Safety
///
/// `ops` are registered.
pub(crate) unsafe fn unregister(ops: &'static Ops) {
    // SAFETY: By this function's contract.
    unsafe { bindings::kvm_unregister_exit_profiler(ops) };
}

/// Switches the recording of exits on or off.
///
/// # Safety
///
/// `ops` are registered.
pub(crate) unsafe fn set_recording(ops: &'static Ops, on: bool) {
    // SAFETY: By this function's contract.
    unsafe { bindings::kvm_set_exit_recording(ops, on) };
}
