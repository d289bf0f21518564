// SPDX-License-Identifier: GPL-2.0
//! The snapshots that guests read.

use crate::harness::Test;
use crate::host::module::{self, PROFILER};
use crate::host::{Host, State};
use crate::oracle::leaf::{self, cycles, exits, total_exits};
use crate::oracle::snapshot::{RELEASE, TAKE, TELL, check_none, command, queries};
use crate::oracle::{Counts, Sweep, Which};
use crate::vmm::cpu::{self, CPUID, HYPERCALL};
use crate::vmm::{Config, End, GARBAGE, Op, Program, Vcpu, Vm, while_storming};
use anyhow::{Context, Result, bail, ensure};

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("snapshot.adds_up", State::Absent, adds_up),
        Test::new("snapshot.live_goes_on", State::Absent, live_goes_on),
        Test::new("snapshot.per_vcpu", State::Absent, per_vcpu),
        Test::new("snapshot.of_a_scope", State::Absent, of_a_scope),
        Test::new("snapshot.dropped_by_reset", State::Absent, dropped),
        Test::new("snapshot.in_vain", State::Absent, in_vain),
    ]
}

/// Whatever else runs, a sweep from a snapshot adds up, to the exit and the cycle, and
/// does not see its own exits.
fn adds_up(host: &mut Host) -> Result<String> {
    let mut most = 0;
    for scope in ["host", "vm", "vcpu"] {
        host.reload(&format!("log=N scope={scope}"))?;
        let mut vm = Vm::with_vcpus(2)?;
        let (reader, sibling) = vm.vcpus.split_at_mut(1);
        let reader = &mut reader[0];
        while_storming(sibling, || {
            for taken in 1..=10 {
                let got = command(reader, TAKE)?;
                ensure!(got == (true, taken), "taken: {got:?}, want {taken}");
                let sweep = Sweep::of_snapshot(reader)?;
                let again = Sweep::of_snapshot(reader)?;
                ensure!(sweep == again, "{sweep:?}, then {again:?}");
                let got = command(reader, TELL)?;
                ensure!(got == (true, taken), "told: {got:?}, want {taken}");
                let mut counts = sweep.counts;
                let total = counts.remove(&Which::All).context("no total")?;
                let total = (total.exits, total.cycles);
                let add = |sum: (u64, u64), c: &Counts| (sum.0 + c.exits, sum.1 + c.cycles);
                let sum = counts.values().fold((0, 0), add);
                ensure!(sum == total, "sum {sum:?}, total {total:?}");
                most = most.max(total.0);
            }
            let got = command(reader, RELEASE)?;
            ensure!(got == (false, 10), "released: {got:?}");
            Ok(())
        })?;
    }
    Ok(format!(
        "10 snapshots with each scope, of up to {most} exits"
    ))
}

/// While a vCPU holds a snapshot, the live leaves go on, on this vCPU and on others,
/// and those of the snapshot do not change.
fn live_goes_on(host: &mut Host) -> Result<String> {
    const TIMES: u32 = 100;
    host.reload("log=N")?;
    let snapshot = queries();
    let mut vm = Vm::with_vcpus(2)?;
    let own = [
        (leaf::TOTAL_EXITS, GARBAGE),
        (leaf::TOTAL_CYCLES, GARBAGE),
        (leaf::EXITS, HYPERCALL.number()),
        (leaf::CYCLES, HYPERCALL.number()),
    ];
    let read = |vcpu: &mut Vcpu| -> Result<_> {
        let answers = vcpu.cpuids(&own)?;
        Ok([
            exits(answers[0])?,
            cycles(answers[1])?,
            exits(answers[2])?,
            cycles(answers[3])?,
        ])
    };
    let [first, second] = &mut vm.vcpus[..] else {
        bail!("not two vCPUs");
    };
    check_none(first)?;
    let got = command(first, TAKE)?;
    ensure!(got == (true, 1), "taken: {got:?}");
    let held = first.cpuids(&snapshot)?;
    ensure!(held.iter().all(|&r| r != leaf::UNDEFINED), "{held:x?}");
    let mut last = read(first)?;
    for time in 0..TIMES {
        match time % 2 {
            0 => first.hypercalls(1)?,
            _ => second.hypercalls(1)?,
        }
        for vcpu in [&mut *second, &mut *first] {
            let now = read(vcpu)?;
            // The second vCPU, which reads first, sees the new hypercall.
            let calls = now[2] - last[2];
            let want = u64::from(vcpu.id() == 1);
            ensure!(calls == want, "vCPU {}: {calls}, want {want}", vcpu.id());
            let grown = now[0] > last[0] && now[1] > last[1] && now[3] >= last[3];
            ensure!(grown, "vCPU {}: {last:?}, then {now:?}", vcpu.id());
            last = now;
        }
        let again = first.cpuids(&snapshot)?;
        ensure!(again == held, "{held:x?}, then {again:x?}");
        check_none(second)?;
    }
    Ok(format!("{TIMES} hypercalls seen, none in the snapshot"))
}

