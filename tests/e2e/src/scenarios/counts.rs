// SPDX-License-Identifier: GPL-2.0
//! Workloads that need more than a line of the table: what happens between
//! runs of the guest, or to it from outside.

use super::test;
use crate::harness::runner::{Skip, Test};
use crate::harness::watchdog;
use crate::host::module::{Host, State};
use crate::host::tracepoint::Counter;
use crate::oracle::leaf::{self, Books, exits, query};
use crate::vmm::cpu::{self, INTERRUPT, MSR_WRITE, SHUTDOWN};
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, End, Vm};
use anyhow::{Result, ensure};

pub fn tests() -> Vec<Test> {
    let profiled =
        |name: &str, run: fn(&mut Host) -> Result<String>| test(name, State::Profiled, run);
    vec![
        profiled("count.triple_fault", triple_fault),
        profiled("count.external_interrupt", interrupts),
        profiled("count.kicked_fast_path", kicked),
        profiled("count.hidden_reason", hidden),
        profiled("count.refused_entry", refused),
    ]
}

fn triple_fault(_: &mut Host) -> Result<String> {
    let reason = SHUTDOWN.number();
    let mut books = Books::open(&[])?;
    let counter = Counter::of(reason)?;
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.repeat(Op::TripleFault, 1, 0);
    let before = exits(query(&mut vm, leaf::EXITS, reason)?)?;
    for _ in 0..5 {
        let (end, _) = vm.vcpus[0].run_to_end(&program)?;
        ensure!(end == End::Shutdown, "the guest survived");
    }
    let got = exits(query(&mut vm, leaf::EXITS, reason)?)? - before;
    let traced = counter.read()?;
    let text = format!("want 5 got {got} (leaf), {traced} (kvm_exit)");
    ensure!(got == 5 && traced == 5, "{text}");
    let total = books.balance(&[&vm])?;
    Ok(format!("{text}, total {total} in all three books"))
}

/// A tenth of a second of spinning meets some of the host's timer interrupts;
/// the tracepoint also sees those before and after the guest's reads.
fn interrupts(_: &mut Host) -> Result<String> {
    let reason = INTERRUPT.number();
    let mut books = Books::open(&[])?;
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.cpuid(leaf::EXITS, reason);
    program.repeat(Op::Spin, 1, vm.vcpus[0].tsc_khz()? / 10);
    program.cpuid(leaf::EXITS, reason);
    let counter = Counter::of(reason)?;
    let answers = vm.run(&program)?;
    let traced = counter.read()?;
    let got = exits(answers[1])? - exits(answers[0])?;
    let text = format!("want 1 to 9999 got {got} (leaf), {traced} (kvm_exit)");
    ensure!((1..10_000).contains(&got) && traced >= got, "{text}");
    let total = books.balance(&[&vm])?;
    Ok(format!("{text}, total {total} in all three books"))
}

/// The fast path re-enters the guest, unless somebody wants the vCPU back:
/// either way its exit is one.
fn kicked(_: &mut Host) -> Result<String> {
    const TIMES: u32 = 10_007;
    let reason = MSR_WRITE.number();
    let mut books = Books::open(&[])?;
    let mut vm = Vm::new(&Config {
        irqchip: true,
        ..Config::default()
    })?;
    let mut program = Program::new();
    program.cpuid(leaf::EXITS, reason);
    program.repeat(Op::WrmsrZero, TIMES, 0x6e0);
    program.cpuid(leaf::EXITS, reason);
    let counter = Counter::of(reason)?;
    let (answers, kicks) = watchdog::kicking(|| vm.run(&program))?;
    let got = exits(answers[1])? - exits(answers[0])?;
    let traced = counter.read()?;
    let text = format!("want {TIMES} got {got} (leaf), {traced} (kvm_exit)");
    ensure!(got == u64::from(TIMES) && traced == got, "{text}");
    let total = books.balance(&[&vm])?;
    Ok(format!(
        "{text}, {kicks} kicks, total {total} in all three books"
    ))
}

