// SPDX-License-Identifier: GPL-2.0

//! The work items that print to the host's log.

use super::bindings;
use core::ptr;

/// The argument of a work function.
pub(crate) type WorkPtr = *mut bindings::work_struct;

/// The type of a work function, which may sleep.
pub(crate) type Work = unsafe extern "C" fn(WorkPtr);

/// Initializes the work items with their functions. Called before all other functions of
/// this file.
pub(crate) fn init(print_log: Work, print_suppressed: Work) {
    // SAFETY: Nobody uses the items before they are initialized.
    unsafe { bindings::exitprof_init_work(Some(print_log), Some(print_suppressed)) };
}

/// Queues the item that prints lines.
///
/// # Context
///
/// Any context.
///
/// # Safety
///
/// [`init`] was called before. [`cancel`] is called before the module is unloaded.
pub(crate) unsafe fn queue_log() {
    // SAFETY: The item is static and initialized. `cancel()` waits for it before the
    // module is unloaded.
    unsafe { bindings::exitprof_queue_log_work() };
}

/// Queues the item that reports suppressed lines, to run in `delay_ns` nanoseconds. Does
/// nothing if it is queued already.
///
/// # Context
///
/// Any context.
///
/// # Safety
///
/// [`init`] was called before. [`cancel`] is called before the module is unloaded.
pub(crate) unsafe fn queue_suppressed(delay_ns: u64) {
    // SAFETY: The item is static and initialized. `cancel()` waits for it before the
    // module is unloaded.
    unsafe { bindings::exitprof_queue_suppressed_work(delay_ns) };
}

/// Cancels both items, and waits for them if they run.
///
/// # Context
///
/// Process context; may sleep.
pub(crate) fn cancel() {
    // SAFETY: The items are static, and `init()` was called when the module was loaded.
    unsafe {
        bindings::cancel_work_sync(ptr::addr_of_mut!(bindings::exitprof_log_work));
        bindings::cancel_delayed_work_sync(ptr::addr_of_mut!(bindings::exitprof_suppressed_work));
    }
}
