// SPDX-License-Identifier: GPL-2.0
//! How costs grow with CPUs: that of an exit while other CPUs exit as fast as they can,
//! and that of a query with the number of CPUs that it sums over.

use super::benchmark::{ASK_REASON, ASK_TOTAL, Benchmark, CPUID, Cost, benchmark};
use super::setup::{SETUPS, possible};
use crate::harness::{Ktap, threads};
use crate::host::debugfs::PROFILER;
use crate::host::{Host, State, cpus};
use crate::oracle::leaf;
use crate::vmm::{Op, Vm, cpu};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

const ASK_HIDDEN: Benchmark = benchmark("ask_hidden", Op::Cpuid, leaf::HIDDEN);

/// Prints lines for programs:
///
/// - `scale SETUP CPUS MEAN LEAST RATIO`: a CPUID's exit on one of that many busy CPUs,
///   with the least as a ratio to that of one CPU.
/// - `answer POSSIBLE REASON TOTAL HIDDEN`: ticks that a query takes more than KVM's
///   own answer, on a host with that many possible CPUs.
/// - `files POSSIBLE EXITS VCPUS PROFILE`: ticks to read these files, with one VM.
pub fn run(host: &mut Host, ktap: &mut Ktap) -> Result<()> {
    let cpus = cpus::usable()?;
    host.reach(State::Unpatched)?;
    let own = ASK_REASON.measure()?.least;
    let compared = ["unpatched", "loaded", "histograms", "shared_atomics"];
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
        if name == "histograms" && !cpu::is_qemu() {
            let possible = cpus::possible()?;
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

/// How many ticks it takes to read one of the profiler's files.
fn read(name: &str) -> Result<u64> {
    let path = Path::new(PROFILER).join(name);
    let mut least = u64::MAX;
    for _ in 0..20 {
        let begin = cpus::tsc();
        fs::read(&path).with_context(|| path.display().to_string())?;
        least = least.min(cpus::tsc() - begin);
    }
    Ok(least)
}

/// Does `what` on the first CPU while guests on `others` exit as fast as they can.
fn beside<T>(others: &[usize], what: impl FnOnce() -> Result<T>) -> Result<T> {
    let program = CPUID.program();
    let mut hammers = Vec::new();
    for &cpu in others {
        let (mut vm, program) = (Vm::plain()?, &program);
        hammers.push(move || {
            cpus::pin(0, &[cpu])?;
            vm.run(program).map(drop)
        });
    }
    threads::beside(hammers, || cpus::on(cpus::first()?, what)?)
}
