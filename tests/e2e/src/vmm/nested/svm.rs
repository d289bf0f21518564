// SPDX-License-Identifier: GPL-2.0
//! The hypervisor on SVM.

use super::hypervisor::{CR0, HOST_AREA, Hypervisor, Intercept, MSR_BITMAP, PAGE_DIRECTORY, STACK};
use crate::vmm::layout;
use crate::vmm::ops::Op;
use crate::vmm::program::Program;
use crate::vmm::vm::Vm;
use anyhow::Result;

pub static HYPERVISOR: Hypervisor = Hypervisor {
    cr4: CR4,
    set_up,
    launch: Op::RunGuest,
    resume: Op::RunGuest,
    skip: Op::SvmSkip,
    why: (Op::Load, at::EXIT_CODE),
    cost: &[(VMRUN, 1)],
};

pub const VMRUN: u32 = 0x80;

/// Addresses of the VMCB's fields that tests read or spoil.
pub mod at {
    use crate::vmm::layout::CONTROL_BLOCK;

    pub const INTERCEPTS: u32 = CONTROL_BLOCK + 0x00c;
    pub const ASID: u32 = CONTROL_BLOCK + 0x058;
    pub const EXIT_CODE: u32 = CONTROL_BLOCK + 0x070;
    pub const EVENT: u32 = CONTROL_BLOCK + 0x0a8;
}

/// Switches SVM on, with a guest that has not run yet.
fn set_up(vm: &mut Vm, intercepts: &[Intercept]) -> Result<()> {
    let mut mask = 1_u64 << (VMRUN - FIRST_INTERCEPT);
    let mut program = Program::new();
    for intercept in intercepts {
        let code = intercept.reason.number();
        mask |= 1 << (code - FIRST_INTERCEPT);
        if code == MSR {
            // Two bits for each MSR: RDMSR and WRMSR.
            let msr = intercept.arg;
            program.call(Op::Store, 3 << (msr % 16 * 2), MSR_BITMAP + msr / 16 * 4);
        }
    }
    let [low, high] = [mask, mask >> 32].map(|half| half as u32);
    program.call(Op::Store, low, at::INTERCEPTS);
    program.call(Op::Store, high, at::INTERCEPTS + 4);
    for &(offset, value) in STATE {
        program.call(Op::Store, value, layout::CONTROL_BLOCK + offset);
    }
    program.call(Op::Wrmsr, EFER_SVME, 0xc000_0080);
    program.call(Op::Wrmsr, HOST_AREA, 0xc001_0117);
    vm.run(&program)?;
    Ok(())
}

/// The exit code of the first intercept. The others follow in the order of codes.
const FIRST_INTERCEPT: u32 = 0x60;
const MSR: u32 = 0x7c;
const EFER_SVME: u32 = 0x1000;
const CR4: u32 = 0x10; // PSE
const CODE: u32 = 0xc9b << 16 | layout::CODE_SEL as u32;
const DATA: u32 = 0xc93 << 16 | layout::DATA_SEL as u32;

/// Words of the VMCB that are not zero. Both guests have the same flat segments and
/// page tables.
const STATE: &[(u32, u32)] = &[
    (0x048, MSR_BITMAP),
    (0x058, 1), // ASID
    // ES, CS, SS, DS: attributes and selectors, limits.
    (0x400, DATA),
    (0x404, u32::MAX),
    (0x410, CODE),
    (0x414, u32::MAX),
    (0x420, DATA),
    (0x424, u32::MAX),
    (0x430, DATA),
    (0x434, u32::MAX),
    // GDTR and IDTR: limits, bases.
    (0x464, 23),
    (0x468, layout::GDT),
    (0x484, 256 * 8 - 1),
    (0x488, layout::IDT),
    (0x4d0, EFER_SVME),
    // CR4, CR3, CR0, DR7, RFLAGS, RIP, RSP.
    (0x548, CR4),
    (0x550, PAGE_DIRECTORY),
    (0x558, CR0),
    (0x560, 0x400),
    (0x570, 0x202),
    (0x578, layout::CODE),
    (0x5d8, STACK),
];