/// Each vCPU has one snapshot of its own.
fn per_vcpu(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(2)?;
    let total = |vcpu: &mut Vcpu, leaf| exits(vcpu.cpuid(leaf, 0)?);
    let live = |vcpu: &mut Vcpu| total(vcpu, leaf::TOTAL_EXITS);
    let snapshot = |vcpu: &mut Vcpu| total(vcpu, leaf::of_snapshot(leaf::TOTAL_EXITS));
    let [first, second] = &mut vm.vcpus[..] else {
        bail!("not two vCPUs");
    };
    let none = [command(first, TELL)?, command(second, TELL)?];
    ensure!(none == [(false, 0); 2], "{none:?}");
    let before = live(first)?;
    command(first, TAKE)?;
    let held = snapshot(first)?;
    ensure!(held > before, "held {held}, before {before}");
    check_none(second)?;
    let now = live(second)?;
    ensure!(now > held, "held {held}, live {now}");
    let told = command(second, TELL)?;
    ensure!(told == (false, 0), "the other holds {told:?}");
    // Now both hold one.
    let taken = command(second, TAKE)?;
    ensure!(taken == (true, 1), "taken: {taken:?}");
    let other = snapshot(second)?;
    ensure!(other > now, "the other's {other}, live before {now}");
    let again = snapshot(first)?;
    ensure!(again == held, "held {held}, again {again}");
    // A new one replaces the first.
    command(first, TAKE)?;
    let newer = snapshot(first)?;
    ensure!(newer > other, "newer {newer}, the other's {other}");
    command(first, RELEASE)?;
    check_none(first)?;
    let released = live(first)?;
    ensure!(released > newer, "released {released}, newer {newer}");
    let again = snapshot(second)?;
    ensure!(again == other, "the other's {other}, again {again}");
    for number in [3, 0x101, u32::MAX] {
        let got = first.cpuid(leaf::SNAPSHOT, number)?;
        ensure!(got == leaf::UNDEFINED, "{number:#x}: {got:x?}");
    }
    Ok(format!(
        "held {held}, then {newer}, the other's {other}; live {now}, {released}"
    ))
}

/// A snapshot of another scope gives no answers.
fn of_a_scope(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let (mut vm, mut other) = (Vm::plain()?, Vm::plain()?);
    other.hypercalls(10007)?;
    command(&mut vm.vcpus[0], TAKE)?;
    module::set_param(PROFILER, "scope", "vm")?;
    let told = command(&mut vm.vcpus[0], TELL)?;
    ensure!(told == (false, 1), "{told:?}");
    check_none(&mut vm.vcpus[0])?;
    let own = vm.exits()?;
    let got = total_exits(&mut vm)?;
    ensure!(got == own, "want {own} got {got}");
    let [eax, ebx, ..] = vm.cpuid(leaf::EXITS, CPUID.number())?;
    ensure!(ebx == 0 && u64::from(eax) <= own, "{eax} CPUIDs of {own}");
    Ok(format!("{own} exits of its own"))
}

/// A reset drops the vCPU's snapshot, but no other vCPU's: an INIT, or on SVM a triple
/// fault, after which KVM resets the vCPU.
fn dropped(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::new(&Config {
        more_vcpus: 1,
        irqchip: true,
        ..Config::default()
    })?;
    for vcpu in &mut vm.vcpus {
        let got = command(vcpu, TAKE)?;
        ensure!(got == (true, 1), "taken: {got:?}");
    }
    vm.reset()?;
    let told = command(&mut vm.vcpus[0], TELL)?;
    ensure!(told == (false, 1), "after an INIT: {told:?}");
    check_none(&mut vm.vcpus[0])?;
    let told = command(&mut vm.vcpus[1], TELL)?;
    ensure!(told == (true, 1), "the other: {told:?}");
    let again = command(&mut vm.vcpus[0], TAKE)?;
    ensure!(again == (true, 2), "taken again: {again:?}");

    let program = Program::repeated(Op::TripleFault, 1, 0);
    let (end, _) = vm.vcpus[0].run_to_end(&program)?;
    ensure!(end == End::Shutdown, "the guest survived");
    let told = command(&mut vm.vcpus[0], TELL)?;
    // On VMX nothing has reset the vCPU, because the VMM goes on.
    let want = (cpu::is_vmx(), 2);
    ensure!(told == want, "after a triple fault: {told:?}");
    let told = command(&mut vm.vcpus[1], TELL)?;
    ensure!(told == (true, 1), "the other: {told:?}");
    Ok("by an INIT, and on SVM by a triple fault".into())
}

/// Without counters of vCPUs there are no snapshots, as the protocol leaf says.
fn in_vain(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let [_, with, ..] = vm.cpuid(leaf::PROTOCOL, 0)?;
    ensure!(with & 1 == 1, "features {with:#x}, want 1");
    host.reload("log=N per_vcpu=N")?;
    let mut vm = Vm::plain()?;
    let [_, without, ..] = vm.cpuid(leaf::PROTOCOL, 0)?;
    ensure!(without & 1 == 0, "features {without:#x}, want 0");
    for subleaf in [TAKE, TELL, RELEASE] {
        let got = command(&mut vm.vcpus[0], subleaf)?;
        ensure!(got == (false, 0), "{subleaf}: {got:?}");
        check_none(&mut vm.vcpus[0])?;
    }
    let (first, later) = (total_exits(&mut vm)?, total_exits(&mut vm)?);
    ensure!(later > first, "{first}, then {later}");
    Ok("features 1 and 0".into())
}
