// SPDX-License-Identifier: GPL-2.0
//! The totals are the sums that they claim to be, and KVM's own statistic.

use crate::harness::Test;
use crate::host::module::{PROFILER, ParamGuard};
use crate::host::{Host, State};
use crate::oracle::Oracle;
use crate::oracle::leaf::{self, cycles, exits, hidden};
use crate::vmm::cpu::{CPUID, Status, reasons};
use crate::vmm::{Op, Program, Vcpu, Vm};
use anyhow::{Result, bail, ensure};
use std::thread;

pub fn tests() -> Vec<Test<Host>> {
    let profiled = |name: &str, run: fn(&mut Host) -> Result<String>| {
        Test::new(format!("total.{name}"), State::Profiled, run)
    };
    vec![
        profiled("is_kvm_stat", kvm_stat),
        profiled("is_kvm_stat_smp", kvm_stat_smp),
        profiled("is_sum_of_reasons", sum_frozen),
        profiled("is_sum_while_counting", sum_live),
    ]
}

/// The total is KVM's statistic since the profiler was loaded.
fn kvm_stat(host: &mut Host) -> Result<String> {
    host.reload("")?;
    let mut oracle = Oracle::since_load()?;
    let mut vms = [Vm::plain()?, Vm::plain()?];
    let mut total = oracle.check(&[&vms[0], &vms[1]])?;
    for round in 1..4 {
        for (vm, op) in vms.iter_mut().zip([Op::Vmcall, Op::Out]) {
            let mut program = Program::new();
            program.repeat(op, 1009 * round, 0);
            program.repeat(Op::Hlt, 101, 0);
            vm.run(&program)?;
        }
        total = oracle.check(&[&vms[0], &vms[1]])?;
    }
    Ok(format!("{total} exits in both"))
}

/// The total is KVM's statistic with two vCPUs that exit at the same time, and never
/// falls when they read it.
fn kvm_stat_smp(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut oracle = Oracle::since_load()?;
    let mut vm = Vm::with_vcpus(2)?;
    let mut program = Program::new();
    for _ in 0..200 {
        program.cpuid(leaf::TOTAL_EXITS, 0);
        program.repeat(Op::Vmcall, 7, 0);
        program.repeat(Op::Out, 3, 0);
    }
    thread::scope(|scope| {
        let run = |vcpu| scope.spawn(|| Vcpu::run(vcpu, &program));
        let runs: Vec<_> = vm.vcpus.iter_mut().map(run).collect();
        for run in runs {
            let answers = match run.join() {
                Ok(answers) => answers?,
                Err(_) => bail!("a vCPU's thread panicked"),
            };
            let mut last = 0;
            for answer in answers {
                let total = exits(answer)?;
                ensure!(total > last, "total fell from {last} to {total}");
                last = total;
            }
        }
        Ok(())
    })?;
    let total = oracle.check(&[&vm])?;
    Ok(format!("{total} exits in both"))
}

/// Reads the totals, and the sums over leaves FE and FF and leaf 02.
fn sweep(vm: &mut Vm) -> Result<((u64, u64), (u64, u64))> {
    let mut asked = vec![(leaf::TOTAL_EXITS, 0), (leaf::TOTAL_CYCLES, 0)];
    asked.push((leaf::HIDDEN, 0));
    for leaf in [leaf::EXITS, leaf::CYCLES] {
        asked.extend(reasons(Status::Handled).into_iter().map(|n| (leaf, n)));
    }
    let answers = vm.cpuids(&asked)?;
    let total = (exits(answers[0])?, cycles(answers[1])?);
    let mut sum = hidden(answers[2]);
    for (&(leaf, _), &regs) in asked.iter().zip(&answers).skip(3) {
        match leaf {
            leaf::EXITS => sum.0 += exits(regs)?,
            _ => sum.1 += cycles(regs)?,
        }
    }
    Ok((total, sum))
}

/// FC = Σ FE + 02 and FD = Σ FF + 02, to the cycle, while nothing is recorded.
fn sum_frozen(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 23, 0);
    program.repeat(Op::Out, 23, 0);
    vm.run(&program)?;
    let _off = ParamGuard::set(PROFILER, "recording", "N")?;
    let (total, sum) = sweep(&mut vm)?;
    ensure!(total == sum, "total {total:?}, sum {sum:?}");
    ensure!(total.0 > 46 && total.1 > 0, "nothing was recorded");
    Ok(format!("(exits, cycles) = {total:?}"))
}

/// FC = Σ FE + 02 while exits are recorded, of which the sweep's own CPUIDs are known.
fn sum_live(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let reasons = reasons(Status::Handled);
    let asked = 3 + 2 * reasons.len() as u64;
    for _ in 0..100 {
        let before = vm.exits()?;
        let (total, sum) = sweep(&mut vm)?;
        if vm.exits()? != before + asked + 1 {
            continue; // an interrupt among them
        }
        // From the total up to the answer for CPUID itself.
        let earlier = reasons.iter().take_while(|&&n| n < CPUID.number());
        let own = 3 + earlier.count() as u64;
        let (total, sum) = (total.0, sum.0 - own);
        ensure!(total == sum, "total {total}, sum {sum}");
        return Ok(format!("{total} exits"));
    }
    bail!("interrupts disturbed every attempt")
}
