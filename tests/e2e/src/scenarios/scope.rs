// SPDX-License-Identifier: GPL-2.0
//! Whose exits a guest reads, and the snapshots that it reads them from.

use super::leaves::{ask, ask_on};
use super::test;
use crate::harness::runner::Test;
use crate::host::kmsg::Kmsg;
use crate::host::module::{self, Host, PROFILER, State};
use crate::oracle::book::{Book, Counts, Row};
use crate::oracle::leaf::{self, cycles, exits, is_snapshot, query};
use crate::vmm::cpu::{self, CPUID, HYPERCALL};
use crate::vmm::guest::{GARBAGE, Program, Regs};
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, End, Vcpu, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

pub fn tests() -> Vec<Test> {
    vec![
        test("scope.vm", State::Absent, |host| sees_only(host, "vm")),
        test("scope.vcpu", State::Absent, |host| sees_only(host, "vcpu")),
        test("scope.host", State::Absent, sees_all),
        test("scope.off", State::Absent, off),
        test("scope.changed", State::Absent, changed),
        test("snapshot.adds_up", State::Absent, adds_up),
        test("snapshot.live_goes_on", State::Absent, live_goes_on),
        test("snapshot.per_vcpu", State::Absent, per_vcpu),
        test("snapshot.of_a_scope", State::Absent, of_a_scope),
        test("snapshot.dropped_by_reset", State::Absent, dropped),
        test("snapshot.in_vain", State::Absent, in_vain),
    ]
}

/// Subleaves of leaf E0.
pub(super) const RELEASE: u32 = 0;
pub(super) const TAKE: u32 = 1;
pub(super) const TELL: u32 = 2;

