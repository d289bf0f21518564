// SPDX-License-Identifier: GPL-2.0

//! What is done when a parameter is written.

use crate::{
    config,
    host::Host,
    kvm,
    reading::Reading,
    sys::params::ParamLock,
    table::{self, Log},
};

/// Parameter `recording` was written.
///
/// # Safety
///
/// As for the others here: `sys/params.c` calls it, with the parameters' lock held.
#[no_mangle]
unsafe extern "C" fn exitprof_recording_changed() {
    // SAFETY: By this function's contract.
    let lock = unsafe { ParamLock::held() };
    kvm::set_recording(&lock, config::recording());
}

/// Parameter `reset` was written.
#[no_mangle]
unsafe extern "C" fn exitprof_reset() {
    // SAFETY: By this function's contract.
    let lock = unsafe { ParamLock::held() };
    kvm::start_from_zero(&lock);
}

/// Parameter `report` was written.
#[no_mangle]
unsafe extern "C" fn exitprof_report(by_vcpu: bool) {
    // SAFETY: By this function's contract.
    let lock = unsafe { ParamLock::held() };
    report(&lock, by_vcpu);
}

/// Puts the exits into the log.
pub(crate) fn report(lock: &ParamLock, by_vcpu: bool) {
    // Only memory can be lacking, for which the kernel has its own words.
    let _ = match Host::get(lock) {
        Some(host) if by_vcpu => table::by_vcpu(&host, &Reading::begin(), &mut Log),
        Some(host) => table::by_reason(&host, &mut Log),
        None => Ok(()),
    };
}
