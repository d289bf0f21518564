// SPDX-License-Identifier: GPL-2.0
//! Many vCPUs that exit for different reasons and read leaves as they do, while
//! the host moves them between its CPUs, and CPUs away from them.

use super::leaves::ask;
use super::test;
use crate::harness::runner::{Skip, Test};
use crate::harness::watchdog;
use crate::host::cpus::{self, Offline};
use crate::host::module::{Host, State};
use crate::host::text::Text;
use crate::oracle::leaf::{self, Books, cycles, exits, query};
use crate::vmm::cpu::{CPUID, HYPERCALL, IO, Reason, WBINVD};
use crate::vmm::guest::{Program, Regs};
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vcpu, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        test("smp.more_vcpus_than_cpus", State::Absent, crowd),
        test("smp.migrating_vcpus", State::Absent, migrating),
        test("smp.hotplugged_cpus", State::Absent, hotplugged),
        test("smp.offline_cpu_counts", State::Absent, offline),
        test("smp.cpu_comes_after_load", State::Absent, after_load),
        test("smp.tsc_behind", State::Absent, tsc_behind),
    ]
}

/// An operation, its argument, and the reason for which it exits.
#[derive(Clone, Copy)]
struct Load(Reason, Op, u32);

/// What the vCPUs do, by turns.
const LOADS: &[Load] = &[
    Load(HYPERCALL, Op::Vmcall, 0),
    Load(IO, Op::Out, 0),
    Load(Reason(31, 0x7c), Op::Rdmsr, 0x1b),
    Load(Reason(12, 0x78), Op::Hlt, 0),
    Load(Reason(32, 0x7c), Op::WrmsrZero, 0x79),
    Load(WBINVD, Op::Wbinvd, 0),
];
/// Reads of leaves in a run of a vCPU's program, and operations after each.
const READS: u32 = 50;
const TIMES: u32 = 5;

/// A vCPU's work: all leaves that count, again and again, and exits in between.
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

/// What a reader has seen last. Every number grows from read to read: exits by
/// its own, cycles not if all handlers seemed to end before they began.
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

/// A vCPU's thread: does its work until `stop`, and returns how often.
fn work(vcpu: &mut Vcpu, load: &Load, tid: &AtomicI32, stop: &AtomicBool) -> Result<u64> {
    // SAFETY: gettid has no preconditions.
    tid.store(unsafe { libc::gettid() }, Relaxed);
    let program = program(load);
    let mut seen = Seen::default();
    let mut runs = 0;
    while !stop.load(Relaxed) {
        seen.grow(&vcpu.run(&program)?)?;
        runs += 1;
    }
    Ok(runs)
}

/// What came of [`while_working`].
struct Work {
    note: String,
    /// Cycles that the profiler counted.
    cycles: u64,
    /// And the most that there were, for handlers.
    most: u64,
}

impl Work {
    fn fits(self) -> Result<String> {
        let Work { note, cycles, most } = self;
        ensure!(cycles <= most, "{cycles} cycles, in no more than {most}");
        Ok(format!("{note}, {cycles} of {most} cycles"))
    }
}