fn only_vmx() -> Result<()> {
    let svm = || Skip::because("SVM runs guests in any state that KVM has for them");
    cpu::is_vmx().then_some(()).ok_or_else(svm)
}

/// What leaf 02 says: exits and cycles of reasons that leaf FE does not show.
fn hidden_sum(vm: &mut Vm) -> Result<(u64, u64)> {
    Ok(leaf::hidden(query(vm, leaf::HIDDEN, 0)?))
}

/// The reason as the tracepoint has it where the guest's state is invalid:
/// bit 31 says that the entry failed.
const REFUSED: u32 = 1 << 31 | 33;

/// Exits of reason 33, which KVM makes up when it has to emulate and which has
/// no handler: none for leaf FE, but in the total and in leaf 02.
fn hidden(host: &mut Host) -> Result<String> {
    const TIMES: u64 = 23;
    only_vmx()?;
    host.forget();
    host.unload_vendor()?;
    host.load_vendor(true, "unrestricted_guest=0")?;
    let mut books = Books::open(&[])?;
    let counter = Counter::of(REFUSED)?;
    let mut vm = Vm::plain()?;
    let before = hidden_sum(&mut vm)?;
    // A snapshot has what was hidden until then, and leaf 02 what is.
    query(&mut vm, leaf::SNAPSHOT, 1)?;
    let mut program = Program::new();
    program.repeat(Op::MendFs, 1, 0);
    for _ in 0..TIMES {
        vm.vcpus[0].spoil_fs()?;
        vm.run(&program)?;
    }
    let after = hidden_sum(&mut vm)?;
    let (exits, cycles) = (after.0 - before.0, after.1 - before.1);
    let traced = counter.read()?;
    // KVM emulates up to 130 instructions per exit, more than it takes, but
    // stops early, and begins anew, when an event or a task is waiting.
    let text = format!("want {TIMES} or more, got {exits} (leaf 02), {traced} (kvm_exit)");
    let want = TIMES..=2 * TIMES;
    ensure!(want.contains(&exits) && traced == 0, "{text}");
    ensure!(cycles > exits, "{cycles} cycles for {exits} exits");
    let held = leaf::hidden(query(&mut vm, leaf::of_snapshot(leaf::HIDDEN), 0)?);
    ensure!(held == before, "the snapshot has {held:?}, want {before:?}");
    let shown = query(&mut vm, leaf::EXITS, 33)?;
    ensure!(shown == [0; 4], "leaf FE answers {shown:x?}");
    let total = books.balance_but(&[&vm], exits)?;
    Ok(format!(
        "{text}, total {total} as KVM's; kvm_exit: {exits} fewer"
    ))
}

/// The same reason by the CPU itself, as KVM is told not to emulate: the
/// tracepoint fires, with bit 31 set, which is no part of our reason.
fn refused(host: &mut Host) -> Result<String> {
    const TIMES: u64 = 23;
    only_vmx()?;
    host.forget();
    host.unload_vendor()?;
    host.load_vendor(true, "unrestricted_guest=0 emulate_invalid_guest_state=0")?;
    let mut books = Books::open(&[])?;
    let counter = Counter::of(REFUSED)?;
    let mut vm = Vm::plain()?;
    let before = hidden_sum(&mut vm)?;
    for _ in 0..TIMES {
        vm.vcpus[0].spoil_fs()?;
        let (end, _) = vm.vcpus[0].run_to_end(&Program::new())?;
        ensure!(end == End::Refused, "the guest's run ended with {end:?}");
    }
    let got = hidden_sum(&mut vm)?.0 - before.0;
    let traced = counter.read()?;
    let text = format!("want {TIMES} got {got} (leaf 02), {traced} (kvm_exit)");
    ensure!(got == TIMES && traced == TIMES, "{text}");
    let total = books.balance(&[&vm])?;
    Ok(format!("{text}, total {total} in all three books"))
}
