// SPDX-License-Identifier: GPL-2.0
//! Recording is switched off and on.

use crate::harness::{Test, threads};
use crate::host::module::{self, PROFILER};
use crate::host::{Host, State, cpus};
use crate::oracle::Oracle;
use crate::oracle::leaf::{self, exits};
use crate::vmm::cpu::HYPERCALL;
use crate::vmm::{Op, Program, Vm};
use anyhow::{Result, ensure};
use std::thread;
use std::time::Duration;

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("recording.off_and_on", State::Profiled, off_and_on),
        Test::new("recording.off_at_load", State::Profiled, off_at_load),
        Test::new("recording.switched_under_load", State::Profiled, |host| {
            cpus::changing_code(|| under_load(host))
        }),
    ]
}

fn off_and_on(_: &mut Host) -> Result<String> {
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

/// While a guest exits as fast as it can, switching loses the exits while recording is
/// off, and no others. Once it is off, nothing is recorded any more.
fn under_load(host: &mut Host) -> Result<String> {
    const TIMES: usize = 100;
    host.reload("log=N")?;
    let mut oracle = Oracle::since_load()?;
    let (mut busy, mut calm) = (Vm::plain()?, Vm::plain()?);
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 500, 0);
    program.repeat(Op::Cpuid, 50, leaf::EXITS);
    let exit = || busy.run(&program).map(drop);
    threads::beside([exit], || {
        for _ in 0..TIMES {
            module::set_param(PROFILER, "recording", "N")?;
            let mut total = || calm.cpuid(leaf::TOTAL_EXITS, 0);
            let off = total()?;
            thread::sleep(Duration::from_millis(1));
            let later = total()?;
            ensure!(off == later, "off: {off:x?}, later {later:x?}");
            module::set_param(PROFILER, "recording", "Y")?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })?;
    let (counted, happened) = oracle.compare(&[&busy, &calm])?;
    ensure!(
        counted > 0 && counted < happened,
        "{counted} of {happened} exits counted"
    );
    // From now on all counts agree again.
    let mut oracle = Oracle::since_now(&[&busy])?;
    busy.run(&program)?;
    oracle.check(&[&busy])?;
    Ok(format!(
        "{counted} of {happened} exits counted, {TIMES} times off and on"
    ))
}