/// Lets twice as many vCPUs as there are CPUs work while `disturb` does
/// something to their threads, and demands that all was counted, exactly.
fn while_working(
    host: &mut Host,
    disturb: impl FnOnce(&[libc::pid_t]) -> Result<String>,
) -> Result<Work> {
    let vcpus = 2 * cpus::usable()?.len();
    host.reload("log=N")?;
    let start = cpus::tsc();
    let mut books = Books::since_load()?;
    let mut vm = Vm::new(&Config {
        more_vcpus: u8::try_from(vcpus - 1)?,
        ..Config::default()
    })?;
    let before = Counts::read(&mut vm)?;
    let tids: Vec<_> = (0..vcpus).map(|_| AtomicI32::new(0)).collect();
    let stop = AtomicBool::new(false);
    let loads = LOADS.iter().cycle();
    let (disturbed, runs) = thread::scope(|scope| {
        let stop = &stop;
        let start = |((vcpu, load), tid)| scope.spawn(move || work(vcpu, load, tid, stop));
        let threads = vm.vcpus.iter_mut().zip(loads.clone()).zip(&tids);
        let threads: Vec<_> = threads.map(start).collect();
        while tids.iter().any(|tid| tid.load(Relaxed) == 0) {
            thread::yield_now();
        }
        let tids: Vec<_> = tids.iter().map(|tid| tid.load(Relaxed)).collect();
        let disturbed = disturb(&tids);
        stop.store(true, Relaxed);
        let mut runs = Vec::new();
        for thread in threads {
            runs.push(thread.join().ok().context("a vCPU's thread panicked")??);
        }
        anyhow::Ok((disturbed?, runs))
    })?;

    let mut want = before.own_exits();
    for (&runs, Load(reason, ..)) in runs.iter().zip(loads) {
        let mut add = |reason: &Reason, exits: u64| {
            *want.entry(reason.number()).or_default() += exits;
        };
        add(reason, runs * u64::from(READS * TIMES));
        add(&CPUID, runs * u64::from(READS * 4));
        // The OUT that ends a run.
        add(&IO, runs);
    }
    let after = Counts::read(&mut vm)?;
    for (&reason, want) in &want {
        let got = after.exits[&reason] - before.exits[&reason];
        ensure!(got == *want, "reason {reason}: want {want} got {got}");
    }
    let total = books.balance(&[&vm])?;
    Ok(Work {
        note: format!("{vcpus} vCPUs, {disturbed}, total {total} as KVM's"),
        cycles: after.cycles - before.cycles,
        // A vCPU is in one handler at a time, and so is whoever reads the books.
        most: (cpus::tsc() - start) * (vcpus as u64 + 1),
    })
}

/// The exits of the reasons that vCPUs cause, and all cycles.
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
        let answers = ask(vm, &asked)?;
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

    /// The exits that reading takes: a CPUID for each number, and the OUT that
    /// ends it. From one reading to the next, that is what both add.
    fn own_exits(&self) -> BTreeMap<u32, u64> {
        let cpuids = self.exits.len() as u64 + 1;
        BTreeMap::from([(CPUID.number(), cpuids), (IO.number(), 1)])
    }
}

/// How long vCPUs are moved about.
const MIGRATING: Duration = Duration::from_secs(2);

/// Moves threads to another CPU, in turn, as fast as it can.
fn migrate(tids: &[libc::pid_t], cpus: &[usize]) -> Result<String> {
    let end = Instant::now() + MIGRATING;
    let mut moves = 0;
    while Instant::now() < end {
        watchdog::check()?;
        for (i, &tid) in tids.iter().enumerate() {
            cpus::pin(tid, &[cpus[(moves + i) % cpus.len()]])?;
        }
        moves += 1;
    }
    Ok(format!("each moved {moves} times"))
}

fn crowd(host: &mut Host) -> Result<String> {
    let watch = |_: &[_]| {
        thread::sleep(Duration::from_secs(1));
        Ok("left alone".into())
    };
    while_working(host, watch)?.fits()
}

fn migrating(host: &mut Host) -> Result<String> {
    cpus::second()?;
    let cpus = cpus::usable()?;
    while_working(host, |tids| migrate(tids, &cpus))?.fits()
}

/// All CPUs but the first go and come, one at a time, with vCPUs on them.
fn hotplugged(host: &mut Host) -> Result<String> {
    const TIMES: usize = 20;
    cpus::second()?;
    let (first, others) = (cpus::first()?, cpus::usable()?.split_off(1));
    while_working(host, |tids| {
        for _ in 0..TIMES {
            for &cpu in &others {
                let moved = || tids.iter().skip(1).step_by(2);
                for &tid in moved() {
                    cpus::pin(tid, &[cpu])?;
                }
                thread::sleep(Duration::from_millis(5));
                // Whoever may use no other could go to any.
                for &tid in moved() {
                    cpus::pin(tid, &[cpu, first])?;
                }
                let offline = Offline::take(cpu)?;
                thread::sleep(Duration::from_millis(5));
                offline.end()?;
                watchdog::check()?;
            }
        }
        Ok(format!("each CPU but one gone and back {TIMES} times"))
    })?
    .fits()
}

