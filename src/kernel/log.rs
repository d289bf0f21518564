// SPDX-License-Identifier: GPL-2.0

//! Guests' queries in the host's log.

use crate::{
    config,
    profile::{
        leaf::{join, split, Answer, Query, Registers},
        query_log::{Caller, LogLine},
        queue::Queue,
        throttle::LogBudget,
    },
    sys::{
        clock,
        work::{self, WorkPtr},
    },
    vcpus::Vcpu,
};
use core::{
    ptr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use kernel::prelude::*;

static BUDGET: LogBudget = LogBudget::new();
static QUEUE: Queue = Queue::new();

/// The lines that were not queued, those of them that were told of, and when.
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);
static TOLD: AtomicU64 = AtomicU64::new(0);
static TOLD_AT: AtomicU64 = AtomicU64::new(0);

/// Prepares it, before all else.
pub(crate) fn init() {
    work::init(print_log, print_suppressed);
}

/// How many lines were not queued since the module was loaded.
pub(crate) fn suppressed() -> u64 {
    SUPPRESSED.load(Relaxed)
}

/// How long suppressed lines are counted before that is logged, in nanoseconds, and how
/// long it is until that is logged again.
const SUPPRESSED_DELAY: u64 = 1_000_000_000;
const SUPPRESSED_PERIOD: u64 = 3600 * 1_000_000_000;

/// The budget's number of guests that are not known.
const NOBODY: u64 = 1;

/// Queues the log line for a query with EAX and ECX as in `input`; never waits.
///
/// # Safety
///
/// [`init`] came before, and [`flush`] comes before the module goes.
pub(crate) unsafe fn query(vcpu: Option<&Vcpu>, query: Query, input: (u32, u32), answer: Answer) {
    if !config::log() {
        return;
    }
    let caller = vcpu.map(|vcpu| Caller {
        pid: vcpu.vm().pid,
        vcpu: vcpu.head.number,
    });
    if LogLine::new(caller, query, answer).is_none() {
        return;
    }
    let out = Registers::from(answer);
    let line = [
        pack(caller),
        join(input.0, input.1),
        join(out.eax, out.ebx),
        join(out.ecx, out.edx),
    ];
    let guest = vcpu.map_or(NOBODY, |vcpu| vcpu.vm().id);
    let now = clock::now();
    if BUDGET.take(guest, now) && QUEUE.push(line) {
        // SAFETY: By this function's contract.
        unsafe { work::queue_log() };
    } else {
        SUPPRESSED.fetch_add(1, Relaxed);
        // SAFETY: By this function's contract.
        unsafe { work::queue_suppressed(SUPPRESSED_DELAY) };
    }
}

/// A caller in a word of the queue: no process has the number 0.
fn pack(caller: Option<Caller>) -> u64 {
    caller.map_or(0, |caller| join(caller.pid, caller.vcpu))
}

fn unpack(word: u64) -> Option<Caller> {
    let (pid, vcpu) = split(word);
    (pid != 0).then(|| Caller { pid, vcpu })
}

/// Prints what was queued: the work item, which runs on one CPU at a time.
extern "C" fn print_log(_work: WorkPtr) {
    while let Some([caller, input, out_low, out_high]) = QUEUE.pop() {
        let (leaf, subleaf) = split(input);
        let ((eax, ebx), (ecx, edx)) = (split(out_low), split(out_high));
        let out = Registers { eax, ebx, ecx, edx };
        let line = Query::new(leaf, subleaf)
            .and_then(|query| LogLine::new(unpack(caller), query, query.decode(out)));
        if let Some(line) = line {
            pr_info!("{}\n", format_args!("{line}"));
        }
        clock::cond_resched();
    }
}

/// Logs how many lines were not queued, once in [`SUPPRESSED_PERIOD`].
///
/// The work item itself looks whether it is time, for a query may queue it while it
/// prints.
extern "C" fn print_suppressed(_work: WorkPtr) {
    let now = clock::now();
    let wait = match TOLD_AT.load(Relaxed) {
        0 => 0,
        told_at => told_at.saturating_add(SUPPRESSED_PERIOD).saturating_sub(now),
    };
    if wait > 0 {
        // SAFETY: The item runs, and `flush()` cancels it.
        unsafe { work::queue_suppressed(wait) };
        return;
    }
    TOLD_AT.store(now, Relaxed);
    print_untold();
}

fn print_untold() {
    let all = suppressed();
    let untold = all.wrapping_sub(TOLD.swap(all, Relaxed));
    if untold > 0 {
        pr_info!("{untold} log lines suppressed\n");
    }
}

/// Prints what is still queued; KVM calls us no more.
pub(crate) fn flush() {
    work::cancel();
    print_log(ptr::null_mut());
    print_untold();
}
