// SPDX-License-Identifier: GPL-2.0

//! KVM's contract with a profiler. `asm/kvm_exit_profiler.h` describes all of it.

use super::bindings;
pub(crate) use super::bindings::{
    exitprof_sample_code as CODE, exitprof_sample_nested as NESTED,
    exitprof_sample_reflected as REFLECTED, kvm_exit_pause_KVM_EXIT_PAUSE_HALTED as HALTED,
    kvm_exit_pause_KVM_EXIT_PAUSE_POLLING as POLLING,
    kvm_exit_pause_KVM_EXIT_PAUSE_PREEMPTED as PREEMPTED,
    kvm_exit_pause_KVM_EXIT_PAUSE_SLEEPING as SLEEPING,
    kvm_exit_pause_KVM_EXIT_PAUSE_USERSPACE as USERSPACE, kvm_exit_pause_state as PauseState,
    kvm_exit_profiler as Ops, kvm_exit_profiler_vcpu as VcpuInfo, kvm_exit_sample as Sample,
    KVM_EXIT_DETAIL_CODE as CODE_KIND, KVM_EXIT_PROFILER_CPUID_BASE as CPUID_BASE,
    KVM_EXIT_PROFILER_VERSION as VERSION, KVM_EXIT_SAMPLE_DETAIL_SHIFT as DETAIL_SHIFT,
};
use core::{
    ffi::{c_int, c_void},
    ptr,
    sync::atomic::{fence, Ordering::Acquire},
};

/// The type of `record()`.
pub(crate) type Record =
    unsafe extern "C" fn(profile: *mut c_void, sample: *const Sample, cycles: u64);

/// The type of `record_phases()`.
pub(crate) type RecordPhases =
    unsafe extern "C" fn(profile: *mut c_void, sample: *const Sample, cycles: u64, tsc: u64);

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

/// What KVM records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    Nothing,
    Exits,
    /// Exits and phases.
    Phases,
}

/// Switches recording.
///
/// # Safety
///
/// `ops` is registered.
pub(crate) unsafe fn set_recording(ops: &'static Ops, recording: Recording) {
    let recording = match recording {
        Recording::Nothing => bindings::kvm_exit_recording_KVM_EXIT_RECORD_NONE,
        Recording::Exits => bindings::kvm_exit_recording_KVM_EXIT_RECORD_EXITS,
        Recording::Phases => bindings::kvm_exit_recording_KVM_EXIT_RECORD_PHASES,
    };
    // SAFETY: The caller guarantees that `ops` is registered.
    unsafe { bindings::kvm_set_exit_recording(ops, recording) };
}

/// Chooses the details that samples have, a bit for each kind, and whether they have the
/// guest's code.
///
/// # Safety
///
/// `ops` is registered.
pub(crate) unsafe fn set_details(ops: &'static Ops, kinds: u32, code: bool) {
    let code = u32::from(code) << CODE_KIND;
    // SAFETY: The caller guarantees that `ops` is registered.
    unsafe { bindings::kvm_set_exit_details(ops, kinds | code) };
}

/// What a [`PauseState`] had at one time.
#[derive(Clone, Copy)]
pub(crate) struct Pause {
    pub(crate) since: u64,
    pub(crate) seq: u32,
    pub(crate) pause: u16,
    pub(crate) userspace_exit: u16,
}

impl Pause {
    /// That of a vCPU that is in no pause.
    pub(crate) const NONE: Pause = Pause {
        since: 0,
        seq: 0,
        pause: 0,
        userspace_exit: 0,
    };

    /// Reads the state, which the vCPU's task may write meanwhile. `seq` is read after what
    /// was read before, and before the rest.
    ///
    /// # Safety
    ///
    /// The state exists.
    pub(crate) unsafe fn read(state: *const PauseState) -> Pause {
        fence(Acquire);
        // SAFETY: The caller guarantees that the state exists. Its fields are aligned
        // numbers.
        unsafe {
            let seq = ptr::read_volatile(ptr::addr_of!((*state).seq));
            fence(Acquire);
            Pause {
                seq,
                since: ptr::read_volatile(ptr::addr_of!((*state).since)),
                pause: ptr::read_volatile(ptr::addr_of!((*state).pause)),
                userspace_exit: ptr::read_volatile(ptr::addr_of!((*state).userspace_exit)),
            }
        }
    }
}
