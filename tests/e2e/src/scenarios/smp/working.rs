// SPDX-License-Identifier: GPL-2.0
//! vCPUs at work, each with a load of its own, and the sums of what they do.

use crate::harness::threads;
use crate::host::{Host, Tracepoint, cpus};
use crate::oracle::leaf::{self, cycles, exits};
use crate::oracle::{Oracle, evidence};
use crate::vmm::cpu::{CPUID, HYPERCALL, IO, Reason, WBINVD};
use crate::vmm::{Op, Program, Regs, Vcpu, Vm};
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::iter::zip;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::thread;

/// An operation, its argument, and the reason for which it exits.
#[derive(Clone, Copy)]
struct Load(Reason, Op, u32);

/// The vCPUs' loads, in turn.
const LOADS: &[Load] = &[
    Load(HYPERCALL, Op::Vmcall, 0),
    Load(IO, Op::Out, 0),
    Load(Reason(31, 0x7c), Op::Rdmsr, 0x1b),
    Load(Reason(12, 0x78), Op::Hlt, 0),
    Load(Reason(32, 0x7c), Op::WrmsrZero, 0x79),
    Load(WBINVD, Op::Wbinvd, 0),
];
/// How often a vCPU's program reads the leaves.
const READS: u32 = 50;
/// Operations after each read.
const TIMES: u32 = 5;

/// A vCPU's program: reads of the leaves that count, with exits in between.
fn program(&Load(reason, op, arg): &Load) -> Program {
    let reason = reason.number();
    let mut program = Program::new();
    for _ in 0..READS {
        program.cpuid(leaf::TOTAL_EXITS, 0);
        program.cpuid(leaf::EXITS, reason);
        program.cpuid(leaf::TOTAL_CYCLES, 0);
        program.cpuid(leaf::CYCLES, reason);
        program.repeat(op, TIMES, arg);
    }
    program
}

/// What a reader has seen last. Every number must grow: exits by the reader's own, but
/// cycles not if handlers seem to end before they begin.
#[derive(Default)]
struct Seen(Option<[u64; 4]>);

impl Seen {
    fn grow(&mut self, answers: &[Regs]) -> Result<()> {
        for four in answers.chunks_exact(4) {
            let now = [
                exits(four[0])?,
                exits(four[1])?,
                cycles(four[2])?,
                cycles(four[3])?,
            ];
            if let Some(last) = self.0.replace(now) {
                let grown = now[0] > last[0] && now[1] > last[1];
                let grown = grown && now[2] >= last[2] && now[3] >= last[3];
                ensure!(grown, "after {last:?} a reader saw {now:?}");
            }
        }
        Ok(())
    }
}

/// What a vCPU has done.
struct Done {
    reason: u32,
    runs: u64,
    /// The exits of its load's reason, by the tracepoint.
    traced: u64,
}

impl Done {
    /// The exits that this causes, by reason.
    fn want(&self) -> BTreeMap<u32, u64> {
        let cpuids = self.runs * u64::from(READS * 4);
        let mut want = BTreeMap::from([(CPUID.number(), cpuids)]);
        // The OUT that ends a run.
        want.insert(IO.number(), self.runs);
        *want.entry(self.reason).or_default() += self.runs * u64::from(READS * TIMES);
        want
    }
}

/// A vCPU's thread: runs its program until `stop`.
fn work(vcpu: &mut Vcpu, load: &Load, tid: &AtomicI32, stop: &AtomicBool) -> Result<Done> {
    tid.store(threads::id(), Relaxed);
    let reason = load.0.number();
    let tracepoint = Tracepoint::of(reason)?;
    let program = program(load);
    let mut seen = Seen::default();
    let mut runs = 0;
    while !stop.load(Relaxed) {
        seen.grow(&vcpu.run(&program)?)?;
        runs += 1;
    }
    let traced = tracepoint.read()?;
    Ok(Done {
        reason,
        runs,
        traced,
    })
}

/// The outcome of [`while_working`].
pub struct Work {
    pub note: String,
    /// Cycles that the profiler counted.
    cycles: u64,
    /// The most cycles that handlers can have taken.
    most: u64,
}

impl Work {
    /// Checks the cycles.
    pub fn fits(self) -> Result<String> {
        let Work { note, cycles, most } = self;
        ensure!(cycles <= most, "{cycles} cycles, in no more than {most}");
        Ok(format!("{note}, {cycles} of {most} cycles"))
    }
}

