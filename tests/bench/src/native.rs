// SPDX-License-Identifier: GPL-2.0
//! What instruction counts do not show, on the CPUs of this machine: how the
//! recording of exits scales with the CPUs that record, each in counters of its
//! own as the module does, or all in the same ones; and how the answer of a leaf
//! does with the CPUs that it sums over.

use profile::cells::{Cells, Counter};
use profile::counts::{Profile, Tally};
use profile::isa::Isa;
use profile::leaf::{Command, EXITS, HIDDEN, Identity, Protocol, SnapshotState, TOTAL_CYCLES};
use profile::phases::Totals;
use profile::query::{Query, Responder, When};
use profile::reason::Kernel;
use std::arch::asm;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{available_parallelism, scope};
use std::time::Instant;

const RUNS: usize = 10;
const RECORDS: u32 = 2_000_000;
const ANSWERS: u32 = 300;

/// An exit reason, CPUID's.
const fn cpuid(isa: Isa) -> u32 {
    match isa {
        Isa::Vmx => 10,
        Isa::Svm => 0x72,
    }
}

type Counters = Vec<Counter>;

fn counters(isa: Isa) -> Counters {
    (0..isa.slots()).map(|_| Counter::default()).collect()
}

/// As the module does it, but for the segment of the CPU.
#[inline(never)]
fn record_own(counters: &Counters, reason: u32, cycles: u64) {
    let counter = &counters[Isa::Vmx.slot(reason)];
    // SAFETY: the counter is alive, and its words are atomics.
    unsafe {
        asm!(
            "inc qword ptr [{counter}]",
            "add qword ptr [{counter} + 8], {cycles}",
            counter = in(reg) counter,
            cycles = in(reg) cycles,
            options(nostack),
        );
    }
}

/// As shared atomics do it.
#[inline(never)]
fn record_shared(counters: &Counters, reason: u32, cycles: u64) {
    let counter = &counters[Isa::Vmx.slot(reason)];
    counter.exits.fetch_add(1, Relaxed);
    counter.cycles.fetch_add(cycles, Relaxed);
}

/// Nanoseconds per record, of the slowest of several threads.
fn record(record: fn(&Counters, u32, u64), of_thread: &[&Counters]) -> f64 {
    let start = Barrier::new(of_thread.len());
    let one = |counters: &Counters| {
        start.wait();
        let begin = Instant::now();
        for cycles in 0..RECORDS {
            record(counters, black_box(cpuid(Isa::Vmx)), cycles.into());
        }
        begin.elapsed().as_nanos() as f64 / f64::from(RECORDS)
    };
    scope(|s| {
        let threads: Vec<_> = of_thread
            .iter()
            .map(|counters| s.spawn(|| one(counters)))
            .collect();
        let times = threads
            .into_iter()
            .map(|t| t.join().expect("no thread panics"));
        times.fold(0.0, f64::max)
    })
}

/// The counters of a CPU.
struct Cpu {
    counters: Counters,
    untimed: Vec<AtomicU64>,
}

impl Cpu {
    fn new(isa: Isa) -> Self {
        Self {
            counters: counters(isa),
            untimed: (0..isa.slots()).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            counters: &self.counters,
            untimed: &self.untimed,
        }
    }
}

/// A host, summed as the module does it.
#[derive(Clone, Copy)]
struct Host<'a>(Isa, &'a [Cpu]);

impl Profile for Host<'_> {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        let cpus = self.1.iter();
        cpus.fold(Tally::default(), |sum, cpu| sum + cpu.cells().sum(wanted))
    }

    fn total(&self) -> Tally {
        let cpus = self.1.iter();
        cpus.fold(Tally::default(), |sum, cpu| sum + cpu.cells().total())
    }

    fn slot(&self, slot: usize) -> Tally {
        let cpus = self.1.iter();
        cpus.fold(Tally::default(), |sum, cpu| sum + cpu.cells().slot(slot))
    }
}

impl Responder for Host<'_> {
    fn isa(&self) -> Isa {
        self.0
    }

    fn kernel(&self) -> Kernel {
        Kernel::V6_1
    }

    fn protocol(&self) -> Protocol {
        unreachable!("nobody asks for it")
    }

    fn snapshot(&mut self, _: Command) -> SnapshotState {
        unreachable!("nobody asks for it")
    }

    fn identity(&self, _: When) -> Option<Identity> {
        unreachable!("nobody asks for it")
    }

    fn profile(&self, _: When) -> Option<&dyn Profile> {
        Some(self)
    }

    fn phases(&self, _: When) -> Option<Totals> {
        unreachable!("nobody asks for it")
    }
}

/// Nanoseconds for the answer to a query of `leaf`.
fn answer(mut host: Host<'_>, leaf: u32) -> f64 {
    let begin = Instant::now();
    for _ in 0..ANSWERS {
        let query = Query::new(black_box(leaf), black_box(cpuid(host.0))).expect("a leaf of ours");
        black_box(query.answer(black_box(&mut host)));
    }
    begin.elapsed().as_nanos() as f64 / f64::from(ANSWERS)
}

fn best(run: impl Fn() -> f64) -> f64 {
    (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// Prints lines for programs, times in nanoseconds, the best of several runs each:
///
/// - `record THREADS OWN SHARED`;
/// - `answer ISA CPUS REASON TOTAL HIDDEN`, by what is asked for;
/// - `memory ISA BYTES`, of the counters of a vCPU; a CPU has twice as many.
pub fn run() {
    let all = available_parallelism().map_or(1, usize::from);
    let mut threads = 1;
    while threads <= all {
        let own: Vec<_> = (0..threads).map(|_| counters(Isa::Vmx)).collect();
        let own: Vec<_> = own.iter().collect();
        let shared = counters(Isa::Vmx);
        let own = best(|| record(record_own, &own));
        let shared = best(|| record(record_shared, &vec![&shared; threads]));
        println!("record {threads} {own:.2} {shared:.2}");
        threads *= 2;
    }
    for isa in [Isa::Vmx, Isa::Svm] {
        for cpus in [1, 2, 8, 64, 512] {
            let all: Vec<_> = (0..cpus).map(|_| Cpu::new(isa)).collect();
            let host = Host(isa, &all);
            let times = [EXITS, TOTAL_CYCLES, HIDDEN].map(|leaf| best(|| answer(host, leaf)));
            let [reason, total, hidden] = times;
            println!("answer {isa:?} {cpus} {reason:.1} {total:.1} {hidden:.1}");
        }
        println!(
            "memory {isa:?} {}",
            isa.slots() * (size_of::<Counter>() + size_of::<u64>())
        );
    }
}
