// SPDX-License-Identifier: GPL-2.0
//! The hypervisor on VMX.

use super::hypervisor::{
    CR0, HOST_AREA, Hypervisor, Intercept, PAGE_DIRECTORY, REGISTERS, SPARE_BLOCK, STACK,
    VIRTUAL_APIC,
};
use crate::vmm::layout;
use crate::vmm::ops::{self, Op};
use crate::vmm::program::Program;
use crate::vmm::vm::Vm;
use anyhow::{Result, ensure};

pub static HYPERVISOR: Hypervisor = Hypervisor {
    cr4: CR4,
    set_up,
    launch: Op::LaunchGuest,
    resume: Op::ResumeGuest,
    skip: Op::VmxSkip,
    why: (Op::Vmread, field::EXIT_REASON),
    cost: &[(23, 2), (24, 1), (25, 1)],
};

/// Fields of the VMCS that tests read or spoil.
pub mod field {
    pub const PROCESSOR_CONTROLS: u32 = 0x4002;
    pub const TPR_THRESHOLD: u32 = 0x401c;
    pub const ERROR: u32 = 0x4400;
    pub const EXIT_REASON: u32 = 0x4402;
    pub const INTERRUPTIBILITY: u32 = 0x4824;
    pub const LINK_POINTER: u32 = 0x2800;
    pub const GUEST_DR7: u32 = 0x681a;
    pub const GUEST_RIP: u32 = 0x681e;
}

/// The processor-based controls that cause exits of a reason. Other reasons need none.
fn control(reason: u32) -> u32 {
    match reason {
        12 => 1 << 7,
        16 => 1 << 12,
        51 => 1 << 12 | 1 << 31,
        _ => 0,
    }
}

/// Enters VMX operation, with a guest that has not been launched.
fn set_up(vm: &mut Vm, intercepts: &[Intercept]) -> Result<()> {
    const BASIC: u32 = 0x480;
    const TRUE_CONTROLS: [u32; 4] = [0x48d, 0x48e, 0x48f, 0x490];

    let mut program = Program::new();
    program.call(Op::Rdmsr, 0, BASIC);
    for msr in TRUE_CONTROLS {
        program.call(Op::Rdmsr, 0, msr);
    }
    let msrs = vm.run(&program)?;
    let [revision, pin, mut processor, exit, entry] = [0, 1, 2, 3, 4].map(|i| msrs[i][0]);
    // The TPR threshold needs "use TPR shadow".
    processor |= 1 << 21;
    for intercept in intercepts {
        processor |= control(intercept.reason.number());
    }
    let allowed = msrs[2][3];
    ensure!(
        processor & !allowed == 0,
        "want controls {processor:#x}, KVM has {allowed:#x}"
    );

    let mut program = Program::new();
    for region in [HOST_AREA, layout::CONTROL_BLOCK, SPARE_BLOCK] {
        program.call(Op::Store, revision, region);
    }
    // IA32_FEATURE_CONTROL: locked, with VMX.
    program.call(Op::Wrmsr, 5, 0x3a);
    program.repeat(Op::Vmxon, 1, HOST_AREA);
    program.repeat(Op::Vmclear, 1, layout::CONTROL_BLOCK);
    program.repeat(Op::Vmptrld, 1, layout::CONTROL_BLOCK);
    for (field, value) in [
        (0x4000, pin),
        (field::PROCESSOR_CONTROLS, processor),
        (0x400c, exit),
        (0x4012, entry),
    ] {
        program.call(Op::Vmwrite, value, field);
    }
    for &(field, value) in STATE {
        program.call(Op::Vmwrite, value, field);
    }
    program.call(Op::Vmwrite, ops::address(Op::GuestExits), HOST_RIP);
    vm.run(&program)?;
    Ok(())
}

const HOST_RIP: u32 = 0x6c16;
const CR4: u32 = 0x2010; // VMXE, PSE
const CODE: u32 = 0xc09b;
const DATA: u32 = 0xc093;
const TSS: u32 = 0x8b;
const UNUSABLE: u32 = 1 << 16;

/// Fields of the VMCS that are not zero. Both guests have the same flat segments and
/// page tables.
const STATE: &[(u32, u32)] = &[
    // Selectors of ES, CS, SS, DS, FS, GS, TR of the guest's guest.
    (0x800, layout::DATA_SEL as u32),
    (0x802, layout::CODE_SEL as u32),
    (0x804, layout::DATA_SEL as u32),
    (0x806, layout::DATA_SEL as u32),
    (0x808, layout::DATA_SEL as u32),
    (0x80a, layout::DATA_SEL as u32),
    (0x80e, 0x18),
    // Their limits; LDTR's, TR's, GDTR's, IDTR's.
    (0x4800, u32::MAX),
    (0x4802, u32::MAX),
    (0x4804, u32::MAX),
    (0x4806, u32::MAX),
    (0x4808, u32::MAX),
    (0x480a, u32::MAX),
    (0x480e, 0x67),
    (0x4810, 23),
    (0x4812, 256 * 8 - 1),
    // Access rights of these segments.
    (0x4814, DATA),
    (0x4816, CODE),
    (0x4818, DATA),
    (0x481a, DATA),
    (0x481c, DATA),
    (0x481e, DATA),
    (0x4820, UNUSABLE),
    (0x4822, TSS),
    // Secondary controls, where enabled: the guest's guest has RDTSCP.
    (0x401e, 1 << 3),
    // GDTR's and IDTR's base, control registers, DR7, RSP, RIP, RFLAGS.
    (0x6816, layout::GDT),
    (0x6818, layout::IDT),
    (0x6800, CR0),
    (0x6802, PAGE_DIRECTORY),
    (0x6804, CR4),
    (field::GUEST_DR7, 0x400),
    (0x681c, STACK),
    (field::GUEST_RIP, layout::CODE),
    (0x6820, 0x202),
    (field::LINK_POINTER, u32::MAX),
    (field::LINK_POINTER + 1, u32::MAX),
    (0x2012, VIRTUAL_APIC),
    // The hypervisor's own: selectors, control registers, GDTR, IDTR, RSP.
    (0xc00, layout::DATA_SEL as u32),
    (0xc02, layout::CODE_SEL as u32),
    (0xc04, layout::DATA_SEL as u32),
    (0xc06, layout::DATA_SEL as u32),
    (0xc08, layout::DATA_SEL as u32),
    (0xc0a, layout::DATA_SEL as u32),
    (0xc0c, 0x18),
    (0x6c00, CR0),
    (0x6c02, PAGE_DIRECTORY),
    (0x6c04, CR4),
    (0x6c0c, layout::GDT),
    (0x6c0e, layout::IDT),
    (0x6c14, REGISTERS + 32),
];
