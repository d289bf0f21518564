// SPDX-License-Identifier: GPL-2.0
//! The leaves, and what their answers mean.
//!
//! The decoding is written out here. The module takes its encoding from the model, in
//! which a mistake must not cancel out.

use crate::vmm::{Regs, Vm};
use anyhow::{Result, ensure};
pub use profile::leaf::{
    CYCLES, DISCOVERY, EXITS, HIDDEN, IDENTITY, PHASE, PROTOCOL, SNAPSHOT, TOTAL_CYCLES,
    TOTAL_EXITS, UNTIMED, of_snapshot,
};

/// The signature of the profiler.
pub const PRESENT: Regs = [0x4fff_ffff, text(b"KVME"), text(b"xitP"), text(b"rof\0")];
/// The answer for a reason that the SDM does not define, and of a snapshot that the
/// vCPU does not hold.
pub const UNDEFINED: Regs = [0, 0, 0, u32::MAX];

const fn text(bytes: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*bytes)
}

/// The exits in an answer of leaf FC, FE or 05.
pub fn exits([eax, ebx, ecx, edx]: Regs) -> Result<u64> {
    ensure!(
        ecx == 0 && edx == 0,
        "ECX={ecx:#x} EDX={edx:#x}, want zeros"
    );
    Ok(u64::from(ebx) << 32 | u64::from(eax))
}

/// The cycles in an answer of leaf FD or FF.
pub fn cycles([eax, ebx, ecx, edx]: Regs) -> Result<u64> {
    ensure!(
        eax == 0 && edx == 0,
        "EAX={eax:#x} EDX={edx:#x}, want zeros"
    );
    Ok(u64::from(ebx) << 32 | u64::from(ecx))
}

/// The exits and cycles in an answer of leaf 02.
pub fn hidden([eax, ebx, ecx, edx]: Regs) -> (u64, u64) {
    let join = |low, high| u64::from(high) << 32 | u64::from(low);
    (join(eax, ebx), join(ecx, edx))
}

/// The identity and the epoch in an answer of leaf 04.
pub fn identity([eax, ebx, ecx, edx]: Regs) -> Result<(u64, u32)> {
    ensure!(edx == 0, "EDX={edx:#x}, want zero");
    let id = u64::from(ebx) << 32 | u64::from(eax);
    ensure!(id != 0 && ecx != 0, "id {id:#x}, epoch {ecx:#x}");
    Ok((id, ecx))
}

/// The answer of leaf E0: whether the vCPU holds a snapshot, and how many it has taken.
pub fn snapshot([eax, ebx, ecx, edx]: Regs) -> Result<(bool, u32)> {
    ensure!(
        eax <= 1 && ecx == 0 && edx == 0,
        "EAX={eax:#x} ECX={ecx:#x} EDX={edx:#x}, want 0 or 1, and zeros"
    );
    Ok((eax == 1, ebx))
}

/// Reads the exits of a reason.
pub fn exits_of(vm: &mut Vm, reason: u32) -> Result<u64> {
    exits(vm.cpuid(EXITS, reason)?)
}

/// Reads all exits.
pub fn total_exits(vm: &mut Vm) -> Result<u64> {
    exits(vm.cpuid(TOTAL_EXITS, 0)?)
}
