// SPDX-License-Identifier: GPL-2.0
//! Exits of one reason are counted exactly: those of the catalog's workloads, and those
//! that depend on what happens between or beside the guest's runs.

use crate::harness::{Skip, Test, threads};
use crate::host::{Host, State, Tracepoint};
use crate::oracle::leaf::{self, exits, exits_of};
use crate::oracle::snapshot::TAKE;
use crate::oracle::{K, Oracle, Workload, catalog::CATALOG};
use crate::vmm::cpu::{self, CPUID, INTERRUPT, IO, MSR_WRITE, SHUTDOWN};
use crate::vmm::{Config, End, Op, Program, Vm};
use anyhow::{Context, Result, ensure};

pub fn tests() -> Vec<Test<Host>> {
    let profiled = |name: &str, run: fn(&mut Host) -> Result<String>| {
        Test::new(format!("count.{name}"), State::Profiled, run)
    };
    let exist = CATALOG
        .iter()
        .filter(|workload| workload.reason().is_some());
    let mut tests: Vec<_> = exist
        .map(|workload| {
            let run = move |host: &mut Host| exact(host, workload);
            Test::new(format!("count.{}", workload.name), State::Profiled, run)
        })
        .collect();
    tests.extend([
        profiled("triple_fault", triple_fault),
        profiled("external_interrupt", interrupts),
        profiled("kicked_fast_path", kicked),
        profiled("hidden_reason", hidden),
        profiled("refused_entry", refused),
    ]);
    tests
}

/// Runs a workload between two reads of its reason's count.
fn exact(host: &mut Host, workload: &Workload) -> Result<String> {
    let reason = workload.reason().context("no such exit here")?;
    workload.load(host, true)?;
    workload.check_needs()?;
    let mut oracle = Oracle::since_now(&[])?;
    let tracepoint = Tracepoint::of(reason)?;
    let mut vm = workload.prepare()?;
    let interrupt = INTERRUPT.number();
    let mut program = Program::new();
    let interrupts = program.cpuid(leaf::EXITS, interrupt);
    let before = program.cpuid(leaf::EXITS, reason);
    // The first read is one of the CPUIDs that the next one counts.
    let opening = u32::from(workload.op == Op::Cpuid);
    program.repeat(workload.op, K - opening, workload.arg);
    let after = program.cpuid(leaf::EXITS, reason);
    let interrupts_after = program.cpuid(leaf::EXITS, interrupt);

    let traced = tracepoint.read()?;
    let results = vm.run(&program)?;
    let traced = tracepoint.read()? - traced - outside(reason);
    let delta = |from: usize, to: usize| -> Result<u64> {
        Ok(exits(results[to])?.wrapping_sub(exits(results[from])?))
    };
    let got = delta(before, after)?;
    let slack = match workload.interruptible {
        true => delta(interrupts, interrupts_after)?,
        false => 0,
    };
    let (least, most) = workload.exits();
    let want = u64::from(least)..=u64::from(most) + slack;
    let text = match least == most {
        true => format!("want {least} got {got} (leaf), {traced} (kvm_exit)"),
        false => format!("want {least} to {most} got {got} (leaf), {traced} (kvm_exit)"),
    };
    ensure!(want.contains(&got) && traced == got, "{text}");
    let total = oracle.check(&[&vm])?;
    Ok(format!("{text}, total {total} by all three"))
}

/// Exits of a reason by the program's other CPUIDs, and by the OUT that ends it.
fn outside(reason: u32) -> u64 {
    match reason {
        _ if reason == CPUID.number() => 3,
        _ if reason == IO.number() => 1,
        _ => 0,
    }
}

fn triple_fault(_: &mut Host) -> Result<String> {
    let reason = SHUTDOWN.number();
    let mut oracle = Oracle::since_now(&[])?;
    let tracepoint = Tracepoint::of(reason)?;
    let mut vm = Vm::plain()?;
    let program = Program::repeated(Op::TripleFault, 1, 0);
    let before = exits_of(&mut vm, reason)?;
    for _ in 0..5 {
        let (end, _) = vm.vcpus[0].run_to_end(&program)?;
        ensure!(end == End::Shutdown, "the guest survived");
    }
    let got = exits_of(&mut vm, reason)? - before;
    let traced = tracepoint.read()?;
    let text = format!("want 5 got {got} (leaf), {traced} (kvm_exit)");
    ensure!(got == 5 && traced == 5, "{text}");
    let total = oracle.check(&[&vm])?;
    Ok(format!("{text}, total {total} by all three"))
}

/// A tenth of a second of spinning meets some of the host's timer interrupts. The
/// tracepoint also sees those before and after the guest's reads.
fn interrupts(_: &mut Host) -> Result<String> {
    let reason = INTERRUPT.number();
    let mut oracle = Oracle::since_now(&[])?;
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.cpuid(leaf::EXITS, reason);
    program.repeat(Op::Spin, 1, vm.vcpus[0].tsc_khz()? / 10);
    program.cpuid(leaf::EXITS, reason);
    let tracepoint = Tracepoint::of(reason)?;
    let answers = vm.run(&program)?;
    let traced = tracepoint.read()?;
    let got = exits(answers[1])? - exits(answers[0])?;
    let text = format!("want 1 to 9999 got {got} (leaf), {traced} (kvm_exit)");
    ensure!((1..10_000).contains(&got) && traced >= got, "{text}");
    let total = oracle.check(&[&vm])?;
    Ok(format!("{text}, total {total} by all three"))
}

