// SPDX-License-Identifier: GPL-2.0
//! Loading and unloading again and again, while guests run, and what is left
//! behind.

use super::doctored::{Doctored, OTHER_CONTRACT, SECOND_PROFILER, WITHOUT_MEMORY};
use super::leaves::ask;
use super::test;
use crate::harness::effort::Effort;
use crate::harness::runner::Test;
use crate::harness::watchdog;
use crate::host::cpus;
use crate::host::module::{Host, State};
use crate::oracle::leaf::{self, Books, exits};
use crate::vmm::guest::{Program, Regs};
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vcpu, Vm};
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fs, thread};

pub fn tests(effort: Effort) -> Vec<Test> {
    let test = |name: &str, run: fn(&mut Host, Effort) -> Result<String>| Test {
        seconds: 180 * u64::from(effort.factor),
        ..test(name, State::Absent, move |host| {
            cpus::changing_code(|| run(host, effort))
        })
    };
    vec![
        test("unload.while_guests_run", cycles),
        test("unload.leaves_nothing", leaves_nothing),
    ]
}

/// What the reader asks for.
const ASKED: [(u32, u32); 3] = [
    (leaf::DISCOVERY, 0),
    (leaf::EXITS, u32::MAX),
    (leaf::TOTAL_EXITS, 0),
];

/// Reads leaves until `stop`; each answer is the profiler's or, as `absent` has
/// it, KVM's. Returns how often they changed from the one to the other.
fn read(reader: &mut Vm, absent: &[Regs], stop: &AtomicBool) -> Result<usize> {
    let mut program = Program::new();
    for _ in 0..50 {
        for (eax, ecx) in ASKED {
            program.cpuid(eax, ecx);
        }
    }
    let ours = [leaf::PRESENT, leaf::UNDEFINED];
    let mut switches = 0;
    let mut was_present = false;
    while !stop.load(Relaxed) {
        for three in reader.run(&program)?.chunks_exact(3) {
            for ((got, ours), absent) in three.iter().zip(&ours).zip(absent) {
                let known = got == ours || got == absent;
                ensure!(known, "neither ours nor KVM's: {got:x?}");
            }
            if three[2] != absent[2] {
                exits(three[2])?;
            }
            let present = three[0] == leaf::PRESENT;
            switches += usize::from(present != was_present);
            was_present = present;
        }
    }
    Ok(switches)
}

/// Exits as fast as it can until `stop`.
fn exit(vcpu: &mut Vcpu, stop: &AtomicBool) -> Result<()> {
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 500, 0);
    program.repeat(Op::Cpuid, 500, leaf::TOTAL_EXITS);
    while !stop.load(Relaxed) {
        vcpu.run(&program)?;
    }
    Ok(())
}

/// Loads and unloads while guests exit on all CPUs, and another reads leaves. A
/// profiler that is loaded after that starts from zero, and counts exactly.
fn cycles(host: &mut Host, effort: Effort) -> Result<String> {
    let cycles = 25 * u64::from(effort.factor);
    let mut busy = Vm::new(&Config {
        more_vcpus: u8::try_from(cpus::usable()?.len() - 1)?,
        ..Config::default()
    })?;
    let mut reader = Vm::plain()?;
    let absent = ask(&mut reader, &ASKED)?;
    let stop = AtomicBool::new(false);
    let (switches, took) = thread::scope(|scope| {
        let stop = &stop;
        let busy: Vec<_> = busy.vcpus.iter_mut().collect();
        let start = |vcpu| scope.spawn(move || exit(vcpu, stop));
        let busy: Vec<_> = busy.into_iter().map(start).collect();
        let reads = scope.spawn(|| read(&mut reader, &absent, stop));
        let cycle = || {
            let start = Instant::now();
            for i in 0..cycles {
                watchdog::check()?;
                // From at once to long enough for guests to get something done.
                let pause = Duration::from_millis(i % 4 * 5);
                host.load_profiler("log=N")?;
                thread::sleep(pause);
                host.unload_profiler()?;
                thread::sleep(pause);
            }
            anyhow::Ok(start.elapsed())
        };
        let cycled = cycle();
        stop.store(true, Relaxed);
        for vcpu in busy {
            vcpu.join()
                .ok()
                .context("a busy vCPU's thread panicked")??;
        }
        let reads = reads.join().ok().context("the reader panicked")?;
        anyhow::Ok((reads?, cycled?))
    })?;
    // Half of the cycles pause long enough for the reader to see them.
    ensure!(
        switches as u64 > cycles,
        "the reader saw only {switches} of {} switches",
        2 * cycles
    );

    // The guests still live; what they did before is not in the fresh counters.
    let exits = busy.exits()?;
    let before = exits + reader.exits()?;
    host.reload("log=N")?;
    let mut books = Books::since_load()?;
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 1009, 0);
    busy.run(&program)?;
    let (total, stat) = books.compare(&[&busy, &reader])?;
    let stat = stat - before;
    ensure!(total == stat, "total {total}, KVM's statistic {stat}");
    Ok(format!(
        "{cycles} cycles in {took:.1?}, {exits} exits meanwhile, {switches} switches seen, then total {total} as KVM's"
    ))
}

/// Per-CPU memory, and that for modules and stacks, by /proc/meminfo, in KiB.
fn memory() -> Result<[u64; 2]> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let size = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let size = line.with_context(|| format!("no {name} in /proc/meminfo"))?;
        anyhow::Ok(size.trim().trim_end_matches(" kB").parse()?)
    };
    Ok([size("Percpu:")?, size("VmallocUsed:")?])
}

/// Whatever it takes to load and unload, refused or not, is given back. More
/// cycles than would fit into what per-CPU memory has to spare.
fn leaves_nothing(host: &mut Host, effort: Effort) -> Result<String> {
    let cycles = 60 * effort.factor;
    let other = Doctored::new(host, &OTHER_CONTRACT)?;
    let poor = Doctored::new(host, &WITHOUT_MEMORY)?;
    let second = Doctored::new(host, &SECOND_PROFILER)?;
    let cycle = || {
        other.refused()?;
        poor.refused()?;
        host.load_profiler("")?;
        second.refused()?;
        host.unload_profiler()
    };
    let modules = || fs::read_to_string("/proc/modules").context("/proc/modules");
    cycle()?;
    let (modules_before, [percpu_before, vmalloc_before]) = (modules()?, memory()?);
    let start = Instant::now();
    for _ in 0..cycles {
        watchdog::check()?;
        cycle()?;
    }
    let took = start.elapsed();
    // The kernel's own threads come and go, with stacks of 16 or 32 KiB; a page
    // that each cycle leaves is twice as much as may be more.
    let most = vmalloc_before + u64::from(cycles) * 4 / 2;
    let good = |[percpu, vmalloc]: [u64; 2]| percpu == percpu_before && vmalloc <= most;
    // The kernel frees the part of a module that only loading needs a bit later.
    let settled = Instant::now() + Duration::from_secs(2);
    while !good(memory()?) && Instant::now() < settled {
        thread::sleep(Duration::from_millis(20));
    }
    let (modules, after) = (modules()?, memory()?);
    ensure!(
        modules == modules_before,
        "{modules}, before {modules_before}"
    );
    let text = format!(
        "per-CPU and module memory {after:?} KiB, before {:?}",
        [percpu_before, vmalloc_before]
    );
    ensure!(good(after), "{text}");
    Ok(format!("{cycles} cycles in {took:.1?}, {text}"))
}
