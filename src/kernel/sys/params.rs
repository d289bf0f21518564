// SPDX-License-Identifier: GPL-2.0

//! The module's parameters: `params.c`.

use super::bindings;
use core::{mem::ManuallyDrop, ptr};

/// The lock under which the kernel writes our parameters. It keeps loading,
/// unloading and them from meeting: files of parameters are there before
/// `init()` begins, and after `drop()` has ended.
///
/// # Invariants
///
/// This task holds it.
pub(crate) struct ParamLock(());

impl ParamLock {
    /// Waits for it.
    ///
    /// # Context
    ///
    /// Where one may sleep, by a task that does not hold it.
    pub(crate) fn lock() -> ParamLock {
        // SAFETY: By this function's contract.
        unsafe { bindings::exitprof_param_lock() };
        // INVARIANT: It was taken just now.
        ParamLock(())
    }

    /// The holding of who has called us.
    ///
    /// # Safety
    ///
    /// This task holds the lock until what is returned is gone.
    pub(crate) unsafe fn held() -> ManuallyDrop<ParamLock> {
        // INVARIANT: By this function's contract.
        ManuallyDrop::new(ParamLock(()))
    }
}

impl Drop for ParamLock {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::exitprof_param_unlock() };
    }
}

/// A parameter as it is at present, which may be written at any time.
///
/// # Safety
///
/// It is a static of `params.c`, an aligned word or byte, into which C writes only
/// values of `T`.
unsafe fn read<T: Copy>(parameter: *const T) -> T {
    // SAFETY: By this function's contract.
    unsafe { ptr::read_volatile(parameter) }
}

/// Parameter `log`.
pub(crate) fn log() -> bool {
    // SAFETY: It is one, and C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_log)) }
}

/// Parameter `recording`.
pub(crate) fn recording() -> bool {
    // SAFETY: It is one, and C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_recording)) }
}

/// Parameter `per_vcpu`, which does not change.
pub(crate) fn per_vcpu() -> bool {
    // SAFETY: It is one, and C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_per_vcpu)) }
}

/// Parameter `histograms`, which does not change.
pub(crate) fn histograms() -> bool {
    // SAFETY: It is one, and C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_histograms)) }
}

/// Parameter `scope`: its number in the protocol, or 0 for none.
pub(crate) fn scope() -> u8 {
    // SAFETY: It is one, any number.
    let scope = unsafe { read(ptr::addr_of!(bindings::exitprof_scope)) };
    scope as u8
}
