// SPDX-License-Identifier: GPL-2.0
//! The profiler's counts, KVM's statistic and the tracepoint kvm_exit side by side: for
//! every reason, and for every vCPU.

use crate::harness::Test;
use crate::host::{Host, State, Tracepoint};
use crate::oracle::{catalog, leaf};
use crate::vmm::cpu::{CPUID, Status, reasons};
use crate::vmm::{Op, Program, Vcpu, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::thread;

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("books.every_reason", State::Profiled, every_reason),
        Test::new("books.every_vcpu", State::Profiled, every_vcpu),
    ]
}

/// Runs the catalog of workloads. Each exit must be counted under its own reason.
fn every_reason(host: &mut Host) -> Result<String> {
    host.reload("")?;
    let reasons: Vec<u32> = reasons(Status::Handled);
    let tracepoints: Result<Vec<_>> = reasons.iter().map(|&r| Tracepoint::of(r)).collect();
    let tracepoints = tracepoints?;
    let vms = catalog::run_all()?;

    let asked: Vec<_> = reasons.iter().map(|&r| (leaf::EXITS, r)).collect();
    let cpuid = CPUID.number();
    let mut vm = Vm::plain()?;
    for _ in 0..100 {
        let before = vm.exits()?;
        let traced: Result<Vec<_>> = tracepoints.iter().map(Tracepoint::read).collect();
        let answers = vm.cpuids(&asked)?;
        // Each CPUID, and the OUT that ends the program.
        if vm.exits()? != before + asked.len() as u64 + 1 {
            continue; // an interrupt among them
        }
        let mut seen = 0;
        for (i, (&reason, traced)) in reasons.iter().zip(traced?).enumerate() {
            // The CPUIDs that were answered before this one.
            let own = if reason == cpuid { i as u64 } else { 0 };
            let (ours, traced) = (leaf::exits(answers[i])?, traced + own);
            ensure!(
                ours == traced,
                "reason {reason}: {ours}, by kvm_exit {traced}"
            );
            seen += u32::from(ours > 0);
        }
        return Ok(format!(
            "{seen} reasons of {} workloads as by kvm_exit",
            vms.len()
        ));
    }
    bail!("interrupts disturbed every attempt")
}

/// KVM's statistic is by vCPU, and the tracepoint tells the vCPU, too.
fn every_vcpu(_: &mut Host) -> Result<String> {
    let mut vm = Vm::with_vcpus(2)?;
    let tracepoints = [Tracepoint::of_vcpu(0)?, Tracepoint::of_vcpu(1)?];
    let before: Result<Vec<_>> = vm.vcpus.iter().map(Vcpu::exits).collect();
    thread::scope(|scope| {
        let run = |(vcpu, times): (_, u32)| {
            let program = Program::repeated(Op::Cpuid, 10_007 * times, leaf::TOTAL_EXITS);
            scope.spawn(move || Vcpu::run(vcpu, &program))
        };
        let runs: Vec<_> = vm.vcpus.iter_mut().zip(1..).map(run).collect();
        runs.into_iter().try_for_each(|run| {
            run.join()
                .ok()
                .context("a vCPU's thread panicked")?
                .map(drop)
        })
    })?;
    let mut notes = Vec::new();
    for ((vcpu, tracepoint), before) in vm.vcpus.iter().zip(&tracepoints).zip(before?) {
        let (stat, traced) = (vcpu.exits()? - before, tracepoint.read()?);
        ensure!(stat == traced, "KVM's statistic {stat}, kvm_exit {traced}");
        notes.push(stat.to_string());
    }
    Ok(format!("{} exits in both", notes.join(" and ")))
}
