// SPDX-License-Identifier: GPL-2.0

//! Guests' queries in the host's log.

use crate::{
    bindings,
    profile::{
        leaf::{join, split, Answer, Asker, LogLine, Query, Registers},
        log::{Budget, Queue},
    },
    profiler,
};
use core::{
    ptr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use kernel::prelude::*;

static BUDGET: Budget = Budget::new();
static QUEUE: Queue = Queue::new();

/// The lines that were not queued, and those of them that were told of.
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);
static TOLD: AtomicU64 = AtomicU64::new(0);

/// How many lines were not queued since the module was loaded.
pub(crate) fn suppressed() -> u64 {
    SUPPRESSED.load(Relaxed)
}

/// How long suppressed lines are counted before that is logged.
const SUPPRESSED_DELAY_MS: u32 = 1000;

/// Queues the log line for a query by `vcpu`, with EAX and ECX as in `input`;
/// never waits.
///
/// # Safety
///
/// `vcpu` is valid.
pub(crate) unsafe fn query(
    vcpu: *const bindings::kvm_vcpu,
    query: Query,
    input: (u32, u32),
    answer: Answer,
) {
    // SAFETY: The kernel writes only true and false, as a single byte.
    let enabled = unsafe { ptr::read_volatile(ptr::addr_of!(bindings::exitprof_log)) };
    if !enabled {
        return;
    }
    // SAFETY: By the caller's promise.
    let (pid, id, vm) = unsafe {
        (
            bindings::exitprof_vm_pid(vcpu),
            bindings::exitprof_vcpu_id(vcpu),
            bindings::exitprof_vm_number(vcpu),
        )
    };
    let asker = Asker { pid, vcpu: id };
    if LogLine::new(asker, query, answer).is_none() {
        return;
    }
    let out = Registers::from(answer);
    let line = [
        join(asker.pid, asker.vcpu),
        join(input.0, input.1),
        join(out.eax, out.ebx),
        join(out.ecx, out.edx),
    ];
    if BUDGET.take(vm, profiler::now()) && QUEUE.push(line) {
        // SAFETY: The work item is not cancelled before KVM has stopped calling us.
        unsafe { bindings::exitprof_queue_log_work() };
    } else {
        SUPPRESSED.fetch_add(1, Relaxed);
        // SAFETY: As above.
        unsafe { bindings::exitprof_queue_suppressed_work(SUPPRESSED_DELAY_MS) };
    }
}

/// Prints what was queued: the work item, which runs on one CPU at a time.
#[no_mangle]
extern "C" fn exitprof_print_log(_work: *mut bindings::work_struct) {
    while let Some([asker, input, out_low, out_high]) = QUEUE.pop() {
        let (pid, vcpu) = split(asker);
        let (eax, ecx) = split(input);
        let ((eax_out, ebx_out), (ecx_out, edx_out)) = (split(out_low), split(out_high));
        let out = Registers {
            eax: eax_out,
            ebx: ebx_out,
            ecx: ecx_out,
            edx: edx_out,
        };
        let asker = Asker { pid, vcpu };
        let line = Query::new(eax, ecx).and_then(|q| LogLine::new(asker, q, q.decode(out)));
        if let Some(line) = line {
            pr_info!("{line}\n");
        }
        // SAFETY: Work items, and the unloading of modules, may sleep.
        unsafe { bindings::exitprof_cond_resched() };
    }
}

/// Tells of what was not queued: a work item of its own, so that it is one line
/// in [`SUPPRESSED_DELAY_MS`] whatever else is logged.
#[no_mangle]
extern "C" fn exitprof_print_suppressed(_work: *mut bindings::work_struct) {
    let all = suppressed();
    let untold = all.wrapping_sub(TOLD.swap(all, Relaxed));
    if untold > 0 {
        pr_info!("{untold} log lines suppressed\n");
    }
}

/// Prints what is still queued; KVM calls us no more.
pub(crate) fn flush() {
    // SAFETY: The work items are statics of the module's; modules are unloaded in
    // process context, where the functions may sleep.
    unsafe {
        bindings::cancel_work_sync(ptr::addr_of_mut!(bindings::exitprof_log_work));
        bindings::cancel_delayed_work_sync(ptr::addr_of_mut!(bindings::exitprof_suppressed_work));
    }
    exitprof_print_log(ptr::null_mut());
    exitprof_print_suppressed(ptr::null_mut());
}
