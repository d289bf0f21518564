// SPDX-License-Identifier: GPL-2.0
//! Without the profiler KVM is what it was; with it, all but its block is.

use super::test;
use crate::harness::runner::Test;
use crate::host::module::{Host, State};
use crate::oracle::leaf;
use crate::vmm::cpu;
use crate::vmm::guest::{Program, Regs};
use crate::vmm::vm::{Config, Vm};
use anyhow::{Context, Result, ensure};
use kvm_bindings::kvm_cpuid_entry2;

pub fn tests() -> Vec<Test> {
    vec![
        test("absent.cpuid_as_unpatched", State::Unpatched, as_unpatched),
        test("absent.cpuid_after_unload", State::Profiled, after_unload),
        test("absent.highest_basic_leaf", State::Absent, highest_basic),
        test("present.other_leaves", State::Absent, other_leaves),
    ]
}

/// What is asked and what came back.
type Answers = Vec<((u32, u32), Regs)>;

/// Leaves outside the profiler's block.
fn others() -> Vec<(u32, u32)> {
    let mut leaves = vec![0x4fff_feff, 0x5000_0000, 0xc000_0000, u32::MAX];
    leaves.extend(0..0x22);
    leaves.extend(0x4000_0000..0x4000_0004);
    leaves.extend(0x8000_0000..0x8000_0009);
    with_subleaves(leaves, &[0, 1, 2, 7, 0xdead_beef])
}

fn block() -> Vec<(u32, u32)> {
    with_subleaves(0x4fff_ff00..=0x4fff_ffff, &[0, 1, 48, u32::MAX])
}

fn with_subleaves(leaves: impl IntoIterator<Item = u32>, subleaves: &[u32]) -> Vec<(u32, u32)> {
    let with_all = |leaf| subleaves.iter().map(move |&sub| (leaf, sub));
    leaves.into_iter().flat_map(with_all).collect()
}

/// CPUID's answers to a guest of an Intel and of an AMD CPU: KVM treats a
/// leaf that is out of range differently.
fn capture(asked: &[(u32, u32)]) -> Result<Answers> {
    let amd = kvm_cpuid_entry2 {
        function: 0,
        eax: 0xd,
        ebx: u32::from_le_bytes(*b"Auth"),
        edx: u32::from_le_bytes(*b"enti"),
        ecx: u32::from_le_bytes(*b"cAMD"),
        ..Default::default()
    };
    let mut answers = Vec::new();
    for entries in [vec![], vec![amd]] {
        let mut vm = Vm::new(&Config {
            entries,
            ..Config::default()
        })?;
        let mut program = Program::new();
        for &(eax, ecx) in asked {
            program.cpuid(eax, ecx);
        }
        answers.extend(asked.iter().copied().zip(vm.run(&program)?));
    }
    Ok(answers)
}

fn compare(want: &Answers, got: &Answers) -> Result<String> {
    for (want, got) in want.iter().zip(got) {
        ensure!(want == got, "{got:x?}, without our part {want:x?}");
    }
    ensure!(want.len() == got.len(), "not as many answers");
    Ok(format!("{} answers alike", got.len()))
}

fn as_unpatched(host: &mut Host) -> Result<String> {
    let asked = [others(), block()].concat();
    let unpatched = capture(&asked)?;
    host.reach(State::Absent)?;
    compare(&unpatched, &capture(&asked)?)
}

fn after_unload(host: &mut Host) -> Result<String> {
    let asked = [others(), block()].concat();
    let present = capture(&asked)?;
    host.reach(State::Absent)?;
    let absent = capture(&asked)?;
    ensure!(present != absent, "the profiler made no difference");
    host.reach(State::Unpatched)?;
    compare(&capture(&asked)?, &absent)
}

/// What a guest's tool must not take for the profiler's answer.
fn highest_basic(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let [highest, ..] = leaf::query(&mut vm, 0, 0)?;
    let want = if cpu::is_vmx() {
        leaf::query(&mut vm, highest, 0)?
    } else {
        [0; 4]
    };
    for eax in [leaf::DISCOVERY, leaf::TOTAL_EXITS, leaf::EXITS] {
        let got = leaf::query(&mut vm, eax, 0)?;
        ensure!(got == want, "{eax:#x}: {got:x?}, want {want:x?}");
    }
    Ok(format!("{want:x?}"))
}

fn other_leaves(host: &mut Host) -> Result<String> {
    let absent = capture(&others())?;
    host.reach(State::Profiled)
        .context("loading the profiler")?;
    compare(&absent, &capture(&others())?)
}
