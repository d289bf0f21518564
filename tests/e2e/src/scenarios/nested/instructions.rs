// SPDX-License-Identifier: GPL-2.0
//! The instructions of a guest hypervisor.

use super::setup::without_shortcuts;
use crate::harness::Skip;
use crate::host::{Host, module};
use crate::oracle::growth::check_growth;
use crate::oracle::{K, Oracle};
use crate::vmm::cpu::pick;
use crate::vmm::layout::CONTROL_BLOCK;
use crate::vmm::nested::{self, HOST_AREA, SPARE_BLOCK, vmx};
use crate::vmm::{Op, Program, Vm};
use anyhow::{Context, Result};

/// Operations that together leave the hypervisor's state as it was: argument, reason.
type Group = &'static [(Op, u32, u32)];

const OF_VMX: &[Group] = &[
    &[(Op::Vmread, vmx::field::EXIT_REASON, 23)],
    &[(Op::Vmwrite, vmx::field::GUEST_RIP, 25)],
    &[(Op::Vmptrst, 0, 22)],
    &[
        (Op::Vmptrld, SPARE_BLOCK, 21),
        (Op::Vmptrld, CONTROL_BLOCK, 21),
    ],
    &[(Op::Vmclear, SPARE_BLOCK, 19)],
    &[(Op::Invept, 0, 50)],
    &[(Op::Invvpid, 0, 53)],
    &[(Op::Vmxoff, 0, 26), (Op::Vmxon, HOST_AREA, 27)],
];

const OF_SVM: &[Group] = &[
    &[(Op::Vmload, SPARE_BLOCK, 0x82)],
    &[(Op::Vmsave, SPARE_BLOCK, 0x83)],
    &[(Op::Clgi, 0, 0x85), (Op::Stgi, 0, 0x84)],
    &[(Op::Invlpga, 0, 0x7a)],
];

/// Does a group K times, and checks that each operation causes `each` exits.
fn check_group(vm: &mut Vm, group: Group, each: u32) -> Result<()> {
    let mut program = Program::new();
    for _ in 0..K {
        for &(op, arg, _) in group {
            program.repeat(op, 1, arg);
        }
    }
    let want: Vec<_> = group
        .iter()
        .map(|&(.., reason)| (reason, each * K))
        .collect();
    check_growth(vm, &program, &want).with_context(|| format!("{group:x?}"))?;
    Ok(())
}

pub fn instructions(host: &mut Host) -> Result<String> {
    let mut oracle = without_shortcuts(host)?;
    let mut vm = nested::launch(&Program::new(), &[])?;
    let groups = pick(OF_VMX, OF_SVM);
    for group in groups {
        check_group(&mut vm, group, 1)?;
    }
    let total = oracle.check(&[&vm])?;
    Ok(format!(
        "{} times {K}, total {total} by all three",
        groups.len()
    ))
}

/// What the CPU does for the hypervisor causes no exits: reads and writes of a VMCS
/// field that KVM shadows, or changes of the global interrupt flag. Similar
/// instructions still exit.
pub fn shortcuts(_: &mut Host) -> Result<String> {
    let (module, param) = pick(("kvm_intel", "enable_shadow_vmcs"), ("kvm_amd", "vgif"));
    if !["Y", "1"].contains(&module::param(module, param)?.as_str()) {
        return Err(Skip::because(format!("the CPU has no use for {param}")));
    }
    let free: Group = pick(
        &[
            (Op::Vmread, vmx::field::GUEST_RIP, 23),
            (Op::Vmwrite, vmx::field::GUEST_RIP, 25),
        ],
        &[(Op::Clgi, 0, 0x85), (Op::Stgi, 0, 0x84)],
    );
    let dear: Group = pick(
        &[
            (Op::Vmread, vmx::field::GUEST_DR7, 23),
            (Op::Vmwrite, vmx::field::GUEST_DR7, 25),
        ],
        &[(Op::Invlpga, 0, 0x7a)],
    );
    let mut oracle = Oracle::since_now(&[])?;
    let mut vm = nested::launch(&Program::new(), &[])?;
    check_group(&mut vm, free, 0)?;
    check_group(&mut vm, dear, 1)?;
    let total = oracle.check(&[&vm])?;
    Ok(format!("{param}, total {total} by all three"))
}