/// Lets twice as many vCPUs as there are CPUs work while `disturb` disturbs their
/// threads, and checks that all exits are counted.
pub fn while_working(
    host: &mut Host,
    disturb: impl FnOnce(&[libc::pid_t]) -> Result<String>,
) -> Result<Work> {
    let vcpus = 2 * cpus::usable()?.len();
    host.reload("log=N")?;
    let start = cpus::tsc();
    let mut oracle = Oracle::since_load()?;
    let mut vm = Vm::with_vcpus(u8::try_from(vcpus)?)?;
    let before = Counts::read(&mut vm)?;
    let tids: Vec<_> = (0..vcpus).map(|_| AtomicI32::new(0)).collect();
    let stop = AtomicBool::new(false);
    let (disturbed, done) = thread::scope(|scope| {
        let stop = &stop;
        let start = |((vcpu, load), tid)| scope.spawn(move || work(vcpu, load, tid, stop));
        let threads = vm.vcpus.iter_mut().zip(LOADS.iter().cycle()).zip(&tids);
        let threads: Vec<_> = threads.map(start).collect();
        while tids.iter().any(|tid| tid.load(Relaxed) == 0) {
            thread::yield_now();
        }
        let tids: Vec<_> = tids.iter().map(|tid| tid.load(Relaxed)).collect();
        let disturbed = disturb(&tids);
        stop.store(true, Relaxed);
        let mut done = Vec::new();
        for thread in threads {
            done.push(thread.join().ok().context("a vCPU's thread panicked")??);
        }
        anyhow::Ok((disturbed?, done))
    })?;

    let after = Counts::read(&mut vm)?;
    let total = check_sums(&before, &after, &done)
        .and_then(|()| oracle.check(&[&vm]))
        .map_err(|e| anyhow!("{e:#}\n{}", by_vcpu(&vm, &done)))?;
    Ok(Work {
        note: format!("{vcpus} vCPUs, {disturbed}, total {total} as KVM's"),
        cycles: after.cycles - before.cycles,
        // Each vCPU, and the oracle's reader, is in one handler at a time.
        most: (cpus::tsc() - start) * (vcpus as u64 + 1),
    })
}

/// Checks that the counts have grown by what the vCPUs did.
fn check_sums(before: &Counts, after: &Counts, done: &[Done]) -> Result<()> {
    let mut want = before.own_exits();
    for (reason, exits) in done.iter().flat_map(Done::want) {
        *want.entry(reason).or_default() += exits;
    }
    let mut wrong = Vec::new();
    for (reason, want) in want {
        let got = after.exits[&reason] - before.exits[&reason];
        if got != want {
            wrong.push(format!("reason {reason}: want {want} got {got}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join(", "));
    Ok(())
}

/// What each vCPU did, and what was counted for it.
fn by_vcpu(vm: &Vm, done: &[Done]) -> String {
    let line = |(vcpu, done): (&Vcpu, &Done)| {
        let (id, want) = (vcpu.id(), done.want());
        let Done {
            runs,
            reason,
            traced,
        } = done;
        let counted = evidence::of_vcpu(vm, vcpu).unwrap_or_else(|e| format!("{e:#}"));
        format!(
            "vCPU {id}: {runs} runs cause {want:?}, kvm_exit fired {traced} times for {reason}; \
             since its creation {counted}"
        )
    };
    let lines: Vec<_> = zip(&vm.vcpus, done).map(line).collect();
    lines.join("\n")
}

/// The exits of the reasons that the loads cause, and all cycles.
struct Counts {
    exits: BTreeMap<u32, u64>,
    cycles: u64,
}

impl Counts {
    fn read(vm: &mut Vm) -> Result<Self> {
        let reasons = LOADS.iter().map(|load| load.0.number());
        let reasons = BTreeSet::from_iter(reasons.chain([CPUID.number()]));
        let mut asked: Vec<_> = reasons.into_iter().map(|n| (leaf::EXITS, n)).collect();
        asked.push((leaf::TOTAL_CYCLES, 0));
        let answers = vm.cpuids(&asked)?;
        let (last, counts) = answers.split_last().context("no answers")?;
        let mut read = BTreeMap::new();
        for ((_, reason), &regs) in asked.into_iter().zip(counts) {
            read.insert(reason, exits(regs)?);
        }
        Ok(Self {
            exits: read,
            cycles: cycles(*last)?,
        })
    }

    /// The exits that a reading causes: a CPUID for each number, and the OUT that ends
    /// the program. The next reading shows as many more.
    fn own_exits(&self) -> BTreeMap<u32, u64> {
        let cpuids = self.exits.len() as u64 + 1;
        BTreeMap::from([(CPUID.number(), cpuids), (IO.number(), 1)])
    }
}
