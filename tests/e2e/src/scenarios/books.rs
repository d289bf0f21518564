// SPDX-License-Identifier: GPL-2.0
//! Ours, KVM's statistic and the tracepoint kvm_exit side by side: for every
//! reason, and for every vCPU.

use super::leaves::ask;
use super::test;
use crate::harness::runner::Test;
use crate::host::module::{Host, State};
use crate::host::tracepoint::Counter;
use crate::oracle::leaf::{self, exits};
use crate::oracle::workloads::WORKLOADS;
use crate::vmm::cpu::{CPUID, reasons};
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vcpu, Vm};
use anyhow::{Context, Result, bail, ensure};
use profile::reason::Status;
use std::thread;

pub fn tests() -> Vec<Test> {
    vec![
        test("books.every_reason", State::Profiled, every_reason),
        test("books.every_vcpu", State::Profiled, every_vcpu),
    ]
}

/// Runs all that the table has for the modules as they are loaded; no exit may
/// have gone to another reason's counter.
fn every_reason(host: &mut Host) -> Result<String> {
    host.reload("")?;
    let reasons: Vec<u32> = reasons(Status::Handled);
    let counters: Result<Vec<_>> = reasons.iter().map(|&reason| Counter::of(reason)).collect();
    let counters = counters?;
    let mut vms = Vec::new();
    for workload in WORKLOADS.iter().filter(|workload| workload.runs()) {
        let mut vm = workload.prepare()?;
        vm.run(&workload.program())?;
        vms.push(vm);
    }

    let asked: Vec<_> = reasons.iter().map(|&r| (leaf::EXITS, r)).collect();
    let cpuid = CPUID.number();
    let mut vm = Vm::plain()?;
    for _ in 0..100 {
        let before = vm.exits()?;
        let traced: Result<Vec<_>> = counters.iter().map(Counter::read).collect();
        let answers = ask(&mut vm, &asked)?;
        // Each CPUID, and the OUT that ends the program.
        if vm.exits()? != before + asked.len() as u64 + 1 {
            continue; // an interrupt among them
        }
        let mut seen = 0;
        for (i, (&reason, traced)) in reasons.iter().zip(traced?).enumerate() {
            // The CPUIDs that have been answered before this one.
            let own = if reason == cpuid { i as u64 } else { 0 };
            let (ours, traced) = (exits(answers[i])?, traced + own);
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

/// KVM keeps its statistic by vCPU, and the tracepoint knows the vCPU, too.
fn every_vcpu(_: &mut Host) -> Result<String> {
    let mut vm = Vm::new(&Config {
        more_vcpus: 1,
        ..Config::default()
    })?;
    let counters = [Counter::of_vcpu(0)?, Counter::of_vcpu(1)?];
    let before: Result<Vec<_>> = vm.vcpus.iter().map(Vcpu::exits).collect();
    thread::scope(|scope| {
        let run = |(vcpu, times): (_, u32)| {
            let mut program = Program::new();
            program.repeat(Op::Cpuid, 10_007 * times, leaf::TOTAL_EXITS);
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
    for ((vcpu, counter), before) in vm.vcpus.iter().zip(&counters).zip(before?) {
        let (stat, traced) = (vcpu.exits()? - before, counter.read()?);
        ensure!(stat == traced, "KVM's statistic {stat}, kvm_exit {traced}");
        notes.push(stat.to_string());
    }
    Ok(format!("{} exits in both", notes.join(" and ")))
}
