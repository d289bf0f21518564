// SPDX-License-Identifier: GPL-2.0
//! Unloading the profiler: again and again, while guests run, without a trace.

use crate::harness::{Effort, Test, watchdog};
use crate::host::module::{self, PROFILER, describe, errno, remove_now};
use crate::host::{Doctored, Host, OTHER_CONTRACT, SECOND_PROFILER, State, WITHOUT_MEMORY, cpus};
use crate::oracle::Oracle;
use crate::oracle::growth::still_counts;
use crate::oracle::leaf::{self, exits};
use crate::vmm::{Op, Program, Query, Regs, Vcpu, Vm};
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fs, thread};

pub fn tests(effort: Effort) -> Vec<Test<Host>> {
    let long = |name, run: fn(&mut Host, Effort) -> Result<String>| {
        let run = move |host: &mut Host| cpus::changing_code(|| run(host, effort));
        Test::new(name, State::Absent, run).seconds(180 * u64::from(effort.factor))
    };
    vec![
        Test::new("unload.kvm_in_use", State::Profiled, kvm_in_use),
        Test::new("unload.vendor_under_us", State::Profiled, vendor_reload),
        long("unload.while_guests_run", cycles),
        long("unload.leaves_nothing", leaves_nothing),
    ]
}

/// kvm.ko cannot be unloaded while only the profiler uses it.
fn kvm_in_use(host: &mut Host) -> Result<String> {
    host.forget();
    host.unload_vendor()?;
    let got = errno(&remove_now("kvm"));
    let text = format!("rmmod kvm: {}", describe(got));
    ensure!([libc::EAGAIN, libc::EBUSY].contains(&got), "{text}");
    host.load_vendor(true, "")?;
    still_counts()?;
    Ok(text)
}

fn vendor_reload(host: &mut Host) -> Result<String> {
    host.forget();
    for _ in 0..3 {
        host.unload_vendor()?;
        // While there is nothing to record.
        module::set_param(PROFILER, "recording", "N")?;
        module::set_param(PROFILER, "recording", "Y")?;
        host.load_vendor(true, "")?;
        still_counts()?;
    }
    Ok("3 times".into())
}

/// The reader's queries.
const ASKED: [Query; 3] = [
    (leaf::DISCOVERY, 0),
    (leaf::EXITS, u32::MAX),
    (leaf::TOTAL_EXITS, 0),
];

/// Reads leaves until `stop`. Each answer must be the profiler's, or KVM's own, which
/// are `absent`. Returns how often the profiler came or went.
fn read(reader: &mut Vm, absent: &[Regs], stop: &AtomicBool) -> Result<usize> {
    let program = Program::cpuids(&ASKED.repeat(50));
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

/// Loads and unloads while guests exit on all CPUs, and another guest reads leaves. A
/// profiler that is loaded afterwards starts from zero, and counts exactly.
fn cycles(host: &mut Host, effort: Effort) -> Result<String> {
    let cycles = 25 * u64::from(effort.factor);
    let mut busy = Vm::with_vcpus(u8::try_from(cpus::usable()?.len())?)?;
    let mut reader = Vm::plain()?;
    let absent = reader.cpuids(&ASKED)?;
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
                // From none to long enough for guests to get something done.
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

    // What the guests did before is not in the new counters.
    let exits = busy.exits()?;
    let before = exits + reader.exits()?;
    host.reload("log=N")?;
    let mut oracle = Oracle::since_load()?;
    busy.hypercalls(1009)?;
    let (total, stat) = oracle.compare(&[&busy, &reader])?;
    let stat = stat - before;
    ensure!(total == stat, "total {total}, KVM's statistic {stat}");
    Ok(format!(
        "{cycles} cycles in {took:.1?}, {exits} exits meanwhile, {switches} switches seen, then total {total} as KVM's"
    ))
}

/// Per-CPU memory, and memory for modules and stacks, in KiB.
fn memory() -> Result<[u64; 2]> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let size = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let size = line.with_context(|| format!("no {name} in /proc/meminfo"))?;
        anyhow::Ok(size.trim().trim_end_matches(" kB").parse()?)
    };
    Ok([size("Percpu:")?, size("VmallocUsed:")?])
}

/// Loading and unloading, refused or not, gives back all memory. A leak would exhaust
/// per-CPU memory in that many cycles.
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
    // The kernel's own threads come and go, with stacks of 16 or 32 KiB. A leak of one
    // page in each cycle would be twice the limit.
    let most = vmalloc_before + u64::from(cycles) * 4 / 2;
    let good = |[percpu, vmalloc]: [u64; 2]| percpu == percpu_before && vmalloc <= most;
    // The kernel frees a module's part for loading a bit later.
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
