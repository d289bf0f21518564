// SPDX-License-Identifier: GPL-2.0

//! Actions when a parameter is written.

use crate::{
    host::Host,
    kvm,
    reading::Reading,
    sys::params::ParamLock,
    table::{self, Log},
};

/// Parameter `recording` or `phases` was written.
///
/// # Safety
///
/// `sys/params.c` calls the functions below, and holds the parameters' lock.
#[no_mangle]
unsafe extern "C" fn exitprof_recording_changed() {
    // SAFETY: `sys/params.c` holds the lock during the call.
    let lock = unsafe { ParamLock::held() };
    kvm::resume(&lock);
}

/// Parameter `reset` was written.
#[no_mangle]
unsafe extern "C" fn exitprof_reset() {
    // SAFETY: `sys/params.c` holds the lock during the call.
    let lock = unsafe { ParamLock::held() };
    kvm::start_from_zero(&lock);
}

/// Parameter `report` was written.
#[no_mangle]
unsafe extern "C" fn exitprof_report(by_vcpu: bool) {
    // SAFETY: `sys/params.c` holds the lock during the call.
    let lock = unsafe { ParamLock::held() };
    report(&lock, by_vcpu);
}

/// Logs a table of exits.
pub(crate) fn report(lock: &ParamLock, by_vcpu: bool) {
    // The only error is a lack of memory, which the kernel logs itself.
    let _ = match Host::get(lock) {
        Some(host) if by_vcpu => table::by_vcpu(&host, &Reading::begin(), &mut Log),
        Some(host) => table::by_reason(&host, &mut Log),
        None => Ok(()),
    };
}
