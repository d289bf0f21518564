// SPDX-License-Identifier: GPL-2.0
//! How costs grow with CPUs: that of an exit while others cause exits as fast as
//! they can, and that of a query with the CPUs that it sums over.

use super::{ASK_REASON, ASK_TOTAL, CPUID, Cost, SETUPS, Workload, possible, workload};
use crate::harness::ktap::Ktap;
use crate::host::cpus;
use crate::host::debugfs;
use crate::host::module::{Host, State};
use crate::oracle::leaf;
use crate::vmm::cpu;
use crate::vmm::ops::Op;
use crate::vmm::vm::Vm;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

const ASK_HIDDEN: Workload = workload("ask_hidden", Op::Cpuid, leaf::HIDDEN);

/// Prints lines for programs: `scale SETUP CPUS MEAN LEAST RATIO` for a CPUID's exit
/// on one of so many busy CPUs, with the least as a ratio to that of one; and `answer
/// POSSIBLE REASON TOTAL HIDDEN` for queries on a host with so many possible CPUs, by
/// what is asked for: ticks more than KVM's own answer takes; and `files POSSIBLE
/// EXITS VCPUS PROFILE` for a program that reads these, with one VM alive.
pub fn run(host: &mut Host, ktap: &mut Ktap) -> Result<()> {
    let cpus = cpus::usable()?;
    host.reach(State::Unpatched)?;
    let own = ASK_REASON.measure()?.least;
    let compared = ["unpatched", "loaded", "histograms", "naive"];
    for (name, set_up) in SETUPS {
        if !compared.contains(&name) || !possible(name) {
            continue;
        }
        set_up(host).context(name)?;
        let (mut busy, mut alone) = (1, None);
        while busy <= cpus.len() {
            let Cost { mean, least } = beside(&cpus[1..busy], || CPUID.measure())?;
            let ratio = least / *alone.get_or_insert(least);
            ktap.line(&format!(
                "scale {name} {busy} {mean:.2} {least:.2} {ratio:.3}"
            ));
            busy *= 2;
        }
        // QEMU's ticks are good for ratios only.
        if name == "histograms" && !cpu::is_qemus() {
            let possible = fs::read_to_string("/sys/devices/system/cpu/possible")?;
            let last = possible.trim().rsplit('-').next().unwrap_or("0");
            let possible = last.parse::<u32>()? + 1;
            let mut line = format!("answer {possible}");
            for query in [ASK_REASON, ASK_TOTAL, ASK_HIDDEN] {
                line += &format!(" {:.2}", query.measure()?.least - own);
            }
            ktap.line(&line);
            let _alive = Vm::plain()?;
            let [exits, vcpus, profile] = [read("exits")?, read("vcpus")?, read("profile")?];
            ktap.line(&format!("files {possible} {exits} {vcpus} {profile}"));
        }
    }
    host.unload_all()
}

/// How many ticks it takes to read a file of the profiler's.
fn read(name: &str) -> Result<u64> {
    let path = Path::new(debugfs::PROFILER).join(name);
    let mut least = u64::MAX;
    for _ in 0..20 {
        let begin = cpus::tsc();
        fs::read(&path).with_context(|| path.display().to_string())?;
        least = least.min(cpus::tsc() - begin);
    }
    Ok(least)
}

/// Does something on the first CPU while guests on `others` cause exits.
fn beside<T>(others: &[usize], what: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    let hammer = |cpu: usize| {
        cpus::pin(0, &[cpu])?;
        let mut vm = Vm::plain()?;
        let program = CPUID.program();
        while !stop.load(Relaxed) {
            vm.run(&program)?;
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let hammer = &hammer;
        let threads: Vec<_> = others
            .iter()
            .map(|&cpu| scope.spawn(move || hammer(cpu)))
            .collect();
        let done = cpus::on(cpus::first()?, what);
        stop.store(true, Relaxed);
        for thread in threads {
            thread.join().expect("no thread panics")?;
        }
        done?
    })
}
