// SPDX-License-Identifier: GPL-2.0
//! The lines that queries leave in the host's log.

use super::leaf::{self, cycles, exits};
use crate::vmm::{Regs, Vm};
use anyhow::Result;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Lines that a guest has at once, and then in a day.
pub const BURST: usize = 256;
/// Guests that have as many each.
pub const GUESTS: usize = 4;

/// How many lines a guest has in that time, if it never stops asking.
pub fn bounds(took: Duration) -> RangeInclusive<usize> {
    let refilled = took.as_secs() as usize * BURST / (24 * 3600);
    BURST..=BURST + refilled
}

/// The module's own line, without its prefix.
pub fn ours(line: &str) -> Option<&str> {
    line.strip_prefix("kvm_exitprof: ")
}

/// The line of a query, without its prefix.
pub fn query_line(line: &str) -> Option<String> {
    ours(line).filter(|l| l.starts_with("0x4")).map(Into::into)
}

/// How many lines were suppressed, if the line says so.
pub fn suppressed(line: &str) -> Option<usize> {
    ours(line)?
        .strip_suffix(" log lines suppressed")?
        .parse()
        .ok()
}

/// The line that a query of the VM's first vCPU must leave.
pub fn expected(vm: &Vm, eax: u32, ecx: u32, got: Regs) -> Result<String> {
    let answer = expected_answer(eax, ecx, got)?;
    Ok(format!("{answer} (pid {}, vCPU 0)", vm.pid))
}

/// What that line says about the answer.
pub fn expected_answer(eax: u32, ecx: u32, got: Regs) -> Result<String> {
    let undefined = got == leaf::UNDEFINED;
    Ok(match eax {
        leaf::TOTAL_EXITS => format!("0x4ffffffc, Total exits={}", exits(got)?),
        leaf::TOTAL_CYCLES => format!("0x4ffffffd, Total cycles={}", cycles(got)?),
        leaf::EXITS if undefined => {
            format!("0x4ffffffe, Exit number {ecx}. Total exits=0 (undefined)")
        }
        leaf::EXITS => format!("0x4ffffffe, Exit number {ecx}. Total exits={}", exits(got)?),
        _ if undefined => format!("0x4fffffff, Exit number {ecx}. Total cycles=0 (undefined)"),
        _ => format!(
            "0x4fffffff, Exit number {ecx}. Total cycles={}",
            cycles(got)?
        ),
    })
}