/// The fast path re-enters the guest, unless the vCPU is kicked. Either way it is one
/// exit.
fn kicked(_: &mut Host) -> Result<String> {
    const TIMES: u32 = 10_007;
    let reason = MSR_WRITE.number();
    let mut oracle = Oracle::since_now(&[])?;
    let mut vm = Vm::new(&Config {
        irqchip: true,
        ..Config::default()
    })?;
    let mut program = Program::new();
    program.cpuid(leaf::EXITS, reason);
    program.repeat(Op::WrmsrZero, TIMES, 0x6e0);
    program.cpuid(leaf::EXITS, reason);
    let tracepoint = Tracepoint::of(reason)?;
    let (answers, kicks) = threads::kicking(|| vm.run(&program))?;
    let got = exits(answers[1])? - exits(answers[0])?;
    let traced = tracepoint.read()?;
    let text = format!("want {TIMES} got {got} (leaf), {traced} (kvm_exit)");
    ensure!(got == u64::from(TIMES) && traced == got, "{text}");
    let total = oracle.check(&[&vm])?;
    Ok(format!("{text}, {kicks} kicks, total {total} by all three"))
}

pub fn only_vmx() -> Result<()> {
    let svm = || Skip::because("SVM runs guests in any state that KVM accepts");
    cpu::is_vmx().then_some(()).ok_or_else(svm)
}

/// The exits and cycles in leaf 02, of reasons that leaf FE does not show.
fn hidden_sum(vm: &mut Vm) -> Result<(u64, u64)> {
    Ok(leaf::hidden(vm.cpuid(leaf::HIDDEN, 0)?))
}

/// The tracepoint's reason for an invalid guest state. Bit 31 says that the entry
/// failed.
const REFUSED: u32 = 1 << 31 | 33;

/// KVM makes up reason 33 when it has to emulate. The reason has no handler, so leaf FE
/// shows none of its exits. The total and leaf 02 do.
fn hidden(host: &mut Host) -> Result<String> {
    const TIMES: u64 = 23;
    only_vmx()?;
    host.reload_vendor(true, "unrestricted_guest=0")?;
    let mut oracle = Oracle::since_now(&[])?;
    let tracepoint = Tracepoint::of(REFUSED)?;
    let mut vm = Vm::plain()?;
    let before = hidden_sum(&mut vm)?;
    // The snapshot keeps what is hidden now, and leaf 02 goes on.
    vm.cpuid(leaf::SNAPSHOT, TAKE)?;
    let program = Program::repeated(Op::MendFs, 1, 0);
    for _ in 0..TIMES {
        vm.vcpus[0].spoil_fs()?;
        vm.run(&program)?;
    }
    let after = hidden_sum(&mut vm)?;
    let (exits, cycles) = (after.0 - before.0, after.1 - before.1);
    let traced = tracepoint.read()?;
    // KVM emulates up to 130 instructions in one exit, more than are needed. But it
    // stops early, and begins again, when an event or a task is waiting.
    let text = format!("want {TIMES} or more, got {exits} (leaf 02), {traced} (kvm_exit)");
    let want = TIMES..=2 * TIMES;
    ensure!(want.contains(&exits) && traced == 0, "{text}");
    ensure!(cycles > exits, "{cycles} cycles for {exits} exits");
    let held = leaf::hidden(vm.cpuid(leaf::of_snapshot(leaf::HIDDEN), 0)?);
    ensure!(held == before, "the snapshot has {held:?}, want {before:?}");
    let shown = vm.cpuid(leaf::EXITS, 33)?;
    ensure!(shown == [0; 4], "leaf FE answers {shown:x?}");
    let total = oracle.check_but(&[&vm], exits)?;
    Ok(format!(
        "{text}, total {total} as KVM's; kvm_exit: {exits} fewer"
    ))
}

/// If KVM must not emulate, the CPU itself exits with reason 33. The tracepoint fires
/// with bit 31 set, which is not part of the profiler's reason.
fn refused(host: &mut Host) -> Result<String> {
    const TIMES: u64 = 23;
    only_vmx()?;
    host.reload_vendor(true, "unrestricted_guest=0 emulate_invalid_guest_state=0")?;
    let mut oracle = Oracle::since_now(&[])?;
    let tracepoint = Tracepoint::of(REFUSED)?;
    let mut vm = Vm::plain()?;
    let before = hidden_sum(&mut vm)?;
    for _ in 0..TIMES {
        vm.vcpus[0].spoil_fs()?;
        let (end, _) = vm.vcpus[0].run_to_end(&Program::new())?;
        ensure!(end == End::Refused, "the guest's run ended with {end:?}");
    }
    let got = hidden_sum(&mut vm)?.0 - before.0;
    let traced = tracepoint.read()?;
    let text = format!("want {TIMES} got {got} (leaf 02), {traced} (kvm_exit)");
    ensure!(got == TIMES && traced == TIMES, "{text}");
    let total = oracle.check(&[&vm])?;
    Ok(format!("{text}, total {total} by all three"))
}
