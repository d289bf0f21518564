// SPDX-License-Identifier: GPL-2.0
//! Whose exits a guest reads.

use crate::harness::Test;
use crate::host::module::{self, PROFILER};
use crate::host::{Host, Kmsg, State};
use crate::oracle::leaf::{self, exits, total_exits};
use crate::oracle::log::query_line;
use crate::vmm::cpu::WBINVD;
use crate::vmm::{GARBAGE, Program, Query, Regs, Vm, while_storming};
use anyhow::{Context, Result, ensure};

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("scope.vm", State::Absent, |host| sees_only(host, "vm")),
        Test::new("scope.vcpu", State::Absent, |host| sees_only(host, "vcpu")),
        Test::new("scope.host", State::Absent, sees_all),
        Test::new("scope.off", State::Absent, off),
        Test::new("scope.changed", State::Absent, changed),
    ]
}

/// Reasons in a sweep, from 0 on.
const REASONS: usize = 0xa3;

/// Reads of the total and of all reasons, ten times.
fn sweeps() -> Program {
    let mut program = Program::new();
    for _ in 0..10 {
        program.cpuid(leaf::TOTAL_EXITS, GARBAGE);
        for reason in 0..REASONS as u32 {
            program.cpuid(leaf::EXITS, reason);
        }
        program.cpuid(leaf::HIDDEN, GARBAGE);
    }
    program
}

/// While another guest storms, a guest that only reads sees its own vCPU's exits,
/// exactly. With `scope=vm`, it also sees what another vCPU of its own did before.
fn sees_only(host: &mut Host, scope: &str) -> Result<String> {
    host.reload(&format!("log=N scope={scope}"))?;
    let mut storm = Vm::with_vcpus(2)?;
    let mut vm = Vm::with_vcpus(2)?;
    vm.vcpus[1].hypercalls(1009)?;
    let sibling = match scope {
        "vm" => vm.vcpus[1].exits()?,
        _ => 0,
    };
    let sweeps = sweeps();
    let per_sweep = sweeps.reads() / 10;
    let (mut read, mut interrupts) = (0, 0);
    while_storming(&mut storm.vcpus, || {
        for attempt in 0..10 {
            let before = vm.vcpus[0].exits()?;
            let answers = vm.vcpus[0].run(&sweeps)?;
            let own = vm.vcpus[0].exits()? - before;
            // The guest only reads, and ends.
            let between = own - sweeps.reads() as u64 - 1;
            for (at, &total) in answers.iter().enumerate().step_by(per_sweep) {
                let (least, got) = (sibling + before + at as u64, exits(total)?);
                let most = least + between;
                ensure!(
                    (least..=most).contains(&got),
                    "read {at} of attempt {attempt}: total {got}, want {least} to {most}"
                );
            }
            for sweep in answers.chunks_exact(per_sweep) {
                let reasons: &[Regs] = &sweep[1..=REASONS];
                let mut sum = leaf::hidden(sweep[per_sweep - 1]).0;
                for &regs in reasons.iter().filter(|&&regs| regs != leaf::UNDEFINED) {
                    sum += exits(regs)?;
                }
                // At most the exits at the end of the sweep. On SVM it lacks reasons
                // above 0xa2.
                let total = exits(sweep[0])?;
                let most = total + per_sweep as u64 + own;
                ensure!(sum <= most, "sum {sum}, total {total} at first");
                let wbinvd = exits(reasons[WBINVD.number() as usize])?;
                ensure!(wbinvd == 0, "{wbinvd} WBINVDs of the other guest");
            }
            read += answers.len();
            interrupts += between;
        }
        Ok(())
    })?;
    let others = storm.exits()?;
    Ok(format!(
        "{read} answers, {interrupts} interrupts, {others} exits of the other guest"
    ))
}

/// One of two guests sees the other's exits.
fn sees_all(host: &mut Host) -> Result<String> {
    host.reload("log=N scope=host")?;
    let (mut storm, mut vm) = (Vm::plain()?, Vm::plain()?);
    storm.hypercalls(1009)?;
    let (others, own) = (storm.exits()?, vm.exits()?);
    let got = total_exits(&mut vm)?;
    ensure!(got == others + own, "want {others} + {own}, got {got}");
    Ok(format!("{others} + {own} = {got}"))
}

/// Queries of the profiler's leaves.
fn everything() -> Vec<Query> {
    let leaves = (0x4fff_ff00..=0x4fff_ff08).chain(0x4fff_ffe0..=0x4fff_ffff);
    let with = |leaf| [0, 1, 10, 48, u32::MAX].map(|ecx| (leaf, ecx));
    leaves.flat_map(with).collect()
}

/// Guests find no profiler, and nothing is logged, but the host goes on counting.
fn off(host: &mut Host) -> Result<String> {
    host.reach(State::Absent)?;
    let asked = everything();
    let absent = Vm::plain()?.cpuids(&asked)?;
    host.reload("scope=off")?;
    let mut vm = Vm::plain()?;
    let mut log = Kmsg::from_now()?;
    let got = vm.cpuids(&asked)?;
    for ((asked, want), got) in asked.iter().zip(&absent).zip(&got) {
        ensure!(got == want, "{asked:x?}: want {want:x?}, got {got:x?}");
    }
    module::set_param(PROFILER, "scope", "host")?;
    let got = total_exits(&mut vm)?;
    let lines = log.drain()?;
    // The line of the total, if it has been printed already.
    let ours = lines.iter().filter_map(|line| query_line(line));
    ensure!(ours.count() <= 1, "{lines:?}");
    let want = vm.exits()? - 2;
    ensure!(got <= want && got > asked.len() as u64, "{got}, {want}");
    Ok(format!(
        "{} answers as KVM's, then {got} exits",
        asked.len()
    ))
}

/// The parameter can be read and written while guests ask. Nonsense is refused, and
/// changes nothing.
fn changed(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let shown = module::param(PROFILER, "scope")?;
    ensure!(shown == "host", "by default {shown}");
    let (mut vm, mut other) = (Vm::plain()?, Vm::plain()?);
    let number = |vm: &mut Vm| -> Result<u32> {
        let [eax, ..] = vm.cpuid(leaf::PROTOCOL, 0)?;
        Ok(eax >> 24)
    };
    while_storming(&mut other.vcpus, || {
        for _ in 0..20 {
            for (scope, want) in [("vm", 2), ("vcpu", 3), ("host", 1)] {
                module::set_param(PROFILER, "scope", scope)?;
                let shown = module::param(PROFILER, "scope")?;
                ensure!(shown == scope, "wrote {scope}, reads {shown}");
                let got = number(&mut vm)?;
                ensure!(got == want, "scope={scope}: want {want} got {got}");
            }
        }
        for nonsense in ["\n", "hos", "hostile", "1", "vm vcpu", "VM"] {
            let error = module::set_param(PROFILER, "scope", nonsense).err();
            error.with_context(|| format!("scope={nonsense:?} was taken"))?;
            let shown = module::param(PROFILER, "scope")?;
            ensure!(shown == "host", "scope={nonsense:?} made it {shown}");
        }
        Ok(())
    })?;
    let refused = host.reload("scope=nonsense");
    ensure!(refused.is_err(), "loaded with scope=nonsense");
    host.forget();
    Ok("host, vm and vcpu, 20 times".into())
}
