// SPDX-License-Identifier: GPL-2.0
//! Entries into the guest's guest that fail.

use super::setup::without_shortcuts;
use crate::host::Host;
use crate::oracle::K;
use crate::oracle::growth::{HIDDEN, check_growth};
use crate::vmm::cpu::{linux, pick};
use crate::vmm::nested::{self, svm, vmx};
use crate::vmm::{Op, Program, Vm};
use anyhow::{Context, Result, ensure};

/// An entry that fails.
struct Failure {
    what: &'static str,
    /// Exits besides the instruction's, and for how many of them the tracepoint fires.
    exits: (u32, u32),
    /// The version of Linux since which KVM refuses it itself, without these exits.
    checked: Option<(u32, u32)>,
    /// Makes the mistake: operation, ECX, argument.
    spoil: (Op, u32, u32),
    /// EAX after the entry.
    failed: u32,
    /// Reads the cause: operation, argument, cause.
    cause: (Op, u32, u32),
}

const VMX_ERROR: (Op, u32, u32) = (Op::Vmread, vmx::field::ERROR, 7);
const VMX_INVALID: (Op, u32, u32) = (Op::Vmread, vmx::field::EXIT_REASON, 0x8000_0021);
const SVM_INVALID: (Op, u32, u32) = (Op::Load, svm::at::EXIT_CODE, u32::MAX);

const FAILURES_VMX: &[Failure] = &[
    Failure {
        what: "controls, by KVM",
        exits: (0, 0),
        checked: None,
        spoil: (Op::Vmwrite, 0, vmx::field::PROCESSOR_CONTROLS),
        failed: 1,
        cause: VMX_ERROR,
    },
    Failure {
        what: "state, by KVM",
        exits: (0, 0),
        checked: None,
        spoil: (Op::Vmwrite, 1, vmx::field::LINK_POINTER),
        failed: 0,
        cause: VMX_INVALID,
    },
    // The architecture has no exit for that. KVM calls it reason 0xdead, and the
    // tracepoint does not fire.
    Failure {
        what: "controls, by the CPU",
        exits: (1, 0),
        checked: Some((7, 3)),
        spoil: (Op::Vmwrite, 0x10, vmx::field::TPR_THRESHOLD),
        failed: 1,
        cause: VMX_ERROR,
    },
    Failure {
        what: "state, by the CPU",
        exits: (1, 1),
        checked: None,
        spoil: (Op::Vmwrite, 3, vmx::field::INTERRUPTIBILITY),
        failed: 0,
        cause: VMX_INVALID,
    },
];

const FAILURES_SVM: &[Failure] = &[
    Failure {
        what: "ASID, by KVM",
        exits: (0, 0),
        checked: None,
        spoil: (Op::Store, 0, svm::at::ASID),
        failed: 0,
        cause: SVM_INVALID,
    },
    // An exception with the vector of an NMI.
    Failure {
        what: "event, by the CPU",
        exits: (1, 1),
        checked: Some((7, 3)),
        spoil: (Op::Store, 0x8000_0302, svm::at::EVENT),
        failed: 0,
        cause: SVM_INVALID,
    },
];

/// An entry that KVM refuses is only the exit of its instruction. If the CPU refuses
/// it, there is one exit more, of a reason without handler.
pub fn failed_entries(host: &mut Host) -> Result<String> {
    let mut oracle = without_shortcuts(host)?;
    let (vms, untraced) = fail()?;
    let total = oracle.check_but(&vms.iter().collect::<Vec<_>>(), untraced)?;
    let times = vms.len();
    Ok(format!(
        "{times} times {K}, total {total} as KVM's; kvm_exit: {untraced} fewer"
    ))
}

/// Makes entries fail, in a VM for each cause, and checks what the guests are told. Returns for how
/// many exits the tracepoint does not fire, too.
pub fn fail() -> Result<(Vec<Vm>, u64)> {
    let failures = pick(FAILURES_VMX, FAILURES_SVM);
    let enter = pick(Op::LaunchGuest, Op::RunGuest);
    let cost = pick(&[(20, K), (23, K), (25, K)][..], &[(svm::VMRUN, K)]);
    let mut vms = Vec::new();
    let mut untraced = 0;
    for failure in failures {
        let mut vm = nested::set_up(&Program::new(), &[])?;
        let (spoil, value, place) = failure.spoil;
        let (look, at, cause) = failure.cause;
        let mut program = Program::new();
        for _ in 0..K {
            program.call(spoil, value, place);
            program.call(enter, 0, 0);
            program.call(look, 0, at);
        }
        let mut want = cost.to_vec();
        let (exits, traced) = match failure.checked {
            Some(since) if linux() >= since => (0, 0),
            _ => failure.exits,
        };
        want.push((HIDDEN, exits * K));
        untraced += u64::from((exits - traced) * K);
        let results = check_growth(&mut vm, &program, &want).context(failure.what)?;
        for told in results.chunks_exact(3) {
            let (got, want) = ((told[1][0], told[2][0]), (failure.failed, cause));
            ensure!(got == want, "{}: {got:x?}, want {want:x?}", failure.what);
        }
        vms.push(vm);
    }
    Ok((vms, untraced))
}
