// SPDX-License-Identifier: GPL-2.0
//! By how much the counts of all reasons grow.

use super::leaf::{self, exits, hidden};
use crate::vmm::cpu::{CPUID, HYPERCALL, INTERRUPT, Status, reasons};
use crate::vmm::{Op, Program, Regs, Vm};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// Stands for the reasons that leaf FE does not show.
pub const HIDDEN: u32 = u32::MAX;

/// Runs `body`, and checks that the count of each reason grows as `want` says: reason,
/// number. Others must not grow, except for the host's interrupts. Returns what `body`
/// read.
pub fn check_growth(vm: &mut Vm, body: &Program, want: &[(u32, u32)]) -> Result<Vec<Regs>> {
    let shown = reasons(Status::Handled);
    let mut sweep = Program::new();
    sweep.cpuid(leaf::HIDDEN, 0);
    for &reason in &shown {
        sweep.cpuid(leaf::EXITS, reason);
    }
    let asked = sweep.reads();
    let mut program = sweep.clone();
    program.append(body);
    program.append(&sweep);
    let mut answers = vm.run(&program)?;
    let after = answers.split_off(asked + body.reads());
    let results = answers.split_off(asked);

    // The CPUIDs from a reason's first answer up to its second.
    let mut wanted = BTreeMap::from([(CPUID.number(), asked as u64)]);
    for &(reason, count) in want {
        *wanted.entry(reason).or_default() += u64::from(count);
    }
    let rows = std::iter::once(HIDDEN).chain(shown);
    for ((reason, before), after) in rows.zip(answers).zip(after) {
        let (what, before, after) = match reason {
            HIDDEN => ("leaf 02".into(), hidden(before).0, hidden(after).0),
            _ => (format!("reason {reason:#x}"), exits(before)?, exits(after)?),
        };
        let got = after - before;
        let want = wanted.get(&reason).copied().unwrap_or(0);
        ensure!(
            got == want || reason == INTERRUPT.number(),
            "{what}: want {want} got {got}"
        );
    }
    Ok(results)
}

/// Checks that the profiler counts, in a new guest.
pub fn still_counts() -> Result<()> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.cpuid(leaf::EXITS, HYPERCALL.number());
    program.repeat(Op::Vmcall, 23, 0);
    program.cpuid(leaf::EXITS, HYPERCALL.number());
    let answers = vm.run(&program)?;
    let got = exits(answers[1])? - exits(answers[0])?;
    ensure!(got == 23, "want 23 got {got}");
    Ok(())
}
