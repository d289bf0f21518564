// SPDX-License-Identifier: GPL-2.0
//! What a guest hypervisor consists of, for either instruction set.

use crate::vmm::cpu::Reason;
use crate::vmm::layout::{self, PAGE};
use crate::vmm::ops::Op;
use crate::vmm::vm::Vm;
use anyhow::Result;

/// The registers of the guest's guest, as PUSHA leaves them, and the hypervisor's
/// stack pointer. [`Op::LaunchGuest`] and its like rely on that.
pub const REGISTERS: u32 = layout::NESTED;
/// A VMCS or VMCB that no guest runs by, beside [`layout::CONTROL_BLOCK`].
pub const SPARE_BLOCK: u32 = layout::NESTED + 2 * PAGE;
/// The region of VMXON, or where VMRUN saves the hypervisor's state.
pub const HOST_AREA: u32 = layout::NESTED + 3 * PAGE;
pub const PAGE_DIRECTORY: u32 = layout::NESTED + 4 * PAGE;
pub const VIRTUAL_APIC: u32 = layout::NESTED + 5 * PAGE;
/// Two pages.
pub const MSR_BITMAP: u32 = layout::NESTED + 6 * PAGE;

/// The program of the guest's guest, in a window of its own.
pub const COMMANDS: u32 = layout::WINDOWS + layout::WINDOW + layout::TABLE;
/// The end of its stack.
pub const STACK: u32 = layout::WINDOWS + 2 * layout::WINDOW;

/// CR0 of both guests: PG, NE, ET, PE.
pub const CR0: u32 = 0x8000_0031;

/// An operation of the guest's guest that the hypervisor intercepts.
#[derive(Clone, Copy, Debug)]
pub struct Intercept {
    pub op: Op,
    pub arg: u32,
    pub reason: Reason,
    /// The length of the instruction, which the hypervisor skips.
    pub len: u32,
}

pub const fn intercept(op: Op, arg: u32, reason: Reason, len: u32) -> Intercept {
    Intercept {
        op,
        arg,
        reason,
        len,
    }
}

/// What differs between the instruction sets.
pub struct Hypervisor {
    /// CR4 of both guests.
    pub cr4: u32,
    /// Prepares all but the guest's program and paging.
    pub set_up: fn(&mut Vm, &[Intercept]) -> Result<()>,
    pub launch: Op,
    pub resume: Op,
    pub skip: Op,
    /// Reads the reason of the guest's exit: operation, argument.
    pub why: (Op, u32),
    /// The hypervisor's own exits when it lets its guest go on: reason, number.
    pub cost: &'static [(u32, u32)],
}