/// Does something while other vCPUs exit as fast as they can.
pub(super) fn while_storming<T>(vcpus: &mut [Vcpu], what: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let storms: Vec<_> = (vcpus.iter_mut())
            .map(|vcpu| {
                scope.spawn(move || {
                    let mut program = Program::new();
                    program.repeat(Op::Vmcall, 500, 0);
                    program.repeat(Op::Wbinvd, 500, 0);
                    program.repeat(Op::Cpuid, 50, leaf::TOTAL_EXITS);
                    while !stop.load(Relaxed) {
                        vcpu.run(&program)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let done = what();
        stop.store(true, Relaxed);
        for storm in storms {
            storm.join().expect("no thread panics")?;
        }
        done
    })
}

/// Totals and all reasons, again and again.
fn sweeps() -> Program {
    let mut program = Program::new();
    for _ in 0..10 {
        program.cpuid(leaf::TOTAL_EXITS, GARBAGE);
        for reason in 0..0xa3 {
            program.cpuid(leaf::EXITS, reason);
        }
        program.cpuid(leaf::HIDDEN, GARBAGE);
    }
    program
}

/// A guest that only reads, while another storms: all that it ever sees is what
/// its own vCPU did, to the exit. With `scope=vm`, another vCPU of its own adds
/// what it did before.
fn sees_only(host: &mut Host, scope: &str) -> Result<String> {
    host.reload(&format!("log=N scope={scope}"))?;
    let mut storm = Vm::with_vcpus(2)?;
    let mut vm = Vm::with_vcpus(2)?;
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 1009, 0);
    vm.vcpus[1].run(&program)?;
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
            // It does nothing but read, and end.
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
                let reasons: &[Regs] = &sweep[1..=0xa3];
                let mut sum = leaf::hidden(sweep[per_sweep - 1]).0;
                for &regs in reasons.iter().filter(|&&regs| regs != leaf::UNDEFINED) {
                    sum += exits(regs)?;
                }
                // No more than there were at the end of the sweep, and on SVM
                // less what is beyond 0xa2.
                let total = exits(sweep[0])?;
                let most = total + per_sweep as u64 + own;
                ensure!(sum <= most, "sum {sum}, total {total} at first");
                let wbinvd = exits(reasons[crate::vmm::cpu::WBINVD.number() as usize])?;
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

/// The same two guests, of which one sees the other.
fn sees_all(host: &mut Host) -> Result<String> {
    host.reload("log=N scope=host")?;
    let (mut storm, mut vm) = (Vm::plain()?, Vm::plain()?);
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 1009, 0);
    storm.run(&program)?;
    let (others, own) = (storm.exits()?, vm.exits()?);
    let got = exits(query(&mut vm, leaf::TOTAL_EXITS, 0)?)?;
    ensure!(got == others + own, "want {others} + {own}, got {got}");
    Ok(format!("{others} + {own} = {got}"))
}

/// What is asked of a profiler that is not there, or says so.
fn everything() -> Vec<(u32, u32)> {
    let leaves = (0x4fff_ff00..=0x4fff_ff08).chain(0x4fff_ffe0..=0x4fff_ffff);
    let with = |leaf| [0, 1, 10, 48, u32::MAX].map(|ecx| (leaf, ecx));
    leaves.flat_map(with).collect()
}

/// Guests find nothing, and nothing is logged; the host goes on counting.
fn off(host: &mut Host) -> Result<String> {
    host.reach(State::Absent)?;
    let asked = everything();
    let absent = ask(&mut Vm::plain()?, &asked)?;
    host.reload("scope=off")?;
    let mut vm = Vm::plain()?;
    let mut log = Kmsg::from_now()?;
    let got = ask(&mut vm, &asked)?;
    for ((asked, want), got) in asked.iter().zip(&absent).zip(&got) {
        ensure!(got == want, "{asked:x?}: want {want:x?}, got {got:x?}");
    }
    module::set_param(PROFILER, "scope", "host")?;
    let total = query(&mut vm, leaf::TOTAL_EXITS, 0)?;
    let lines = log.drain()?;
    // One for the total, if it has been printed already.
    let ours = lines.iter().filter(|l| l.starts_with("kvm_exitprof: 0x"));
    ensure!(ours.count() <= 1, "{lines:?}");
    let (got, want) = (exits(total)?, vm.exits()? - 2);
    ensure!(got <= want && got > asked.len() as u64, "{got}, {want}");
    Ok(format!(
        "{} answers as KVM's, then {got} exits",
        asked.len()
    ))
}

/// The parameter can be read and written while guests ask; nonsense is refused
/// and changes nothing.
fn changed(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let shown = module::param(PROFILER, "scope")?;
    ensure!(shown == "host", "by default {shown}");
    let (mut vm, mut other) = (Vm::plain()?, Vm::plain()?);
    let number = |vm: &mut Vm| -> Result<u32> {
        let [eax, ..] = query(vm, leaf::PROTOCOL, 0)?;
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

/// Takes a snapshot on the vCPU, which must say so.
pub(super) fn command(vcpu: &mut Vcpu, number: u32) -> Result<(bool, u32)> {
    is_snapshot(ask_on(vcpu, &[(leaf::SNAPSHOT, number)])?[0])
}

/// A sweep from a snapshot adds up, to the exit and to the cycle, whatever else
/// runs, and does not see the exits that it causes.
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
                let book = Book::of_snapshot(reader)?;
                let again = Book::of_snapshot(reader)?;
                ensure!(book == again, "{book:?}, then {again:?}");
                let got = command(reader, TELL)?;
                ensure!(got == (true, taken), "told: {got:?}, want {taken}");
                let mut rows = book.rows;
                let total = rows.remove(&Row::Total).context("no total")?;
                let total = (total.exits, total.cycles);
                let add = |s: (u64, u64), r: &Counts| (s.0 + r.exits, s.1 + r.cycles);
                let sum = rows.values().fold((0, 0), add);
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

/// The leaves that answer from a snapshot, with a parameter where they have one.
fn of_snapshot() -> [(u32, u32); 7] {
    let reason = HYPERCALL.number();
    [
        (0x4fff_ffe2, GARBAGE),
        (0x4fff_ffe4, GARBAGE),
        (0x4fff_ffe5, reason),
        (0x4fff_ffec, GARBAGE),
        (0x4fff_ffed, GARBAGE),
        (0x4fff_ffee, reason),
        (0x4fff_ffef, reason),
    ]
}

/// Demands that none of them answers.
pub(super) fn none_held(vcpu: &mut Vcpu) -> Result<()> {
    for (asked, got) in of_snapshot().iter().zip(ask_on(vcpu, &of_snapshot())?) {
        ensure!(got == leaf::UNDEFINED, "{asked:x?} answers {got:x?}");
    }
    Ok(())
}

/// While a vCPU holds a snapshot, whoever took it, the leaves of the present tell of
/// the present, on it and on others, and those of the snapshot do not change.
fn live_goes_on(host: &mut Host) -> Result<String> {
    const TIMES: u32 = 100;
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(2)?;
    let own = [
        (leaf::TOTAL_EXITS, GARBAGE),
        (leaf::TOTAL_CYCLES, GARBAGE),
        (leaf::EXITS, HYPERCALL.number()),
        (leaf::CYCLES, HYPERCALL.number()),
    ];
    let read = |vcpu: &mut Vcpu| -> Result<_> {
        let answers = ask_on(vcpu, &own)?;
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
    none_held(first)?;
    let got = command(first, TAKE)?;
    ensure!(got == (true, 1), "taken: {got:?}");
    let held = ask_on(first, &of_snapshot())?;
    ensure!(held.iter().all(|&r| r != leaf::UNDEFINED), "{held:x?}");
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 1, 0);
    let mut last = read(first)?;
    for time in 0..TIMES {
        match time % 2 {
            0 => first.run(&program)?,
            _ => second.run(&program)?,
        };
        for vcpu in [&mut *second, &mut *first] {
            let now = read(vcpu)?;
            // One more hypercall than before, and no more than that.
            let calls = now[2] - last[2];
            let want = u64::from(vcpu.id() == 1);
            ensure!(calls == want, "vCPU {}: {calls}, want {want}", vcpu.id());
            let grown = now[0] > last[0] && now[1] > last[1] && now[3] >= last[3];
            ensure!(grown, "vCPU {}: {last:?}, then {now:?}", vcpu.id());
            last = now;
        }
        let again = ask_on(first, &of_snapshot())?;
        ensure!(again == held, "{held:x?}, then {again:x?}");
        none_held(second)?;
    }
    Ok(format!("{TIMES} hypercalls seen, none in the snapshot"))
}

/// A snapshot is one vCPU's, and there is one of each.
fn per_vcpu(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(2)?;
    let total = |vcpu: &mut Vcpu, leaf| exits(ask_on(vcpu, &[(leaf, 0)])?[0]);
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
    none_held(second)?;
    let now = live(second)?;
    ensure!(now > held, "held {held}, live {now}");
    let told = command(second, TELL)?;
    ensure!(told == (false, 0), "the other holds {told:?}");
    // Each has its own.
    let taken = command(second, TAKE)?;
    ensure!(taken == (true, 1), "taken: {taken:?}");
    let other = snapshot(second)?;
    ensure!(other > now, "the other's {other}, live before {now}");
    let again = snapshot(first)?;
    ensure!(again == held, "held {held}, again {again}");
    // Another takes the place of the first.
    command(first, TAKE)?;
    let newer = snapshot(first)?;
    ensure!(newer > other, "newer {newer}, the other's {other}");
    command(first, RELEASE)?;
    none_held(first)?;
    let released = live(first)?;
    ensure!(released > newer, "released {released}, newer {newer}");
    let again = snapshot(second)?;
    ensure!(again == other, "the other's {other}, again {again}");
    for number in [3, 0x101, u32::MAX] {
        let got = ask_on(first, &[(leaf::SNAPSHOT, number)])?[0];
        ensure!(got == leaf::UNDEFINED, "{number:#x}: {got:x?}");
    }
    Ok(format!(
        "held {held}, then {newer}, the other's {other}; live {now}, {released}"
    ))
}

/// A snapshot of another scope is not answered from.
fn of_a_scope(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let (mut vm, mut other) = (Vm::plain()?, Vm::plain()?);
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 10007, 0);
    other.run(&program)?;
    command(&mut vm.vcpus[0], TAKE)?;
    module::set_param(PROFILER, "scope", "vm")?;
    let told = command(&mut vm.vcpus[0], TELL)?;
    ensure!(told == (false, 1), "{told:?}");
    none_held(&mut vm.vcpus[0])?;
    let own = vm.exits()?;
    let got = exits(query(&mut vm, leaf::TOTAL_EXITS, 0)?)?;
    ensure!(got == own, "want {own} got {got}");
    let [eax, ebx, ..] = query(&mut vm, leaf::EXITS, CPUID.number())?;
    ensure!(ebx == 0 && u64::from(eax) <= own, "{eax} CPUIDs of {own}");
    Ok(format!("{own} exits of its own"))
}

/// Whoever runs after a reset of the vCPU finds no snapshot of who ran before: after
/// an INIT, or a triple fault, by which KVM resets it on SVM. One vCPU's reset is
/// nothing to another.
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
    none_held(&mut vm.vcpus[0])?;
    let told = command(&mut vm.vcpus[1], TELL)?;
    ensure!(told == (true, 1), "the other: {told:?}");
    let again = command(&mut vm.vcpus[0], TAKE)?;
    ensure!(again == (true, 2), "taken again: {again:?}");

    let mut program = Program::new();
    program.repeat(Op::TripleFault, 1, 0);
    let (end, _) = vm.vcpus[0].run_to_end(&program)?;
    ensure!(end == End::Shutdown, "the guest survived");
    let told = command(&mut vm.vcpus[0], TELL)?;
    // On VMX a VMM that goes on has not reset it.
    let want = (cpu::is_vmx(), 2);
    ensure!(told == want, "after a triple fault: {told:?}");
    let told = command(&mut vm.vcpus[1], TELL)?;
    ensure!(told == (true, 1), "the other: {told:?}");
    Ok("by an INIT, and on SVM by a triple fault".into())
}

/// Without profiles of vCPUs there are no snapshots, which the protocol says.
fn in_vain(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let [_, with, ..] = query(&mut vm, leaf::PROTOCOL, 0)?;
    ensure!(with == 1, "features {with:#x}, want 1");
    host.reload("log=N per_vcpu=N")?;
    let mut vm = Vm::plain()?;
    let [_, without, ..] = query(&mut vm, leaf::PROTOCOL, 0)?;
    ensure!(without == 0, "features {without:#x}, want 0");
    for number in [TAKE, TELL, RELEASE] {
        let got = command(&mut vm.vcpus[0], number)?;
        ensure!(got == (false, 0), "{number}: {got:?}");
        none_held(&mut vm.vcpus[0])?;
    }
    let first = exits(query(&mut vm, leaf::TOTAL_EXITS, 0)?)?;
    let later = exits(query(&mut vm, leaf::TOTAL_EXITS, 0)?)?;
    ensure!(later > first, "{first}, then {later}");
    Ok("features 1 and 0".into())
}
