// SPDX-License-Identifier: GPL-2.0

//! Guests' queries in the host's log.

use crate::{
    config,
    profile::{
        leaf::{join, split, Registers},
        query::{Answer, Query},
        query_log::{Caller, LogLine},
        queue::Queue,
        throttle::LogBudget,
    },
    sys::{
        clock,
        work::{self, WorkPtr},
    },
    vm::Vcpu,
};
use core::{
    ptr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use kernel::prelude::*;

static BUDGET: LogBudget = LogBudget::new();
static QUEUE: Queue = Queue::new();

/// The number of lines that were not queued, the part of it that was reported, and the
/// time of the last report.
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);
static REPORTED: AtomicU64 = AtomicU64::new(0);
static REPORTED_AT: AtomicU64 = AtomicU64::new(0);

/// Prepares the work items. Called before all other functions of this file.
pub(crate) fn init() {
    work::init(print_log, print_suppressed);
}

/// The number of lines that were not queued since the module was loaded.
pub(crate) fn suppressed() -> u64 {
    SUPPRESSED.load(Relaxed)
}

/// The nanoseconds from a suppressed line to the report, and from one report to the next.
const SUPPRESSED_DELAY: u64 = 1_000_000_000;
const SUPPRESSED_PERIOD: u64 = 3600 * 1_000_000_000;

/// The guest in [`BUDGET`] that stands for all vCPUs without a profile.
const UNKNOWN_GUEST: u64 = 1;

/// Queues the log line of a query; `input` has the guest's EAX and ECX. Never waits.
///
/// # Safety
///
/// [`init`] was called before. [`flush`] is called before the module is unloaded.
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
    let guest = vcpu.map_or(UNKNOWN_GUEST, |vcpu| vcpu.vm().id);
    let now = clock::now();
    if BUDGET.take(guest, now) && QUEUE.push(line) {
        // SAFETY: The caller guarantees that `init()` came before, and that `flush()`
        // follows.
        unsafe { work::queue_log() };
    } else {
        SUPPRESSED.fetch_add(1, Relaxed);
        // SAFETY: As above.
        unsafe { work::queue_suppressed(SUPPRESSED_DELAY) };
    }
}

/// Packs a caller into a word of the queue. 0 stands for none: no process has PID 0.
fn pack(caller: Option<Caller>) -> u64 {
    caller.map_or(0, |caller| join(caller.pid, caller.vcpu))
}

fn unpack(word: u64) -> Option<Caller> {
    let (pid, vcpu) = split(word);
    (pid != 0).then(|| Caller { pid, vcpu })
}

/// The work function that prints the queue. It never runs on two CPUs at the same time.
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

/// The work function that reports suppressed lines, once in [`SUPPRESSED_PERIOD`].
///
/// It checks the time itself, because a query can queue it again while it runs.
extern "C" fn print_suppressed(_work: WorkPtr) {
    let now = clock::now();
    let wait = match REPORTED_AT.load(Relaxed) {
        0 => 0,
        last => last.saturating_add(SUPPRESSED_PERIOD).saturating_sub(now),
    };
    if wait > 0 {
        // SAFETY: This work function runs, so `init()` came before. `flush()` cancels it.
        unsafe { work::queue_suppressed(wait) };
        return;
    }
    REPORTED_AT.store(now, Relaxed);
    print_unreported();
}

fn print_unreported() {
    let all = suppressed();
    let unreported = all.wrapping_sub(REPORTED.swap(all, Relaxed));
    if unreported > 0 {
        pr_info!("{unreported} log lines suppressed\n");
    }
}

/// Prints the rest of the queue. KVM must not call [`query`] any more.
pub(crate) fn flush() {
    work::cancel();
    print_log(ptr::null_mut());
    print_unreported();
}