/// Causes exits on one CPU.
fn exits_on(cpu: usize, vm: &mut Vm, times: u32) -> Result<()> {
    let mut program = Program::new();
    program.repeat(Op::Vmcall, times, 0);
    cpus::on(cpu, || vm.run(&program))?.map(drop)
}

/// What a CPU has counted stays in the sums while it is offline, and after.
fn offline(host: &mut Host) -> Result<String> {
    let cpu = cpus::second()?;
    host.reload("log=N")?;
    let mut books = Books::since_load()?;
    let mut vm = Vm::plain()?;
    let mut want = 0;
    let mut check = |vm: &mut Vm, when: &str| {
        let got = exits(query(vm, leaf::EXITS, HYPERCALL.number())?)?;
        ensure!(got == want, "{when}: want {want} got {got}");
        want += 1009;
        books.balance(&[vm]).context(when.to_owned())
    };
    for _ in 0..3 {
        check(&mut vm, "online")?;
        exits_on(cpu, &mut vm, 1009)?;
        let offline = Offline::take(cpu)?;
        check(&mut vm, "offline")?;
        exits_on(cpus::first()?, &mut vm, 1009)?;
        offline.end()?;
    }
    let total = check(&mut vm, "online again")?;
    Ok(format!("total {total} as KVM's"))
}

/// A CPU that was offline when the profiler was loaded counts from zero.
fn after_load(host: &mut Host) -> Result<String> {
    let cpu = cpus::second()?;
    let offline = Offline::take(cpu)?;
    host.reload("log=N")?;
    let mut books = Books::since_load()?;
    let mut vm = Vm::plain()?;
    offline.end()?;
    exits_on(cpu, &mut vm, 1009)?;
    let got = exits(query(&mut vm, leaf::EXITS, HYPERCALL.number())?)?;
    ensure!(got == 1009, "want 1009 got {got}");
    let total = books.balance(&[&vm])?;
    Ok(format!("want 1009 got {got}, total {total} as KVM's"))
}

/// A handler that ends on a CPU whose TSC is behind took no time: with TSCs that
/// are far apart, cycles still only grow. One that ends on the CPU ahead took too
/// long by as much, which is how it shows that handlers were moved.
fn tsc_behind(host: &mut Host) -> Result<String> {
    let (first, cpu) = (cpus::first()?, cpus::second()?);
    host.reach(State::Absent)?;
    // Half a second at least: no handler takes that long, and timers of the CPU may
    // be late by it.
    let half_a_second = u64::from(Vm::plain()?.vcpus[0].tsc_khz()?) * 500;
    let ahead = half_a_second.next_power_of_two();
    let is_ahead = || anyhow::Ok(cpus::tsc_on(cpu)? >= cpus::tsc_on(first)? + ahead / 2);
    // Time itself must not jump.
    fs::write(CLOCKSOURCE, "acpi_pm").context(CLOCKSOURCE)?;
    // On slow kernels handlers are hardly ever moved, and a CPU that has been idle
    // sets its TSC back.
    for _ in 0..10 {
        let mut vcpus = 0;
        let Work { note, .. } = while_working(host, |tids| {
            vcpus = tids.len() as u64;
            cpus::advance_tsc(cpu, ahead)?;
            if !is_ahead()? {
                return Err(Skip::because("this machine's TSCs cannot be set"));
            }
            let moved = migrate(tids, &[first, cpu]);
            if is_ahead()? {
                cpus::advance_tsc(cpu, ahead.wrapping_neg())?;
            }
            moved
        })?;
        let mut late = 0;
        for line in Text::read()?.of("host") {
            ensure!(line.number("max")? < 2 * ahead, "{line:?}");
            late += line
                .log2()?
                .range(ahead.ilog2().min(29)..)
                .map(|(_, n)| n)
                .sum::<u64>();
        }
        // Each vCPU may have been in a handler when the TSC was advanced.
        if let Some(moved @ 1..) = late.checked_sub(vcpus) {
            return Ok(format!("{note}, {moved} handlers ended on the CPU ahead"));
        }
    }
    bail!("no handler was moved, ten times")
}

const CLOCKSOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
