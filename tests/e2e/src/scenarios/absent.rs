// SPDX-License-Identifier: GPL-2.0
//! Without the profiler KVM behaves as unpatched. With it, only the profiler's leaves
//! differ.

use crate::harness::Test;
use crate::host::{Host, State};
use crate::oracle::leaf;
use crate::vmm::{Config, Query, Regs, Vm, cpu};
use anyhow::{Context, Result, ensure};
use kvm_bindings::kvm_cpuid_entry2;

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("absent.cpuid_as_unpatched", State::Unpatched, as_unpatched),
        Test::new("absent.cpuid_after_unload", State::Profiled, after_unload),
        Test::new("absent.highest_basic_leaf", State::Absent, highest_basic),
        Test::new("present.other_leaves", State::Absent, other_leaves),
    ]
}

/// Queries with their answers.
type Answers = Vec<(Query, Regs)>;

/// Queries outside the profiler's block.
fn others() -> Vec<Query> {
    let mut leaves = vec![0x4fff_feff, 0x5000_0000, 0xc000_0000, u32::MAX];
    leaves.extend(0..0x22);
    leaves.extend(0x4000_0000..0x4000_0004);
    leaves.extend(0x8000_0000..0x8000_0009);
    with_subleaves(leaves, &[0, 1, 2, 7, 0xdead_beef])
}

/// Queries in the profiler's block.
fn block() -> Vec<Query> {
    with_subleaves(0x4fff_ff00..=0x4fff_ffff, &[0, 1, 48, u32::MAX])
}

fn with_subleaves(leaves: impl IntoIterator<Item = u32>, subleaves: &[u32]) -> Vec<Query> {
    let with_all = |leaf| subleaves.iter().map(move |&sub| (leaf, sub));
    leaves.into_iter().flat_map(with_all).collect()
}

/// CPUID's answers to a guest with an Intel CPU and one with an AMD CPU, for which KVM
/// treats leaves that are out of range differently.
fn capture(asked: &[Query]) -> Result<Answers> {
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
        answers.extend(asked.iter().copied().zip(vm.cpuids(asked)?));
    }
    Ok(answers)
}

fn compare(want: &Answers, got: &Answers) -> Result<String> {
    for (want, got) in want.iter().zip(got) {
        ensure!(want == got, "{got:x?}, without the profiler {want:x?}");
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

/// Without the profiler, an Intel guest gets the highest basic leaf, which its tool
/// must not take for the profiler's answer.
fn highest_basic(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let [highest, ..] = vm.cpuid(0, 0)?;
    let want = if cpu::is_vmx() {
        vm.cpuid(highest, 0)?
    } else {
        [0; 4]
    };
    for eax in [leaf::DISCOVERY, leaf::TOTAL_EXITS, leaf::EXITS] {
        let got = vm.cpuid(eax, 0)?;
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
