// SPDX-License-Identifier: GPL-2.0

//! The module's parameters, which `params.c` defines.

use super::bindings;
use core::{ffi::c_int, marker::PhantomData, mem::ManuallyDrop, ptr};

/// The lock under which the kernel writes the module's parameters. It also separates
/// writes from loading and unloading, because the parameters' files exist before `init()`
/// begins, and still after `drop()` has ended.
///
/// # Invariants
///
/// This task holds the lock.
pub(crate) struct ParamLock(PhantomData<*mut ()>);

impl ParamLock {
    /// Takes the lock.
    ///
    /// # Context
    ///
    /// Process context; may sleep. The task does not hold the lock.
    pub(crate) fn lock() -> ParamLock {
        // SAFETY: `kernel_param_lock()` requires only process context.
        unsafe { bindings::exitprof_param_lock() };
        // INVARIANT: The lock was taken above.
        ParamLock(PhantomData)
    }

    /// The lock, which a caller holds and releases.
    ///
    /// # Safety
    ///
    /// This task holds the lock as long as the result exists.
    pub(crate) unsafe fn held() -> ManuallyDrop<ParamLock> {
        // INVARIANT: The caller guarantees it.
        ManuallyDrop::new(ParamLock(PhantomData))
    }
}

impl Drop for ParamLock {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, this task holds the lock.
        unsafe { bindings::exitprof_param_unlock() };
    }
}

/// The current value of a parameter, which can be written at any time.
///
/// # Safety
///
/// `parameter` is a static of `params.c`: an aligned word or byte, with a valid value of
/// `T`.
unsafe fn read<T: Copy>(parameter: *const T) -> T {
    // SAFETY: The caller guarantees that it is an aligned static with a valid value.
    unsafe { ptr::read_volatile(parameter) }
}

/// Parameter `log`.
pub(crate) fn log() -> bool {
    // SAFETY: C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_log)) }
}

/// Parameter `recording`.
pub(crate) fn recording() -> bool {
    // SAFETY: C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_recording)) }
}

/// Parameter `phases`.
pub(crate) fn phases() -> bool {
    // SAFETY: C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_phases)) }
}

/// Parameter `details`: a bit for each kind.
pub(crate) fn details() -> u32 {
    // SAFETY: Any number is a valid `u32`.
    unsafe { read(ptr::addr_of!(bindings::exitprof_details)) }
}

/// Parameter `code`: 0 is `off`, 1 `page`, and 2 `exact`.
pub(crate) fn code() -> c_int {
    // SAFETY: Any number is a valid `int`.
    unsafe { read(ptr::addr_of!(bindings::exitprof_code)) }
}

/// Parameter `per_vcpu`, which is constant.
pub(crate) fn per_vcpu() -> bool {
    // SAFETY: C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_per_vcpu)) }
}

/// Parameter `histograms`, which is constant.
pub(crate) fn histograms() -> bool {
    // SAFETY: C writes only true and false.
    unsafe { read(ptr::addr_of!(bindings::exitprof_histograms)) }
}

/// Parameter `scope`: its number in the protocol, or 0 for `off`.
pub(crate) fn scope() -> u8 {
    // SAFETY: Any number is a valid `int`.
    let scope = unsafe { read(ptr::addr_of!(bindings::exitprof_scope)) };
    scope as u8
}
