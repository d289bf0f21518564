// SPDX-License-Identifier: GPL-2.0
//! What the leaves answer, register by register.

use crate::harness::Test;
use crate::host::module::{PROFILER, ParamGuard};
use crate::host::{Host, State};
use crate::oracle::leaf::{self, cycles, exits, exits_of, hidden};
use crate::oracle::snapshot::{RELEASE, TAKE};
use crate::vmm::cpu::{self, CPUID, HYPERCALL, Status, UD, reasons};
use crate::vmm::{Config, GARBAGE, Op, Program, Regs, Vm};
use anyhow::{Result, bail, ensure};
use kvm_bindings::kvm_cpuid_entry2;

pub fn tests() -> Vec<Test<Host>> {
    let profiled = |name: &str, run: fn(&mut Host) -> Result<String>| {
        Test::new(format!("leaf.{name}"), State::Profiled, run)
    };
    vec![
        profiled("discovery", discovery),
        profiled("registers", registers),
        profiled("cycles_fit_the_time", cycles_fit),
        profiled("undefined_reasons", undefined),
        profiled("unhandled_reasons", unhandled),
        profiled("every_handled_reason", handled),
        profiled("unassigned", unassigned),
        profiled("own_exit_comes_next", own_exit),
        profiled("vmm_entry_wins", vmm_entry),
        profiled("through_emulator", emulator),
    ]
}

/// Checks that leaves FE, FF and 05, and those of a snapshot, give the same answer for
/// all `reasons`.
fn check_all(reasons: &[u32], want: Regs) -> Result<String> {
    let mut vm = Vm::plain()?;
    vm.cpuid(leaf::SNAPSHOT, TAKE)?;
    for of in [|leaf| leaf, leaf::of_snapshot] {
        let leaves = [leaf::EXITS, leaf::CYCLES, leaf::UNTIMED].map(of);
        let all = |&ecx| leaves.map(|leaf| (leaf, ecx));
        let asked: Vec<_> = reasons.iter().flat_map(all).collect();
        for (asked, got) in asked.iter().zip(vm.cpuids(&asked)?) {
            ensure!(got == want, "{asked:x?}: {got:x?}, want {want:x?}");
        }
    }
    Ok(format!("{} numbers", reasons.len()))
}

fn discovery(host: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let present = vm.cpuid(leaf::DISCOVERY, GARBAGE)?;
    ensure!(present == leaf::PRESENT, "{present:x?}");
    let [eax, ebx, epoch, khz] = vm.cpuid(leaf::PROTOCOL, GARBAGE)?;
    let want = cpu::pick(0x0101_0003, 0x0102_0003);
    ensure!(eax == want, "version, instruction set, host: {eax:#x}");
    let want = 1 | u32::from(cpu::kernel() as u8) << 8;
    ensure!(ebx == want, "features and kernel {ebx:#x}, want {want:#x}");
    let tsc = vm.vcpus[0].tsc_khz()?;
    ensure!(khz == tsc, "TSC {khz} kHz, KVM says {tsc}");
    let [.., again, _] = vm.cpuid(leaf::PROTOCOL, 0)?;
    ensure!(again == epoch, "the epoch changed by itself");
    host.reload("")?;
    let [.., after, _] = vm.cpuid(leaf::PROTOCOL, 0)?;
    ensure!(after != epoch, "same epoch {epoch:#x} after a reload");
    Ok(format!("TSC {khz} kHz, epochs {epoch:#x} {after:#x}"))
}

/// All four registers are written. Before the CPUID, EBX, EDX and an unused ECX hold
/// garbage.
fn registers(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let answers = vm.cpuids(&[
        (leaf::TOTAL_EXITS, GARBAGE),
        (leaf::TOTAL_CYCLES, GARBAGE),
        (leaf::EXITS, CPUID.number()),
        (leaf::CYCLES, CPUID.number()),
        (leaf::HIDDEN, GARBAGE),
    ])?;
    let total = (exits(answers[0])?, cycles(answers[1])?);
    let cpuid = (exits(answers[2])?, cycles(answers[3])?);
    ensure!(total.0 > 0 && total.1 > 0, "no exits or cycles at all");
    ensure!(cpuid.0 > 0 && cpuid.1 > 0, "no exits or cycles of CPUID");
    // Only two reads lie between the total and the part.
    ensure!(cpuid.0 <= total.0 + 2, "a part larger than the whole");
    let (exits, cycles) = hidden(answers[4]);
    ensure!(exits <= total.0 && cycles <= total.1, "{:x?}", answers[4]);
    Ok(format!("total {total:?}, CPUID {cpuid:?}, hidden {exits}"))
}

