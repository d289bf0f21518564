// SPDX-License-Identifier: GPL-2.0

//! The work items that print into the host's log.

use super::bindings;
use core::ptr;

/// What the kernel passes to them.
pub(crate) type WorkPtr = *mut bindings::work_struct;

/// What a work item does, where one may sleep.
pub(crate) type Work = unsafe extern "C" fn(WorkPtr);

/// Says what the items do, before all else.
pub(crate) fn init(print_log: Work, print_suppressed: Work) {
    // SAFETY: Nobody uses the items yet.
    unsafe { bindings::exitprof_init_work(Some(print_log), Some(print_suppressed)) };
}

/// Queues the item that prints lines, in any context.
///
/// # Safety
///
/// [`init`] came before, and [`cancel`] comes before the module goes.
pub(crate) unsafe fn queue_log() {
    // SAFETY: The item is static, and goes after `cancel()`.
    unsafe { bindings::exitprof_queue_log_work() };
}

/// Has the item that tells of suppressed lines run in `delay_ns`, unless it is to
/// run already; in any context.
///
/// # Safety
///
/// [`init`] came before, and [`cancel`] comes before the module goes.
pub(crate) unsafe fn queue_suppressed(delay_ns: u64) {
    // SAFETY: As above.
    unsafe { bindings::exitprof_queue_suppressed_work(delay_ns) };
}

/// Waits for both, and takes back what is queued.
///
/// # Context
///
/// Where one may sleep.
pub(crate) fn cancel() {
    // SAFETY: The items are static, and initialized there.
    unsafe {
        bindings::cancel_work_sync(ptr::addr_of_mut!(bindings::exitprof_log_work));
        bindings::cancel_delayed_work_sync(ptr::addr_of_mut!(bindings::exitprof_suppressed_work));
    }
}
