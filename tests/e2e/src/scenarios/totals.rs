// SPDX-License-Identifier: GPL-2.0
//! The totals are the sums that they claim to be, and KVM's own statistic.

use super::leaves::ask;
use super::test;
use crate::harness::runner::Test;
use crate::host::cpus;
use crate::host::module::{self, Host, PROFILER, State};
use crate::oracle::leaf::{self, Books, cycles, exits, hidden, query};
use crate::vmm::cpu::{CPUID, HYPERCALL, reasons};
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vm};
use anyhow::{Context, Result, bail, ensure};
use profile::reason::Status;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    let profiled =
        |name: &str, run: fn(&mut Host) -> Result<String>| test(name, State::Profiled, run);
    vec![
        profiled("total.is_kvm_stat", kvm_stat),
        profiled("total.is_kvm_stat_smp", kvm_stat_smp),
        profiled("total.is_sum_of_reasons", sum_frozen),
        profiled("total.is_sum_while_counting", sum_live),
        profiled("recording.off_and_on", recording),
        profiled("recording.off_at_load", off_at_load),
        profiled("recording.switched_under_load", |host| {
            cpus::changing_code(|| under_load(host))
        }),
    ]
}

/// Every exit since the profiler was loaded is in KVM's statistics, and every
/// one of those is in the total.
fn kvm_stat(host: &mut Host) -> Result<String> {
    host.reload("")?;
    let mut books = Books::since_load()?;
    let mut vms = [Vm::plain()?, Vm::plain()?];
    let mut total = books.balance(&[&vms[0], &vms[1]])?;
    for round in 1..4 {
        for (vm, op) in vms.iter_mut().zip([Op::Vmcall, Op::Out]) {
            let mut program = Program::new();
            program.repeat(op, 1009 * round, 0);
            program.repeat(Op::Hlt, 101, 0);
            vm.run(&program)?;
        }
        total = books.balance(&[&vms[0], &vms[1]])?;
    }
    Ok(format!("{total} exits in both"))
}

/// The same with two vCPUs that exit at the same time, and read as they do.
fn kvm_stat_smp(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut books = Books::since_load()?;
    let mut vm = Vm::new(&Config {
        more_vcpus: 1,
        ..Config::default()
    })?;
    let mut program = Program::new();
    for _ in 0..200 {
        program.cpuid(leaf::TOTAL_EXITS, 0);
        program.repeat(Op::Vmcall, 7, 0);
        program.repeat(Op::Out, 3, 0);
    }
    thread::scope(|scope| {
        let run = |vcpu| scope.spawn(|| crate::vmm::vm::Vcpu::run(vcpu, &program));
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
    let total = books.balance(&[&vm])?;
    Ok(format!("{total} exits in both"))
}

/// Adds up what leaves FE and FF answer for every reason a guest can ask for.
fn sweep(vm: &mut Vm) -> Result<((u64, u64), (u64, u64))> {
    let mut asked = vec![(leaf::TOTAL_EXITS, 0), (leaf::TOTAL_CYCLES, 0)];
    asked.push((leaf::HIDDEN, 0));
    for leaf in [leaf::EXITS, leaf::CYCLES] {
        asked.extend(reasons(Status::Handled).into_iter().map(|n| (leaf, n)));
    }
    let answers = ask(vm, &asked)?;
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
    module::set_param(PROFILER, "recording", "N")?;
    let swept = sweep(&mut vm);
    module::set_param(PROFILER, "recording", "Y")?;
    let (total, sum) = swept?;
    ensure!(total == sum, "total {total:?}, sum {sum:?}");
    ensure!(total.0 > 46 && total.1 > 0, "nothing was recorded");
    Ok(format!("(exits, cycles) = {total:?}"))
}

/// The same for the exits while they are recorded: the sweep's own CPUIDs are
/// known.
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

fn recording(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    for eax in [
        leaf::TOTAL_EXITS,
        leaf::TOTAL_CYCLES,
        leaf::EXITS,
        leaf::CYCLES,
    ] {
        program.cpuid(eax, HYPERCALL.number());
    }
    program.repeat(Op::Vmcall, 23, 0);
    let mut run = |value: &str| {
        module::set_param(PROFILER, "recording", value)?;
        let shown = module::param(PROFILER, "recording")?;
        ensure!(shown == value, "recording reads {shown}, wrote {value}");
        vm.run(&program)
    };
    run("Y")?;
    let frozen = [run("N")?, run("N")?];
    let resumed = [run("Y")?, run("Y")?];
    let [first, second] = &frozen;
    ensure!(first == second, "off: {first:x?}, then {second:x?}");
    let again = &resumed[0];
    ensure!(exits(again[2])? == exits(first[2])?, "on again: {again:x?}");
    let got = exits(resumed[1][2])? - exits(again[2])?;
    ensure!(got == 23, "on again: want 23 got {got}");
    Ok(format!("off: +0, on: want 23 got {got}"))
}

fn off_at_load(host: &mut Host) -> Result<String> {
    host.reload("recording=N")?;
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 23, 0);
    program.cpuid(leaf::TOTAL_EXITS, 0);
    program.cpuid(leaf::TOTAL_CYCLES, 0);
    let off = vm.run(&program)?;
    ensure!(off == [[0; 4]; 2], "off: {off:x?}");
    module::set_param(PROFILER, "recording", "Y")?;
    let on = vm.run(&program)?;
    let got = exits(on[0])?;
    ensure!(got >= 23, "on: want 23 or more, got {got}");
    Ok(format!("off: 0, on: {got}"))
}

/// Switching while a guest exits as fast as it can loses what happens while
/// it is off, and nothing else; once it is off, nothing is recorded any more.
fn under_load(host: &mut Host) -> Result<String> {
    const TIMES: usize = 100;
    host.reload("log=N")?;
    let mut books = Books::since_load()?;
    let (mut busy, mut calm) = (Vm::plain()?, Vm::plain()?);
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 500, 0);
    program.repeat(Op::Cpuid, 50, leaf::EXITS);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let guest = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                busy.run(&program)?;
            }
            anyhow::Ok(())
        });
        let mut switch = || {
            for _ in 0..TIMES {
                module::set_param(PROFILER, "recording", "N")?;
                let mut total = || query(&mut calm, leaf::TOTAL_EXITS, 0);
                let off = total()?;
                thread::sleep(Duration::from_millis(1));
                let later = total()?;
                ensure!(off == later, "off: {off:x?}, later {later:x?}");
                module::set_param(PROFILER, "recording", "Y")?;
                thread::sleep(Duration::from_millis(1));
            }
            anyhow::Ok(())
        };
        let switched = switch();
        stop.store(true, Ordering::Relaxed);
        guest.join().ok().context("the guest panicked")??;
        switched
    })?;
    let (counted, happened) = books.compare(&[&busy, &calm])?;
    ensure!(
        counted > 0 && counted < happened,
        "{counted} of {happened} exits counted"
    );
    // From here on the books agree again.
    let mut books = Books::open(&[&busy])?;
    busy.run(&program)?;
    books.balance(&[&busy])?;
    Ok(format!(
        "{counted} of {happened} exits counted, {TIMES} times off and on"
    ))
}