/// Exits take time, but no more than has passed.
fn cycles_fit(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.tsc();
    for _ in 0..2 {
        program.cpuid(leaf::CYCLES, HYPERCALL.number());
        program.cpuid(leaf::TOTAL_CYCLES, 0);
        program.repeat(Op::Vmcall, 101, 0);
    }
    program.tsc();
    let r = vm.run(&program)?;
    let own = cycles(r[3])?.wrapping_sub(cycles(r[1])?);
    let all = cycles(r[4])?.wrapping_sub(cycles(r[2])?);
    let tsc = |[low, high, ..]: Regs| u64::from(high) << 32 | u64::from(low);
    let time = tsc(r[5]) - tsc(r[0]);
    let text = format!("101 hypercalls {own}, all exits {all}, of {time}");
    ensure!(101 < own && own < all && all < time, "{text}");
    Ok(text)
}

fn undefined(_: &mut Host) -> Result<String> {
    let mut numbers = reasons(Status::Undefined);
    numbers.extend([82, 83, 86, 96, 100, 255, 0xdead, u32::MAX - 1, u32::MAX]);
    numbers.extend((7..32).map(|bit| 1 << bit));
    // Reasons that would exist if only the low bits counted.
    for high in [1 << 7, 1 << 8, 1 << 16, 1 << 31] {
        numbers.extend([0, 1, 10, 30, 48, 75, 0x72, 0x400].map(|low| low | high));
    }
    let isa = cpu::isa();
    numbers.retain(|&n| isa.status(cpu::kernel(), n) == Status::Undefined);
    if cpu::is_vmx() {
        // Between and after the last reasons that the SDM defines.
        numbers.extend([82, 83, 86]);
    }
    check_all(&numbers, leaf::UNDEFINED)
}

fn unhandled(_: &mut Host) -> Result<String> {
    let mut numbers = reasons(Status::Unhandled);
    if cpu::is_vmx() {
        // Reasons without a name in the kernel's headers.
        numbers.extend([80, 81]);
    }
    check_all(&numbers, [0; 4])
}

fn handled(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let reasons = reasons(Status::Handled);
    for &reason in &reasons {
        let all = exits_of(&mut vm, reason)?;
        cycles(vm.cpuid(leaf::CYCLES, reason)?)?;
        let untimed = exits(vm.cpuid(leaf::UNTIMED, reason)?)?;
        // Only this test runs meanwhile.
        ensure!(untimed <= all, "{reason}: {untimed} untimed of {all}");
    }
    Ok(format!("{} reasons", reasons.len()))
}

fn unassigned(_: &mut Host) -> Result<String> {
    let leaves = [0x4fff_ff03].into_iter().chain(0x4fff_ff07..0x4fff_ffe0);
    let leaves = leaves.chain([0x4fff_ffe1, 0x4fff_ffe3]);
    let leaves = leaves
        .chain(0x4fff_ffe7..0x4fff_ffec)
        .chain(0x4fff_fff0..0x4fff_fffc_u32);
    let asked: Vec<_> = leaves.flat_map(|leaf| [(leaf, 0), (leaf, 48)]).collect();
    let mut vm = Vm::plain()?;
    // With a snapshot, and without.
    for command in [TAKE, RELEASE] {
        vm.cpuid(leaf::SNAPSHOT, command)?;
        for (asked, got) in asked.iter().zip(vm.cpuids(&asked)?) {
            ensure!(got == [0; 4], "{asked:x?}: {got:x?}");
        }
    }
    Ok(format!("{} answers", 2 * asked.len()))
}

/// A CPUID that reads a leaf is not in its own answer, but in the next. There are no
/// others since the profiler was loaded.
fn own_exit(host: &mut Host) -> Result<String> {
    for _ in 0..100 {
        host.reload("")?;
        let mut vm = Vm::plain()?;
        let before = vm.exits()?;
        let answers = vm.cpuids(&[
            (leaf::EXITS, CPUID.number()),
            (leaf::EXITS, CPUID.number()),
            (leaf::CYCLES, CPUID.number()),
            (leaf::CYCLES, CPUID.number()),
            (leaf::TOTAL_EXITS, 0),
            (leaf::TOTAL_EXITS, 0),
            (leaf::TOTAL_CYCLES, 0),
            (leaf::TOTAL_CYCLES, 0),
        ])?;
        let cpuids = (exits(answers[0])?, exits(answers[1])?);
        ensure!(cpuids == (0, 1), "{cpuids:?} CPUIDs, want (0, 1)");
        ensure!(cycles(answers[3])? > cycles(answers[2])?, "CPUID is free");
        ensure!(cycles(answers[7])? > cycles(answers[6])?, "an exit is free");
        if vm.exits()? != before + 9 {
            continue; // an interrupt among them
        }
        let total = exits(answers[5])? - exits(answers[4])?;
        ensure!(total == 1, "+{total} in all");
        return Ok("0, 1; +1 in all".into());
    }
    bail!("interrupts disturbed every attempt")
}

/// A CPUID entry that the VMM has set wins over the profiler.
fn vmm_entry(_: &mut Host) -> Result<String> {
    for function in [leaf::TOTAL_EXITS, leaf::DISCOVERY, 0x4fff_ff80] {
        let entry = kvm_cpuid_entry2 {
            function,
            eax: 0x1111,
            ebx: 0x2222,
            ecx: 0x3333,
            edx: 0x4444,
            ..Default::default()
        };
        let mut vm = Vm::new(&Config {
            entries: vec![entry],
            ..Config::default()
        })?;
        let got = vm.cpuid(function, 0)?;
        let want = [0x1111, 0x2222, 0x3333, 0x4444];
        ensure!(got == want, "{function:#x}: {got:x?}");
        let got = exits_of(&mut vm, CPUID.number())?;
        ensure!(got > 0, "no CPUIDs beside {function:#x}");
    }
    Ok(String::new())
}

/// While nothing is recorded, KVM's instruction emulator gives the same answers. Such a
/// CPUID is an exit for #UD.
fn emulator(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let numbers = (0..0xa4).chain([0x400, 1 << 16 | 10, u32::MAX]);
    let mut asked: Vec<_> = numbers
        .flat_map(|ecx| [leaf::EXITS, leaf::CYCLES, leaf::UNTIMED].map(|leaf| (leaf, ecx)))
        .collect();
    for leaf in [
        leaf::DISCOVERY,
        leaf::PROTOCOL,
        leaf::HIDDEN,
        leaf::IDENTITY,
        leaf::SNAPSHOT,
        leaf::of_snapshot(leaf::IDENTITY),
    ] {
        asked.push((leaf, GARBAGE));
    }
    asked.extend([(leaf::TOTAL_EXITS, GARBAGE), (leaf::TOTAL_CYCLES, GARBAGE)]);
    let mut program = Program::new();
    for &(eax, ecx) in &asked {
        program.cpuid(eax, ecx);
        program.emulated_cpuid(eax, ecx);
    }
    let mut count = Program::new();
    count.cpuid(leaf::EXITS, UD.number());
    count.repeat(Op::EmulatedCpuid, 23, leaf::TOTAL_EXITS);
    count.cpuid(leaf::EXITS, UD.number());

    let _emulation = ParamGuard::set("kvm", "force_emulation_prefix", "1")?;
    let answers = {
        let _off = ParamGuard::set(PROFILER, "recording", "N")?;
        vm.run(&program)?
    };
    let counted = vm.run(&count)?;

    for (asked, pair) in asked.iter().zip(answers.chunks_exact(2)) {
        let (native, emulated) = (pair[0], pair[1]);
        ensure!(
            native == emulated,
            "{asked:x?}: {native:x?}, emulated {emulated:x?}"
        );
    }
    let got = exits(counted[1])? - exits(counted[0])?;
    ensure!(got == 23, "want 23 exits for #UD, got {got}");
    Ok(format!("{} answers alike, want 23 got {got}", asked.len()))
}
